"""What the engine ought to say of sequences, ages, speeds and links: asked of the whole past, anew for each event."""

from dataclasses import dataclass, field

from tests.unit.fraud.oracle import Oracle

from flywheel.fraud.fields import key_reader
from flywheel.fraud.places import kilometres
from flywheel.fraud.rule import AccountAge, Linked, Rule, Sequence, Speed
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Event

Told = tuple[str, str, float]
"""Rule, event, observed."""


@dataclass
class Past:
    time: int
    event: Event


@dataclass
class PatternOracle(Oracle):
    past: dict[str, list[Past]] = field(default_factory=dict)

    def told(self, events: list[Event]) -> list[Told]:
        found = []
        for event in events:
            if self.is_repeated(event):
                continue
            time = min(event.time, event.arrived)
            for rule in sorted(self.rules, key=lambda rule: rule.name):
                if time < self.clock - rule.lateness:
                    continue
                past = self.past.setdefault(rule.name, [])
                judged = matcher(rule.match)(event) and all(_key(rule, event))
                before = [each for each in past if _key(rule, each.event) == _key(rule, event)]
                past.append(Past(time, event))
                if judged:
                    observed = _observed(rule, before, past, Past(time, event))
                    found += [(rule.name, event.id, observed)] if observed is not None else []
        return found


def _key(rule: Rule, event: Event) -> tuple[str, ...]:
    return key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)(event)


def _observed(rule: Rule, before: list[Past], past: list[Past], now: Past) -> float | None:
    (condition,) = rule.conditions
    match condition:
        case Sequence():
            return _sequence(condition, before, now)
        case AccountAge(since=None):
            created = now.event.fields.get(condition.created_at)
            age = now.time - created if isinstance(created, float) else None
            return max(0, age) if age is not None and age < condition.less_than else None
        case AccountAge():
            means = matcher(condition.since)
            begun = [each.time for each in past if each.event.user == now.event.user and means(each.event)]
            age = now.time - max(begun) if begun and now.event.user else -1
            return age if 0 <= age < condition.less_than else None
        case Speed():
            return _speed(rule, condition, [each for each in before if _place(condition, each.event)], now)
        case Linked():
            return _linked(rule, condition, past, now)
        case _:
            raise AssertionError(condition)


def _sequence(condition: Sequence, before: list[Past], now: Past) -> float | None:
    """Go forward through the past, and note the latest beginning from which each step has been reached."""
    steps = [matcher(step) for step in condition.steps]
    begun: list[int | None] = [None] * len(steps)
    for each in sorted((each for each in before if each.time <= now.time), key=lambda each: each.time):
        for n in reversed(range(len(steps))):
            if steps[n](each.event):
                start = each.time if n == 0 else begun[n - 1]
                begun[n] = max((time for time in (begun[n], start) if time is not None), default=None)
    last = begun[-1]
    return now.time - last if last is not None and now.time - last < condition.within else None


def _place(condition: Speed, event: Event) -> tuple[float, float] | None:
    place = event.fields.get(condition.latitude), event.fields.get(condition.longitude)
    return place if all(isinstance(each, float) for each in place) else None


def _speed(rule: Rule, condition: Speed, before: list[Past], now: Past) -> float | None:
    place = _place(condition, now.event)
    if place is None:
        return None
    earlier = sorted((each for each in before if each.time <= now.time), key=lambda each: each.time)[-1:]
    later = sorted((each for each in before if each.time > now.time), key=lambda each: each.time)[:1]
    speeds = [
        max(0.0, kilometres(*_place(condition, each.event), *place) - condition.slack_kilometres)
        / max(1, abs(each.time - now.time))
        * 3_600_000
        for each in earlier + later
        if abs(each.time - now.time) < rule.window
    ]
    fastest = max(speeds, default=0.0)
    return round(fastest, 3) if fastest > condition.kilometres_per_hour else None


def _linked(rule: Rule, condition: Linked, past: list[Past], now: Past) -> float | None:
    met = [
        each
        for each in past
        if each.event.user
        and each.event.fields.get("device")
        and matcher(rule.match)(each.event)
        and _key(rule, each.event)[0]
    ]
    if not now.event.user or not now.event.fields.get("device"):
        return None
    newest = max(each.time for each in met)
    edges = {(each.event.user, each.event.fields["device"]) for each in met if each.time > newest - rule.window}
    linked = {now.event.user}
    for _ in range(condition.depth):
        things = {thing for account, thing in edges if account in linked}
        linked |= {account for account, thing in edges if thing in things}
    return min(len(linked), condition.more_than + 1) if len(linked) > condition.more_than else None
