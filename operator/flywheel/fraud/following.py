"""A fraud worker's decisions as they are made: a stream that is held open, and opened anew when it ends.

While the worker is away, what it has told stays, until each decision's own end.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable

import aiohttp
import msgspec

from flywheel.fraud import feed, naming
from flywheel.fraud.sending import Meters, Token

log = logging.getLogger(__name__)

PAUSE = 0.5
"""Seconds before another try, about."""
CONNECT = 3.0
LONGEST_LINE = 256 << 20
Take = Callable[[str, feed.Line], Awaitable[None]]
"""Told the worker and what it tells."""


class Following:
    """One worker's stream."""

    def __init__(self, worker: str, token: Token, session: aiohttp.ClientSession, take: Take, meters: Meters) -> None:
        self.worker = worker
        self._token, self._session, self._take, self._meters = token, session, take, meters
        self._epoch, self._version = "", 0
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._said = ""

    async def run(self) -> None:
        """Follow until cancelled."""
        try:
            await self._follow_on()
        finally:
            # Whoever is no worker of ours any more is not missed.
            self._meters.connected.values.pop((self.worker,), None)

    async def _follow_on(self) -> None:
        while True:
            try:
                await self._follow()
                said = "it has ended the stream"
            except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
                said = f"{type(error).__name__}: {error}"[:300]
            finally:
                self._meters.connected.values[(self.worker,)] = 0.0
            if said != self._said:
                log.warning("%s tells of no decisions; those that hold go on: %s", self.worker, said)
                self._said = said
            await asyncio.sleep(self._random.uniform(PAUSE / 2, PAUSE))

    async def _follow(self) -> None:
        """Hear what the worker tells, until it goes.

        Raises:
            aiohttp.ClientError: It does not answer, or refuses.
            TimeoutError: It says nothing for too long.
            OSError: There is no token.
            ValueError: What it says is no line of ours.
        """
        since = f"?since={self._epoch}:{self._version}" if self._epoch else ""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=feed.SILENCE)
        headers = await self._token.headers()
        asked = self._session.get(
            self.worker + naming.DECISIONS + since, headers=headers, timeout=timeout, allow_redirects=False
        )
        async with asked as response:
            if response.status in (401, 403):
                self._token.forget()
            response.raise_for_status()
            self._meters.connected.values[(self.worker,)] = 1.0
            self._said = ""
            pending = bytearray()
            async for piece in response.content.iter_any():
                pending += piece
                if len(pending) > LONGEST_LINE:
                    raise ValueError("a line of it has no end")
                *lines, rest = bytes(pending).split(b"\n") if b"\n" in piece else (bytes(pending),)
                for each in lines:
                    await self._hear(each)
                pending = bytearray(rest)

    async def _hear(self, text: bytes) -> None:
        try:
            line = feed.read(text)
        except msgspec.DecodeError as error:
            raise ValueError(f"a line of it cannot be read: {error}") from error
        if line.whole or line.put or line.gone or line.keys:
            await self._take(self.worker, line)
        self._epoch, self._version = line.epoch, line.version
