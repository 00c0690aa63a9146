"""The whole way: a worker, Kafka, the rule's SQL in real Flink, Kafka, and back to the worker.

Beside it the worker judges by the same rule itself: both find the same.
"""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from tests.unit.edge.stand import until
from tests.unit.fraud_kafka.broker import Broker, broker
from tests.unit.fraud_kafka.shop import PATIENCE, Shop, judged_by_flink, many, send, shop, visits
from tests.unit.fraud_worker.world import CAMPAIGN, NAMESPACE
from tools.bootstrap.maven import ensure_kafka_jars
from tools.bootstrap.peers import ensure_flink_python

from flywheel.events.rows import EventRow
from flywheel.fraud.archive import Archive
from flywheel.fraud.blocks import STEP
from flywheel.fraud.flink_sql import Connection, statements
from flywheel.fraud.flink_topics import Topics
from flywheel.fraud.kafka import Kafka, flink_properties
from flywheel.fraud.policy import Ruled
from flywheel.fraud.rule import Distinct, Match, Rule
from flywheel.fraud.verdicts import Kept

SERVER = Path(__file__).parents[1] / "fraud_flink/flink_server.py"
FLINK_PATIENCE = 400.0
MINUTE = 60_000
"""Milliseconds. What is said to come later than now would count as of now."""
SETTINGS = {"parallelism.default": "1", "execution.checkpointing.interval": "1 s"}


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Broker]:
    with broker(tmp_path / "kafka") as made:
        yield made


def accounts(name: str) -> Rule:
    return Rule(
        name=name,
        match=Match(events=("Coupon Claimed",)),
        key=("addressPrefix",),
        window=60_000,
        conditions=(Distinct(field="user", more_than=4),),
        lateness=5000,
    )


def sources(rule: Rule, site: Shop) -> list[str]:
    """The rule's SQL as the operator writes it, but that it reads what was there before it."""
    kafka = Kafka(site.broker.login_servers, site.prefix, "SASL_PLAINTEXT", "PLAIN", "login")
    properties = flink_properties(kafka, str(site.directory / "credentials"))
    topics = Topics(kafka.servers, NAMESPACE, CAMPAIGN, kafka.prefix, properties)
    source = topics.source(rule.name)
    options = {**dict(source.options), "properties.auto.offset.reset": "earliest"}
    return list(statements(rule, Connection(tuple(options.items()), source.lane, source.place), topics.sink()))


@contextlib.contextmanager
def flink(directory: Path, *rules: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run rules without end."""
    [connector] = ensure_kafka_jars().glob("flink-sql-connector-kafka-*.jar")
    with (directory / "flink.log").open("wb") as log:
        process = subprocess.Popen(
            [ensure_flink_python(), SERVER, f"--jar={connector}"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            text=True,
            # It is killed at the end, and what it has unpacked must not stay for good.
            env={**os.environ, "TMPDIR": str(directory)},
        )
    assert process.stdin is not None
    try:
        for number, each in enumerate(rules):
            process.stdin.write(json.dumps({"name": str(number), "statements": each, "settings": SETTINGS}) + "\n")
        process.stdin.flush()
        yield process
    finally:
        # Java ends with whoever started it.
        process.kill()
        process.communicate()


def later(given: list[tuple[EventRow, str]]) -> list[tuple[EventRow, str]]:
    """Events of others, two minutes later: by these Flink knows that the ones before are all there."""
    last = given[-1][0].ingest_time + 2 * MINUTE
    return [
        (
            msgspec.structs.replace(row, message_id=f"later-{n}", time=last, original_time=last, ingest_time=last),
            f"203.0.{n}.1",
        )
        for n, (row, _) in enumerate(given[:40])
    ]


def found(kept: list[Kept], rule: str) -> list[tuple[object, ...]]:
    return sorted(
        (each.event, each.at, each.key, each.observed, each.limit, each.since, each.visitor, each.user)
        for each in kept
        if each.rule == rule
    )


async def test_flink_finds_what_the_worker_finds(tmp_path: Path, kafka: Broker):
    rules = [many("in-flink"), accounts("accounts-in-flink"), many("here"), accounts("accounts-here")]
    given = [judged_by_flink(each) for each in rules[:2]]
    given += [Ruled(rule=each, policy=given[0].policy, generation=1) for each in rules[2:]]
    login = {"servers": kafka.login_servers, "security": "SASL_PLAINTEXT", "mechanism": "PLAIN", "secret": "login"}
    async with shop(tmp_path / "site", kafka, *given, **login) as site, site.edge() as edge:
        events = list(islice(visits(8, round(time.time() * 1000) - 3 * MINUTE), 400))
        send(edge, events)

        async def are_there() -> bool:
            return bool((await site.kafka()).get("published", 0) >= len(events))

        await until(are_there, "all events are in Kafka", PATIENCE)
        with flink(tmp_path, *(sources(rule, site) for rule in rules[:2])) as process:
            send(edge, later(events))
            own = {each["rule"]: each["hits"] for each in (await site.state())["rules"]}
            assert min(own["here"], own["accounts-here"]) > 50

            async def are_equal() -> bool:
                assert process.poll() is None, (tmp_path / "flink.log").read_text()[-5000:]
                hits = {each["rule"]: each["hits"] for each in (await site.state())["rules"]}
                return bool(hits["in-flink"] == own["here"] and hits["accounts-in-flink"] == own["accounts-here"])

            await until(are_equal, "as many are found in Flink as here", FLINK_PATIENCE)
        assert (await site.kafka())["refused"] == 0
        held: dict[str, dict[tuple[str, str], int]] = {rule.name: {} for rule in rules}
        for each in await site.decisions():
            held[each["rule"]][each["kind"], each["value"]] = each["until"]
        assert held["here"]
        for one, other in (("in-flink", "here"), ("accounts-in-flink", "accounts-here")):
            assert held[one].keys() == held[other].keys()
            # An end that is hardly later is none, whoever comes first.
            assert all(abs(until - held[other][subject]) <= STEP for subject, until in held[one].items())
        assert await site.stop() == 0
    archive = Archive(tmp_path / "site/volume/verdicts.sqlite")
    kept = archive.latest(CAMPAIGN, 10**6)
    archive.close()
    assert found(kept, "in-flink") == found(kept, "here")
    assert found(kept, "accounts-in-flink") == found(kept, "accounts-here")
