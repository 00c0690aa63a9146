"""The operator process: everything wired together, started in order and ended in order."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from flywheel.fraud.outgrown import NOTHING, Outgrown
from flywheel.fraud.workforce import ONE, Workforce
from flywheel.kube.errors import LoginError
from flywheel.kube.gateway import Gateway
from flywheel.kube.leases import LeaseFile
from flywheel.kube.login import own_namespace
from flywheel.kube.resources import ABTEST, FRAUD_RULE
from flywheel.plan import Images
from flywheel.release.process import Receiver
from flywheel.runtime.campaigns import CampaignFeed
from flywheel.runtime.children import ChildFeed
from flywheel.runtime.clock import Clock, SystemClock
from flywheel.runtime.health import Check, Server
from flywheel.runtime.leader import Leadership, LeaseElection, LeaseLost
from flywheel.runtime.manifest_feed import ManifestFeed, Shelf
from flywheel.runtime.metrics import Metrics
from flywheel.runtime.queue import KeyedQueue
from flywheel.runtime.reconcilers import Reconcilers
from flywheel.runtime.store import Owner, Store
from flywheel.runtime.workers import Reconciler, Workers
from flywheel.workload.provider import OURS, Provider

log = logging.getLogger(__name__)

LEASE_NAME = "flywheel-operator"
PATIENCE = 3.0
"""Seconds that reconciles under way have to come to their end when the process is told to end.

Writes take milliseconds; what takes longer waits for an answer from elsewhere, and meanwhile nobody leads. A reconcile
that is broken off is taken up by whoever leads next, as after a crash.
"""
PATIENCE_WITH_SERVER = 10.0
"""Seconds for which an API server that does not answer may be about to: it is restarted, or a connection was cut."""

MakeReconciler = Callable[
    [Gateway, Store, Clock, Metrics, Images, Provider, Receiver | None, Workforce, Outgrown], Reconciler
]


@dataclass(frozen=True, slots=True)
class Settings:
    """How the operator runs; see `flywheel operator --help`."""

    namespaces: tuple[str, ...] = ()
    """Empty for all."""
    leader_election: bool = True
    lease_namespace: str | None = None
    lease_duration: int = 15
    workers: int = 8
    resync: float = 600.0
    """Seconds after which each campaign is looked at again though nothing was heard of it."""
    images: Images = Images()  # noqa: RUF009 - frozen
    provider: Provider = OURS
    """Who serves events and requests per second to autoscalers."""
    webhook: Receiver | None = None
    """Where Git servers tell of pushes."""
    workforce: Workforce = ONE
    """How many fraud workers each namespace has."""
    outgrown: Outgrown = NOTHING
    """How rules on fraud run in Flink."""
    health_port: int = 8081
    metrics_port: int = 8080


async def run(settings: Settings, make_reconciler: MakeReconciler = Reconcilers) -> int:
    """Run the operator until it is told to end; give the exit status of the process: 0 only when it was told to."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signal_ in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(signal_, stop.set)
    try:
        async with _assembled(settings, make_reconciler) as operator:
            return await operator.run(stop)
    except LoginError as error:
        log.error("%s", error)  # noqa: TRY400 - the text says it all
        return 2
    except OSError as error:
        log.error("The operator could not start: %s", error)  # noqa: TRY400
        return 2


@contextlib.asynccontextmanager
async def _assembled(settings: Settings, make_reconciler: MakeReconciler) -> AsyncIterator["Operator"]:
    clock, metrics = SystemClock(), Metrics()
    async with contextlib.AsyncExitStack() as stack:
        election: Leadership = Leadership()
        if settings.leader_election:
            # Connections of its own: a renewal must neither queue behind other calls nor be fenced.
            lease_gateway = await Gateway.connect(observe=metrics.observe_call, connections=2, call_timeout=3.0)
            stack.push_async_callback(lease_gateway.close)
            namespace = settings.lease_namespace or own_namespace()
            identity = f"{os.environ.get('POD_NAME') or socket.gethostname()}-{uuid.uuid4().hex[:8]}"
            lease = LeaseFile(lease_gateway, namespace, LEASE_NAME, address=os.environ.get("POD_IP", ""))
            election = LeaseElection(lease, identity, clock, duration=settings.lease_duration)
        gateway = await Gateway.connect(fence=election.fence, observe=metrics.observe_call, connections=32)
        stack.push_async_callback(gateway.close)
        yield Operator(settings, gateway, election, clock, metrics, make_reconciler)


