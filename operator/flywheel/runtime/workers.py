"""Taking campaigns from the queue and reconciling them, a few at a time."""

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Protocol

from flywheel.kube.errors import ApiError, NotLeader
from flywheel.runtime.clock import Clock
from flywheel.runtime.leader import Leadership
from flywheel.runtime.logs import about
from flywheel.runtime.metrics import Metrics
from flywheel.runtime.queue import KeyedQueue
from flywheel.runtime.store import FRAUD, SHARED, Owner, Store, test_of

log = logging.getLogger(__name__)

CAMPAIGN = "Campaign"
WORKER = "AnalyticsWorker"
ABTEST = "ABTest"
FRAUD_RULES = "FraudRules"
LONGEST = 60.0
"""Seconds after which one reconcile is given up and tried again later."""
STUCK = 3 * LONGEST


def kind_of(owner: Owner) -> str:
    """Tell what a key stands for, in logs and figures."""
    if test_of(owner[1]) is not None:
        return ABTEST
    return {SHARED: WORKER, FRAUD: FRAUD_RULES}.get(owner[1], CAMPAIGN)


class Reconciler(Protocol):
    """What brings one campaign a step further."""

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        """Bring a campaign to what it shall be; tell when the clock alone makes another step necessary."""

    async def run(self) -> None:
        """Do in the background what reconciles ask for, until cancelled."""


class Workers:
    """Several workers on one queue. They work while this process leads and knows the whole world."""

    def __init__(
        self,
        queue: KeyedQueue[Owner],
        reconciler: Reconciler,
        store: Store,
        leadership: Leadership,
        metrics: Metrics,
        clock: Clock,
        count: int = 8,
    ) -> None:
        self._queue = queue
        self._reconciler = reconciler
        self._store = store
        self._leadership = leadership
        self._metrics = metrics
        self._clock = clock
        self._count = count
        self._busy_since: dict[Owner, float] = {}
        self._stopping = False
        self._idle = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def complaint(self) -> str | None:
        """Which campaign a worker cannot get done with, or how long the queue has waited; None while all is well."""
        now = self._clock.elapsed()
        stuck = [f"{namespace}/{name}" for (namespace, name), since in self._busy_since.items() if now - since > STUCK]
        if stuck:
            return f"a worker does not get done with {', '.join(sorted(stuck))}"
        if self._leadership.leading and self._store.synced and self._queue.oldest > STUCK:
            return f"a campaign has waited for a worker for {self._queue.oldest:.0f} s"
        return None

    async def run(self) -> None:
        """Work until cancelled or stopped."""
        async with asyncio.TaskGroup() as group:
            self._tasks = [group.create_task(self._work(), name=f"worker {number}") for number in range(self._count)]

    async def stop(self, patience: float) -> None:
        """Begin nothing new, and let what is under way come to its end for `patience` seconds."""
        self._stopping = True
        if self._busy_since:
            self._idle.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), patience)
        for task in self._tasks:
            task.cancel()

    async def _work(self) -> None:
        while not self._stopping:
            await self._store.wait_synced()
            await self._leadership.wait()
            owner = await self._queue.take()
            if self._stopping or not self._leadership.leading:
                # Whoever leads next begins with all of them.
                self._queue.drop(owner)
                continue
            self._busy_since[owner] = self._clock.elapsed()
            try:
                with about(kind_of(owner), owner[0], test_of(owner[1]) or owner[1]):
                    await self._reconcile(owner)
            finally:
                del self._busy_since[owner]
                if not self._busy_since:
                    self._idle.set()

    async def _reconcile(self, owner: Owner) -> None:
        began = self._clock.elapsed()
        result = "cancelled"
        try:
            async with asyncio.timeout(LONGEST):
                wake_at = await self._reconciler.reconcile(*owner)
            result = "ok"
            if wake_at is None and not self._store.knows(owner):
                self._queue.drop(owner)
            else:
                self._queue.succeed(owner, wake_at)
        except NotLeader:
            result = "fenced"
            self._queue.drop(owner)
        except ApiError as error:
            result = error.result
            wait = self._queue.fail(owner, error.retry_after)
            # Somebody was faster, or the API server is briefly away: both are daily life.
            level = logging.INFO if error.is_conflict else logging.WARNING
            log.log(level, "Not done, next attempt in %.1f s: %s", wait, error)
        except TimeoutError:
            result = "timeout"
            wait = self._queue.fail(owner)
            log.warning("Given up after %.0f s, next attempt in %.1f s.", LONGEST, wait)
        except Exception:
            result = "error"
            wait = self._queue.fail(owner)
            log.exception("A mistake in flywheel, next attempt in %.1f s. Please report it.", wait)
        finally:
            self._metrics.reconcile_seconds.labels(kind_of(owner), result).observe(self._clock.elapsed() - began)
