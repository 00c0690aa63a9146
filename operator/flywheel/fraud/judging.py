"""The one line in which a worker does everything: into the journal first, then judged, then told.

Records that wait are written together. A batch is acknowledged when it is in the journal and judged; what the process
has acknowledged survives its end. The disk is told to keep it every `SYNC` seconds: a power cut may lose as much of
what was counted, while blocks that are given stay where they were carried out.
"""

import asyncio
import contextlib
import functools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import msgspec

from flywheel.fraud import records
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.forking import finished, fork
from flywheel.fraud.journal import Journal, JournalBroken, Retained
from flywheel.fraud.records import Events, Record
from flywheel.fraud.snapshots import Snapshots

log = logging.getLogger(__name__)

SYNC = 1.0
"""Seconds between two moments at which the disk is told to keep what was written."""
SNAPSHOT = 60.0
"""Seconds between snapshots."""
SLICE = 0.002
"""Seconds of judging after which others get their turn: questions must not wait for long batches."""
QUEUE_BYTES = 64 << 20
_T = TypeVar("_T")


class Full(Exception):  # noqa: N818 - a state
    """Too much waits already: come again later."""


class _Waiting(NamedTuple):
    record: Record
    data: bytes
    done: "asyncio.Future[bool]"


class Judging:
    """Takes records in, one after the other."""

    def __init__(
        self,
        casebook: Casebook,
        journal: Journal,
        snapshots: Snapshots,
        on_change: Callable[[str], None],
        *,
        snapshot_every: float = SNAPSHOT,
    ) -> None:
        self.casebook, self.journal = casebook, journal
        self._snapshots, self._on_change, self._every = snapshots, on_change, snapshot_every
        self._disk = ThreadPoolExecutor(1, "journal")
        self._queue: list[_Waiting] = []
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._record = asyncio.Lock()
        self._writing = asyncio.Lock()
        self._midway = False
        self.judged = 0
        """Position up to which everything is judged."""
        self.covered = 0
        """Position of the newest snapshot."""
        self.retained = Retained()
        """What is kept of the journal though no restart needs it."""
        self.holds_journal = False
        """Whether nothing of the journal is let go of."""
        self.replayed = 0
        self.failures = 0
        """Writes that the disk did not take."""
        self.snapshot_seconds = 0.0
        self.needed_from: Callable[[], int] | None = None
        """Gives the position from which on somebody else still reads the journal."""

    def recover(self) -> None:
        """Become what the process before was: the newest snapshot that can be read, and the journal after it.

        Raises:
            JournalBroken: Neither snapshots nor journal go back far enough.
            OSError: They cannot be read.
        """
        self.covered = self._restore()
        if self.covered > self.journal.position:
            # The power went, and the snapshot was kept by the disk while the end of the journal was not.
            self.journal.begin_at(self.covered)
        began = time.monotonic()
        for _, data in self.journal.read(self.covered):
            for step in self.casebook.apply(records.read_record(data)):
                if callable(step):
                    step()
            self.replayed += 1
        self.judged = self.journal.position
        if self.replayed:
            log.info("%d records replayed in %.2f s.", self.replayed, time.monotonic() - began)

    def _restore(self) -> int:
        positions = self._snapshots.positions()
        for position in positions:
            data = self._snapshots.read(position)
            try:
                if data is not None:
                    self.casebook.restore(records.read_snapshot(data))
                    return position
                log.error("The snapshot at %d is damaged; the one before it is taken.", position)
            except (msgspec.DecodeError, ValueError) as error:
                log.error("The snapshot at %d cannot be read: %s", position, error)  # noqa: TRY400
        if self.journal.first > 0:
            raise JournalBroken(f"There is no snapshot, and the journal begins at {self.journal.first} only.")
        if self.journal.position and not positions:
            # Versions that write none at the beginning knew one shard alone.
            self.casebook.use_shard(self.casebook.shard._replace(of=1))
        if not self.journal.position:
            # How the keys were shared when all began must be known after any end.
            self._write_snapshot(0)
        return 0

    async def submit(self, record: Record) -> bool:
        """Take a record in, and wait until it is judged; tell whether it was a new one.

        Raises:
            Full: There is no room.
            OSError: The journal could not be written.
        """
        data = records.encode(record)
        if self._bytes and self._bytes + len(data) > QUEUE_BYTES:
            raise Full(f"{self._bytes >> 20} MiB wait to be judged.")
        waiting = _Waiting(record, data, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._bytes += len(data)
        self._arrived.set()
        return await asyncio.shield(waiting.done)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._judge())
            group.create_task(self._sync())
            group.create_task(self._take_snapshots())

    async def close(self) -> None:
        """Write down the last state, and end. Nothing may be submitted any more."""
        # Whoever was stopped in the middle of a record is no state that a replay could go on from.
        if self.judged > self.covered and not self._midway:
            with contextlib.suppress(OSError):
                self._write_snapshot(self.judged)
                await self._cover(self.judged)
        await self._on_disk(self.journal.close)
        self._disk.shutdown()

    async def _judge(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            taken, self._queue, self._bytes = self._queue, [], 0
            new = self._new_ones(taken)
            try:
                if new:
                    await self._on_disk(functools.partial(self.journal.append, [each.data for each in new]))
            except OSError as error:
                self.failures += 1
                for each in taken:
                    _fail(each, error)
                continue
            for each in new:
                async with self._record:
                    self._midway = True
                    await self._apply(each.record)
                    self.judged += 1
                    self._midway = False
                _answer(each, new=True)
            for each in taken:
                _answer(each, new=False)

    def _new_ones(self, taken: list[_Waiting]) -> list[_Waiting]:
        """Leave out the batches that are here already, or twice among those that wait."""
        found, seen = [], set()
        for each in taken:
            record = each.record
            if isinstance(record, Events):
                if (record.sender, record.number) in seen or self.casebook.is_known(record):
                    continue
                seen.add((record.sender, record.number))
            found.append(each)
        return found

    async def _apply(self, record: Record) -> None:
        """Judge a record in slices, and tell of decisions at once."""
        began = time.perf_counter()
        for step in self.casebook.apply(record):
            if callable(step):
                await asyncio.to_thread(step)
                began = time.perf_counter()
                continue
            if step is not None:
                self._on_change(step.campaign)
            if time.perf_counter() - began > SLICE:
                await asyncio.sleep(0)
                began = time.perf_counter()

    async def _sync(self) -> None:
        done = self.journal.position
        while True:
            await asyncio.sleep(SYNC)
            if self.journal.position == done:
                continue
            done, handle = self.journal.position, await self._on_disk(self.journal.duplicate)
            if handle is not None:
                try:
                    await asyncio.to_thread(os.fdatasync, handle)
                except OSError as error:
                    self.failures += 1
                    log.error("The disk does not keep the journal: %s", error)  # noqa: TRY400
                finally:
                    os.close(handle)

    async def _take_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            if self.judged == self.covered:
                continue
            try:
                await self.take_snapshot()
            except OSError as error:
                self.failures += 1
                log.error("No snapshot could be written, so the journal grows: %s", error)  # noqa: TRY400

    @contextlib.asynccontextmanager
    async def standstill(self) -> AsyncIterator[None]:
        """Have nothing judged meanwhile: `judged` stays where it is. What comes waits."""
        async with self._record:
            yield

    async def copied(self, work: Callable[[], object], may: Callable[[], bool]) -> None:
        """Work on a copy of this process, made between two records, if that may be done then.

        Raises:
            OSError: It has failed.
        """
        async with self._record:
            child = fork(work) if may() else None
        if child is not None and not await finished(child):
            raise OSError("the process that writes it has failed")

    async def read(self, position: int, most: int) -> list[tuple[int, bytes]]:
        """Give about so many bytes of what has been judged, from a position on or from the oldest that is there.

        Raises:
            OSError: It cannot be read.
            JournalBroken: It is damaged.
        """
        return await self._on_disk(functools.partial(self._read, position, self.judged, most))

    def _read(self, position: int, end: int, most: int) -> list[tuple[int, bytes]]:
        found = list[tuple[int, bytes]]()
        for at, data in self.journal.read(max(position, self.journal.first)):
            if at >= end or most <= 0:
                break
            found.append((at, data))
            most -= len(data)
        return found

    async def take_snapshot(self) -> None:
        """Write a snapshot beside what goes on, and remove what of the journal nobody needs any more.

        Raises:
            OSError: It could not be written.
        """
        async with self._writing:
            # A record is judged wholly or not at all as far as a snapshot knows.
            async with self._record:
                began = time.perf_counter()
                position = self.judged
                self.casebook.forget_senders()
                child = fork(lambda: self._write_snapshot(position))
                self.snapshot_seconds = time.perf_counter() - began
            if not await finished(child):
                raise OSError("the process that writes it has failed")
            await self._cover(position)

    async def begin_anew(self) -> None:
        """Begin a segment of the journal, and write a snapshot: after a second one nothing from before is needed.

        Raises:
            OSError: The disk does not take that.
        """
        await self._on_disk(self.journal.roll)
        await self.take_snapshot()

    def _write_snapshot(self, position: int) -> None:
        self._snapshots.write(position, records.encode(self.casebook.snapshot(position)))

    async def _cover(self, position: int) -> None:
        self.covered = position
        needed = await asyncio.to_thread(self._snapshots.forget)
        if self.needed_from is not None:
            needed = min(needed, self.needed_from())
        if not self.holds_journal:
            await self._on_disk(functools.partial(self.journal.forget, needed, self.retained))

    async def _on_disk(self, call: Callable[[], _T]) -> _T:
        return await asyncio.get_running_loop().run_in_executor(self._disk, call)


def _answer(waiting: _Waiting, *, new: bool) -> None:
    if not waiting.done.done():
        waiting.done.set_result(new)


def _fail(waiting: _Waiting, error: OSError) -> None:
    if not waiting.done.done():
        waiting.done.set_exception(error)
        # Who went away meanwhile does not ask for it.
        waiting.done.exception()
