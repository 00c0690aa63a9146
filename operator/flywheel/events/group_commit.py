"""Many small deliveries become few commits, and what waits is bounded."""

import asyncio
import contextlib
import logging
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from flywheel.events.commit import Delivery, Outcome
from flywheel.events.engine import EngineDown, EngineError, StoreError
from flywheel.events.store import Store, Unreadable

log = logging.getLogger(__name__)

ENOUGH_ROWS = 1000
"""Rows that are worth a commit at once."""
LONGEST_WAIT = 0.2
"""Seconds that fewer rows wait for others."""
MOST_ROWS = 50_000
MOST_BYTES = 32 << 20
"""Of one commit."""
QUEUE_BYTES = 128 << 20
"""Of all that wait; more is turned away."""
Observe = Callable[[str, float], None]
"""Told the table and the seconds of each commit."""


class Full(Exception):  # noqa: N818 - a state
    """Too much waits already: come again later."""


@dataclass(slots=True)
class _Waiting:
    delivery: Delivery
    result: "asyncio.Future[Outcome | Unreadable]"
    since: float = field(default_factory=time.monotonic)


def _ignore(_table: str, _seconds: float) -> None:
    pass


class GroupCommit:
    """One table's queue."""

    def __init__(self, store: Store, table: str, observe: Observe = _ignore) -> None:
        self._store = store
        self._table = table
        self._observe = observe
        self._queue: deque[_Waiting] = deque()
        self._rows = 0
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.fatal: asyncio.Future[StoreError] = asyncio.get_running_loop().create_future()
        """Set once the store says that this worker must stop."""

    def start(self) -> None:
        """Begin to commit."""
        self._task = asyncio.create_task(self._run(), name=f"commits into {self._table}")

    async def stop(self) -> None:
        """Commit what waits, and end."""
        while self._queue and self._store.complaint() is None:
            await asyncio.wait([self._queue[-1].result], timeout=5)
        if self._task:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for waiting in self._queue:
            waiting.result.cancel()

    async def submit(self, delivery: Delivery) -> Outcome | Unreadable:
        """Have rows committed, and wait until they are.

        Raises:
            Full: There is no room.
            EngineDown: It is not known whether they were.
            EngineError: The engine could not take them now.
            StoreError: This worker is not to write any more.
        """
        if self._bytes and self._bytes + len(delivery.rows) > QUEUE_BYTES:
            raise Full(f"{self._bytes >> 20} MiB wait to be stored.")
        waiting = _Waiting(delivery, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._rows += delivery.count
        self._bytes += len(delivery.rows)
        self._arrived.set()
        # A sender that goes away does not take back what it has sent: the commit may be under way.
        return await asyncio.shield(waiting.result)

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await self._gather()
            taken = self._take()
            began = time.monotonic()
            try:
                outcomes = await self._store.ingest(self._table, [each.delivery for each in taken])
            except (EngineDown, EngineError, StoreError) as error:
                self._fail(taken, error)
                continue
            except asyncio.CancelledError:
                self._fail(taken, EngineDown("The worker is ending."))
                raise
            except Exception:  # a fault of ours must not end the taking in of rows
                log.exception("A commit into %s failed by a fault of ours.", self._table)
                self._fail(taken, EngineDown("The commit failed by a fault of the worker's; see its log."))
                continue
            self._observe(self._table, time.monotonic() - began)
            for each, outcome in zip(taken, outcomes, strict=True):
                if not each.result.done():
                    each.result.set_result(outcome)

    def _fail(self, taken: list[_Waiting], error: EngineDown | EngineError | StoreError) -> None:
        log.warning("A commit into %s failed and is to be sent again: %s", self._table, error)
        if isinstance(error, StoreError) and not self.fatal.done():
            self.fatal.set_result(error)
        for each in taken:
            if not each.result.done():
                each.result.set_exception(error)
                # Nobody may be there any more to hear of it.
                each.result.exception()

    async def _gather(self) -> None:
        """Wait for company, but not for long."""
        deadline = self._queue[0].since + LONGEST_WAIT
        while self._rows < ENOUGH_ROWS and (left := deadline - time.monotonic()) > 0:
            self._arrived.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._arrived.wait()

    def _take(self) -> list[_Waiting]:
        taken: list[_Waiting] = []
        rows = size = 0
        while self._queue:
            following = self._queue[0].delivery
            if taken and (rows + following.count > MOST_ROWS or size + len(following.rows) > MOST_BYTES):
                break
            taken.append(self._queue.popleft())
            rows += following.count
            size += len(following.rows)
        self._rows -= rows
        self._bytes -= size
        if self._queue:
            self._arrived.set()
        else:
            self._arrived.clear()
        return taken
