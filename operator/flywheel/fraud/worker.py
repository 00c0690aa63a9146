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
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.exposition import generate_latest

from flywheel.events.http_answers import Site
from flywheel.events.identity import ApiServerKeys, Fetch, Identity
from flywheel.events.volume_lock import VolumeBusy, lock
from flywheel.fraud import naming
from flywheel.fraud.admin_server import AdminServer
from flywheel.fraud.archive import Archive, ArchiveBroken
from flywheel.fraud.callers import Callers
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.check_server import CheckServer
from flywheel.fraud.edge_server import EdgeServer
from flywheel.fraud.erase_server import EraseServer
from flywheel.fraud.eraser import Eraser
from flywheel.fraud.filing import Filing
from flywheel.fraud.journal import Journal, JournalBroken, Retained
from flywheel.fraud.judging import Judging
from flywheel.fraud.kin import shared_key
from flywheel.fraud.kin_server import KinServer
from flywheel.fraud.labels_server import LabelsServer
from flywheel.fraud.lists_server import ListsServer
from flywheel.fraud.model_server import ModelServer
from flywheel.fraud.models import Models
from flywheel.fraud.others import Others
from flywheel.fraud.past_server import PastServer
from flywheel.fraud.peers import Layout, Peers
from flywheel.fraud.people_server import PeopleServer
from flywheel.fraud.proof_figures import ProofFigures
from flywheel.fraud.records import Rules
from flywheel.fraud.rules_file import RulesFile
from flywheel.fraud.rulings import MakeEngine
from flywheel.fraud.sending import Token
from flywheel.fraud.serving import Serving
from flywheel.fraud.shares import MOST
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.subscriptions import Subscriptions
from flywheel.fraud.takeover import TakeOver
from flywheel.fraud.trouble import tell_trouble
from flywheel.fraud.volume_id import load_or_make as load_volume_id
from flywheel.fraud.worker_figures import Figures, StateFigures
from flywheel.fraud.worker_settings import Settings

if TYPE_CHECKING:
    from flywheel.fraud.streams import Streams

log = logging.getLogger(__name__)

