"""Workers as processes of their own whose number changes: nothing that was counted is lost, whoever is killed."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from tests.ports import free_port
from tests.unit.edge.stand import until
from tests.unit.fraud_worker.test_embedded import BEGAN, document, ruled
from tests.unit.fraud_worker.test_killed import Process
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, bearer, operator, token

from flywheel.fraud import records
from flywheel.fraud.archive import Archive
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.moving import exhaust
from flywheel.fraud.peers import Layout, Peers, Unanswered
from flywheel.fraud.records import Events, Rules
from flywheel.fraud.rulings import Ruling, Shard
from flywheel.fraud.words import Event

DEADLINE = 240.0
"""Seconds: a machine may be slow, and compiles."""
RULES = document(ruled("users", "user", more_than=9), ruled("visitors", "visitor", more_than=14))
USERS, VISITORS = 40, 25
Told = set[tuple[str, str, float]]


class Member(Process):
    """One of several workers."""

    def __init__(self, directory: Path, number: int, ports: Sequence[int]) -> None:
        directory.mkdir()
        super().__init__(directory, "flywheel.fraud.embedded:make_engine")
        (directory / "rules.json").write_bytes(RULES)
        (directory / "worker-token").write_text(token("flywheel-fraud"))
        self.number, self.port = number, ports[number]
        self.peers = tuple(f"http://127.0.0.1:{port}" for port in ports)
        self.batches = 0

    async def begin(self, shards: int, **environment: str) -> None:
        arguments = ("-m", "tests.unit.fraud_worker.worker_process", str(self.directory), str(self.port), *self.engine)
        given = {"SHARD": str(self.number), "SHARDS": str(shards), "PEERS": ",".join(self.peers), "PATIENCE": "1e9"}
        with (self.directory / "log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, *arguments, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": "operator:.", **given, **environment},
            )  # fmt: skip

    async def told(self) -> dict[str, Any]:
        """What it tells the operator; nothing while it does not listen."""
        assert self.process
        assert self.process.returncode is None, (self.directory / "log").read_text()
        try:
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{self.url}/v1/fraud/state", headers=operator()) as response,
            ):
                found: dict[str, Any] = await response.json()
                return found
        except aiohttp.ClientError:
            return {}

    async def is_one_of(self, shards: int) -> None:
        async def is_so() -> bool:
            told = await self.told()
            return bool(told) and told["ready"] and told["shards"] == shards and not told["takingOver"]

        await until(is_so, f"worker {self.number} is one of {shards}", DEADLINE)

    async def take(self, session: aiohttp.ClientSession, events: Sequence[Event], workers: int) -> None:
        """Have events judged, as a sidecar does: again and again, until they are taken."""
        self.batches += 1
        headers = {
            "Authorization": f"Bearer {token()}",
            "X-Flywheel-Batch": f"edge-0-to-{self.number}/{self.batches}",
            "X-Flywheel-Workers": str(workers),
        }

        async def is_taken() -> bool:
            try:
                url = f"{self.url}/v1/fraud/events"
                async with session.post(url, data=encode(pack(events)), headers=headers) as response:
                    assert response.status in (200, 503), await response.text()
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await until(is_taken, "events are taken", DEADLINE)

    async def moved(self, session: aiohttp.ClientSession, question: str, account: str = "flywheel-fraud") -> int:
        async with session.get(f"{self.url}/v1/fraud/moved{question}", headers=bearer(account)) as response:
            return response.status

    def verdicts(self) -> Told:
        archive = Archive(self.directory / "volume/verdicts.sqlite")
        found = {(each.rule, each.event, each.observed) for each in archive.latest(CAMPAIGN, 10**6)}
        archive.close()
        return found


def claims(chance: random.Random, start: int, count: int) -> list[Event]:
    return [
        Event(
            id=f"m-{number}",
            name="Coupon Claimed",
            time=BEGAN + number * 5,
            arrived=BEGAN + number * 5,
            user=f"u{chance.randrange(USERS)}",
            visitor=f"v{chance.randrange(VISITORS)}",
        )
        for number in range(start, start + count)
    ]


def expected(events: Sequence[Event]) -> Told:
    """What one worker says that has judged all of them."""
    said: Told = set()

    def note(_campaign: str, ruling: Ruling) -> None:
        said.add((ruling.verdict.rule, ruling.verdict.event, ruling.verdict.observed))

    book = Casebook(make_engine, Shard(secret=b"another"), note)
    exhaust(book.apply(Rules(RULES)))
    exhaust(book.apply(Events(CAMPAIGN, "a", 1, pack(events))))
    return said


@pytest_asyncio.fixture
async def pair(tmp_path: Path) -> AsyncIterator[tuple[Member, Member]]:
    # What is compiled once is there for every process.
    compile_once()
    ports = (free_port(), free_port())
    members = Member(tmp_path / "0", 0, ports), Member(tmp_path / "1", 1, ports)
    yield members
    for each in members:
        if each.process and each.process.returncode is None:
            await each.kill()


async def test_a_second_worker_takes_keys_over_and_gives_them_back_and_nothing_that_was_counted_is_lost(
    pair: tuple[Member, Member],
) -> None:
    first, second = pair
    chance = random.Random(618)
    events = claims(chance, 0, 1100)
    async with aiohttp.ClientSession() as session:
        await first.begin(1)
        await first.is_one_of(1)
        # Nobody has broken a rule yet: all that follows hangs on what moves.
        await first.take(session, events[:300], workers=1)
        await second.begin(2)

        async def is_taking_over() -> bool:
            return (await second.told()).get("takingOver", False)

        await until(is_taking_over, "the second takes keys over", DEADLINE)
        assert not (await second.told())["ready"]
        assert (await second.told())["shards"] == 2
        assert await first.moved(session, "?shard=1&of=2") == 409, "the edge does not send to the second yet"
        # It takes what comes, though nobody is told anything by it.
        await second.take(session, events[300:350], workers=2)
        await second.kill()
        await second.begin(2)
        await first.take(session, events[300:350], workers=2)
        for start in range(350, 500, 10):
            await second.take(session, events[start : start + 10], workers=2)
            await first.take(session, events[start : start + 10], workers=2)
            if start == 400:
                await second.kill()
                await second.begin(2)
            if start == 430:
                await first.kill()
                await first.begin(1)
        await second.is_one_of(2)
        # As a StatefulSet does: then the old one gets the number of shards.
        await first.kill()
        await first.begin(2)
        await first.is_one_of(2)
        for start in range(500, 800, 50):
            await first.take(session, events[start : start + 50], workers=2)
            await second.take(session, events[start : start + 50], workers=2)
        apart = {each.id for each in events[500:800]}
        of_both = await verdicts(first, second, expected(events[:800]))
        assert not {each for each in of_both[0] & of_both[1] if each[1] in apart}, "each has its own keys"
        assert all({each[1] for each in found} & apart for found in of_both)
        # And back: the one that goes is told so, and goes on until the other has its keys.
        for each in (second, first):
            await each.kill()
            await each.begin(1)
        await second.take(session, events[800:900], workers=2)
        await first.take(session, events[800:850], workers=2)
        await first.kill()
        await first.begin(1)
        await first.take(session, events[850:900], workers=2)
        await first.is_one_of(1)
        await second.kill()
        await first.take(session, events[900:], workers=1)
        await verdicts(first, second, expected(events))
        assert "are lost" not in (first.directory / "log").read_text() + (second.directory / "log").read_text()


async def verdicts(first: Member, second: Member, wanted: Told) -> tuple[Told, Told]:
    """Wait until two workers have filed what is wanted, and give what each has; no more than that is there."""
    await until(lambda: first.verdicts() | second.verdicts() >= wanted, "all verdicts are kept", DEADLINE)
    found = first.verdicts(), second.verdicts()
    assert found[0] | found[1] == wanted
    assert wanted
    return found


async def test_a_worker_whose_source_never_answers_begins_with_empty_windows_and_says_so(
    pair: tuple[Member, Member],
) -> None:
    first, second = pair
    await first.begin(1)
    await first.is_one_of(1)
    async with aiohttp.ClientSession() as session:
        # The secret is there; then nobody is.
        await first.take(session, claims(random.Random(1), 0, 10), workers=1)
        await second.begin(2, TAKE_OVER_SECONDS="0")
        await second.is_one_of(2)
        assert (await second.told())["warming"] == [0]
        assert "have not given their keys within 0 s" in (second.directory / "log").read_text()
        names = [(each.directory / "volume/pass-key") for each in pair]
        assert names[0].read_text() == names[1].read_text()
        assert names[1].stat().st_mode & 0o777 == 0o600


async def test_only_workers_get_the_secret_and_keys_and_only_for_questions_that_make_sense(
    pair: tuple[Member, Member],
) -> None:
    first, _ = pair
    await first.begin(2)
    await first.is_one_of(2)
    async with aiohttp.ClientSession() as session:
        for path in ("kin", "layout", "moved?shard=1&of=3"):
            for headers, status in (({}, 401), (bearer("prizes"), 403), (bearer(f"{CAMPAIGN}-edge"), 403)):
                async with session.get(f"{first.url}/v1/fraud/{path}", headers=headers) as response:
                    assert response.status == status, path
                    assert "key" not in await response.json()
        other = {"Authorization": f"Bearer {KEYS.token('flywheel-fraud', namespace='elsewhere')}"}
        async with session.get(f"{first.url}/v1/fraud/kin", headers=other) as response:
            assert response.status == 403, "of another namespace"
        wrong = ("", "?shard=1", "?of=2", "?shard=1&of=0", "?shard=1&of=65", "?shard=2&of=2", "?shard=-1&of=2")
        wrong += ("?shard=one&of=2", "?shard=1&of=2.0", "?shard=0&of=3", "?shard=99999999&of=3")
        assert {each: await first.moved(session, each) for each in wrong} == dict.fromkeys(wrong, 400)
        assert await first.moved(session, "?shard=1&of=2") == 204, "nothing moves from one of two to another of two"
        headers = bearer(f"{CAMPAIGN}-edge") | {"X-Flywheel-Batch": "edge-0/1"}
        for workers in ("", "0", "65", "-1", "two", "²"):
            said = headers | {"X-Flywheel-Workers": workers}
            async with session.post(f"{first.url}/v1/fraud/events", data=encode(pack([])), headers=said) as response:
                assert response.status == 400, workers
                assert (await response.json())["error"] == "bad_workers"
    peers = Peers((first.url, "http://127.0.0.1:1"), first.directory / "worker-token")
    name, key = await peers.key(0)
    assert (len(name), len(key)) == (12, 32)
    assert await peers.layout(0) == Layout(0, 2, taking_over=False)
    with pytest.raises(Unanswered, match="does not answer"):
        await peers.key(1)
    (first.directory / "worker-token").unlink()
    with pytest.raises(Unanswered, match="no token"):
        await Peers((first.url,), first.directory / "worker-token").layout(0)
    await peers.close()


def test_a_batch_of_an_older_version_says_that_its_sender_serves_one_worker() -> None:
    fields = msgspec.msgpack.decode(records.encode(Events(CAMPAIGN, "a", 1, pack([]), workers=3)))
    read = records.read_record(msgspec.msgpack.encode(fields[:-1]))
    assert isinstance(read, Events)
    assert read.workers == 1
