"""The crowd: visits that begin when the plan says, whether or not earlier ones were served, as people come."""

import asyncio
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache

import aiohttp

from flywheel.simulation.behaviour import Behaviour
from flywheel.simulation.plan import Pace, Shopper, shoppers
from flywheel.simulation.tally import Tally
from flywheel.simulation.visit import TIMEOUT, Visit

LAST_VISITS = 15.0
"""Seconds in which visits may end by themselves once nobody comes any more."""
SOCKETS_KEPT = 20.0
"""Seconds for which a connection without requests is used again: fewer than servers keep it, the edge 30, as one that
is closed at the moment of a request fails it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the shop is, and how we go there."""

    origin: str
    """Scheme, host and port."""
    concurrency: int = 500
    """Visits at once; who comes while all places are taken is turned away, and counted."""
    verify: bool = True
    host: str = ""
    """The header Host, where it is another one than the address."""


class Crowd:
    """One run of a behaviour."""

    def __init__(self, behaviour: Behaviour, pace: Pace, place: Place) -> None:
        self.tally = Tally()
        self._behaviour, self._pace, self._place = behaviour, pace, place
        self._visits: set[asyncio.Task[None]] = set()
        most = behaviour.returning.among if behaviour.returning else 0
        self._jars = _Jars(most)
        self._kept: dict[str, aiohttp.CookieJar] = {}
        """Cookies of members of groups, of whom there are as many as the behaviour says."""

    @property
    def present(self) -> int:
        """Visits that are under way."""
        return len(self._visits)

    async def run(self, seconds: float, stop: asyncio.Event) -> None:
        """Let shoppers come for `seconds`, or until `stop` is set; then let those who are here finish."""
        async with self._server_session() as server:
            try:
                await self._come(seconds, stop, server)
                if self._visits:
                    await asyncio.wait(self._visits, timeout=0.0 if stop.is_set() else LAST_VISITS)
            finally:
                await self._cut_off()

    async def _come(self, seconds: float, stop: asyncio.Event, server: aiohttp.ClientSession) -> None:
        began = time.monotonic()
        for shopper in shoppers(self._behaviour, self._pace):
            if shopper.at >= seconds:
                break
            if await _stopped(stop, began + shopper.at - time.monotonic()):
                return
            self._begin(shopper, server)
        await _stopped(stop, began + seconds - time.monotonic())

    def _begin(self, shopper: Shopper, server: aiohttp.ClientSession) -> None:
        if len(self._visits) >= self._place.concurrency:
            self.tally.turned_away += 1
            return
        self.tally.started += 1
        self.tally.bots += shopper.bot
        visit = asyncio.create_task(self._visit(shopper, server))
        self._visits.add(visit)
        visit.add_done_callback(self._ended)

    def _ended(self, visit: "asyncio.Task[None]") -> None:
        self._visits.discard(visit)
        if visit.cancelled():
            self.tally.cut_off += 1
        elif error := visit.exception():
            # Ours, not the shop's: it must be seen in the report.
            self.tally.failure(f"fault of the simulation: {type(error).__name__}: {error}")
        else:
            self.tally.finished += 1

    async def _visit(self, shopper: Shopper, server: aiohttp.ClientSession) -> None:
        jar = self._jar(shopper)
        # A connection of their own, which stays open between the steps.
        async with aiohttp.ClientSession(
            cookie_jar=jar, timeout=TIMEOUT, connector=self._connector(2), headers=self._host()
        ) as session:
            await Visit(
                self._behaviour, shopper, self._place.origin, session, server, self.tally, self._pace.speed
            ).run()
        if not shopper.bot and not shopper.member:
            self._jars.put(shopper.number, jar)

    def _jar(self, shopper: Shopper) -> aiohttp.CookieJar:
        """Give the cookies with which a shopper comes."""
        jar = self._jars.take(shopper.earlier)
        if shopper.member and shopper.member.jar:
            jar = self._kept.get(shopper.member.jar)
        if jar is not None:
            self.tally.returned += 1
            return jar
        jar = aiohttp.CookieJar(unsafe=True)
        if shopper.member and shopper.member.jar:
            self._kept[shopper.member.jar] = jar
        return jar

    async def _cut_off(self) -> None:
        for visit in list(self._visits):
            visit.cancel()
        if self._visits:
            await asyncio.wait(self._visits, timeout=LAST_VISITS)

    @asynccontextmanager
    async def _server_session(self) -> AsyncIterator[aiohttp.ClientSession]:
        async with aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(), timeout=TIMEOUT, connector=self._connector(16), headers=self._host()
        ) as session:
            yield session

    def _connector(self, limit: int) -> aiohttp.TCPConnector:
        trust: ssl.SSLContext | bool = _tls() if self._place.verify else False
        return aiohttp.TCPConnector(limit=limit, keepalive_timeout=SOCKETS_KEPT, ssl=trust, use_dns_cache=True)

    def _host(self) -> dict[str, str]:
        return {"host": self._place.host} if self._place.host else {}


class _Jars:
    """Cookies of the latest visits."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[int, aiohttp.CookieJar] = OrderedDict()

    def take(self, number: int | None) -> aiohttp.CookieJar | None:
        """Give the cookies of a visit that has ended; None where it has not, or is long ago."""
        return self._kept.pop(number, None) if number is not None else None

    def put(self, number: int, jar: aiohttp.CookieJar) -> None:
        """Keep cookies."""
        self._kept[number] = jar
        while len(self._kept) > self._most:
            self._kept.popitem(last=False)


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for a while, or until `stop`; tell whether it was set."""
    if seconds > 0:
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            return False
    return stop.is_set()


@cache
def _tls() -> ssl.SSLContext:
    # Reading the certificates anew for each shopper would cost more than the visit.
    return ssl.create_default_context()
