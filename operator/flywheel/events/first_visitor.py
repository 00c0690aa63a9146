"""Who was the first visitor of a user: asked of the store, so that a person is assigned alike on all their devices.

Whoever says on a second device who they are gets the first one's visitor in a cookie there, by which the edge assigns.
A call is never held up by that for long, nor fails of it: without an answer in time there is no cookie, and the next
call asks again.
"""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import msgspec

from flywheel.edge.document import Visitor
from flywheel.edge.livemaps import VISITOR_PATTERN
from flywheel.events.naming import FIRST_VISITOR
from flywheel.events.rows import EventRow

COOKIE = "fw_as"
"""Whose assignments the browser takes over."""
TIMEOUT = 0.3
"""Seconds that a call is held up at most."""
AT_ONCE = 16
"""Questions; calls beyond those get no cookie."""
MOST_KNOWN = 10_000
KEPT = 600.0
"""Seconds for which an answer is believed: the visitor may be erased meanwhile."""
REST = 5.0
"""Seconds for which nothing is asked after a failure."""
_MOST_ANSWER = 1_024
_visitor = re.compile(VISITOR_PATTERN)


class _Answer(msgspec.Struct):
    visitor: str | None = None


def linked_user(rows: Sequence[EventRow], visitor: str) -> str:
    """Give the user whom the last of these events says the edge's own visitor to be; empty where none does."""
    said = (row.user_id for row in reversed(rows) if row.visitor == visitor and row.user_id and not row.bot)
    return next(said, "") if visitor else ""


def cookie(first: str, rules: Visitor, *, secure: bool) -> str:
    """Write the cookie as the edge writes that of the visitor."""
    attributes = f"Max-Age={max(0, rules.max_age)}; Path=/; HttpOnly; SameSite={rules.same_site}"
    domain = f"; Domain={rules.domain}" if rules.domain else ""
    return f"{COOKIE}={first}; {attributes}{domain}{'; Secure' if secure else ''}"


class FirstVisitors:
    """Asks the store, and remembers the answers of the last minutes."""

    def __init__(
        self,
        store: Callable[[], str | None],
        token_file: Path,
        *,
        timeout: float = TIMEOUT,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Make an asker; it connects when it is first asked.

        Args:
            store: Gives the address of the store; None while it is not known.
            token_file: The token that proves who this is.
            timeout: Seconds for one answer.
            clock: Seconds that only grow.
        """
        self._store, self._token_file, self._clock = store, token_file, clock
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._known: OrderedDict[str, tuple[str, float]] = OrderedDict()
        self._under_way = 0
        self._rests_until = float("-inf")

    async def find(self, user: str, visitor: str) -> str | None:
        """Give the first visitor of a user; None where that cannot be told in time.

        Args:
            user: Whose.
            visitor: Who says now that they are the user: the first one where the store knows of nobody.
        """
        now = self._clock()
        found = self._known.get(user)
        if found is not None and found[1] > now:
            self._known.move_to_end(user)
            return found[0]
        if self._under_way >= AT_ONCE or now < self._rests_until:
            return None
        self._under_way += 1
        try:
            async with asyncio.timeout(self._timeout):
                answer = await self._ask(user)
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError):
            self._rests_until = self._clock() + REST
            return None
        finally:
            self._under_way -= 1
        if answer.visitor is None:
            return visitor
        if not _visitor.fullmatch(answer.visitor):
            return None
        self._remember(user, answer.visitor)
        return answer.visitor

    async def _ask(self, user: str) -> _Answer:
        store = self._store()
        if store is None:
            raise ValueError("the edge's document is not known yet")
        if self._session is None:
            self._session = aiohttp.ClientSession()
        token = (await asyncio.to_thread(self._token_file.read_text, "utf-8")).strip()
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        body = msgspec.json.encode({"user": user})
        async with self._session.post(
            f"{store}{FIRST_VISITOR}", data=body, headers=headers, allow_redirects=False
        ) as response:
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}")
            return msgspec.json.decode(await response.content.read(_MOST_ANSWER), type=_Answer)

    def _remember(self, user: str, first: str) -> None:
        self._known[user] = (first, self._clock() + KEPT)
        self._known.move_to_end(user)
        while len(self._known) > MOST_KNOWN:
            self._known.popitem(last=False)

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
