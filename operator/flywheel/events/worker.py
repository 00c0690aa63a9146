"""The analytics worker of a namespace: the store, the ports to it, and what goes on beside them."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

from flywheel.events import naming
from flywheel.events.admin_server import AdminServer
from flywheel.events.arm_questions import ARMS, arm_questions
from flywheel.events.backtest_questions import BACKTEST, backtest_questions
from flywheel.events.campaign_watch import CampaignWatch
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.clickhouse_engine import Address, ClickHouseEngine
from flywheel.events.engine import Engine, EngineDown, EngineError, StoreError
from flywheel.events.erasure import Erasures
from flywheel.events.first_visitor_question import FirstVisitorQuestion
from flywheel.events.group_commit import GroupCommit
from flywheel.events.http_answers import Site
from flywheel.events.identity import ApiServerKeys, Fetch, Identity
from flywheel.events.ingest_server import IngestServer
from flywheel.events.past_questions import PAST, past_questions
from flywheel.events.questions import Kind, Questions
from flywheel.events.retention import Retention
from flywheel.events.salts import SaltFiles, SaltRows, Salts
from flywheel.events.schema import DELIVERED
from flywheel.events.slot_questions import SLOTS, slot_questions
from flywheel.events.store import Store
from flywheel.events.volume_lock import LOCK_TIMEOUT, VolumeBusy, lock
from flywheel.events.worker_figures import Figures

log = logging.getLogger(__name__)

MEASURE_INTERVAL = 30.0
START_RETRY = 5.0
ENGINE_DIRECTORY = "chdb"
SALT_DIRECTORY = "salts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How one worker runs."""

    namespace: str
    data_directory: Path = Path(naming.DATA_DIRECTORY)
    memory: int = 1 << 30
    """Bytes that chDB's queries and inserts may take together."""
    clickhouse: Address | None = None
    """Where the tables are instead of on the volume."""
    settings_file: Path | None = None
    operator_account: str = ""
    """The operator's ServiceAccount as `namespace:name`; empty where none may ask."""
    ingest_port: int = naming.INGEST_PORT
    admin_port: int = naming.ADMIN_PORT
    metrics_port: int = naming.METRICS_PORT
    fsync: bool = True
    lock_seconds: float = LOCK_TIMEOUT


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a companion may use."""

    namespace: str
    store: Store
    campaigns: Callable[[], Mapping[str, Any]]
    """The entries of `campaigns.json` as they are now."""
    registry: CollectorRegistry


class Companion(Protocol):
    """What reckons key figures beside the store."""

    async def run(self) -> None:
        """Work for ever."""

    async def figures(self, campaign: str = "", window: str = "campaign", by: str = "") -> object:
        """Give the figures of a campaign over a window, as JSON can hold them; KeyError where there are none."""


class Worker:
    """All parts of one worker, put together."""

    def __init__(
        self,
        settings: Settings,
        companion: Callable[[Surroundings], Companion] | None = None,
        fetch: Fetch | None = None,
    ) -> None:
        """Put a worker together; nothing starts yet.

        Args:
            settings: How it runs.
            companion: Makes what reckons the key figures.
            fetch: Gets the cluster's keys; from the API server by default.
        """
        self.settings = settings
        self._make_companion = companion
        self._own_fetch = ApiServerKeys() if fetch is None else None
        self._fetch: Fetch = fetch or self._own_fetch  # type: ignore[assignment]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._figures = Figures(settings.namespace, self._registry)
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._failure: str | None = None
        self._not_started: str | None = "The store has not started yet."
        self.ports: dict[str, int] = {}
        self.started = asyncio.Event()

    async def run(self) -> int:
        """Work until told to stop; give the exit status of the process."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stopping.set)
        try:
            handle = None
            if self.settings.clickhouse is None:
                handle = await lock(
                    self.settings.data_directory, socket.gethostname(), seconds=self.settings.lock_seconds
                )
            return await self._serve(self._engine(handle))
        except (VolumeBusy, OSError) as error:
            log.error("The worker cannot start: %s", error)  # noqa: TRY400 - the text is for people
            return 1
        finally:
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)

    def stop(self) -> None:
        """Tell the worker to end."""
        self._stopping.set()

    def _engine(self, handle: int | None) -> Engine:
        if self.settings.clickhouse is not None:
            return ClickHouseEngine(self.settings.clickhouse)
        return ChdbEngine(
            self.settings.data_directory / ENGINE_DIRECTORY,
            memory=self.settings.memory,
            # The lock is held until both of us have ended.
            keep_open=(handle,) if handle is not None else (),
        )

    async def _serve(self, engine: Engine) -> int:
        settings = self.settings
        store = Store(engine, owner=socket.gethostname(), fsync=settings.fsync)
        erasures = Erasures(store)
        campaigns = CampaignWatch(settings.namespace, settings.settings_file)
        salts: Salts = SaltRows(store) if engine.shared else SaltFiles(settings.data_directory / SALT_DIRECTORY)
        queues = {table: GroupCommit(store, table, self._figures.commit) for table in DELIVERED}
        surroundings = Surroundings(settings.namespace, store, lambda: campaigns.entries, self._registry)
        companion = self._make_companion(surroundings) if self._make_companion else None
        identity = Identity(settings.namespace, self._fetch, operator=settings.operator_account)

        def complaint() -> str | None:
            return self._not_started or store.complaint()

        kinds: dict[str, Kind[Any]] = {SLOTS: slot_questions(store), ARMS: arm_questions(store)}
        questions = Questions(kinds | {BACKTEST: backtest_questions(store), PAST: past_questions(store)})
        first = FirstVisitorQuestion(store)
        ingest = IngestServer(identity, queues, salts, erasures, questions, first, complaint, self._figures.count)
        admin = AdminServer(store, erasures, companion.figures if companion else _no_figures)
        sites = {
            "metrics": Site(self._metrics(), None, settings.metrics_port),
            "ingest": Site(ingest.application(), None, settings.ingest_port),
            "admin": Site(admin.application(), "127.0.0.1", settings.admin_port, cancel_when_left=True),
        }
        try:
            await self._listen(sites)
            if await self._start(store):
                self._begin(campaigns.work(), "settings")
                self._begin(erasures.work(), "erasures")
                self._begin(Retention(store, campaigns.retentions).work(), "retention")
                self._begin(self._measure(store), "measuring")
                if companion:
                    self._begin(companion.run(), "key figures")
                for queue in queues.values():
                    queue.start()
                    queue.fatal.add_done_callback(self._fatal)
                self._not_started = None
                self.started.set()
                log.info("The event store of %s takes rows.", settings.namespace)
                await self._stopping.wait()
        finally:
            await self._end(store, sites, queues)
        if self._failure:
            log.error("The worker ends: %s", self._failure)
        return 1 if self._failure else 0

    async def _listen(self, sites: dict[str, Site]) -> None:
        for name, site in sites.items():
            await site.start()
            self.ports[name] = site.port

    async def _start(self, store: Store) -> bool:
        """Start the store; tell whether it works. A server elsewhere is waited for, until we are told to stop."""
        while not self._stopping.is_set():
            try:
                await store.start()
            except (EngineError, StoreError) as error:
                self._failure = f"The store cannot be used: {error}"
                return False
            except EngineDown as error:
                if not store.engine.shared:
                    self._failure = str(error)
                    return False
                self._not_started = str(error)
                log.warning("%s It is tried again.", error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(START_RETRY):
                        await self._stopping.wait()
            else:
                return True
        return False

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("%s ended by a fault of ours.", task.get_name(), exc_info=error)
            self._failure = f"{task.get_name()} ended: {error}"
            self._stopping.set()

    def _fatal(self, told: "asyncio.Future[StoreError]") -> None:
        if not told.cancelled():
            self._failure = str(told.result())
            self._stopping.set()

    async def _end(self, store: Store, sites: dict[str, Site], queues: dict[str, GroupCommit]) -> None:
        self._not_started = self._not_started or "The worker is ending."
        for queue in queues.values():
            queue.fatal.cancel()
            await queue.stop()
        for name in ("ingest", "admin"):
            await sites[name].stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await store.close()
        await sites["metrics"].stop()
        if self._own_fetch:
            await self._own_fetch.close()

    async def _measure(self, store: Store) -> None:
        while True:
            self._figures.up(works=store.complaint() is None)
            with contextlib.suppress(EngineDown, EngineError):
                for row in await store.query(
                    "SELECT table, sum(bytes_on_disk) AS size FROM system.parts WHERE active "
                    "AND database = currentDatabase() GROUP BY table"
                ):
                    self._figures.size(str(row["table"]), int(str(row["size"])))
            await asyncio.sleep(MEASURE_INTERVAL)

    def _metrics(self) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        made = web.Application()
        made.router.add_get("/metrics", answer)
        return made


async def _no_figures(_campaign: str, _window: str, _by: str) -> object:
    raise KeyError("This worker reckons no key figures.")
