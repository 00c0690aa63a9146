"""Watching one kind of object for ever: list, follow, resume, and list again when the server has forgotten us."""

import asyncio
import json
import logging
import math
import random
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Literal

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import Resource
from flywheel.plan import Manifest

log = logging.getLogger(__name__)

INACTIVITY = 90.0
"""Seconds of silence after which a watch is taken for dead: the server sends a bookmark about every minute."""
SESSION = (240, 360)
"""Seconds after which the server ends one request, so that connections spread over the API servers."""
LONGEST_PAUSE = 5.0
SOON = 1.0
"""Seconds within which a request that has ended is no reason for the next one."""


@dataclass(frozen=True, slots=True)
class Change:
    """One object came, changed or went."""

    type: Literal["Present", "Deleted"]
    manifest: Manifest


@dataclass(frozen=True, slots=True)
class Synced:
    """A complete list has been given. What is not in it, and is not newer than it, does not exist any more."""

    uids: frozenset[str]
    resource_version: int


class Watch:
    """The changes of one kind in one namespace, or of the whole cluster with the namespace None."""

    def __init__(
        self,
        gateway: Gateway,
        resource: Resource,
        namespace: str | None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        inactivity: float = INACTIVITY,
    ) -> None:
        self.resource = resource
        self.namespace = namespace
        self._gateway = gateway
        self._selector = label_selector
        self._fields = field_selector
        self._inactivity = inactivity
        self._heard = time.monotonic()
        self._failures = 0
        self._random = random.Random()  # noqa: S311 - spreads reconnections, protects nothing
        self._told = False
        self.error: ApiError | None = None
        """Why the watch does not work at present; None while it does."""

    @property
    def silent_for(self) -> float:
        """Seconds since anything arrived, bookmarks included."""
        return time.monotonic() - self._heard

    async def events(self) -> AsyncIterator[Change | Synced]:
        """Yield changes without end. After each `Synced` the reader knows the whole world again.

        No error of the API server ends this: it is kept in `error` and the watch is tried again, ever more slowly.
        """
        resource_version = ""
        listed_at = -math.inf
        while True:
            try:
                if not resource_version:
                    listed_at = time.monotonic()
                    async for listed in self._list():
                        yield listed
                        if isinstance(listed, Synced):
                            resource_version = str(listed.resource_version)
                async for event in self._follow(resource_version):
                    if event["type"] != "BOOKMARK":
                        yield Change("Deleted" if event["type"] == "DELETED" else "Present", event["object"])
                    resource_version = event["object"]["metadata"]["resourceVersion"]
            except ApiError as error:
                self._note(error)
                if error.is_not_found:
                    # 410: the server has forgotten this version. 404: the API itself went away.
                    resource_version = ""
                # A server that forgets at once what it has just listed is not asked as fast as it answers.
                if error.status != 410 or time.monotonic() < listed_at + SOON:
                    await self._pause()

    async def _pause(self) -> None:
        self._failures += 1
        longest = min(LONGEST_PAUSE, 0.25 * 2.0 ** min(self._failures, 10))
        await asyncio.sleep(self._random.uniform(longest / 2, longest))

    def _alive(self) -> None:
        self._heard = time.monotonic()
        self._failures = 0
        if self.error is not None and self._told:
            log.info("Watching %s works again.", self.resource.name)
        self.error, self._told = None, False

    def _note(self, error: ApiError) -> None:
        self.error = error
        # One failure is daily life: a server ended the request, or nothing was said for a while.
        if self._failures >= 1 and not self._told:
            self._told = True
            log.warning("Watching %s does not work and is tried again: %s", self.resource.name, error)

    async def _list(self) -> AsyncIterator[Change | Synced]:
        uids: set[str] = set()
        version = 0
        async for page in self._gateway.list_all(
            self.resource, self.namespace, self._selector, field_selector=self._fields
        ):
            self._alive()
            version = int(page["metadata"]["resourceVersion"])
            for item in page.get("items") or ():
                item.setdefault("apiVersion", self.resource.api_version)
                item.setdefault("kind", self.resource.kind)
                uids.add(item["metadata"]["uid"])
                yield Change("Present", item)
        yield Synced(frozenset(uids), version)

    async def _follow(self, resource_version: str) -> AsyncIterator[Manifest]:
        query = [
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", resource_version),
            ("timeoutSeconds", str(self._random.randint(*SESSION))),
        ]
        if self._selector:
            query.append(("labelSelector", self._selector))
        if self._fields:
            query.append(("fieldSelector", self._fields))
        opened = time.monotonic()
        async with self._gateway.open_watch(self.resource, self.namespace, query, self._inactivity) as lines:
            self._alive()
            async for event in _guarded(lines):
                self._alive()
                yield event
        if time.monotonic() < opened + SOON:
            # A server that ends each request at once (it is shutting down, or a proxy cuts us off) is left in peace.
            await self._pause()


async def _guarded(lines: AsyncIterator[Manifest]) -> AsyncIterator[Manifest]:
    try:
        async for event in lines:
            if event.get("type") == "ERROR":
                status = event.get("object") or {}
                code = int(status.get("code") or 500)
                raise ApiError(code, status.get("reason") or "Unknown", status.get("message") or "The watch failed.")
            yield event
    except json.JSONDecodeError as error:
        raise ApiError(0, "Unreachable", f"The watch was cut off in the middle of a line: {error}") from error
