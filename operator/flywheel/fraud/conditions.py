"""What every kind of condition is to the engine, and the kinds that compiled windows judge. Needs the extra `fraud`."""

from fractions import Fraction
from typing import Protocol

import msgspec
import numpy as np

from flywheel.fraud import layout
from flywheel.fraud.arena import Arena
from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.kernels import run, sweep
from flywheel.fraud.rule import UNIT, Changes, Count, Distinct, Rate, Rule, Sum, kept
from flywheel.fraud.window import Window

Windowed = Count | Rate | Distinct | Sum | Changes
KINDS: dict[type, int] = {
    Count: layout.COUNT,
    Rate: layout.COUNT,
    Distinct: layout.DISTINCT,
    Sum: layout.SUM,
    Changes: layout.CHANGES,
}


class Finding(msgspec.Struct, frozen=True):
    """That a condition is met by an event, and by how much."""

    observed: float
    limit: float
    since: int
    saturated: bool = False
    warming: bool = False
    detail: str = ""


class State(Protocol):
    """The state of one condition, and how it judges a batch."""

    born: int
    """Time from which on it has seen everything."""
    unusable: int
    """Events that lacked what the condition looks at."""

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell by index which of the chosen events meet the condition.

        Args:
            columns: The batch.
            keys: Hashes of the rule's keys.
            chosen: The events that the rule is to judge.
            usable: Those that are neither repeated, too late, without a key nor another shard's, matched or not.
        """

    def advance(self, clock: int) -> None:
        """Forget a little of what no event can need any more."""

    def counters(self) -> tuple[int, int, int, int]:
        """Give how many keys there are, were evicted, how many events were refused, and what was truncated."""

    def dump(self) -> list[bytes]:
        """Write the state."""

    def load(self, parts: list[bytes]) -> None:
        """Read it back. ValueError where it is no such state."""

    def free(self) -> None:
        """Give memory back."""


class WindowState:
    """Counts, distinct members, sums and changes: in compiled windows."""

    def __init__(self, arena: Arena, rule: Rule, condition: Windowed) -> None:
        self._rule, self._condition, self._memory = rule, condition, arena
        self._field = getattr(condition, "field", "")
        self.unusable = 0
        self.window = Window(
            arena,
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
        found = np.empty((len(keys), 3), np.int64)
        if not run(self._memory.words, self.window.row, keys, columns.times, columns.clocks, payloads, chosen, found):
            return {}
        hits = np.flatnonzero(found[:, 0] >= 0)
        return {i: self._finding(*seen) for i, seen in zip(hits.tolist(), found[hits].tolist(), strict=True)}

    def _payloads(self, columns: Columns, keys: Numbers) -> tuple[Numbers, Flags | None]:
        if isinstance(self._condition, Sum):
            return columns.amounts(self._field)
        if not self._field:
            return keys, None
        members = columns.hashes(self._field)
        return members, members != 0

    def _finding(self, seen: int, end: int, lost: int) -> Finding:
        condition, since = self._condition, end - self._rule.window
        observed = float(seen)
        if isinstance(condition, Sum):
            observed = seen / UNIT
        elif isinstance(condition, Rate):
            observed = seen * condition.per / self._rule.window
        return Finding(observed, float(condition.more_than), since, bool(lost), since < self.born)

    def advance(self, clock: int) -> None:
        """Forget a little of what no event can need any more."""
        sweep(self._memory.words, self.window.row, 1000, clock)

    def counters(self) -> tuple[int, int, int, int]:
        """Give how many keys there are, were evicted, how many events were refused, and what was truncated."""
        return self.window.keys, *self.window.counters()

    def dump(self) -> list[bytes]:
        """Write the window, and what was counted."""
        return [self.unusable.to_bytes(8, "little"), *self.window.dump()]

    def load(self, parts: list[bytes]) -> None:
        """Read it back. ValueError where it is of another shape."""
        self.unusable = int.from_bytes(parts[0], "little")
        self.window.load(parts[1:])

    def free(self) -> None:
        """Give the window's memory back."""
        self.window.free()


def _limit(rule: Rule, condition: Windowed) -> int:
    """Give the largest whole number that is still allowed, in what the window counts."""
    if isinstance(condition, Sum):
        return int(Fraction(repr(condition.more_than)) * UNIT // 1)
    if isinstance(condition, Rate):
        return kept(rule, condition) - 1
    return condition.more_than
