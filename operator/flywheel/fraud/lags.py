"""How long verdicts took of late. Bounded: the latest batches of each campaign stand for all."""

import math
from collections import deque

LATEST = 1_024
"""Batches of a campaign that are remembered."""
STEPS = (1, 2, 5)


class Lags:
    """From the edge's taking events in to their verdicts, by campaign."""

    def __init__(self) -> None:
        self._seconds: dict[str, deque[float]] = {}

    def note(self, campaign: str, seconds: float) -> None:
        """Take a batch in."""
        self._seconds.setdefault(campaign, deque(maxlen=LATEST)).append(seconds)

    def p99(self, campaign: str) -> float | None:
        """Give the seconds within which 99 of 100 of the latest batches were judged; None without any."""
        known = sorted(self._seconds.get(campaign, ()))
        return known[math.ceil(0.99 * len(known)) - 1] if known else None


def rounded_up(milliseconds: float) -> int:
    """Give the next of 1, 2, 5, 10, 20, 50 ... milliseconds: a figure that stands still while nothing happens."""
    ten = 1
    while True:
        for step in STEPS:
            if milliseconds <= step * ten:
                return step * ten
        ten *= 10
