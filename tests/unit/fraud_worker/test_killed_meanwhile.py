"""Killed while rules, lists, models, labels and exceptions change: a worker goes on as if nothing had been.

The log has records of every kind. A worker is killed at many moments of it, some of them in the middle of a write, and
comes out as one that never was: the same verdicts, decisions, lists, labels and exceptions, and the same archive.
"""

import asyncio
import contextlib
import os
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.unit.edge.stand import until
from tests.unit.events.world import seeded
from tests.unit.fraud import trained
from tests.unit.fraud_worker.process import Process
from tests.unit.fraud_worker.test_embedded import document, ruled
from tests.unit.fraud_worker.test_lists import NAMES, empty
from tests.unit.fraud_worker.test_scores import FOREST, scored
from tests.unit.fraud_worker.world import CAMPAIGN, bearer, operator

from flywheel.fraud.archive import Archive
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import EngineState, make_engine
from flywheel.fraud.erasing import Erasure
from flywheel.fraud.journal import SUFFIX, Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.labels import Label
from flywheel.fraud.models import Models, digest_of
from flywheel.fraud.pardons import Pardon
from flywheel.fraud.policy import Ruled, Snooze
from flywheel.fraud.records import (
    Erased,
    ErasureStep,
    Events,
    Labelled,
    Lists,
    Model,
    Pardoned,
    Record,
    Removal,
    Rules,
)
from flywheel.fraud.records import encode as written
from flywheel.fraud.rule import Filter
from flywheel.fraud.rulings import Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event

LIVES, KILLS = 25, int(os.environ.get("KILLS", "5"))
SHARD = Shard(secret=b"s")
BAYES = digest_of(trained.file("bayes"))
NOW = int(time.time()) * 1000 - 600_000
"""A while ago: what arrives later than now is not believed."""
HOUR = 3_600_000


def rules(chance: random.Random) -> bytes:
    """Write rules that differ a little each time: limits, exemptions, snoozes, modes, models."""
    exempt = ((Filter(field="user", operator="Equals", values=(f"u-{chance.randrange(20)}",)),),)
    snooze = Snooze(key=(f"d-{chance.randrange(9)}",), until=NOW + chance.randrange(HOUR))
    by_device = ruled("device", "device", more_than=4, lists=NAMES, exempt=exempt, snoozes=(snooze,))
    by_visitor = ruled("visitor", "visitor", more_than=chance.choice([2, 3]), holdout=2_500,
                       mode=chance.choice(["Shadow", "Enforce"]))  # fmt: skip
    model: Ruled = scored("odd", chance.choice([FOREST, BAYES]))
    return document(by_device, by_visitor, model)


def events(chance: random.Random, at: int, number: int) -> tuple[Event, ...]:
    """Make a batch: a few people, devices and addresses, and features for the models."""
    rows, _ = trained.sample(20, number)
    return tuple(
        Event(
            id=f"m-{number}-{each}",
            name="Coupon Claimed",
            time=at + each - chance.randrange(50),
            arrived=at + each,
            address=f"192.0.2.{chance.randrange(40)}",
            visitor=f"v-{chance.randrange(20)}",
            user=f"u-{chance.randrange(20)}",
            fields={"device": f"d-{chance.randrange(9)}", **dict(zip(trained.FEATURES, map(float, row), strict=True))},
        )
        for each, row in enumerate(rows)
    )


def changed(chance: random.Random, at: int) -> Record:
    """Make a record of any kind but events, rules and removals."""
    person = f"{chance.randrange(20)}"
    match chance.randrange(6):
        case 0:
            return Model(chance.choice([FOREST, BAYES]))
        case 1:
            return empty(proxies=f"192.0.2.{chance.randrange(32)}", offices=f"192.0.2.{chance.randrange(32)}",
                         suspects=f"d-{chance.randrange(9)}", staff=f"u-{person}")  # fmt: skip
        case 2:
            said = chance.choice(["Dishonest", "Honest"])
            visitor = Label(kind="visitor", value=(f"v-{person}",), said=said, at=at)
            key = Label(kind="key", value=(f"d-{chance.randrange(9)}",), rule="device", said=said, at=at)
            return Labelled(CAMPAIGN, (visitor, key))
        case 3:
            kind, value = chance.choice([("user", f"u-{person}"), ("address", f"192.0.2.{person}/31")])
            until_then = chance.choice([0, at + HOUR])
            return Pardoned(CAMPAIGN, Pardon(kind=kind, value=value, until=until_then, reason="a friend"), at)
        case 4:
            return Erased(CAMPAIGN, Erasure(receipt="r" + person, at=at, visitors=(f"v-{person}",)))
        case _:
            return ErasureStep(CAMPAIGN, "r" + person, gone=chance.random() < 0.5)


