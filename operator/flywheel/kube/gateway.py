"""The operations on objects that the operator needs, and no more."""

import hashlib
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Literal

from flywheel.kube.client import CallObserver, Client, Query
from flywheel.kube.errors import ApiError
from flywheel.kube.resources import EVENT, Resource, resource_of
from flywheel.kube.sweep import PARTIAL_LIST, Sweeper
from flywheel.kube.tokens import Tokens
from flywheel.plan import FIELD_MANAGER, Manifest, Notice, ObjectKey, Sweep

__all__ = ["ApiError", "Gateway", "micro_time"]

APPLY_PATCH = "application/apply-patch+yaml"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC_PATCH = "application/strategic-merge-patch+json"
PAGE = 250
SERVED_FOR = 600.0
MISSING_FOR = 10.0
LONGEST_NOTE = 1024
"""Bytes of text that the API takes in one Event."""
LIST_TIMEOUT = 30.0


class Gateway:
    """Everything that is said to the API server goes through here.

    All methods raise `ApiError` where the server refuses, fails or cannot be reached (after a few retries), and
    `NotLeader` where a write would leave a process that does not hold the lease.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._served: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        self._sweeper = Sweeper(client)

    @classmethod
    async def connect(
        cls,
        *,
        fence: Callable[[], None] | None = None,
        observe: CallObserver | None = None,
        connections: int = 16,
        call_timeout: float = 15.0,
    ) -> "Gateway":
        """Log in and make a gateway.

        Args:
            fence: Called just before the bytes of a write leave; raises `NotLeader` to stop it.
            observe: Told the verb and the result of each call.
            connections: How many calls run at once; others wait.
            call_timeout: Seconds for one attempt of one call.

        Raises:
            LoginError: When there are no credentials.
        """
        options: dict[str, Any] = {"fence": fence, "connections": connections, "call_timeout": call_timeout}
        if observe is not None:
            options["observe"] = observe
        return cls(await Client.connect(**options))

    async def close(self) -> None:
        """Close all connections."""
        await self._client.close()

    @property
    def unanswered_for(self) -> float:
        """Seconds for which the API server has left every call unanswered; 0 while it answers."""
        return self._client.unanswered_for

    def tokens(self, account: str) -> Tokens:
        """Make what asks for tokens of a ServiceAccount, `namespace:name`, over our connections."""
        return Tokens(self._client, account)

    async def get(self, key: ObjectKey) -> Manifest | None:
        """Read one object; None if it, or its whole API, is not there."""
        try:
            return await self._client.call("get", "GET", resource_of(key).path(key.namespace, key.name))
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def apply(
        self, manifest: Manifest, *, subresource: str | None = None, field_manager: str = FIELD_MANAGER
    ) -> Manifest:
        """Apply a manifest on the server's side, taking over fields that others own; give the object as it is now.

        A `metadata.uid` in the manifest makes sure that only that very object is changed (409 otherwise).
        """
        key = ObjectKey.of(manifest)
        resource = resource_of(key)
        query = (("fieldManager", field_manager), ("force", "true"), ("fieldValidation", "Strict"))
        path = resource.path(key.namespace, key.name, subresource)
        try:
            return await self._client.call("apply", "PATCH", path, query=query, body=manifest, content_type=APPLY_PATCH)
        except ApiError as error:
            if error.is_not_found:
                self._served.pop((resource.group, resource.version), None)
            raise

    async def merge_patch(
        self,
        key: ObjectKey,
        patch: Manifest,
        *,
        subresource: str | None = None,
        field_manager: str = FIELD_MANAGER,
    ) -> Manifest:
        """Merge a patch into an object; with `metadata.resourceVersion` in it, 409 if another was faster."""
        path = resource_of(key).path(key.namespace, key.name, subresource)
        query = (("fieldManager", field_manager),)
        return await self._client.call("patch", "PATCH", path, query=query, body=patch, content_type=MERGE_PATCH)

    async def strategic_patch(self, key: ObjectKey, patch: Manifest) -> Manifest:
        """Merge a patch into an object of a built-in kind; unlike an apply, it can take away what others have added."""
        query = (("fieldManager", FIELD_MANAGER),)
        path = resource_of(key).path(key.namespace, key.name)
        return await self._client.call("patch", "PATCH", path, query=query, body=patch, content_type=STRATEGIC_PATCH)

    async def create(self, manifest: Manifest, *, dry_run: bool = False) -> Manifest:
        """Create an object; 409 if one of this name exists. A dry run goes through admission and stores nothing."""
        key = ObjectKey.of(manifest)
        query = [("fieldManager", FIELD_MANAGER)]
        if dry_run:
            query += [("dryRun", "All"), ("fieldValidation", "Strict")]
        return await self._client.call(
            "create", "POST", resource_of(key).path(key.namespace), query=query, body=manifest
        )

    async def replace(self, manifest: Manifest, *, attempts: int = 1, timeout: float | None = None) -> Manifest:  # noqa: ASYNC109
        """Replace an object; with `metadata.resourceVersion` in it, 409 if another was faster."""
        key = ObjectKey.of(manifest)
        path = resource_of(key).path(key.namespace, key.name)
        query = (("fieldManager", FIELD_MANAGER),)
        return await self._client.call(
            "replace", "PUT", path, query=query, body=manifest, attempts=attempts, timeout=timeout
        )

    async def delete(
        self,
        key: ObjectKey,
        *,
        uid: str,
        propagation: Literal["Foreground", "Background", "Orphan"] = "Foreground",
    ) -> Manifest | None:
        """Delete the very object with this uid; give it while it waits for its finalizers, None once it is gone."""
        resource = resource_of(key)
        options = {
            "kind": "DeleteOptions",
            "apiVersion": "v1",
            "propagationPolicy": propagation,
            "preconditions": {"uid": uid},
        }
        try:
            answer = await self._client.call("delete", "DELETE", resource.path(key.namespace, key.name), body=options)
        except ApiError as error:
            if error.is_not_found:
                return None
            if error.is_conflict:
                # Another object has taken the name, or somebody wrote to it in the same instant.
                there = await self.get(key)
                if there is None or there["metadata"]["uid"] != uid:
                    return None
            raise
        metadata = answer.get("metadata") or {}
        waits = metadata.get("finalizers") or metadata.get("deletionGracePeriodSeconds")
        return answer if answer.get("kind") != "Status" and metadata.get("deletionTimestamp") and waits else None

    async def record_event(self, involved: Manifest, notice: Notice, now: datetime) -> None:
        """Record a Kubernetes Event about an object, once for each identity of a notice.

        A namespace that is being deleted takes no Events any more: nothing is recorded there.
        """
        metadata = involved["metadata"]
        digest = hashlib.sha256(f"{metadata['uid']}\n{notice.identity}".encode()).hexdigest()[:16]
        reference = {
            "apiVersion": involved["apiVersion"],
            "kind": involved["kind"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "resourceVersion": metadata.get("resourceVersion", ""),
        }
        namespace = metadata.get("namespace", "")
        if namespace:
            reference["namespace"] = namespace
        event = {
            "apiVersion": EVENT.api_version,
            "kind": EVENT.kind,
            "metadata": {"name": f"{metadata['name'][:200]}.{digest}", "namespace": namespace or "default"},
            "eventTime": micro_time(now),
            "reportingController": "flywheel.dev/operator",
            "reportingInstance": socket.gethostname()[:128],
            "action": notice.reason[:128],
            "reason": notice.reason[:128],
            "regarding": reference,
            "note": _shorten(notice.message, LONGEST_NOTE),
            "type": notice.type,
        }
        try:
            await self.create(event)
        except ApiError as error:
            if not (error.is_conflict or error.is_namespace_terminating):
                raise

    async def list_page(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        limit: int = PAGE,
        continue_from: str = "",
        metadata_only: bool = False,
    ) -> Manifest:
        """List one page of objects as the server gives it: `items`, and `metadata.continue` where there are more."""
        query = [("limit", str(limit))]
        if label_selector:
            query.append(("labelSelector", label_selector))
        if field_selector:
            query.append(("fieldSelector", field_selector))
        if continue_from:
            query.append(("continue", continue_from))
        accept = PARTIAL_LIST if metadata_only else "application/json"
        return await self._client.call(
            "list", "GET", resource.path(namespace), query=query, accept=accept, timeout=LIST_TIMEOUT
        )

    async def list_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        *,
        field_selector: str = "",
        limit: int = PAGE,
        metadata_only: bool = False,
    ) -> AsyncIterator[Manifest]:
        """List page after page. Each page is a list object as in `list_page`; only one is in memory at a time."""
        continue_from = ""
        while True:
            page = await self.list_page(
                resource,
                namespace,
                label_selector,
                field_selector=field_selector,
                limit=limit,
                continue_from=continue_from,
                metadata_only=metadata_only,
            )
            continue_from = page["metadata"].get("continue") or ""
            yield page
            if not continue_from:
                return

    def open_watch(
        self, resource: Resource, namespace: str | None, query: Query, inactivity: float
    ) -> AbstractAsyncContextManager[AsyncIterator[Manifest]]:
        """Open one watch request; `flywheel.kube.watch` keeps one going."""
        return self._client.stream(resource.path(namespace), query=query, inactivity=inactivity)

    async def is_served(self, group: str, version: str, kind: str) -> bool:
        """Tell whether the cluster knows a kind. Yes is believed for ten minutes, no for ten seconds."""
        known = self._served.get((group, version))
        now = time.monotonic()
        if known is not None and now - known[0] < (SERVED_FOR if kind in known[1] else MISSING_FOR):
            return kind in known[1]
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        try:
            answer = await self._client.call("discover", "GET", root)
            kinds = frozenset(resource["kind"] for resource in answer.get("resources") or ())
        except ApiError as error:
            if not error.is_not_found:
                raise
            kinds = frozenset()
        self._served[group, version] = (now, kinds)
        return kind in kinds

    async def sweep(self, namespace: str, label_selector: str) -> Sweep:
        """Look through every kind of object of the cluster for what carries the labels; see `Sweep`."""
        return await self._sweeper.sweep(namespace, label_selector)


def micro_time(moment: datetime) -> str:
    """Write a moment as the API's MicroTime: UTC, six digits, Z. `moment` must be aware."""
    if moment.tzinfo is None:
        raise ValueError(f"A moment for the API server needs a zone: {moment!r}")
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _shorten(text: str, limit: int) -> str:
    raw = text.encode()
    return text if len(raw) <= limit else raw[: limit - 3].decode(errors="ignore") + "…"
