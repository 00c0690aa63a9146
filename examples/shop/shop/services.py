"""The services that customers see. Each is stateless; what must be remembered is the store's."""

import re
import time
import unicodedata
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from shop import ticket
from shop.client import StoreClient
from shop.database import Refused
from shop.events import Telling, order_completed
from shop.offers import code_of
from shop.pages import Pages, moment
from shop.serving import Door, application, read_fields, wants_json
from shop.settings import Settings

KEY_LIFETIME_SECONDS = 30.0
LONGEST_PHONE = 30
_PHONE = re.compile(r"(?:\+?86)?(1[3-9][0-9]{9})")


class Service:
    """What each service has: its settings, its pages, its line to the store."""

    name = ""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.pages = Pages(self.name, settings)
        self.store = StoreClient(settings.store_url, settings.store_seconds)

    def routes(self) -> list[BaseRoute]:
        raise NotImplementedError

    async def open(self) -> None:
        """Begin whatever goes on beside the requests."""

    async def close(self) -> None:
        await self.store.close()

    def build(self) -> Door:
        @asynccontextmanager
        async def lifespan(_: Starlette) -> AsyncIterator[None]:
            await self.open()
            yield
            await self.close()

        return application(self.name, self.routes(), lifespan=lifespan, render_refusal=self.pages.refusal)

    def show(self, request: Request, template: str, status: int = 200, **values: Any) -> Response:
        """The same facts as a page for people and as JSON for programs."""
        return JSONResponse(values, status) if wants_json(request) else self.pages.render(template, status, **values)


class Landing(Service):
    """The sale's front page. It shows what it knows even while the store is away."""

    name = "landing"

    def routes(self) -> list[BaseRoute]:
        return [Route("/", self.page)]

    async def page(self, request: Request) -> Response:
        try:
            sale = await self.store.get("/sale")
            products = await self.store.get("/products")
        except Refused:
            sale, products = {"starts_at": None, "ends_at": None, "now": None}, []
        flash = [product for product in products if product["flash_cents"]]
        return self.show(request, "landing.html", sale=sale, flash=flash, countdown=countdown(sale))


class Browse(Service):
    """The catalogue."""

    name = "browse"

    def routes(self) -> list[BaseRoute]:
        return [Route("/browse", self.page)]

    async def page(self, request: Request) -> Response:
        return self.show(request, "browse.html", products=await self.store.get("/products"))


class Coupon(Service):
    """Claim a coupon: one per visitor, however often the button is pressed. And be told when the sale opens."""

    name = "coupon"

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/coupon", self.claim, methods=["POST"]),
            Route("/coupon", self.terms),
            Route("/notify", self.notify, methods=["POST"]),
            Route("/notify", self.back),
        ]

    async def back(self, _: Request) -> Response:
        return RedirectResponse("/", 303)

    async def terms(self, request: Request) -> Response:
        """What can be claimed, for programs; people are on the front page when they claim."""
        if not wants_json(request):
            return await self.back(request)
        coupons = [{"code": code, **asdict(coupon)} for code, coupon in self.settings.coupon_rules.items()]
        return JSONResponse({"version": self.settings.shop_version, "coupons": coupons})

    async def claim(self, request: Request) -> Response:
        offers = self.settings.coupon_rules
        code = code_of((await read_fields(request)).get("code", "")) or next(iter(offers))
        if code not in offers:
            raise Refused(404, "no_such_coupon", "没有这个口令，请对照短信再输入一次。")
        wanted = {"code": code, **asdict(offers[code])}
        coupon = await self.store.post(f"/visitors/{request.state.visitor}/coupon", wanted)
        return self.show(request, "coupon.html", coupon=coupon)

    async def notify(self, request: Request) -> Response:
        phone = phone_of((await read_fields(request)).get("phone", ""))
        if not phone:
            raise Refused(422, "bad_phone", "请填写 11 位手机号。")
        await self.store.post("/reminders", {"phone": phone})
        # Whether somebody had asked before is nobody's business.
        return self.show(request, "notify.html", noted=True)


class Cart(Service):
    """The cart and the way to the till."""

    name = "cart"

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/cart", self.page),
            Route("/cart", self.put, methods=["POST"]),
            Route("/cart/order", self.order, methods=["POST"]),
        ]

    async def page(self, request: Request) -> Response:
        return self.show(request, "cart.html", cart=await self.store.get(f"/visitors/{request.state.visitor}/cart"))

    async def put(self, request: Request) -> Response:
        fields = await read_fields(request)
        wanted = {"sku": fields.get("sku", ""), "quantity": fields.get("quantity", "1")}
        cart = await self.store.post(f"/visitors/{request.state.visitor}/cart", wanted)
        return JSONResponse({"cart": cart}) if wants_json(request) else RedirectResponse("/cart", 303)

    async def order(self, request: Request) -> Response:
        purchase = await self.store.post(f"/visitors/{request.state.visitor}/purchases")
        return _to_the_till(request, purchase)


