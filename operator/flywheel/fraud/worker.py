"""The fraud worker of a namespace: its volume, its engine, the ports to it, and what goes on beside them."""

import asyncio
import base64
import hashlib
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

from flywheel.events.http_answers import Site
from flywheel.events.identity import ApiServerKeys, Fetch, Identity
from flywheel.events.volume_lock import LOCK_TIMEOUT, VolumeBusy, lock
from flywheel.fraud import naming
from flywheel.fraud.admin_server import AdminServer
from flywheel.fraud.archive import Archive, ArchiveBroken
from flywheel.fraud.callers import Callers, tell_refusals
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.check_server import CheckServer
from flywheel.fraud.edge_server import EdgeServer
from flywheel.fraud.filing import Filing
from flywheel.fraud.journal import SEGMENT_BYTES, Journal, JournalBroken
from flywheel.fraud.judging import SNAPSHOT, Judging
from flywheel.fraud.labels_server import LabelsServer
from flywheel.fraud.lists_server import ListsServer
from flywheel.fraud.model_server import ModelServer
from flywheel.fraud.models import Models
from flywheel.fraud.pass_key import load_or_make
from flywheel.fraud.past_server import PastServer
from flywheel.fraud.people_server import PeopleServer
from flywheel.fraud.proof_figures import ProofFigures
from flywheel.fraud.records import Rules
from flywheel.fraud.rules_file import RulesFile
from flywheel.fraud.rulings import ALONE, MakeEngine, Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.subscriptions import Subscriptions
from flywheel.fraud.worker_figures import Figures, StateFigures

log = logging.getLogger(__name__)

EXPIRE = 1.0
"""Seconds between looks at decisions that have ended."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the worker runs; see `flywheel fraud-worker --help`."""

    namespace: str
    data_directory: Path
    rules_file: Path
    shard: Shard = ALONE
    operator_account: str = ""
    port: int = naming.PORT
    metrics_port: int = naming.METRICS_PORT
    admin_port: int = naming.ADMIN_PORT
    snapshot_every: float = SNAPSHOT
    segment_bytes: int = SEGMENT_BYTES
    lock_seconds: float = LOCK_TIMEOUT


