"""The workers: what becomes of a campaign after each way that a reconcile can end."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta

import pytest
from tests.patience import PATIENCE

from flywheel.kube.errors import ApiError, NotLeader
from flywheel.runtime import workers as module
from flywheel.runtime.clock import SystemClock
from flywheel.runtime.leader import Leadership
from flywheel.runtime.metrics import Metrics
from flywheel.runtime.queue import KeyedQueue
from flywheel.runtime.store import SHARED, Owner, Store
from flywheel.runtime.workers import Workers

SPRING: Owner = ("shop", "spring")
Step = Callable[[], Awaitable[datetime | None]]


class ScriptedReconciler:
    """Does one prepared step after another, and then nothing more."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.seen: list[Owner] = []
        self.arrived = asyncio.Event()

    async def reconcile(self, namespace: str, name: str) -> datetime | None:
        self.seen.append((namespace, name))
        self.arrived.set()
        return await self.steps.pop(0)() if self.steps else None

    async def reached(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE):
            while len(self.seen) < count:
                self.arrived.clear()
                await self.arrived.wait()


class Standby(Leadership):
    """Permission that a test gives and takes."""

    def __init__(self) -> None:
        self.given = asyncio.Event()

    @property
    def leading(self) -> bool:
        return self.given.is_set()

    async def wait(self) -> None:
        await self.given.wait()


class World:
    """Everything that workers need, with the real clock."""

    def __init__(self) -> None:
        self.queue: KeyedQueue[Owner] = KeyedQueue(SystemClock(), random.Random(1))
        self.store = Store()
        self.reconciler = ScriptedReconciler()
        self.leadership = Standby()
        self.metrics = Metrics()
        self.workers = Workers(
            self.queue, self.reconciler, self.store, self.leadership, self.metrics, SystemClock(), count=2
        )
        metadata = {"namespace": "shop", "name": "spring", "uid": "1", "resourceVersion": "1"}
        self.store.put_campaign({"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata})

    def count(self, result: str) -> float:
        labels = {"kind": "Campaign", "result": result}
        return self.metrics.registry.get_sample_value("flywheel_reconcile_duration_seconds_count", labels) or 0

    async def counted(self, result: str) -> None:
        async with asyncio.timeout(PATIENCE):
            while not self.count(result):  # noqa: ASYNC110 - a figure tells nobody
                await asyncio.sleep(0)


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    world.leadership.given.set()
    running = asyncio.create_task(world.workers.run())
    yield world
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def raises(error: Exception) -> Step:
    async def step() -> None:
        raise error

    return step


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (ApiError(409, "Conflict", "somebody was faster"), "conflict"),
        (ApiError(503, "ServiceUnavailable", "not now"), "server_error"),
        (ValueError("a mistake of ours"), "error"),
    ],
)
async def test_what_failed_is_tried_again(world: World, error: Exception, result: str) -> None:
    world.reconciler.steps = [raises(error)]
    world.queue.add(SPRING)
    await world.reconciler.reached(2)
    assert world.count(result) == 1


async def test_what_takes_too_long_is_given_up_and_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST", 0.05)

    async def hang() -> None:
        await asyncio.Event().wait()

    world.reconciler.steps = [hang]
    world.queue.add(SPRING)
    await world.reconciler.reached(2)
    assert world.count("timeout") == 1


async def test_the_clock_wakes_it(world: World) -> None:
    async def wake_soon() -> datetime:
        return SystemClock().now() + timedelta(seconds=0.05)

    world.reconciler.steps = [wake_soon]
    world.queue.add(SPRING)
    await world.reconciler.reached(2)


async def test_a_fenced_write_is_left_to_whoever_leads(world: World) -> None:
    world.reconciler.steps = [raises(NotLeader("no"))]
    world.queue.add(SPRING)
    await world.reconciler.reached(1)
    await world.counted("fenced")
    assert world.queue.next_due() is None


async def test_a_campaign_that_is_gone_does_not_come_again(world: World) -> None:
    world.store.remove_campaign(*SPRING, "1")
    world.queue.add(SPRING)
    await world.reconciler.reached(1)
    await world.counted("ok")
    assert world.queue.next_due() is None


async def test_nothing_begins_before_the_store_is_synced_and_we_lead() -> None:
    world = World()
    world.store.expect("campaigns")
    world.queue.add(SPRING)
    running = asyncio.create_task(world.workers.run())
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.reconciler.seen == []
    world.store.complete("campaigns")
    for _ in range(20):
        await asyncio.sleep(0)
    assert world.reconciler.seen == []
    world.leadership.given.set()
    await world.reconciler.reached(1)
    await world.workers.stop(patience=1)
    await asyncio.wait_for(running, PATIENCE)


async def test_what_is_under_way_may_end(world: World) -> None:
    ended = asyncio.Event()
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()
        ended.set()

    world.reconciler.steps = [work]
    world.queue.add(SPRING)
    await world.reconciler.reached(1)
    stopping = asyncio.create_task(world.workers.stop(patience=PATIENCE))
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.wait_for(stopping, PATIENCE)
    assert ended.is_set()


async def test_a_worker_that_does_not_get_done_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = asyncio.Event()

    async def work() -> None:
        await go_on.wait()

    assert world.workers.complaint is None
    world.reconciler.steps = [work]
    world.queue.add(SPRING)
    await world.reconciler.reached(1)
    monkeypatch.setattr(module, "STUCK", -1)
    assert world.workers.complaint == "a worker does not get done with shop/spring"
    go_on.set()


async def test_what_campaigns_share_is_worked_on_under_its_own_kind(world: World) -> None:
    async def nothing() -> None:
        return None

    world.reconciler.steps = [nothing]
    world.queue.add(("shop", SHARED))
    await world.reconciler.reached(1)
    labels = {"kind": "AnalyticsWorker", "result": "ok"}
    async with asyncio.timeout(PATIENCE):
        while not world.metrics.registry.get_sample_value("flywheel_reconcile_duration_seconds_count", labels):  # noqa: ASYNC110
            await asyncio.sleep(0)
    # Nothing is there and nothing is wanted: the key does not come again.
    assert world.queue.next_due() is None


async def test_what_was_refused_altogether_is_tried_again(world: World) -> None:
    async def refused() -> datetime:
        return SystemClock().now() + timedelta(seconds=0.05)

    world.reconciler.steps = [refused]
    world.queue.add(("shop", SHARED))
    await world.reconciler.reached(2)
