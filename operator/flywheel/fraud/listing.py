"""Reading a list as people write it: one entry a line, checked, and packed for the worker. Pure.

Whoever can write into a list can stop everybody, or protect themselves; so what a list may say is bounded, and a list
that is surely not meant is refused as a whole.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from flywheel.fraud.listed import DIGEST, IPV4, IPV6, MOST_ENTRIES, PackedList, hashed
from flywheel.fraud.policy import ListOf

MOST_BYTES = 1 << 20
"""Of the text, which is what a ConfigMap or a Secret holds in all."""
LONGEST_ENTRY = 256
"""Characters."""
WIDEST = {IPV4: 8, IPV6: 16}
"""Bits of the shortest prefix that a deny list may have, by bytes of an address."""
MOST_DENIED = 1 << 30
"""IPv4 addresses that one deny list may name: a quarter of all."""
NAMED_LINES = 8
"""Lines that are named where they cannot be read."""
_HEX = frozenset("0123456789abcdef")
Range = tuple[int, int]


class Reading(NamedTuple):
    """What was found in a list."""

    packed: PackedList | None
    """None where the list is refused."""
    wrong: int = 0
    """Lines that say nothing that can be read."""
    lines: tuple[int, ...] = ()
    """Numbers of the first of them, from 1. What is in them is told to nobody."""
    problem: str = ""
    """Why it is refused."""


class _Refused(Exception):  # noqa: N818 - of what people wrote
    """A list that is surely not meant. The text says why, and gives nothing of the list away."""


def read_list(of: ListOf, text: bytes, *, denies: bool) -> Reading:
    """Read a list.

    Args:
        of: What it is a list of.
        text: As it is in the ConfigMap or Secret.
        denies: Whether somebody is stopped for being on it: no wide ranges then.
    """
    try:
        return _read(of, _decoded(text), denies)
    except _Refused as error:
        return Reading(None, problem=str(error))


def _decoded(text: bytes) -> str:
    if len(text) > MOST_BYTES:
        raise _Refused(f"it has {len(text)} bytes, and at most {MOST_BYTES} are read: shorten it, or write ranges")
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _Refused(f"it is no UTF-8 text, from byte {error.start + 1} on: write it as text") from error


def entries_of(text: str) -> Iterator[tuple[int, str]]:
    """Give the entries of a list with the numbers of their lines: without remarks, and without empty lines."""
    for number, line in enumerate(text.split("\n"), 1):
        entry = line.strip()
        if not entry.startswith("#"):
            # A `#` within an id is no remark.
            entry = entry.partition(" #")[0].partition("\t#")[0].rstrip()
            if entry:
                yield number, entry


def _read(of: ListOf, text: str, denies: bool) -> Reading:
    hashes, ranges = set[bytes](), {IPV4: list[Range](), IPV6: list[Range]()}
    wrong: list[int] = []
    count = 0
    for number, entry in entries_of(text):
        count += 1
        if count > MOST_ENTRIES:
            raise _Refused(f"it has more than {MOST_ENTRIES} entries: shorten it, write ranges, or make several lists")
        if of.of == "Address" and not of.hashed:
            network = _network(entry)
            if network is None:
                wrong.append(number)
                continue
            size, length, span = network
            if denies and length < WIDEST[size]:
                raise _Refused(
                    f"line {number} is a range wider than /{WIDEST[size]}, which would stop far too many: write the "
                    "ranges that are meant"
                )
            ranges[size].append(span)
        elif (found := _hash(of, entry)) is not None:
            hashes.add(found)
        else:
            wrong.append(number)
    if wrong and len(wrong) == count:
        raise _Refused(f"none of its {count} lines can be read as {_meant(of)}: correct the list, or of and hashed")
    merged = {size: _merged(each) for size, each in ranges.items()}
    if denies and sum(last - first + 1 for first, last in merged[IPV4]) > MOST_DENIED:
        raise _Refused("it names more than a quarter of all IPv4 addresses: write the ranges that are meant")
    packed = PackedList(
        of, b"".join(sorted(hashes)), _packed(merged[IPV4], IPV4), _packed(merged[IPV6], IPV6), count - len(wrong)
    )
    return Reading(packed, len(wrong), tuple(wrong[:NAMED_LINES]))


def _meant(of: ListOf) -> str:
    if of.hashed:
        return "sha256 in 64 hexadecimal digits"
    return "addresses or ranges" if of.of == "Address" else f"a {of.of.lower()}"


def _network(entry: str) -> tuple[int, int, Range] | None:
    """Give the bytes of an address, the bits of the prefix, and the range; None for what is none.

    What is written in IPv6's notation for IPv4 is IPv4: no client ever comes from elsewhere in that range.
    """
    text, slash, length = entry.partition("/")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    bits = address.max_prefixlen
    if slash and not (length.isascii() and length.isdigit() and len(length) <= 3 and int(length) <= bits):
        return None
    prefix = int(length) if slash else bits
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return None
        if address.ipv4_mapped is not None:
            if prefix < 96:
                return None
            address, bits, prefix = address.ipv4_mapped, 32, prefix - 96
    rest = (1 << (bits - prefix)) - 1
    first = int(address) & ~rest
    return bits // 8, prefix, (first, first | rest)


def _hash(of: ListOf, entry: str) -> bytes | None:
    if of.hashed:
        lower = entry.lower()
        return bytes.fromhex(lower)[:DIGEST] if len(lower) == 64 and _HEX.issuperset(lower) else None
    return hashed(entry) if len(entry) <= LONGEST_ENTRY and entry.isprintable() else None


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """Join ranges that overlap or touch."""
    found: list[Range] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = found[-1][0], max(found[-1][1], last)
        else:
            found.append((first, last))
    return found


def _packed(ranges: Iterable[Range], size: int) -> bytes:
    return b"".join(each.to_bytes(size, "big") for span in ranges for each in span)