class Worker:
    """All parts of one worker, put together."""

    def __init__(self, settings: Settings, make_engine: MakeEngine, fetch: Fetch | None = None) -> None:
        """Put a worker together; nothing starts yet.

        Args:
            settings: How it runs.
            make_engine: Makes the engine of each campaign.
            fetch: Gets the cluster's keys; from the API server by default.
        """
        self.settings = settings
        self._own_fetch = ApiServerKeys() if fetch is None else None
        self._fetch: Fetch = fetch or self._own_fetch  # type: ignore[assignment]
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._figures = Figures(settings.namespace, self._registry)
        self.subscriptions = Subscriptions()
        self._make_engine = make_engine
        self._stopping = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: str | None = None
        self._complaint: str | None = "The worker has not read its journal yet."
        self._admin: AdminServer | None = None
        self.ports: dict[str, int] = {}
        self.started = asyncio.Event()

    async def run(self) -> int:
        """Work until told to stop; give the exit status of the process."""
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, self._stopping.set)
        directory, handle = self.settings.data_directory, None
        try:
            # Before the journal is opened: that cuts off what another process may just be writing.
            handle = await lock(directory, socket.gethostname(), seconds=self.settings.lock_seconds)
            key = load_or_make(directory / "pass-key")
            # Not the key itself: what is derived may stand in snapshots.
            secret = hashlib.blake2b(key[1], person=b"fraud engine").digest()
            self._models = await asyncio.to_thread(Models, directory / "models")
            shard = self.settings.shard._replace(secret=secret)
            self.casebook = Casebook(self._make_engine, shard, scorer=self._models.score)
            journal = await asyncio.to_thread(Journal, directory / "journal", self.settings.segment_bytes)
            snapshots = Snapshots(directory / "snapshots")
            judging = Judging(
                self.casebook,
                journal,
                snapshots,
                self.subscriptions.tell,
                snapshot_every=self.settings.snapshot_every,
            )
            archive = await asyncio.to_thread(Archive, directory / "verdicts.sqlite")
            self.filing = Filing(self.casebook, archive)
            return await self._serve(judging, self.filing, key)
        except (VolumeBusy, JournalBroken, ArchiveBroken, OSError, ValueError) as error:
            log.error("The worker cannot start: %s", error)  # noqa: TRY400 - the text is for people
            return 1
        finally:
            if handle is not None:
                os.close(handle)
            for each in (signal.SIGTERM, signal.SIGINT):
                loop.remove_signal_handler(each)

    def stop(self) -> None:
        """Tell the worker to end."""
        self._stopping.set()

    async def _serve(self, judging: Judging, filing: Filing, key: tuple[str, bytes]) -> int:
        self._registry.register(StateFigures(self.settings.namespace, judging, self.subscriptions))
        self._registry.register(ProofFigures(self.settings.namespace, judging.casebook, filing))
        application, people = self._applications(judging, filing, key)
        sites = {
            "metrics": Site(self._metrics(), None, self.settings.metrics_port),
            "events": Site(application, None, self.settings.port),
            "admin": Site(people, "127.0.0.1", self.settings.admin_port),
        }
        try:
            for name, site in sites.items():
                await site.start()
                self.ports[name] = site.port
            # Probes are answered meanwhile. An engine that compiles itself does so now, not at the first attack.
            await asyncio.to_thread(self._make_engine, "", self.settings.shard)
            self.casebook.unfiled.on_full = filing.relieve
            await asyncio.to_thread(judging.recover)
            await asyncio.to_thread(self._models.open, tuple(self.casebook.models))
            self.casebook.unfiled.on_full = None
            # Whoever asks right after a restart must not be told that there are no labels.
            await filing.reckon_all()
            self.casebook.on_ruling = self._figures.ruling
            self._begin(judging.run(), "judging")
            self._begin(self._expire(), "the end of decisions")
            self._begin(filing.run(), "the archive of verdicts")
            rules = RulesFile(
                self.settings.rules_file,
                lambda text: _take(judging, text),
                is_overtaken=lambda: self._admin is not None and self._admin.is_ahead_of_the_volume,
            )
            self._begin(rules.run(self.casebook.rules), "the watch on rules")
            self._complaint = None
            self._figures.ready(works=True)
            self.started.set()
            log.info("Events of %s are judged, from the record %d on.", self.settings.namespace, judging.judged)
            await self._stopping.wait()
        finally:
            await self._end(sites, judging, filing)
        if self._failure:
            log.error("The worker ends: %s", self._failure)
        return 1 if self._failure else 0

    async def _end(self, sites: dict[str, Site], judging: Judging, filing: Filing) -> None:
        recovered, self._complaint = self._complaint is None, "The worker is ending."
        self._figures.ready(works=False)
        self.subscriptions.close()
        for each in ("events", "admin"):
            await sites[each].stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await filing.close()
        if recovered and self._failure is None:
            await judging.close()
        await sites["metrics"].stop()
        if self._own_fetch:
            await self._own_fetch.close()

    def _begin(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._tasks.append(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not task.cancelled() and (error := task.exception()):
            log.error("%s ended by a fault of ours.", task.get_name(), exc_info=error)
            self._failure = f"{task.get_name()} ended: {error}"
            self._stopping.set()

    async def _expire(self) -> None:
        while True:
            await asyncio.sleep(EXPIRE)
            for desk in self.casebook.desks.values():
                desk.blocks.expire(int(time.time() * 1000))

    def _applications(
        self, judging: Judging, filing: Filing, key: tuple[str, bytes]
    ) -> tuple[web.Application, web.Application]:
        identity = Identity(self.settings.namespace, self._fetch, operator=self.settings.operator_account)
        callers = Callers(identity)

        def complaint() -> str | None:
            return self._complaint

        made = web.Application(middlewares=[tell_refusals])
        keys = {key[0]: base64.b64encode(key[1]).decode()}
        # Of this process: versions of the one before mean nothing to it.
        epoch = secrets.token_hex(8)
        EdgeServer(callers, judging, self.subscriptions, epoch, keys, complaint, self._figures.counted).add_to(made)
        written = self.settings.rules_file.read_bytes
        CheckServer(callers, self.casebook, key, complaint, self._figures.question, written).add_to(made)
        models = ModelServer(callers, judging, self._models, complaint)
        models.add_to(made)
        self._admin = AdminServer(callers, judging, filing, complaint, self._figures.lags.p99, models.facts)
        self._admin.add_to(made)
        people = PeopleServer(callers, judging, filing, complaint)
        people.add_to(made)
        ListsServer(callers, judging, complaint, self._admin.state).add_to(made)
        PastServer(callers, judging, complaint, self._admin.state).add_to(made)
        by_hand = people.application()
        LabelsServer(callers, judging, filing, complaint).add_to(made, by_hand)

        async def alive(_request: web.Request) -> web.Response:
            return web.Response(text="ok\n")

        async def ready(_request: web.Request) -> web.Response:
            return web.Response(text=f"{self._complaint or 'ok'}\n", status=503 if self._complaint else 200)

        made.router.add_get("/healthz", alive)
        made.router.add_get("/readyz", ready)
        return made, by_hand

    def _metrics(self) -> web.Application:
        async def answer(_request: web.Request) -> web.Response:
            return web.Response(body=generate_latest(self._registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

        made = web.Application()
        made.router.add_get("/metrics", answer)
        return made


async def _take(judging: Judging, text: bytes) -> None:
    await judging.submit(Rules(text))
    book = judging.casebook
    log.info("The rules of generation %s hold for %d campaigns.", book.generation, len(book.desks))
    for campaign, problem in book.problems().items():
        log.error("The rules of %s cannot be taken; those before go on: %s", campaign, problem)
