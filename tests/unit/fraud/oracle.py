"""What the engine ought to say, in plain lists: every event is compared with all before it. Slow, and plain to read."""

from dataclasses import dataclass, field
from itertools import pairwise

from flywheel.fraud.fields import key_reader, reader, text
from flywheel.fraud.rule import Changes, Condition, Count, Distinct, Rate, Rule, Sum
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Event

Judged = tuple[str, str, tuple[str, ...], float, float, int, bool]
"""Rule, event, key, observed, limit, since, saturated."""


@dataclass
class Entry:
    time: int
    payload: object


@dataclass
class Oracle:
    rules: list[Rule]
    remember: int = 600_000
    clock: int = 0
    seen: dict[str, int] = field(default_factory=dict)
    entries: dict[tuple[str, int, tuple[str, ...]], list[Entry]] = field(default_factory=dict)

    def judge(self, events: list[Event]) -> list[Judged]:
        return [judged for event in events for judged in self.one(event)]

    def one(self, event: Event) -> list[Judged]:
        if self.is_repeated(event):
            return []
        time = min(event.time, event.arrived)
        return [
            judged
            for rule in sorted(self.rules, key=lambda rule: rule.name)
            if matcher(rule.match)(event) and time >= self.clock - rule.lateness
            for judged in self.by(rule, event, time)
        ]

    def is_repeated(self, event: Event) -> bool:
        self.clock = max(self.clock, event.arrived)
        before = self.seen.get(event.id)
        if event.id and before is not None and before > self.clock - self.remember:
            return True
        self.seen[event.id] = self.clock
        return False

    def by(self, rule: Rule, event: Event, time: int) -> list[Judged]:
        key = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)(event)
        if not all(key):
            return []
        found = [self.condition(rule, i, each, event, key, time) for i, each in enumerate(rule.conditions)]
        met = [each for each in found if each is not None]
        if not met or (rule.combine == "All" and len(met) < len(found)):
            return []
        observed, limit, since, saturated = met[0]
        return [(rule.name, event.id, key, observed, limit, since, saturated)]

    def condition(
        self, rule: Rule, i: int, condition: Condition, event: Event, key: tuple[str, ...], time: int
    ) -> tuple[float, float, int, bool] | None:
        payload = _payload(condition, event)
        if payload is None:
            return None
        entries = self.entries.setdefault((rule.name, i, key), [])
        entries.append(Entry(time, payload))
        since = max(entry.time for entry in entries) - rule.window
        inside = sorted((entry for entry in entries if entry.time > since), key=lambda entry: entry.time)
        observed, limit, saturated = _observed(condition, rule, inside)
        return (observed, limit, since, saturated) if observed > limit else None


def _payload(condition: Condition, event: Event) -> object | None:
    match condition:
        case Count() | Rate():
            return True
        case Distinct(field=name) | Changes(field=name):
            return text(reader(name)(event)) or None
        case Sum(field=name):
            value = reader(name)(event)
            return round(value * 10_000) if isinstance(value, float) and abs(value) <= 1e9 else None
        case _:
            raise AssertionError(condition)


def _observed(condition: Condition, rule: Rule, inside: list[Entry]) -> tuple[float, float, bool]:
    match condition:
        case Count(more_than=limit):
            return min(len(inside), limit + 1), limit, len(inside) > limit + 1
        case Rate(more_than=limit, per=per):
            most = int(limit * rule.window / per) + 1
            return min(len(inside), most) * per / rule.window, limit, len(inside) > most
        case Distinct(more_than=limit):
            members = len({entry.payload for entry in inside})
            return min(members, limit + 1), limit, members > limit + 1
        case Sum(more_than=limit, maximum_events=most):
            kept = inside[-most:]
            return sum(entry.payload for entry in kept) / 10_000, limit, len(inside) > most
        case Changes(more_than=limit, maximum_events=most):
            kept = inside[-most:]
            changes = sum(a.payload != b.payload for a, b in pairwise(kept))
            return changes, limit, len(inside) > most
        case _:
            raise AssertionError(condition)
