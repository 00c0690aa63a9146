"""The example's shoppers in the real shop: its processes, and beside them what takes in events."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from tests.answering import answering
from tests.patience import PATIENCE
from tests.unit.shop.conftest import StartService

from flywheel.simulation import crowd
from flywheel.simulation.crowd import Crowd, Place
from flywheel.simulation.plan import Pace, shoppers
from flywheel.simulation.read import read_behaviour
from flywheel.simulation.tally import Tally

SHOPPERS = Path(__file__).parents[3] / "examples/618/shoppers.yaml"
OF_ONE_HOP = ("connection", "keep-alive", "transfer-encoding", "host", "content-length")


class Front:
    """Stands where the edge would: knows visitors, takes in events, passes all else on to the services."""

    def __init__(self) -> None:
        self.services: dict[str, str] = {}
        self.events: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.visitors: set[str] = set()

    def pass_on(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Let the service answer that the first part of the path names: its status, headers and body."""
        self.requests.append((method, path, headers))
        first = urlsplit(path).path.split("/")[1]
        service = self.services.get(first, self.services["landing"])
        # A connection for each request: a pool of connections that threads share closes them in each other's hands.
        with closing(HTTPConnection(urlsplit(service).netloc, timeout=PATIENCE)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()


def _handler(front: Front) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items() if name.lower() not in OF_ONE_HOP}
            if self.path == "/v1/track":
                front.events.append({**json.loads(body), "headers": headers})
                self._answer(200, {}, b"{}")
                return
            known = SimpleCookie(headers.get("cookie", "")).get("fw_vid")
            visitor = known.value if known else uuid.uuid4().hex
            front.visitors.add(visitor)
            status, given, content = front.pass_on(self.command, self.path, {**headers, "x-fw-visitor": visitor}, body)
            passed = [pair for pair in given if pair[0].lower() not in OF_ONE_HOP]
            self._answer(status, [*passed, ("set-cookie", f"fw_vid={visitor}; Path=/")], content)

        def _answer(self, status: int, headers: Any, body: bytes) -> None:
            self.send_response(status)
            for name, value in [*headers, ("content-length", str(len(body)))]:
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _serve  # noqa: N815 - as the library calls them

        def log_message(self, *_: object) -> None:
            pass

    return Handler


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, str]]:
    made, start = Front(), StartService(tmp_path_factory.mktemp("shop"))
    with answering(_handler(made)) as address:
        store = start("store", FLASH_STOCK="3")
        tells = {"EVENTS_URL": address, "WRITE_KEY": "yougou-618"}
        names = ("landing", "browse", "cart", "coupon", "pay", "seckill")
        made.services = {name: start.begin(name, STORE_URL=store, **tells) for name in names}
        start.wait_for(*made.services.values())
        try:
            yield made, address
        finally:
            start.stop()


@pytest.fixture(autouse=True)
def a_machine_may_be_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crowd, "LAST_VISITS", PATIENCE)
    monkeypatch.setattr(crowd, "TIMEOUT", aiohttp.ClientTimeout(total=PATIENCE))


@pytest.fixture
def front(shop: tuple[Front, str]) -> tuple[Front, str]:
    shop[0].events, shop[0].requests, shop[0].visitors = [], [], set()
    return shop


