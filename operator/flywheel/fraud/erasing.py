"""Who is to be erased at a worker, and what of all that it keeps is about them. Pure.

An erasure names people by the ids under which they are kept. It is a record of the journal, so that whoever replays
the journal erases as well; what it names goes out of state and journal again once nothing else does.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Protocol, runtime_checkable

import msgspec

from flywheel.fraud.blocks import Decision
from flywheel.fraud.labels import Label
from flywheel.fraud.pardons import Pardon
from flywheel.fraud.verdicts import LONGEST_VALUE, Kept
from flywheel.fraud.words import Event

MOST_NAMES = 1_000
"""Ids in one erasure."""
MOST_OPEN = 100
"""Erasures of a campaign that are under way at once."""
MOST_KNOWN = 1_000
"""Erasures of a campaign whose receipts are known."""
MOST_LATE = 10_000
LATE = 86_400_000
"""Milliseconds for which events from before an erasure may still come from an edge that could not reach the worker."""
NamesOf = Callable[[str], Sequence[str]]
"""Gives the fields of a rule's key; none for a rule that is not known any more."""


class Erasure(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One request: these people are to be found nowhere any more."""

    receipt: str
    at: int
    """When it was asked for, in milliseconds since 1970."""
    visitors: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    """As they are, and as verdicts are kept with them."""
    events: tuple[str, ...] = ()
    """Ids of events that are known to be theirs, of those that labels or samples name."""

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """All ids, each with the field that it stands in."""
        kinds = (("visitor", self.visitors), ("user", self.users), ("address", self.addresses))
        return tuple((kind, value) for kind, values in kinds for value in values)


class Progress(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """How far an erasure has come; it names nobody."""

    receipt: str
    at: int
    gone: bool = False
    """Nothing on the volume names them any more."""


class People:
    """Those whom an erasure names, ready to be asked."""

    def __init__(self, erasure: Erasure) -> None:
        self._erasure = erasure
        self._events = frozenset(erasure.events)

    @cached_property
    def _by_field(self) -> dict[str, frozenset[str]]:
        each = self._erasure
        # Archives cut ids at that length.
        return {kind: frozenset(value[:LONGEST_VALUE] for value in values) for kind, values in (
            ("visitor", each.visitors), ("user", each.users), ("address", each.addresses)
        )}  # fmt: skip

    @cached_property
    def _all(self) -> frozenset[str]:
        return frozenset().union(*self._by_field.values())

    def are(self, kind: str, value: str) -> bool:
        """Tell whether an id of a kind is theirs."""
        return value in self._by_field.get(kind, ())

    def stand_in(self, names: Sequence[str], key: Sequence[str]) -> bool:
        """Tell whether a rule's key names them; where its fields are not known, whether any of its values does."""
        if len(names) != len(key):
            return any(value in self._all for value in key)
        return any(self.are(name, value) for name, value in zip(names, key, strict=True))

    def sent(self, event: str) -> bool:
        """Tell whether an event is known to be theirs."""
        return event in self._events

    def did(self, event: Event) -> bool:
        """Tell whether an event is theirs."""
        ids = (("visitor", event.visitor), ("user", event.user), ("address", event.address))
        return self.sent(event.id) or any(self.are(kind, value[:LONGEST_VALUE]) for kind, value in ids)

    def are_in(self, kept: Kept) -> bool:
        """Tell whether a verdict is about them."""
        return (
            self.are("visitor", kept.visitor)
            or self.are("user", kept.user)
            or self.are("address", kept.address)
            or self.stand_in(kept.names, kept.key)
        )

    def are_meant_by(self, label: Label, names_of: NamesOf) -> bool:
        """Tell whether a label is about them, or about an event of theirs."""
        if label.kind == "event":
            return self.sent(label.value[0])
        if label.kind == "key":
            return self.stand_in(names_of(label.rule), label.value)
        return self.are(label.kind, label.value[0])

    def have(self, subject: Decision | Pardon) -> bool:
        """Tell whether a decision, or an exception, is about them alone; a network is about many."""
        return self.are(subject.kind, subject.value)


@runtime_checkable
class ForgettingEngine(Protocol):
    """An engine that remembers more of people than hashes."""

    def key_of(self, rule: str) -> Sequence[str]:
        """Give the fields of a rule's key; none for a rule that is not known."""

    def sampled(self) -> Iterable[str]:
        """Give the ids of the events that samples name."""

    def forget(self, people: People) -> None:
        """Forget who they are, wherever it names them."""


class Erasures:
    """The erasures of one campaign: those under way, how far the others came, and who may still come late."""

    def __init__(self) -> None:
        self.open: dict[str, Erasure] = {}
        """With the names of those whom they are about."""
        self.again: dict[str, Erasure] = {}
        """Those that this process has met since it began: what it replays may bring back what they erased. Not a part
        of the state."""
        self._known: dict[str, Progress] = {}
        self._late: dict[str, int] = {}

    def ask(self, erasure: Erasure, marks: Iterable[str]) -> None:
        """Take one in, or what became known of it.

        Args:
            erasure: With all names.
            marks: Its names as they are remembered in the end: hashes.
        """
        self.open[erasure.receipt] = self.again[erasure.receipt] = erasure
        self._known.setdefault(erasure.receipt, Progress(receipt=erasure.receipt, at=erasure.at))
        for each in marks:
            self._late.pop(each, None)
            self._late[each] = erasure.at
        while len(self._late) > MOST_LATE:
            del self._late[next(iter(self._late))]
        while len(self._known) > MOST_KNOWN:
            del self._known[next(iter(self._known))]

    def step(self, receipt: str, *, gone: bool) -> None:
        """Go on with one: its names are forgotten."""
        self.open.pop(receipt, None)
        if (known := self._known.get(receipt)) is not None:
            self._known[receipt] = msgspec.structs.replace(known, gone=gone)

    def came_before(self, marks: Iterable[str], at: int, now: int) -> bool:
        """Tell whether what happened then is of somebody who was erased after it."""
        if not self._late:
            return False
        while self._late and (first := next(iter(self._late))) and self._late[first] + LATE < now:
            del self._late[first]
        return any(at <= self._late.get(each, -1) for each in marks)

    def known(self, receipt: str) -> Progress | None:
        """Tell how far one has come; None for a receipt that was never given, or long ago."""
        return self._known.get(receipt)

    def unfinished(self) -> Iterator[Progress]:
        """Give those that are not done."""
        return (each for each in self._known.values() if not each.gone)

    def dump(self) -> "ErasuresState":
        """Give all that has to be kept."""
        return ErasuresState(tuple(self.open.values()), tuple(self._known.values()), tuple(self._late.items()))

    def load(self, state: "ErasuresState") -> None:
        """Become what `dump` gave."""
        self.open = {each.receipt: each for each in state.open}
        self.again = dict(self.open)
        self._known = {each.receipt: each for each in state.known}
        self._late = dict(state.late)


class ErasuresState(msgspec.Struct, frozen=True, array_like=True):
    """The erasures of one campaign in a snapshot."""

    open: tuple[Erasure, ...] = ()
    known: tuple[Progress, ...] = ()
    late: tuple[tuple[str, int], ...] = ()
