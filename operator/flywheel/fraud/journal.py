"""What a worker was told, in order, on its volume: an append-only journal in segments.

A record is its length, a checksum and its bytes. Its position is its number since the beginning of all. A process that
is killed at any instruction leaves at most one torn record at the end: it was not acknowledged, and is cut off at the
next start. All of it blocks and belongs to one thread at a time.
"""

import os
import re
import struct
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from flywheel.durable import sync_directory

SEGMENT_BYTES = 64 << 20
LARGEST_RECORD = 64 << 20
SUFFIX = ".journal"
_HEAD = struct.Struct("<II")
_NAME = re.compile(r"\d{20}")


class JournalBroken(Exception):  # noqa: N818 - a state
    """A record in the middle cannot be read, or is missing: what follows it must not be judged without it."""


class Retained(NamedTuple):
    """What is kept of a journal though no restart needs it: the last so many seconds, as far as so many bytes go."""

    seconds: float = 0.0
    bytes: int = 0


NOTHING = Retained()


class Journal:
    """The segments of one worker."""

    def __init__(self, directory: Path, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Find what an earlier process left, and cut off what it did not finish.

        Raises:
            OSError: The directory cannot be used.
            JournalBroken: A segment is missing or damaged.
        """
        self.torn = 0
        """Bytes that were cut off at the end."""
        self._directory, self._segment_bytes = directory, segment_bytes
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._starts = sorted(int(each.stem) for each in directory.glob(f"*{SUFFIX}") if _NAME.fullmatch(each.stem))
        self._file: int | None = None
        self._size = 0
        self.position = self._recover()
        """Of the next record."""

    @property
    def first(self) -> int:
        """Position of the oldest record that is still here."""
        return self._starts[0] if self._starts else self.position

    @property
    def size(self) -> int:
        """Bytes of all segments."""
        return sum(self._path(each).stat().st_size for each in self._starts)

    def append(self, records: Sequence[bytes]) -> int:
        """Append records: all of them, or none; give the position of the first.

        Raises:
            OSError: They could not be written.
        """
        if self._file is None or self._size >= self._segment_bytes:
            self._roll(self.position)
        data = b"".join(part for each in records for part in (_HEAD.pack(len(each), zlib.crc32(each)), each))
        written = 0
        try:
            while written < len(data):
                written += os.write(self._handle, memoryview(data)[written:])
        except OSError:
            # The next record must not stand behind half of one.
            os.ftruncate(self._handle, self._size)
            raise
        self._size += len(data)
        at = self.position
        self.position += len(records)
        return at

    def roll(self) -> None:
        """Begin a segment with the next record, so that those before can be removed as soon as nobody needs them.

        Raises:
            OSError: It cannot be begun; the one before goes on.
        """
        if self._file is None or self._size:
            self._roll(self.position)

    def duplicate(self) -> int | None:
        """Give a handle of its own to the open segment, for whoever has the disk keep it; None without one."""
        return None if self._file is None else os.dup(self._file)

    def read(self, position: int) -> Iterator[tuple[int, bytes]]:
        """Give the records from a position on, with their positions.

        Raises:
            JournalBroken: They are not all here.
        """
        if position < self.first or position > self.position:
            raise JournalBroken(
                f"The journal in {self._directory} has the records {self.first} to {self.position}; "
                f"{position} is wanted."
            )
        for index, start in enumerate(self._starts):
            end = self._starts[index + 1] if index + 1 < len(self._starts) else self.position
            if end <= position:
                continue
            at = start
            for record, _ in records_of(self._path(start)):
                if at >= end:
                    break
                if at >= position:
                    yield at, record
                at += 1
            if at < end:
                raise JournalBroken(f"{self._path(start)} ends at the record {at}; it should go on to {end}.")

    def begin_at(self, position: int) -> None:
        """Go on at a position that a snapshot knows of, where the journal does not reach that far any more."""
        self.close()
        for each in self._starts:
            self._path(each).unlink(missing_ok=True)
        self._starts, self.position = [], position

    def forget(self, position: int, retained: Retained = NOTHING) -> int:
        """Remove the segments all of whose records are before a position, and that are not retained; give how many."""
        gone, size = 0, self.size if retained.bytes else 0
        while len(self._starts) > 1 and self._starts[1] <= position:
            found = self._path(self._starts[0]).stat()
            size -= found.st_size
            if size < retained.bytes and time.time() - found.st_mtime < retained.seconds:
                break
            self._path(self._starts.pop(0)).unlink(missing_ok=True)
            gone += 1
        return gone

    def segment_of(self, position: int) -> tuple[int, Path] | None:
        """Give where the segment of a record begins, and its file; None where the record is not here any more."""
        starts = [each for each in tuple(self._starts) if each <= position]
        return (starts[-1], self._path(starts[-1])) if starts else None

    def beginning_of_last(self, segments: int) -> int:
        """Give the position at which the last so many segments begin."""
        starts = tuple(self._starts[-segments:])
        return starts[0] if starts else self.position

    def close(self) -> None:
        """Have the disk keep what was appended, and close the file."""
        if self._file is not None:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = None

    @property
    def _handle(self) -> int:
        if self._file is None:
            raise OSError("The journal is closed.")
        return self._file

    def _roll(self, start: int) -> None:
        """Begin a segment."""
        self.close()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        self._file = os.open(self._path(start), flags, 0o600)
        self._size = os.fstat(self._file).st_size
        if start not in self._starts:
            self._starts.append(start)
        sync_directory(self._directory)

    def _path(self, start: int) -> Path:
        return self._directory / f"{start:020d}{SUFFIX}"

    def _recover(self) -> int:
        """Cut off a torn end, and open the last segment to go on with it; give the next position."""
        if not self._starts:
            return 0
        path, count, end = self._path(self._starts[-1]), 0, 0
        for _, after in records_of(path):
            count, end = count + 1, after
        size = path.stat().st_size
        if end < size:
            self.torn = size - end
            os.truncate(path, end)
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._size = end
        return self._starts[-1] + count


def records_of(path: Path, begin: int = 0) -> Iterator[tuple[bytes, int]]:
    """Give the whole records of a file from a byte on, and where each ends, up to the first that is not whole."""
    with path.open("rb") as file:
        end = file.seek(begin)
        while len(head := file.read(_HEAD.size)) == _HEAD.size:
            length, checksum = _HEAD.unpack(head)
            if length > LARGEST_RECORD:
                return
            record = file.read(length)
            if len(record) < length or zlib.crc32(record) != checksum:
                return
            end += _HEAD.size + length
            yield record, end
