"""What every kind of condition is to a rule at work, and what it finds. Needs the extra `fraud`."""

from typing import Any, Protocol

import msgspec

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.keeper import Keeper
from flywheel.fraud.memory import Memory
from flywheel.fraud.sharding import Chooser


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
    """Time from which on it has seen everything; 0 before the first event."""
    span: int
    """Milliseconds that it looks back; 0 where it keeps nothing."""
    unusable: int
    """Events that lacked what the condition looks at."""

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell by index which of the chosen events meet the condition.

        Args:
            columns: The batch.
            keys: Hashes of the rule's keys; 0 where one is missing.
            chosen: The events that the rule is to judge.
            usable: Those that are neither repeated, too late nor another shard's, whether they match or not.
        """

    def advance(self, clock: int) -> None:
        """Forget a little of what no event can need any more."""

    def counters(self) -> tuple[int, int, int, int]:
        """Give how many keys there are, were evicted, how many events were refused, and what was truncated."""

    def keep(self, choose: Chooser) -> None:
        """Forget all keys but chosen ones."""

    def adopt(self, other: Any, choose: Chooser) -> None:
        """Take chosen keys of a state of the same condition over."""

    def dump(self) -> list[bytes]:
        """Write the state."""

    def load(self, parts: list[bytes]) -> None:
        """Read it back. ValueError where it is no such state."""

    def leave(self) -> list[Memory]:
        """Give the memory that is to be given back to the machine."""


class Kept:
    """The part that conditions in plain Python share: some keepers, and what is counted."""

    def __init__(self, *keepers: Keeper, span: int, lateness: int) -> None:
        self.keepers = keepers
        self.span, self._lateness = span, lateness
        self.born = self.unusable = self.truncated = 0

    def over(self, clock: int) -> int:
        """Give the time that nothing at or before matters any more."""
        return clock - self._lateness - self.span

    def advance(self, clock: int) -> None:
        """Forget a little of what no event can need any more."""
        for keeper in self.keepers:
            keeper.sweep(self.over(clock), 500)

    def counters(self) -> tuple[int, int, int, int]:
        """Give how many keys there are, were evicted, how many events were refused, and what was truncated."""
        keepers = self.keepers
        return (
            sum(each.keys for each in keepers),
            sum(each.evicted for each in keepers),
            sum(each.refused for each in keepers),
            self.truncated,
        )

    def keep(self, choose: Chooser) -> None:
        """Forget all keys but chosen ones."""
        for each in self.keepers:
            each.keep(choose)

    def adopt(self, other: "Kept", choose: Chooser) -> None:
        """Take chosen keys of a state of the same condition over."""
        for mine, theirs in zip(self.keepers, other.keepers, strict=True):
            mine.adopt(theirs, choose)

    def extra(self) -> list[int]:
        """Give the numbers that are to be kept beside the keepers' entries."""
        return [self.born, self.unusable, self.truncated]

    def set_extra(self, numbers: list[int]) -> None:
        """Take them back."""
        self.born, self.unusable, self.truncated = numbers

    def dump(self) -> list[bytes]:
        """Write the state."""
        return [msgspec.msgpack.encode(self.extra()), *(each.dump() for each in self.keepers)]

    def load(self, parts: list[bytes]) -> None:
        """Read it back. ValueError where it is no such state."""
        if len(parts) != 1 + len(self.keepers):
            raise ValueError("a condition in the snapshot has another shape")
        self.set_extra(msgspec.msgpack.decode(parts[0], type=list[int]))
        for keeper, part in zip(self.keepers, parts[1:], strict=True):
            keeper.load(part)

    def leave(self) -> list[Memory]:
        """Give no memory: Python looks after it."""
        return []
