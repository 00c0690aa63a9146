"""Fields of events by name, their text, and networks of addresses. Pure.

A missing field, and one that is an empty text, are the same: None.
"""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from operator import attrgetter

from flywheel.fraud.words import Event, Value

PREFIX = "addressPrefix"
ATTRIBUTES = {
    "address": "address",
    "context.ip": "address",
    "visitor": "visitor",
    "anonymousId": "visitor",
    "user": "user",
    "userId": "user",
    "messageId": "id",
    "event": "name",
    "type": "type",
}
"""Names of fields that every event has, and where it has them. All other names are paths of its other fields."""
Reader = Callable[[Event], Value | None]


def reader(name: str) -> Reader:
    """Give the function that reads a field of an event."""
    if attribute := ATTRIBUTES.get(name):
        read = attrgetter(attribute)
        return lambda event: read(event) or None

    def of_fields(event: Event) -> Value | None:
        value = event.fields.get(name)
        return None if value == "" else value

    return of_fields


def text(value: Value | None) -> str:
    """Write a value as keys and members are written: 5 and "5" are the same. Empty for a missing one."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if value == value // 1 and abs(value) < 2**53 else repr(float(value))


@lru_cache(maxsize=65_536)
def network(address: str, ipv4: int, ipv6: int) -> str:
    """Give the network of an address, as `192.0.2.0/24`; empty for what is no address.

    Args:
        address: As text. An IPv4 address in IPv6's notation is an IPv4 address.
        ipv4: Bits of the prefix, 0 to 32.
        ipv6: The same for IPv6, 0 to 128.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    parsed = getattr(parsed, "ipv4_mapped", None) or parsed
    bits = ipv4 if parsed.version == 4 else ipv6
    return str(ipaddress.ip_network((parsed, bits), strict=False))


def key_reader(names: tuple[str, ...], ipv4: int, ipv6: int) -> Callable[[Event], tuple[str, ...]]:
    """Give the function that reads the key of an event, with an empty text for what is missing."""
    readers = [
        (lambda event: network(event.address, ipv4, ipv6)) if name == PREFIX else _text_reader(name) for name in names
    ]
    return lambda event: tuple(read(event) for read in readers)


def _text_reader(name: str) -> Callable[[Event], str]:
    read = reader(name)
    return lambda event: text(read(event))
