"""Lists: read as people write them, asked as whoever goes through them line by line would answer."""

import hashlib
import ipaddress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.fraud.listed import MOST_ENTRIES, Entries, PackedList, complaint
from flywheel.fraud.listing import Reading, read_list
from flywheel.fraud.policy import ListOf
from flywheel.fraud.words import Event

ADDRESSES = ListOf(source="configmap/fraud/addresses")
USERS = ListOf(source="configmap/fraud/users", of="User")
HASHED = ListOf(source="secret/fraud/staff", of="User", hashed=True)


def event(address: str = "", **fields: str) -> Event:
    return Event(id="e", time=1, arrived=1, address=address, **fields)


def read(text: str | bytes, of: ListOf = ADDRESSES, *, denies: bool = False) -> Reading:
    return read_list(of, text.encode() if isinstance(text, str) else text, denies=denies)


def entries(text: str | bytes, of: ListOf = ADDRESSES) -> Entries:
    found = read(text, of)
    assert found.packed, found.problem
    assert complaint(found.packed) == ""
    return Entries(found.packed)


# A small world, so that addresses fall into ranges, at their ends and beside them.
ipv4 = st.integers(0, 600).map(lambda n: str(ipaddress.IPv4Address(0xC0000200 + n)))
ipv6 = st.integers(0, 600).map(lambda n: str(ipaddress.IPv6Address((0x20010DB8 << 96) + n)))
mapped = ipv4.map(lambda each: f"::ffff:{each}")
networks = st.one_of(
    st.tuples(ipv4, st.integers(8, 32)),
    st.tuples(ipv6, st.integers(16, 128)),
    st.tuples(mapped, st.integers(104, 128)),
).map(lambda pair: f"{pair[0]}/{pair[1]}")
lines = st.lists(st.one_of(networks, ipv4, ipv6, mapped), max_size=30)


def plain(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    found = ipaddress.ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def oracle(line: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """The range of a line, by the standard library alone."""
    found = ipaddress.ip_network(line, strict=False)
    if isinstance(found, ipaddress.IPv6Network) and (ipv4 := found.network_address.ipv4_mapped):
        return ipaddress.ip_network((ipv4, found.prefixlen - 96), strict=False)
    return found


@given(lines, st.one_of(ipv4, ipv6, mapped))
def test_an_address_is_on_a_list_if_one_of_its_lines_has_it(given: list[str], asked: str) -> None:
    expected = any(plain(asked) in oracle(line) for line in given)
    assert entries("\n".join(given)).has(event(asked)) is expected


@given(lines, st.one_of(ipv4, ipv6), st.integers(0, 32))
def test_a_network_is_touched_if_one_line_has_an_address_of_it(given: list[str], asked: str, short: int) -> None:
    network = ipaddress.ip_network((asked, ipaddress.ip_address(asked).max_prefixlen - short), strict=False)
    expected = any(each.version == network.version and each.overlaps(network) for each in map(oracle, given))
    found = entries("\n".join(given))
    assert found.names("address", str(network)) is expected
    assert not found.names("visitor", str(network))


@given(lines)
def test_the_order_of_lines_makes_no_difference(given: list[str]) -> None:
    there, back = read("\n".join(given)).packed, read("\n".join(reversed(given))).packed
    assert there == back
    assert there.digest == back.digest


@given(
    st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=9)), st.text()
)
def test_an_id_is_on_a_list_if_a_line_is_it(given: list[str], other: str) -> None:
    given = [each for each in given if not each.startswith("#")]
    plainly = entries("\n".join(given), USERS)
    hashes = [hashlib.sha256(each.encode()).hexdigest() for each in given]
    secretly = entries("\n".join(hashes), HASHED)
    for asked in [*given, other]:
        asked_of = event(user=asked)
        assert plainly.has(asked_of) is secretly.has(asked_of) is (asked in given)


def test_what_is_kept_of_ids_names_nobody() -> None:
    packed = read("ann\nbob", USERS).packed
    assert b"ann" not in msgspec.msgpack.encode(packed)
    assert packed.hashes == b"".join(sorted(hashlib.sha256(each).digest()[:16] for each in (b"ann", b"bob")))


@pytest.mark.parametrize(
    ("of", "text", "named"),
    [
        ("Address", "192.0.2.7", True),
        ("Address", "::ffff:192.0.2.7", True),
        ("Address", "::ffff:192.0.2.0/120", True),
        ("Address", "2001:db8::/32\n192.0.2.0/29", True),
        ("Address", "192.0.2.99/24 # the office", True),
        ("Address", "\ufeff192.0.2.7\r\n", True),
        ("Address", "192.0.2.8/29", False),
        ("Address", "# 192.0.2.7", False),
        ("User", "ann", True),
        ("User", "  ann\t# of the desk", True),
        ("User", "ann#1", False),
        ("User", "Ann", False),
        ("Device", " d1 ", True),
        ("Visitor", "", False),
    ],
)
def test_a_list_names_networks_and_ids(of: str, text: str, named: bool) -> None:
    sender = Event(id="e", time=1, arrived=1, address="192.0.2.7", user="ann", fields={"device": "d1"})
    assert entries(text, ListOf(source="s", of=of)).has(sender) is named


