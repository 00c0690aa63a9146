"""The metrics API over real TLS connections, and a real sidecar's counters behind it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from tests.unit.metrics.authority import FRONT_PROXY, Authority

from flywheel.metrics.certificates import renewed
from flywheel.metrics.process import Listener
from flywheel.metrics.scrape import EdgeRates
from flywheel.metrics.selector import read_selector
from flywheel.metrics.trust import FrontProxy, Trust

ROOT = "/apis/external.metrics.k8s.io/v1beta1"
NAMESPACE = "shop"
SIDECAR = """\
# HELP campaign_events_total Events.
# TYPE campaign_events_total counter
campaign_events_total{{namespace="elsewhere",campaign="x",event="Order Completed",channel="direct"}} {direct}
campaign_events_total{{namespace="elsewhere",campaign="x",event="Order Completed",channel="other"}} 5
campaign_events_total_created{{event="Order Completed"}} 1
campaign_requests_total{{service="seckill",slot="active",variant="",code="2xx"}} {requests}
campaign_requests_total{{service="seckill",slot="active",variant="",code="5xx"}} 1.5e1
campaign_request_duration_seconds_bucket{{le="+Inf"}} 7
not a line of Prometheus at all
"""


class Sidecar:
    """Shows counters as the sidecar does."""

    def __init__(self) -> None:
        self.text = ""
        self.status = 200

    async def start(self) -> int:
        application = web.Application()
        application.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(application)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        assert site._server is not None
        return site._server.sockets[0].getsockname()[1]  # type: ignore[attr-defined, no-any-return]

    async def stop(self) -> None:
        await self._runner.cleanup()

    def count(self, direct: int, requests: int) -> None:
        self.text = SIDECAR.format(direct=direct, requests=requests)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(text=self.text, status=self.status)


class World:
    """The process without a cluster: pods are told to it, all else is real."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.authority = Authority()
        self.material = renewed(None, "localhost", datetime.now(UTC))
        self.sidecar = Sidecar()

    async def start(self) -> None:
        self.rates = EdgeRates(interval=0.01, port=await self.sidecar.start())
        self.listener = Listener(self.rates, 0, "127.0.0.1")
        await self.trust(self.authority)

    async def trust(self, authority: Authority, *names: str) -> None:
        await self.listener.use(Trust(self.material, FrontProxy(authority.pem, frozenset(names or (FRONT_PROXY,)))))

    async def stop(self) -> None:
        await self.listener.stop()
        await self.sidecar.stop()

    @property
    def url(self) -> str:
        site = self.listener._site
        assert site is not None
        assert site._server is not None
        return f"https://localhost:{site._server.sockets[0].getsockname()[1]}"  # type: ignore[attr-defined]

    def client(self, name: str = FRONT_PROXY) -> ssl.SSLContext:
        return self.authority.client(self.directory, self.material.authorities, name)

    async def get(self, path: str, client: ssl.SSLContext | None = None, **options: Any) -> tuple[int, Any, str]:
        async with aiohttp.ClientSession() as session:
            answer = await session.get(self.url + path, ssl=client or self.client(), **options)
            return answer.status, await answer.json(content_type=None), answer.headers["Content-Type"]

    async def read_sidecars(self) -> None:
        async with aiohttp.ClientSession() as session:
            await self.rates.read(session)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    await made.start()
    yield made
    await made.stop()


def pod(uid: str = "u1", campaign: str = "sale", *, ready: bool = True, **metadata: Any) -> dict[str, Any]:
    labels = {"flywheel.dev/campaign": campaign}
    return {
        "metadata": {"uid": uid, "namespace": NAMESPACE, "name": f"edge-{uid}", "labels": labels, **metadata},
        "status": {"podIP": "127.0.0.1", "conditions": [{"type": "Ready", "status": str(ready)}]},
    }


def events(selector: str = "campaign=sale,event=Order__Completed") -> str:
    return f"{ROOT}/namespaces/{NAMESPACE}/flywheel-events-per-second?labelSelector={selector}"


REQUESTS = f"{ROOT}/namespaces/{NAMESPACE}/flywheel-requests-per-second?labelSelector=service%3Dseckill,campaign%3Dsale"


async def test_counters_become_a_rate_in_the_shape_that_autoscalers_read(world: World) -> None:
    world.rates.note(pod())
    world.sidecar.count(100, 1000)
    started = asyncio.get_running_loop().time()
    await world.read_sidecars()
    world.sidecar.count(160, 1600)
    await asyncio.sleep(0.05)
    await world.read_sidecars()
    longest = asyncio.get_running_loop().time() - started

    status, found, _ = await world.get(events())
    assert status == 200
    assert (found["kind"], found["apiVersion"]) == ("ExternalMetricValueList", "external.metrics.k8s.io/v1beta1")
    [item] = found["items"]
    assert item["metricName"] == "flywheel-events-per-second"
    assert item["metricLabels"] == {"campaign": "sale", "event": "Order__Completed"}
    assert item["value"].endswith("m")
    assert 60 / longest - 0.001 <= int(item["value"][:-1]) / 1000 <= 60 / 0.05
    datetime.strptime(item["timestamp"], "%Y-%m-%dT%H:%M:%S%z")

    _, found, _ = await world.get(REQUESTS)
    ratio = int(found["items"][0]["value"][:-1]) / int(item["value"][:-1])
    assert ratio == pytest.approx(10, rel=0.01)


