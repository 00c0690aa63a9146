"""What a model says of an event. The model itself is handed in. Needs the extra `fraud`.

Features are numbers; `true` and `false` are 1 and 0. Whatever else stands in a field, or nothing, is a missing feature.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.columns import Columns, columns_of
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.findings import Finding, Kept
from flywheel.fraud.rule import Rule, Score
from flywheel.fraud.words import Event, Value

LARGEST_FEATURE = 1e38
"""Beyond it a number counts as missing: trees compare in single precision, and a model takes no infinity."""
Rows = NDArray[np.float64]
"""The features of some events, a row for each; NaN for what is missing."""
Scorer = Callable[[str, Rows], Rows]
"""Gives the scores for rows of a model's features, by the digest of the model; NaN where it cannot tell."""


class ScoreState(Kept):
    """Keeps nothing. An event whose score cannot be told is counted, and is not suspicious."""

    def __init__(self, rule: Rule, condition: Score, scorer: Scorer | None) -> None:
        self._condition, self._scorer = condition, scorer
        super().__init__(span=0, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Tell which events score too high."""
        asked = np.flatnonzero(chosen)
        if not len(asked):
            return {}
        if self._scorer is None:
            self.unusable += len(asked)
            return {}
        scores = self._scorer(self._condition.model, features_of(columns, self._condition, chosen))
        self.unusable += int(np.count_nonzero(np.isnan(scores)))
        high = scores > self._condition.more_than
        detail = f"model {self._condition.model}"
        return {
            i: Finding(score, self._condition.more_than, int(columns.times[i]), detail=detail)
            for i, score in zip(asked[high].tolist(), scores[high].tolist(), strict=True)
        }


class Question(NamedTuple):
    """What a model is to be asked."""

    model: str
    rows: Rows


def questions(rules: Iterable[Rule], events: Sequence[Event]) -> list[Question]:
    """Give what some rules' models will be asked of some events: of all that the rules match."""
    columns = columns_of(events, np.zeros(2, np.uint64), 0)
    asked = [
        Question(condition.model, features_of(columns, condition, columns.matching(rule.match)))
        for rule in rules
        for condition in rule.conditions
        if isinstance(condition, Score)
    ]
    return [each for each in asked if len(each.rows)]


def features_of(columns: Columns, condition: Score, chosen: Flags) -> Rows:
    """Give the features of the chosen events."""
    rows = np.empty((int(np.count_nonzero(chosen)), len(condition.features)))
    indices = np.flatnonzero(chosen).tolist()
    for number, name in enumerate(condition.features):
        values = columns.values(name)
        rows[:, number] = [feature(values[i]) for i in indices]
    return rows


def feature(value: Value | None) -> float:
    """Give a value as a feature; NaN for what is none."""
    if not isinstance(value, bool | int | float) or not -LARGEST_FEATURE <= value <= LARGEST_FEATURE:
        return float("nan")
    return float(value)
