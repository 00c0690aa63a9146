"""Pods behind the edge: from EndpointSlices to the slots of servers that HAProxy's backends have. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.edge.document import Backend, EdgeDocument
from flywheel.edge.routing import backend_name
from flywheel.plan import Manifest

SERVICE_NAME_LABEL = "kubernetes.io/service-name"
MOST_SERVERS = 4096
"""Servers of one backend; more pods than that are left out."""


@dataclass(frozen=True, slots=True)
class Server:
    """One pod that can answer."""

    address: str
    port: int
    draining: bool = False
    """It ends what it has begun, and gets nothing new."""


Slots = tuple[Server | None, ...]
"""The servers of one backend by their place; None where a place is free."""
Endpoints = Mapping[str, Slots]
"""Slots by the name of HAProxy's backend."""


def servers_of(backend: Backend, slices: Iterable[Manifest]) -> list[Server]:
    """Give the pods of a backend from all EndpointSlices of the namespace.

    A pod that is ending gets nothing new, unless all are: then those that still serve are better than none.
    """
    ready: dict[tuple[str, int], Server] = {}
    ending: dict[tuple[str, int], Server] = {}
    for each in slices:
        labels = each["metadata"].get("labels") or {}
        if labels.get(SERVICE_NAME_LABEL) != backend.service or each.get("addressType") not in ("IPv4", "IPv6"):
            continue
        port = _port(backend, each)
        if port is None:
            continue
        for endpoint in each.get("endpoints") or ():
            _sort_in(endpoint, port, ready, ending)
    leaving = bool(ready)
    for place, server in ending.items():
        ready.setdefault(place, Server(server.address, server.port, draining=leaving))
    return [ready[place] for place in sorted(ready)][:MOST_SERVERS]


def _port(backend: Backend, each: Manifest) -> int | None:
    for port in each.get("ports") or ():
        if (port.get("name") or "") == backend.port and port.get("protocol", "TCP") == "TCP":
            number: int | None = port.get("port")
            return number
    return None


def _sort_in(
    endpoint: Manifest, port: int, ready: dict[tuple[str, int], Server], ending: dict[tuple[str, int], Server]
) -> None:
    addresses = endpoint.get("addresses") or ()
    if not addresses:
        return
    conditions = endpoint.get("conditions") or {}
    is_ready = conditions.get("ready", True) is not False
    is_serving = conditions.get("serving", is_ready) is not False
    server = Server(addresses[0], port)
    if is_ready:
        ready[server.address, port] = server
    elif is_serving and conditions.get("terminating"):
        ending[server.address, port] = server


def place(before: Slots, servers: Sequence[Server], capacity: int) -> Slots:
    """Give each server a place: the one it had, or a free one; more places, doubled, only where they run out."""
    room = max(capacity, len(before))
    while room < len(servers):
        room *= 2
    wanted = {(server.address, server.port): server for server in servers}
    slots: list[Server | None] = [None] * room
    for index, server in enumerate(before):
        if server is not None:
            slots[index] = wanted.pop((server.address, server.port), None)
    # A place that was free before goes first: what still runs to the pod that just left another keeps its address.
    free = [index for index in range(room) if slots[index] is None]
    free.sort(key=lambda index: index < len(before) and before[index] is not None)
    for index, server in zip(free, wanted.values(), strict=False):
        slots[index] = server
    return tuple(slots)


def place_all(document: EdgeDocument, before: Endpoints, slices: Sequence[Manifest]) -> dict[str, Slots]:
    """Place the pods of all backends of a document."""
    placed = {}
    for service in document.services:
        for backend in service.backends:
            name = backend_name(service.name, backend.slot)
            servers = servers_of(backend, slices)
            placed[name] = place(before.get(name, ()), servers, max(1, min(backend.capacity, MOST_SERVERS)))
    return placed
