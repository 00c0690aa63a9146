"""What other workers of the namespace ask of one: the secret that they share, and keys that move to them."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path

import msgspec
from aiohttp import web

from flywheel.events.http_answers import refusal
from flywheel.events.identity import NotAllowed
from flywheel.fraud import naming, pass_key
from flywheel.fraud.callers import Callers
from flywheel.fraud.judging import Judging
from flywheel.fraud.moving import moved
from flywheel.fraud.peers import Layout
from flywheel.fraud.serving import Serving
from flywheel.fraud.shares import MOST
from flywheel.fraud.trouble import must_be_ready

log = logging.getLogger(__name__)

SENDING = 300.0
"""Seconds in which keys have to be taken."""
PIECE = 1 << 20
_encode = msgspec.json.Encoder().encode


class KinServer:
    """Handlers for other workers."""

    def __init__(
        self,
        callers: Callers,
        judging: Judging,
        serving: Serving,
        key: pass_key.Key,
        directory: Path,
        complaint: Callable[[], str | None],
        layout: Callable[[], Layout],
    ) -> None:
        """Make it.

        Args:
            callers: Who may.
            judging: Has the keys.
            serving: Which sidecars serve how many workers.
            key: That all workers share.
            directory: Where keys that move are written down, until they have been sent.
            complaint: Why nothing can be told of keys now.
            layout: How this worker shares the keys.
        """
        self._callers, self._judging, self._serving, self._key = callers, judging, serving, key
        self._path, self._complaint, self._layout = directory / "moved.part", complaint, layout
        self._one = asyncio.Lock()

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_get(naming.KIN, self._tell_key)
        application.router.add_get(naming.LAYOUT, self._tell_layout)
        application.router.add_get(naming.MOVED, self._tell_moved)

    async def _check(self, request: web.Request) -> None:
        account = await self._callers.service(request)
        if account != naming.WORKER:
            raise NotAllowed(f"{account!r} is no fraud worker, which is the ServiceAccount {naming.WORKER}.")

    async def _tell_key(self, request: web.Request) -> web.Response:
        await self._check(request)
        headers = {"Cache-Control": "no-store"}
        return web.Response(text=pass_key.written(self._key), content_type="application/json", headers=headers)

    async def _tell_layout(self, request: web.Request) -> web.Response:
        await self._check(request)
        must_be_ready(self._complaint)
        return web.Response(body=_encode(self._layout()), content_type="application/json")

    async def _tell_moved(self, request: web.Request) -> web.StreamResponse:
        await self._check(request)
        number, of = (_number(request.query.get(name, "")) for name in ("shard", "of"))
        if not 0 < of <= MOST:
            return refusal(400, "bad_of", f"The number of shards, `of`, has to be one from 1 to {MOST}.")
        if not 0 <= number < of:
            return refusal(400, "bad_shard", f"The shard has to be a number from 0 to {of - 1}.")
        must_be_ready(self._complaint)
        here = self._judging.casebook.shard
        if number == here.number:
            return refusal(400, "bad_shard", f"{number} is the shard of this very worker.")
        if here.of in (0, of):
            return web.Response(status=204)
        if self._one.locked():
            return refusal(503, "busy", "Keys are being moved to another worker.", {"Retry-After": "1"})
        async with self._one:
            return await self._give(request, number, of)

    async def _give(self, request: web.Request, number: int, of: int) -> web.StreamResponse:
        behind: tuple[str, ...] = ()
        book = self._judging.casebook

        def is_served() -> bool:
            nonlocal behind
            behind = self._serving.behind(of)
            return not behind

        try:
            await self._judging.copied(lambda: self._path.write_bytes(moved(book, number, of)), is_served)
            if behind:
                said = f"{len(behind)} sidecars do not send to {of} workers yet: {', '.join(behind[:5])}."
                return refusal(409, "not_served", said, {"Retry-After": "1"})
            return await self._send(request)
        except OSError as error:
            return refusal(503, "disk", f"Keys cannot be written down: {error}", {"Retry-After": "2"})
        finally:
            self._path.unlink(missing_ok=True)

    async def _send(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Cache-Control": "no-store"})
        response.content_length = self._path.stat().st_size
        try:
            async with asyncio.timeout(SENDING):
                with self._path.open("rb") as file:
                    await response.prepare(request)
                    while piece := await asyncio.to_thread(file.read, PIECE):
                        await response.write(piece)
                await response.write_eof()
        except (ConnectionError, TimeoutError) as error:
            log.warning("Keys that move were not taken: %s: %s", type(error).__name__, error)
            if request.transport is not None:
                # Whoever asks must not take a part for the whole.
                request.transport.abort()
        return response


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 4 else -1