class Operator:
    """The parts of one running operator."""

    def __init__(
        self,
        settings: Settings,
        gateway: Gateway,
        leadership: Leadership,
        clock: Clock,
        metrics: Metrics,
        make_reconciler: MakeReconciler,
    ) -> None:
        self._gateway = gateway
        self._leadership = leadership
        self._queue: KeyedQueue[Owner] = KeyedQueue(clock, resync=settings.resync)
        self._store = Store(self._on_change)
        if isinstance(leadership, LeaseElection):
            leadership.on_change = self._on_leadership
        namespaces: tuple[str | None, ...] = settings.namespaces or (None,)
        self._campaigns = CampaignFeed(gateway, self._store, namespaces, clock, metrics.observe_missed)
        self._children = ChildFeed(gateway, self._store, namespaces)
        store = self._store
        tests = Shelf(store.put_test, store.remove_test, store.retain_tests)
        self._tests = ManifestFeed(gateway, store, tests, ABTEST, namespaces)
        rules = Shelf(store.put_rule, store.remove_rule, store.retain_rules)
        self._rules = ManifestFeed(gateway, store, rules, FRAUD_RULE, namespaces)
        webhook = settings.webhook and replace(settings.webhook, leader=lambda: leadership.elsewhere)
        reconciler = make_reconciler(
            gateway, self._store, clock, metrics, settings.images, settings.provider, webhook, settings.workforce,
            settings.outgrown,
        )  # fmt: skip
        self._reconciler = reconciler
        self._workers = Workers(self._queue, reconciler, self._store, leadership, metrics, clock, settings.workers)
        metrics.follow_queue(lambda: self._queue.depth, lambda: self._queue.oldest)
        metrics.follow_leader(lambda: leadership.leading)
        metrics.follow_objects(self._store.campaign_count, self._store.stalled_count, self._store.child_count)
        # A standby would tell of them, too, and a little later.
        metrics.follow_tests(lambda: self._store.tests() if leadership.leading else ())
        metrics.follow_rules(lambda: self._store.all_fraud_rules() if leadership.leading else ())
        self._health = Server(settings.health_port)
        self._health.add_checks("/livez", self._liveness())
        self._health.add_checks("/readyz", self._readiness())
        self._metrics_server = Server(settings.metrics_port)
        self._metrics_server.add_metrics(metrics.registry)

    def _on_change(self, owner: Owner) -> None:
        # A standby collects nothing: when it comes to lead, it begins with all of them.
        if self._leadership.leading:
            self._queue.add(owner)

    def _on_leadership(self, leading: bool) -> None:
        if leading:
            for owner in self._store.owners():
                self._queue.add(owner)

    def _liveness(self) -> dict[str, Check]:
        # An API server that is away, or refuses, is not mended by a new process: that is for readiness to tell.
        return {
            "workers": lambda: self._workers.complaint,
            "campaigns": lambda: self._campaigns.stuck,
            "children": lambda: self._children.stuck,
            "tests": lambda: self._tests.stuck,
            "fraud rules": lambda: self._rules.stuck,
        }

    def _readiness(self) -> dict[str, Check]:
        return {
            "store": lambda: f"waiting for {', '.join(self._store.waiting_for)}" if not self._store.synced else None,
            "api server": self._unreachable,
            "campaigns": lambda: self._campaigns.complaint,
            "children": lambda: self._children.complaint,
            "tests": lambda: self._tests.complaint,
            "fraud rules": lambda: self._rules.complaint,
        }

    def _unreachable(self) -> str | None:
        silence = self._gateway.unanswered_for
        return f"no answer for {silence:.0f} s" if silence > PATIENCE_WITH_SERVER else None

    async def run(self, stop: asyncio.Event) -> int:
        """Run until `stop` is set (0) or a part has ended that must not (1)."""
        await self._health.start()
        await self._metrics_server.start()
        parts = {
            asyncio.create_task(_wait(stop), name="told to end"),
            asyncio.create_task(self._leadership.run(), name="leader election"),
            asyncio.create_task(self._campaigns.run(), name="campaigns"),
            asyncio.create_task(self._children.run(), name="children"),
            asyncio.create_task(self._tests.run(), name="tests"),
            asyncio.create_task(self._rules.run(), name="fraud rules"),
            asyncio.create_task(self._workers.run(), name="workers"),
            asyncio.create_task(self._reconciler.run(), name="reconcilers"),
        }
        log.info("The operator has started.")
        ended, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        status = 0 if stop.is_set() else 1
        for part in ended:
            _report(part)
        await self._end(parts, patience=PATIENCE if status == 0 else 0.0)
        return status

    async def _end(self, parts: set[asyncio.Task[None]], patience: float) -> None:
        self._campaigns.stop()
        await self._workers.stop(patience)
        for part in parts:
            part.cancel()
        await asyncio.gather(*parts, return_exceptions=True)
        await self._leadership.release()
        await self._health.stop()
        await self._metrics_server.stop()
        log.info("The operator has ended.")


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


def _report(part: asyncio.Task[None]) -> None:
    error = part.exception()
    if isinstance(error, LeaseLost):
        log.error("%s This replica ends.", error)
    elif error is not None:
        log.error("The part %r has failed.", part.get_name(), exc_info=error)
