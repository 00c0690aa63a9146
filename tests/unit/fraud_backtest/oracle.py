"""What a rule would have found, in plain Python from the definitions alone: every event is held against all others."""

import ipaddress
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Any

from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_condition import Sign
from flywheel.api.fraudrule_match import Filter
from flywheel.events.rows import EventRow

Value = str | float | bool
COLUMNS = {"user": "user_id", "userAgent": "user_agent", "orderId": "order_id"}


def value_of(row: EventRow, name: str) -> Value | None:
    """Give a field of an event; None where it is missing, or an empty text."""
    if name == "device":
        found = value_of(row, "context.device.id")
        return found if isinstance(found, str) else None
    if name == "revenue":
        return row.revenue if row.order_id else None
    if name == "bot":
        return True if row.bot else None
    head, _, path = name.partition(".")
    if not path:
        return getattr(row, COLUMNS.get(name, name)) or None
    if head != "context" and (head == "traits") != (row.type in ("identify", "group")):
        return None
    found = json.loads(row.context if head == "context" else row.properties)
    for part in path.split("."):
        found = found.get(part) if isinstance(found, dict) else None
    if isinstance(found, bool):
        return found
    if isinstance(found, int | float):
        return float(found)
    return found[:1024] or None if isinstance(found, str) else None


def text_of(value: Value | None) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value == int(value) else repr(value)
    return value


def fits(row: EventRow, asked: Filter) -> bool:
    value = value_of(row, asked.field)
    wanted = [(type(each), each) for each in asked.wanted]
    match asked.operator:
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case "Equals" | "In":
            return (type(value), value) in wanted
        case "NotEquals" | "NotIn":
            return (type(value), value) not in wanted
        case "InRange":
            return isinstance(value, str) and any(_inside(value, str(each)) for each in asked.wanted)
        case "StartsWith" | "EndsWith" | "Contains":
            part = str(asked.wanted[0])
            tests: dict[str, Callable[[str], bool]] = {
                "StartsWith": lambda text: text.startswith(part),
                "EndsWith": lambda text: text.endswith(part),
                "Contains": lambda text: part in text,
            }
            return isinstance(value, str) and tests[asked.operator](value)
        case _:
            limit = float(asked.wanted[0])
            if not isinstance(value, float):
                return False
            return {
                "GreaterThan": value > limit,
                "GreaterOrEqual": value >= limit,
                "LessThan": value < limit,
                "LessOrEqual": value <= limit,
            }[asked.operator]


