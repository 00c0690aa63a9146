"""Whose requests a decision is about. Pure."""

import ipaddress
from collections.abc import Iterator

from flywheel.fraud.blocks import SubjectKind
from flywheel.fraud.policy import Ruled
from flywheel.fraud.words import Event

_ENTITIES = {
    "address": "Address",
    "addressPrefix": "AddressPrefix",
    "visitor": "Visitor",
    "user": "User",
    "device": "Device",
}


def subjects_of(ruled: Ruled, event: Event) -> tuple[tuple[SubjectKind, str], ...]:
    """Name the subjects of a rule's action in an event; none where the event does not tell them."""
    return tuple((kind, value) for kind, value in _named(ruled, event) if value)


def _named(ruled: Ruled, event: Event) -> Iterator[tuple[SubjectKind, str]]:
    by_key = next((_ENTITIES[field] for field in ruled.rule.key if field in _ENTITIES), "Visitor")
    match ruled.policy.action.of or by_key:
        case "Address":
            yield "address", event.address
        case "AddressPrefix":
            yield "address", network_of(event.address, ruled.rule.prefix_ipv4, ruled.rule.prefix_ipv6)
        case "User":
            yield "user", event.user
            # HAProxy knows no users, but the visitor who came as one.
            yield "visitor", event.visitor
        case "Device":
            yield "device", str(event.fields.get("device", ""))
            yield "visitor", event.visitor
        case _:
            yield "visitor", event.visitor


def network_of(address: str, ipv4: int, ipv6: int) -> str:
    """Give the network of an address, such as 192.0.2.0/24; empty for what is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    bits = ipv4 if parsed.version == 4 else ipv6
    return str(ipaddress.ip_network((parsed, bits), strict=False))
