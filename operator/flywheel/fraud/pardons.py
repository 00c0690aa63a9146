"""Who is left alone for a while, whatever the rules find: given by a person, with a reason and an end. Pure."""

import ipaddress
from collections.abc import Callable, Collection, Iterable, Iterator

import msgspec

from flywheel.fraud.blocks import Decision, SubjectKind
from flywheel.fraud.words import Event

MOST = 1_000
"""Of one campaign: they are for those who complain, lists are for the many."""
LONGEST_REASON = 256


class Pardon(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """One who is left alone."""

    kind: SubjectKind
    value: str
    """An address or network, or the id of a visitor, user or device."""
    until: int
    """First moment at which it is over, in milliseconds since 1970; one in the past takes it back."""
    rule: str = ""
    """The one that is meant; empty for all."""
    reason: str = ""
    by: str = ""

    @property
    def subject(self) -> tuple[str, str, str]:
        """What it is about: a later one of the same takes its place."""
        return self.kind, self.value, self.rule


class Pardons:
    """Those of one campaign."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._held: dict[tuple[str, str, str], Pardon] = {}

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Pardon]:
        return iter(self._held.values())

    def has_room_for(self, pardon: Pardon, now: int) -> bool:
        """Tell whether one more fits."""
        held = sum(each.until > now for each in self._held.values())
        return held < self._most or pardon.subject in self._held or pardon.until <= now

    def put(self, pardon: Pardon, now: int) -> None:
        """Take one in, and let go of what is over."""
        self._held.pop(pardon.subject, None)
        self._held = {key: each for key, each in self._held.items() if each.until > now}
        if pardon.until > now and len(self._held) < self._most:
            self._held[pardon.subject] = pardon

    def drop(self, is_meant: Callable[[Pardon], bool]) -> None:
        """Let go of some."""
        self._held = {key: each for key, each in self._held.items() if not is_meant(each)}

    def of(self, rule: str, event: Event) -> Pardon | None:
        """Give the one by which the sender of an event is left alone by a rule; None where there is none."""
        if not self._held:
            return None
        device = event.fields.get("device", "")
        senders: tuple[tuple[SubjectKind, object], ...] = (
            ("address", event.address),
            ("visitor", event.visitor),
            ("user", event.user),
            ("device", device),
        )
        for kind, value in senders:
            if value and (found := self.about(kind, str(value), rule, event.arrived)):
                return found
        return None

    def about(self, kind: str, value: str, rule: str, now: int) -> Pardon | None:
        """Give the one by which a subject is left alone by a rule at a moment; None where there is none."""
        fitting = (each for each in self._held.values() if each.kind == kind and each.rule in ("", rule))
        return next((each for each in fitting if each.until > now and _meets(kind, each.value, value)), None)

    def meeting(self, kind: str, value: str, now: int) -> Iterator[Pardon]:
        """Give all by which a subject is left alone at a moment, by whatever rules."""
        for each in self._held.values():
            if each.kind == kind and each.until > now and _meets(kind, each.value, value):
                yield each

    def dump(self) -> tuple[Pardon, ...]:
        """Give all of them."""
        return tuple(self._held.values())

    def load(self, pardons: Iterable[Pardon]) -> None:
        """Become what `dump` gave."""
        self._held = {each.subject: each for each in pardons}


def ended_by(pardon: Pardon, decisions: Collection[Decision]) -> list[str]:
    """Give the ids of the decisions that a pardon ends: those about its subject, or about a network that has it."""
    meant = [
        each
        for each in decisions
        if each.kind == pardon.kind and pardon.rule in ("", each.rule) and _meets(each.kind, pardon.value, each.value)
    ]
    return [each.id for each in together(meant, decisions)]


def together(some: Collection[Decision], decisions: Iterable[Decision]) -> list[Decision]:
    """Give some decisions and those that the same event led to: a user is stopped at the edge as a visitor."""
    ids = {each.id for each in some}
    causes = {(each.rule, each.event) for each in some if each.event}
    return [each for each in decisions if each.id in ids or (each.rule, each.event) in causes]


def _meets(kind: str, one: str, other: str) -> bool:
    if one == other:
        return True
    if kind != "address" or ("/" not in one and "/" not in other):
        return False
    try:
        first, second = ipaddress.ip_network(one, strict=False), ipaddress.ip_network(other, strict=False)
    except ValueError:
        return False
    return first.version == second.version and first.overlaps(second)