@dataclass
class Log:
    """What a worker is told, and what one that was never killed makes of it."""

    seed: int
    models: Models
    records: list[Record] = field(default_factory=list)

    def __post_init__(self) -> None:
        chance, self.book = random.Random(self.seed), casebook(self.models)
        self.said: set[tuple[str, str, str]] = set()
        self._take(Rules(rules(chance)))
        for number in range(1, 60):
            at = NOW + number * 1_000
            self._take(Events(CAMPAIGN, "edge-0", number, pack(events(chance, at, number))))
            if chance.random() < 0.15:
                self._take(Rules(rules(chance)))
            for _ in range(chance.randrange(3)):
                self._take(changed(chance, at + 500))
            held = sorted(each.id for each in self.book.desk(CAMPAIGN).blocks)
            if held and chance.random() < 0.3:
                self._take(Removal(CAMPAIGN, chance.choice(held)))
        kinds = {type(each) for each in self.records}
        assert kinds == {Rules, Events, Lists, Model, Labelled, Pardoned, Removal, Erased, ErasureStep}

    def _take(self, record: Record) -> None:
        apply(self.book, record)
        self.said |= {(each.rule, each.version, each.event) for each in self.book.unfiled.next(10**6)}
        self.records.append(record)


def casebook(models: Models) -> Casebook:
    return Casebook(make_engine, SHARD, scorer=models.score)


def apply(book: Casebook, record: Record) -> None:
    for step in book.apply(record):
        if callable(step):
            step()


def known(book: Casebook) -> dict[str, Any]:
    """Give all that a worker knows."""
    desk = book.desk(CAMPAIGN)
    return {
        "events": desk.events,
        "verdicts": desk.verdicts,
        "digest": desk.digest,
        "decisions": sorted(desk.blocks, key=lambda each: each.id),
        "labels": desk.labels.dump(),
        "exceptions": desk.pardons.dump(),
        "erasures": desk.erasures.dump(),
        "lists": {of.source: each.digest for of, each in book.entries.items()},
        "models": list(book.models),
        "rules": book.generation,
        "windows": msgspec.msgpack.decode(desk.engine.snapshot(), type=EngineState),
    }


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    made = Models(tmp_path_factory.mktemp("volume") / "models")
    for kind, digest in (("forest", FOREST), ("bayes", BAYES)):
        made.keep(digest, trained.file(kind), (FOREST, BAYES))
    return made


class Life:
    """One process of a worker, from its start to its kill."""

    def __init__(self, directory: Path, models: Models) -> None:
        self.directory, self.book = directory, casebook(models)
        directory.mkdir(exist_ok=True)
        self.archive = Archive(directory / "verdicts.sqlite")
        self.journal = Journal(directory / "journal", segment_bytes=20_000)
        self.snapshots = Snapshots(directory / "snapshots")
        self.judging = Judging(self.book, self.journal, self.snapshots, lambda _: None)
        self.judging.recover()

    def take(self, record: Record) -> None:
        self.journal.append([written(record)])
        apply(self.book, record)

    def cover(self) -> None:
        """Write a snapshot, as a worker does from time to time."""
        self.snapshots.write(self.journal.position, written(self.book.snapshot(self.journal.position)))
        self.journal.forget(self.snapshots.forget())

    def file(self, most: int) -> None:
        """Bring some verdicts to the archive."""
        some = self.book.unfiled.next(most)
        self.archive.file(some)
        self.book.unfiled.done(len(some))

    def is_killed(self, chance: random.Random, following: Record) -> None:
        """End in the middle of the next record, or of a snapshot."""
        self.journal.close()
        self.archive.close()
        if chance.random() < 0.5:
            data = written(following)
            newest = max((self.directory / "journal").glob(f"*{SUFFIX}"))
            with newest.open("ab") as file:
                file.write(len(data).to_bytes(4, "little") + data[: chance.randrange(len(data))])
        if chance.random() < 0.3:
            (self.directory / "snapshots" / "7.new").write_bytes(b"half of one")


