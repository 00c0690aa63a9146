"""The fraud worker's decisions in HAProxy's terms, kept up to date subject by subject. Pure.

Several decisions may hold for one subject: their scopes become one policy, and the subject is looked at anew when the
first of them ends. HAProxy takes the narrowest network that fits, so each has to know what holds for those around it.
"""

import base64
import functools
import hashlib
import heapq
import ipaddress
import re
from collections.abc import Container, Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from flywheel.edge.fraudrules import (
    ADDRESSES,
    BLOCKED,
    CHALLENGED,
    FRAUD_MAPS,
    FREE,
    KEYS,
    POLICIES,
    SCOPES,
    STATUSES,
    STRICTEST,
    THROTTLE_PERIOD,
    THROTTLED,
    VISITORS,
)
from flywheel.edge.livemaps import VISITOR_PATTERN, Maps, Place
from flywheel.fraud.blocks import Decision

LONGEST_BODY = 2_048
"""Bytes of the answer to a blocked request; more is cut off."""
MOST_SCOPES = 32
SPARE_ENDS = 10_000
DEFAULT_BODY = "Access is refused."
_VISITOR = re.compile(VISITOR_PATTERN)
_PATH = re.compile(r"/[A-Za-z0-9._/@:+-]{0,200}")
_LETTERS = {"Block": BLOCKED, "Challenge": CHALLENGED, "Throttle": THROTTLED}
_ASIDE: dict[str, Any] = {"id": "", "value": "", "until": 0, "rule": "", "event": "", "reason": ""}
"""What of a decision has no part in its policy."""
_RANK = {BLOCKED: 3, CHALLENGED: 2, THROTTLED: 1, FREE: 0}

LEFT = " until "
"""In the name of a source that tells nothing any more; no address of a worker has a space."""

Subject = Place | str
"""A network, or a visitor."""


class Difference(NamedTuple):
    """What of one map has to change."""

    name: str
    new: dict[str, str]
    other: dict[str, str]
    """Entries that are there with other values."""
    gone: tuple[str, ...]


class _Policy(NamedTuple):
    name: str
    scopes: dict[str, str]
    text: str


