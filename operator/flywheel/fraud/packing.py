"""Events that wait for workers, noted once and packed once for all of them, as long as they keep step.

Each worker gets each event, in batches of its own: one that is slow gets more at once. As a rule they get the same, and
to pack is most of what a batch costs. Pure but for what it remembers.
"""

from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple

from flywheel.events.rows import EventRow
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.from_row import event_of

KEPT = 4
"""Batches that are kept for workers that have not sent them yet: what is further behind is packed anew."""


class Noted(NamedTuple):
    """One event that waits."""

    number: int
    """In the order in which they came."""
    row: EventRow
    address: str
    workers: int
    """How many workers get it."""


class Packing:
    """Notes events, and writes batches of them."""

    def __init__(self) -> None:
        self._count = 0
        self._made: OrderedDict[tuple[int, int], bytes] = OrderedDict()
        self.packed = 0
        """Batches that were packed, and not only given once more."""

    def note(self, rows: Sequence[EventRow], address: str, workers: int) -> list[Noted]:
        """Note events, at the cost of noting where they are.

        Args:
            rows: As they were kept.
            address: The client's, as the edge sees it.
            workers: How many workers get them.
        """
        first = self._count
        self._count += len(rows)
        return [Noted(number, row, address, workers) for number, row in enumerate(rows, first)]

    def body(self, noted: Sequence[Noted]) -> bytes:
        """Give events that follow each other, as a worker reads them."""
        place = (noted[0].number, noted[-1].number)
        made = self._made.get(place)
        if made is None:
            made = encode(pack([event_of(each.row, each.address) for each in noted]))
            self.packed += 1
            # Nobody else gets what goes to one worker alone.
            if noted[0].workers > 1:
                self._made[place] = made
                if len(self._made) > KEPT:
                    self._made.popitem(last=False)
        return made
