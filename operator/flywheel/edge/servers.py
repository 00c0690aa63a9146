"""What HAProxy's servers shall be: the pods of each slot, and behind the active one those of its fallback. Pure.

A slot with a fallback has the fallback's pods as backup servers: HAProxy turns to them by itself where it has nobody
else, and no request has to look for them. So that this does not wait until the API server tells of a crash, the first
connection that fails takes a pod out, until it listens again; without a fallback that would help nobody.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from flywheel.edge import testrules
from flywheel.edge.document import Backend, EdgeDocument, EdgeService
from flywheel.edge.endpoints import MOST_SERVERS, Endpoints, Server, Slots
from flywheel.edge.livemaps import ACTIVE, FALLBACKS
from flywheel.edge.quoting import DocumentProblem, between
from flywheel.edge.routing import backend_name

DEFAULT_WEIGHT = 100
EMPTY_ADDRESS = "127.0.0.1:1"
"""Where a free place for a server points to; it is in maintenance and never asked."""
RELEASE_SLOTS = ("blue", "green")
OWN = "s"
BEHIND = "f"
"""How the names of places begin: for the pods of the slot itself, and for those of a fallback."""
_WATCHED = "check inter 1d fastinter 1s downinter 1s rise 1 observe layer4 error-limit 1 on-error mark-down"
"""A pod that was taken out is looked at once a second; one that was not, once a day, as HAProxy knows no never."""


@dataclass(frozen=True)
class ServerState:
    """What one server of HAProxy shall be."""

    address: str
    port: int
    weight: int
    enabled: bool
    watched: bool = False
    """Whether a connection that fails takes it out, until it listens again."""


Shape = Mapping[str, ServerState | None]
"""The servers of one backend by name; None where only the place counts."""


def server_states(document: EdgeDocument, endpoints: Endpoints) -> dict[str, dict[str, ServerState]]:
    """Give the servers of each backend, of a document whose `live` has been found to be right.

    Raises:
        DocumentProblem: A weight is of a slot that is not there, or none.
    """
    weights = _weights(document)
    places = {
        backend_name(service.name, backend.slot): _places(service, backend, endpoints)
        for service in document.services
        for backend in service.backends
    }
    fallbacks = _fallbacks(document)
    found = {}
    for service in document.services:
        names = [backend_name(service.name, backend.slot) for backend in service.backends]
        for name in names:
            other = _behind(name, fallbacks, places)
            behind = places.get(other, ())
            watched = any(server is not None for server in behind)
            own = [_state(server, weights.get(name, DEFAULT_WEIGHT), watched) for server in places[name]]
            # Room for the pods of any other slot: which one it is to be must not cost a reload.
            room = max((len(places[other]) for other in names if other != name), default=0)
            weight = weights.get(other, DEFAULT_WEIGHT)
            backups = [_state(server, weight, False) for server in (*behind, *[None] * (room - len(behind)))]
            found[name] = _named(OWN, own) | _named(BEHIND, backups)
    return found


def _weights(document: EdgeDocument) -> dict[str, int]:
    known = {(service.name, backend.slot) for service in document.services for backend in service.backends}
    weights = {}
    for index, each in enumerate(document.live.weights):
        if (each.service, each.slot) not in known:
            raise DocumentProblem(f"live.weights[{index}]", f"{each.service!r} has no slot {each.slot!r}")
        weight = int(between(each.weight, 0, 256, f"live.weights[{index}].weight"))
        weights[backend_name(each.service, each.slot)] = weight
    return weights


def _places(service: EdgeService, backend: Backend, endpoints: Endpoints) -> Slots:
    known = endpoints.get(backend_name(service.name, backend.slot), ())
    return tuple(known) or (None,) * max(1, min(backend.capacity, MOST_SERVERS))


def _fallbacks(document: EdgeDocument) -> dict[str, str]:
    """Give the backend behind the one of an active slot, and of each variant that is tested."""
    live = document.live
    active = {each.name: live.active.get(each.name, each.backends[0].slot) for each in document.services}
    slots = [(test.service, each.slot) for test in live.tests for each in test.ranges]
    slots += [(test.service, each.slot) for test in live.tests for each in test.forced]
    tested = {
        backend_name(service, slot): backend_name(service, active[service])
        for service, slot in slots
        if service in active and slot != active[service]
    }
    return tested | {
        backend_name(service.name, active[service.name]): backend_name(service.name, live.fallbacks[service.name])
        for service in document.services
        if service.name in live.fallbacks
    }


def _behind(name: str, fallbacks: Mapping[str, str], places: Mapping[str, Slots]) -> str:
    """Give the backend whose pods stand behind another one: where a control has none either, those of its fallback."""
    other = fallbacks.get(name, "")
    further = fallbacks.get(other, name)
    return other if further == name or any(places[other]) else further


def _named(prefix: str, states: list[ServerState]) -> dict[str, ServerState]:
    return {f"{prefix}{index}": state for index, state in enumerate(states, 1)}


def _state(server: Server | None, weight: int, watched: bool) -> ServerState:
    if server is None:
        address, _, port = EMPTY_ADDRESS.rpartition(":")
        return ServerState(address, int(port), weight, enabled=False)
    weight = 0 if server.draining else weight
    return ServerState(server.address, server.port, weight, enabled=True, watched=watched)


def is_variant(service: EdgeService, backend: Backend) -> bool:
    """Tell a variant of an A/B test from a slot of a release."""
    released = bool(service.backends[0].slot)
    return backend.slot not in (RELEASE_SLOTS if released else ("",))


def backend_lines(servers: Shape, directory: str, *, tested: bool = False) -> Iterator[str]:
    """Give the section of one backend; `tested` for that of a variant."""
    yield "balance leastconn"
    yield "http-reuse safe"
    yield "option redispatch 1"
    own = sum(name.startswith(OWN) for name in servers)
    # Where all pods of a slot die at once, a request may meet several of them before it comes to the fallback.
    yield f"retries {3 if own == len(servers) else 10}"
    # A request that a pod may have begun to work on is sent again only where that does no harm.
    yield "retry-on conn-failure empty-response"
    yield "http-request disable-l7-retry unless METH_GET"
    if own < len(servers):
        yield "option allbackups"
        yield f"default-server {_WATCHED}"
        # The access log has the slot that answered. Servers are numbered in their order.
        # A slot that has just been left falls back on the one that is active by now; a variant on its control.
        for name in (FALLBACKS, ACTIVE) if tested else (ACTIVE, FALLBACKS):
            yield f"http-response set-var(txn.pick) var(txn.svc),map({directory}/{name}.map) if {{ srv_id gt {own} }}"
        if tested:
            yield from testrules.backend_rules(f"{{ srv_id gt {own} }}")
    for name, state in servers.items():
        yield f"server {name}{_text(state)}{' backup no-check' if name.startswith(BEHIND) else ''}"


def _text(state: ServerState | None) -> str:
    if state is None:
        return ""
    address = f"ipv6@[{state.address}]:{state.port}" if ":" in state.address else f"{state.address}:{state.port}"
    return f" {address} weight {state.weight}{'' if state.enabled else ' disabled'}"
