"""Lists of addresses and ids as a worker keeps them: packed by whoever has read them, asked for each event. Pure.

An id is there as the first 16 bytes of its SHA-256 alone, whatever it was written as, so that neither journal nor
snapshot names anybody by it. Addresses are ranges that lie apart, since a hash of an address hides nothing: there are
few enough of them to try them all.
"""

import hashlib
import ipaddress
import sys
from array import array
from bisect import bisect_right
from collections.abc import Callable, Mapping
from itertools import pairwise
from operator import attrgetter
from socket import AF_INET, AF_INET6, inet_pton

import msgspec

from flywheel.fraud.policy import ListOf
from flywheel.fraud.words import Event

MOST_ENTRIES = 100_000
"""Of one list."""
DIGEST = 16
"""Bytes that are kept of a hash."""
IPV4, IPV6 = 4, 16
"""Bytes of an address; a range is its first and its last one."""
_MAPPED = bytes(10) + b"\xff\xff"
_KINDS = {"address": "Address", "visitor": "Visitor", "user": "User", "device": "Device"}


class PackedList(msgspec.Struct, frozen=True, array_like=True):
    """One list: what it names, in an order of its own, so that equal lists have equal bytes."""

    of: ListOf
    hashes: bytes = b""
    ipv4: bytes = b""
    ipv6: bytes = b""
    entries: int = 0
    """Lines that it was made of: ranges that touch are one here."""

    @property
    def digest(self) -> str:
        """Give 16 hexadecimal digits that equal lists share."""
        return hashlib.blake2b(msgspec.msgpack.encode(self), digest_size=8).hexdigest()


def complaint(packed: PackedList) -> str:
    """Say why a list is none that can be asked; empty for one that can."""
    parts = ((packed.hashes, DIGEST, 1), (packed.ipv4, IPV4, 2), (packed.ipv6, IPV6, 2))
    for data, size, each in parts:
        if len(data) % (size * each) or len(data) > MOST_ENTRIES * size * each:
            return f"{packed.of.source} has a part of {len(data)} bytes"
        found = [data[at : at + size] for at in range(0, len(data), size)]
        # Hashes go up; of ranges the last address may be the first.
        if any(
            one > other or (one == other and (each == 1 or at % 2)) for at, (one, other) in enumerate(pairwise(found))
        ):
            return f"{packed.of.source} is not in its order"
    return ""


def packed_address(value: str) -> bytes:
    """Give the bytes of an address, 4 or 16; none for what is no address.

    An IPv4 address in IPv6's notation is an IPv4 address, as it is at the edge.
    """
    try:
        if ":" not in value:
            return inet_pton(AF_INET, value)
        found = inet_pton(AF_INET6, value.partition("%")[0])
    except (OSError, ValueError):
        return b""
    return found[12:] if found[:12] == _MAPPED else found


def hashed(value: str) -> bytes:
    """Give what is kept of an id."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).digest()[:DIGEST]


class Entries:
    """One list, ready to be asked: of 100,000 entries in about a microsecond."""

    def __init__(self, packed: PackedList) -> None:
        """Lay it out. It has to be one that nobody complains of."""
        self.of, self.count, self.digest = packed.of, packed.entries, packed.digest
        data = packed.hashes
        self._hashes = frozenset(data[at : at + DIGEST] for at in range(0, len(data), DIGEST))
        short = array("I", packed.ipv4)
        if sys.byteorder == "little":
            short.byteswap()
        self._ipv4 = short[::2], short[1::2]
        long = [packed.ipv6[at : at + IPV6] for at in range(0, len(packed.ipv6), IPV6)]
        self._ipv6 = long[::2], long[1::2]
        self._sender = _SENDERS[packed.of.of]
        self._is_of_ranges = packed.of.of == "Address" and not packed.of.hashed

    def __bool__(self) -> bool:
        return bool(self._hashes or self._ipv4[0] or self._ipv6[0])

    def has(self, event: Event) -> bool:
        """Say whether the list names the sender of an event."""
        value = self._sender(event)
        return bool(value) and self._has(value)

    def names(self, kind: str, value: str) -> bool:
        """Say whether the list names a subject, or somebody in it where it is a network.

        Nobody can tell whether one of many hashes is of an address in a network: it is taken that one is.
        """
        if not value or _KINDS.get(kind) != self.of.of:
            return False
        address, slash, length = value.partition("/")
        if not slash or kind != "address":
            return self._has(value)
        return bool(self) if self.of.hashed else self._touches(address, int(length))

    def _has(self, value: str) -> bool:
        if self._is_of_ranges:
            address = packed_address(value)
            return bool(address) and self._within(address, address)
        if self.of.of == "Address":
            address = packed_address(value)
            return bool(address) and hashed(str(ipaddress.ip_address(address))) in self._hashes
        return hashed(value) in self._hashes

    def _touches(self, network: str, length: int) -> bool:
        first = packed_address(network)
        rest = (1 << (8 * len(first) - length)) - 1 if first else 0
        last = int.from_bytes(first, "big") | rest
        return bool(first) and self._within(first, last.to_bytes(len(first), "big"))

    def _within(self, first: bytes, last: bytes) -> bool:
        """Say whether a range of the list has an address from `first` to `last`."""
        if len(last) == IPV4:
            starts, ends = self._ipv4
            at = bisect_right(starts, int.from_bytes(last, "big")) - 1
            return at >= 0 and ends[at] >= int.from_bytes(first, "big")
        long_starts, long_ends = self._ipv6
        at = bisect_right(long_starts, last) - 1
        return at >= 0 and long_ends[at] >= first


def _device(event: Event) -> str:
    device = event.fields.get("device", "")
    return device if isinstance(device, str) else ""


_SENDERS: dict[str, Callable[[Event], str]] = {
    "Address": attrgetter("address"),
    "Visitor": attrgetter("visitor"),
    "User": attrgetter("user"),
    "Device": _device,
}

Lists = Mapping[ListOf, Entries]
"""What has been read of lists. One that is missing has never been read."""
