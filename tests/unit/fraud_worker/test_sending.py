"""Events on their way to the workers: at once, in order, once, bounded, and never in the way of ingestion."""

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.unit.edge.stand import until
from tests.unit.events.process import Sidecar
from tests.unit.events.world import KEY, as_json, document, event_row, track

from flywheel.edge.document import Fraud, encode
from flywheel.events.rows import EventRow
from flywheel.fraud import feed, sending
from flywheel.fraud.checking import read
from flywheel.fraud.from_row import event_of
from flywheel.fraud.link import Link
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.sending import Meters, Sending, Token
from flywheel.fraud.words import Event

DEEP = {"b": {"c": {"d": 1}, "x": 1}}


class Stub:
    """Takes batches as a worker does, and fails as it is told to."""

    def __init__(self) -> None:
        self.port = free_port()
        self.batches: list[tuple[str, list[Event]]] = []
        self.tokens: list[str] = []
        self.lost: list[str] = []
        self.answers: list[int] = []
        self.arrived = 0
        self.hold = asyncio.Event()
        self.hold.set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def events(self) -> list[str]:
        return [event.id for _, events in self.batches for event in events]

    async def start(self) -> None:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/v1/fraud/events", self._take)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def stop(self) -> None:
        self.hold.set()
        if self._runner:
            await self._runner.cleanup()

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.arrived += 1
        await self.hold.wait()
        if self.answers and (status := self.answers.pop(0)) != 200:
            return web.Response(status=status)
        self.lost.append(request.headers["X-Flywheel-Lost"])
        self.tokens.append(request.headers["Authorization"])
        events = [*Packed(Reading(read(body)))]
        self.batches.append((request.headers["X-Flywheel-Batch"], events))
        return web.json_response({"judged": len(events)})


@pytest.fixture
async def stub():
    made = Stub()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sent(stub: Stub, tmp_path: Path):
    (tmp_path / "token").write_text("token\n")
    async with aiohttp.ClientSession() as session:
        made = Sending(stub.url, "edge-0", Token(tmp_path / "token"), session, Meters(), room=1_000)
        task = asyncio.create_task(made.run())
        yield made
        task.cancel()


def meters(made: Sending) -> Meters:
    return made._meters


async def test_an_event_goes_without_waiting_for_more_and_many_go_together(stub: Stub, sent: Sending):
    sent.note([event_row(0)], "192.0.2.1")
    await until(lambda: len(stub.batches) == 1, "the event is there")
    sent.note([event_row(each) for each in range(1, 601)], "192.0.2.2")
    await until(lambda: len(stub.events()) == 601, "all are there")
    assert stub.events() == [f"m-{each}" for each in range(601)]
    assert len(stub.batches) <= 3
    assert stub.tokens[0] == "Bearer token"
    numbers = [int(name.partition("/")[2]) for name, _ in stub.batches]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len({name.partition("/")[0] for name, _ in stub.batches}) == 1


async def test_a_batch_keeps_its_number_until_it_is_taken(stub: Stub, sent: Sending):
    stub.answers = [503, 429, 401, 500]
    sent.note([event_row(0)], "192.0.2.1")
    await until(lambda: len(stub.batches) == 1, "the event is there")
    assert stub.batches[0][0].endswith("/1")
    assert meters(sent).failures.values == {(stub.url,): 4.0}
    stub.answers = [400]
    sent.note([event_row(1)], "192.0.2.1")
    await until(lambda: meters(sent).dropped.values == {(stub.url, "rejected"): 1.0}, "the event is given up")
    sent.note([event_row(2)], "192.0.2.1")
    await until(lambda: len(stub.batches) == 2, "the next event is there")
    assert stub.batches[1][0].endswith("/3")
    assert stub.lost == ["0", "1"], "what it could not read"


async def test_what_waits_is_bounded_the_oldest_go_and_are_counted(stub: Stub, sent: Sending):
    stub.hold.clear()
    sent.note([event_row(0)], "192.0.2.1")
    await until(lambda: stub.arrived == 1, "the first is on its way")
    for each in range(1, 3_001):
        sent.note([event_row(each)], "192.0.2.1")
    assert meters(sent).dropped.values == {(stub.url, "full"): 2_000.0}
    assert meters(sent).waiting.values == {(stub.url,): 1_000.0}
    stub.hold.set()
    await until(lambda: len(stub.events()) == 1_001, "the rest is there")
    assert stub.events() == ["m-0", *(f"m-{each}" for each in range(2_001, 3_001))]
    assert meters(sent).sent.values == {(stub.url,): 1_001.0}
    sent.note([event_row(9_999)], "192.0.2.1")
    await until(lambda: len(stub.events()) == 1_002, "one more")
    assert sum(map(int, stub.lost)) == 2_000, "the worker is told once how many it never gets"


