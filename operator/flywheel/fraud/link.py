"""A sidecar's link to the fraud workers of its campaign: events go there, decisions come back. No part of it waits."""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from pathlib import Path

import aiohttp

from flywheel.events.rows import EventRow
from flywheel.fraud.following import Following, Take
from flywheel.fraud.packing import Packing
from flywheel.fraud.sending import Meters, Sending, Token

log = logging.getLogger(__name__)


class Link:
    """All workers, as the document names them."""

    def __init__(
        self,
        pod: str,
        token_file: Path,
        take: Take,
        meters: Meters,
        keep_to: Callable[[Collection[str]], Awaitable[None]] | None = None,
    ) -> None:
        """Make a link to nobody.

        Args:
            pod: Name of this pod.
            token_file: The token that proves who this is.
            take: Carries out what workers tell.
            meters: Where it is counted.
            keep_to: Told who the workers are, whenever they are others.
        """
        self._keep_to = keep_to
        self._packing = Packing()
        self._pod, self._take, self._meters = pod, take, meters
        self._token = Token(token_file)
        self._workers: tuple[str, ...] = ()
        self._is_told = False
        """Whether anybody has said yet who the workers are."""
        self._changed = asyncio.Event()
        self._sending: dict[str, Sending] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def use_workers(self, workers: Sequence[str]) -> None:
        """Talk to these workers from now on."""
        self._is_told = True
        if tuple(workers) != self._workers:
            self._workers = tuple(workers)
            self._changed.set()

    def note(self, rows: Sequence[EventRow], address: str) -> None:
        """Have events judged that were taken in.

        Args:
            rows: As they were kept.
            address: The client's, as the edge sees it.
        """
        noted = self._packing.note(rows, address, len(self._sending)) if self._sending else []
        for each in self._sending.values():
            each.take(noted)

    def trouble(self) -> str | None:
        """Say what does not work; None while all does."""
        return next((said for each in self._sending.values() if (said := each.trouble())), None)

    async def run(self) -> None:
        """Talk until cancelled."""
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            try:
                while True:
                    await self._bring(session)
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                await self._end(list(self._tasks))

    async def _bring(self, session: aiohttp.ClientSession) -> None:
        for worker in self._workers:
            if worker not in self._tasks:
                sending = Sending(worker, self._pod, self._token, session, self._meters, packing=self._packing)
                self._sending[worker] = sending
                following = Following(worker, self._token, session, self._take, self._meters)
                self._tasks[worker] = asyncio.create_task(_both(sending, following), name=f"fraud worker {worker}")
        left = {each: self._tasks.pop(each) for each in list(self._tasks) if each not in self._workers}
        for worker, task in left.items():
            del self._sending[worker]
            task.cancel()
        for each in self._sending.values():
            each.workers = len(self._sending)
        await asyncio.gather(*left.values(), return_exceptions=True)
        if self._keep_to is not None and self._is_told:
            await self._keep_to(self._workers)

    async def _end(self, workers: Sequence[str]) -> None:
        tasks = [self._tasks.pop(each) for each in workers]
        self._sending.clear()
        for task in tasks:
            task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _both(sending: Sending, following: Following) -> None:
    """Send and follow; a fault of ours in one of them takes neither down for ever."""
    while True:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(sending.run())
                group.create_task(following.run())
        except* Exception:
            log.exception("The link to %s failed by a fault of ours.", sending.worker)
            await asyncio.sleep(1.0)
