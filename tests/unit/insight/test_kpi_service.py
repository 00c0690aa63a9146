"""The loop that measures: what Prometheus, the status and people get; what a failing campaign does to others."""

import logging
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from tests.unit.insight.conftest import Bench
from tests.unit.insight.stream import NOW, START, make_stream

from flywheel.events.engine import EngineError
from flywheel.insight.service import KpiService
from flywheel.insight.statuswriter import INTERVAL, StatusWriter
from flywheel.kube.errors import ApiError

ENTRY: dict[str, Any] = {
    "uid": "u1",
    "currency": "CNY",
    "order": {"event": "Order Completed", "identity": "order_id", "revenue": "revenue"},
    "goal": {"event": "Coupon Claimed", "count": 50},
    "sessionTimeout": 1800,
    "pageViews": "Edge",
    "services": ["landing", "seckill"],
    "channels": ["paid-search"],
    "from": START,
    "retention": 86400,
}


class Applied:
    """Keeps what is applied."""

    def __init__(self) -> None:
        self.manifests: list[dict[str, Any]] = []
        self.error: ApiError | None = None

    async def apply(
        self, manifest: dict[str, Any], *, subresource: str | None = None, field_manager: str = ""
    ) -> dict[str, Any]:
        assert (subresource, field_manager) == ("status", "flywheel-kpis")
        if self.error:
            raise self.error
        self.manifests.append(manifest)
        return manifest


class World:
    """A loop over a store, at a moment of the test's choice."""

    def __init__(self, store: Any, entries: dict[str, Any]) -> None:
        self.now = NOW / 1000
        self.entries = entries
        self.gateway = Applied()
        self.registry = CollectorRegistry()
        status = StatusWriter("shop", self.gateway)
        self.loop = KpiService(
            store,
            lambda: self.entries,
            namespace="shop",
            registry=self.registry,
            status=status,
            clock=lambda: self.now,
        )

    def gauge(self, name: str, campaign: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"campaign_{name}", {"namespace": "shop", "campaign": campaign, **labels})


def test_a_turn_tells_prometheus_and_the_status(bench: Bench) -> None:
    campaign = bench.keep(make_stream(1, 300))
    world = World(bench.store, {campaign: ENTRY})
    bench.run(world.loop.turn())
    figures = bench.run(world.loop.figures(campaign, "1h", "service"))["campaigns"][0]["windows"][0]
    total = figures["total"]
    assert world.gauge("unique_visitors", campaign, window="1h") == total["visitors"] > 0
    assert world.gauge("revenue", campaign, window="1h", currency="CNY") == total["revenue"]
    assert world.gauge("conversion_ratio", campaign, window="1h") == total["conversion"]
    assert world.gauge("analytics_last_success_timestamp_seconds", campaign) == world.now
    landing = figures["parts"]["landing"]["latency_p95"]
    assert world.gauge("latency_seconds", campaign, window="1h", service="landing", quantile="0.95") == landing
    assert world.gauge("visitors_by_channel", campaign, window="1h", channel="paid-search")
    (manifest,) = world.gateway.manifests
    assert manifest["metadata"] == {"name": campaign, "namespace": "shop", "uid": "u1"}
    kpis = manifest["status"]["kpis"]
    assert [each["window"] for each in kpis["windows"]] == ["campaign", "1h", "15m", "1m"]
    assert kpis["updatedAt"] == "2027-06-16T00:00:00Z"
    assert world.gauge("goal_ratio", campaign) == kpis["goal"]["reached"] / 50


def test_what_cannot_be_told_has_no_series(bench: Bench) -> None:
    world = World(bench.store, {"empty": {**ENTRY, "goal": None}})
    bench.run(world.loop.turn())
    assert world.gauge("unique_visitors", "empty", window="1h") == 0
    assert world.gauge("conversion_ratio", "empty", window="1h") is None
    assert world.gauge("latency_seconds", "empty", window="1h", service="landing", quantile="0.5") is None
    assert world.gauge("goal_ratio", "empty") is None


def test_a_campaign_that_goes_takes_its_series_along(bench: Bench) -> None:
    world = World(bench.store, {"spring": ENTRY})
    bench.run(world.loop.turn())
    world.entries = {}
    bench.run(world.loop.turn())
    assert world.gauge("unique_visitors", "spring", window="1h") is None


class Failing:
    """A store that has something against one campaign."""

    def __init__(self, store: Any, error: Exception) -> None:
        self.store, self.error = store, error

    async def query(self, sql: str, parameters: Any = None) -> Any:
        if parameters["campaign"] == "bad":
            raise self.error
        return await self.store.query(sql, parameters)


@pytest.mark.parametrize("error", [EngineError(241, "Memory limit exceeded"), RuntimeError("a fault"), TimeoutError()])
def test_a_failing_campaign_does_not_stop_the_others(
    bench: Bench, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    campaign = bench.keep(make_stream(2, 100))
    world = World(Failing(bench.store, error), {"bad": ENTRY, campaign: {**ENTRY, "uid": "u2"}, "worse": 7})
    with caplog.at_level(logging.WARNING):
        bench.run(world.loop.turn())
    assert world.gauge("analytics_last_success_timestamp_seconds", campaign) == world.now
    assert world.gauge("analytics_last_success_timestamp_seconds", "bad") is None
    assert [each["metadata"]["name"] for each in world.gateway.manifests] == [campaign]
    assert "worse" in caplog.text


def test_people_are_told_what_there_is(bench: Bench) -> None:
    world = World(bench.store, {"spring": ENTRY})
    for asked, word in (({"campaign": "sprnig"}, "spring"), ({"window": "2h"}, "15m"), ({"by": "colour"}, "variant")):
        with pytest.raises(KeyError, match=word):
            bench.run(world.loop.figures(**asked))
    assert [each["window"] for each in bench.run(world.loop.figures(window=""))["campaigns"][0]["windows"]] == [
        "1m",
        "15m",
        "1h",
        "campaign",
    ]


async def test_the_status_is_written_seldom_and_only_with_news() -> None:
    gateway = Applied()
    writer = StatusWriter("shop", gateway)
    kpis = {"currency": "CNY", "windows": []}
    assert await writer.write("spring", "u1", kpis, 1000.0)
    assert not await writer.write("spring", "u1", kpis, 2000.0)
    assert await writer.write("spring", "u1", {**kpis, "currency": "USD"}, 3000.0)
    assert not await writer.write("spring", "u1", kpis, 3000.0 + INTERVAL - 1)
    assert await writer.write("spring", "u1", kpis, 3000.0 + INTERVAL)
    assert len(gateway.manifests) == 3
    assert not await writer.write("spring", "", {**kpis, "currency": "EUR"}, 9000.0)


async def test_a_refused_status_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    gateway = Applied()
    writer = StatusWriter("shop", gateway)
    gateway.error = ApiError(403, "Forbidden", "campaigns/status: forbidden")
    with caplog.at_level(logging.WARNING):
        assert not await writer.write("spring", "u1", {"currency": "CNY"}, 1000.0)
        assert not await writer.write("spring", "u1", {"currency": "CNY"}, 1000.0 + INTERVAL)
    assert caplog.text.count("forbidden") == 1
    gateway.error = None
    assert not await writer.write("spring", "u1", {"currency": "CNY"}, 1001.0 + INTERVAL)
    assert await writer.write("spring", "u1", {"currency": "CNY"}, 1000.0 + 2 * INTERVAL)
