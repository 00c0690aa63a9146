"""A model of scikit-learn: loaded from a file that was looked at first, and asked. Needs the extra `fraud`.

Nothing here is imported before a rule has a score: scikit-learn costs some 100 MiB and a second.
"""

from typing import Any

import numpy as np
import sklearn
import skops.io
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from flywheel.fraud.modelfacts import LONGEST_NAME, MOST_FEATURES, ModelFacts
from flywheel.fraud.modelfile import CLASSIFIERS, UnfitModel, inspect
from flywheel.fraud.modeltrees import check_trees, objects_in

TRUSTED = (
    "numpy.dtype",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.tree._tree.Tree",
)
"""What skops asks about, of that which is let through. `check_trees` looks at trees before they are followed."""
DIGITS = 6
"""Decimals of a score. Sums of floating-point numbers differ in the last of their digits by how many rows are asked at
once, and by processor; a verdict must not."""
_ONE_THREAD = {"limits": 1}


class LoadedModel:
    """A classifier that tells honest from dishonest, and what it wants."""

    def __init__(self, data: bytes) -> None:
        """Load a model.

        Args:
            data: The file, as skops has written it.

        Raises:
            UnfitModel: It is not used, and why.
        """
        version = inspect(data)
        if _minor(version) != _minor(sklearn.__version__):
            raise UnfitModel(
                f"it was trained with scikit-learn {version}, which says other things than the worker's "
                f"{sklearn.__version__}: train it with that"
            )
        self._model = _load(data)
        self._positive = _positive_column(self._model)
        check_trees(self._model)
        features, names = _features_of(self._model)
        for each, _ in objects_in(self._model):
            _prepare(each)
        self._threads = ThreadpoolController()
        takes_missing = not np.isnan(self._ask(np.full((1, features), np.nan))[0])
        self.facts = ModelFacts(features=features, names=names, takes_missing=takes_missing, trained_with=version)

    def score(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give, for each row of features, how probable it is that it is dishonest; NaN where the model cannot say.

        Args:
            rows: A row for each event, with NaN for what is missing.
        """
        scores = np.full(len(rows), np.nan)
        if rows.shape[1] != self.facts.features:
            return scores
        asked = np.ones(len(rows), np.bool_) if self.facts.takes_missing else ~np.isnan(rows).any(axis=1)
        if asked.any():
            scores[asked] = self._ask(rows[asked])
        return scores

    def _ask(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        """Ask for rows at once, and by halves where one of them spoils it for the others."""
        try:
            # Several threads would add up in another order, and take the processor from whoever waits for an answer.
            with self._threads.limit(**_ONE_THREAD), np.errstate(all="ignore"):
                told = np.asarray(self._model.predict_proba(rows), np.float64)[:, self._positive]
        except Exception:  # noqa: BLE001  whatever a model raises, the others go on
            if len(rows) == 1:
                return np.full(1, np.nan)
            middle = len(rows) // 2
            return np.concatenate([self._ask(rows[:middle]), self._ask(rows[middle:])])
        if told.shape != (len(rows),):
            return np.full(len(rows), np.nan)
        return np.where((told >= 0) & (told <= 1), np.round(told, DIGITS), np.nan)


def _load(data: bytes) -> Any:
    try:
        model = skops.io.loads(data, trusted=TRUSTED)
    except Exception as error:
        raise UnfitModel(f"skops does not read it ({type(error).__name__}: {error}): dump it again") from error
    kind = f"{type(model).__module__}.{type(model).__qualname__}"
    if kind not in CLASSIFIERS:
        raise UnfitModel(f"it is {kind}, and no classifier with predict_proba: train one that docs/fraud.md names")
    return model


def _features_of(model: Any) -> tuple[int, tuple[str, ...]]:
    """Give how many features a model was trained with, and their names where they have some."""
    features = getattr(model, "n_features_in_", None)
    if not isinstance(features, int | np.integer) or features < 1:
        raise UnfitModel("it does not say with how many features it was trained: call its fit before skops.io.dump")
    if features > MOST_FEATURES:
        raise UnfitModel(
            f"it was trained with {features} features, and a rule names at most {MOST_FEATURES}: choose some"
        )
    names = tuple(str(each)[:LONGEST_NAME] for each in getattr(model, "feature_names_in_", ()))
    return int(features), names[:MOST_FEATURES]


def _positive_column(model: Any) -> int:
    """Give the column of probabilities that is about the dishonest."""
    try:
        classes = list(model.classes_)
    except Exception as error:
        raise UnfitModel("it was not trained, or does not classify: call its fit before skops.io.dump") from error
    if len(classes) != 2 or sorted(map(str, classes)) not in (["0", "1"], ["False", "True"]):
        told = ", ".join(str(each)[:32] for each in classes[:4])
        raise UnfitModel(f"its classes are {told}: train it with 1 for the dishonest and 0 for the honest")
    if not callable(getattr(model, "predict_proba", None)):
        raise UnfitModel(
            "it gives no probabilities: choose a model with predict_proba, such as SGDClassifier(loss='log_loss')"
        )
    return [str(each) in ("1", "True") for each in classes].index(True)


def _prepare(part: Any) -> None:
    """Have a part of a model work in this thread alone, on rows without names, and say nothing."""
    held = getattr(part, "__dict__", {})
    held.pop("feature_names_in_", None)
    for name, value in (("n_jobs", None), ("verbose", 0)):
        if name in held:
            held[name] = value


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
