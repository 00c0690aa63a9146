"""What the operator may ask the store: questions of known kinds, a few at a time, as visitors' events go first."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import msgspec
from aiohttp import web

from flywheel.events.http_answers import TooLarge, read_body, refusal

MOST_BODY = 32 << 10
AT_ONCE = 2
"""Questions; further ones wait."""
WAIT = 20.0
"""Seconds that a question waits for its turn."""

Asked = TypeVar("Asked", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Kind(Generic[Asked]):
    """One kind of question."""

    asked: type[Asked]
    complaint: Callable[[Asked], str | None]
    """What is wrong with a question, for people; None where nothing is."""
    figures: Callable[[Asked], Awaitable[dict[str, Any]]]
    """The answer."""
    most_body: int = MOST_BODY
    """Bytes of a question."""


class Questions:
    """The handlers of all kinds of questions, by path."""

    def __init__(self, kinds: Mapping[str, Kind[Any]]) -> None:
        self._kinds = kinds
        self._turns = asyncio.Semaphore(AT_ONCE)

    @property
    def paths(self) -> frozenset[str]:
        """Where questions are taken."""
        return frozenset(self._kinds)

    async def answer(self, request: web.Request) -> web.Response:
        """Answer one question."""
        kind = self._kinds[request.path]
        try:
            asked = msgspec.json.decode(await read_body(request, kind.most_body), type=kind.asked)
        except TooLarge as error:
            return refusal(413, "too_large", str(error))
        except (msgspec.DecodeError, RecursionError) as error:
            return refusal(400, "bad_request", f"The body is not what is wanted: {error}")
        if complaint := kind.complaint(asked):
            return refusal(400, "bad_request", complaint)
        try:
            async with asyncio.timeout(WAIT):
                await self._turns.acquire()
        except TimeoutError:
            return refusal(429, "busy", "Other questions are being answered; ask again.", {"Retry-After": "5"})
        try:
            return web.json_response(await kind.figures(asked))
        finally:
            self._turns.release()
