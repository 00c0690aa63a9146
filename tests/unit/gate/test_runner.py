"""Measurements in the background: once each, some at once, kept until taken."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from tests.patience import PATIENCE
from tests.unit.gate.measuring import read, serving, target

from flywheel.api.gate_measured import HttpGate
from flywheel.release.gate.calls import Clients
from flywheel.release.gate.measurement import Outcome
from flywheel.release.gate.runner import KEPT_FOR, MeasurementRunner, Surroundings


def gate(**kinds: Any) -> Any:
    return SimpleNamespace(**{"http": None, "prometheus": None, "events": None} | kinds)


HTTP = gate(http=read(HttpGate, requestTimeout="10s"))


class Bench:
    """A runner, a clock, and what it has told."""

    def __init__(self, clients: Clients) -> None:
        self.now = 0.0
        self.told: list[tuple[str, str]] = []
        self.around = Surroundings(clients, self._secret, self._token)

    async def _secret(self, _namespace: str, _name: str) -> None:
        return None

    async def _token(self, _audience: str) -> str:
        return "token"

    def runner(self, **options: Any) -> MeasurementRunner:
        return MeasurementRunner(self.around, lambda *who: self.told.append(who), monotonic=lambda: self.now, **options)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    clients = Clients(allow_loopback=True)
    yield Bench(clients)
    await clients.close()


async def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        await asyncio.sleep(0.005)


async def test_a_measurement_is_made_once_and_taken_once(bench: Bench) -> None:
    asked = 0

    async def count(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response()

    async with serving(count) as address:
        runner = bench.runner()
        key = ("uid", "pay", "7f3a9c", "smoke", 0)
        assert all(runner.begin(key, HTTP, target(address)) for _ in range(5))
        assert runner.is_under_way(key)
        await until(lambda: bench.told == [("spring", "sale")], "told")
        assert runner.begin(key, HTTP, target(address))
        found = runner.result(key)
        assert (found, asked) == (runner.take(key), 1)
        assert found is not None
        assert found.outcome is Outcome.SUCCESS
        assert (runner.take(key), runner.result(key), runner.is_under_way(key)) == (None, None, False)
        assert runner.begin(key, HTTP, target(address))
        await until(lambda: runner.result(key) is not None, "measured again")
        assert asked == 2
        await runner.close()


class Doorman:
    """A server that lets nobody go before it is opened."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def answer(self, _request: web.Request) -> web.Response:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return web.Response()


async def test_no_more_than_some_are_made_at_once(bench: Bench) -> None:
    server = Doorman()
    async with serving(server.answer) as address:
        runner = bench.runner(at_once=3)
        for number in range(10):
            runner.begin(("uid", number), HTTP, target(address))
        await until(lambda: server.inside == 3, "three are under way")
        server.open.set()
        await until(lambda: len(bench.told) == 10, "all are made")
        assert server.most == 3
        await runner.close()


async def test_one_that_hangs_ends(bench: Bench) -> None:
    server = Doorman()
    async with serving(server.answer) as address:
        runner = bench.runner(longest=0.2)
        runner.begin("key", HTTP, target(address))
        await until(lambda: runner.result("key") is not None, "ended")
        found = runner.take("key")
        assert found is not None
        assert (found.outcome, found.message) == (Outcome.ERROR, "The measurement did not end within 0.2 s")
        server.open.set()
        await runner.close()


async def test_what_nobody_takes_is_forgotten(bench: Bench) -> None:
    async with serving(Doorman().answer) as address:
        runner = bench.runner(longest=0.05)
        runner.begin("old", HTTP, target(address))
        await until(lambda: runner.result("old") is not None, "made")
        bench.now += KEPT_FOR + 1
        runner.begin("new", HTTP, target(address))
        assert runner.result("old") is None
        await runner.close()


async def test_what_is_forgotten_or_closed_is_told_to_nobody(bench: Bench) -> None:
    server = Doorman()
    async with serving(server.answer) as address:
        runner = bench.runner()
        for key in (("a", 1), ("a", 2), ("b", 1)):
            runner.begin(key, HTTP, target(address))
        await until(lambda: server.inside == 3, "all are under way")
        runner.forget(lambda key: isinstance(key, tuple) and key[0] == "a")
        assert [runner.is_under_way(key) for key in (("a", 1), ("a", 2), ("b", 1))] == [False, False, True]
        await runner.close()
        assert not runner.begin(("c", 1), HTTP, target(address))
        server.open.set()
    assert bench.told == []


async def test_a_fault_of_ours_is_an_error_of_the_measurement(bench: Bench) -> None:
    runner = bench.runner()
    runner.begin("key", gate(), target("http://127.0.0.1:1"))
    await until(lambda: runner.result("key") is not None, "made")
    found = runner.take("key")
    assert found is not None
    assert (found.outcome, "fault of the operator" in found.message) == (Outcome.ERROR, True)
    await runner.close()
