"""Watching children: what a cluster lacks, or what we may not look at, holds up nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.patience import PATIENCE

from flywheel.kube.errors import ApiError
from flywheel.kube.resources import CHILDREN, OPTIONAL, Resource
from flywheel.plan import Manifest
from flywheel.runtime import children as module
from flywheel.runtime.children import ChildFeed
from flywheel.runtime.store import Store


class Cluster:
    """An API server without objects, that knows some kinds and lets us see some of them."""

    def __init__(self, *, served: bool, allowed: bool) -> None:
        self.served = served
        self.allowed = allowed
        self.asked = 0

    async def is_served(self, group: str, version: str, kind: str) -> bool:
        self.asked += 1
        return self.served

    async def list_page(self, resource: Resource, namespace: str | None = None, *_: Any, **__: Any) -> Manifest:
        if resource in OPTIONAL and not self.allowed:
            raise ApiError(403, "Forbidden", "podmonitors.monitoring.coreos.com is forbidden")
        return {"metadata": {"resourceVersion": "1"}, "items": []}

    async def list_all(self, resource: Resource, namespace: str | None, *_: Any, **__: Any) -> AsyncIterator[Manifest]:
        yield await self.list_page(resource, namespace)

    @asynccontextmanager
    async def open_watch(self, *_: Any) -> AsyncIterator[AsyncIterator[Manifest]]:
        async def nothing() -> AsyncIterator[Manifest]:
            await asyncio.Event().wait()
            yield {}

        yield nothing()


@pytest.mark.parametrize(("served", "allowed"), [(True, True), (False, True), (True, False)])
async def test_the_store_is_complete_though_an_optional_kind_is_missing_or_forbidden(
    monkeypatch: pytest.MonkeyPatch, served: bool, allowed: bool
) -> None:
    monkeypatch.setattr(module, "LOOK_AGAIN", 0.01)
    cluster, store = Cluster(served=served, allowed=allowed), Store()
    feed = ChildFeed(cluster, store, (None,))  # type: ignore[arg-type]
    assert len(store.waiting_for) == len(CHILDREN)
    running = asyncio.create_task(feed.run())
    async with asyncio.timeout(PATIENCE):
        await store.wait_synced()
        if not (served and allowed):
            # It is looked for again and again, and found once it is there.
            before = cluster.asked
            while cluster.asked < before + 2 * len(OPTIONAL):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
    assert feed.complaint is None
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
