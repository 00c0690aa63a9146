"""The decisions that hold now: who is refused, challenged or slowed down, and until when. Pure.

A versioned set: every change has a number, so that whoever knows the set as of one number is told what has changed
since. A decision ends at an absolute moment, whoever is there to see it.
"""

import heapq
import ipaddress
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from flywheel.fraud.words import ActionKind

SubjectKind = Literal["address", "visitor", "user", "device"]
MOST = 100_000
"""Decisions that are kept of one campaign: HAProxy and the pod's memory volume have to hold them all."""
LOG = 20_000
"""Changes that are remembered; whoever missed more is told everything."""
STEP = 1_000
"""Milliseconds by which a later end has to be later: the edge counts in seconds."""
STRENGTH: dict[ActionKind, int] = {"Tag": 0, "Review": 1, "Throttle": 2, "Challenge": 3, "Block": 4}
AT_THE_EDGE = frozenset({"Block", "Challenge", "Throttle"})
"""What HAProxy carries out; the other actions are for whoever asks."""


class Decision(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel", gc=False):
    """What happens to one subject, and until when."""

    id: str
    """Of rule and subject: a new decision takes the place of an older one with the same id."""
    kind: SubjectKind
    value: str
    """An address or CIDR, or the id of a visitor, user or device."""
    action: ActionKind = "Block"
    until: int
    """Milliseconds since 1970."""
    scope: tuple[str, ...] = ("/",)
    """Paths at and below which it holds."""
    status: int = 403
    """That a blocked request is answered with."""
    body: str = ""
    page: str = ""
    """Path to which a challenged client is sent."""
    pass_for: int = 0
    """Seconds for which whoever meets a challenge is let through."""
    per_second: float = 0.0
    """Requests that a throttled subject may make."""
    rule: str = ""
    event: str = ""
    """Id of the event that led to it."""
    reason: str = ""
    """For people."""

    @property
    def is_for_the_edge(self) -> bool:
        """Whether HAProxy can carry it out."""
        return self.action in AT_THE_EDGE and self.kind in ("address", "visitor")


class Change(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What somebody has to know who knows the set as of an earlier version, or nothing of it."""

    version: int
    whole: bool = False
    """Everything is told: what is not in it does not hold."""
    put: tuple[Decision, ...] = ()
    gone: tuple[str, ...] = ()


class Blocks:
    """The decisions of one campaign."""

    def __init__(self, most: int = MOST) -> None:
        self.version = 0
        self.evicted = 0
        """Decisions that ended before their time, for want of room."""
        self._most = most
        self._held: dict[str, Decision] = {}
        self._by_subject: dict[tuple[str, str], dict[str, Decision]] = {}
        self._lengths: dict[tuple[int, int], int] = {}
        """(IP version, length of prefix) -> how many networks of it are decided on."""
        self._log: deque[tuple[int, str]] = deque(maxlen=LOG)
        self._ends: list[tuple[int, str]] = []

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Decision]:
        return iter(self._held.values())

    def put(self, decision: Decision) -> bool:
        """Take a decision in; tell whether that changes anything. An earlier end does not shorten a decision.

        Whoever goes on gives cause for a decision with each event: an end that is hardly later is none.
        """
        before = self._held.get(decision.id)
        if before is not None and decision.until < before.until + STEP and _alike(before, decision):
            return False
        if before is not None:
            self._take_out(before)
        elif len(self._held) >= self._most:
            self._evict()
        self._held[decision.id] = decision
        self._by_subject.setdefault((decision.kind, decision.value), {})[decision.id] = decision
        self._count_length(decision, 1)
        self._note_end(decision)
        self._note(decision.id)
        return True

    def remove(self, identity: str) -> bool:
        """End a decision before its time; tell whether it was there."""
        found = self._held.get(identity)
        if found is not None:
            self._take_out(found)
            self._note(identity)
        return found is not None

    def unname(self, is_meant: Callable[[str], bool]) -> None:
        """Forget some of the events that led to decisions; these hold on. Edges do not know them anyway."""
        for each in [each for each in self._held.values() if each.event and is_meant(each.event)]:
            plain = msgspec.structs.replace(each, event="")
            self._held[each.id] = self._by_subject[each.kind, each.value][each.id] = plain

    def expire(self, now: int) -> int:
        """Forget what has ended by `now`, in milliseconds; give how many that were. Nobody needs to be told."""
        count = 0
        while self._ends and self._ends[0][0] <= now:
            until, identity = heapq.heappop(self._ends)
            found = self._held.get(identity)
            if found is not None and found.until == until:
                self._take_out(found)
                count += 1
        return count

    def at(self, kind: str, value: str, now: int) -> list[Decision]:
        """Give what holds for a subject at a moment, the strongest first; for an address, of its networks as well."""
        found = [each for key in self._keys(kind, value) for each in self._by_subject.get(key, {}).values()]
        return sorted((each for each in found if each.until > now), key=lambda each: (-STRENGTH[each.action], each.id))

    def since(self, version: int | None) -> Change:
        """Tell what has changed since a version; everything where that cannot be told, or where it is None."""
        first = self._log[0][0] if self._log else self.version + 1
        if version is None or version > self.version or version < first - 1:
            return Change(version=self.version, whole=True, put=tuple(self._held.values()))
        touched = {identity: None for at, identity in self._changes_after(version)}
        return Change(
            version=self.version,
            put=tuple(self._held[each] for each in touched if each in self._held),
            gone=tuple(each for each in touched if each not in self._held),
        )

    def dump(self) -> tuple[int, tuple[Decision, ...]]:
        """Give all that has to be kept to make an equal set."""
        return self.version, tuple(self._held.values())

    def load(self, version: int, decisions: Iterable[Decision]) -> None:
        """Become what `dump` gave."""
        for each in decisions:
            self.put(each)
        self._log.clear()
        self.version = version

    def _changes_after(self, version: int) -> Iterator[tuple[int, str]]:
        count = self.version - version
        return iter([self._log[index] for index in range(len(self._log) - count, len(self._log))])

    def _keys(self, kind: str, value: str) -> Iterator[tuple[str, str]]:
        yield kind, value
        if kind != "address" or not self._lengths:
            return
        try:
            address = ipaddress.ip_address(value)
        except ValueError:
            return
        for version, length in self._lengths:
            if version == address.version:
                yield kind, str(ipaddress.ip_network((address, length), strict=False))

    def _count_length(self, decision: Decision, step: int) -> None:
        """Keep count of the lengths of networks, so that a look at an address tries those alone."""
        address, slash, length = decision.value.partition("/")
        if decision.kind != "address" or not slash:
            return
        key = (6 if ":" in address else 4, int(length))
        self._lengths[key] = self._lengths.get(key, 0) + step
        if not self._lengths[key]:
            del self._lengths[key]

    def _take_out(self, decision: Decision) -> None:
        del self._held[decision.id]
        subject = (decision.kind, decision.value)
        others = self._by_subject[subject]
        del others[decision.id]
        if not others:
            del self._by_subject[subject]
        self._count_length(decision, -1)

    def _note_end(self, decision: Decision) -> None:
        heapq.heappush(self._ends, (decision.until, decision.id))
        if len(self._ends) > 2 * len(self._held) + LOG:
            # Ends that were put off are in there, too.
            self._ends = [(each.until, each.id) for each in self._held.values()]
            heapq.heapify(self._ends)

    def _evict(self) -> None:
        """Give up the decision that would end first."""
        while self._ends:
            until, identity = heapq.heappop(self._ends)
            found = self._held.get(identity)
            if found is not None and found.until == until:
                self._take_out(found)
                self._note(identity)
                self.evicted += 1
                return

    def _note(self, identity: str) -> None:
        self.version += 1
        self._log.append((self.version, identity))


def _alike(one: Decision, other: Decision) -> bool:
    """Whether two decisions differ in nothing but their end and what led to them."""
    plain = {"until": 0, "event": "", "reason": ""}
    return msgspec.structs.replace(one, **plain) == msgspec.structs.replace(other, **plain)