def test_hashes_of_addresses_are_of_their_shortest_form_and_each_may_be_of_a_network() -> None:
    of = ListOf(source="s", hashed=True)
    text = "\n".join(hashlib.sha256(each).hexdigest().upper() for each in (b"192.0.2.7", b"2001:db8::1"))
    found = entries(text, of)
    assert [found.has(event(each)) for each in ("192.0.2.7", "::ffff:192.0.2.7", "2001:0db8::0001")] == [True] * 3
    assert not found.has(event("192.0.2.8"))
    assert found.names("address", "198.51.100.0/24"), "nobody can tell, so it is taken that one of them is in it"
    assert not entries("# none", of).names("address", "198.51.100.0/24")


@pytest.mark.parametrize(
    "line",
    [
        "office", "192.0.2.256", "192.0.2", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/024x", "192.0.2.0/",
        "192.0.2.0/255.255.255.0", "192.0.2.1-192.0.2.9", "192.0.2.1, 192.0.2.2", "01.2.3.4", "fe80::1%eth0",
        "2001:db8::/129", "::ffff:0:0/95", "<html>", "192.0.2.0/²",
    ],
)  # fmt: skip
def test_lines_that_are_no_address_are_told_by_number_and_left_out(line: str) -> None:
    found = read(f"# a list\n192.0.2.7\n{line}\n192.0.2.9")
    assert (found.wrong, found.lines, found.packed.entries, found.problem) == (1, (3,), 2, "")
    assert not Entries(found.packed).has(event("192.0.2.8"))


def test_of_many_wrong_lines_the_first_are_named() -> None:
    found = read("192.0.2.7\n" + "x\n" * 20)
    assert (found.wrong, found.lines) == (20, tuple(range(2, 10)))


@pytest.mark.parametrize(
    ("text", "of", "denies", "says"),
    [
        ("192.0.2.7\n0.0.0.0/0", ADDRESSES, True, "line 2 is a range wider than /8"),
        ("10.0.0.0/7", ADDRESSES, True, "line 1 is a range wider than /8"),
        ("::/0", ADDRESSES, True, "line 1 is a range wider than /16"),
        ("::ffff:0.0.0.0/96", ADDRESSES, True, "line 1 is a range wider than /8"),
        ("\n".join(f"{n}.0.0.0/8" for n in range(1, 66)), ADDRESSES, True, "more than a quarter"),
        ("<html>\n<body>", ADDRESSES, False, "none of its 2 lines"),
        ("ann\nbob", HASHED, False, "sha256 in 64"),
        ("\n".join(f"u{n}" for n in range(MOST_ENTRIES + 1)), USERS, False, "more than 100000 entries"),
        ("x" * (1 << 20) + "\n", USERS, False, "at most 1048576 are read"),
        (b"192.0.2.7\n\xff\xfe", ADDRESSES, False, "no UTF-8 text, from byte 11 on"),
    ],
)
def test_a_list_that_is_surely_not_meant_is_refused_as_a_whole(text, of, denies, says) -> None:
    found = read(text, of, denies=denies)
    assert found.packed is None
    assert says in found.problem


def test_what_is_wide_is_fine_where_nobody_is_stopped_for_it() -> None:
    assert entries("0.0.0.0/0").has(event("192.0.2.7"))
    assert read("10.0.0.0/8\n2001:db8::/16", denies=True).packed


@given(st.binary(max_size=200), st.sampled_from([ADDRESSES, USERS, HASHED]), st.booleans())
def test_any_bytes_are_read_or_refused(text: bytes, of: ListOf, denies: bool) -> None:
    found = read(text, of, denies=denies)
    assert (found.packed is None) is bool(found.problem)
    if found.packed:
        assert complaint(found.packed) == ""
        Entries(found.packed)


@pytest.mark.parametrize(
    "parts",
    [
        {"hashes": b"x" * 15},
        {"hashes": b"x" * 32},
        {"hashes": b"y" * 16 + b"x" * 16},
        {"ipv4": bytes(4)},
        {"ipv4": bytes([1, 0, 0, 0, 0, 0, 0, 0])},
        {"ipv4": bytes(8) * 2},
        {"ipv6": bytes(31)},
        {"hashes": bytes(16 * (MOST_ENTRIES + 1))},
    ],
)
def test_a_packed_list_that_cannot_be_asked_is_complained_of(parts: dict[str, bytes]) -> None:
    assert "configmap/fraud/addresses" in complaint(PackedList(ADDRESSES, **parts))
