"""A whole edge pod with its link to a worker, both in this process, and the real HAProxy in front."""

import asyncio
import contextlib
import dataclasses
import json
import socket
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.edge import stand
from tests.unit.events.world import as_json
from tests.unit.fraud_worker.small_engine import SmallEngine, rule
from tests.unit.store.material import Keys

from flywheel.edge.document import Collect, EdgeDocument, Fraud
from flywheel.events.collect import Collector
from flywheel.events.meters import Meters
from flywheel.events.script import Script
from flywheel.events.spool import Spool
from flywheel.fraud.link import Link
from flywheel.fraud.rulings import ALONE, MakeEngine, Shard
from flywheel.fraud.sending import Meters as FraudMeters
from flywheel.fraud.worker import Worker
from flywheel.fraud.worker_settings import Settings

NAMESPACE, CAMPAIGN, KEY = "shop", "spring", "key"
ATTACKER, HONEST = "127.0.0.9", "127.0.0.1"
KEYS = Keys()
OPERATOR = "flywheel-system:flywheel"


def token(account: str = f"{CAMPAIGN}-edge") -> str:
    return KEYS.token(account, namespace=NAMESPACE)


def bearer(account: str = "prizes") -> dict[str, str]:
    return {"Authorization": f"Bearer {token(account)}"}


def operator() -> dict[str, str]:
    made = KEYS.token("flywheel", namespace="flywheel-system", aud=[f"flywheel-analytics/{NAMESPACE}"])
    return {"Authorization": f"Bearer {made}"}


async def fetch(path: str) -> dict[str, Any]:
    return KEYS.documents()[path]


def shop(*workers: str) -> EdgeDocument:
    return stand.document(collect=Collect(write_keys=(KEY,)), fraud=Fraud(workers=workers))


class RunningWorker:
    """A worker in this process, which is stopped and started over the same volume."""

    def __init__(self, directory: Path, make_engine: MakeEngine = SmallEngine) -> None:
        self.make_engine = make_engine
        self.directory = directory
        directory.mkdir(exist_ok=True)
        (directory / "token").write_text(token("flywheel-fraud"))
        self.port, self.metrics_port = free_port(), free_port()
        self.worker: Worker | None = None
        self.task: asyncio.Task[int] | None = None
        self.shard, self.urls = ALONE, ()
        """Which of several workers it is, and where all of them are."""
        self.rules(rule())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rules(self, *rules: dict[str, Any]) -> None:
        new = self.directory / "rules.new"
        new.write_text(json.dumps({CAMPAIGN: rules}))
        new.replace(self.directory / "rules.json")

    async def start(self) -> None:
        settings = Settings(
            NAMESPACE,
            self.directory / "volume",
            self.directory / "rules.json",
            operator_account=OPERATOR,
            port=self.port,
            metrics_port=self.metrics_port,
            admin_port=0,
            lock_seconds=0.2,
            shard=self.shard,
            token_file=self.directory / "token",
            peers=self.urls,
        )
        self.worker = Worker(settings, self.make_engine, fetch)
        self.task = asyncio.create_task(self.worker.run())
        await asyncio.wait_for(self.worker.started.wait(), PATIENCE)
        await stand.until(lambda: bool(self.worker.casebook.generation), "the rules are loaded")

    def is_listening(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def stop(self) -> int:
        self.worker.stop()
        return await asyncio.wait_for(self.task, PATIENCE)

    @property
    def admin(self) -> str:
        """Address of the port for people."""
        assert self.worker
        return f"http://127.0.0.1:{self.worker.ports['admin']}"

    async def state(self) -> dict[str, Any]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/fraud/state", headers=operator()) as r,
        ):
            assert r.status == 200, await r.text()
            found: dict[str, Any] = await r.json()
            return found


