"""The figures of a fraud worker, and of an edge pod's link to it; busy at every look."""

from collections.abc import Iterator
from pathlib import Path
from time import time

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from tests.unit.fraud_worker.small_engine import SmallEngine
from tests.unit.insight.world import CAMPAIGN, NAMESPACE

from flywheel.events.meters import Meters
from flywheel.fraud.blocks import Decision
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.journal import Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.rulings import RuleFigures, Ruling, Shard
from flywheel.fraud.sending import Meters as LinkMeters
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.subscriptions import Subscriptions
from flywheel.fraud.words import Event, Verdict
from flywheel.fraud.worker_figures import Figures, StateFigures

RULES = ("burst", "farm")
WORKER = "http://flywheel-fraud-0.flywheel-fraud:9105"


class Counting(SmallEngine):
    """Says more of its rules at each look."""

    looks = 0

    def figures(self) -> list[RuleFigures]:
        self.looks += 1
        met = {"keys": 40, "evicted": 3 * self.looks, "late": self.looks, "without_key": self.looks}
        return [RuleFigures(rule=name, version="1", generation=1, mode="Enforce", warm=True, **met) for name in RULES]


class BusyWorker:
    """A collector: between two looks at it rules were broken."""

    def __init__(self, registry: CollectorRegistry, home: Path) -> None:
        book = Casebook(Counting, Shard(secret=b"s"))
        book.desk(CAMPAIGN).blocks.put(decision())
        (home / "journal").mkdir()
        judging = Judging(book, Journal(home / "journal"), Snapshots(home / "snapshots"), lambda _: None)
        self._figures = Figures(NAMESPACE, registry)
        self._figures.ready(works=True)
        registry.register(StateFigures(NAMESPACE, judging, Subscriptions()))
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        now = int(time() * 1000)
        events = tuple(Event(id=str(each), time=now, arrived=now - 20) for each in range(30))
        self._figures.counted(CAMPAIGN, events, new=True)
        self._figures.counted(CAMPAIGN, events[:2], new=False)
        self._figures.question("check", 0.002)
        for name in RULES:
            verdict = Verdict(
                rule=name, version="1", event="m", at=now, key=("192.0.2.1",), observed=21, limit=20, since=0
            )
            self._figures.ruling(CAMPAIGN, Ruling(verdict, (decision(),)))
            self._figures.ruling(CAMPAIGN, Ruling(verdict))
        return iter(())


def decision() -> Decision:
    until = int(time() * 1000) + 3_600_000
    return Decision(id="d", kind="address", value="192.0.2.1", action="Block", until=until)


def link() -> LinkMeters:
    """What an edge pod says of its link."""
    made = LinkMeters()
    made.connected.values[(WORKER,)] = 1.0
    made.waiting.values[(WORKER,)] = 3.0
    made.decisions.only((), 1.0)
    return made


def faults(meters: Meters, of_link: LinkMeters) -> None:
    """Let something be refused, and something lost."""
    for reason in ("fraud", "challenge", "throttle", "rate"):
        meters.refused.add((reason,), 4)
    of_link.dropped.add((WORKER, "full"), 2)
