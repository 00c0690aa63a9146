"""Proof that nothing is left: every kind of object that the cluster knows is asked for what carries a label."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from flywheel.kube.client import Client
from flywheel.kube.errors import UNREACHABLE, ApiError
from flywheel.plan import Remaining, Sweep

PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json"
DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList"
)
AT_ONCE = 6
MOST_OF_ONE_KIND = 50
REMEMBER_KINDS = 30.0


@dataclass(frozen=True, slots=True)
class _Listable:
    name: str
    path: str
    namespaced: bool
    ill: bool = False
    """Its API server did not answer the last discovery."""

    def location(self, namespace: str) -> str:
        root, _, plural = self.path.rpartition("/")
        return f"{root}/namespaces/{namespace}/{plural}" if self.namespaced else self.path


class Sweeper:
    """Looks through all kinds of objects, a few at a time, so that other calls get through."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._known: tuple[float, tuple[list[_Listable], list[str]]] | None = None

    async def sweep(self, namespace: str, label_selector: str) -> Sweep:
        """Look for objects by label: in one namespace, and among the cluster-scoped ones; at most fifty of each kind.

        Raises:
            ApiError: When the API server cannot be reached or fails for a kind that it serves itself, so that a search
                now would prove nothing.
        """
        listable, ill = await self._kinds()
        answers = await asyncio.gather(*(self._look(kind, namespace, label_selector) for kind in listable))
        remaining: dict[str, Remaining] = {}
        unchecked = list(ill)
        for kind, items in zip(listable, answers, strict=True):
            if items is None:
                unchecked.append(kind.name)
                continue
            for item in items:
                metadata = item["metadata"]
                # One object may be served under several groups, as Events are.
                remaining.setdefault(metadata["uid"], _remaining(kind.name, metadata))
        checked = len(listable) + len(ill) - len(unchecked)
        in_order = sorted(remaining.values(), key=lambda one: (one.resource, one.namespace, one.name))
        return Sweep(tuple(in_order), checked, tuple(sorted(unchecked)))

    async def _look(self, kind: _Listable, namespace: str, selector: str) -> list[dict[str, Any]] | None:
        query = (("labelSelector", selector), ("limit", str(MOST_OF_ONE_KIND)))
        async with self._slots:
            try:
                page = await self._client.call(
                    "sweep", "GET", kind.location(namespace), query=query, accept=PARTIAL_LIST
                )
            except ApiError as error:
                # Pods that could not be listed for a moment must not count as gone: the next attempt will tell.
                # An API whose own server is away must not hold up everything for as long.
                if error.status == UNREACHABLE or (error.is_retryable and not kind.ill):
                    raise
                # A kind whose API was taken away meanwhile has no objects.
                return [] if error.status == 404 else None
        items: list[dict[str, Any]] = page.get("items") or []
        return items

    async def _kinds(self) -> tuple[list[_Listable], list[str]]:
        if self._known is None or time.monotonic() - self._known[0] > REMEMBER_KINDS:
            documents = [
                await self._client.call("discover", "GET", root, accept=DISCOVERY) for root in ("/api", "/apis")
            ]
            self._known = (time.monotonic(), listable_kinds(documents))
        return self._known[1]


def listable_kinds(documents: list[dict[str, Any]]) -> tuple[list[_Listable], list[str]]:
    """Read aggregated discovery: the kinds that can be listed and deleted, and the APIs that are ill.

    Raises:
        ApiError: When the server is too old to give aggregated discovery.
    """
    found: dict[str, _Listable] = {}
    ill: set[str] = set()
    for document in documents:
        if document.get("kind") != "APIGroupDiscoveryList":
            raise ApiError(
                406, "NotAcceptable", "The API server gives no aggregated discovery: Kubernetes 1.27 is needed."
            )
        for group in document.get("items") or ():
            _read_group(group, found, ill)
    return list(found.values()), sorted(ill)


def _read_group(group: dict[str, Any], found: dict[str, _Listable], ill: set[str]) -> None:
    name = (group.get("metadata") or {}).get("name", "")
    for version in group.get("versions") or ():
        root = f"/apis/{name}/{version['version']}" if name else f"/api/{version['version']}"
        stale = version.get("freshness") == "Stale"
        if stale:
            ill.add(f"{name}/{version['version']}")
        for resource in version.get("resources") or ():
            if {"list", "delete"} <= set(resource.get("verbs") or ()):
                full = f"{resource['resource']}.{name}" if name else resource["resource"]
                path, namespaced = f"{root}/{resource['resource']}", resource["scope"] == "Namespaced"
                # Versions come best first, and all of them show the same objects.
                found.setdefault(full, _Listable(full, path, namespaced, stale))


def _remaining(resource: str, metadata: dict[str, Any]) -> Remaining:
    return Remaining(
        resource=resource,
        namespace=metadata.get("namespace", ""),
        name=metadata["name"],
        finalizers=tuple(metadata.get("finalizers") or ()),
        deleting=bool(metadata.get("deletionTimestamp")),
    )
