"""Conditions that compiled windows judge, and the state of every kind of condition. Needs the extra `fraud`."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from flywheel.fraud import layout
from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.findings import Finding, State
from flywheel.fraud.kernels import put, sweep
from flywheel.fraud.links import LinkedState
from flywheel.fraud.memory import Memory
from flywheel.fraud.patterns import AccountSinceState, CreatedState, SequenceState
from flywheel.fraud.places import SpeedState
from flywheel.fraud.rule import (
    UNIT,
    AccountAge,
    Changes,
    Condition,
    Count,
    Distinct,
    Linked,
    Rate,
    Rule,
    Score,
    Sequence,
    Speed,
    Sum,
    kept,
)
from flywheel.fraud.scores import Scorer, ScoreState
from flywheel.fraud.sharding import Chooser
from flywheel.fraud.window import Window

Windowed = Count | Rate | Distinct | Sum | Changes
KINDS: dict[type, int] = {
    Count: layout.COUNT,
    Rate: layout.COUNT,
    Distinct: layout.DISTINCT,
    Sum: layout.SUM,
    Changes: layout.CHANGES,
}


class WindowState:
    """Counts, distinct members, sums and changes: in compiled windows."""

    def __init__(self, rule: Rule, condition: Windowed) -> None:
        self._rule, self.condition = rule, condition
        self.field = getattr(condition, "field", "")
        self.unusable, self.span = 0, rule.window
        self._allowed, self._observed = float(condition.more_than), _observer(rule, condition)
        self.window = Window(
            KINDS[type(condition)],
            window=rule.window,
            kept=kept(rule, condition),
            limit=_limit(rule, condition),
            lateness=rule.lateness,
            maximum=rule.maximum_keys,
            refuses=rule.when_full == "Refuse",
        )

    @property
    def born(self) -> int:
        """Time from which on it has seen everything."""
        return self.window.born

    @born.setter
    def born(self, time: int) -> None:
        self.window.born = time

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell which events go over the limit."""
        payloads, present = self._payloads(columns, keys)
        if present is not None:
            self.unusable += int(np.count_nonzero(chosen & ~present))
            chosen = chosen & present
        places = np.flatnonzero(chosen)
        found = put(
            self.window.memory.words,
            self.window.row,
            keys[places],
            columns.times[places],
            columns.clocks[places],
            payloads[places],
            len(places),
        )
        return {int(places[i]): self.finding(*seen) for i, *seen in found.tolist()}

    def _payloads(self, columns: Columns, keys: Numbers) -> tuple[Numbers, Flags | None]:
        if isinstance(self.condition, Sum):
            return columns.amounts(self.field)
        if not self.field:
            return keys, None
        members = columns.hashes(self.field)
        return members, members != 0

    def finding(self, seen: int, end: int, lost: int) -> Finding:
        """Tell what a window has found."""
        since = end - self.span
        return Finding(self._observed(seen), self._allowed, since, bool(lost), since < self.window.born)

    def advance(self, clock: int) -> None:
        """Forget a little of what no event can need any more."""
        sweep(self.window.memory.words, self.window.row, 1000, clock)

    def counters(self) -> tuple[int, int, int, int]:
        """Give how many keys there are, were evicted, how many events were refused, and what was truncated."""
        return self.window.keys, *self.window.counters()

    def keep(self, choose: Chooser) -> None:
        """Forget all keys but chosen ones."""
        self.window.keep(choose(self.window.hashes))

    def adopt(self, other: "WindowState", choose: Chooser) -> None:
        """Take chosen keys of a state of the same condition over."""
        self.window.adopt(other.window, choose(other.window.hashes))

    def dump(self) -> list[bytes]:
        """Write the window, and what was counted."""
        return [self.unusable.to_bytes(8, "little"), *self.window.dump()]

    def load(self, parts: list[bytes]) -> None:
        """Read it back. ValueError where it is of another shape."""
        self.unusable = int.from_bytes(parts[0], "little")
        self.window.load(parts[1:])

    def leave(self) -> list[Memory]:
        """Give the memory that is to be given back to the machine."""
        return [self.window.memory]


def _observer(rule: Rule, condition: Windowed) -> Callable[[int], float]:
    """Give the function that tells, of what a window counts, what the condition is about."""
    if isinstance(condition, Sum):
        return lambda seen: seen / UNIT
    if isinstance(condition, Rate):
        per = condition.per
        return lambda seen: seen * per / rule.window
    return float


def _limit(rule: Rule, condition: Windowed) -> int:
    """Give the largest whole number that is still allowed, in what the window counts."""
    if isinstance(condition, Sum):
        return int(Fraction(repr(condition.more_than)) * UNIT // 1)
    if isinstance(condition, Rate):
        return kept(rule, condition) - 1
    return condition.more_than


def state_of(rule: Rule, condition: Condition, scorer: Scorer | None) -> State:
    """Give the empty state of a condition of a rule."""
    match condition:
        case Sequence():
            return SequenceState(rule, condition)
        case AccountAge():
            since = condition.since
            return AccountSinceState(rule, condition, since) if since else CreatedState(rule, condition)
        case Speed():
            return SpeedState(rule, condition)
        case Linked():
            return LinkedState(rule, condition)
        case Score():
            return ScoreState(rule, condition, scorer)
        case _:
            return WindowState(rule, condition)
