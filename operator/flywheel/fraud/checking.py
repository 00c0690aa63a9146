"""Whether a batch that somebody has sent can be read. Pure. Needs the extra `fraud`."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from flywheel.fraud.batch import FORMAT, LARGEST_INDEX, OWN, Batch, Column, Numbers, Texts, Values, Words
from flywheel.fraud.packed import places_of


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
    found = int(np.count_nonzero(np.frombuffer(column.data, np.uint8) == 0)) + 1 if count else 0
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
    if count and int(places_of(column).max()) >= len(column.words):
        return f"a place beyond the {len(column.words)} words"
    return ""


_CHECKS: dict[type, Callable[[Any, int], str]] = {
    Texts: _of_texts,
    Numbers: _of_numbers,
    Values: _of_values,
    Words: _of_words,
}
_decode = msgspec.msgpack.Decoder(Batch).decode


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
