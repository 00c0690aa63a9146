"""What stands in the topics that Flink reads and writes: events as records, and verdicts. Pure.

An event is read once here, as strictly as the engine reads it, so that the SQL has nothing to parse: what is an address
or a moment, and what a number is as text, are the same on both ways.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from flywheel.fraud.fields import ATTRIBUTES, PREFIX, text
from flywheel.fraud.flink_filters import bits_of
from flywheel.fraud.moments import moment
from flywheel.fraud.rule import Rule
from flywheel.fraud.words import Event, Value, Verdict

LARGEST = 1.7976931348623157e308
"""Instead of what is infinite, which JSON does not know."""
_SHORTEST_MOMENT = len("20270616T00Z")
_LONGEST_REMEMBERED = 64
"""Characters of a text whose bits are remembered: most addresses come again and again."""
_OWN = tuple(sorted(set(ATTRIBUTES.values())))


class Record(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event on the topic, as JSON. A field that is missing, or an empty text, is not there."""

    id: str
    type: str
    name: str
    time: int
    arrived: int
    address: str = ""
    visitor: str = ""
    user: str = ""
    fields: dict[str, str] = {}
    """All other fields as text, as keys and members are written: 5 and "5" are the same."""
    numbers: dict[str, float] = {}
    """Those of them that are numbers."""
    truths: dict[str, bool] = {}
    """Those of them that are true or false."""
    addresses: dict[str, str] = {}
    """Version and bits of the addresses among the texts, `address` among them."""
    moments: dict[str, int] = {}
    """Milliseconds since 1970 of the moments among the texts."""


def record_of(event: Event) -> Record:
    """Write an event as a record of the topic."""
    given = {name: value for name, value in event.fields.items() if value != ""}
    texts = {name: value for name, value in given.items() if isinstance(value, str)}
    texts |= {name: value for name in _OWN if (value := getattr(event, name))}
    return Record(
        id=event.id,
        type=event.type,
        name=event.name,
        time=event.time,
        arrived=event.arrived,
        address=event.address,
        visitor=event.visitor,
        user=event.user,
        fields={name: text(value) for name, value in given.items()},
        numbers={name: _finite(value) for name, value in given.items() if _is_number(value)},
        truths={name: value for name, value in given.items() if isinstance(value, bool)},
        addresses={name: bits for name, value in texts.items() if (bits := _bits(value))},
        moments={name: at for name, value in texts.items() if (at := _moment(value)) is not None},
    )


def event_of(record: Record) -> Event:
    """Read an event back from its record, typed as it was; what was infinite is as large as numbers get."""
    fields: dict[str, Value] = dict(record.fields)
    return Event(
        id=record.id,
        type=record.type,
        name=record.name,
        time=record.time,
        arrived=record.arrived,
        address=record.address,
        visitor=record.visitor,
        user=record.user,
        fields=fields | record.numbers | record.truths,
    )


def _is_number(value: Value) -> bool:
    return isinstance(value, float | int) and not isinstance(value, bool) and value == value


def _finite(value: Value) -> float:
    return min(max(float(value), -LARGEST), LARGEST)


def _bits(value: str) -> str:
    return _remembered_bits(value) if len(value) <= _LONGEST_REMEMBERED else _read_bits(value)


@lru_cache(maxsize=65_536)
def _remembered_bits(value: str) -> str:
    return _read_bits(value)


def _read_bits(value: str) -> str:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return ""
    return bits_of(ipaddress.ip_network(getattr(address, "ipv4_mapped", None) or address))


def _moment(value: str) -> int | None:
    return moment(value) if len(value) >= _SHORTEST_MOMENT and value[0].isdigit() else None


def verdict_of(row: Mapping[str, Any], rule: Rule) -> Verdict:
    """Read a verdict as Flink has written it.

    Args:
        row: The record.
        rule: By which was judged: it tells which fields of the key are networks.

    Raises:
        KeyError, TypeError, ValueError: It is no such record.
    """
    return Verdict(
        rule=str(row["rule"]),
        version=str(row["version"]),
        event=str(row["event"] or ""),
        at=int(row["at"]),
        key=_key(row["key"], rule),
        observed=float(row["observed"]),
        limit=float(row["limit"]),
        since=int(row["since"]),
        saturated=bool(row["saturated"]),
    )


def _key(values: Sequence[str], rule: Rule) -> tuple[str, ...]:
    return tuple(_network(value) if name == PREFIX else value for name, value in zip(rule.key, values, strict=True))


def _network(bits: str) -> str:
    """Write the network of `4:110000000000000000000010` as 192.0.2.0/24."""
    version, _, prefix = bits.partition(":")
    size = {"4": 32, "6": 128}[version]
    number = int(prefix.ljust(size, "0"), 2)
    address = ipaddress.IPv4Address(number) if size == 32 else ipaddress.IPv6Address(number)
    return str(ipaddress.ip_network((address, len(prefix))))