@dataclass
class Pod:
    edge: stand.Edge
    spool: Spool
    link: Link
    meters: FraudMeters

    async def ask(self, path: str = "/coupon", source: str = HONEST, **options: Any) -> stand.Answer:
        connection = await self.edge.connect(source=source)
        try:
            return await connection.ask(path, **options)
        finally:
            connection.close()

    async def claim(self, source: str, count: int = 1, **event: Any) -> int:
        """Claim coupons in one batch; give the status of the answer."""
        events = [
            {"type": "track", "event": "Coupon Claimed", "messageId": str(uuid.uuid4()), "anonymousId": "a", **event}
            for _ in range(count)
        ]
        body = as_json({"batch": events, "writeKey": KEY})
        return (await self.ask("/v1/batch", source, method="POST", body=body)).status

    async def is_refused(self, source: str, path: str = "/coupon/1", status: int = 403) -> None:
        async def is_so() -> bool:
            return (await self.ask(path, source)).status == status

        await stand.until(is_so, f"{source} is refused at {path}")


@contextlib.asynccontextmanager
async def workers(
    directory: Path, count: int, make_engine: MakeEngine = SmallEngine
) -> AsyncIterator[list[RunningWorker]]:
    """Run several workers that know each other."""
    made = [RunningWorker(directory / f"worker-{number}", make_engine) for number in range(count)]
    for number, each in enumerate(made):
        each.shard, each.urls = Shard(number, count), tuple(other.url for other in made)
    try:
        for each in made:
            await each.start()
        for each in made:
            await stand.until(lambda each=each: each.worker._not_ready() is None, "it has its keys", PATIENCE)
        yield made
    finally:
        for each in made:
            if each.task and not each.task.done():
                await each.stop()


@contextlib.asynccontextmanager
async def pod(directory: Path, document: EdgeDocument) -> AsyncIterator[Pod]:
    """Run an edge pod: HAProxy, agent, ingestion, and the link to the workers that the document names."""
    (directory / "token").write_text(token())
    spool, meters = Spool(directory / "spool", 8 << 20), FraudMeters()
    async with stand.edge(directory, document, start=False) as edge:
        link = Link(
            "edge-0",
            directory / "token",
            lambda worker, line: edge.enforcer.take(worker, line),
            meters,
            lambda workers: edge.enforcer.keep_to(workers),
        )
        collector = Collector(spool, Meters(NAMESPACE, CAMPAIGN), script=Script(b"/**/"), on_taken=link.note)
        collector.use_document(document)
        runner = web.AppRunner(collector.application(), access_log=None, auto_decompress=False, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        edge.task.cancel()
        await asyncio.gather(edge.task, return_exceptions=True)
        edge.layout = dataclasses.replace(
            edge.layout, collect_port=runner.addresses[0][1], run_directory=str(directory / "run2")
        )
        edge.agent = stand.new_agent(edge)
        edge.task = asyncio.create_task(edge.agent.run())
        for name in ("web-blue", "web-green", "pay"):
            edge.pods(name, edge.services[name])
        edge.agent.sources.complete_slices(frozenset(f"uid-{name}/0" for name in edge.services))
        edge.order(document)
        await edge.start_haproxy()
        link.use_workers(document.fraud.workers)
        tasks = [asyncio.create_task(each) for each in (link.run(), edge.enforcer.run())]
        try:
            yield Pod(edge, spool, link, meters)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await runner.cleanup()
            await spool.close()


@contextlib.asynccontextmanager
async def site(
    directory: Path, make_engine: MakeEngine = SmallEngine, rules: bytes | None = None
) -> AsyncIterator[tuple[Pod, RunningWorker]]:
    """Run a worker and a pod that knows it."""
    worker = RunningWorker(directory / "worker", make_engine)
    if rules is not None:
        (worker.directory / "rules.json").write_bytes(rules)
    await worker.start()
    try:
        async with pod(directory, shop(worker.url)) as made:
            await stand.until(lambda: made.meters.connected.values.get((worker.url,)) == 1.0, "the stream is open")
            yield made, worker
    finally:
        if not worker.task.done():
            await worker.stop()
