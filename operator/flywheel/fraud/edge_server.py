"""What sidecars ask of the worker: to judge events, and to be told of decisions."""

import asyncio
import contextlib
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from flywheel.events.http_answers import TooLarge, read_body, refusal
from flywheel.fraud import feed, naming
from flywheel.fraud.callers import Callers
from flywheel.fraud.checking import read
from flywheel.fraud.clocks import believed
from flywheel.fraud.judging import Full, Judging
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.records import Events
from flywheel.fraud.serving import Serving
from flywheel.fraud.shares import MOST
from flywheel.fraud.subscriptions import Subscriptions
from flywheel.fraud.trouble import Unreadable, must_be_ready
from flywheel.fraud.words import Event

log = logging.getLogger(__name__)

MOST_BYTES = 16 << 20
MOST_EVENTS = 5_000
COMPLAIN = 60.0
"""Seconds between two complaints about clocks."""
_BATCH = re.compile(r"([A-Za-z0-9._-]{1,300})/(\d{1,15})")
_SINCE = re.compile(r"([0-9a-f]{1,32}):(\d{1,15})")
Counted = Callable[[str, Sequence[Event], bool], None]
"""Told campaign, events, and whether they were new."""


class _Sent(NamedTuple):
    """What stands about a batch beside it."""

    sender: str
    number: int
    lost: int
    workers: int


class EdgeServer:
    """Handlers for sidecars."""

    def __init__(
        self,
        callers: Callers,
        judging: Judging,
        subscriptions: Subscriptions,
        epoch: str,
        keys: dict[str, str],
        complaint: Callable[[], str | None],
        counted: Counted,
        serving: Serving,
        unread: Callable[[], str | None],
    ) -> None:
        """Make it.

        Args:
            callers: Who may.
            judging: Takes events.
            subscriptions: Wakes those who wait for decisions.
            epoch: Of this process.
            keys: With which passes are signed.
            complaint: Why nobody can be told of decisions now.
            counted: Told of events.
            serving: Told of those who send.
            unread: Why no events can be taken now.
        """
        self._callers, self._judging, self._subscriptions = callers, judging, subscriptions
        self._epoch, self._keys = epoch, keys
        self._complaint, self._counted = complaint, counted
        self._serving, self._unread = serving, unread
        self._said = -math.inf

    def add_to(self, application: web.Application) -> None:
        """Add the handlers."""
        application.router.add_post(naming.EVENTS, self._take)
        application.router.add_get(naming.DECISIONS, self._tell)

    async def _take(self, request: web.Request) -> web.Response:
        campaign = await self._callers.campaign(request)
        must_be_ready(self._unread)
        sent = _sent(request)
        if isinstance(sent, web.Response):
            return sent
        self._serving.hear(sent.sender)
        try:
            events = read(await read_body(request, MOST_BYTES))
        except ValueError as error:
            raise Unreadable(f"The events cannot be read: {error}") from error
        if len(events) > MOST_EVENTS:
            raise TooLarge(f"There are {len(events)} events; at most {MOST_EVENTS} fit.")
        events, ahead = believed(events, int(time.time() * 1000))
        if ahead:
            self._complain(campaign, sent.sender, ahead)
        try:
            record = Events(campaign, sent.sender, sent.number, events, sent.lost, sent.workers)
            new = await self._judging.submit(record)
        except Full as error:
            return refusal(429, "busy", str(error), {"Retry-After": "1"})
        except OSError as error:
            return refusal(503, "disk", f"The journal cannot be written: {error}", {"Retry-After": "2"})
        self._counted(campaign, Packed(Reading(events)), new)
        return web.json_response({"judged": len(events) if new else 0})

    def _complain(self, campaign: str, sender: str, count: int) -> None:
        """Say that an edge's clock is ahead, from time to time: each of its batches is."""
        if time.monotonic() < self._said + COMPLAIN:
            return
        self._said = time.monotonic()
        log.warning(
            "%d events of %s say that they arrived later than now, and count as of now: the clock of %s is ahead, or "
            "ours is behind. See that the machines' clocks are kept.", count, campaign, sender,
        )  # fmt: skip

    async def _tell(self, request: web.Request) -> web.StreamResponse:
        campaign = await self._callers.campaign(request)
        must_be_ready(self._complaint)
        since = _SINCE.fullmatch(request.query.get("since", ""))
        known = int(since[2]) if since is not None and since[1] == self._epoch else None
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson", "Cache-Control": "no-store"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError), self._subscriptions.subscribe(campaign) as told:
            await self._follow(response, campaign, known, told)
        return response

    async def _follow(
        self, response: web.StreamResponse, campaign: str, known: int | None, told: asyncio.Event
    ) -> None:
        blocks = self._judging.casebook.desk(campaign).blocks
        keys: dict[str, str] | None = self._keys
        while not self._subscriptions.closing.is_set():
            told.clear()
            change = feed.since(blocks, known)
            await response.write(feed.line(self._epoch, change, keys))
            known, keys = change.version, None
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(told.wait(), feed.HEARTBEAT)


def _sent(request: web.Request) -> _Sent | web.Response:
    """Read what stands about a batch beside it; give the refusal where that makes no sense."""
    sent = _BATCH.fullmatch(request.headers.get("X-Flywheel-Batch", ""))
    if sent is None:
        return refusal(400, "bad_batch", "The header X-Flywheel-Batch has to be <sender>/<number>.")
    lost = request.headers.get("X-Flywheel-Lost", "0")
    if not (lost.isascii() and lost.isdigit() and len(lost) <= 15):
        return refusal(400, "bad_lost", "The header X-Flywheel-Lost has to be a number.")
    workers = request.headers.get(naming.WORKERS_HEADER, "1")
    if not (workers.isascii() and workers.isdigit() and len(workers) <= 4 and 0 < int(workers) <= MOST):
        return refusal(400, "bad_workers", f"The header {naming.WORKERS_HEADER} has to be a number from 1 to {MOST}.")
    return _Sent(sent[1], int(sent[2]), int(lost), int(workers))
