"""Scores that are asked for before they are needed: in another thread, and for many events at once.

A model takes as long as a hundred windows. So it is asked about a slice of events while others have their turn, and who
judges finds the answer. What was not asked for ahead is asked for then: the answer is the same, it only takes longer.
"""

from collections.abc import Callable, Iterable

import numpy as np

from flywheel.fraud.scores import Question, Rows, Scorer


class Foresight:
    """Remembers the scores of one slice of events."""

    def __init__(self, scorer: Scorer, knows: Callable[[str], bool]) -> None:
        """Begin with nothing.

        Args:
            scorer: Who is asked.
            knows: Whether a model has been handed over, as far as the journal has been read. One that has not gives no
                score, even where its file is there already: a replay must not know more than was known then.
        """
        self._scorer, self._knows = scorer, knows
        self._told: dict[tuple[str, bytes], float] = {}

    def foresee(self, asked: Iterable[Question]) -> None:
        """Ask for scores, and forget those of the slice before."""
        self._told = {}
        for model, rows in asked:
            self._ask(model, rows)

    def __call__(self, model: str, rows: Rows) -> Rows:
        """Give the scores for rows of a model's features; NaN where it cannot tell."""
        if not self._knows(model):
            return np.full(len(rows), np.nan)
        keys = [(model, row.tobytes()) for row in rows]
        unknown = [i for i, key in enumerate(keys) if key not in self._told]
        if unknown:
            self._ask(model, rows[unknown])
        return np.array([self._told[key] for key in keys], np.float64)

    def _ask(self, model: str, rows: Rows) -> None:
        if self._knows(model):
            scores = self._scorer(model, rows).tolist()
            self._told.update(((model, row.tobytes()), score) for row, score in zip(rows, scores, strict=True))
