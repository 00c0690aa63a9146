"""The gateway's contract, kept against a real API server."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from flywheel.kube.errors import ApiError, NotLeader
from flywheel.kube.gateway import Gateway
from flywheel.kube.leases import LeaseFile
from flywheel.kube.live import live_object
from flywheel.kube.resources import CONFIG_MAP, EVENT, HTTP_ROUTE, SERVICE
from flywheel.kube.watch import Change, Synced, Watch
from flywheel.plan import CAMPAIGN_LABEL, HASH_ANNOTATION, Manifest, Notice, ObjectKey

NOW = datetime(2027, 6, 16, tzinfo=UTC)


class Fence:
    """A fence that a test opens and closes, and that counts who came by."""

    def __init__(self) -> None:
        self.closed = False
        self.passed = 0

    def __call__(self) -> None:
        if self.closed:
            raise NotLeader("the lease is not held")
        self.passed += 1


@pytest.fixture
def fence() -> Fence:
    return Fence()


@pytest.fixture
def calls() -> list[tuple[str, str]]:
    return []


@pytest.fixture
async def gateway(
    cluster: Any, monkeypatch: pytest.MonkeyPatch, fence: Fence, calls: list[tuple[str, str]]
) -> AsyncIterator[Gateway]:
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig))
    opened = await Gateway.connect(fence=fence, observe=lambda verb, result: calls.append((verb, result)))
    yield opened
    await opened.close()


@pytest.fixture
async def namespace(gateway: Gateway, fence: Fence) -> AsyncIterator[str]:
    name = f"gateway-{uuid.uuid4().hex[:8]}"
    made = await gateway.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    fence.closed = False
    await gateway.delete(ObjectKey.of(made), uid=made["metadata"]["uid"], propagation="Background")


def config_map(namespace: str, name: str = "c", **data: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, "labels": {CAMPAIGN_LABEL: "spring"}},
        "data": data,
    }


def deployment(namespace: str, name: str = "web", **spec: Any) -> Manifest:
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "main", "image": "shop/web:1"}]}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {CAMPAIGN_LABEL: "spring"},
            "annotations": {HASH_ANNOTATION: "0123456789abcdef"},
        },
        "spec": {"selector": {"matchLabels": labels}, "template": template, **spec},
    }


async def test_applying_creates_and_then_owns_only_what_it_names(gateway: Gateway, namespace: str) -> None:
    made = await gateway.apply(config_map(namespace, a="1"))
    key = ObjectKey.of(made)
    await gateway.merge_patch(key, {"data": {"b": "2"}})
    again = await gateway.apply(config_map(namespace, a="3"))
    assert again["data"] == {"a": "3", "b": "2"}
    assert (await gateway.get(key) or {})["data"] == {"a": "3", "b": "2"}


async def test_applying_the_same_again_writes_nothing(gateway: Gateway, namespace: str) -> None:
    # A ConfigMap, as nobody but us writes to it in between.
    first = await gateway.apply(config_map(namespace, a="1"))
    second = await gateway.apply(config_map(namespace, a="1"))
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_status_is_applied_through_its_subresource(gateway: Gateway, namespace: str) -> None:
    made = await gateway.apply(deployment(namespace))
    status = {key: made[key] for key in ("apiVersion", "kind")}
    status |= {"metadata": {"name": "web", "namespace": namespace}, "status": {"collisionCount": 3}}
    after = await gateway.apply(status, subresource="status", field_manager="somebody")
    assert after["status"]["collisionCount"] == 3
    assert live_object(after).owned_fields == live_object(made).owned_fields


async def test_a_merge_patch_with_an_old_version_is_a_conflict(gateway: Gateway, namespace: str) -> None:
    made = await gateway.apply(config_map(namespace))
    await gateway.merge_patch(ObjectKey.of(made), {"data": {"b": "2"}})
    patch = {"metadata": {"resourceVersion": made["metadata"]["resourceVersion"], "finalizers": ["flywheel.dev/x"]}}
    with pytest.raises(ApiError) as caught:
        await gateway.merge_patch(ObjectKey.of(made), patch)
    assert caught.value.is_conflict
    assert caught.value.is_retryable


async def test_a_refused_value_names_its_field(gateway: Gateway, namespace: str) -> None:
    with pytest.raises(ApiError) as caught:
        await gateway.apply(deployment(namespace, replicas=-1))
    assert caught.value.is_invalid
    assert not caught.value.is_retryable
    assert [cause.field for cause in caught.value.causes] == ["spec.replicas"]


async def test_an_unknown_field_is_refused_and_not_dropped(gateway: Gateway, namespace: str) -> None:
    with pytest.raises(ApiError, match="replikas") as caught:
        await gateway.apply(deployment(namespace, replikas=1))
    assert caught.value.is_invalid
    assert not caught.value.is_retryable
    assert [cause.field for cause in caught.value.causes] == ["spec.replikas"]


async def test_a_namespace_that_is_not_there(gateway: Gateway) -> None:
    with pytest.raises(ApiError) as caught:
        await gateway.apply(config_map("nowhere-at-all"))
    assert caught.value.is_not_found
    assert await gateway.get(ObjectKey("", "ConfigMap", "nowhere-at-all", "c")) is None


async def test_deleting_waits_for_finalizers_and_then_is_gone(gateway: Gateway, namespace: str) -> None:
    held = config_map(namespace)
    held["metadata"]["finalizers"] = ["flywheel.dev/held"]
    made = await gateway.apply(held)
    key, uid = ObjectKey.of(made), made["metadata"]["uid"]
    waiting = await gateway.delete(key, uid=uid)
    assert waiting is not None
    assert live_object(waiting).deleting
    assert "flywheel.dev/held" in live_object(waiting).finalizers
    await gateway.merge_patch(key, {"metadata": {"finalizers": None}})
    assert await gateway.delete(key, uid=uid) is None
    assert await gateway.get(key) is None


async def test_deleting_without_finalizers_is_gone_at_once(gateway: Gateway, namespace: str) -> None:
    for manifest in (config_map(namespace), deployment(namespace)):
        made = await gateway.apply(manifest)
        assert await gateway.delete(ObjectKey.of(made), uid=made["metadata"]["uid"], propagation="Background") is None


async def test_a_successor_of_the_same_name_is_not_deleted(gateway: Gateway, namespace: str) -> None:
    first = await gateway.apply(config_map(namespace))
    key = ObjectKey.of(first)
    await gateway.delete(key, uid=first["metadata"]["uid"], propagation="Background")
    second = await gateway.apply(config_map(namespace))
    assert await gateway.delete(key, uid=first["metadata"]["uid"]) is None
    assert (await gateway.get(key) or {})["metadata"]["uid"] == second["metadata"]["uid"]


async def test_an_event_is_recorded_once_for_each_identity(gateway: Gateway, namespace: str) -> None:
    involved = await gateway.apply(config_map(namespace))
    notice = Notice("Normal", "WentLive", "The campaign is live. " + "優" * 600, "Live@1")
    await gateway.record_event(involved, notice, NOW)
    await gateway.record_event(involved, notice, NOW)
    await gateway.record_event(involved, Notice("Warning", "Held", "Something holds it.", "Held@1"), NOW)
    page = await gateway.list_page(EVENT, namespace)
    assert sorted((event["type"], event["reason"]) for event in page["items"]) == [
        ("Normal", "WentLive"),
        ("Warning", "Held"),
    ]
    assert {event["regarding"]["uid"] for event in page["items"]} == {involved["metadata"]["uid"]}


async def test_listing_goes_page_by_page(gateway: Gateway, namespace: str) -> None:
    for number in range(5):
        await gateway.apply(config_map(namespace, f"c{number}"))
    pages = [page async for page in gateway.list_all(CONFIG_MAP, namespace, f"{CAMPAIGN_LABEL}=spring", limit=2)]
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    names = await gateway.list_page(CONFIG_MAP, namespace, f"{CAMPAIGN_LABEL}=spring", metadata_only=True)
    assert names["kind"] == "PartialObjectMetadataList"
    assert "data" not in names["items"][0]


async def test_whether_an_api_is_served(gateway: Gateway) -> None:
    assert await gateway.is_served("apps", "v1", "Deployment")
    assert await gateway.is_served("", "v1", "Service")
    assert not await gateway.is_served("apps", "v1", "Campaign")
    assert not await gateway.is_served("nobody.example", "v1", "Thing")


async def test_a_sweep_finds_everything_with_the_label(gateway: Gateway, namespace: str) -> None:
    label = f"{CAMPAIGN_LABEL}={namespace}"
    assert (await gateway.sweep(namespace, label)).remaining == ()
    held = config_map(namespace)
    held["metadata"] |= {"labels": {CAMPAIGN_LABEL: namespace}, "finalizers": ["flywheel.dev/held"]}
    made = await gateway.apply(held)
    other = await gateway.create(
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": f"{namespace}-other", "labels": {CAMPAIGN_LABEL: namespace}},
        }
    )
    await gateway.delete(ObjectKey.of(made), uid=made["metadata"]["uid"])
    try:
        swept = await gateway.sweep(namespace, label)
        found = {(one.resource, one.namespace, one.name, one.deleting) for one in swept.remaining}
        assert found == {
            ("configmaps", namespace, "c", True),
            ("namespaces", "", f"{namespace}-other", False),
        }
        assert any("flywheel.dev/held" in one.finalizers for one in swept.remaining)
        assert swept.unchecked == ()
        assert swept.checked > 40
    finally:
        await gateway.delete(ObjectKey.of(other), uid=other["metadata"]["uid"], propagation="Background")
        await gateway.merge_patch(ObjectKey.of(made), {"metadata": {"finalizers": None}})


async def test_a_closed_fence_lets_reads_through_and_no_write(
    gateway: Gateway, namespace: str, fence: Fence, calls: list[tuple[str, str]]
) -> None:
    made = await gateway.apply(config_map(namespace, a="1"))
    key, uid = ObjectKey.of(made), made["metadata"]["uid"]
    fence.closed = True
    for write in (
        lambda: gateway.apply(config_map(namespace, a="2")),
        lambda: gateway.merge_patch(key, {"data": {"a": "2"}}),
        lambda: gateway.create(config_map(namespace, "other")),
        lambda: gateway.delete(key, uid=uid),
        lambda: gateway.record_event(made, Notice("Normal", "R", "m", "i"), NOW),
    ):
        with pytest.raises(NotLeader):
            await write()
    page = await gateway.list_page(CONFIG_MAP, namespace, CAMPAIGN_LABEL)
    assert [item["data"] for item in page["items"]] == [{"a": "1"}]
    assert ("apply", "fenced") in calls


async def test_a_lease_is_taken_by_one_only(gateway: Gateway, namespace: str) -> None:
    lease = LeaseFile(gateway, namespace, "flywheel", address="10.0.0.7")
    assert await lease.read() is None
    first = await lease.take("a", 15, None, NOW)
    assert first.address == "10.0.0.7"
    with pytest.raises(ApiError) as caught:
        await lease.take("b", 15, None, NOW)
    assert caught.value.is_conflict
    renewed = await lease.take("a", 15, first, NOW + timedelta(seconds=2))
    with pytest.raises(ApiError) as caught:
        await lease.take("b", 15, first, NOW)
    assert caught.value.is_conflict
    await lease.release(renewed, NOW)
    free = await lease.read()
    assert free is not None
    assert (free.holder, free.duration, free.address) == ("", 1, "")
    taken = await lease.take("b", 15, free, NOW)
    assert (taken.holder, taken.transitions) == ("b", 1)


async def test_a_watch_gives_the_list_then_the_changes(gateway: Gateway, namespace: str) -> None:
    await gateway.apply(config_map(namespace, "before"))
    async with watching(Watch(gateway, CONFIG_MAP, namespace, CAMPAIGN_LABEL)) as events:
        assert name_of(await events.get()) == ("Present", "before")
        synced = await events.get()
        assert isinstance(synced, Synced)
        assert len(synced.uids) == 1
        made = await gateway.apply(config_map(namespace, "after"))
        assert name_of(await events.get()) == ("Present", "after")
        await gateway.delete(ObjectKey.of(made), uid=made["metadata"]["uid"], propagation="Background")
        assert name_of(await events.get()) == ("Deleted", "after")


async def test_a_silent_watch_resumes_where_it_was(gateway: Gateway, namespace: str, calls: list[Any]) -> None:
    watch = Watch(gateway, SERVICE, namespace, CAMPAIGN_LABEL, inactivity=0.3)
    async with watching(watch) as events:
        assert isinstance(await events.get(), Synced)
        async with asyncio.timeout(10):
            while calls.count(("watch", "unreachable")) < 2:  # noqa: ASYNC110 - the watch tells nobody
                await asyncio.sleep(0.05)
        service = {"ports": [{"port": 80}], "selector": {"app": "web"}}
        manifest = {"apiVersion": "v1", "kind": "Service", "spec": service}
        metadata = {"name": "late", "namespace": namespace, "labels": {CAMPAIGN_LABEL: "spring"}}
        await gateway.apply(manifest | {"metadata": metadata})
        assert name_of(await events.get()) == ("Present", "late")
    assert calls.count(("list", "ok")) == 1


async def test_a_watch_of_an_api_that_is_not_there_waits_for_it(gateway: Gateway, namespace: str) -> None:
    if await gateway.is_served(HTTP_ROUTE.group, HTTP_ROUTE.version, HTTP_ROUTE.kind):
        pytest.skip("this cluster has the Gateway API")
    watch = Watch(gateway, HTTP_ROUTE, namespace)
    async with watching(watch) as events:
        async with asyncio.timeout(10):
            while watch.error is None:  # noqa: ASYNC110 - the watch tells nobody
                await asyncio.sleep(0.05)
        assert watch.error.is_not_found
        assert events.empty()


async def test_a_live_object_knows_what_we_own(gateway: Gateway, namespace: str) -> None:
    owner = await gateway.apply(config_map(namespace, "owner"))
    manifest = deployment(namespace, replicas=2)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    manifest["metadata"]["ownerReferences"] = [reference | {"controller": True}]
    live = live_object(await gateway.apply(manifest))
    assert live.key == ObjectKey("apps", "Deployment", namespace, "web")
    assert (live.campaign, live.applied_hash, live.replicas) == ("spring", "0123456789abcdef", 2)
    assert live.owner_uid == owner["metadata"]["uid"]
    assert '"f:replicas":{}' in live.owned_fields
    edited = await gateway.apply(deployment_scale(namespace), field_manager="a-person")
    assert '"f:replicas":{}' not in live_object(edited).owned_fields
    assert live_object(edited).resource_version > live.resource_version


def deployment_scale(namespace: str) -> Manifest:
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"replicas": 5},
    }


@contextlib.asynccontextmanager
async def watching(watch: Watch) -> AsyncIterator["Inbox"]:
    inbox = Inbox()

    async def pump() -> None:
        async for event in watch.events():
            inbox.put(event)

    task = asyncio.create_task(pump())
    yield inbox
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


class Inbox:
    """What a watch gave, one after another, each with a deadline."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[Change | Synced] = asyncio.Queue()

    def put(self, event: Change | Synced) -> None:
        self._queue.put_nowait(event)

    def empty(self) -> bool:
        return self._queue.empty()

    async def get(self) -> Change | Synced:
        return await asyncio.wait_for(self._queue.get(), 15)


def name_of(event: Change | Synced) -> tuple[str, str]:
    assert isinstance(event, Change)
    return event.type, event.manifest["metadata"]["name"]
