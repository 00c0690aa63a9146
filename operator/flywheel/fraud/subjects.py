"""Whose requests a decision is about. Pure."""

import ipaddress

from flywheel.fraud.blocks import SubjectKind
from flywheel.fraud.policy import Ruled
from flywheel.fraud.words import Event


def subject_of(ruled: Ruled, event: Event) -> tuple[SubjectKind, str] | None:
    """Name the subject of a rule's action in an event; None where the event does not tell it."""
    match ruled.policy.action.of:
        case "Address":
            return _known("address", event.address)
        case "AddressPrefix":
            return _known("address", network_of(event.address, ruled.rule.prefix_ipv4, ruled.rule.prefix_ipv6))
        case "Visitor":
            return _known("visitor", event.visitor)
        case "User":
            return _known("user", event.user)
        case "Device":
            return _known("device", str(event.fields.get("device", "")))


def network_of(address: str, ipv4: int, ipv6: int) -> str:
    """Give the network of an address, such as 192.0.2.0/24; empty for what is none."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    bits = ipv4 if parsed.version == 4 else ipv6
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def _known(kind: SubjectKind, value: str) -> tuple[SubjectKind, str] | None:
    return (kind, value) if value else None
