"""From counters that are read now and then to a rate: restarts, pods that come and go, and readings that are missing.

A rate that is not known is None, never zero: an autoscaler that is told zero takes pods away in the middle of the sale.
"""

from collections import deque
from collections.abc import Collection, Hashable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

WINDOW = 30.0
STALE = 15.0
LEAST_KNOWN = 0.5
"""Share of the pods whose rate must be known for that of all to be told."""

Series = Hashable


@dataclass(frozen=True, slots=True)
class Reading:
    """The counters of one pod at one moment; what is not among them has not counted anything yet."""

    at: float
    counters: Mapping[Any, float]


@dataclass(frozen=True, slots=True)
class Rate:
    """So much per second over all pods, and over how many seconds it was measured."""

    per_second: float
    window: float


class Readings:
    """The last readings of each pod; older ones than the window needs are dropped."""

    def __init__(self, window: float = WINDOW, stale: float = STALE) -> None:
        self._window = window
        self._stale = stale
        self._pods: dict[str, deque[Reading]] = {}

    def add(self, pod: str, reading: Reading) -> None:
        """Add a reading; one that is not later than the last one of this pod is left out."""
        kept = self._pods.setdefault(pod, deque())
        if kept and reading.at <= kept[-1].at:
            return
        kept.append(reading)
        while kept[0].at < reading.at - self._window:
            kept.popleft()

    def keep_only(self, pods: Collection[str]) -> None:
        """Forget every pod that is not among `pods`."""
        for gone in self._pods.keys() - set(pods):
            del self._pods[gone]

    def rate(self, series: Series, pods: Collection[str], now: float) -> Rate | None:
        """Return the rate of `series` over `pods`, or None where too little is known.

        A pod that has been read once only has just come and is left out for a moment. Of pods that cannot be read it is
        assumed that they do as the others do, as visitors are spread evenly over them; but not for more than half.
        """
        measured, missing = [], 0
        for pod in pods:
            readings = self._pods.get(pod)
            if not readings or now - readings[-1].at > self._stale:
                missing += 1
            elif len(readings) > 1:
                measured.append(_rate(series, readings))
        known = len(measured)
        if not known or known < LEAST_KNOWN * (known + missing):
            return None
        total = sum(rate.per_second for rate in measured) * (known + missing) / known
        return Rate(total, max(rate.window for rate in measured))


def _rate(series: Series, readings: Collection[Reading]) -> Rate:
    ordered = list(readings)
    counted = sum(
        increase(before.counters.get(series, 0.0), after.counters.get(series, 0.0))
        for before, after in pairwise(ordered)
    )
    seconds = ordered[-1].at - ordered[0].at
    return Rate(counted / seconds, seconds)


def increase(before: float, after: float) -> float:
    """Return by how much a counter grew; one that is smaller than before has started anew from zero."""
    return after - before if after >= before else after
