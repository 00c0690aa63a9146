"""From an event at the edge to the attacker's next request that is refused, and how fast a worker answers questions.

HAProxy, agent, ingestion, link and worker are the real ones; the worker is a process of its own with its journal on
disk, the engine the small one of the tests: what is measured is the path, not the rules. The attacker asks again and
again on an open connection; the figure is from sending the event that is one too many to the first refusal.
"""

import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

import aiohttp
from tests.bench.rows import Row, median, percentile
from tests.unit.edge.stand import Connection, until
from tests.unit.events.world import as_json
from tests.unit.fraud_worker.process import Process
from tests.unit.fraud_worker.small_engine import rule
from tests.unit.fraud_worker.world import CAMPAIGN, KEY, Pod, bearer, pod, shop

from flywheel.events.rows import EventRow
from flywheel.fraud.journal import SEGMENT_BYTES
from flywheel.fraud.sending import Meters, Sending, Token

ATTACKS, QUESTIONS, MANY = 300, 5_000, 90_000
TARGET, QUESTION_TARGET = 0.1, 0.005
LOAD = 2_000
"""Events a second that honest visitors send meanwhile."""
RULES = [rule(moreThan=2), rule("fill", event="Fill", moreThan=0)]


def measure() -> list[Row]:
    """Measure with few decisions and with many."""
    with tempfile.TemporaryDirectory(prefix="flywheel-fraud-") as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> list[Row]:
    os.environ |= {"SNAPSHOT_EVERY": "10", "SEGMENT_BYTES": str(SEGMENT_BYTES)}
    worker = Process(directory)
    (directory / "rules.json").write_text(json.dumps({CAMPAIGN: RULES}))
    await worker.start()
    await until(worker.is_ready, "the worker is there")
    try:
        async with pod(directory, shop(worker.url)) as edge, aiohttp.ClientSession() as session:
            few = await _attacks(edge, "127.1")
            meters = Meters()
            sending = Sending(worker.url, "bench", Token(directory / "token"), session, meters, room=10**9)
            task = asyncio.create_task(sending.run())
            plain = await _fill(sending, meters, worker.url, "Page Seen")
            rate = await _fill(sending, meters, worker.url, "Fill")
            await until(lambda: len(edge.edge.enforcer.maps) >= MANY, "the edge has all decisions", 120)
            load = asyncio.create_task(_load(sending))
            many = await _attacks(edge, "127.2")
            questions = sorted(await _questions(session, worker.url))
            for each in (load, task):
                each.cancel()
    finally:
        await worker.kill()
    loaded = f"{MANY:,} decisions, {LOAD:,} events/s beside"
    return [
        Row("fraud: event at the edge to refused request, p50", median(few) * 1000, "ms"),
        Row("fraud: event at the edge to refused request, p99", percentile(few, 0.99) * 1000, "ms", TARGET * 1000),
        Row(f"fraud: the same, {loaded}, p50", median(many) * 1000, "ms"),
        Row(f"fraud: the same, {loaded}, p99", percentile(many, 0.99) * 1000, "ms", TARGET * 1000),
        Row("fraud: events into the worker, none a decision", plain, "events/s", better="higher"),
        Row("fraud: events into the worker, each a decision", rate, "events/s", better="higher"),
        Row("fraud: check API, p50", median(questions) * 1000, "ms"),
        Row("fraud: check API, p99", percentile(questions, 0.99) * 1000, "ms", QUESTION_TARGET * 1000),
    ]


async def _attacks(edge: Pod, prefix: str) -> list[float]:
    return [await _attack(edge, f"{prefix}.{number // 250}.{1 + number % 250}", number) for number in range(ATTACKS)]


async def _attack(edge: Pod, address: str, number: int) -> float:
    connection = await edge.edge.connect(source=address)
    events = [
        {"type": "track", "event": "Coupon Claimed", "messageId": f"{address}-{each}", "anonymousId": f"a-{number}"}
        for each in range(3)
    ]
    body = as_json({"batch": events, "writeKey": KEY})
    began = time.perf_counter()
    assert (await connection.ask("/v1/batch", method="POST", body=body)).status == 200
    taken = await _until_refused(connection, began)
    connection.close()
    edge.edge.connections.remove(connection)
    return taken


async def _until_refused(connection: Connection, began: float) -> float:
    while (await connection.ask("/coupon")).status != 403:
        assert time.perf_counter() - began < 10
        await asyncio.sleep(0.002)
    return time.perf_counter() - began


def _row(number: int, event: str) -> EventRow:
    now = int(time.time() * 1000)
    return EventRow(
        message_id=f"{event}-{number}", type="track", event=event, time=now, original_time=now, ingest_time=now,
        visitor=f"v-{number % 5_000}", expires_at=0, properties='{"amount": 12.5, "coupon": "c-1"}',
    )  # fmt: skip


async def _fill(sending: Sending, meters: Meters, url: str, event: str) -> float:
    """Send many events; give how many a second that was."""
    before = meters.sent.values.get((url,), 0)
    began = time.perf_counter()
    for number in range(MANY):
        sending.note([_row(number, event)], f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        if number % 500 == 0:
            await asyncio.sleep(0)
    await until(lambda: meters.sent.values.get((url,), 0) >= before + MANY, "all is judged", 120)
    return MANY / (time.perf_counter() - began)


async def _load(sending: Sending) -> None:
    number = 0
    while True:
        for _ in range(LOAD // 100):
            number += 1
            sending.note([_row(number, "Page Seen")], f"192.0.2.{number % 250}")
        await asyncio.sleep(0.01)


async def _questions(session: aiohttp.ClientSession, url: str) -> list[float]:
    taken = []
    headers = bearer()
    for number in range(QUESTIONS):
        body = {"campaign": CAMPAIGN, "address": f"10.0.{number >> 8 & 255}.{number & 255}", "visitor": "v-1"}
        began = time.perf_counter()
        async with session.post(f"{url}/v1/fraud/check", json=body, headers=headers) as response:
            assert (await response.json())["verdict"] == "Block"
        taken.append(time.perf_counter() - began)
    return taken
