"""The spool: what was acknowledged to a client and the store does not have yet.

An event is acknowledged when `append` returns: then its bytes are in a file, and survive the end of this process at any
instruction. Calls that come while a write is under way share the next one. The disk belongs to one thread of its own,
so that a slow disk keeps nobody waiting but those whose events it takes.
"""

import asyncio
import contextlib
import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from flywheel.events.segments import SUFFIX, Batch, Segments, blank_lines

Table = Literal["events", "requests", "dead_letters"]
TABLES: tuple[Table, ...] = ("events", "requests", "dead_letters")
"""In the order in which they get room: events may push out the others, which only tell about them."""
SHARES: dict[Table, float] = {"events": 1.0, "requests": 0.5, "dead_letters": 0.1}
"""How much of the spool each may take."""
REJECTED = "rejected"
REJECTED_SHARE = 0.05
SEGMENT_BYTES = 8 << 20
LARGEST_PENDING = 32 << 20
"""Bytes that wait for the disk; more means that it does not keep up."""
MOST_ROWS = 5_000
MOST_BYTES = 4 << 20

Result = TypeVar("Result")
OnDropped = Callable[[str, str, int], None]
"""Told table, reason and number of rows that will never be delivered."""


class SpoolFull(Exception):  # noqa: N818 - a state
    """There is no room: nothing was kept."""


@dataclass(slots=True)
class _Waiting:
    lines: bytes
    rows: int
    done: asyncio.Future[None] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Usage:
    """How full the spool is."""

    bytes: dict[Table, int]
    oldest: int
    """When the oldest row came, in milliseconds; 0 without rows."""


def _wall_clock() -> int:
    return int(time.time() * 1000)


