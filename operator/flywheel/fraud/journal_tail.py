"""Reads a worker's journal a second time, behind whoever writes it: for what goes on elsewhere. All of it blocks."""

from flywheel.fraud.journal import Journal, records_of

AT_ONCE = 4 << 20
"""Bytes of records that are given together, about."""


class JournalTail:
    """A place in a journal, and what stands there."""

    def __init__(self, journal: Journal, position: int) -> None:
        self._journal, self.position = journal, position
        self.lost = 0
        """Records that were removed before they were read."""
        self._known = (-1, -1, 0)
        """A segment, a record in it, and the byte at which that begins."""

    def seek(self, position: int) -> None:
        """Go on at another record."""
        self.position = position

    def read(self, until: int, at_once: int = AT_ONCE) -> list[tuple[int, bytes]]:
        """Give some records from the place on, each with its position, and go behind them.

        Args:
            until: Position of the first record that must not be read: what stands before it is written wholly.
            at_once: Bytes after which no more are read.

        Raises:
            OSError: The disk does not give them.
        """
        found: list[tuple[int, bytes]] = []
        size = 0
        while self.position < until and size < at_once:
            if (segment := self._journal.segment_of(self.position)) is None:
                self._skip(until)
                continue
            start, path = segment
            at, byte = self._known[1:] if self._known[0] == start and self._known[1] <= self.position else (start, 0)
            before = self.position
            try:
                for record, end in records_of(path, byte):
                    if at >= self.position:
                        found.append((at, record))
                        size += len(record)
                        self.position = at + 1
                    at, byte = at + 1, end
                    if at >= until or size >= at_once:
                        break
            except FileNotFoundError:
                # Removed while it was about to be read.
                continue
            self._known = (start, at, byte)
            if self.position == before:
                raise OSError(f"{path} ends before the record {self.position}")
        return found

    def _skip(self, until: int) -> None:
        there = min(max(self._journal.first, self.position + 1), until)
        self.lost += there - self.position
        self.position = there
