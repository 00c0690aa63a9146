"""Filters on typed fields, and which events a match means. Pure.

A field that an event lacks is equal to nothing: NotEquals, NotIn and DoesNotExist hold of it, no other operator does. A
number is compared with numbers only, a text with texts, and `true` is not 1.
"""

import ipaddress
from collections.abc import Callable, Iterable
from functools import lru_cache

from flywheel.fraud.fields import reader
from flywheel.fraud.rule import AccountAge, Filter, Match, Rule, Sequence
from flywheel.fraud.words import Event, Value

Test = Callable[[Value | None], bool]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def tester(condition: Filter) -> Test:
    """Give the function that says whether a value passes.

    Raises:
        ValueError: The operator does not take values like these.
    """
    values = condition.values
    match condition.operator:
        case "Exists":
            return lambda value: value is not None
        case "DoesNotExist":
            return lambda value: value is None
        case "Equals" | "In":
            wanted = frozenset(map(_typed, values))
            return lambda value: value is not None and _typed(value) in wanted
        case "NotEquals" | "NotIn":
            unwanted = frozenset(map(_typed, values))
            return lambda value: value is None or _typed(value) not in unwanted
        case "InRange":
            networks = tuple(_network(value) for value in values)
            return lambda value: isinstance(value, str) and _within(value, networks)
        case _:
            return _compared(condition)


def _compared(condition: Filter) -> Test:
    if len(condition.values) != 1:
        raise ValueError(f"{condition.operator} on {condition.field} takes one value, not {len(condition.values)}")
    (value,) = condition.values
    if condition.operator in ("StartsWith", "EndsWith", "Contains"):
        return _on_text(condition, value)
    if isinstance(value, str | bool):
        raise ValueError(f"{condition.operator} on {condition.field} takes a number, not {value!r}")  # noqa: TRY004
    limit = float(value)
    tests: dict[str, Callable[[float], bool]] = {
        "GreaterThan": lambda number: number > limit,
        "GreaterOrEqual": lambda number: number >= limit,
        "LessThan": lambda number: number < limit,
        "LessOrEqual": lambda number: number <= limit,
    }
    test = tests[condition.operator]
    return lambda given: isinstance(given, float | int) and not isinstance(given, bool) and test(given)


def _on_text(condition: Filter, value: Value) -> Test:
    if not isinstance(value, str):
        raise ValueError(f"{condition.operator} on {condition.field} takes a text, not {value!r}")  # noqa: TRY004
    if condition.operator == "StartsWith":
        return lambda given: isinstance(given, str) and given.startswith(value)
    if condition.operator == "EndsWith":
        return lambda given: isinstance(given, str) and given.endswith(value)
    return lambda given: isinstance(given, str) and value in given


def _typed(value: Value) -> tuple[bool, Value]:
    return isinstance(value, bool), value


def _network(value: Value) -> Network:
    if not isinstance(value, str):
        raise ValueError(f"InRange takes networks such as 192.0.2.0/24, not {value!r}")  # noqa: TRY004
    return ipaddress.ip_network(value, strict=False)


@lru_cache(maxsize=65_536)
def _within(value: str, networks: tuple[Network, ...]) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in networks)


def matcher(match: Match) -> Callable[[Event], bool]:
    """Give the function that says whether a match means an event.

    Raises:
        ValueError: A filter cannot be carried out.
    """
    types, names = frozenset(match.types), frozenset(match.events)
    filters = [(reader(each.field), tester(each)) for each in match.where]

    def means(event: Event) -> bool:
        if (types and event.type not in types) or (names and event.name not in names):
            return False
        return all(test(read(event)) for read, test in filters)

    return means


def unfit(rule: Rule) -> list[str]:
    """Tell which filters of a rule cannot be carried out."""
    steps = [step for each in rule.conditions if isinstance(each, Sequence) for step in each.steps]
    begins = [each.since for each in rule.conditions if isinstance(each, AccountAge) and each.since]
    found = []
    for match in (rule.match, *steps, *begins):
        try:
            matcher(match)
        except ValueError as error:
            found.append(str(error))
    return found


def holds(where: Iterable[Filter], event: Event) -> bool:
    """Say whether all filters hold of an event."""
    return matcher(Match(where=tuple(where)))(event)
