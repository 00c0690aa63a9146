"""Where the operator hands over what the event store knows of the time before a rule."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body, refusal
from flywheel.fraud import naming
from flywheel.fraud.callers import Callers
from flywheel.fraud.checking import problem
from flywheel.fraud.judging import Judging
from flywheel.fraud.records import Past
from flywheel.fraud.rulings import FillingEngine
from flywheel.fraud.trouble import Unreadable, must_be_ready

MOST_BYTES = 32 << 20
_past = msgspec.msgpack.Decoder(Past)


class PastServer:
    """The handler for the operator."""

    def __init__(
        self,
        callers: Callers,
        judging: Judging,
        not_ready: Callable[[], str | None],
        state: Callable[[], Mapping[str, object]],
    ) -> None:
        """Make it.

        Args:
            callers: Who may.
            judging: Takes the past in.
            not_ready: Why nothing can be taken now.
            state: What is answered.
        """
        self._callers, self._judging, self._not_ready, self._state = callers, judging, not_ready, state

    def add_to(self, application: web.Application) -> None:
        """Add the handler."""
        application.router.add_put(naming.PAST, self._take)

    async def _take(self, request: web.Request) -> web.Response:
        """Take the past of one rule; 409 where it is of no use, which may be another thing a little later."""
        await self._callers.operator(request)
        must_be_ready(self._not_ready)
        past = _past.decode(await read_body(request, MOST_BYTES))
        if wrong := await asyncio.to_thread(_complaint, past):
            raise Unreadable(f"The past cannot be taken: {wrong}.")
        if why := await asyncio.to_thread(self._unready, past):
            return refusal(409, "no_use", why)
        await self._judging.submit(past)
        return web.json_response(self._state())

    def _unready(self, past: Past) -> str:
        desk = self._judging.casebook.desks.get(past.campaign)
        if desk is None or not isinstance(desk.engine, FillingEngine):
            return f"nothing of {past.campaign} is judged here whose windows could be filled"
        return desk.engine.unready(past)


def _complaint(past: Past) -> str:
    if not 0 < past.start <= past.until:
        return "start and until are moments, the one before the other"
    return next((found for each in past.batches if (found := problem(each))), "")
