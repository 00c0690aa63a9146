"""A sidecar's link to the fraud workers of its campaign: events go there, decisions come back. No part of it waits."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from flywheel.events.rows import EventRow
from flywheel.fraud.following import Following, Take
from flywheel.fraud.sending import Meters, Sending, Token

log = logging.getLogger(__name__)


class Link:
    """All workers, as the document names them."""

    def __init__(self, pod: str, token_file: Path, take: Take, meters: Meters) -> None:
        """Make a link to nobody.

        Args:
            pod: Name of this pod.
            token_file: The token that proves who this is.
            take: Carries out what workers tell.
            meters: Where it is counted.
        """
        self._pod, self._take, self._meters = pod, take, meters
        self._token = Token(token_file)
        self._workers: tuple[str, ...] = ()
        self._changed = asyncio.Event()
        self._sending: dict[str, Sending] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def use_workers(self, workers: Sequence[str]) -> None:
        """Talk to these workers from now on."""
        if tuple(workers) != self._workers:
            self._workers = tuple(workers)
            self._changed.set()

    def note(self, rows: Sequence[EventRow], address: str) -> None:
        """Have events judged that were taken in.

        Args:
            rows: As they were kept.
            address: The client's, as the edge sees it.
        """
        for each in self._sending.values():
            each.note(rows, address)

    def trouble(self) -> str | None:
        """Say what does not work; None while all does."""
        return next((said for each in self._sending.values() if (said := each.trouble())), None)

    async def run(self) -> None:
        """Talk until cancelled."""
        async with aiohttp.ClientSession(auto_decompress=False) as session:
            try:
                while True:
                    self._bring(session)
                    await self._changed.wait()
                    self._changed.clear()
            finally:
                await self._end(list(self._tasks))

    def _bring(self, session: aiohttp.ClientSession) -> None:
        for worker in self._workers:
            if worker not in self._tasks:
                sending = self._sending[worker] = Sending(worker, self._pod, self._token, session, self._meters)
                following = Following(worker, self._token, session, self._take, self._meters)
                self._tasks[worker] = asyncio.create_task(_both(sending, following), name=f"fraud worker {worker}")
        for worker in [each for each in self._tasks if each not in self._workers]:
            # What it has decided goes on until its end.
            del self._sending[worker]
            self._tasks.pop(worker).cancel()

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