async def test_every_worker_gets_every_event_and_one_that_hangs_holds_up_no_other(stub: Stub, tmp_path: Path):
    (tmp_path / "token").write_text("token")
    other, told = Stub(), Meters()
    await other.start()
    other.hold.clear()

    async def take(_worker: str, _line: object) -> None:
        pass

    link = Link("edge-0", tmp_path / "token", take, told)
    task = asyncio.create_task(link.run())
    link.use_workers((stub.url, other.url))
    await until(lambda: len(link._sending) == 2, "both are known")
    for each in range(50):
        link.note([event_row(each)], "192.0.2.1")
        await asyncio.sleep(0.002)
    await until(lambda: len(stub.events()) == 50, "one has all")
    assert other.events() == []
    other.hold.set()
    await until(lambda: len(other.events()) == 50, "the other has all, too")
    link.use_workers((stub.url,))
    await until(lambda: len(link._sending) == 1, "the other is left")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await other.stop()


async def test_trouble_is_told_once_it_lasts(stub: Stub, sent: Sending, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sending, "PATIENCE", 0.2)
    stub.answers = [503] * 10_000
    sent.note([event_row(0)], "192.0.2.1")
    assert sent.trouble() is None
    await until(lambda: "HTTP 503" in (sent.trouble() or ""), "the trouble is told")
    stub.answers.clear()
    await until(lambda: sent.trouble() is None, "it is over")


async def test_the_sidecar_streams_what_it_takes_in_with_an_address_that_it_does_not_keep(stub: Stub, tmp_path: Path):
    process = Sidecar(tmp_path, "http://127.0.0.1:1")
    given = msgspec.structs.replace(document(store="http://127.0.0.1:1"), fraud=Fraud(workers=(stub.url,)))
    (tmp_path / "document" / "edge.json").write_text(encode(given))
    await process.start()
    await process.listening()
    async with aiohttp.ClientSession() as session:
        url, headers = f"http://127.0.0.1:{process.collect}/v1/batch", {"X-FW-Address": "192.0.2.77"}

        async def send(*events: dict[str, Any]) -> None:
            body = as_json({"batch": list(events), "writeKey": KEY})
            async with session.post(url, data=body, headers=headers) as response:
                assert response.status == 200

        await send(track(1))
        await until(lambda: stub.events() == ["m-1"], "the event is there")
        # A worker that hangs is no business of those who send.
        stub.hold.clear()
        for each in range(2, 40):
            await send(track(each), track(1))
        assert stub.events() == ["m-1"]
        stub.hold.set()
        await until(lambda: len(stub.events()) == 39, "all are there, each once")
        async with session.get(f"http://127.0.0.1:{process.own}/metrics") as response:
            text = await response.text()
    assert f'flywheel_fraud_events_sent_total{{campaign="spring",namespace="shop",worker="{stub.url}"}} 39.0' in text
    assert {event.address for _, events in stub.batches for event in events} == {"192.0.2.77"}
    kept = b"".join(each.read_bytes() for each in (tmp_path / "spool").rglob("*.ndjson"))
    assert b"m-39" in kept
    assert b"192.0.2.77" not in kept
    await process.kill()


def test_an_event_has_flat_typed_fields_and_no_more_than_three_levels():
    row = EventRow(
        message_id="m", type="track", event="Coupon Claimed", time=2, original_time=1, ingest_time=3, visitor="v",
        user_id="u", path="/coupon", order_id="o", revenue=12.5, bot=True, user_agent="curl", address="hash",
        properties=json.dumps({"amount": 5, "ok": True, "list": [1], "none": None, "a": DEEP}),
        context=json.dumps({"device": {"id": "d-1"}, "huge": 10**400}), expires_at=0,
    )  # fmt: skip
    found = event_of(row, "192.0.2.1")
    assert (found.id, found.name, found.time, found.arrived) == ("m", "Coupon Claimed", 2, 3)
    assert (found.address, found.visitor, found.user) == ("192.0.2.1", "v", "u")
    fields = dict(found.fields)
    assert fields.pop("context.huge") == float("inf")
    assert fields == {
        "path": "/coupon", "orderId": "o", "userAgent": "curl", "source": "library", "revenue": 12.5, "bot": True,
        "properties.amount": 5.0, "properties.ok": True, "properties.a.b.x": 1.0, "context.device.id": "d-1",
        "device": "d-1",
    }  # fmt: skip
    assert type(fields["properties.amount"]) is float
    assert event_of(EventRow(message_id="m", type="identify", time=0, original_time=0, ingest_time=0, expires_at=0,
                             properties='{"plan": "x"}'), "").fields["traits.plan"] == "x"  # fmt: skip
    damaged = EventRow(message_id="m", type="page", time=0, original_time=0, ingest_time=0, expires_at=0)
    damaged.properties = "[1]"
    assert event_of(damaged, "").fields == {"source": "library"}


async def test_a_worker_that_is_no_longer_asked_is_not_missed(tmp_path: Path):
    (tmp_path / "token").write_text("t")

    async def take(_worker: str, _line: feed.Line) -> None:
        pass

    meters, gone = Meters(), f"http://127.0.0.1:{free_port()}"
    link = Link("pod", tmp_path / "token", take, meters)
    link.use_workers((gone,))
    running = asyncio.create_task(link.run())
    try:
        await until(lambda: meters.connected.values == {(gone,): 0.0}, "its silence is told")
        link.use_workers(())
        await until(lambda: not meters.connected.values, "nobody waits for it")
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