class Spool:
    """Rows of all tables on disk."""

    def __init__(
        self,
        directory: Path,
        limit: int,
        *,
        on_dropped: OnDropped = lambda *_: None,
        clock: Callable[[], int] = _wall_clock,
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Open the spool, with what an earlier process left in it.

        Raises:
            OSError: The directory cannot be used.
        """
        self.limit = limit
        self.appended = {table: asyncio.Event() for table in TABLES}
        """Set when rows of a table came."""
        self._directory = directory
        self._on_dropped = on_dropped
        size = max(4_096, min(segment_bytes, limit // 8))
        self._tables = {table: Segments(table, directory / table, size, clock) for table in TABLES}
        self._rejected = directory / REJECTED
        self._rejected.mkdir(exist_ok=True)
        self._disk = ThreadPoolExecutor(1, "spool")
        self._pending: dict[Table, list[_Waiting]] = {table: [] for table in TABLES}
        self._pending_bytes = 0
        self._writing: asyncio.Task[None] | None = None
        self._failures = 0
        self._dropped: list[tuple[str, str, int]] = []
        self._torn: dict[Table, int] = dict.fromkeys(TABLES, 0)
        for table in TABLES:
            if not self._tables[table].is_empty:
                self.appended[table].set()
        self._tell_dropped()

    async def append(self, table: Table, lines: bytes, rows: int) -> None:
        """Keep rows; when this returns they survive the end of the process.

        Raises:
            SpoolFull: There is no room for them.
            OSError: The disk did not take them.
        """
        if not lines:
            return
        if self._pending_bytes + len(lines) > LARGEST_PENDING:
            raise SpoolFull("The disk does not keep up.")
        waiting = _Waiting(lines, rows, asyncio.get_running_loop().create_future())
        self._pending[table].append(waiting)
        self._pending_bytes += len(lines)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_pending(), name="spool")
        # A client that goes away does not take the rows of others out of the write that they share.
        await asyncio.shield(waiting.done)

    async def settled(self) -> None:
        """Wait until all that was offered before is kept.

        Raises:
            SpoolFull: Some of it was not.
        """
        failures = self._failures
        while self._writing is not None:
            await asyncio.shield(self._writing)
        if self._failures != failures:
            raise SpoolFull("What this call repeats could not be kept.")

    async def next_batch(self, table: Table) -> Batch | None:
        """Read the oldest rows of a table; the same until they are committed."""
        return await self._on_disk(functools.partial(self._tables[table].next_batch, MOST_ROWS, MOST_BYTES))

    async def commit(self, batch: Batch) -> None:
        """Note that the store has a batch."""
        await self._on_disk(functools.partial(self._segments(batch).commit, batch))

    async def set_aside(self, batch: Batch) -> None:
        """Keep a batch that the store cannot read for people to look at, and deliver the next."""
        await self._on_disk(functools.partial(self._set_aside, batch))

    async def erase(self, needles: tuple[bytes, ...], is_meant: Callable[[bytes], bool]) -> int:
        """Overwrite rows wherever they are; tell how many they were.

        Args:
            needles: Bytes of which every row that is meant holds at least one.
            is_meant: Decides about a line that does.
        """
        found = 0
        for table in TABLES:
            segments = self._tables[table]
            for name in await self._on_disk(segments.names):
                # One file at a time: writes go on in between.
                found += await self._on_disk(functools.partial(segments.blank, name, needles, is_meant))
        for path in await self._on_disk(self._set_aside_files):
            found += await self._on_disk(functools.partial(blank_lines, path, needles, is_meant))
        return found

    def usage(self) -> Usage:
        """Tell how full the spool is."""
        ages = [each.oldest for each in self._tables.values() if each.oldest]
        return Usage({table: each.size for table, each in self._tables.items()}, min(ages, default=0))

    def is_empty(self, table: Table) -> bool:
        """Tell whether the store has all rows of a table."""
        return self._tables[table].is_empty and not self._pending[table]

    async def close(self) -> None:
        """Write what waits, and close the files."""
        while self._writing is not None:
            await asyncio.shield(self._writing)
        for segments in self._tables.values():
            await self._on_disk(segments.close)
        self._disk.shutdown(wait=True)

    def _segments(self, batch: Batch) -> Segments:
        return next(each for name, each in self._tables.items() if name == batch.table)

    async def _on_disk(self, call: Callable[[], Result]) -> Result:
        result = await asyncio.get_running_loop().run_in_executor(self._disk, call)
        self._tell_dropped()
        return result

    async def _write_pending(self) -> None:
        try:
            while any(self._pending.values()):
                taken, self._pending = self._pending, {table: [] for table in TABLES}
                self._pending_bytes = 0
                for table, waiting in taken.items():
                    if waiting:
                        await self._write(table, waiting)
        finally:
            self._writing = None

    async def _write(self, table: Table, waiting: list[_Waiting]) -> None:
        error: Exception | None = None
        try:
            lines = b"".join(each.lines for each in waiting)
            await self._on_disk(functools.partial(self._append, table, lines))
        except (OSError, SpoolFull) as caught:
            error = caught
        if isinstance(error, SpoolFull) and len(waiting) > 1:
            # Together they found no room; one by one the first of them may.
            for each in waiting:
                await self._write(table, [each])
            return
        self._failures += error is not None
        for each in waiting:
            if error is None:
                each.done.set_result(None)
            else:
                each.done.set_exception(error)
                # Who went away meanwhile does not ask for it.
                each.done.exception()
        if error is None:
            self.appended[table].set()

    def _append(self, table: Table, lines: bytes) -> None:
        own = self._tables[table]
        if own.size + len(lines) > self.limit * SHARES[table]:
            raise SpoolFull(f"The spool's share for {table} is used up.")
        while sum(each.size for each in self._tables.values()) + len(lines) > self.limit:
            if table != "events" or not self._evict():
                raise SpoolFull("The spool is full: the store has not taken rows for a while.")
        own.append(lines)

    def _evict(self) -> bool:
        """Give up the oldest rows of a table that matters less than events."""
        for table in TABLES[1:]:
            rows = self._tables[table].drop_oldest()
            if rows is not None:
                self._dropped.append((table, "evicted", rows))
                return True
        return False

    def _set_aside(self, batch: Batch) -> None:
        room = int(self.limit * REJECTED_SHARE) - len(batch.lines)
        kept = [(path, path.stat().st_size) for path in self._set_aside_files()]
        while kept and sum(size for _, size in kept) > room:
            kept.pop(0)[0].unlink(missing_ok=True)
        if room >= 0:
            with contextlib.suppress(OSError):
                (self._rejected / f"{batch.id}-{batch.table}{SUFFIX}").write_bytes(batch.lines)
        self._segments(batch).commit(batch)
        self._dropped.append((batch.table, "rejected", batch.rows))

    def _set_aside_files(self) -> list[Path]:
        return sorted(self._rejected.glob(f"*{SUFFIX}"))

    def _tell_dropped(self) -> None:
        told, self._dropped = self._dropped, []
        for table, segments in self._tables.items():
            if segments.torn > self._torn[table]:
                told.append((table, "torn", segments.torn - self._torn[table]))
                self._torn[table] = segments.torn
        for each in told:
            self._on_dropped(*each)
