"""Events by column, as a sidecar sends them and a worker keeps them in its journal. Pure.

A worker that counts by address looks at addresses only: a column of texts is one run of bytes that it hashes without
making anything of it. Objects are made of the few events that break a rule; see `packed`.
"""

import struct
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

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


def problem(batch: Batch) -> str:
    """Tell why a batch cannot be read; empty for one that can: then nothing of it fails later."""
    if batch.format != FORMAT:
        return f"it has the format {batch.format}; known is {FORMAT}"
    if not 0 <= batch.count <= LARGEST_INDEX:
        return f"count is {batch.count}: it must be from 0 to {LARGEST_INDEX}"
    for name in ("times", "arrived"):
        if len(getattr(batch, name)) != 8 * batch.count:
            return f"{name} has {len(getattr(batch, name))} bytes for {batch.count} events"
    columns: dict[str, Column] = {name: getattr(batch, name) for name in OWN.values()}
    for name, column in chain(columns.items(), batch.fields.items()):
        if wrong := _CHECKS[type(column)](column, batch.count):
            return f"{name}: {wrong}"
        if name in columns and isinstance(column, Values) and set(map(type, column.data)) - {str}:
            return f"{name}: not all are texts"
    if any(not 0 <= i < batch.count for i in batch.rest):
        return "rest has fields of an event that is not there"
    return ""


def _of_texts(column: Texts, count: int) -> str:
    found = column.data.count(b"\0") + 1 if count else 0
    if found != count or (not count and column.data):
        return f"{found} texts for {count} events"
    try:
        column.data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        return str(error)
    return ""


def _of_numbers(column: Numbers, count: int) -> str:
    return "" if len(column.data) == 8 * count else f"{len(column.data)} bytes for {count} numbers"


def _of_values(column: Values, count: int) -> str:
    return "" if len(column.data) == count else f"{len(column.data)} values for {count} events"


def _of_words(column: Words, count: int) -> str:
    if len(column.data) != 2 * count:
        return f"{len(column.data)} bytes for {count} places"
    if count and max(struct.unpack(f"<{count}H", column.data)) >= len(column.words):
        return f"a place beyond the {len(column.words)} words"
    return ""


_CHECKS: dict[type, Callable[[Any, int], str]] = {
    Texts: _of_texts,
    Numbers: _of_numbers,
    Values: _of_values,
    Words: _of_words,
}
_decode = msgspec.msgpack.Decoder(Batch).decode
encode = msgspec.msgpack.Encoder().encode


def read(data: bytes) -> Batch:
    """Read a batch.

    Raises:
        ValueError: It is none, or says what cannot be.
    """
    try:
        batch = _decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(str(error)) from error
    if wrong := problem(batch):
        raise ValueError(wrong)
    return batch
