"""Keys on their way from one worker to another: what is sent, and how it is judged until it is the taker's own. Pure.

The sender writes down what it has of the keys that move, as of one moment, with the ids of the events that it has seen.
The taker has all events since before that moment in its journal. It goes through them with what was sent: those whose
ids are known count already. Once both have seen the same events, the keys become its own.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from flywheel.fraud.casebook import Casebook
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.records import Events, Record, Snapshot
from flywheel.fraud.rulings import MovingEngine, Shard

REMEMBERED = 600_000
"""Milliseconds for which engines remember ids of events."""
COMPARED = 60_000
"""Milliseconds before the moment of the slowest in which events are compared."""


class Moved(msgspec.Struct, frozen=True, array_like=True):
    """What a worker sends of the keys that move."""

    number: int
    """The shard that had them."""
    of: int
    part: Snapshot
    format: int = 1


_encode = msgspec.msgpack.Encoder().encode
_moved = msgspec.msgpack.Decoder(Moved)


def moved(book: Casebook, number: int, of: int) -> bytes:
    """Write down what moves from here to a shard when there are `of` of them."""
    here = book.shard
    to = Shard(number, of, here.secret, (here.number, here.of))
    return _encode(Moved(here.number, here.of, book.part(to)))


def read_moved(data: bytes) -> Moved:
    """Read what `moved` has written.

    Raises:
        ValueError: It is something else, or of another version.
    """
    try:
        found = _moved.decode(data)
    except msgspec.DecodeError as error:
        raise ValueError(f"what a worker has sent of its keys cannot be read: {error}") from error
    if found.format != 1:
        raise ValueError(f"what a worker has sent of its keys has the format {found.format}; known is 1")
    return found


class Taken:
    """Keys that came from one worker, judged beside the taker's own."""

    def __init__(self, ours: Casebook, sent: Moved, number: int, of: int, position: int) -> None:
        """Note what was sent; `restore` makes it work.

        Args:
            ours: Whose rules and lists hold.
            sent: By one worker.
            number: The taker's shard.
            of: Of how many.
            position: Up to which of the taker's journal the rules and lists of `ours` are read.
        """
        shard = Shard(number, of, ours.shard.secret, (sent.number, sent.of))
        self.book, self._part = ours.beside(sent.part, shard)
        self.clocks: dict[str, int] = {}
        """When it was sent, by campaign: the newest arrival in milliseconds since 1970."""
        self._known_up_to = position

    def restore(self) -> None:
        """Read what was sent. That takes a while, and may be done beside what goes on.

        Raises:
            ValueError: An engine cannot read its part.
        """
        self.book.restore(self._part)
        self.clocks = _clocks(self.book)
        del self._part

    def apply(self, position: int, record: Record) -> Iterator[object]:
        """Take a record of the taker's journal in, slice by slice; they come in their order, from the oldest on."""
        if isinstance(record, Events):
            # Of events before that nobody knows any more whether they were seen.
            since = self.clocks.get(record.campaign, REMEMBERED) - REMEMBERED
            for events in _after(Packed(Reading(record.batch)), since):
                yield from self.book.judge(record.campaign, events)
        elif position >= self._known_up_to:
            yield from self.book.apply(record)


def _after(events: Packed, since: int) -> Iterator[Packed]:
    """Give the stretches of a batch that arrived after a moment."""
    late = np.frombuffer(events.reading.batch.arrived, "<i8") > since
    edges = [0, *(np.flatnonzero(np.diff(late)) + 1).tolist(), len(late)]
    for start, end in pairwise(edges):
        if end > start and late[start]:
            yield events[start:end]


def have_met(ours: Casebook, taken: Sequence[Taken]) -> bool:
    """Say whether the taker and all that was sent to it have seen the same events lately.

    Else an event that one of them lacks would be taken for known by it as well.
    """
    for name in ours.desks:
        met = [(each.book, each.clocks.get(name, 0)) for each in taken]
        if ours.shard.of:
            met.append((ours, _clocks(ours).get(name, 0)))
        engines = [(book.desks[name].engine, clock) for book, clock in met if name in book.desks]
        moving = [(engine, clock) for engine, clock in engines if isinstance(engine, MovingEngine)]
        clocks = [clock for _, clock in moving if clock]
        after = min(clocks, default=0) - COMPARED
        if any(one.lacks(other, after) for one, _ in moving for other, _ in moving if one is not other):
            return False
    return True


def _clocks(book: Casebook) -> dict[str, int]:
    return {name: desk.engine.clock for name, desk in book.desks.items() if isinstance(desk.engine, MovingEngine)}


def sources(number: int, before: int, of: int) -> tuple[int, ...]:
    """Name the shards that a worker takes keys from.

    Args:
        number: The worker's own shard.
        before: Of how many it was one until now; 0 for one that begins.
        of: Of how many it is to be one.
    """
    if number >= of:
        return ()
    return tuple(range(number)) if before == 0 else tuple(range(of, before))


def takers(number: int, before: int, of: int) -> tuple[int, ...]:
    """Name the shards that have to have taken keys before a worker lets go of them; the arguments as of `sources`."""
    return tuple(range(before, of)) if 0 < before < of and number < before else ()


def exhaust(steps: Iterable[object]) -> None:
    """Go through steps, and do those that are work for another thread: this is one."""
    for step in steps:
        if callable(step):
            step()
