"""Errands to real servers on this machine: pods that are told, and addresses that are tried."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from typing import Any, Self

import pytest
from aiohttp import web
from tests.patience import PATIENCE

from flywheel.api.release import Drain
from flywheel.kube.errors import ApiError
from flywheel.net import http_client
from flywheel.release.errands import Errands
from flywheel.release.work import Pods, Probing, Telling

PODS = Pods("shop", "blue", "0123456789abcdef")


class Cluster:
    """The one question that errands ask of the API server."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = list(addresses)
        self.failures = 0
        self.selectors: list[str] = []

    async def list_all(self, _resource: object, _namespace: str, selector: str) -> AsyncIterator[dict[str, Any]]:
        self.selectors.append(selector)
        if self.failures:
            self.failures -= 1
            raise ApiError(503, "ServiceUnavailable", "not now")
        pods = [{"metadata": {}, "status": {"podIP": each, "phase": "Running"}} for each in self.addresses]
        leaving = {"metadata": {"deletionTimestamp": "now"}, "status": {"podIP": "127.0.0.99", "phase": "Running"}}
        yield {"items": [*pods, leaving, {"metadata": {}, "status": {"phase": "Pending"}}]}


class Pod:
    """A pod that notes what it is told."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.told: list[str] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        self.port = site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.told.append(f"{request.method} {request.path}")
        return web.Response(status=self.answers.pop(0) if self.answers else 204)


@pytest.fixture
async def done() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def cluster() -> Cluster:
    return Cluster("127.0.0.1")


@pytest.fixture
async def errands(cluster: Cluster, done: list[tuple[str, str]]) -> AsyncIterator[Errands]:
    async with http_client(allow_loopback=True) as client:
        made = Errands(cluster, client, lambda namespace, name: done.append((namespace, name)))  # type: ignore[arg-type]
        yield made
        await made.close()


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not holds():  # noqa: ASYNC110 - many things may make it so
            await asyncio.sleep(0.01)


def telling(port: int, *, resume: bool = False) -> Telling:
    drain = Drain.model_validate({"path": "/drain", "resumePath": "/resume"})
    return Telling(PODS, drain, port, resume=resume)


async def test_pods_are_told_once_for_as_long_as_it_is_wanted(
    errands: Errands, cluster: Cluster, done: list[tuple[str, str]]
) -> None:
    async with Pod() as pod:
        for _ in range(3):
            errands.want("uid", "shop", "sale", (telling(pod.port),), ())
            await until(lambda: errands.drained("uid") == {PODS})
        assert pod.told == ["POST /drain"]
        assert done == [("shop", "sale")]
        assert "flywheel.dev/revision=0123456789abcdef" in cluster.selectors[0]
        assert errands.drained("another") == frozenset()
        # What is not wanted any more is forgotten, so that it can be wanted again.
        errands.want("uid", "shop", "sale", (), ())
        assert errands.drained("uid") == frozenset()
        errands.want("uid", "shop", "sale", (telling(pod.port, resume=True),), ())
        await until(lambda: errands.resumed("uid") == {PODS})
        assert pod.told == ["POST /drain", "POST /resume"]


async def test_a_pod_that_fails_is_told_again_and_one_that_is_not_there_holds_nothing_up(
    errands: Errands, cluster: Cluster
) -> None:
    cluster.addresses.append("127.0.0.2")
    async with Pod(500, 503, 204) as pod:
        errands.want("uid", "shop", "sale", (telling(pod.port),), ())
        await until(lambda: errands.drained("uid"))
        assert pod.told == ["POST /drain"] * 3


async def test_an_api_server_that_is_away_for_a_moment_is_asked_again(errands: Errands, cluster: Cluster) -> None:
    cluster.failures = 1
    async with Pod() as pod:
        errands.want("uid", "shop", "sale", (telling(pod.port),), ())
        await until(lambda: pod.told)


async def test_an_address_is_tried_until_it_answers(errands: Errands) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
        errands.want("uid", "shop", "sale", (), (Probing(PODS, "127.0.0.1", port),))
        await asyncio.sleep(0)
        assert errands.reachable("uid") == frozenset()
        held.listen()
        await until(lambda: errands.reachable("uid") == {PODS})
