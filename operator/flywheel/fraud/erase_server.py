"""The door for those who erase people, on the port for people: on the pod's loopback."""

import ipaddress
import secrets
import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body
from flywheel.fraud.eraser import Eraser
from flywheel.fraud.erasing import MOST_NAMES, MOST_OPEN, Erasure
from flywheel.fraud.judging import Full, Judging
from flywheel.fraud.labels import LONGEST
from flywheel.fraud.wishes import BadWish

MOST_BYTES = 2 << 20


class EraseWish(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Who is to be erased."""

    campaign: str
    visitors: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


class EraseServer:
    """Handlers for those who erase people."""

    def __init__(
        self, judging: Judging, eraser: Eraser, clock: Callable[[], int] = lambda: int(time.time() * 1000)
    ) -> None:
        self._judging, self._eraser, self._clock = judging, eraser, clock

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_post("/erase", self._erase)
        application.router.add_get("/erase/{receipt}", self._status)

    async def _erase(self, request: web.Request) -> web.Response:
        wish = msgspec.json.decode(await read_body(request, MOST_BYTES), type=EraseWish)
        book = self._judging.casebook
        addresses = checked(wish)
        desk = book.desks.get(wish.campaign)
        receipt = secrets.token_hex(8)
        if desk is None:
            # Nothing of it was ever judged, so nothing of it is kept.
            return web.json_response({"receipt": receipt, "gone": True})
        if len(desk.erasures.open) >= MOST_OPEN:
            raise Full(f"{MOST_OPEN} erasures of {wish.campaign} are under way: ask again when they are done.")
        kept = tuple(name for each in addresses for name in (each, book.masked(each)))
        # An edge's clock may be ahead: what was judged before the request is from before it.
        at = max(self._clock(), book.newest)
        await self._eraser.ask(
            wish.campaign,
            Erasure(receipt=receipt, at=at, visitors=wish.visitors, users=wish.users, addresses=kept),
        )
        return web.json_response({"receipt": receipt, "gone": False})

    async def _status(self, request: web.Request) -> web.Response:
        receipt = request.match_info["receipt"]
        for desk in self._judging.casebook.desks.values():
            if (known := desk.erasures.known(receipt)) is not None:
                return web.json_response({"receipt": receipt, "gone": known.gone})
        raise BadWish("receipt: this worker knows none like that; ask the one that gave it, with all of its digits.")


def checked(wish: EraseWish) -> tuple[str, ...]:
    """Give the addresses of a wish in the form in which edges tell them.

    Raises:
        BadWish: It makes no sense. The text says where, why, and what to do.
    """
    if not wish.campaign:
        raise BadWish("campaign: say whose events they sent.")
    count = len(wish.visitors) + len(wish.users) + len(wish.addresses)
    if not 0 < count <= MOST_NAMES:
        raise BadWish(f"visitors, users, addresses: there are {count} names; send 1 to {MOST_NAMES} at once.")
    for field in ("visitors", "users", "addresses"):
        for index, each in enumerate(getattr(wish, field)):
            if not 0 < len(each) <= LONGEST:
                raise BadWish(f"{field}[{index}]: {len(each)} characters are given; 1 to {LONGEST} are taken.")
    return tuple(_address(f"addresses[{index}]", each) for index, each in enumerate(wish.addresses))


def _address(where: str, text: str) -> str:
    try:
        found = ipaddress.ip_address(text)
    except ValueError as error:
        raise BadWish(f"{where}: {error}; name one address, not a network: that is many people.") from None
    return str(getattr(found, "ipv4_mapped", None) or found)
