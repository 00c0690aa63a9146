"""Train a model that a FraudRule can ask, and write it for a ConfigMap.

python train.py model.skops                  made-up claims, to try it
python train.py model.skops labelled.csv     your own: a column for each feature, and last `dishonest`, which is 1 or 0

Needs scikit-learn and skops as the worker has them: `pip install --require-hashes -r requirements/fraud.txt`.
"""

import csv
import hashlib
import sys
import zipfile
from pathlib import Path

import numpy as np
import skops.io
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import average_precision_score, precision_recall_curve
from sklearn.model_selection import train_test_split

FEATURES = ["properties.basket", "properties.value", "context.screen.width"]
"""Fields of events, in the order of `features` in the rule."""
WANTED = 0.95
"""Share of those who are found that has to be dishonest; as `minimumPrecision` in the rule."""
LARGEST = 1 << 20
"""Bytes that a ConfigMap holds."""
Numbers = NDArray[np.float64]


def read(path: Path) -> tuple[Numbers, Numbers]:
    """Read features and labels; an empty cell is a missing feature."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    if header != [*FEATURES, "dishonest"]:
        sys.exit(f"{path}: the first line has to be {','.join(FEATURES)},dishonest and is {','.join(header)}")
    cells = np.array([[float(cell) if cell else np.nan for cell in line] for line in lines])
    return cells[:, :-1], cells[:, -1]


def made_up(count: int = 6000, seed: int = 618) -> tuple[Numbers, Numbers]:
    """Make claims up: scripts take large coupons for small orders, on screens that nobody has."""
    random = np.random.default_rng(seed)
    dishonest = (random.random(count) < 0.1).astype(float)
    basket = random.lognormal(4.0 - 2.0 * dishonest, 0.7)
    value = random.lognormal(1.0 + 1.2 * dishonest, 0.5)
    screen = random.choice([360.0, 390.0, 412.0, 1440.0, 1920.0], count)
    screen = np.where((dishonest == 1) & (random.random(count) < 0.7), 800.0, screen)
    # Half of the browsers do not tell.
    screen[random.random(count) < 0.5] = np.nan
    return np.column_stack([basket, value, screen]), dishonest


def main(target: Path, source: Path | None) -> None:
    """Train, say how well it does on what it has not seen, and write the file."""
    rows, dishonest = made_up() if source is None else read(source)
    seen, unseen, known, asked = train_test_split(rows, dishonest, test_size=0.3, random_state=618, stratify=dishonest)
    model = HistGradientBoostingClassifier(max_iter=60, max_leaf_nodes=15, random_state=618).fit(
        seen, known.astype(int)
    )
    scores = model.predict_proba(unseen)[:, 1]
    precision, recall, limits = precision_recall_curve(asked, scores)
    fitting = np.flatnonzero(precision[:-1] >= WANTED)
    data = skops.io.dumps(model, compression=zipfile.ZIP_DEFLATED)
    if len(data) > LARGEST:
        sys.exit(f"{len(data)} bytes are more than a ConfigMap holds: lower max_iter or max_leaf_nodes")
    target.write_bytes(data)
    print(f"average precision {average_precision_score(asked, scores):.2f} on {len(asked)} events that it has not seen")
    if len(fitting):
        at = fitting[0]
        print(
            f"moreThan: {limits[at]:.2f}    finds {recall[at]:.0%} of the dishonest, "
            f"{precision[at]:.0%} of its finds are right"
        )
    else:
        print(f"no limit reaches a precision of {WANTED:.0%}: leave the rule in Shadow, or add features")
    print(f"digest: sha256:{hashlib.sha256(data).hexdigest()}    {len(data)} bytes in {target}")


if __name__ == "__main__":
    if not 2 <= len(sys.argv) <= 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else None)
