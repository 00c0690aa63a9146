"""Fields of events and filters on them in Flink SQL, typed as the engine's are. Pure.

A record has the text of each field, and its number or truth only where it is one. What has neither is a text.
"""

import ipaddress
from collections.abc import Iterable

from flywheel.fraud.fields import ATTRIBUTES, PREFIX
from flywheel.fraud.flink_text import literal, name, number
from flywheel.fraud.rule import Filter, Match, Rule
from flywheel.fraud.words import Value

_ORDERINGS = {"GreaterThan": ">", "GreaterOrEqual": ">=", "LessThan": "<", "LessOrEqual": "<="}
_PARTS = {"StartsWith": "STARTSWITH({}, {})", "EndsWith": "ENDSWITH({}, {})", "Contains": "POSITION({1} IN {0}) > 0"}


def text_of(field: str) -> str:
    """Give a field as text, as keys and members are written; NULL where it is missing."""
    attribute = ATTRIBUTES.get(field)
    return f"NULLIF({name(attribute)}, '')" if attribute else f"`fields`[{literal(field)}]"


def number_of(field: str) -> str:
    """Give a field as a number; NULL for what is none."""
    return "CAST(NULL AS DOUBLE)" if field in ATTRIBUTES else f"`numbers`[{literal(field)}]"


def moment_of(field: str) -> str:
    """Give the moment that a field tells, in milliseconds since 1970; NULL for what is none."""
    seen = number_of(field)
    counted = f"CAST(CASE WHEN {seen} < 1E11 THEN {seen} * 1E3 ELSE {seen} END AS BIGINT)"
    return f"CASE WHEN {seen} >= 0E0 AND {seen} < 1E14 THEN {counted} ELSE `moments`[{literal(_known(field))}] END"


def key_of(rule: Rule) -> tuple[str, ...]:
    """Give the fields of a rule's key; networks as the bits of their addresses."""
    return tuple(_network(rule) if each == PREFIX else text_of(each) for each in rule.key)


def _network(rule: Rule) -> str:
    bits = "`addresses`['address']"
    length = f"CASE WHEN {bits} LIKE '4%' THEN {rule.prefix_ipv4 + 2:d} ELSE {rule.prefix_ipv6 + 2:d} END"
    return f"SUBSTRING({bits} FROM 1 FOR {length})"


def means(match: Match) -> str:
    """Say which events a match means; never NULL."""
    found = [
        f"COALESCE({name(column)} IN ({', '.join(map(literal, wanted))}), FALSE)"
        for column, wanted in (("type", match.types), ("name", match.events))
        if wanted
    ]
    return " AND ".join([*found, *map(holds, match.where)]) or "TRUE"


def holds(asked: Filter) -> str:
    """Say which events pass a filter; never NULL."""
    field, values = asked.field, asked.values
    match asked.operator:
        case "Exists":
            return f"{text_of(field)} IS NOT NULL"
        case "DoesNotExist":
            return f"{text_of(field)} IS NULL"
        case "Equals" | "In":
            return _equals(field, values)
        case "NotEquals" | "NotIn":
            return f"NOT {_equals(field, values)}"
        case "InRange":
            return f"({' OR '.join(_in_range(field, value) for value in values)})"
        case "StartsWith" | "EndsWith" | "Contains":
            return _on_text(asked)
        case _:
            ordering = _ORDERINGS[asked.operator]
            return f"COALESCE({number_of(field)} {ordering} {number(float(values[0]))}, FALSE)"


def _string(field: str) -> str:
    """Give a field if it is a text."""
    if field in ATTRIBUTES:
        return text_of(field)
    path = literal(field)
    return f"CASE WHEN `numbers`[{path}] IS NULL AND `truths`[{path}] IS NULL THEN `fields`[{path}] END"


def _equals(field: str, values: Iterable[Value]) -> str:
    return f"({' OR '.join(f'COALESCE({_equal(field, value)}, FALSE)' for value in values)})"


def _equal(field: str, value: Value) -> str:
    if isinstance(value, str):
        # An empty text is as none.
        return f"{_string(field)} = {literal(value)}" if value else "FALSE"
    if isinstance(value, bool):
        told = "CAST(NULL AS BOOLEAN)" if field in ATTRIBUTES else f"`truths`[{literal(field)}]"
        return f"{told} = {str(value).upper()}"
    return f"{number_of(field)} = {number(value)}"


def _on_text(asked: Filter) -> str:
    wanted = str(asked.values[0])
    if not wanted:
        return f"({_string(asked.field)}) IS NOT NULL"
    return f"COALESCE({_PARTS[asked.operator].format(_string(asked.field), literal(wanted))}, FALSE)"


def _in_range(field: str, value: Value) -> str:
    wanted = bits_of(ipaddress.ip_network(str(value), strict=False))
    return f"COALESCE(STARTSWITH(`addresses`[{literal(_known(field))}], {literal(wanted)}), FALSE)"


def _known(field: str) -> str:
    """Give the name under which a record has the address or the moment of a field."""
    return ATTRIBUTES.get(field, field)


def bits_of(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> str:
    """Write a network, or an address as the smallest one, as its version and its bits: `4:110000000000000000000010`."""
    bits = f"{int(network.network_address):0{network.max_prefixlen}b}"
    return f"{network.version}:{bits[: network.prefixlen]}"
