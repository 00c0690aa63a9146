"""The service `store`: the database over HTTP, for the shop's other services only."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from shop.database import Database, Refused, Sale
from shop.money import Coupon
from shop.serving import Door, application, read_fields
from shop.settings import Settings

log = logging.getLogger("shop.store")


class Store:
    """Requests in, transactions of the one database, answers out. The file is opened when the service starts."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._sale = Sale(settings.sale_starts_at, settings.sale_ends_at)
        self._database: Database | None = None

    def build(self) -> Door:
        visitor = "/visitors/{visitor}"
        routes = [
            Route("/products", self.products),
            Route("/figures", self.figures),
            Route("/sale", self.sale),
            Route("/ticket-key", self.ticket_key),
            Route("/reminders", self.remind, methods=["POST"]),
            Route(visitor + "/coupon", self.coupon, methods=["POST"]),
            Route(visitor + "/cart", self.cart),
            Route(visitor + "/cart", self.put_in_cart, methods=["POST"]),
            Route(visitor + "/purchases", self.order, methods=["POST"]),
            Route(visitor + "/flash/{sku}", self.flash, methods=["POST"]),
            Route(visitor + "/purchases/{number:int}", self.purchase),
            Route(visitor + "/purchases/{number:int}/payment", self.pay, methods=["POST"]),
        ]
        return application("store", routes, lifespan=self.lifespan, ready=self.ready, sets_cookie=False)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        self._database = Database(self._settings.data_directory / "shop.sqlite", self._settings.flash_stock)
        yield
        log.info({"message": "the store closes", **self._database.figures()})
        self._database.close()
        self._database = None

    async def run(self, operation: Callable[[Database], Any]) -> Any:
        """Do `operation` beside the event loop: SQLite waits for the disk, and other requests shall not."""
        if self._database is None:
            raise Refused(503, "store_unavailable", "人太多了，请几秒钟后再试。")
        return await run_in_threadpool(operation, self._database)

    async def ready(self) -> None:
        await asyncio.wait_for(self.run(Database.figures), timeout=2)

    async def products(self, _: Request) -> Response:
        return JSONResponse(await self.run(Database.products))

    async def figures(self, _: Request) -> Response:
        return JSONResponse(await self.run(Database.figures))

    async def sale(self, _: Request) -> Response:
        bounds = {"starts_at": self._sale.starts_at, "ends_at": self._sale.ends_at, "now": _now()}
        return JSONResponse({name: at.isoformat() if at else None for name, at in bounds.items()})

    async def ticket_key(self, _: Request) -> Response:
        return JSONResponse({"key": (await self.run(Database.ticket_key)).hex()})

    async def coupon(self, request: Request) -> Response:
        visitor, fields = _visitor(request), await read_fields(request)
        try:
            coupon = Coupon(int(fields["minimum_cents"]), int(fields["off_cents"]))
            code = fields["code"]
        except (KeyError, ValueError) as error:
            raise Refused(422, "bad_coupon", "没有这样的优惠券。") from error
        return JSONResponse(await self.run(lambda database: database.claim_coupon(visitor, _now(), code, coupon)))

    async def remind(self, request: Request) -> Response:
        phone = (await read_fields(request)).get("phone", "")
        await self.run(lambda database: database.remind(phone, _now()))
        return JSONResponse({"noted": True}, 201)

    async def cart(self, request: Request) -> Response:
        visitor = _visitor(request)
        return JSONResponse(await self.run(lambda database: database.cart(visitor)))

    async def put_in_cart(self, request: Request) -> Response:
        visitor, fields = _visitor(request), await read_fields(request)
        sku, quantity = fields.get("sku", ""), _whole(fields, "quantity")
        return JSONResponse(await self.run(lambda database: database.put_in_cart(visitor, sku, quantity)))

    async def order(self, request: Request) -> Response:
        visitor = _visitor(request)
        return JSONResponse(await self.run(lambda database: database.order_cart(visitor, _now())), 201)

    async def flash(self, request: Request) -> Response:
        visitor, sku = _visitor(request), request.path_params["sku"]
        return JSONResponse(await self.run(lambda database: database.buy_flash(visitor, sku, self._sale, _now())))

    async def purchase(self, request: Request) -> Response:
        visitor, number = _visitor(request), _number(request)
        return JSONResponse(await self.run(lambda database: database.purchase(visitor, number)))

    async def pay(self, request: Request) -> Response:
        visitor, number = _visitor(request), _number(request)
        key = (await read_fields(request)).get("key", "")
        if not 8 <= len(key) <= 64:
            raise Refused(422, "bad_key", "付款编号须有 8 到 64 个字符。")
        return JSONResponse(await self.run(lambda database: database.pay(visitor, number, key, _now())))


def _now() -> datetime:
    return datetime.now(UTC)


def _visitor(request: Request) -> str:
    return str(request.path_params["visitor"])


def _number(request: Request) -> int:
    number = int(request.path_params["number"])
    if number >= 2**63:
        raise Refused(404, "no_such_purchase", "没有这个订单。")
    return number


def _whole(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 4):
        raise Refused(422, f"bad_{name}", f"{name} 须是一个不太大的整数。")
    return int(text)
