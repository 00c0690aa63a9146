"""Watching ABTests and FraudRules into the store.

Not with Kopf: our own watch tells when its list is complete and what vanished meanwhile, so no census is needed.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

from flywheel.kube.gateway import Gateway
from flywheel.kube.resources import Resource
from flywheel.kube.watch import Change, Watch
from flywheel.plan import Manifest
from flywheel.runtime.children import FRESH
from flywheel.runtime.store import Store


class Shelf(NamedTuple):
    """Where the store keeps the objects of one kind."""

    put: Callable[[Manifest], None]
    remove: Callable[[str, str, str], None]
    """By namespace, name and uid."""
    retain: Callable[[str | None, frozenset[str], int], None]
    """Told the namespace, the uids and the version of a complete list."""


class ManifestFeed:
    """Keeps one watch for each namespace on one kind."""

    def __init__(
        self, gateway: Gateway, store: Store, shelf: Shelf, resource: Resource, namespaces: Sequence[str | None]
    ) -> None:
        self._store, self._shelf = store, shelf
        self._watches = [Watch(gateway, resource, namespace) for namespace in namespaces]
        for watch in self._watches:
            store.expect(_source(watch))

    @property
    def complaint(self) -> str | None:
        """Which watch has been silent for too long, and why; None while all are fresh."""
        stale = [watch for watch in self._watches if watch.silent_for > FRESH]
        told = [f"{_source(each)} for {each.silent_for:.0f} s ({each.error or 'no error'})" for each in stale]
        return f"nothing heard of {'; '.join(told)}" if told else None

    @property
    def stuck(self) -> str | None:
        """Which watch is silent though it knows of no trouble, so that only a fresh start can help."""
        return self.complaint if all(watch.error is None for watch in self._watches) else None

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._follow(watch), name=f"watch {_source(watch)}")

    async def _follow(self, watch: Watch) -> None:
        async for event in watch.events():
            if not isinstance(event, Change):
                self._shelf.retain(watch.namespace, event.uids, event.resource_version)
                self._store.complete(_source(watch))
            elif event.type == "Deleted":
                metadata = event.manifest["metadata"]
                self._shelf.remove(metadata["namespace"], metadata["name"], metadata["uid"])
            else:
                self._shelf.put(event.manifest)


def _source(watch: Watch) -> str:
    return f"{watch.resource.name} in {watch.namespace or 'all namespaces'}"
