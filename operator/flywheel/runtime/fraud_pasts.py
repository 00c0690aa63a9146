"""Fills new windows of fraud workers from the event stores, beside all reconciles, one rule after the other."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.campaign.fraudpast import WantedPast
from flywheel.fraud.backtest_asking import NotAsked
from flywheel.fraud.batch import Batch
from flywheel.fraud.past_asking import LONGEST_PAST, MOST, PAGES, PastAsked, PastPage
from flywheel.fraud.records import Past

log = logging.getLogger(__name__)

LONGEST = 120.0
"""Seconds for one rule."""
SETTLES = 10_000
"""Milliseconds that an event may take to the store; the worker sees to it that none is missing."""
CLOCKS = 5_000
"""Milliseconds by which the past ends earlier than the worker still judges, so that it is not refused in vain."""
MOST_PAGES = 2 * MOST // PAGES[-1]


class Stores(Protocol):
    """Whom the past is asked of."""

    async def past(self, namespace: str, asked: PastAsked) -> PastPage:
        """Give a page of events.

        Raises:
            NotAsked: There is no answer.
        """


class Workers(Protocol):
    """To whom it is handed over."""

    async def hand_past(self, namespace: str, worker: str, past: Past) -> None:
        """Have a worker fill windows.

        Raises:
            NotAnswered: It cannot be reached, or does not take it.
        """


class FraudPasts:
    """All namespaces. What is under way is lost with the process, and begun again by the next one."""

    def __init__(
        self,
        stores: Stores,
        workers: Workers,
        on_done: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Make it; nothing starts yet.

        Args:
            stores: Whom the past is asked of.
            workers: To whom it is handed over.
            on_done: Told the namespace in which windows were filled.
            clock: Seconds since 1970.
        """
        self._stores, self._workers, self._on_done, self._clock = stores, workers, on_done, clock
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def look(self, namespace: str, wanted: Sequence[WantedPast]) -> None:
        """Begin with what is wanted, where nothing is under way in the namespace."""
        now = int(self._clock() * 1000)
        ripe = [each for each in wanted if each.since <= end_of(each, now)]
        if ripe and namespace not in self._tasks:
            task = self._tasks[namespace] = asyncio.create_task(self._fill(namespace, ripe), name="pasts of rules")
            task.add_done_callback(lambda _: self._tasks.pop(namespace, None))

    async def close(self) -> None:
        """Leave everything that is under way."""
        tasks = list(self._tasks.values())
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fill(self, namespace: str, wanted: Sequence[WantedPast]) -> None:
        for each in wanted:
            try:
                async with asyncio.timeout(LONGEST):
                    past = await self._past(namespace, each)
                    await self._workers.hand_past(namespace, each.worker, past)
            except (NotAsked, NotAnswered, TimeoutError) as error:
                # The windows fill by themselves meanwhile; as long as they wait, the next look tries again.
                log.info("The windows of %s/%s were not filled: %s", namespace, each.rule, error or "it took too long")
            except Exception:
                log.exception("A mistake in flywheel: windows of %s were not filled. Please report it.", each.rule)
            else:
                log.info("The windows of %s/%s were filled from the event store.", namespace, each.rule)
                self._on_done(namespace)

    async def _past(self, namespace: str, wanted: WantedPast) -> Past:
        until = end_of(wanted, int(self._clock() * 1000))
        start = until - min(wanted.reach, LONGEST_PAST - 1)
        asked = PastAsked(campaign=wanted.campaign, start=start, until=until, names=wanted.names)
        batches: list[Batch] = []
        for _ in range(MOST_PAGES):
            page = await self._stores.past(namespace, asked)
            batches.append(page.events())
            if page.after is None:
                break
            start = max(start, page.start)
            asked = PastAsked(campaign=wanted.campaign, start=start, until=until, names=wanted.names, after=page.after)
        return Past(wanted.campaign, wanted.rule, wanted.version, max(start, page.start), until, tuple(batches))


def end_of(wanted: WantedPast, now: int) -> int:
    """Give the last moment of the past that is asked for, both in milliseconds since 1970."""
    return now - max(SETTLES, wanted.lateness + CLOCKS)
