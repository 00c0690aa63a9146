"""Watching the children of campaigns into the store.

Not with Kopf: it keeps about 17 KiB, a deep copy and a task for each object, and a thousand campaigns have fifteen
thousand children. Here an object is trimmed to a few hundred bytes as soon as it is parsed.
"""

import asyncio
from collections.abc import Sequence

from flywheel.kube.errors import ApiError
from flywheel.kube.gateway import Gateway
from flywheel.kube.live import live_object
from flywheel.kube.resources import CHILDREN, OPTIONAL
from flywheel.kube.watch import Change, Watch
from flywheel.plan import MANAGED_BY_LABEL
from flywheel.runtime.store import Store

SELECTOR = f"{MANAGED_BY_LABEL}=flywheel"
LOOK_AGAIN = 15.0
"""Seconds until an API that the cluster lacks, or that we may not use, is looked for again."""
FORBIDDEN = 403
FRESH = 180.0
"""Seconds of silence after which a watch is called stale; bookmarks come about every minute."""


class ChildFeed:
    """Keeps one watch for each kind of child and each namespace."""

    def __init__(self, gateway: Gateway, store: Store, namespaces: Sequence[str | None]) -> None:
        self._gateway = gateway
        self._store = store
        self._watches = [
            Watch(gateway, resource, namespace, SELECTOR) for resource in CHILDREN for namespace in namespaces
        ]
        self._absent: set[Watch] = set()
        for watch in self._watches:
            store.expect(_source(watch))

    @property
    def complaint(self) -> str | None:
        """Which watch has been silent for too long, and why; None while all are fresh."""
        stale = [_state(watch) for watch in self._watches if watch.silent_for > FRESH and not self._is_absent(watch)]
        return f"nothing heard of {'; '.join(stale)}" if stale else None

    @property
    def stuck(self) -> str | None:
        """Which watch is silent though it knows of no trouble, so that only a fresh start can help."""
        return self.complaint if all(watch.error is None for watch in self._watches) else None

    def _is_absent(self, watch: Watch) -> bool:
        gone = watch.resource in OPTIONAL and watch.error is not None and watch.error.is_not_found
        return gone or watch in self._absent

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._follow(watch), name=f"watch {_source(watch)}")

    async def _follow(self, watch: Watch) -> None:
        if watch.resource in OPTIONAL:
            await self._wait_until_served(watch)
        async for event in watch.events():
            if not isinstance(event, Change):
                self._store.retain(watch.resource, watch.namespace, event.uids, event.resource_version)
                self._store.complete(_source(watch))
            elif event.type == "Deleted":
                gone = live_object(event.manifest)
                self._store.remove(gone.key, gone.uid)
            else:
                self._store.put(live_object(event.manifest))

    async def _wait_until_served(self, watch: Watch) -> None:
        while not await self._may_watch(watch):
            self._absent.add(watch)
            self._store.complete(_source(watch))
            await asyncio.sleep(LOOK_AGAIN)
        self._absent.discard(watch)

    async def _may_watch(self, watch: Watch) -> bool:
        """Tell whether the cluster knows an optional kind, and we have the right to look: it can be left out."""
        resource = watch.resource
        while True:
            try:
                if not await self._gateway.is_served(resource.group, resource.version, resource.kind):
                    return False
                await self._gateway.list_page(resource, watch.namespace, SELECTOR, limit=1, metadata_only=True)
            except ApiError as error:
                if error.is_not_found or error.status == FORBIDDEN:
                    return False
                await asyncio.sleep(1)
            else:
                return True


def _state(watch: Watch) -> str:
    return f"{_source(watch)} for {watch.silent_for:.0f} s ({watch.error or 'no error'})"


def _source(watch: Watch) -> str:
    return f"{watch.resource.name} in {watch.namespace or 'all namespaces'}"
