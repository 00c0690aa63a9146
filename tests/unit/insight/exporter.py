"""The figures of an edge pod and of the analytics worker, to be scraped; busy at every look."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
from prometheus_client.core import Metric
from tests.unit.insight.world import CAMPAIGN, NAMESPACE

from flywheel.events.meters import Meters
from flywheel.insight.monitoring import WINDOWS

OWN = {"namespace": NAMESPACE, "campaign": CAMPAIGN}
CHANNELS = ("direct", "paid-search")
SERVICES = ("landing", "seckill")


class Busy:
    """A collector: between two looks at it something happened. One request of four to seckill fails."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.meters = Meters(NAMESPACE, CAMPAIGN)
        self.timings = [_edge(registry), _worker(registry)]

    def collect(self) -> Iterator[Metric]:
        meters = self.meters
        for timing in self.timings:
            timing.labels(**OWN).observe(0.02)
        for channel in CHANNELS:
            meters.events.add(("Product Viewed", channel), 40)
            meters.orders.add((channel,), 2)
            meters.revenue.add((channel, "CNY"), 199.5)
            meters.page_views.add(("landing", channel, "red"), 60)
        for service in SERVICES:
            meters.requests.add((service, "blue", "", "2xx"), 300)
            for took in (0.004, 0.03, 0.2):
                meters.durations.observe((service, "blue", ""), took)
        meters.requests.add(("seckill", "blue", "", "5xx"), 100)
        meters.errors.add(("seckill", "blue", ""), 100)
        meters.reject(["wrong_type"])
        meters.duplicates.add()
        meters.log_lost.add()
        meters.spool_bytes.values[("events",)] = 4096.0
        meters.spool_oldest.values[()] = 1.0
        meters.dropped("events", "full", 1)
        meters.delivery_failures.add(("unreachable",))
        meters.delivered.add(("events",), 80)
        yield from meters.collect()


def _edge(registry: CollectorRegistry) -> Histogram:
    names = tuple(OWN)
    generation = Gauge("flywheel_edge_generation_info", "Orders in effect.", (*names, "generation"), registry=registry)
    generation.labels(**OWN, generation="a1b2").set(1)
    reloads = Counter("flywheel_edge_reloads_total", "Reloads.", (*names, "result"), registry=registry)
    reloads.labels(**OWN, result="ok").inc()
    trouble = Gauge("flywheel_edge_trouble", "Troubles.", (*names, "reason"), registry=registry)
    trouble.labels(**OWN, reason="SpoolFull").set(0)
    return Histogram("flywheel_edge_apply_seconds", "Time to apply.", names, registry=registry)


def _worker(registry: CollectorRegistry) -> Histogram:
    names = tuple(OWN)
    for name, more in (
        ("unique_visitors", {}),
        ("sessions", {}),
        ("orders", {}),
        ("revenue", {"currency": "CNY"}),
        ("conversion_ratio", {}),
        ("average_order_value", {"currency": "CNY"}),
        ("error_ratio", {}),
        ("latency_seconds", {"service": "seckill", "quantile": "0.95"}),
        ("visitors_by_channel", {"channel": "direct"}),
    ):
        gauge = Gauge(f"campaign_{name}", "Of the store.", (*names, "window", *more), registry=registry)
        for window in WINDOWS:
            gauge.labels(**OWN, window=window, **more).set(0.5)
    success = Gauge("campaign_analytics_last_success_timestamp_seconds", "When.", names, registry=registry)
    success.labels(**OWN).set_function(time)
    Gauge("campaign_goal_ratio", "Of the goal.", names, registry=registry).labels(**OWN).set(0.25)
    Gauge("flywheel_store_bytes", "On disk.", names, registry=registry).labels(**OWN).set(1 << 30)
    rows = Counter("flywheel_store_rows_total", "Rows.", (*names, "table", "result"), registry=registry)
    rows.labels(**OWN, table="events", result="stored").inc(80)
    return Histogram("flywheel_store_insert_seconds", "Time to insert.", names, registry=registry)


@contextmanager
def exporting() -> Iterator[int]:
    """Serve all figures; the port is given."""
    registry = CollectorRegistry()
    registry.register(Busy(registry))
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
