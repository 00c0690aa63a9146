"""A document of an edge, events as clients send them, and a store to deliver to."""

import asyncio
import gzip
import json
import random
from dataclasses import dataclass, field
from typing import Any

import msgspec
from aiohttp import web
from tests.patience import PATIENCE

from flywheel.edge.document import (
    ChannelRule,
    Collect,
    Consent,
    DeclaredEvent,
    EdgeDocument,
    EdgeRoute,
    EdgeService,
    Live,
    Property,
    Segment,
    Test,
    VariantRange,
    Visitor,
)
from flywheel.events.normalise import Sender
from flywheel.events.rows import DeadLetter, EventRow, RequestRow

KEY = "yougou-618"
NOW = 1_795_453_200_000
"""2026-11-23T17:00:00Z in milliseconds."""
DAY = 86_400_000
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36"

ORDER = DeclaredEvent(
    name="Order Completed",
    properties=(
        Property(name="order_id", type="string", required=True),
        Property(name="revenue", type="number", required=True),
        Property(name="products", type="array"),
    ),
)
CHANNELS = (
    ChannelRule(name="paid-search", utm_medium=("cpc",), parameters=("gclid",)),
    ChannelRule(name="weibo", referrers=("weibo.com",), utm_source=("weibo",)),
)
TEST = Test(
    name="button",
    service="landing",
    salt="s1",
    layer_salt="layer/landing",
    segments=(Segment(start=0, end=10_000),),
    ranges=(
        VariantRange(variant="red", slot="red", start=0, end=5_000),
        VariantRange(variant="green", slot="green", start=5_000, end=10_000),
    ),
)


def document(*, consent: bool = False, **collect: Any) -> EdgeDocument:
    """Make a document; `collect` replaces fields of its part about events."""
    options: dict[str, Any] = {"write_keys": (KEY, "second"), "events": (ORDER,), "rates": {"USD": 7.0}}
    options |= {"currency": "CNY", "origins": ("https://m.shop.example",)}
    store = str(collect.pop("store", "http://127.0.0.1:1"))
    return EdgeDocument(
        namespace="shop",
        campaign="spring",
        services=(EdgeService(name="seckill", backends=()), EdgeService(name="landing", backends=())),
        routes=(EdgeRoute(path="/", service="landing"), EdgeRoute(path="/coupon", service="seckill")),
        visitor=Visitor(consent=Consent() if consent else None),
        channels=CHANNELS,
        collect=Collect(**(options | collect)),
        store=store,
        live=Live(tests=(TEST,)),
    )


def sender(**fields: Any) -> Sender:
    """Say who sends."""
    return Sender(**({"ingest": NOW, "horizon": 7 * DAY, "visitor": "v-1", "host": "shop.example"} | fields))


def track(number: int = 0, **fields: Any) -> dict[str, Any]:
    """Make an order as a client sends it."""
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m-{number}",
        "anonymousId": f"a-{number}",
        "timestamp": "2026-11-23T16:59:59.500Z",
        "properties": {"order_id": f"o-{number}", "revenue": 12.5},
        "context": {"page": {"url": "https://shop.example/coupon/1?x=1"}, "userAgent": BROWSER},
        **fields,
    }


def as_json(value: Any) -> bytes:
    """Write JSON as clients do."""
    return json.dumps(value, separators=(",", ":")).encode()


def event_row(number: int, **fields: Any) -> EventRow:
    """Make a row of an event."""
    options: dict[str, Any] = {"message_id": f"m-{number}", "type": "track", "event": "Order Completed", "time": NOW}
    options |= {"original_time": NOW, "ingest_time": NOW, "visitor": f"v-{number}", "expires_at": NOW // 1000 + 86_400}
    return EventRow(**(options | fields))


def lines(rows: list[Any]) -> bytes:
    """Write rows as they are kept."""
    return msgspec.json.Encoder().encode_lines(rows)


ROWS = {"events": EventRow, "requests": RequestRow, "dead_letters": DeadLetter}


@dataclass
class Store:
    """The other end of a delivery: it takes rows, each message once, and fails as it is told to.

    The worker with its engine is tested on its own; this one keeps the same contract in memory, so that what a sidecar
    delivers can be looked at.
    """

    token: str = "token"
    salt: str = "00ff"
    down: bool = False
    answers: list[int] = field(default_factory=list)
    """Statuses to give to the next deliveries, instead of taking them."""
    forget_to_answer: list[bool] = field(default_factory=list)
    """For the next deliveries: take the rows, and cut the connection instead of saying so."""
    largest: int = 1 << 30
    """Rows of the largest batch."""
    rows: dict[str, list[dict[str, Any]]] = field(
        default_factory=lambda: {"events": [], "requests": [], "dead_letters": []}
    )
    seen: set[str] = field(default_factory=set)
    batches: list[tuple[str, int]] = field(default_factory=list)
    erasures: list[dict[str, Any]] = field(default_factory=list)
    duplicates: int = 0
    port: int = 0
    _runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ids(self) -> list[str]:
        return [row["message_id"] for row in self.rows["events"]]

    async def start(self) -> None:
        application = web.Application(client_max_size=64 << 20)
        application.router.add_post("/v1/ingest/{table}", self._ingest)
        application.router.add_get("/v1/salt", self._salt)
        application.router.add_get("/v1/erasures", self._erasures)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    def _obstacle(self, request: web.Request) -> web.Response | None:
        if self.down:
            return web.Response(status=503, headers={"Retry-After": "0"})
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        return None

    async def _salt(self, request: web.Request) -> web.Response:
        return self._obstacle(request) or web.json_response({"salt": self.salt})

    async def _erasures(self, request: web.Request) -> web.Response:
        since = int(request.query.get("since", 0))
        return self._obstacle(request) or web.json_response(
            {"erasures": [each for each in self.erasures if each["id"] > since]}
        )

    async def _ingest(self, request: web.Request) -> web.Response:
        body = await request.read()
        if found := self._obstacle(request):
            return found
        if self.answers:
            return web.Response(status=self.answers.pop(0), headers={"Retry-After": "0"})
        table = request.match_info["table"]
        # aiohttp has inflated it already.
        rows = [json.loads(line) for line in body.splitlines()]
        self.batches.append((request.headers["X-Flywheel-Batch"], len(rows)))
        if len(rows) > self.largest:
            return web.Response(status=413)
        for line in body.splitlines():
            msgspec.json.decode(line, type=ROWS[table], strict=True)
        stored = 0
        for row in rows:
            identity = f"{table}/{row.get('message_id') or row.get('request_id') or len(self.rows[table])}"
            if identity in self.seen:
                self.duplicates += 1
                continue
            self.seen.add(identity)
            self.rows[table].append(row)
            stored += 1
        if self.forget_to_answer and self.forget_to_answer.pop(0):
            assert request.transport
            request.transport.close()
        return web.json_response({"stored": stored, "duplicates": len(rows) - stored, "refused": 0})


async def until(done: Any, what: str, limit: float = PATIENCE) -> None:
    """Wait until `done()` is true."""
    async with asyncio.timeout(limit) as scope:
        while not done():
            try:
                await asyncio.sleep(0.01)
            except asyncio.CancelledError:
                if scope.expired():
                    raise AssertionError(f"not within {limit} s: {what}") from None
                raise


def compressed(value: Any) -> bytes:
    return gzip.compress(as_json(value))


def seeded(seed: int) -> random.Random:
    """Make a source of chance and say how to get the same again."""
    print(f"seed {seed}")
    return random.Random(seed)
