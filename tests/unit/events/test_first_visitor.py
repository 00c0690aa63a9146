"""A person is assigned alike on all devices: what is asked of the store, what is remembered, which cookie is set."""

import asyncio
import contextlib
from pathlib import Path

import pytest
from aiohttp import web
from tests.patience import PATIENCE
from tests.unit.events.test_collect import HOST, Site
from tests.unit.events.world import KEY, document, event_row, track

from flywheel.edge.document import Visitor
from flywheel.events import first_visitor
from flywheel.events.collect import Collector
from flywheel.events.first_visitor import FirstVisitors, cookie, linked_user
from flywheel.events.naming import FIRST_VISITOR

FIRST, OWN = (f"{each}c2f3a1e-6d0f-4f0e-9d7c-0b1c2d3e4f50" for each in "89")
BROWSER = {"Origin": f"https://{HOST}", "X-FW-Visitor": OWN, "X-Forwarded-Proto": "https"}


class Worker:
    """A store that says what it is told to."""

    def __init__(self, token: Path) -> None:
        self.says: object = {"visitor": FIRST}
        self.status, self.silent = 200, False
        self.asked: list[object] = []
        token.write_text("the token\n")
        self.token = token

    async def answer(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer the token"
        self.asked.append(await request.json())
        if self.silent:
            await asyncio.Event().wait()
        return web.json_response(self.says, status=self.status)

    async def start(self) -> None:
        application = web.Application()
        application.router.add_post(FIRST_VISITOR, self.answer)
        self.runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}"


@pytest.fixture
async def worker(tmp_path: Path):
    made = Worker(tmp_path / "token")
    await made.start()
    yield made
    await made.runner.cleanup()


@contextlib.asynccontextmanager
async def asking(worker: Worker, **options):
    finder = FirstVisitors(lambda: worker.url, worker.token, **{"timeout": PATIENCE, **options})
    try:
        yield finder
    finally:
        await finder.close()


async def test_an_answer_is_remembered_for_a_while(worker: Worker) -> None:
    now = 0.0
    async with asking(worker, clock=lambda: now) as finder:
        assert [await finder.find("ann", OWN) for _ in range(3)] == [FIRST] * 3
        assert worker.asked == [{"user": "ann"}]
        now += first_visitor.KEPT + 1
        worker.says = {"visitor": OWN}
        assert await finder.find("ann", OWN) == OWN


async def test_whom_nobody_knows_is_the_first_until_the_store_says_otherwise(worker: Worker) -> None:
    worker.says = {"visitor": None}
    async with asking(worker) as finder:
        assert await finder.find("ann", OWN) == OWN
        worker.says = {"visitor": FIRST}
        assert await finder.find("ann", OWN) == FIRST


@pytest.mark.parametrize("trouble", ["slow", "refused", "nonsense", "evil", "away"])
async def test_a_failure_is_no_answer_and_the_store_is_left_in_peace(worker: Worker, trouble: str) -> None:
    now = 0.0
    async with asking(worker, clock=lambda: now) as finder:
        match trouble:
            case "slow":
                worker.silent, finder._timeout = True, 0.1
            case "refused":
                worker.status = 503
            case "nonsense":
                worker.says = ["nothing"]
            case "evil":
                worker.says = {"visitor": f"{FIRST}; Domain=evil.example"}
            case "away":
                worker.token.unlink()
        assert await finder.find("ann", OWN) is None
        before = len(worker.asked)
        if trouble != "evil":
            assert await finder.find("bob", OWN) is None
            assert len(worker.asked) == before
            now += first_visitor.REST + 1
        worker.status, worker.says, worker.silent = 200, {"visitor": FIRST}, False
        finder._timeout = PATIENCE
        worker.token.write_text("the token")
        assert await finder.find("bob", OWN) == FIRST