class FraudMaps:
    """What the maps have to hold, and what of it has changed."""

    def __init__(self) -> None:
        self.maps: Maps = {name: {} for name in FRAUD_MAPS}
        self._decisions: dict[tuple[str, str], Decision] = {}
        """By source and id."""
        self._subjects: dict[Subject, tuple[tuple[str, str], ...]] = {}
        self._lengths: dict[tuple[int, int], int] = {}
        self._policies: dict[str, tuple[_Policy, int]] = {}
        """By name, with how many subjects point to each."""
        self._policy_of: dict[Subject, str] = {}
        self._ends: list[tuple[int, str, str]] = []
        self._left: dict[str, set[str]] = {}
        """Ids of what sources have left behind -> these sources."""

    def __len__(self) -> int:
        return len(self._decisions)

    def told(self) -> Iterator[tuple[str, Decision]]:
        """Give all that was told, with who has."""
        return ((source, decision) for (source, _), decision in self._decisions.items())

    def use_keys(self, keys: dict[str, str]) -> list[Difference]:
        """Take the keys that passes are signed with."""
        before = dict(self.maps[KEYS])
        self.maps[KEYS] = dict(keys)
        return _differences({KEYS: before}, {KEYS: self.maps[KEYS]})

    def apply(
        self, source: str, put: Iterable[Decision], gone: Iterable[str], *, whole: bool, now: int
    ) -> list[Difference]:
        """Take in what a worker tells; give what has to change, in order.

        Args:
            source: The worker.
            put: Decisions that hold.
            gone: Ids of those that do not any more.
            whole: Whether `put` is all that holds.
            now: Milliseconds since 1970.
        """
        touched: set[Subject] = set()
        told = {decision.id: decision for decision in put}
        if whole:
            gone = self.beyond(source, told)
        for identity in gone:
            touched |= self._drop((source, identity))
        for identity, decision in told.items():
            key = (source, identity)
            if self._decisions.get(key) == decision:
                # Whoever connects anew is told everything, most of which is known.
                continue
            touched |= self._drop(key)
            subject = _subject(decision)
            if LEFT not in source:
                # Whoever says the same now can also take it back.
                for left in self._left.get(identity, set()).copy():
                    touched |= self._drop((left, identity))
            if subject is not None and decision.until > now:
                if LEFT in source:
                    self._left.setdefault(identity, set()).add(source)
                self._decisions[key] = decision
                self._subjects[subject] = (*self._subjects.get(subject, ()), key)
                self._count_length(subject, 1)
                self._note_end(decision.until, source, identity)
                touched.add(subject)
        return self._recompute(touched, now)

    def beyond(self, source: str, told: Container[str]) -> list[str]:
        """Give the ids of what a worker has told before, and is not in what it tells now."""
        return [identity for whose, identity in self._decisions if whose == source and identity not in told]

    def leave(self, source: str, now: int) -> list[Difference]:
        """Let what a worker has told hold until its end, whatever it tells from now on: under another name.

        But not what another worker tells as well, to which the key has moved: that holds as long as that one says.

        Args:
            source: The worker.
            now: Milliseconds since 1970.
        """
        name = f"{source}{LEFT}{now}"
        others = {identity for whose, identity in self._decisions if whose != source and LEFT not in whose}
        touched: set[Subject] = set()
        for key in [each for each in self._decisions if each[0] == source]:
            if key[1] in others:
                touched |= self._drop(key)
                continue
            decision = self._decisions.pop(key)
            left = (name, key[1])
            self._decisions[left] = decision
            self._left.setdefault(key[1], set()).add(name)
            subject = _subject(decision)
            if subject is not None:
                self._subjects[subject] = tuple(left if each == key else each for each in self._subjects[subject])
            self._note_end(decision.until, *left)
        return self._recompute(touched, now)

    def expire(self, now: int) -> list[Difference]:
        """Forget what has ended by `now`; give what has to change."""
        touched: set[Subject] = set()
        while self._ends and self._ends[0][0] <= now:
            until, *key = heapq.heappop(self._ends)
            found = self._decisions.get((key[0], key[1]))
            if found is not None and found.until == until:
                touched |= self._drop((key[0], key[1]))
        return self._recompute(touched, now)

    def _drop(self, key: tuple[str, str]) -> set[Subject]:
        decision = self._decisions.pop(key, None)
        subject = None if decision is None else _subject(decision)
        if subject is None:
            return set()
        if (sources := self._left.get(key[1])) is not None:
            sources.discard(key[0])
            if not sources:
                del self._left[key[1]]
        left = tuple(each for each in self._subjects.pop(subject) if each != key)
        self._count_length(subject, -1)
        if left:
            self._subjects[subject] = left
        return {subject}

    def _note_end(self, until: int, source: str, identity: str) -> None:
        heapq.heappush(self._ends, (until, source, identity))
        if len(self._ends) > 2 * len(self._decisions) + SPARE_ENDS:
            # Ends that were put off are in there, too.
            self._ends = [(each.until, *key) for key, each in self._decisions.items()]
            heapq.heapify(self._ends)

    def _count_length(self, subject: Subject, step: int) -> None:
        if isinstance(subject, Place):
            key = (subject.version, subject.length)
            self._lengths[key] = self._lengths.get(key, 0) + step
            if not self._lengths[key]:
                del self._lengths[key]

    def _recompute(self, touched: set[Subject], now: int) -> list[Difference]:
        if not touched:
            return []
        subjects = touched | self._within(touched)
        before: Maps = {name: {} for name in FRAUD_MAPS}
        after: Maps = {name: {} for name in FRAUD_MAPS}
        for subject in subjects:
            name = ADDRESSES if isinstance(subject, Place) else VISITORS
            key = str(subject)
            entry, policy = self._entry(subject, now)
            if key in self.maps[name]:
                before[name][key] = self.maps[name][key]
            self._point(subject, policy, before, after)
            if entry is None:
                self.maps[name].pop(key, None)
            else:
                self.maps[name][key] = after[name][key] = entry
        self._forget_policies(before)
        return _differences(before, after)

    def _within(self, touched: set[Subject]) -> set[Subject]:
        """Give the narrower networks in those that were touched."""
        wide = {
            each
            for each in touched
            if isinstance(each, Place) and any(v == each.version and n > each.length for v, n in self._lengths)
        }
        if not wide:
            return set()
        return {
            each for each in self._subjects if isinstance(each, Place) and any(_holds(outer, each) for outer in wide)
        }

    def _entry(self, subject: Subject, now: int) -> tuple[str | None, _Policy | None]:
        if subject not in self._subjects:
            return None, None
        keys = set(self._subjects[subject])
        if isinstance(subject, Place):
            for version, length in self._lengths:
                if version == subject.version and length < subject.length:
                    keys |= set(self._subjects.get(_widened(subject, length), ()))
        decisions = [self._decisions[key] for key in sorted(keys)]
        holding = [each for each in decisions if each.until > now] or decisions
        policy = _policy(tuple(msgspec.structs.replace(each, **_ASIDE) for each in holding))
        ends = sorted({each.until for each in holding})
        # Where others go on, HAProxy gets them a moment after the first has ended.
        until = -(-ends[0] // 1000) + (2 if len(ends) > 1 else 0)
        return f"{until}|{policy.name}|{_digest(holding[0].id)}", policy

    def _point(self, subject: Subject, policy: _Policy | None, before: Maps, after: Maps) -> None:
        """Let a subject have a policy, and count how many have each."""
        old = self._policy_of.pop(subject, None)
        if policy is not None:
            known, count = self._policies.get(policy.name, (policy, 0))
            self._policies[policy.name] = (known, count + 1)
            self._policy_of[subject] = policy.name
            if not count and policy.name not in self.maps[POLICIES]:
                self.maps[POLICIES][policy.name] = after[POLICIES][policy.name] = policy.text
                self.maps[SCOPES] |= policy.scopes
                after[SCOPES] |= policy.scopes
        if old is not None:
            known, count = self._policies[old]
            self._policies[old] = (known, count - 1)

    def _forget_policies(self, before: Maps) -> None:
        for name in [name for name, (_, count) in self._policies.items() if not count]:
            policy, _ = self._policies.pop(name)
            before[POLICIES][name] = self.maps[POLICIES].pop(name)
            for scope in policy.scopes:
                before[SCOPES][scope] = self.maps[SCOPES].pop(scope)


def _differences(before: Maps, after: Maps) -> list[Difference]:
    """Give what to change: first what is pointed to comes, at last it goes."""
    found = []
    for name in FRAUD_MAPS:
        old, new = before.get(name, {}), after.get(name, {})
        added = {key: value for key, value in new.items() if key not in old}
        other = {key: value for key, value in new.items() if key in old and old[key] != value}
        if added or other:
            found.append(Difference(name, added, other, ()))
    for name in reversed(FRAUD_MAPS):
        new = after.get(name, {})
        if gone := tuple(key for key in before.get(name, {}) if key not in new):
            found.append(Difference(name, {}, {}, gone))
    return found


def _subject(decision: Decision) -> Subject | None:
    """Give whom HAProxy can know by a decision; None where it cannot know anybody."""
    if decision.kind == "visitor":
        return decision.value if _VISITOR.fullmatch(decision.value) else None
    if decision.kind != "address":
        return None
    return _place(decision.value)


@functools.lru_cache(maxsize=4_096)
def _place(text: str) -> Place | None:
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
    return Place(found.version, found.prefixlen, int(found.network_address))


def _widened(place: Place, length: int) -> Place:
    bits = 32 if place.version == 4 else 128
    return Place(place.version, length, place.number >> (bits - length) << (bits - length))


def _holds(outer: Place, inner: Place) -> bool:
    return outer.version == inner.version and outer.length < inner.length and _widened(inner, outer.length) == outer


@functools.lru_cache(maxsize=1_024)
def _policy(decisions: tuple[Decision, ...]) -> _Policy:
    """Make one policy of all that holds for a subject: of equal paths the strongest, of longer ones their own."""
    strongest = max(decisions, key=lambda each: _RANK[_LETTERS[each.action]])
    scopes: dict[str, str] = {}
    for decision in decisions:
        letter = _LETTERS[decision.action]
        for path in _paths(decision):
            if _RANK[letter] >= _RANK[scopes.get(path, FREE)]:
                scopes[path] = letter
    scopes = {path: _inherited(scopes, path) for path in scopes}
    page = next((each.page for each in decisions if each.action == "Challenge" and _PATH.fullmatch(each.page)), "/")
    if CHALLENGED in scopes.values() and _inherited(scopes, page) != BLOCKED and page != "/":
        scopes[page.rstrip("/")] = FREE
    status = strongest.status if strongest.status in STATUSES else STATUSES[0]
    limits = [each.per_second for each in decisions if each.action == "Throttle"]
    limit = max(1, round(min(limits) * THROTTLE_PERIOD)) if limits else 0
    body = (strongest.body or DEFAULT_BODY).encode()[:LONGEST_BODY]
    text = f"{status}|{_base64(body)}|{limit}|{_base64(page.encode())}"
    scopes[STRICTEST] = _LETTERS[strongest.action]
    plain = repr((sorted(scopes.items()), text))
    name = _digest(plain)
    return _Policy(name, {f"{name}{path}/": letter for path, letter in scopes.items()}, text)


def _paths(decision: Decision) -> list[str]:
    """Give the paths of a scope as they stand in a map; one that cannot stand there is everything: rather too much."""
    paths = decision.scope[:MOST_SCOPES] or ("/",)
    return [path.rstrip("/") if _PATH.fullmatch(path) else "" for path in paths]


def _inherited(scopes: dict[str, str], path: str) -> str:
    """Give the strongest action of a path and of those above it."""
    above = [letter for each, letter in scopes.items() if f"{path.rstrip('/')}/".startswith(f"{each}/")]
    return max(above, key=lambda letter: _RANK[letter], default=FREE)


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
