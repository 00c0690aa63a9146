"""Which service answers where, resolved beforehand: HAProxy then needs one look-up by host and one by path."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.edge.document import EdgeDocument, EdgeRoute, EdgeService
from flywheel.edge.quoting import DocumentProblem, host_name, token, url_path

ANY = "*"


@dataclass(frozen=True)
class RouteTables:
    """Texts of two map files. Single hosts are not among them: previews bring some that no reload may wait for."""

    wildcards: str
    """End of a host name -> class; the longest first, as HAProxy takes the first that fits."""
    routes: str
    """Class and path with a slash at its end -> `service|backend|slot` with the backend to take by default."""


def backend_name(service: str, slot: str) -> str:
    """Name of HAProxy's backend for a slot of a service."""
    return f"{token(service)}:{token(slot)}" if slot else token(service)


def destination(service: str, slot: str) -> str:
    """What maps say of where a request goes: `backend|slot`."""
    return f"{backend_name(service, slot)}|{token(slot)}"


def slot_destination(services: Mapping[str, EdgeService], service: str, slot: str, path: str) -> str:
    """Give the destination of a slot that is there.

    Raises:
        DocumentProblem: It is not; `path` is where it was named.
    """
    if service not in services:
        raise DocumentProblem(path, f"there is no service {service!r}")
    slots = [backend.slot for backend in services[service].backends]
    if slot not in slots:
        raise DocumentProblem(path, f"the service {service!r} has no slot {slot!r}, only {', '.join(map(repr, slots))}")
    return destination(service, slot)


def routes_by_host(document: EdgeDocument) -> bool:
    """Tell whether any route is only for some hosts."""
    return any(route.hosts for route in document.routes)


def host_classes(document: EdgeDocument) -> dict[str, str]:
    """Give the class of hosts that are routed alike, by the pattern that they fit."""
    patterns = sorted({host for route in document.routes for host in route.hosts})
    return {pattern: f"h{index}" for index, pattern in enumerate(patterns)} | {ANY: ANY}


def own_class(document: EdgeDocument, service: str) -> str:
    """Give the class of the hosts under which a service is found: those of its first route."""
    classes = host_classes(document)
    hosts = next((route.hosts for route in document.routes if route.service == service), ())
    return classes[hosts[0] if hosts else ANY]


def route_tables(document: EdgeDocument) -> RouteTables:
    """Resolve the routes: the longest path wins; of equal paths the host that says most.

    Raises:
        DocumentProblem: A route names no service of the document, or its host or path cannot be one.
    """
    services = {service.name: service for service in document.services}
    for index, route in enumerate(document.routes):
        if route.service not in services:
            raise DocumentProblem(f"routes[{index}].service", f"there is no service {route.service!r}")
        url_path(route.path, f"routes[{index}].path")
        for number, host in enumerate(route.hosts):
            host_name(host, f"routes[{index}].hosts[{number}]")
    classes = host_classes(document)
    lines: dict[str, str] = {}
    for pattern, name in classes.items():
        for route in _ranked(document.routes, pattern):
            key = f"{name}{route.path.rstrip('/')}/"
            lines.setdefault(key, _value(services[route.service]))
    wildcards = sorted((each for each in classes if each.startswith("*.")), key=len, reverse=True)
    return RouteTables(
        wildcards=_text((each[1:], classes[each]) for each in wildcards),
        routes=_text(lines.items()),
    )


def _ranked(routes: Sequence[EdgeRoute], pattern: str) -> list[EdgeRoute]:
    """Give the routes that hold for all hosts of a pattern, those that say most of the host first."""
    fitting = []
    for route in routes:
        scores = [_score(own, pattern) for own in route.hosts or (ANY,)]
        best = max(scores)
        if best >= 0:
            fitting.append((best, route))
    return [route for _, route in sorted(fitting, key=lambda each: -each[0])]


def _score(own: str, pattern: str) -> int:
    """Say how much the host of a route says of the hosts of `pattern`; -1 where it does not hold for them."""
    if own == ANY:
        return 0
    if own == pattern:
        return 1000
    return len(own) if own.startswith("*.") and pattern.endswith(own[1:]) else -1


def _value(service: EdgeService) -> str:
    return f"{token(service.name)}|{destination(service.name, service.backends[0].slot)}"


def _text(lines: Iterable[tuple[str, str]]) -> str:
    return "".join(f"{key} {value}\n" for key, value in lines)
