"""Rows of one table on disk until the store has them: append-only files, and a cursor that says what was delivered.

All of it blocks and belongs to one thread. What a kill at any instruction leaves behind is understood at the next
start: a torn last line is cut off, and a batch that was on its way is sent again under the same id.
"""

import contextlib
import os
import re
import secrets
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

CURSOR = "cursor"
SUFFIX = ".ndjson"
_MOMENT = re.compile(rb'"(?:ingest_time|time)":(\d{1,15})')
_NAME = re.compile(r"(\d{15})-[0-9a-f]{8}")


@dataclass(slots=True)
class Segment:
    """One file."""

    name: str
    size: int
    """Bytes that are whole lines."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that go to the store together."""

    id: str
    """The same for the same bytes of the same file, however often they are read."""
    table: str
    segment: str
    start: int
    end: int
    lines: bytes
    rows: int


class Cursor(msgspec.Struct):
    """How far delivery has come in the oldest segment."""

    segment: str = ""
    delivered: int = 0
    sending: int = 0
    """End of the batch that may be on its way; 0 without one."""


class Segments:
    """The files of one table, oldest first."""

    def __init__(self, table: str, directory: Path, segment_bytes: int, clock: Callable[[], int]) -> None:
        """Find what an earlier process left.

        Raises:
            OSError: The directory cannot be used.
        """
        self.table = table
        self.torn = 0
        """Lines that were not whole and are not delivered."""
        self.oldest = 0
        """When the oldest row came, in milliseconds; 0 without rows."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._clock = clock
        self._writing: int | None = None
        self._segments: deque[Segment] = deque()
        self._last = 0
        directory.mkdir(parents=True, exist_ok=True)
        self._recover()
        self._cursor = self._read_cursor()
        if self._segments:
            self.oldest = int(self._segments[0].name.partition("-")[0])

    @property
    def size(self) -> int:
        """What the files take."""
        return sum(each.size for each in self._segments)

    @property
    def is_empty(self) -> bool:
        """Whether the store has everything."""
        return not self._segments

    def append(self, lines: bytes) -> None:
        """Append whole lines: all of them, or nothing.

        Raises:
            OSError: They could not be written.
        """
        file, segment = self._open(len(lines))
        written = 0
        try:
            while written < len(lines):
                written += os.write(file, memoryview(lines)[written:])
        except OSError:
            # What stands after the last whole line would be taken for the beginning of the next one.
            try:
                os.ftruncate(file, segment.size)
            except OSError:
                self._close()
            raise
        segment.size += len(lines)
        self.oldest = self.oldest or self._clock()

    def next_batch(self, most_rows: int, most_bytes: int) -> Batch | None:
        """Read the oldest rows; those that may be on their way already, if there are such.

        Raises:
            OSError: They could not be read.
        """
        while self._segments:
            segment = self._segments[0]
            if self._cursor.segment != segment.name:
                self._cursor = Cursor(segment.name)
            start, end = self._cursor.delivered, self._cursor.sending
            data = self._read(segment, start, (end or min(segment.size, start + most_bytes)) - start)
            if not end:
                data = _cut(data, most_rows)
                end = start + len(data)
                self._write_cursor(Cursor(segment.name, start, end))
            lines = self._whole(data)
            batch = Batch(
                f"{segment.name}-{start}-{end}", self.table, segment.name, start, end, b"".join(lines), len(lines)
            )
            if lines:
                self._note_oldest(lines[0])
                return batch
            self.commit(batch)
        return None

    def commit(self, batch: Batch) -> None:
        """Note that the store has a batch; files of which it has everything go."""
        if not self._segments or self._segments[0].name != batch.segment:
            return
        segment = self._segments[0]
        # The next cut writes it down. Should there be none, the same batch is sent again, and recognised by its id.
        self._cursor = Cursor(segment.name, batch.end, 0)
        if batch.end < segment.size:
            return
        if len(self._segments) == 1:
            self._close()
        self._segments.popleft()
        self._path(segment).unlink(missing_ok=True)
        if not self._segments:
            self.oldest = 0

    def drop_oldest(self) -> int | None:
        """Give up the oldest file that is not on its way; tell how many rows that were, or None without such a file."""
        index = 1 if self._cursor.sending and self._segments and self._cursor.segment == self._segments[0].name else 0
        if index >= len(self._segments):
            return None
        segment = self._segments[index]
        if index == len(self._segments) - 1:
            self._close()
        start = self._cursor.delivered if segment.name == self._cursor.segment else 0
        rows = self._read(segment, start, segment.size - start).count(b"\n")
        del self._segments[index]
        self._path(segment).unlink(missing_ok=True)
        if not self._segments:
            self.oldest = 0
        return rows

    def names(self) -> list[str]:
        """Name the files there are."""
        return [each.name for each in self._segments]

    def blank(self, name: str, needles: tuple[bytes, ...], is_meant: Callable[[bytes], bool]) -> int:
        """Overwrite the lines of a file that hold one of `needles` and are meant; tell how many they were."""
        segment = next((each for each in self._segments if each.name == name), None)
        return 0 if segment is None else blank_lines(self._path(segment), needles, is_meant)

    def close(self) -> None:
        """Close what is open."""
        self._close()

    def _open(self, room: int) -> tuple[int, Segment]:
        if self._writing is not None and self._segments[-1].size + room > self._segment_bytes:
            self._close()
        if self._writing is None:
            self._last = max(self._clock(), self._last + 1)
            segment = Segment(f"{self._last:015d}-{secrets.token_hex(4)}", 0)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            self._writing = os.open(self._path(segment), flags, 0o600)
            self._segments.append(segment)
        return self._writing, self._segments[-1]

    def _close(self) -> None:
        if self._writing is not None:
            os.close(self._writing)
            self._writing = None

    def _path(self, segment: Segment) -> Path:
        return self._directory / f"{segment.name}{SUFFIX}"

    def _read(self, segment: Segment, start: int, length: int) -> bytes:
        with self._path(segment).open("rb") as file:
            file.seek(start)
            return file.read(length)

    def _whole(self, data: bytes) -> list[bytes]:
        """Give the lines that are rows. Blank ones were erased; others were damaged, and would spoil their batch."""
        lines = data.splitlines(keepends=True)
        whole = [each for each in lines if each.startswith(b"{") and each.endswith(b"}\n")]
        if len(whole) < len(lines):
            self.torn += sum(not each.isspace() for each in lines) - len(whole)
        return whole

    def _note_oldest(self, line: bytes) -> None:
        found = _MOMENT.findall(line)
        if found:
            self.oldest = int(found[-1] if self.table == "dead_letters" else max(found, key=int))

    def _recover(self) -> None:
        for path in sorted(self._directory.glob(f"*{SUFFIX}")):
            if not _NAME.fullmatch(path.stem):
                continue
            size = _end_of_lines(path)
            if size < path.stat().st_size:
                self.torn += 1
                os.truncate(path, size)
            if size:
                self._segments.append(Segment(path.stem, size))
            else:
                path.unlink()
            self._last = max(self._last, int(path.stem.partition("-")[0]))

    def _read_cursor(self) -> Cursor:
        try:
            cursor = msgspec.json.decode((self._directory / CURSOR).read_bytes(), type=Cursor)
        except (OSError, msgspec.DecodeError):
            return Cursor()
        first = self._segments[0] if self._segments else None
        fits = first and first.name == cursor.segment and 0 <= cursor.delivered <= first.size
        if not fits or not (cursor.sending == 0 or cursor.delivered < cursor.sending <= first.size if first else False):
            return Cursor()
        return cursor

    def _write_cursor(self, cursor: Cursor) -> None:
        path = self._directory / CURSOR
        new = path.with_suffix(".new")
        # A full disk must not keep rows from leaving it: without the note the store may see some of them twice.
        with contextlib.suppress(OSError):
            new.write_bytes(msgspec.json.encode(cursor))
            new.replace(path)
        self._cursor = cursor


def _cut(data: bytes, most_rows: int) -> bytes:
    """Keep whole lines, at most so many; a single line longer than `data` stays as it is."""
    end = data.rfind(b"\n") + 1
    if not end:
        return data
    if data.count(b"\n", 0, end) <= most_rows:
        return data[:end]
    parts = data.split(b"\n", most_rows)
    return data[: len(data) - len(parts[-1])]


def _end_of_lines(path: Path) -> int:
    """Find where the last whole line of a file ends."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while size:
            start = max(0, size - 65_536)
            file.seek(start)
            found = file.read(size - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            size = start
    return 0


def blank_lines(path: Path, needles: tuple[bytes, ...], is_meant: Callable[[bytes], bool]) -> int:
    """Overwrite lines by spaces, so that every other line stays where it is."""
    with contextlib.suppress(FileNotFoundError), path.open("r+b") as file:
        data = file.read()
        found = [(at, line) for at, line in _lines_with(data, needles) if is_meant(line)]
        for at, line in found:
            file.seek(at)
            file.write(b" " * len(line))
        return len(found)
    return 0


def _lines_with(data: bytes, needles: tuple[bytes, ...]) -> Iterator[tuple[int, bytes]]:
    """Give the lines that hold a needle, and where they begin; without looking at each of the others."""
    starts = set()
    for needle in needles:
        at = data.find(needle)
        while at >= 0:
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            end = len(data) if end < 0 else end
            if start not in starts:
                starts.add(start)
                yield start, data[start:end]
            at = data.find(needle, end)