def test_killed_at_fifty_moments_while_everything_changes(tmp_path: Path, models: Models) -> None:
    log = Log(618, models)
    expected = known(log.book)
    assert len(expected["decisions"]) > 3
    assert expected["labels"]
    assert len(log.said) > 100
    chance = seeded(50)
    for number in range(LIVES):
        directory = tmp_path / str(number)
        life = Life(directory, models)
        for at in sorted(chance.sample(range(1, len(log.records)), 2)):
            for record in log.records[life.journal.position : at]:
                life.take(record)
                if chance.random() < 0.1:
                    life.cover()
                if chance.random() < 0.3:
                    life.file(chance.randrange(1, 40))
            life.is_killed(chance, log.records[at])
            life = Life(directory, models)
            assert life.journal.position == at, f"life {number}: what was acknowledged is there"
        for record in log.records[life.journal.position :]:
            life.take(record)
        life.file(10**6)
        found = known(life.book)
        assert {name: found[name] == each for name, each in expected.items()} == dict.fromkeys(expected, True), number
        kept = [(each.rule, each.version, each.event) for each in life.archive.latest(CAMPAIGN, 10**6)]
        assert len(kept) == len(set(kept))
        assert set(kept) == log.said, f"life {number}: each verdict is kept, and once"
        life.is_killed(chance, log.records[0])


async def test_a_process_that_is_killed_while_it_is_told_of_everything(tmp_path: Path, models: Models) -> None:
    log, chance = Log(619, models), seeded(19)
    by_hand = Removal | Erased | ErasureStep | Pardoned | Model
    first, *others = [each for each in log.records if not isinstance(each, by_hand)]
    # It knows its models from before: how long it takes to try one is no matter of this test.
    records = [Model(FOREST), Model(BAYES), first, *others]
    journal, kept = Journal(tmp_path / "volume/journal"), Models(tmp_path / "volume/models")
    journal.append([written(each) for each in records[:2]])
    journal.close()
    for kind, digest in (("forest", FOREST), ("bayes", BAYES)):
        kept.keep(digest, trained.file(kind), (FOREST, BAYES))
    worker = Process(tmp_path, "flywheel.fraud.embedded:make_engine")
    (tmp_path / "rules.json").write_bytes(first.text)
    await worker.start()
    await until(worker.is_ready, "the worker is there", 600)
    over = asyncio.Event()

    async def kill() -> None:
        for _ in range(KILLS):
            await asyncio.sleep(chance.uniform(0.05, 0.6))
            await worker.kill()
            await worker.start()
            await until(worker.is_ready, "the worker is back", 600)
        over.set()

    async with aiohttp.ClientSession() as session:
        killing = asyncio.create_task(kill())
        for number, record in enumerate(records[3:]):
            if isinstance(record, Rules):
                # The volume follows: a process that begins anew reads its rules there.
                (tmp_path / "rules.new").write_bytes(record.text)
                (tmp_path / "rules.new").replace(tmp_path / "rules.json")
            await told(session, worker, record)
            if number > len(records) * 0.8:
                # The last ones are for when it is over.
                await over.wait()
        await killing
        state = await worker.state()
    await worker.kill()
    book = casebook(models)
    for record in records:
        apply(book, record)
    desk = book.desk(CAMPAIGN)
    campaign = state["campaigns"][CAMPAIGN]
    assert (campaign["events"], campaign["verdicts"]) == (desk.events, desk.verdicts)
    assert {each["source"]: each["digest"] for each in state["lists"]} == {
        of.source: each.digest for of, each in book.entries.items()
    }
    assert set(state["models"]) == set(book.models)
    assert desk.verdicts > 100


async def told(session: aiohttp.ClientSession, worker: Process, record: Record) -> None:
    """Tell a worker of something as those do whose business it is: again, until it is taken."""
    method, url, options = asked(worker, record)

    async def is_taken() -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with session.request(method, url, **options) as answer:
                assert answer.status in (200, 503), await answer.text()
                return answer.status == 200
        return False

    await until(is_taken, f"{type(record).__name__} is taken", 600)


def asked(worker: Process, record: Record) -> tuple[str, str, dict[str, Any]]:
    """Give the request that makes a record."""
    match record:
        case Events():
            headers = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"{record.sender}/{record.number}"}
            return "POST", f"{worker.url}/v1/fraud/events", {"data": encode(record.batch), "headers": headers}
        case Rules():
            return "PUT", f"{worker.url}/v1/fraud/rules", {"data": record.text, "headers": operator()}
        case Lists():
            return "PUT", f"{worker.url}/v1/fraud/lists", {"data": written(record), "headers": operator()}
        case Labelled():
            labels = [
                {each.kind: list(each.value) if each.kind == "key" else each.value[0], "label": each.said}
                | ({"rule": each.rule} if each.rule else {})
                for each in record.labels
            ]
            return "POST", f"{worker.admin}/labels", {"json": {"campaign": CAMPAIGN, "labels": labels}}
        case _:
            raise AssertionError(record)
