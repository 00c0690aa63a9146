"""Who calls the worker: tokens that were believed are so for a while, as each costs more than its question."""

import hashlib
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from flywheel.events.identity import Identity, NotAllowed
from flywheel.fraud.naming import WORKER

BELIEVED_FOR = 30.0
"""Seconds. A token that is taken back is believed for as long at most."""
MOST = 2_000
Ask = Callable[[str | None], Awaitable[str]]


class Callers:
    """Remembers who showed which token."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._known: dict[tuple[str, bytes], tuple[str, float]] = {}

    async def campaign(self, request: web.Request) -> str:
        """Give the campaign whose sidecar calls.

        Raises:
            NotIdentified: The token is not believed.
            NotAllowed: It belongs to somebody else.
            KeysUnavailable: That cannot be told now.
        """
        return await self._ask("sidecar", request, self._identity.campaign)

    async def service(self, request: web.Request) -> str:
        """Give the ServiceAccount of the namespace that calls.

        Raises:
            NotIdentified: The token is not believed.
            NotAllowed: It is of another namespace.
            KeysUnavailable: That cannot be told now.
        """
        return await self._ask("service", request, self._identity.account)

    async def worker(self, request: web.Request) -> None:
        """Let another worker of the namespace pass.

        Raises:
            NotIdentified: The token is not believed.
            NotAllowed: It is not a worker's.
            KeysUnavailable: That cannot be told now.
        """
        account = await self.service(request)
        if account != WORKER:
            raise NotAllowed(f"{account!r} is no fraud worker: its name would be {WORKER}.")

    async def operator(self, request: web.Request) -> None:
        """Let the operator pass.

        Raises:
            NotIdentified: The token is not believed.
            NotAllowed: It is not the operator's.
            KeysUnavailable: That cannot be told now.
        """
        await self._identity.check_operator(request.headers.get("Authorization"))

    async def _ask(self, role: str, request: web.Request, ask: Ask) -> str:
        shown = request.headers.get("Authorization")
        key = (role, hashlib.blake2b((shown or "").encode(), digest_size=16).digest())
        found = self._known.get(key)
        if found is not None and found[1] > time.monotonic():
            return found[0]
        answer = await ask(shown)
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[key] = (answer, time.monotonic() + BELIEVED_FOR)
        return answer
