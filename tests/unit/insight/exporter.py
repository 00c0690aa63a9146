"""The figures of an edge pod and of the analytics worker, to be scraped; busy at every look."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import time
from typing import Any

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import Metric
from tests.unit.abtest_command.story import Story
from tests.unit.insight.fraud_figures import BusyWorker, faults, link
from tests.unit.insight.world import CAMPAIGN, NAMESPACE

from flywheel.events.commit import Outcome
from flywheel.events.meters import Meters
from flywheel.events.worker_figures import Figures as StoreFigures
from flywheel.experiment.gauges import ABTestGauges
from flywheel.insight.gauges import Gauges, Measured
from flywheel.insight.kpi import Figures, WindowFigures
from flywheel.insight.monitoring import WINDOWS
from flywheel.insight.summary import Goal

CHANNELS = ("direct", "paid-search")
SERVICES = ("landing", "seckill")


class Busy:
    """A collector: between two looks at it something happened. One request of four to seckill fails."""

    def __init__(self, registry: CollectorRegistry, home: Path) -> None:
        self.meters, self.link = Meters(NAMESPACE, CAMPAIGN), link()
        self.meters.sources += self.link.sources
        BusyWorker(registry, home)
        self.store = StoreFigures(NAMESPACE, registry)
        registry.register(Gauges(NAMESPACE, {CAMPAIGN: self.measured()}))
        registry.register(ABTestGauges(lambda: [tested()]))
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        self.visits()
        self.faults()
        faults(self.meters, self.link)
        self.store.count(CAMPAIGN, "events", Outcome(stored=80, duplicates=1, refused=1))
        self.store.commit("events", 0.02)
        self.store.size("events", 1 << 30)
        self.store.up(works=True)
        yield from self.meters.collect()

    def visits(self) -> None:
        meters = self.meters
        for channel in CHANNELS:
            meters.events.add(("Product Viewed", channel), 40)
            meters.orders.add((channel,), 2)
            meters.revenue.add((channel, "CNY"), 199.5)
            meters.page_views.add(("landing", channel, "red"), 60)
        for service in SERVICES:
            meters.requests.add((service, "blue", "", "2xx"), 300)
            for took in (0.004, 0.03, 0.2):
                meters.durations.observe((service, "blue", ""), took)
        meters.delivered.add(("events",), 80)

    def faults(self) -> None:
        meters = self.meters
        meters.requests.add(("seckill", "blue", "", "5xx"), 100)
        meters.errors.add(("seckill", "blue", ""), 100)
        meters.reject(["wrong_type"])
        meters.duplicates.add()
        meters.log_lost.add()
        meters.spool_bytes.only(("events",), 4096.0)
        meters.spool_oldest.only((), 1.0)
        meters.dropped("events", "full", 1)
        meters.delivery_failures.add(("unreachable",))
        meters.edge_generation.only(("a1b2",), 1.0)
        meters.edge_reloads.add(("ok",))
        meters.edge_apply.observe((), 0.02)
        meters.edge_trouble.only(("SpoolFull",), 1.0)

    def measured(self) -> Measured:
        figures = Figures(
            visitors=400, sessions=500, orders=40, buyers=40, revenue=3990.0, requests=5000, errors=50, latency_p95=0.2
        )
        parts = dict.fromkeys(CHANNELS, figures)
        return Measured(
            currency="CNY",
            windows={name: WindowFigures(name, 0, 1, figures, parts=parts) for name in WINDOWS},
            services={name: dict.fromkeys(SERVICES, figures) for name in WINDOWS},
            goal=Goal("Order Completed", 50_000, 40),
            succeeded_at=time(),
        )


@contextmanager
def exporting() -> Iterator[int]:
    """Serve all figures; the port is given."""
    registry = CollectorRegistry()
    with TemporaryDirectory(prefix="flywheel-") as home:
        Busy(registry, Path(home))
        server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
        try:
            yield server.server_port
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


def tested() -> dict[str, Any]:
    """A test with all there is to tell: also what it tells only before its verdict."""
    manifest = Story(shares={"red": 0.08, "lime": 0.082}).run(2).manifest
    manifest["metadata"]["namespace"], manifest["spec"]["campaign"] = NAMESPACE, CAMPAIGN
    manifest["status"]["decision"] = {"verdict": "Ship", "winner": "lime", "reason": "", "at": "2027-06-18T00:00:00Z"}
    return manifest
