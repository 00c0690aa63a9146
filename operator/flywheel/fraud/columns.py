"""A batch of events by column: what rules ask of it is read and hashed once. Needs the extra `fraud`."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud import batch as packing
from flywheel.fraud.compiled import Flags, Numbers, hash_texts, mix_all
from flywheel.fraud.fields import ATTRIBUTES, PREFIX, network, text
from flywheel.fraud.packed import Packed, numbers_of, places_of
from flywheel.fraud.rule import LARGEST_VALUE, UNIT, Match, Rule
from flywheel.fraud.where import tester
from flywheel.fraud.words import Event, Value

NUL, REPLACED = "\0", "\ufffd"
KeyReader = Callable[[Event], tuple[str, ...]]
Told = tuple[str, tuple[str, ...]]
"""The id of an event, and its key by a rule."""
COMPARED: dict[str, Callable[[NDArray[np.float64], float], Flags]] = {
    "GreaterThan": np.greater,
    "GreaterOrEqual": np.greater_equal,
    "LessThan": np.less,
    "LessOrEqual": np.less_equal,
}
"""Filters on numbers, which a whole column passes at once; a NaN passes none of them."""


class Columns:
    """The columns of some events, made of objects as they are asked for."""

    def __init__(self, events: Sequence[Event], secret: NDArray[np.uint64], clock: int) -> None:
        self.events = events
        self._secret = secret
        self._values: dict[str, list[Value | None]] = {}
        self._hashes: dict[str, Numbers] = {}
        self._numbers: dict[str, NDArray[np.float64]] = {}
        self._matches: dict[Match, Flags] = {}
        self._named: dict[tuple[str, tuple[str, ...]], Flags] = {}
        arrived = self.integers("arrived")
        self.clocks = np.maximum.accumulate(np.maximum(arrived, clock))
        """The newest arrival when each event came."""
        happened = self.integers("time")
        self.clamped = int(np.count_nonzero(happened > arrived))
        self.times = np.minimum(happened, arrived)

    def integers(self, attribute: str) -> Numbers:
        """Give a whole number that every event has."""
        return np.array([*map(attrgetter(attribute), self.events)], np.int64)

    def values(self, name: str) -> list[Value | None]:
        """Give a field of all events; what is missing is None or an empty text."""
        if name not in self._values:
            if attribute := ATTRIBUTES.get(name):
                self._values[name] = [*map(attrgetter(attribute), self.events)]
            else:
                self._values[name] = [event.fields.get(name, "") for event in self.events]
        return self._values[name]

    def hashes(self, name: str) -> Numbers:
        """Give the hashes of a field's texts; 0 where it is missing."""
        if name not in self._hashes:
            self._hashes[name] = self._hashed(self.values(name))
        return self._hashes[name]

    def keys(self, rule: Rule) -> Numbers:
        """Give the hashes of a rule's keys; 0 where a field of it is missing."""
        found = [self.texts(name, rule.prefix_ipv4, rule.prefix_ipv6) for name in rule.key]
        keys = found[0]
        for other in found[1:]:
            keys = mix_all(keys, other, self._secret)
        return keys

    def texts(self, name: str, ipv4: int, ipv6: int) -> Numbers:
        """Give the hashes of a field's texts, or of the networks of addresses; 0 where there is none."""
        if name != PREFIX:
            return self.hashes(name)
        named = f"{name}/{ipv4}/{ipv6}"
        if named not in self._hashes:
            addresses: list[Any] = self.values("address")
            self._hashes[named] = self._hashed([network(each, ipv4, ipv6) for each in addresses])
        return self._hashes[named]

    def _hashed(self, values: list[Value | None]) -> Numbers:
        return hashed(values, self._secret)

    def key_texts(self, rule: Rule) -> Iterator[tuple[str, ...]]:
        """Give the texts of a rule's keys; empty ones for fields that are missing."""
        addresses: list[Any] = self.values("address")
        return zip(
            *(
                [network(each, rule.prefix_ipv4, rule.prefix_ipv6) for each in addresses]
                if name == PREFIX
                else map(text, self.values(name))
                for name in rule.key
            ),
            strict=True,
        )

    def told(self, places: Iterable[int], read_key: KeyReader, rule: Rule) -> Iterable[Told]:
        """Give the ids of some events, and their keys by a rule, for which there is a reader."""
        chosen = [self.events[i] for i in places]
        return [(event.id, read_key(event)) for event in chosen]

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Give a field as numbers; NaN for what is none."""
        if name not in self._numbers:
            values = self.values(name)
            if set(map(type, values)) != {float}:
                values = [value if type(value) is float else _number(value) for value in values]
            self._numbers[name] = np.array(values, np.float64)
        return self._numbers[name]

    def amounts(self, name: str) -> tuple[Numbers, Flags]:
        """Give a field in ten-thousandths, and where it is a number that can be summed up."""
        numbers = self.numbers(name)
        usable = np.abs(numbers) <= LARGEST_VALUE
        return np.rint(np.where(usable, numbers, 0.0) * UNIT).astype(np.int64), usable

    def matching(self, match: Match) -> Flags:
        """Say which events a match means."""
        if match not in self._matches:
            self._matches[match] = self._matching(match)
        return self._matches[match]

    def _matching(self, match: Match) -> Flags:
        chosen = np.ones(len(self.times), np.bool_)
        for names, attribute in ((match.types, "type"), (match.events, "event")):
            if names:
                chosen &= self._among(attribute, names)
        for condition in match.where:
            if (compare := COMPARED.get(condition.operator)) is not None:
                chosen &= compare(self.numbers(condition.field), float(condition.values[0]))
                continue
            test, values = tester(condition), self.values(condition.field)
            for i in np.flatnonzero(chosen).tolist():
                value = values[i]
                chosen[i] = test(None if value == "" else value)
        return chosen

    def _among(self, attribute: str, names: tuple[str, ...]) -> Flags:
        if (attribute, names) not in self._named:
            self._named[attribute, names] = self._are(attribute, frozenset(names))
        return self._named[attribute, names]

    def _are(self, attribute: str, wanted: frozenset[str]) -> Flags:
        return np.array([value in wanted for value in self.values(attribute)], np.bool_)


class PackedColumns(Columns):
    """The columns of packed events, which are there already. What is hashed is hashed once for a whole batch."""

    events: Packed

    def __init__(self, events: Packed, secret: NDArray[np.uint64], clock: int) -> None:
        self._reading, self._part = events.reading, slice(events.start, events.end)
        self._key = secret.tobytes()
        super().__init__(events, secret, clock)

    def integers(self, attribute: str) -> Numbers:
        """Give a whole number that every event has."""
        batch = self._reading.batch
        return np.frombuffer(batch.times if attribute == "time" else batch.arrived, "<i8")[self._part]

    def values(self, name: str) -> list[Value | None]:
        """Give a field of all events; what is missing is None or an empty text."""
        return self._reading.values(name)[self._part]

    def hashes(self, name: str) -> Numbers:
        """Give the hashes of a field's texts; 0 where it is missing."""
        named = name, self._key
        if named not in self._reading.hashed:
            column, count = self._reading.column(name), self._reading.batch.count
            if isinstance(column, packing.Texts):
                found, bounds = np.empty(count, np.int64), np.full(count + 1, -1)
                hash_texts(np.frombuffer(column.data, np.uint8), self._secret, found, bounds[1:])
                self._reading.bounds[id(column)] = bounds
            else:
                found = hashed(self._reading.values(name), self._secret)
            self._reading.hashed[named] = found
        return self._reading.hashed[named][self._part]

    def told(self, places: Iterable[int], read_key: KeyReader, rule: Rule) -> Iterable[Told]:
        """Give the ids and the keys of some events, of which nothing else is made."""
        chosen, cells = [self._part.start + i for i in places], self._reading.cells
        keys = (
            [network(str(each), rule.prefix_ipv4, rule.prefix_ipv6) for each in cells("address", chosen)]
            if name == PREFIX
            else map(text, cells(name, chosen))
            for name in rule.key
        )
        return zip(map(str, cells("messageId", chosen)), zip(*keys, strict=True), strict=True)

    def numbers(self, name: str) -> NDArray[np.float64]:
        """Give a field as numbers; NaN for what is none."""
        column = self._reading.column(name)
        return numbers_of(column)[self._part] if isinstance(column, packing.Numbers) else super().numbers(name)

    def _are(self, attribute: str, wanted: frozenset[str]) -> Flags:
        column = self._reading.column(attribute)
        if not isinstance(column, packing.Words):
            return super()._are(attribute, wanted)
        are = np.array([word in wanted for word in column.words], np.bool_)
        return are[places_of(column)[self._part]]


def columns_of(events: Sequence[Event], secret: NDArray[np.uint64], clock: int) -> Columns:
    """Give the columns of some events."""
    return (PackedColumns if isinstance(events, Packed) else Columns)(events, secret, clock)  # type: ignore[arg-type]


def hashed(values: list[Value | None], secret: NDArray[np.uint64]) -> Numbers:
    """Hash the texts of some values; 0 for what is missing."""
    try:
        joined = NUL.join(values)  # type: ignore[arg-type]
    except TypeError:
        values = [*map(text, values)]
        joined = NUL.join(values)  # type: ignore[arg-type]
    if joined.count(NUL) != len(values) - 1:
        joined = NUL.join(value.replace(NUL, REPLACED) for value in values)  # type: ignore[union-attr]
    found, ends = np.empty(len(values), np.int64), np.empty(len(values), np.int64)
    hash_texts(np.frombuffer(joined.encode("utf-8", "surrogatepass"), np.uint8), secret, found, ends)
    return found


def _number(value: Value | None) -> float:
    return float(value) if isinstance(value, int) and not isinstance(value, bool) else float("nan")