def _inside(text: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(text) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def key_of(rule: FraudRule, row: EventRow) -> tuple[str, ...] | None:
    found = [_prefix(rule, row) if name == "addressPrefix" else text_of(value_of(row, name)) for name in rule.spec.key]
    return tuple(each for each in found if each is not None) if all(found) else None


def _prefix(rule: FraudRule, row: EventRow) -> str | None:
    bits = rule.spec.address_prefix
    try:
        address = ipaddress.ip_address(row.address)
    except ValueError:
        return None
    length = (bits.ipv4 if bits else 24) if address.version == 4 else (bits.ipv6 if bits else 56)
    return str(ipaddress.ip_network((address, length), strict=False))


def matches(rule: FraudRule, row: EventRow) -> bool:
    match = rule.spec.match
    if (match.names and row.event not in match.names) or (match.type and row.type != match.type.lower()):
        return False
    return all(fits(row, each) for each in match.where)


def is_exempt(rule: FraudRule, row: EventRow) -> bool:
    return any(all(fits(row, each) for each in exemption.where) for exemption in rule.spec.exempt)


@dataclass
class Judged:
    """An event that a rule judges."""

    row: EventRow
    key: tuple[str, ...]
    observed: list[float | None]
    """By sign; None where it does not judge the event."""


class Oracle:
    """A rule and a past."""

    def __init__(self, rule: FraudRule, rows: Sequence[EventRow], start: int, end: int) -> None:
        self.rule, self.start, self.end = rule, start, end
        kept = {row.message_id: row for row in reversed(rows)}.values()
        self.all = [row for row in kept if row.time < end]
        lateness = rule.spec.lateness.total_seconds() * 1000
        soon = (row for row in self.all if row.ingest_time - row.time <= lateness)
        self.rows = sorted(soon, key=lambda row: (row.time, row.ingest_time, row.message_id))
        self.window = rule.spec.window.total_seconds() * 1000 if rule.spec.window else 0.0

    def judged(self) -> Iterator[Judged]:
        """Give the events of the past that the rule judges."""
        for place, row in enumerate(self.rows):
            key = key_of(self.rule, row)
            if row.time >= self.start and key is not None and matches(self.rule, row):
                signs = self.rule.spec.condition.signs
                yield Judged(row, key, [self._observed(sign, place, key) for sign in signs])

    def _observed(self, sign: Sign, place: int, key: tuple[str, ...]) -> float | None:
        now = self.rows[place]
        if sign.sequence:
            return self._sequence(sign, place, key)
        if sign.account_age:
            return self._age(sign, place)
        before = [row for row in self.rows[: place + 1] if key_of(self.rule, row) == key and matches(self.rule, row)]
        inside = [row for row in before if row.time > now.time - self.window]
        kept = self.rule.spec.state.events_per_key
        if sign.count or sign.rate:
            scale = sign.rate.per.total_seconds() * 1000 / self.window if sign.rate else 1.0
            return len(inside) * scale
        if sign.distinct:
            members = [text_of(value_of(row, sign.distinct.field)) for row in inside]
            return float(len({each for each in members if each})) if members[-1] else None
        if sign.sum:
            amounts = [_amount(value_of(row, sign.sum.field)) for row in inside]
            usable = [each for each in amounts if each is not None]
            return sum(usable[-kept:]) / 10_000 if amounts[-1] is not None else None
        if sign.velocity and sign.velocity.changes:
            values = [text_of(value_of(row, sign.velocity.changes)) for row in inside]
            there = [each for each in values if each][-kept:]
            return float(sum(a != b for a, b in pairwise(there))) if values[-1] else None
        return self._speed(sign, before)

    def _sequence(self, sign: Sign, place: int, key: tuple[str, ...]) -> float | None:
        """Look backwards for the last step, then for the one before it."""
        assert sign.sequence
        end = place
        for step in reversed(sign.sequence.steps):
            found = (
                n
                for n in reversed(range(end))
                if self.rows[n].event == step.event
                and all(fits(self.rows[n], each) for each in step.where)
                and key_of(self.rule, self.rows[n]) == key
            )
            end = next(found, -1)
            if end < 0:
                return None
        return float(self.rows[place].time - self.rows[end].time)

    def _age(self, sign: Sign, place: int) -> float | None:
        assert sign.account_age
        now = self.rows[place]
        if sign.account_age.since is None:
            created = _moment(value_of(now, sign.account_age.created_at or ""))
            return None if created is None else float(max(0, now.time - created))
        births = [
            row.time
            for row in self.rows[: place + 1]
            if now.user_id and row.user_id == now.user_id and row.event == sign.account_age.since
        ]
        return float(now.time - births[-1]) if births else None

    def _speed(self, sign: Sign, before: Sequence[EventRow]) -> float | None:
        assert sign.velocity
        asked = sign.velocity
        placed = [
            (row.time, *place)
            for row in before
            if (place := _place(value_of(row, asked.latitude or ""), value_of(row, asked.longitude or "")))
        ]
        here = _place(value_of(before[-1], asked.latitude or ""), value_of(before[-1], asked.longitude or ""))
        if here is None:
            return None
        if len(placed) < 2 or placed[-1][0] - placed[-2][0] >= self.window:
            return 0.0
        distance = max(0.0, _kilometres(placed[-2][1:], placed[-1][1:]) - 50)
        return distance / max(1, placed[-1][0] - placed[-2][0]) * 3_600_000


def breaks(rule: FraudRule, judged: Judged, index: int, limit: float) -> bool:
    """Say whether an event breaks a rule whose sign of that index has another limit."""
    signs = rule.spec.condition.signs
    met = [
        observed is not None and _over(sign, observed, limit if n == index else own_limit(sign))
        for n, (sign, observed) in enumerate(zip(signs, judged.observed, strict=True))
    ]
    return any(met) if rule.spec.condition.any else all(met)


def _over(sign: Sign, observed: float, limit: float) -> bool:
    return observed < limit if sign.sequence or sign.account_age else observed > limit


def own_limit(sign: Sign) -> float:
    if sign.sequence:
        return sign.sequence.within.total_seconds() * 1000
    if sign.account_age:
        return sign.account_age.less_than.total_seconds() * 1000
    if sign.velocity:
        return float(sign.velocity.more_than or sign.velocity.kilometres_per_hour or 0)
    return float(next(each for each in (sign.count, sign.distinct, sign.sum, sign.rate) if each).more_than)


def _amount(value: Value | None) -> int | None:
    return round(value * 10_000) if isinstance(value, float) and abs(value) <= 1e9 else None


def _moment(value: Value | None) -> int | None:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float):
        return int(value * 1000 if value < 1e11 else value) if 0 <= value < 1e14 else None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round(parsed.timestamp() * 1000) if parsed.tzinfo else None


def _place(latitude: Value | None, longitude: Value | None) -> tuple[float, float] | None:
    if type(latitude) is not float or type(longitude) is not float:
        return None
    return (latitude, longitude) if abs(latitude) <= 90 and abs(longitude) <= 180 else None


def _kilometres(start: Any, end: Any) -> float:
    (a, b), (c, d) = (tuple(map(math.radians, each)) for each in (start, end))
    inner = math.sin((c - a) / 2) ** 2 + math.cos(a) * math.cos(c) * math.sin((d - b) / 2) ** 2
    return 2 * 6371.0088 * math.asin(math.sqrt(min(1.0, inner)))
