"""What a back-test has found: the store's answers put together, and the limit that follows from them. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import chain, repeat, zip_longest
from typing import Any

from flywheel.fraud.backtest import LARGEST, Trial
from flywheel.insight.kpi import Rows

_BY_RUNG = ("hits", "keys", "visitors", "customers")
"""Columns of the answer: for each limit a number, as far as there are any; and fields of a point."""


@dataclass(frozen=True, slots=True)
class Point:
    """What one limit finds."""

    limit: float
    """As it is written in the rule; of times, in milliseconds."""
    hits: int = 0
    keys: int = 0
    visitors: int = 0
    """Of these keys."""
    customers: int = 0
    """Those of them who have paid for an order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The event that stands out most among those of its key."""

    happened: int
    """Milliseconds since 1970."""
    number: int
    """Hash of its id."""
    observed: float
    """What was measured, in the rule's unit; of times, in milliseconds. Infinite where another condition was met."""
    id: str = ""
    key: tuple[str, ...] = ()
    visitor: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a rule would have found."""

    events: int
    """That it matches."""
    late: int
    """Of these, came too late to be judged."""
    lacking: Mapping[str, int]
    """Of these, lack a field that the rule needs: by field."""
    curve: tuple[Point, ...]
    """By limit: each finds less than the one before, or as much."""
    current: int
    """Which of them is the rule's own."""
    nameless: int
    """Hits of nobody known: without consent there is no visitor, so whether it is a customer cannot be told."""
    samples: tuple[Sample, ...]
    exempt: int = 0
    """Events beside the hits that break the rule and are exempt from what follows."""

    @property
    def own(self) -> Point:
        """What the rule itself finds."""
        return self.curve[self.current]

    @property
    def recommended(self) -> Point | None:
        """The limit that finds most and hits no customer; None where each that finds anything does."""
        return next((each for each in self.curve if each.hits and not each.customers), None)


def found_of(trial: Trial, counts: Rows, found: Rows) -> Found:
    """Put the answers to `counts_statement` and `found_statement` together."""
    counted, row = _first(counts), _first(found)
    needed = trial.needed()
    counts_by_rung = zip_longest(*(row.get(name) or [] for name in _BY_RUNG), fillvalue=0)
    rungs = chain(counts_by_rung, repeat(()))
    curve = tuple(Point(limit, *map(int, each)) for limit, each in zip(trial.limits.given, rungs, strict=False))
    return Found(
        events=int(counted.get("events") or 0),
        late=int(counted.get("late") or 0),
        lacking={name: int(counted.get(f"lacking{index}") or 0) for index, name in enumerate(needed)},
        curve=curve,
        current=trial.limits.current,
        nameless=int(row.get("nameless") or 0),
        samples=tuple(
            Sample(int(happened), int(number), _observed(trial, -float(value)))
            for value, happened, number in row.get("samples") or []
            if -float(value) > trial.own
        ),
        exempt=int(row.get("exempt") or 0),
    )


def sampled(found: Found, rows: Rows) -> Found:
    """Tell ids, keys and visitors of the samples, from the answer to `samples_statement`."""
    known = {int(row["number"]): row for row in rows}
    samples = (
        replace(
            each,
            id=str(known[each.number]["id"]),
            key=tuple(map(str, known[each.number]["key"])),
            visitor=str(known[each.number]["visitor"]),
        )
        for each in found.samples
        if each.number in known
    )
    return replace(found, samples=tuple(samples))


def _observed(trial: Trial, value: float) -> float:
    return trial.limits.written(value) if abs(value) < LARGEST else math.inf


def _first(rows: Rows) -> Mapping[str, Any]:
    return rows[0] if rows else {}