async def test_no_more_than_a_few_ask_at_once_and_what_is_known_stays_bounded(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_visitor, "MOST_KNOWN", 3)
    async with asking(worker) as finder:
        found = await asyncio.gather(*(finder.find(f"u{each}", OWN) for each in range(30)))
        assert found.count(FIRST) == first_visitor.AT_ONCE
        assert found.count(None) == 30 - first_visitor.AT_ONCE
        assert len(finder._known) == 3


async def test_an_address_that_is_not_known_yet_is_a_failure_too(worker: Worker) -> None:
    finder = FirstVisitors(lambda: None, worker.token)
    assert await finder.find("ann", OWN) is None


def test_who_a_visitor_says_to_be() -> None:
    rows = [event_row(1, visitor=OWN, user_id="ann"), event_row(2, visitor=OWN, user_id="bob"), event_row(3)]
    assert linked_user(rows, OWN) == "bob"
    assert linked_user(rows, FIRST) == ""
    assert linked_user([event_row(1, visitor="", user_id="ann")], "") == ""
    assert linked_user([event_row(1, visitor=OWN, user_id="ann", bot=True)], OWN) == ""


def test_the_cookie_is_like_that_of_the_visitor() -> None:
    assert cookie(FIRST, Visitor(max_age=60), secure=True) == (
        f"fw_as={FIRST}; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure"
    )
    rules = Visitor(max_age=60, same_site="Strict", domain="shop.example")
    assert cookie(FIRST, rules, secure=False).endswith("HttpOnly; SameSite=Strict; Domain=shop.example")


@contextlib.asynccontextmanager
async def site_with(worker: Worker, directory: Path, within: float = PATIENCE):
    site = Site(directory)
    first_visitors = FirstVisitors(lambda: worker.url, worker.token, timeout=within)
    site.collector = Collector(site.spool, site.meters, first_visitors=first_visitors)
    site.collector.use_document(document())
    await site.start()
    try:
        yield site
    finally:
        await site.stop()


def identified(number: int, **fields: object) -> dict[str, object]:
    return {**track(number), "userId": "ann", "writeKey": KEY} | fields


async def test_a_person_on_a_second_device_gets_the_cookie(worker: Worker, tmp_path: Path) -> None:
    async with site_with(worker, tmp_path / "spool") as site:
        for path, body in (
            ("/v1/identify", identified(1, type="identify")),
            ("/v1/batch", {"batch": [track(2), identified(3)], "writeKey": KEY}),
        ):
            status, _, headers = await site.call(path, body, **BROWSER)
            assert status == 200
            assert headers["Set-Cookie"].startswith(f"fw_as={FIRST}; Max-Age=31536000; Path=/; HttpOnly; SameSite=Lax")
            assert headers["Set-Cookie"].endswith("; Secure")
        assert worker.asked == [{"user": "ann"}]
        assert len(await site.rows()) == 3


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"userId": ""}, {}),
        ({}, {"Origin": ""}),
        ({}, {"X-FW-Visitor": ""}),
        ({}, {"X-FW-Consent": "0"}),
        ({"context": {"consent": {"categoryPreferences": {"Analytics": False}}}}, {}),
    ],
    ids=["nobody named", "no browser", "no visitor of the edge", "no consent", "no consent to this event"],
)
async def test_nobody_else_does(worker: Worker, tmp_path: Path, body: dict, headers: dict) -> None:
    async with site_with(worker, tmp_path / "spool") as site:
        sent = {name: value for name, value in (BROWSER | headers).items() if value or name != "Origin"}
        event = identified(1, anonymousId="a-1") | body
        _, _, answered = await site.call("/v1/track", event, **sent)
        assert "Set-Cookie" not in answered
        assert worker.asked == []


async def test_a_store_that_is_slow_fails_no_call(worker: Worker, tmp_path: Path) -> None:
    worker.silent = True
    async with site_with(worker, tmp_path / "spool", within=0.1) as site:
        status, answer, headers = await site.call("/v1/track", identified(1), **BROWSER)
        assert (status, answer) == (200, {"success": True})
        assert "Set-Cookie" not in headers
        assert len(await site.rows()) == 1
