"""The maps that change without a reload: a document's slots, shares, tests and blocks in HAProxy's terms. Pure."""

import functools
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from flywheel.edge.document import BUCKETS, Block, EdgeDocument, EdgeService, Preview
from flywheel.edge.quoting import DocumentProblem, between, host_name, network, token
from flywheel.edge.routing import ANY, destination, host_classes, own_class, routes_by_host, slot_destination
from flywheel.edge.testmaps import FORCED, RANGES, SEGMENTS, VARIANTS, test_maps

ACTIVE = "active"
"""Service -> `backend|slot`; behind it `|base|salt` of the layer of its tests, where it has any, and `|more`.

`more` is there where shares or hosts of previews are to be looked for: `|0||more` without tests.
"""
BUSY_FIELD = 3
MORE_FIELD = 5
FALLBACKS = "fallbacks"
"""Service -> `backend|slot` that answers where the active slot has nobody left."""
SHARES = "shares"
"""Service -> `basis points|backend|slot`."""
ADDRESSES = "addresses"
"""Network -> seconds since 1970 until which it is refused."""
VISITORS = "visitors"
"""Visitor -> likewise."""
PREVIEWS = "previews"
"""`<revision>/<service>` -> `backend|slot|revision`, and `<revision>` alone -> `known`."""
PREVIEW_HOSTS = "preview-hosts"
"""`<host>/<service>` -> `backend|slot|revision`."""
HOSTS = "hosts"
"""Host name -> class of hosts that are routed alike. There only where a route is for some hosts alone."""
LIVE_MAPS = (
    RANGES,
    VARIANTS,
    SEGMENTS,
    ACTIVE,
    FALLBACKS,
    SHARES,
    FORCED,
    ADDRESSES,
    VISITORS,
    PREVIEWS,
    PREVIEW_HOSTS,
    HOSTS,
)
"""In the order in which they are brought up to date: tests of a service are known only once their buckets are, and a
revision that becomes the active one is so before it ceases to be a preview."""
MOST_PREVIEWS = 64
HOSTS_PER_PREVIEW = 8
KNOWN = "known"
_REVISION = re.compile(r"[A-Za-z0-9]{8,64}")
VISITOR_PATTERN = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_VISITOR = re.compile(VISITOR_PATTERN)
_LATEST = 1 << 40

Maps = dict[str, dict[str, str]]


class Place(NamedTuple):
    """One network, in figures: there may be tens of thousands."""

    version: int
    length: int
    number: int

    def __str__(self) -> str:
        address = ipaddress.IPv4Address(self.number) if self.version == 4 else ipaddress.IPv6Address(self.number)
        return f"{address}/{self.length}"


def live_maps(document: EdgeDocument) -> Maps:
    """Give the entries of each live map.

    Raises:
        DocumentProblem: It speaks of a service or slot that is not there, or shares visitors out wrongly.
    """
    services = {service.name: service for service in document.services}
    addresses, visitors = _blocks(document.live.blocks)
    previews, preview_hosts = _previews(document, services)
    hosts = {HOSTS: _hosts(document)} if routes_by_host(document) else {}
    fallbacks = _fallbacks(document, services)
    tests, layers = test_maps(document, services)
    # HAProxy knows the maps alone that its configuration names.
    slotted = any(len(service.backends) > 1 for service in document.services)
    return {
        ACTIVE: _active(document, services, layers),
        **({FALLBACKS: fallbacks} if slotted else {}),
        SHARES: _shares(document, services),
        **tests,
        ADDRESSES: addresses,
        VISITORS: visitors,
        PREVIEWS: previews,
        PREVIEW_HOSTS: preview_hosts,
        **hosts,
    }


def _active(document: EdgeDocument, services: Mapping[str, EdgeService], layers: Mapping[str, str]) -> dict[str, str]:
    chosen = {token(name): destination(name, service.backends[0].slot) for name, service in services.items()}
    for service, slot in document.live.active.items():
        chosen[token(service)] = slot_destination(services, service, slot, f"live.active[{service!r}]")
    shared = {token(each.service) for each in document.live.shares}
    hosted = {token(each.service) for each in document.live.previews if each.hosts}
    for name in chosen.keys() & (shared | hosted | layers.keys()):
        chosen[name] += f"|{layers.get(name, '0|')}" + ("|more" if name in shared | hosted else "")
    return chosen


def _fallbacks(document: EdgeDocument, services: Mapping[str, EdgeService]) -> dict[str, str]:
    found: dict[str, str] = {}
    for service, slot in document.live.fallbacks.items():
        path = f"live.fallbacks[{service!r}]"
        found[token(service)] = slot_destination(services, service, slot, path)
        if slot == document.live.active.get(service, services[service].backends[0].slot):
            raise DocumentProblem(path, f"{slot!r} is the active slot; name another one")
    return found


