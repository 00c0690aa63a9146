"""What is kept by key in plain Python: bounded, forgotten bit by bit, and the same after the same events. Pure.

Spread over many small tables, so that none of them ever grows for long.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import numpy as np

from flywheel.fraud.compiled import Flags, Numbers

TABLES = 64
SAMPLED = 64
"""Entries looked at to find the oldest, where there is room for no more."""
Entry = list[Any]
"""Its first element is the newest time of it; the others are its owner's, of what MessagePack can say."""


class Keeper:
    """Entries by key."""

    def __init__(self, maximum: int, *, refuses: bool) -> None:
        """Begin empty.

        Args:
            maximum: Keys at most.
            refuses: Whether a new key is refused when there is no room, instead of the oldest being forgotten.
        """
        self._maximum, self._refuses = maximum, refuses
        self._tables: list[OrderedDict[int, Entry]] = [OrderedDict() for _ in range(TABLES)]
        self._hand = 0
        self.keys = self.evicted = self.refused = 0

    def __iter__(self) -> Iterator[tuple[int, Entry]]:
        for table in self._tables:
            yield from table.items()

    def get(self, key: int) -> Entry | None:
        """Give the entry of a key."""
        return self._tables[key % TABLES].get(key)

    def admit(self, key: int, entry: Entry) -> bool:
        """Keep an entry for a key that has none; say whether there was room."""
        if self.keys >= self._maximum:
            if self._refuses:
                self.refused += 1
                return False
            self._make_room()
        self._tables[key % TABLES][key] = entry
        self.keys += 1
        return True

    def sweep(self, over: int, steps: int = 2) -> None:
        """Look at the next few entries, and forget those that are not newer than `over`."""
        for _ in range(steps):
            table = self._tables[self._hand]
            self._hand = (self._hand + 1) % TABLES
            if table:
                key = next(iter(table))
                table.move_to_end(key)
                if table[key][0] <= over:
                    self._forget(key)

    def _next(self, most: int) -> list[tuple[int, int]]:
        """Give some keys and their newest times, others each time."""
        found: list[tuple[int, int]] = []
        for _ in range(TABLES):
            table = self._tables[self._hand]
            self._hand = (self._hand + 1) % TABLES
            for _ in range(min(len(table), most - len(found))):
                key = next(iter(table))
                table.move_to_end(key)
                found.append((key, table[key][0]))
            if len(found) >= most:
                break
        return found

    def _make_room(self) -> None:
        self._forget(min(self._next(SAMPLED), key=lambda each: each[1])[0])
        self.evicted += 1

    def _forget(self, key: int) -> None:
        del self._tables[key % TABLES][key]
        self.keys -= 1

    def adopt(self, other: "Keeper", choose: Callable[[Numbers], Flags]) -> None:
        """Take the chosen entries of another one over. Keys that are here already stay as they are."""
        entries = [*other]
        chosen = choose(np.array([key for key, _ in entries], np.int64)).tolist()
        for (key, entry), is_meant in zip(entries, chosen, strict=True):
            if is_meant and self.get(key) is None:
                self.admit(key, entry)

    def keep(self, choose: Callable[[Numbers], Flags]) -> None:
        """Forget all entries but the chosen ones."""
        for table in self._tables:
            keys = [*table]
            for key, is_meant in zip(keys, choose(np.array(keys, np.int64)).tolist(), strict=True):
                if not is_meant:
                    self._forget(key)

    def dump(self) -> bytes:
        """Write all entries, in an order that what comes next depends on."""
        tables = [list(table.items()) for table in self._tables]
        return msgspec.msgpack.encode([self._hand, self.evicted, self.refused, tables])

    def load(self, data: bytes) -> None:
        """Read what `dump` has written. ValueError where it is something else."""
        try:
            self._hand, self.evicted, self.refused, tables = msgspec.msgpack.decode(data)
            self._tables = [OrderedDict((key, entry) for key, entry in table) for table in tables]
        except (msgspec.DecodeError, TypeError) as error:
            raise ValueError(f"the snapshot is not readable: {error}") from error
        self.keys = sum(map(len, self._tables))
