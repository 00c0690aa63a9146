"""Events that lie by column, to be looked at as events: each is made when somebody asks for it. Needs `fraud`."""

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.batch import OWN, Batch, Column, Numbers, Texts, Values, Words
from flywheel.fraud.fields import ATTRIBUTES
from flywheel.fraud.words import Event, Value

Cell = Callable[[int], Value | None]
"""Gives what stands in a column at a place."""
_number = struct.Struct("<d").unpack_from
_place = struct.Struct("<H").unpack_from


class Reading:
    """A whole batch, and what has been read of it."""

    def __init__(self, batch: Batch) -> None:
        """Begin with nothing read.

        Args:
            batch: One in which `batch.problem` finds none.
        """
        self.batch = batch
        self.hashed: dict[tuple[str, bytes], NDArray[np.int64]] = {}
        """Hashes of whole columns, by name and the key of the hash."""
        self.bounds: dict[int, NDArray[np.int64]] = {}
        """Where the NULs before and behind the texts of a column are, by its identity, as far as somebody knows."""
        self._by_name: dict[str, Cell] = {}
        self._values: dict[str, list[Value | None]] = {}
        self._cells: tuple[list[tuple[str, Cell]], list[tuple[str, Cell]]] | None = None
        self._made: dict[int, Event] = {}

    def column(self, name: str) -> Column | None:
        """Give the column of a field; None where there is none, though some events may have it."""
        if attribute := ATTRIBUTES.get(name):
            return getattr(self.batch, OWN[attribute])  # type: ignore[no-any-return]
        return self.batch.fields.get(name)

    def values(self, name: str) -> list[Value | None]:
        """Give a field of all events; what is missing is None or an empty text."""
        if name not in self._values:
            self._values[name] = self._read(name)
        return self._values[name]

    def _read(self, name: str) -> list[Value | None]:
        column, count = self.column(name), self.batch.count
        match column:
            case Texts():
                return [*column.data.decode("utf-8", "surrogatepass").split("\0")]
            case Numbers():
                return [None if value != value else value for value in numbers_of(column).tolist()]
            case Values():
                return [*column.data]
            case Words():
                return [column.words[place] for place in places_of(column).tolist()]
        values: list[Value | None] = [None] * count
        for i, fields in self.batch.rest.items():
            values[i] = fields.get(name)
        return values

    def cell(self, name: str) -> Cell:
        """Give the function that reads a field of an event."""
        if name not in self._by_name:
            column = self.column(name)
            self._by_name[name] = self._of_rest(name) if column is None else self._cell(column)
        return self._by_name[name]

    def cells(self, name: str, places: Sequence[int]) -> list[Value | None]:
        """Give a field of some events."""
        column = self.column(name)
        if not isinstance(column, Texts):
            return [*map(self.cell(name), places)]
        data, bounds, chosen = column.data, self._bounds_of(column), np.array(places, np.int64)
        pieces = zip((bounds[chosen] + 1).tolist(), bounds[chosen + 1].tolist(), strict=True)
        return [data[start:end].decode("utf-8", "surrogatepass") for start, end in pieces]

    def _bounds_of(self, column: Texts) -> NDArray[np.int64]:
        bounds = self.bounds.get(id(column))
        if bounds is None:
            nuls = np.flatnonzero(np.frombuffer(column.data, np.uint8) == 0)
            bounds = self.bounds[id(column)] = np.concatenate(([-1], nuls, [len(column.data)]))
        return bounds

    def _of_rest(self, name: str) -> Cell:
        nothing: dict[str, Value] = {}
        return lambda i: self.batch.rest.get(i, nothing).get(name)

    def _cell(self, column: Column) -> Cell:
        match column:
            case Texts():
                return _text_cell(column.data, self._bounds_of(column))
            case Numbers():
                return lambda i: None if (found := _number(column.data, 8 * i)[0]) != found else found
            case Words():
                return lambda i: column.words[_place(column.data, 2 * i)[0]]
            case Values():
                return column.data.__getitem__

    def event(self, i: int) -> Event:
        """Make an event."""
        if i not in self._made:
            if self._cells is None:
                own_columns = [(name, self._cell(getattr(self.batch, column))) for name, column in OWN.items()]
                self._cells = own_columns, [(name, self.cell(name)) for name in self.batch.fields]
            own: dict[str, Any] = {name: cell(i) for name, cell in self._cells[0]}
            cells = [(name, cell(i)) for name, cell in self._cells[1]]
            fields = {name: value for name, value in cells if value is not None and value != ""}
            time, arrived = (
                struct.unpack_from("<q", each, 8 * i)[0] for each in (self.batch.times, self.batch.arrived)
            )
            self._made[i] = Event(time=time, arrived=arrived, fields=fields | self.batch.rest.get(i, {}), **own)
        return self._made[i]


class Packed(Sequence[Event]):
    """The events of a batch, or some that stand beside each other in it."""

    def __init__(self, reading: Reading, start: int = 0, end: int | None = None) -> None:
        self.reading, self.start = reading, start
        self.end = reading.batch.count if end is None else end

    def __len__(self) -> int:
        return self.end - self.start

    @overload
    def __getitem__(self, at: int) -> Event: ...
    @overload
    def __getitem__(self, at: slice) -> "Packed": ...
    def __getitem__(self, at: int | slice) -> "Event | Packed":
        if isinstance(at, slice):
            start, end, step = at.indices(len(self))
            if step != 1:
                raise ValueError("packed events are cut in one piece")
            return Packed(self.reading, self.start + start, self.start + max(start, end))
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self.reading.event(self.start + at % len(self))

    def __iter__(self) -> Iterator[Event]:
        return map(self.reading.event, range(self.start, self.end))


def happened_last(batch: Batch) -> int:
    """Give when the last of some events happened, as windows have it: never later than it came. 0 for none."""
    times, arrived = (np.frombuffer(each, "<i8") for each in (batch.times, batch.arrived))
    return int(np.minimum(times, arrived).max(initial=0))


def numbers_of(column: Numbers) -> NDArray[np.float64]:
    """Give the numbers of a column; NaN for what is missing."""
    return np.frombuffer(column.data, "<f8")


def places_of(column: Words) -> NDArray[np.uint16]:
    """Give the place of each event's word."""
    return np.frombuffer(column.data, "<u2")


def _text_cell(data: bytes, bounds: NDArray[np.int64]) -> Cell:
    return lambda i: data[bounds[i] + 1 : bounds[i + 1]].decode("utf-8", "surrogatepass")