async def test_the_examples_shoppers_walk_buy_and_pay(front: tuple[Front, str]) -> None:
    made, address = front
    behaviour = read_behaviour(SHOPPERS.read_text("utf-8"))
    pace = Pace(rate=12, speed=50)
    visits = Crowd(behaviour, pace, Place(address))
    await visits.run(4, asyncio.Event())
    report = visits.tally.report(4, behaviour.seed)
    planned = list(_until(behaviour, pace, 4))
    assert report["visits"]["started"] == report["visits"]["finished"] == len(planned) > 20
    assert report["failed"] == 0, report
    assert report["event_failures"] == {}
    assert report["requests"] + report["bot_requests"] == len(made.requests)
    assert report["visits"]["bots"] == sum(each.bot for each in planned)
    # The till tells of its orders in the background.
    async with asyncio.timeout(PATIENCE):
        while len(orders := [each for each in made.events if each["event"] == "Order Completed"]) < report["orders"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert report["orders"] == len(orders) > 0, json.dumps(report)
    assert report["revenue"] == pytest.approx(sum(event["properties"]["revenue"] for event in orders))
    # Each page was seen by somebody whom the site knows, and every event is somebody's.
    assert {event["anonymousId"] for event in made.events} <= made.visitors
    ours = [event for event in made.events if event["event"] != "Order Completed"]
    assert len(ours) == sum(report["events"].values()) > 0
    assert {event["writeKey"] for event in ours} == {"yougou-618"}
    assert len({event["messageId"] for event in made.events}) == len(made.events)
    assert report["visitors"] == len(made.visitors) - report["visits"]["bots"]
    assert sum(each["visits"] for each in report["channels"].values()) == len(planned) - report["visits"]["bots"]


def _until(behaviour: Any, pace: Pace, seconds: float) -> Iterator[Any]:
    for shopper in shoppers(behaviour, pace):
        if shopper.at >= seconds:
            return
        yield shopper


async def test_shoppers_bring_what_people_bring(front: tuple[Front, str]) -> None:
    made, address = front
    behaviour = read_behaviour(SHOPPERS.read_text("utf-8"))
    await Crowd(behaviour, Pace(rate=10, speed=100), Place(address)).run(2, asyncio.Event())
    entries = {path for _, path, _ in made.requests}
    assert any("utm_source=baidu" in path for path in entries)
    assert {headers.get("x-region") for _, _, headers in made.requests} >= {"east", "north"}
    assert any(urlsplit(headers.get("referer", "")).netloc == "mp.weixin.qq.com" for _, _, headers in made.requests)


async def test_a_stop_cuts_off_those_who_are_there(front: tuple[Front, str]) -> None:
    _, address = front
    behaviour = read_behaviour(SHOPPERS.read_text("utf-8"))
    visits = Crowd(behaviour, Pace(rate=20), Place(address))
    stop = asyncio.Event()
    running = asyncio.create_task(visits.run(600, stop))
    async with asyncio.timeout(PATIENCE):
        while visits.tally.requests < 5:  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.02)
        stop.set()
        await running
    told = visits.tally.report(1, 0)["visits"]
    assert told["cut_off"] > 0
    assert told["started"] == told["finished"] + told["cut_off"]
    assert visits.present == 0


async def test_who_finds_no_place_is_turned_away(front: tuple[Front, str]) -> None:
    _, address = front
    behaviour = read_behaviour(SHOPPERS.read_text("utf-8"))
    visits = Crowd(behaviour, Pace(rate=30, speed=8), Place(address, concurrency=2))
    await visits.run(1, asyncio.Event())
    assert visits.tally.turned_away > 0
    assert visits.tally.started + visits.tally.turned_away == len(list(_until(behaviour, Pace(rate=30, speed=8), 1)))


async def test_a_shop_that_is_not_there_is_a_failure_by_kind() -> None:
    behaviour = read_behaviour(SHOPPERS.read_text("utf-8"))
    visits = Crowd(behaviour, Pace(rate=20, speed=50), Place("http://127.0.0.1:9"))
    await visits.run(1, asyncio.Event())
    report = visits.tally.report(1, 0)
    assert report["failed"] == report["visits"]["started"] > 0
    assert report["failures"].keys() == {"ClientConnectorError"}
    assert report["requests"] == report["orders"] == 0
    assert report["p95_ms"] is None


def test_percentiles_are_nearest_ranks() -> None:
    tally = Tally()
    for milliseconds in range(1, 101):
        tally.request("direct", float(milliseconds), 200, bot=False, page=True)
    assert tally.percentiles() == {"p50_ms": 50, "p95_ms": 95, "p99_ms": 99}
