"""Small models that are trained with a fixed seed, and files of them."""

import functools
import io
import json
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    ExtraTreesClassifier,
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler
from sklearn.tree import DecisionTreeClassifier

FEATURES = ("revenue", "properties.value", "context.screen.width")
KINDS: dict[str, Callable[[], Any]] = {
    "logistic": lambda: make_pipeline(StandardScaler(), LogisticRegression()),
    "imputed": lambda: make_pipeline(SimpleImputer(), RobustScaler(), LogisticRegression()),
    "stochastic": lambda: make_pipeline(MinMaxScaler(), SGDClassifier(loss="log_loss", random_state=1)),
    "bayes": lambda: make_pipeline(MaxAbsScaler(), GaussianNB()),
    "tree": lambda: DecisionTreeClassifier(max_depth=4, random_state=1),
    "forest": lambda: RandomForestClassifier(n_estimators=20, max_depth=6, random_state=1, n_jobs=2),
    "extra": lambda: ExtraTreesClassifier(n_estimators=10, random_state=np.random.RandomState(1)),
    "boosted": lambda: GradientBoostingClassifier(n_estimators=20, random_state=1),
    "histogram": lambda: HistGradientBoostingClassifier(max_iter=20, random_state=1),
    "calibrated": lambda: CalibratedClassifierCV(RandomForestClassifier(n_estimators=5, random_state=1), cv=2),
}
"""What docs/fraud.md names."""


def sample(rows: int = 400, seed: int = 618) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give features, and who is dishonest: mostly those who claim much with little."""
    random = np.random.default_rng(seed)
    found = random.normal(size=(rows, len(FEATURES)))
    return found, (found[:, 1] - found[:, 0] + random.normal(scale=0.3, size=rows) > 0.5).astype(np.int64)


@functools.cache
def model(kind: str) -> Any:
    return KINDS[kind]().fit(*sample())


@functools.cache
def file(kind: str) -> bytes:
    return dumped(model(kind))


def dumped(found: Any) -> bytes:
    return skops.io.dumps(found, compression=zipfile.ZIP_DEFLATED)


def altered(data: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    """Give a file with other parts."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return made.getvalue()


def with_schema(data: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """Give a file with another schema."""

    def changed(name: str, content: bytes) -> bytes:
        if name != "schema.json":
            return content
        schema: dict[str, Any] = json.loads(content)
        change(schema)
        return json.dumps(schema).encode()

    return altered(data, changed)


def with_nodes(data: bytes, change: Callable[[Any], None]) -> bytes:
    """Give a file whose trees are forged."""

    def changed(name: str, content: bytes) -> bytes:
        if not name.endswith(".npy"):
            return content
        found = np.load(io.BytesIO(content), allow_pickle=False)
        if not found.dtype.names or len(found) < 3:
            return content
        change(found)
        made = io.BytesIO()
        np.save(made, found, allow_pickle=False)
        return made.getvalue()

    return altered(data, changed)
