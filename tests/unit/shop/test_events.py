"""The till tells the edge of orders: once each, in the background, whatever the edge does."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from aiohttp import web
from tests.patience import PATIENCE
from tests.unit.shop.conftest import StartService

from flywheel.edge.document import Backend, Collect, DeclaredEvent, EdgeDocument, EdgeRoute, EdgeService, Property
from flywheel.events.collect import Collector
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool
from shop import events
from shop.events import Telling, edge_cookies, order_completed
from shop.settings import Settings

PURCHASE = {
    "id": 7,
    "shop": "0a1b2c3d",
    "visitor": "a-session",
    "paid_at": "2027-06-16T00:00:01+00:00",
    "total_cents": 538_00,
    "discount_cents": 100_00,
    "coupon_cents": 20_00,
    "lines": [{"sku": "xingtu-backpack", "name": "行途 双肩包", "quantity": 2, "unit_cents": 329_00}],
}
VISITOR = "8c2f3a1e-0000-4000-8000-000000000001"


class Edge:
    """An address that answers as told, and remembers what came."""

    def __init__(self) -> None:
        self._more = asyncio.Condition()
        self.answers: list[int] = []
        self.came: list[dict[str, object]] = []
        self.cookies: list[str] = []
        self.keys: list[str] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.came.append(await request.json())
        self.cookies.append(request.headers.get("cookie", ""))
        self.keys.append(request.headers.get("authorization", ""))
        async with self._more:
            self._more.notify_all()
        return web.json_response({"success": True}, status=self.answers.pop(0) if self.answers else 200)

    async def has(self, count: int) -> None:
        async with asyncio.timeout(PATIENCE), self._more:
            await self._more.wait_for(lambda: len(self.came) >= count)


async def served(application: web.Application) -> AsyncIterator[str]:
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def edge() -> AsyncIterator[tuple[Edge, Settings]]:
    answering = Edge()
    application = web.Application()
    application.router.add_post("/v1/track", answering.answer)
    async for url in served(application):
        yield answering, Settings(events_url=url, write_key="yougou-618")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(events, "FAREWELL_SECONDS", 0.5)


def test_an_order_is_told_in_segments_words() -> None:
    event = order_completed(PURCHASE, VISITOR)
    assert event["messageId"] == "order-0a1b2c3d-00000007"
    assert event["anonymousId"] == VISITOR
    properties = event["properties"]
    assert (properties["order_id"], properties["revenue"], properties["currency"]) == ("0a1b2c3d-00000007", 538, "CNY")
    assert properties["products"] == [
        {"product_id": "xingtu-backpack", "name": "行途 双肩包", "quantity": 2, "price": 329}
    ]


def test_an_order_of_nobody_known_is_no_visitor() -> None:
    event = order_completed(PURCHASE, "")
    assert "anonymousId" not in event
    assert event["userId"] == event["messageId"]


def test_only_the_edges_cookies_are_passed_on() -> None:
    assert edge_cookies({"fw_vid": "v", "fw_ch": "sms", "yougou_session": "s"}) == {"fw_vid": "v", "fw_ch": "sms"}


async def test_an_event_is_sent_again_until_it_is_taken(edge: tuple[Edge, Settings]) -> None:
    answering, settings = edge
    answering.answers = [503, 429]
    telling = Telling(settings)
    telling.start()
    telling.tell(order_completed(PURCHASE, VISITOR), {"fw_vid": VISITOR, "fw_ch": "sms", "yougou_session": "s"})
    await answering.has(3)
    await telling.close()
    assert {event["messageId"] for event in answering.came} == {"order-0a1b2c3d-00000007"}
    assert set(answering.cookies) == {f"fw_vid={VISITOR}; fw_ch=sms"}
    assert telling.dropped == 0


async def test_an_event_that_is_refused_is_dropped_at_once(edge: tuple[Edge, Settings]) -> None:
    answering, settings = edge
    answering.answers = [400]
    telling = Telling(settings)
    telling.start()
    telling.tell(order_completed(PURCHASE, VISITOR), {})
    await answering.has(1)
    await telling.close()
    assert (len(answering.came), telling.dropped) == (1, 1)


async def test_the_queue_is_bounded_and_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "QUEUE_LENGTH", 3)
    telling = Telling(Settings(events_url="http://127.0.0.1:9", write_key="yougou-618"))
    for _ in range(5):
        telling.tell(order_completed(PURCHASE, VISITOR), {})
    assert telling.dropped == 2
    telling.start()
    await telling.close()


async def test_without_an_edge_nothing_is_told() -> None:
    telling = Telling(Settings())
    telling.start()
    telling.tell(order_completed(PURCHASE, VISITOR), {})
    await telling.close()
    assert telling.dropped == 0


async def test_the_collector_takes_a_paid_order_once(start: StartService, tmp_path: Path) -> None:
    store = start("store")
    spool = Spool(tmp_path / "spool", 1 << 20)
    collector = Collector(spool, Meters("shop", "yougou-618"))
    collector.use_document(document())
    async for url in served(collector.application()):
        pay = start("pay", STORE_URL=store, EVENTS_URL=url, WRITE_KEY="yougou-618")
        cart = start("cart", STORE_URL=store)
        cookies = {"yougou_session": "somebody-at-home", "fw_vid": VISITOR}
        async with httpx.AsyncClient(headers={"accept": "application/json"}, cookies=cookies) as visitor:
            await visitor.post(f"{cart}/cart", json={"sku": "xingtu-backpack", "quantity": "2"})
            number = (await visitor.post(f"{cart}/cart/order")).json()["purchase"]["id"]
            for _ in range(2):
                paid = await visitor.post(f"{pay}/pay/{number}", json={"key": "a-key-of-the-page"})
                assert paid.status_code == 200
        # The process says farewell only when everything is told.
        await asyncio.to_thread(start.stop)
        start.processes.clear()
    await spool.close()
    found = rows(tmp_path)
    assert [(row["event"], row["visitor"], row["revenue"], row["currency"]) for row in found] == [
        ("Order Completed", VISITOR, 558.0, "CNY")
    ]


def rows(folder: Path) -> list[dict[str, object]]:
    """The rows of all files of the spool."""
    found = [line for file in folder.rglob("*") if file.is_file() for line in file.read_bytes().splitlines()]
    return [json.loads(line[line.index(b"{") :]) for line in found if b'"message_id"' in line]


def document() -> EdgeDocument:
    required = [
        Property(name=name, type=kind, required=True) for name, kind in (("order_id", "string"), ("revenue", "number"))
    ]
    return EdgeDocument(
        namespace="shop",
        campaign="yougou-618",
        services=(EdgeService(name="pay", backends=(Backend(service="yougou-618-pay", port="http"),)),),
        routes=(EdgeRoute(path="/", service="pay"),),
        collect=Collect(
            write_keys=("yougou-618",),
            events=(DeclaredEvent(name="Order Completed", properties=required),),
            undeclared="Reject",
            currency="CNY",
        ),
        store="http://127.0.0.1:9",
    )
