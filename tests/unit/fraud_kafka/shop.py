"""A worker as a process with a broker beside it; in Flink's place our engine, which judges what is on the topic."""

import asyncio
import contextlib
import json
import os
import random
import sys
import uuid
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from tests.ports import free_ports
from tests.unit.edge.stand import until
from tests.unit.fraud_kafka.broker import NAME, PASSWORD, Broker
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, NAMESPACE, bearer, operator, token

from flywheel.events.rows import EventRow
from flywheel.fraud.engine import Engine
from flywheel.fraud.flink_records import Record, event_of
from flywheel.fraud.policy import Action, Policy, Ruled, Rules, write_rules
from flywheel.fraud.rule import Count, Match, Rule
from flywheel.fraud.sending import Meters, Sending, Token
from flywheel.fraud.words import Verdict

PATIENCE = 120.0
BLOCK = Action(kind="Block", lasts=1_800_000, scope=("/coupon",))


def many(name: str = "many", more_than: int = 3, key: str = "address") -> Rule:
    return Rule(
        name=name,
        match=Match(events=("Coupon Claimed",)),
        key=(key,),
        window=3_600_000,
        lateness=1_000_000,
        conditions=(Count(more_than=more_than),),
    )


def judged_by_flink(rule: Rule | None = None, **policy: Any) -> Ruled:
    return Ruled(
        rule=rule or many(),
        policy=Policy(**({"action": BLOCK, "mode": "Enforce"} | policy)),
        engine="Flink",
        generation=1,
    )


class Shop:
    def __init__(self, directory: Path, broker: Broker, **kafka: Any) -> None:
        self.directory, self.broker = directory, broker
        self.port, self.metrics_port = free_ports(2)
        # Of its own, so that those of others on the same broker do not meet it.
        self.prefix = f"test-{uuid.uuid4().hex[:8]}"
        self.events, self.verdicts = (f"{self.prefix}.{NAMESPACE}.{CAMPAIGN}.{each}" for each in ("events", "verdicts"))
        self._process: asyncio.subprocess.Process | None = None
        directory.mkdir()
        (directory / "keys.json").write_text(json.dumps(KEYS.documents()))
        (directory / "token").write_text(token())
        (directory / "kafka.json").write_text(json.dumps({"servers": broker.servers, "prefix": self.prefix, **kafka}))
        (directory / "credentials").mkdir()
        (directory / "credentials/username").write_text(NAME)
        (directory / "credentials/password").write_text(PASSWORD)
        self.rules(judged_by_flink())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def rules(self, *rules: Ruled) -> None:
        written = msgspec.json.encode({CAMPAIGN: msgspec.Raw(write_rules(Rules(rules=rules)))})
        new = self.directory / "rules.new"
        new.write_bytes(written)
        new.replace(self.directory / "rules.json")

    async def start(self) -> None:
        words = (str(self.directory), str(self.port), str(self.metrics_port))
        with (self.directory / "log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.unit.fraud_kafka.worker_process", *words, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(each for each in sys.path if each)},
            )  # fmt: skip

    async def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        return await self._process.wait()

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    async def whole_state(self) -> dict[str, Any]:
        assert self._process is not None
        assert self._process.returncode is None, self.log[-3000:]
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/v1/fraud/state", headers=operator()) as response,
            ):
                found: dict[str, Any] = await response.json()
                return found if found.get("ready") and found["campaigns"] else {}
        except aiohttp.ClientError:
            return {}

    async def state(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.whole_state()).get("campaigns", {}).get(CAMPAIGN, {})
        return found

    async def is_ready(self) -> bool:
        return bool(await self.state())

    async def kafka(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.state()).get("kafka", {})
        return found

    async def rule(self, name: str = "many") -> dict[str, Any]:
        return next((each for each in (await self.state()).get("rules", ()) if each["rule"] == name), {})

    async def decisions(self) -> list[dict[str, Any]]:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.url}/v1/fraud/decisions/{CAMPAIGN}", headers=operator()) as response,
        ):
            found: list[dict[str, Any]] = await response.json()
            return found

    async def ask(self, **subject: str) -> str:
        body = {"campaign": CAMPAIGN, **subject}
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/v1/fraud/check", json=body, headers=bearer()) as response,
        ):
            return str((await response.json())["verdict"])

    async def figures(self) -> str:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{self.metrics_port}/metrics") as response,
        ):
            return await response.text()

    @contextlib.asynccontextmanager
    async def edge(self) -> AsyncIterator[Sending]:
        """A sidecar that sends to the worker, for as long as it has to."""
        async with aiohttp.ClientSession() as session:
            sending = Sending(self.url, "edge-0", Token(self.directory / "token"), session, Meters(), room=10**9)
            task = asyncio.create_task(sending.run())
            try:
                yield sending
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    def published(self) -> list[Record]:
        """Give the records of the topic of events, in the order of their arrival."""
        found = [msgspec.json.decode(each.value() or b"", type=Record) for each in self.broker.records(self.events)]
        return sorted(found, key=lambda each: each.arrived)

    def judged(self, rule: Rule) -> list[bytes]:
        """Judge what is on the topic of events as Flink would, and write what it would write."""
        messages = self.broker.records(self.events)
        events = [event_of(msgspec.json.decode(each.value() or b"", type=Record)) for each in messages]
        order = sorted(
            range(len(events)), key=lambda i: (events[i].arrived, messages[i].partition(), messages[i].offset())
        )
        found = Engine([rule]).judge_by_place([events[i] for i in order])
        return [row(verdict, *_place(messages[order[i]])) for i, verdict in found]


def _place(message: Any) -> tuple[int, int]:
    return message.partition(), message.offset()


def row(verdict: Verdict, lane: int, place: int, **other: object) -> bytes:
    plain = {name: getattr(verdict, name) for name in ("rule", "version", "event", "at", "key", "observed", "limit")}
    told = plain | {"since": verdict.since, "saturated": verdict.saturated, "lane": lane, "place": place}
    return json.dumps({**told, **other}).encode()


def visits(seed: int, began: int, addresses: int = 40) -> Iterator[tuple[EventRow, str]]:
    """Make claims without end."""
    chance, number = random.Random(seed), 0
    while True:
        number += 1
        now = began + number * 7
        yield (
            EventRow(
                message_id=f"m-{number}",
                type="track",
                event="Coupon Claimed",
                time=now - chance.randrange(50),
                original_time=now,
                ingest_time=now,
                visitor=f"v-{chance.randrange(400)}",
                user_id=f"u-{chance.randrange(90)}",
                expires_at=0,
            ),
            f"192.0.2.{chance.randrange(addresses)}",
        )


def send(edge: Sending, given: Iterable[tuple[EventRow, str]]) -> None:
    for each, address in given:
        edge.note([each], address)


@contextlib.asynccontextmanager
async def shop(directory: Path, broker: Broker, *rules: Ruled, **kafka: Any) -> AsyncIterator[Shop]:
    """Run a worker beside a broker."""
    made = Shop(directory, broker, **kafka)
    if rules:
        made.rules(*rules)
    await made.start()
    try:
        await until(made.is_ready, "the worker is there", PATIENCE)
        yield made
    finally:
        await made.kill()


def ids(records: Sequence[Record]) -> list[str]:
    return [each.id for each in records]
