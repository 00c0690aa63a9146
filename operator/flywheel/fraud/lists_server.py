"""Where the operator hands over the lists that rules name, and what is told of those that the worker has."""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from aiohttp import web

from flywheel.events.http_answers import read_body
from flywheel.fraud import naming
from flywheel.fraud.callers import Callers
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.judging import Judging
from flywheel.fraud.listed import complaint
from flywheel.fraud.records import Lists
from flywheel.fraud.trouble import Unreadable, must_be_ready

MOST_BYTES = 8 << 20
"""Of one list, and the names of all."""
MOST_LISTS = 1_000
_lists = msgspec.msgpack.Decoder(Lists)


class ListsServer:
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
            judging: Takes lists in.
            not_ready: Why nothing can be taken now.
            state: What is answered.
        """
        self._callers, self._judging, self._not_ready, self._state = callers, judging, not_ready, state

    def add_to(self, application: web.Application) -> None:
        """Add the handler."""
        application.router.add_put(naming.LISTS, self._take)

    async def _take(self, request: web.Request) -> web.Response:
        await self._callers.operator(request)
        must_be_ready(self._not_ready)
        lists, book = _lists.decode(await read_body(request, MOST_BYTES)), self._judging.casebook
        if wrong := await asyncio.to_thread(_complaint, lists):
            raise Unreadable(f"The lists cannot be taken: {wrong}.")
        if not _is_there(lists, book):
            for each in lists.put:
                await asyncio.to_thread(book.prepare, each)
            await self._judging.submit(lists)
        return web.json_response(self._state())


def _complaint(lists: Lists) -> str:
    if len(lists.wanted) > MOST_LISTS:
        return f"there are {len(lists.wanted)}, and at most {MOST_LISTS} are kept"
    unknown = {each.of.source for each in lists.put} - {each.source for each in lists.wanted}
    if unknown:
        return f"nobody wants {', '.join(sorted(unknown))}"
    return next((found for each in lists.put if (found := complaint(each))), "")


def _is_there(lists: Lists, casebook: Casebook) -> bool:
    """Whether nothing would change: then nothing has to be written down."""
    known = casebook.lists
    return known.keys() <= set(lists.wanted) and all(known.get(each.of) == each for each in lists.put)


def told(casebook: Casebook) -> list[dict[str, object]]:
    """Tell which lists a worker has: where they are kept and how long they are, and nothing that is in them."""
    return [
        {**msgspec.to_builtins(of), "digest": each.digest, "entries": each.count}
        for of, each in casebook.entries.items()
    ]