async def test_what_is_not_known_is_an_empty_list_and_what_was_not_counted_is_zero(world: World) -> None:
    async def values(selector: str) -> list[str]:
        _, found, _ = await world.get(events(selector))
        return [item["value"] for item in found["items"]]

    sale = "campaign=sale,event=Order__Completed"
    assert await values(sale) == []
    world.rates.note(pod())
    world.sidecar.count(100, 1)
    await world.read_sidecars()
    assert await values(sale) == []
    await world.read_sidecars()
    assert await values(sale) == ["0m"]
    assert await values("campaign=sale,event=Never") == ["0m"]
    assert await values("campaign=other,event=Order__Completed") == []
    world.rates.note(pod(ready=False))
    assert await values(sale) == []


@pytest.mark.parametrize("trouble", ["status", "nonsense", "endless"])
async def test_a_sidecar_that_cannot_be_read_is_no_zero(
    world: World, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rates.note(pod())
    if trouble == "status":
        world.sidecar.status = 500
    elif trouble == "nonsense":
        world.sidecar.text = 'campaign_events_total{event="} nonsense'
    else:
        monkeypatch.setattr("flywheel.metrics.scrape.LARGEST_ANSWER", 100)
        world.sidecar.text = "# long\n" * 100
    for _ in range(3):
        await world.read_sidecars()
    assert world.rates.unread == 1
    _, found, _ = await world.get(events())
    assert found["items"] == []


async def test_pods_that_go_are_forgotten(world: World) -> None:
    for manifest in (pod("u1"), pod("u2"), pod("u3", deletionTimestamp="2027-06-16T00:00:00Z")):
        world.rates.note(manifest)
    assert {each.uid for each in world.rates.pods} == {"u1", "u2"}
    world.rates.note(pod("u2"), gone=True)
    assert {each.uid for each in world.rates.pods} == {"u1"}


async def test_discovery_in_all_its_forms(world: World) -> None:
    _, groups, _ = await world.get("/apis")
    assert groups["groups"][0]["preferredVersion"]["groupVersion"] == "external.metrics.k8s.io/v1beta1"
    aggregated = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json"
    _, found, content_type = await world.get("/apis", headers={"Accept": aggregated})
    assert content_type == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    _, resources, _ = await world.get(ROOT)
    named = [each["name"] for each in resources["resources"]]
    assert named == [each["resource"] for each in found["items"][0]["versions"][0]["resources"]]
    assert named == ["flywheel-events-per-second", "flywheel-requests-per-second"]
    for path in ("/apis/external.metrics.k8s.io", "/openapi/v2", "/openapi/v3", f"/openapi/v3{ROOT}"):
        status, _, _ = await world.get(path)
        assert status == 200, path


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        (f"{ROOT}/namespaces/shop/cpu", 404, "flywheel-events-per-second"),
        (f"{ROOT}/namespaces/Shop/flywheel-events-per-second", 404, "no metric"),
        ("/secrets", 404, "/secrets"),
        (events(""), 400, "campaign=...,event=..."),
        (events("campaign=sale"), 400, "campaign, event"),
        (events("campaign=sale,event!=a"), 400, "event!=a"),
        (events("campaign=sale,campaign=sale,event=a"), 400, "campaign=sale"),
        (events("a" * 2000), 400, "longer than"),
    ],
)
async def test_what_cannot_be_answered_is_a_status_of_kubernetes(
    world: World, path: str, status: int, said: str
) -> None:
    code, found, _ = await world.get(path)
    assert (code, found["kind"], found["code"]) == (status, "Status", status)
    assert said in found["message"]


async def test_only_the_aggregation_layer_may_ask(world: World) -> None:
    status, found, _ = await world.get(events(), world.client("somebody"))
    assert (status, found["reason"]) == (403, "Forbidden")
    trusting = ssl.create_default_context(cadata=world.material.authorities.decode())
    stranger = Authority().client(world.directory, world.material.authorities)
    for client in (trusting, stranger):
        with pytest.raises((aiohttp.ClientError, OSError)):
            await world.get(events(), client)


async def test_a_new_authority_of_the_api_server_takes_over(world: World) -> None:
    old, world.authority = world.client(), Authority()
    await world.trust(world.authority)
    status, _, _ = await world.get("/apis")
    assert status == 200
    with pytest.raises((aiohttp.ClientError, OSError)):
        await world.get("/apis", old)


@pytest.mark.parametrize(
    "text",
    [
        "campaign=sale,event=a",
        "event==a, campaign = sale",
        "campaign in (sale),event=a",
        "campaign=sale,event in ( a )",
    ],
)
def test_selectors_that_name_one_value_of_each(text: str) -> None:
    assert read_selector(text, ("campaign", "event")) == {"campaign": "sale", "event": "a"}
