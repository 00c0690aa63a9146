"""What the operator asks the store: figures of the slots of a service, for gates of releases."""

import asyncio
import re
from typing import Any

import msgspec
from aiohttp import web

from flywheel.events.engine import Limits
from flywheel.events.http_answers import TooLarge, read_body, refusal
from flywheel.events.store import Store
from flywheel.insight.slots import (
    LONGEST_WINDOW,
    MOST_EVENTS,
    SlotScope,
    events_statement,
    requests_statement,
    shape,
)

MOST_BODY = 16 << 10
SECONDS = 15.0
"""Of the engine, for one of the two questions."""
MOST_ROWS = 1_000
LONGEST_NAME = 253
LONGEST_EVENT = 512
AT_ONCE = 2
"""Questions; further ones wait, as visitors' events go first."""
WAIT = 20.0
"""Seconds that a question waits for its turn."""
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


class Asked(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Which figures are wanted."""

    campaign: str
    service: str
    since: int
    """Milliseconds since 1970; included."""
    until: int
    """Excluded."""
    events: list[str] = []


class SlotsServer:
    """The handler of `POST /v1/slots`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one question."""
        try:
            asked = msgspec.json.decode(await read_body(request, MOST_BODY), type=Asked)
        except TooLarge as error:
            return refusal(413, "too_large", str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            return refusal(400, "bad_request", f"The body is not what is wanted: {error}")
        if complaint := _complaint(asked):
            return refusal(400, "bad_request", complaint)
        try:
            async with asyncio.timeout(WAIT):
                await self._turns.acquire()
        except TimeoutError:
            return refusal(429, "busy", "Other questions are being answered; ask again.", {"Retry-After": "5"})
        try:
            return web.json_response(await self._figures(asked))
        finally:
            self._turns.release()

    async def _figures(self, asked: Asked) -> dict[str, Any]:
        names = tuple(dict.fromkeys(asked.events))
        scope = SlotScope(asked.campaign, asked.service, asked.since, asked.until, names)
        limits = Limits(seconds=SECONDS, rows=MOST_ROWS)
        first = requests_statement(scope)
        requests = await self._store.query(first.sql, first.parameters, limits)
        events: list[dict[str, object]] = []
        if names and requests:
            second = events_statement(scope)
            events = await self._store.query(second.sql, second.parameters, limits)
        return {"slots": {slot: figures.plain() for slot, figures in shape(scope, requests, events).items()}}


def _complaint(asked: Asked) -> str | None:
    if not _NAME.fullmatch(asked.campaign) or not _NAME.fullmatch(asked.service):
        return "`campaign` and `service` are names of a Campaign and of one of its services."
    if not 0 <= asked.since < asked.until < 1 << 53:
        return "`since` and `until` are moments in milliseconds since 1970, the one before the other."
    if asked.until - asked.since > LONGEST_WINDOW:
        return "Between `since` and `until` there may be a day at most."
    if len(asked.events) > MOST_EVENTS:
        return f"At most {MOST_EVENTS} events are counted at once."
    if not all(0 < len(each) <= LONGEST_EVENT for each in asked.events):
        return f"The names of `events` have 1 to {LONGEST_EVENT} characters."
    return None
