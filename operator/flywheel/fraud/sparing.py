"""Which decisions must end since their rule leaves somebody alone now: by a list, an exemption or a snooze. Pure.

A decision may be about a visitor while the list is of addresses. So it is remembered of each decision who sent the
event that led to it.
"""

from collections import OrderedDict
from collections.abc import Iterable

import msgspec

from flywheel.fraud.blocks import MOST, Decision, SubjectKind
from flywheel.fraud.erasing import People
from flywheel.fraud.listed import Lists
from flywheel.fraud.policy import Ruled
from flywheel.fraud.subjects import subjects_of
from flywheel.fraud.where import holds
from flywheel.fraud.words import Event, Value, Verdict

SENDER = ("address", "visitor", "user", "device")
"""Fields that are remembered of whoever led to a decision. Those of the key are known as well."""


class Blame(msgspec.Struct, frozen=True, array_like=True):
    """Who led to a decision."""

    until: int
    """When it ends."""
    address: str
    visitor: str
    user: str
    device: str
    key: tuple[str, ...]


class Blamed:
    """Who led to each decision that holds, as far as is known."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._known: OrderedDict[str, Blame] = OrderedDict()

    def note(self, decision: Decision, event: Event, verdict: Verdict) -> None:
        """Remember the newest event of a decision, and forget some that have ended."""
        known = self._known
        known.pop(decision.id, None)
        device = event.fields.get("device", "")
        known[decision.id] = Blame(
            decision.until,
            event.address,
            event.visitor,
            event.user,
            device if isinstance(device, str) else "",
            verdict.key,
        )
        while len(known) > self._most or next(iter(known.values())).until <= event.arrived:
            known.popitem(last=False)

    def join(self, other: "Blamed") -> None:
        """Remember what another one knows, too."""
        known = {**self._known, **dict(other.dump())}
        self._known = OrderedDict(sorted(known.items(), key=lambda each: each[1].until)[-self._most :])

    def get(self, identity: str) -> Blame | None:
        """Give who led to a decision."""
        return self._known.get(identity)

    def forget(self, people: People) -> None:
        """Forget whom decisions are due to, where it is one of these people. Decisions about others stay."""
        for identity, each in list(self._known.items()):
            senders = (("address", each.address), ("visitor", each.visitor), ("user", each.user))
            if any(people.are(*sender) for sender in senders) or people.stand_in((), each.key):
                del self._known[identity]

    def dump(self) -> list[tuple[str, Blame]]:
        """Give all that has to be kept, in an order that what comes next depends on."""
        return list(self._known.items())

    def load(self, known: Iterable[tuple[str, Blame]]) -> None:
        """Become what `dump` gave."""
        self._known = OrderedDict(known)


def is_spared(decision: Decision, blame: Blame | None, ruled: Ruled, lists: Lists, now: int) -> bool:
    """Say whether a decision must end.

    Args:
        decision: It holds now.
        blame: Who led to it, where that is known.
        ruled: The rule that it is of, as it is now.
        lists: What the lists hold now.
        now: The time, in milliseconds since 1970.
    """
    policy = ruled.policy
    allowing = [lists[of] for of in policy.lists.allow if lists.get(of)]
    if any(each.names(decision.kind, decision.value) for each in allowing):
        return True
    if blame is None:
        return False
    if any(each.key == blame.key and now < each.until for each in policy.snoozes):
        return True
    fields: dict[str, Value] = dict(zip(ruled.rule.key, blame.key, strict=False))
    event = Event(
        id=decision.event,
        time=now,
        arrived=now,
        address=blame.address,
        visitor=blame.visitor,
        user=blame.user,
        fields=fields | {"device": blame.device},
    )
    known = {*SENDER, *ruled.rule.key}
    exempt = (each for each in policy.exempt if all(condition.field in known for condition in each))
    return any(each.has(event) for each in allowing) or any(holds(each, event) for each in exempt)


def spares(ruled: Ruled) -> bool:
    """Say whether a rule leaves anybody alone."""
    policy = ruled.policy
    return bool(policy.lists.allow or policy.exempt or policy.snoozes)


def narrowed(ruled: Ruled, event: Event, lists: Lists) -> tuple[tuple[SubjectKind, str], ...]:
    """Name the subjects of a rule's action in an event; no network with somebody in it who is on an allow list.

    What is meant for such a network meets the address of the event alone.
    """
    allowing = [lists[of] for of in ruled.policy.lists.allow if lists.get(of)]
    return tuple(
        (
            kind,
            event.address if _is_network(kind, value) and any(each.names(kind, value) for each in allowing) else value,
        )
        for kind, value in subjects_of(ruled, event)
    )


def _is_network(kind: SubjectKind, value: str) -> bool:
    return kind == "address" and "/" in value