def _shares(document: EdgeDocument, services: Mapping[str, EdgeService]) -> dict[str, str]:
    found: dict[str, str] = {}
    for index, share in enumerate(document.live.shares):
        path = f"live.shares[{index}]"
        if token(share.service) in found:
            raise DocumentProblem(path, f"the service {share.service!r} has a share already")
        between(share.basis_points, 0, BUCKETS, f"{path}.basisPoints")
        found[token(share.service)] = (
            f"{share.basis_points}|{slot_destination(services, share.service, share.slot, path)}"
        )
    return found


def _previews(document: EdgeDocument, services: Mapping[str, EdgeService]) -> tuple[dict[str, str], dict[str, str]]:
    previews = document.live.previews
    if len(previews) > MOST_PREVIEWS:
        raise DocumentProblem("live.previews", f"has {len(previews)} previews; at most {MOST_PREVIEWS} fit")
    routed = {host for route in document.routes for host in route.hosts}
    named: dict[str, str] = {}
    hosted: dict[str, str] = {}
    for index, preview in enumerate(previews):
        path = f"live.previews[{index}]"
        value = f"{slot_destination(services, preview.service, preview.slot, path)}|{_revision(preview, path)}"
        key = f"{preview.revision}/{token(preview.service)}"
        if key in named:
            raise DocumentProblem(path, f"{preview.service!r} has a preview of {preview.revision} already")
        named |= {preview.revision: KNOWN, key: value}
        for host in _preview_hosts(preview, routed, path):
            if f"{host}/{token(preview.service)}" in hosted:
                raise DocumentProblem(f"{path}.hosts", f"{preview.service!r} has another preview at {host}")
            hosted[f"{host}/{token(preview.service)}"] = value
    return named, hosted


def _revision(preview: Preview, path: str) -> str:
    if not _REVISION.fullmatch(preview.revision):
        raise DocumentProblem(f"{path}.revision", f"{preview.revision!r} is not 8 to 64 letters and digits")
    return preview.revision


def _preview_hosts(preview: Preview, routed: set[str], path: str) -> tuple[str, ...]:
    if len(preview.hosts) > HOSTS_PER_PREVIEW:
        raise DocumentProblem(f"{path}.hosts", f"has {len(preview.hosts)} hosts; at most {HOSTS_PER_PREVIEW} fit")
    for number, host in enumerate(preview.hosts):
        if host_name(host, f"{path}.hosts[{number}]").startswith("*."):
            raise DocumentProblem(f"{path}.hosts[{number}]", f"{host!r} stands for many hosts; name a single one")
        if host in routed:
            raise DocumentProblem(
                f"{path}.hosts[{number}]", f"{host!r} is a host of the routes: all its visitors would see the preview"
            )
    return preview.hosts


def _hosts(document: EdgeDocument) -> dict[str, str]:
    """Give the hosts of routes, and those of previews, which are routed like the hosts of their service."""
    found: dict[str, str] = {}
    for preview in document.live.previews:
        for host in preview.hosts:
            found.setdefault(host, own_class(document, preview.service))
    classes = host_classes(document).items()
    return found | {host: name for host, name in classes if host != ANY and not host.startswith("*.")}


@functools.lru_cache(maxsize=2)
def _blocks(blocks: tuple[Block, ...]) -> tuple[dict[str, str], dict[str, str]]:
    networks: dict[Place, int] = {}
    visitors: dict[str, str] = {}
    for index, block in enumerate(blocks):
        until = int(between(block.until, 0, _LATEST, f"live.blocks[{index}].until"))
        if block.kind == "address":
            found = network(block.value, f"live.blocks[{index}].value")
            place = Place(found.version, found.prefixlen, int(found.network_address))
            networks[place] = max(until, networks.get(place, 0))
        elif _VISITOR.fullmatch(block.value):
            # Any other value cannot be a visitor of ours, so there is nobody to refuse.
            visitors[block.value] = str(max(until, int(visitors.get(block.value, 0))))
    lengths = {version: sorted({each.length for each in networks if each.version == version}) for version in (4, 6)}
    return {str(each): str(_longest(each, networks, lengths[each.version])) for each in networks}, visitors


def _longest(inner: Place, networks: Mapping[Place, int], lengths: Sequence[int]) -> int:
    """HAProxy takes the narrowest network that fits: it must know how long the wider ones around it are refused."""
    bits = 32 if inner.version == 4 else 128
    until = networks[inner]
    for length in lengths:
        if length >= inner.length:
            break
        wider = inner.number >> (bits - length) << (bits - length)
        until = max(until, networks.get(Place(inner.version, length, wider), 0))
    return until
