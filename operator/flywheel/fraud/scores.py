"""What a model says of an event. The model itself is handed in. Needs the extra `fraud`."""

from collections.abc import Callable

import numpy as np

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.findings import Finding, Kept
from flywheel.fraud.rule import Rule, Score
from flywheel.fraud.words import Value

Scorer = Callable[[str, tuple[Value | None, ...]], float]
"""Gives the score for values of a model's features, by the digest of the model."""


class ScoreState(Kept):
    """Keeps nothing. An event whose score cannot be told is counted, and is not suspicious."""

    def __init__(self, rule: Rule, condition: Score, scorer: Scorer | None) -> None:
        self._condition, self._scorer = condition, scorer
        super().__init__(span=0, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Tell which events score too high."""
        values = [columns.values(name) for name in self._condition.features]
        found = {}
        for i in np.flatnonzero(chosen).tolist():
            score = self._score(tuple(None if column[i] == "" else column[i] for column in values))
            if score is None or score != score:
                self.unusable += 1
            elif score > self._condition.more_than:
                time, detail = int(columns.times[i]), f"model {self._condition.model}"
                found[i] = Finding(score, self._condition.more_than, time, detail=detail)
        return found

    def _score(self, features: tuple[Value | None, ...]) -> float | None:
        if self._scorer is None:
            return None
        try:
            return float(self._scorer(self._condition.model, features))
        except Exception:  # noqa: BLE001  whatever a model raises, the others go on
            return None
