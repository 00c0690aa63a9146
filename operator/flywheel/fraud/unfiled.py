"""Verdicts that are on their way to the archive: bounded, and a part of each snapshot, so that none gets lost. Pure."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice

from flywheel.fraud.verdicts import Kept

ROOM = 20_000
"""Verdicts. A flood of them is one attack told many times: judging never waits for the disk."""


class Unfiled:
    """A queue that whoever judges fills and whoever files empties."""

    def __init__(self, room: int = ROOM) -> None:
        self.dropped = 0
        """Verdicts that are kept nowhere, for want of room."""
        self.on_full: Callable[[], None] | None = None
        """Makes room while the journal is replayed: nobody waits then, and nothing is dropped."""
        self._room = room
        self._waiting: deque[Kept] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    def has_room(self) -> bool:
        """Tell whether one more fits; what does not is counted, and need not be made."""
        if len(self._waiting) >= self._room and self.on_full is not None:
            self.on_full()
        if len(self._waiting) < self._room:
            return True
        self.dropped += 1
        return False

    def add(self, kept: Kept) -> None:
        """Take a verdict in."""
        self._waiting.append(kept)

    def next(self, most: int) -> tuple[Kept, ...]:
        """Give the oldest ones; they stay until `done`."""
        return tuple(islice(self._waiting, most))

    def done(self, count: int) -> None:
        """Let go of the oldest ones: they are filed."""
        for _ in range(count):
            self._waiting.popleft()

    def drop(self, is_meant: Callable[[Kept], bool]) -> None:
        """Let go of some that are to be filed nowhere. Nobody may be filing meanwhile."""
        self._waiting = deque(each for each in self._waiting if not is_meant(each))

    def dump(self) -> tuple[Kept, ...]:
        """Give all that waits."""
        return tuple(self._waiting)

    def load(self, waiting: Iterable[Kept]) -> None:
        """Become what `dump` gave."""
        self._waiting = deque(waiting)
