"""The sidecar process: the agent that keeps HAProxy as the operator says, and the collector of events, side by side.

Neither takes the other down. When one cannot be revived the process ends; the kubelet starts it again, HAProxy serves
on, and what was acknowledged is on disk. At the end of the pod HAProxy has gone first, so what it still had to say has
arrived: the rest is written, and delivered for as long as is allowed.
"""

import asyncio
import gc
import logging
import signal
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import Metric
from prometheus_client.exposition import generate_latest

from flywheel.edge import naming
from flywheel.edge.agent import Agent, Observer
from flywheel.edge.counts import worker_counts
from flywheel.edge.document import DOCUMENT_KEY, EdgeDocument, Trouble, decode
from flywheel.edge.enforcer import Enforcer
from flywheel.edge.render import Layout
from flywheel.edge.runtime_api import RuntimeApiError
from flywheel.edge.supervise import Supervisor
from flywheel.events.access_log import AccessLog
from flywheel.events.collect import Collector
from flywheel.events.deliver import Delivery
from flywheel.events.erasures import ErasedRows
from flywheel.events.first_visitor import FirstVisitors
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool
from flywheel.events.volume_lock import VolumeBusy, claim
from flywheel.fraud.link import Link
from flywheel.fraud.sending import Meters as FraudMeters
from flywheel.kube.errors import LoginError
from flywheel.kube.gateway import Gateway

log = logging.getLogger(__name__)

COMPARE = 5.0
"""Seconds between comparisons with HAProxy's counters."""
NEARLY_FULL = 0.9
BACKLOG = 1_024


@dataclass(frozen=True, slots=True)
class Settings:
    """How the sidecar runs; see `flywheel sidecar --help`."""

    namespace: str
    campaign: str
    pod: str
    run_directory: Path
    spool_directory: Path
    spool_limit: int
    document_directory: Path
    tls_directory: Path | None
    token_file: Path
    flush_for: float
    collect_port: int = naming.COLLECT_PORT
    log_port: int = naming.LOG_PORT
    sidecar_port: int = naming.SIDECAR_PORT


