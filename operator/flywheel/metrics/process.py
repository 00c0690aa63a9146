"""The process `flywheel external-metrics`: reads the edge pods and serves their rates to autoscalers."""

import asyncio
import logging
import signal
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge
from prometheus_client.exposition import generate_latest

from flywheel.kube.errors import ApiError, LoginError
from flywheel.kube.gateway import Gateway
from flywheel.metrics.rates import WINDOW
from flywheel.metrics.scrape import INTERVAL, EdgeRates
from flywheel.metrics.server import MetricsApi
from flywheel.metrics.trust import Keeper, NotTrusted, Trust

log = logging.getLogger(__name__)

LOOK_EVERY = 60.0
LOOK_AGAIN = 2.0
LEAVE_FOR = 3.0
"""Seconds for which requests are still answered after the end was asked for, until nobody is sent here any more."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the process runs. Without namespaces it serves the whole cluster."""

    service: str
    service_namespace: str
    secret: str
    namespaces: tuple[str, ...] = ()
    port: int = 6443
    health_port: int = 8081
    window: float = WINDOW
    interval: float = INTERVAL


class Listener:
    """The socket of the API, opened anew whenever certificates change."""

    def __init__(self, rates: EdgeRates, port: int, host: str | None = None) -> None:
        self._host = host
        self.port = port
        self._trust: Trust | None = None
        self._site: web.TCPSite | None = None
        self._runner = web.AppRunner(
            MetricsApi(rates, self._names).application(), access_log=None, handle_signals=False, shutdown_timeout=1
        )

    def _names(self) -> frozenset[str]:
        return self._trust.front_proxy.names if self._trust else frozenset()

    @property
    def complaint(self) -> str | None:
        """Why nothing is served, or None."""
        return None if self._site else "no certificate yet"

    async def use(self, trust: Trust) -> None:
        """Serve with `trust` from now on; connections that are open stay."""
        if trust == self._trust:
            return
        if self._runner.server is None:
            await self._runner.setup()
        context = server_context(trust)
        if self._site:
            await self._site.stop()
            self._site = None
        site = web.TCPSite(self._runner, self._host, self.port, ssl_context=context)
        await site.start()
        self._site, self._trust = site, trust

    async def stop(self) -> None:
        """Stop serving."""
        await self._runner.cleanup()


def server_context(trust: Trust) -> ssl.SSLContext:
    """Make a context that serves the certificate, and takes connections from the aggregation layer alone."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=trust.front_proxy.authority)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.verify_mode = ssl.CERT_REQUIRED
    with _file(trust.material.certificate) as certificate, _file(trust.material.key) as key:
        context.load_cert_chain(certificate, key)
    return context


@contextmanager
def _file(content: bytes) -> Iterator[Path]:
    # The library reads files only; this one is readable by its owner, and gone right after.
    with tempfile.NamedTemporaryFile(prefix="flywheel-") as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


async def run(settings: Settings) -> int:
    """Serve until told to end; return the exit code."""
    try:
        gateway = await Gateway.connect(connections=4)
    except LoginError as error:
        log.critical("%s", error)
        return 1
    rates = EdgeRates(settings.window, settings.interval)
    listener = Listener(rates, settings.port)
    health = await _serve_health(settings.health_port, rates, listener)
    keeper = Keeper(gateway, settings.service_namespace, settings.service, settings.secret, lambda: datetime.now(UTC))
    work = [
        *(rates.follow(gateway, namespace) for namespace in settings.namespaces or (None,)),
        rates.read_forever(),
        _keep_trust(keeper, listener),
    ]
    try:
        return await _until_told_to_end([asyncio.create_task(each) for each in work])
    finally:
        await listener.stop()
        await health.cleanup()
        await gateway.close()


async def _until_told_to_end(tasks: list[asyncio.Task[None]]) -> int:
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end.set)
    waiting = asyncio.create_task(end.wait())
    await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    code = 0
    if end.is_set():
        await asyncio.sleep(LEAVE_FOR)
    for task in (waiting, *tasks):
        if task.done() and not task.cancelled() and (error := task.exception()):
            log.error("A part of this process has failed, so it ends.", exc_info=error)
            code = 1
        task.cancel()
    await asyncio.gather(waiting, *tasks, return_exceptions=True)
    return code


async def _keep_trust(keeper: Keeper, listener: Listener) -> None:
    said = ""
    while True:
        try:
            await listener.use(await keeper.look())
            pause, said = LOOK_EVERY, ""
        except (NotTrusted, ApiError) as error:
            if str(error) != said:
                log.warning("Certificates cannot be kept: %s", error)
            pause, said = LOOK_AGAIN if listener.complaint else LOOK_EVERY / 4, str(error)
        await asyncio.sleep(pause)


def figures(rates: EdgeRates) -> CollectorRegistry:
    """Make the figures of this process itself."""
    registry = CollectorRegistry()
    pods = Gauge("flywheel_external_metrics_pods", "Edge pods that are read.", registry=registry)
    pods.set_function(lambda: len(list(rates.pods)))
    unread = Gauge("flywheel_external_metrics_unread_pods", "Of them: could not be read last time.", registry=registry)
    unread.set_function(lambda: rates.unread)
    return registry


async def _serve_health(port: int, rates: EdgeRates, listener: Listener) -> web.AppRunner:
    registry = figures(rates)

    async def alive(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def ready(_request: web.Request) -> web.Response:
        complaint = listener.complaint or (None if rates.synced else "the edge pods are not known yet")
        return web.Response(text=f"{complaint or 'ok'}\n", status=503 if complaint else 200)

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    application = web.Application()
    application.router.add_get("/livez", alive)
    application.router.add_get("/readyz", ready)
    application.router.add_get("/metrics", metrics)
    runner = web.AppRunner(application, access_log=None, handle_signals=False, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