RETAINED = Retained(seconds=600.0, bytes=256 << 20)
"""What is kept of the journal where there are other workers: keys that come from them are judged by it."""
EXPIRE = 1.0
"""Seconds between looks at decisions that have ended."""


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
        self._change: TakeOver | None = None
        """What is done about keys of other workers; None until the journal has been read."""
        self._peers = Peers(settings.peers or naming.worker_urls(settings.namespace, MOST), settings.token_file)
        shard = settings.shard
        urls = (settings.peers or naming.worker_urls(settings.namespace, shard.of))[: shard.of]
        self._others = Others(
            {number: url for number, url in enumerate(urls) if number != shard.number},
            Token(settings.token_file),
            self._figures.unheard,
        )
        self._streams: Streams | None = None
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
            key = await self._key(directory)
            if key is None:
                return 0
            # Not the key itself: what is derived may stand in snapshots.
            secret = hashlib.blake2b(key[1], person=b"fraud engine").digest()
            self._models = await asyncio.to_thread(Models, directory / "models")
            shard = self.settings.shard._replace(secret=secret)
            if shard.number:
                # Others may have had its keys. What is on the volume says more, where there is anything.
                shard = shard._replace(of=0)
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
            await self._peers.close()
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
        self._eraser = Eraser(judging, filing)
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
            self._serving.hear_known()
            change = self._change = self._take_over(judging)
            await asyncio.to_thread(self._models.open, tuple(self.casebook.models))
            self.casebook.unfiled.on_full = None
            # Whoever asks right after a restart must not be told that there are no labels.
            await filing.reckon_all()
            self.casebook.on_ruling = self._figures.ruling
            self._begin(judging.run(), "judging")
            self._begin(self._expire(), "the end of decisions")
            self._begin(filing.run(), "the archive of verdicts")
            self._begin(self._eraser.run(), "erasing")
            rules = RulesFile(
                self.settings.rules_file,
                lambda text: _take(judging, text),
                is_overtaken=lambda: self._admin is not None and self._admin.is_ahead_of_the_volume,
            )
            self._begin(rules.run(self.casebook.rules), "the watch on rules")
            self._begin(self._change_keys(change), "the change of keys")
            self._begin_streams(judging)
            self._complaint = None
            self.started.set()
            log.info("Events of %s are judged, from the record %d on.", self.settings.namespace, judging.judged)
            await self._stopping.wait()
        finally:
            await self._end(sites, judging, filing)
        if self._failure:
            log.error("The worker ends: %s", self._failure)
        return 1 if self._failure else 0

    def _begin_streams(self, judging: Judging) -> None:
        """Begin with the ways to and from Kafka, where there is one."""
        settings = self.settings
        if settings.kafka is None or settings.shard.number != 0:
            return
        # Whoever judges without Flink needs no client of Kafka.
        from flywheel.fraud.streams import Streams

        self._streams = Streams(
            judging,
            settings.kafka,
            settings.kafka_credentials,
            settings.data_directory,
            settings.namespace,
            settings.kafka_partitions,
        )
        self._streams.register(self._registry)
        self._begin(self._streams.run(), "the ways to and from Kafka")

    async def _end(self, sites: dict[str, Site], judging: Judging, filing: Filing) -> None:
        recovered, self._complaint = self._complaint is None, "The worker is ending."
        self._figures.ready(works=False)
        self.subscriptions.close()
        for each in ("events", "admin"):
            await sites[each].stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._streams is not None:
            await self._streams.close()
        await filing.close()
        if recovered and self._failure is None:
            await judging.close()
        await sites["metrics"].stop()
        await self._others.close()
        if self._own_fetch:
            await self._own_fetch.close()

    async def _key(self, directory: Path) -> tuple[str, bytes] | None:
        """Come by the secret of all workers; None where the worker is to end meanwhile."""
        shard = self.settings.shard
        asking = asyncio.ensure_future(shared_key(directory / "pass-key", shard.number, shard.of, self._peers))
        stopping = asyncio.ensure_future(self._stopping.wait())
        await asyncio.wait((asking, stopping), return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if asking.done():
            return asking.result()
        asking.cancel()
        return None

    def _take_over(self, judging: Judging) -> TakeOver:
        settings, before = self.settings, self.casebook.shard.of
        if max(settings.shard.of, before) > 1:
            judging.retained = RETAINED
        wanted = (settings.shard.number, settings.shard.of)
        return TakeOver(
            judging,
            self._peers,
            wanted,
            settings.data_directory,
            self.subscriptions.tell,
            seconds=settings.take_over_seconds,
        )

    async def _change_keys(self, change: TakeOver) -> None:
        self._figures.ready(works=change.complaint is None)
        await change.run()
        self._figures.ready(works=True)

    def _not_ready(self) -> str | None:
        """Say why nobody can be told what holds; None where that is known."""
        return self._complaint or (self._change.complaint if self._change else None)

    def _layout(self) -> Layout:
        shard = self.casebook.shard
        return self._change.layout() if self._change else Layout(shard.number, shard.of, taking_over=True)

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

        def unread() -> str | None:
            return self._complaint

        complaint = self._not_ready
        serving = self._serving = Serving(self.casebook)
        made = web.Application(middlewares=[tell_trouble])
        keys = {key[0]: base64.b64encode(key[1]).decode()}
        # Of this process: versions of the one before mean nothing to it.
        epoch = load_volume_id(self.settings.data_directory / "volume-id") + secrets.token_hex(8)
        EdgeServer(
            callers, judging, self.subscriptions, epoch, keys, complaint, self._figures.counted, serving, unread
        ).add_to(made)
        directory = self.settings.data_directory
        KinServer(callers, judging, serving, key, directory, unread, self._layout).add_to(made)
        written = self.settings.rules_file.read_bytes
        number = self.settings.shard.number
        CheckServer(
            callers, self.casebook, key, complaint, self._figures.question, written, self._others, number
        ).add_to(made)
        models = ModelServer(callers, judging, self._models, unread)
        models.add_to(made)
        self._admin = AdminServer(
            callers,
            judging,
            filing,
            unread,
            self._figures.lags.p99,
            self._told_of_keys,
            models.facts,
            self._told_of_streams,
        )
        self._admin.add_to(made)
        erasing = EraseServer(judging, self._eraser)
        people = PeopleServer(callers, judging, filing, unread, self._others, erasing=erasing)
        people.add_to(made)
        ListsServer(callers, judging, unread, self._admin.state).add_to(made)
        PastServer(callers, judging, complaint, self._admin.state).add_to(made)
        by_hand = people.application()
        LabelsServer(callers, judging, filing, unread).add_to(made, by_hand)

        async def alive(_request: web.Request) -> web.Response:
            return web.Response(text="ok\n")

        async def ready(_request: web.Request) -> web.Response:
            said = complaint()
            return web.Response(text=f"{said or 'ok'}\n", status=503 if said else 200)

        async def started(_request: web.Request) -> web.Response:
            said = unread()
            return web.Response(text=f"{said or 'ok'}\n", status=503 if said else 200)

        made.router.add_get("/healthz", alive)
        made.router.add_get("/startz", started)
        made.router.add_get("/readyz", ready)
        return made, by_hand

    def _told_of_keys(self) -> Mapping[str, object]:
        layout = self._layout()
        return {
            "ready": self._not_ready() is None,
            "shard": layout.shard,
            # One that begins has no keys yet, and is one of so many all the same.
            "shards": layout.shards or self.settings.shard.of,
            "takingOver": layout.taking_over,
            "warming": [] if self._change is None or layout.taking_over else [*self._change.missing],
        }

    def _told_of_streams(self, campaign: str) -> dict[str, object]:
        return self._streams.state(campaign) if self._streams else {}

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