class Pay(Service):
    """The till. No money moves: it is an example."""

    name = "pay"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.telling = Telling(settings)

    async def open(self) -> None:
        self.telling.start()

    async def close(self) -> None:
        await self.telling.close()
        await super().close()

    def routes(self) -> list[BaseRoute]:
        return [Route("/pay/{number:int}", self.page), Route("/pay/{number:int}", self.pay, methods=["POST"])]

    async def page(self, request: Request) -> Response:
        path = f"/visitors/{request.state.visitor}/purchases/{request.path_params['number']}"
        # The key is made with the page: pressing the button twice, or reloading the answer, pays once.
        return self.show(request, "pay.html", purchase=await self.store.get(path), key=uuid.uuid4().hex)

    async def pay(self, request: Request) -> Response:
        path = f"/visitors/{request.state.visitor}/purchases/{request.path_params['number']}/payment"
        key = request.headers.get("idempotency-key") or (await read_fields(request)).get("key", "")
        purchase = await self.store.post(path, {"key": key})
        # Each time, also when it was paid before: the first attempt may have ended before anybody was told.
        self.telling.tell(order_completed(purchase, request.state.edge_visitor), request.cookies)
        return self.show(request, "pay.html", purchase=purchase, key=key)


class Seckill(Service):
    """The flash sale: a ticket with the page, a check of the ticket with the order, the stock in the store."""

    name = "seckill"

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        super().__init__(settings)
        self._clock = clock
        self._key, self._key_read_at = b"", 0.0

    def routes(self) -> list[BaseRoute]:
        return [Route("/seckill", self.page), Route("/seckill/{sku}", self.buy, methods=["POST"])]

    async def page(self, request: Request) -> Response:
        sale = await self.store.get("/sale")
        flash = [product for product in await self.store.get("/products") if product["flash_cents"]]
        for product in flash:
            product["ticket"] = await self._ticket(request.state.visitor, product["sku"])
        return self.show(request, "seckill.html", sale=sale, flash=flash, countdown=countdown(sale))

    async def buy(self, request: Request) -> Response:
        visitor, sku = request.state.visitor, request.path_params["sku"]
        shown = (await read_fields(request)).get("ticket", "")
        key, now = await self._signing_key(), int(self._clock())
        rounds = self.settings.ticket_rounds
        if not await run_in_threadpool(ticket.valid, shown, key, visitor, sku, now, rounds):
            raise Refused(403, "bad_ticket", "页面已过期，请回到秒杀页面重试。")
        return _to_the_till(request, await self.store.post(f"/visitors/{visitor}/flash/{sku}"))

    async def _ticket(self, visitor: str, sku: str) -> str:
        key, now = await self._signing_key(), int(self._clock())
        return await run_in_threadpool(ticket.issue, key, visitor, sku, now, self.settings.ticket_rounds)

    async def _signing_key(self) -> bytes:
        # A store that began anew has a new key; reading it again now and then heals by itself.
        if not self._key or time.monotonic() - self._key_read_at > KEY_LIFETIME_SECONDS:
            self._key = bytes.fromhex((await self.store.get("/ticket-key"))["key"])
            self._key_read_at = time.monotonic()
        return self._key


def _to_the_till(request: Request, purchase: dict[str, Any]) -> Response:
    if wants_json(request):
        return JSONResponse({"purchase": purchase}, 201)
    return RedirectResponse(f"/pay/{purchase['id']}", 303)


def phone_of(typed: str) -> str:
    """Make a mobile number of China of what was typed, with or without prefix and spaces; empty if it is none."""
    digits = re.sub(r"[\s-]", "", unicodedata.normalize("NFKC", typed[:LONGEST_PHONE]))
    found = _PHONE.fullmatch(digits)
    return found[1] if found else ""


def countdown(sale: dict[str, Any]) -> dict[str, Any]:
    """What the clock on the page counts to: its label and whole seconds left; the browser only counts down.

    The store's own clock is the base, so a visitor's wrong clock does not matter.
    """
    starts, ends, now = moment(sale["starts_at"]), moment(sale["ends_at"]), moment(sale["now"])
    if now and starts and now < starts:
        return {"label": "距开抢", "seconds": int((starts - now).total_seconds()), "open": False}
    if now and ends and now < ends:
        return {"label": "距结束", "seconds": int((ends - now).total_seconds()), "open": True}
    if now and ends:
        return {"label": "已结束", "seconds": None, "open": False}
    return {"label": "进行中", "seconds": None, "open": True}


SERVICES: dict[str, type[Service]] = {each.name: each for each in (Landing, Browse, Coupon, Cart, Pay, Seckill)}