class Sidecar:
    """All parts of the process, wired together."""

    def __init__(self, settings: Settings, gateway: Gateway | None) -> None:
        """Open the spool and make every part.

        Raises:
            OSError: The spool's directory cannot be used.
            VolumeBusy: Another sidecar uses it, or it is another campaign's.
        """
        self.settings = settings
        # Before the spool is opened: that cuts off what another process may just be writing.
        self._claimed = claim(settings.spool_directory, f"{settings.namespace}/{settings.campaign}")
        self.meters = Meters(settings.namespace, settings.campaign)
        self.spool = Spool(settings.spool_directory, settings.spool_limit, on_dropped=self.meters.dropped)
        self._layout = Layout(
            run_directory=str(settings.run_directory),
            collect_port=settings.collect_port,
            log_port=settings.log_port,
        )
        self.enforcer = Enforcer(settings.run_directory, self._layout.stats_socket)
        self._fraud_meters = FraudMeters()
        self.meters.sources += self._fraud_meters.sources
        self.link = Link(
            settings.pod, settings.token_file, self.enforcer.take, self._fraud_meters, self.enforcer.keep_to
        )
        first_visitors = FirstVisitors(self._store, settings.token_file)
        self.collector = Collector(self.spool, self.meters, first_visitors=first_visitors, on_taken=self.link.note)
        counts = settings.spool_directory / "log-counts.json"
        self.access_log = AccessLog(self.spool, self.meters, counts, pod=settings.pod, on_page=self.link.note)
        self.delivery = Delivery(
            self.spool,
            self.meters,
            settings.token_file,
            settings.pod,
            self._store,
            self._use_salt,
            ErasedRows(settings.spool_directory / "erased"),
        )
        self.registry = CollectorRegistry()
        self.registry.register(self)
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._document: EdgeDocument | None = None
        self.agent = Agent(
            gateway,
            namespace=settings.namespace,
            campaign=settings.campaign,
            pod=settings.pod,
            layout=self._layout,
            document_directory=str(settings.document_directory),
            tls_directory=str(settings.tls_directory) if settings.tls_directory else None,
            observer=self._observer(),
            enforcer=self.enforcer,
        )
        self.supervisor = Supervisor()
        self._collecting: web.AppRunner | None = None
        self._telling: web.AppRunner | None = None

    async def listen(self) -> None:
        """Open every port.

        Raises:
            OSError: One of them is taken.
        """
        await self.access_log.listen(self.settings.log_port)
        self._telling = await _serve(_own_application(self), "", self.settings.sidecar_port)
        self._collecting = await _serve(self.collector.application(), "127.0.0.1", self.settings.collect_port)

    def collect(self) -> Iterable[Metric]:
        """Write the figures for Prometheus."""
        usage = self.spool.usage()
        for table, size in usage.bytes.items():
            self.meters.spool_bytes.values[(table,)] = size
        age = max(0.0, time.time() - usage.oldest / 1000) if usage.oldest else 0.0
        self.meters.spool_oldest.values[()] = age
        self._fraud_meters.decisions.values[()] = len(self.enforcer.maps)
        return self.meters.collect()

    def use_document(self, document: EdgeDocument) -> None:
        """Collect as a document says from now on."""
        self._document = document
        self.link.use_workers(document.fraud.workers if document.fraud else ())
        self.collector.use_document(document)
        self.access_log.use_document(document)

    def obstacle(self) -> str | None:
        """Say why the pod cannot start yet."""
        if self._document is None:
            return f"there is no document yet: neither from the API server nor in {self.settings.document_directory}"
        return None if self.agent.started else "HAProxy's configuration is not there yet"

    def read_document(self) -> None:
        """Begin with the document that is mounted, for when the API server cannot be reached."""
        try:
            self.use_document(decode((self.settings.document_directory / DOCUMENT_KEY).read_bytes()))
        except (OSError, msgspec.DecodeError) as error:
            log.warning("There is no document to begin with, the API server's is waited for: %s", error)

    async def work(self, stop: asyncio.Event) -> int:
        """Run until told to stop, or until a part cannot be revived; give the exit status."""
        start = self.supervisor.start
        start("agent", self.agent.run)
        start("comparison with HAProxy's counters", self._compare)
        start("watch for troubles", self._watch)
        start("link to fraud workers", self.link.run)
        start("decisions on fraud", self.enforcer.run)
        start("access log", self.access_log.run)
        delivering = start("delivery", self.delivery.run)
        waits = [asyncio.create_task(each.wait()) for each in (stop, self.supervisor.given_up)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()
        if self.supervisor.reason:
            log.error("The sidecar ends, to be started anew: %s", self.supervisor.reason)
        # Calls under way are answered first. What HAProxy still had to say has arrived: it ends before the sidecar.
        if self._collecting:
            await self._collecting.cleanup()
        await self.supervisor.stop(
            "agent", "comparison with HAProxy's counters", "watch for troubles", "access log", "decisions on fraud"
        )
        await self._flush(delivering, 0.0 if self.supervisor.reason else self.settings.flush_for)
        if self._telling:
            await self._telling.cleanup()
        return 1 if self.supervisor.reason else 0

    async def _flush(self, delivering: "asyncio.Task[None]", allowed: float) -> None:
        """Write what came, and deliver it for a while."""
        self.access_log.stop_listening()
        await self.access_log.flush()
        self.delivery.flush()
        done, _ = await asyncio.wait([delivering], timeout=allowed)
        if not done:
            left = sum(self.spool.usage().bytes.values())
            log.warning("The store has not taken %d bytes; they stay in %s.", left, self.settings.spool_directory)
        await self.supervisor.stop()
        await self.spool.close()

    async def _compare(self) -> None:
        while True:
            await asyncio.sleep(COMPARE)
            try:
                counts = await worker_counts(self._layout.stats_socket)
            except RuntimeApiError as error:
                log.debug("HAProxy's counters cannot be read: %s", error)
                continue
            await self.access_log.compare(counts)

    async def _watch(self) -> None:
        told: str | None = None
        while True:
            await asyncio.sleep(1.0)
            trouble = self.trouble()
            reason = trouble.reason if trouble else None
            if reason != told:
                self.agent.report_trouble("collector", trouble)
                if trouble:
                    log.warning("%s", trouble.message)
            told = reason

    def trouble(self) -> Trouble | None:
        """Say what of collecting does not work."""
        used = sum(self.spool.usage().bytes.values())
        if used > self.spool.limit * NEARLY_FULL:
            text = f"The spool holds {used:,} of {self.spool.limit:,} bytes: events are refused once it is full."
            return Trouble(reason="SpoolFull", message=text)
        if failing := self.delivery.trouble():
            return Trouble(reason="StoreUnreachable", message=failing)
        away = self.link.trouble()
        return Trouble(reason="FraudWorkerUnreachable", message=away) if away else None

    def _observer(self) -> Observer:
        meters = self.meters

        def applied(generation: str, seconds: float) -> None:
            meters.edge_generation.only((generation,), 1.0)
            meters.edge_apply.observe((), seconds)

        def trouble(found: Trouble | None) -> None:
            meters.edge_trouble.values = {(found.reason,): 1.0} if found else {}

        return Observer(
            on_document=self.use_document,
            on_applied=applied,
            on_reload=lambda result: meters.edge_reloads.add((result,)),
            on_trouble=trouble,
        )

    def _store(self) -> str | None:
        return self._document.store if self._document else None

    def _use_salt(self, salt: bytes) -> None:
        self.collector.use_salt(salt)
        self.access_log.use_salt(salt)


async def run(settings: Settings) -> int:
    """Run the sidecar until it is told to end; give the exit status of the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    # The image's stop signal is HAProxy's, whose container shares it.
    for signal_ in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        loop.add_signal_handler(signal_, stop.set)
    try:
        gateway = await _gateway()
        sidecar = Sidecar(settings, gateway)
        sidecar.read_document()
        await sidecar.listen()
        # What was loaded stays for ever; the collector of garbage need not look at it again and again.
        gc.freeze()
    except (OSError, VolumeBusy) as error:
        log.error("The sidecar cannot start: %s", error)  # noqa: TRY400 - the text says it all
        return 2
    try:
        return await sidecar.work(stop)
    finally:
        if gateway:
            await gateway.close()


async def _gateway() -> Gateway | None:
    """Log in to the API server; without it the mounted document is followed, and nothing is reported."""
    try:
        return await Gateway.connect(connections=4)
    except LoginError as error:
        log.warning("There is no API server, only the mounted document is followed: %s", error)
        return None


async def _serve(application: web.Application, address: str, port: int) -> web.AppRunner:
    # Bodies are inflated by the collector itself, within its bounds.
    runner = web.AppRunner(
        application,
        access_log=None,
        handle_signals=False,
        shutdown_timeout=5.0,
        auto_decompress=False,
        lingering_time=1.0,
    )
    await runner.setup()
    await web.SockSite(runner, _listening(address, port), backlog=BACKLOG).start()
    return runner


def _own_application(sidecar: Sidecar) -> web.Application:
    """Make the application for probes and Prometheus."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(sidecar.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        obstacle = sidecar.obstacle()
        return web.Response(text=f"{obstacle or 'ok'}\n", status=503 if obstacle else 200)

    application = web.Application(client_max_size=0)
    application.router.add_get("/metrics", metrics)
    application.router.add_get("/healthz", alive)
    application.router.add_get("/readyz", ready)
    return application


def _listening(address: str, port: int) -> socket.socket:
    if not address and socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server((address, port), backlog=BACKLOG)
