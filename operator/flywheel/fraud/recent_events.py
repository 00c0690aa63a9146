"""The events that were written to topics lately, by where they stand: most verdicts are about one of these."""

import threading
from collections import OrderedDict
from typing import NamedTuple

ROOM = 32 << 20
"""Bytes of all."""


class Place(NamedTuple):
    """Where a record stands in Kafka."""

    topic: str
    lane: int
    """Its partition."""
    place: int
    """Its offset."""


class RecentEvents:
    """Records by their places, the oldest forgotten first. One thread writes, another one reads."""

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._size = room, 0
        self._known: OrderedDict[Place, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, place: Place, record: bytes) -> None:
        """Remember a record."""
        with self._lock:
            self._size += len(record) - len(self._known.pop(place, b""))
            self._known[place] = record
            while self._size > self._room:
                self._size -= len(self._known.popitem(last=False)[1])

    def get(self, place: Place) -> bytes | None:
        """Give a record; None where it is not known."""
        with self._lock:
            return self._known.get(place)
