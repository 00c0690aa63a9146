"""Events by column, as a sidecar sends them and a worker keeps them in its journal. Pure.

A worker that counts by address looks at addresses only: a column of texts is one run of bytes that it hashes without
making anything of it. Objects are made of the few events that break a rule; see `packed`.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter

import msgspec

from flywheel.fraud.words import Event, Value

FORMAT = 1
"""Of what is written here. Another one is refused, not guessed at."""
DENSE = 8
"""A field is a column where one in so many events has it; so the cells are no more than so many times the values."""
NUL = "\0"
NAN = float("nan")
LARGEST_INDEX = 65_535


class Texts(msgspec.Struct, frozen=True, array_like=True, tag=0):
    """A column of texts: UTF-8 with a NUL between each two. What is missing is empty."""

    data: bytes


class Numbers(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A column of numbers: eight bytes each, the lowest first. What is missing is NaN."""

    data: bytes


class Values(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A column of any values: texts, numbers and truths among each other, or texts with a NUL in them."""

    data: tuple[Value | None, ...]


class Words(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A column of texts of which there are few: each once, and for each event which one it has, in two bytes."""

    words: tuple[str, ...]
    data: bytes


Column = Texts | Numbers | Values | Words


class Batch(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """Some events, in their order."""

    format: int = FORMAT
    count: int
    times: bytes
    """When each happened: milliseconds since 1970, eight bytes each, the lowest first."""
    arrived: bytes
    ids: Texts | Values
    types: Words
    names: Words
    addresses: Texts | Values
    visitors: Texts | Values
    users: Texts | Values
    fields: dict[str, Column]
    """All other fields that many of the events have, by name."""
    rest: dict[int, dict[str, Value]]
    """Fields that few have, by the event's place."""

    def __len__(self) -> int:
        return self.count


OWN = {
    "id": "ids",
    "type": "types",
    "name": "names",
    "address": "addresses",
    "visitor": "visitors",
    "user": "users",
}
"""Texts that every event has -> their columns."""


def pack(events: Sequence[Event]) -> Batch:
    """Write events by column.

    Raises:
        OverflowError: There are more than can be numbered, or a time is beyond all measure.
    """
    count = len(events)
    if count > LARGEST_INDEX:
        raise OverflowError(f"{count} events are too many for a batch")
    having = Counter(chain.from_iterable(event.fields for event in events))
    dense = {name for name, times in having.items() if times * DENSE >= count}
    few = having.keys() - dense
    rest = {i: found for i, event in enumerate(events) if (found := _among(event.fields, few))} if few else {}
    return Batch(
        count=count,
        times=_integers(events, "time"),
        arrived=_integers(events, "arrived"),
        ids=_texts([event.id for event in events]),
        types=_words([event.type for event in events]),
        names=_words([event.name for event in events]),
        addresses=_texts([event.address for event in events]),
        visitors=_texts([event.visitor for event in events]),
        users=_texts([event.user for event in events]),
        fields={name: _column([event.fields.get(name) for event in events]) for name in sorted(dense)},
        rest=rest,
    )


def _among(fields: dict[str, Value], names: set[str]) -> dict[str, Value]:
    return {name: value for name, value in fields.items() if name in names}


def _integers(events: Sequence[Event], attribute: str) -> bytes:
    try:
        return struct.pack(f"<{len(events)}q", *map(attrgetter(attribute), events))
    except struct.error as error:
        raise OverflowError(f"{attribute} of an event does not fit in eight bytes") from error


def _texts(values: list[str]) -> Texts | Values:
    joined = NUL.join(values)
    if joined.count(NUL) != max(0, len(values) - 1):
        return Values(tuple(values))
    return Texts(joined.encode("utf-8", "surrogatepass"))


def _words(values: list[str]) -> Words:
    places: dict[str, int] = {value: i for i, value in enumerate(dict.fromkeys(values))}
    return Words(tuple(places), struct.pack(f"<{len(values)}H", *map(places.__getitem__, values)))


def _column(values: list[Value | None]) -> Column:
    kinds = set(map(type, values)) - {type(None)}
    if kinds == {str}:
        return _texts([value or "" for value in values])  # type: ignore[misc]
    if kinds == {float} and not any(value != value for value in values):
        return Numbers(struct.pack(f"<{len(values)}d", *(NAN if value is None else value for value in values)))
    return Values(tuple(values))


encode = msgspec.msgpack.Encoder().encode
