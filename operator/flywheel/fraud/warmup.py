"""What a worker keeps of the events that come while a new window waits for its past from the event store. Pure.

A new window has seen everything from the moment on at which its rule was taken. What happened before is in the store,
where events are a little later than here. So the window waits, and the events that come meanwhile are kept beside it.
When its past comes, up to some moment, the window is filled anew: from the store with what happened until then, and
from here with what happened later. No event is counted twice, since each happened on one side of that moment; and none
is missing, since

- the moment is no earlier than the newest arrival when the rule was taken: what happens later comes later;
- it lies further behind the newest arrival than the rule's lateness: what happened before is not judged any more;
- all events that were seen here and happened before it are in what the store gave: so it has got what was on its way.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet

import msgspec

from flywheel.fraud.rule import AccountAge, Match, Rule
from flywheel.fraud.rule import Sequence as Ordered
from flywheel.fraud.words import Event

MOST = 20_000
"""Events that are kept for one rule; with more of them its windows fill by themselves."""
LONGEST = 600_000
"""Milliseconds beyond the rule's lateness for which a window waits, by the events' own clock."""


class NotTaken(Exception):  # noqa: N818 - a state of the world
    """A past is of no use to a rule. The text says why."""


class Awaiting(msgspec.Struct, array_like=True):
    """One rule whose new windows wait for their past."""

    windows: tuple[str, ...]
    """Digests of the conditions that are new."""
    since: int = 0
    """The newest arrival when the rule was taken, in milliseconds since 1970; 0 until the first event."""
    lateness: int = 0
    names: tuple[str, ...] = ()
    """Names of the events that can matter to it; empty for all."""
    events: list[Event] = []
    """What came since then, in its order."""

    def is_over(self, clock: int) -> bool:
        """Tell whether it has waited for too long, or for too many events."""
        return len(self.events) > MOST or (0 < self.since < clock - self.lateness - LONGEST)


def happened(event: Event) -> int:
    """Give when an event happened, as windows have it: never later than it came."""
    return min(event.time, event.arrived)


def names_of(rule: Rule) -> tuple[str, ...]:
    """Name the events that can matter to a rule; none where any can."""
    matches = [rule.match]
    for each in rule.conditions:
        matches += each.steps if isinstance(each, Ordered) else ()
        matches += [each.since] if isinstance(each, AccountAge) and each.since else []
    return _names(matches)


def _names(matches: Iterable[Match]) -> tuple[str, ...]:
    found = [each.events for each in matches]
    return tuple(sorted({name for names in found for name in names})) if all(found) else ()


class Waiting:
    """All rules of a campaign that wait."""

    def __init__(self) -> None:
        self._rules: dict[str, Awaiting] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def since(self, rule: str) -> int:
        """Give the moment from which on a rule has seen everything; 0 where it does not wait, or nothing has come."""
        found = self._rules.get(rule)
        return found.since if found else 0

    def begin(self, rules: Sequence[Rule], before: Mapping[str, frozenset[str]], clock: int) -> None:
        """Take other rules.

        Args:
            rules: Those that hold from now on, and keep anything.
            before: The digests of the windows that each had until now.
            clock: The newest arrival; 0 before the first event.
        """
        after: dict[str, Awaiting] = {}
        for rule in rules:
            known, waiting = before.get(rule.name, frozenset()), self._rules.get(rule.name)
            still = waiting.windows if waiting else ()
            windows = tuple(each for each in rule.windows() if each not in known or each in still)
            if waiting and set(windows) <= known:
                after[rule.name] = waiting
            elif windows:
                after[rule.name] = Awaiting(windows, clock, rule.lateness, names_of(rule), [])
        self._rules = after

    def note(self, events: Sequence[Event], fresh: Sequence[bool], clock: int) -> None:
        """Keep events that were judged.

        Args:
            events: In their order.
            fresh: Of each, whether it did not come before.
            clock: The newest arrival, these included.
        """
        for name, waiting in list(self._rules.items()):
            waiting.since = waiting.since or (events[0].arrived if events else 0)
            wanted = frozenset(waiting.names)
            waiting.events += [
                each for each, new in zip(events, fresh, strict=True) if new and (not wanted or each.name in wanted)
            ]
            if waiting.is_over(clock):
                del self._rules[name]

    def later(self, rule: str, known: AbstractSet[str], until: int, clock: int) -> tuple[tuple[str, ...], list[Event]]:
        """Give the windows of a rule that wait, and what came here of what happened after the past from the store.

        Args:
            rule: Its name.
            known: Ids of the events that the store gave.
            until: Up to when, included, in milliseconds since 1970.
            clock: The newest arrival.

        Raises:
            NotTaken: Events could be counted twice, or not at all.
        """
        waiting = self._rules.get(rule)
        if waiting is None:
            raise NotTaken("its windows do not wait for their past, or do not any more")
        if not waiting.since <= until < clock - waiting.lateness or not waiting.since:
            raise NotTaken("the past ends too early, or so late that events of that time may still come")
        lacking = sum(happened(each) <= until and each.id not in known for each in waiting.events)
        if lacking:
            raise NotTaken(f"the event store has not got {lacking} of the events yet that were seen here")
        return waiting.windows, [each for each in waiting.events if happened(each) > until]

    def forget(self, is_theirs: Callable[[Event], bool]) -> None:
        """Let go of some people's events, which the store does not give any more either."""
        for waiting in self._rules.values():
            waiting.events = [each for each in waiting.events if not is_theirs(each)]

    def end(self, rule: str) -> None:
        """Wait no more."""
        self._rules.pop(rule, None)

    def dump(self) -> dict[str, Awaiting]:
        """Write it down."""
        return dict(self._rules)

    def load(self, rules: Mapping[str, Awaiting]) -> None:
        """Become what `dump` gave."""
        self._rules = dict(rules)


def reach_of(rule: Rule) -> int:
    """Give how far back events can matter to a rule, in milliseconds, from the moment of the one that is judged."""
    ages = [each.less_than for each in rule.conditions if isinstance(each, AccountAge) and each.since]
    return max(rule.window, *ages, 0) + rule.lateness
