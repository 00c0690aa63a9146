"""Packs that git made, and packs that somebody broke."""

import hashlib
import itertools
import struct
import subprocess
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.content.repositories import GIT_ENVIRONMENT

from flywheel.release.content.pack import PackError, PackLimits, PackTooLargeError, StoredObject, Unpacker

ROOMY = PackLimits(10_000, 64 << 20)


def unpack(pack: bytes, directory: Path, limits: PackLimits = ROOMY) -> dict[bytes, StoredObject]:
    directory.mkdir(exist_ok=True)
    source = directory / "pack"
    source.write_bytes(pack)
    objects = directory / "objects"
    objects.mkdir(exist_ok=True)
    with source.open("rb") as file:
        return Unpacker(file, objects, limits).unpack()


def pack_of(*entries: bytes, count: int | None = None, version: int = 2) -> bytes:
    """Frame entries as a pack."""
    body = struct.pack(">4sLL", b"PACK", version, len(entries) if count is None else count) + b"".join(entries)
    return body + hashlib.sha1(body, usedforsecurity=False).digest()


def head(kind: int, size: int) -> bytes:
    """The head of an entry: kind and size."""
    out, size, first = bytearray(), size >> 4, (kind << 4) | (size & 15)
    while size:
        out.append(first | 0x80)
        first, size = size & 0x7F, size >> 7
    return bytes([*out, first])


def blob(content: bytes, said: int | None = None) -> bytes:
    return head(3, len(content) if said is None else said) + zlib.compress(content)


def delta(base: bytes, orders: bytes, said: int | None = None) -> bytes:
    """A change to the object of the given name."""
    return head(7, len(orders) if said is None else said) + base + zlib.compress(orders)


def name(content: bytes) -> bytes:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).digest()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    contents=st.lists(st.binary(max_size=200), min_size=1, max_size=8),
    repeats=st.integers(1, 300),
    edits=st.lists(st.tuples(st.integers(0, 7), st.binary(max_size=20)), max_size=8),
    by_name=st.booleans(),
)
def test_what_git_packs_is_unpacked_as_git_does(
    contents: list[bytes],
    repeats: int,
    edits: list[tuple[int, bytes]],
    by_name: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Small and large objects, many of them packed as changes to others."""
    directory = tmp_path_factory.mktemp("pack")

    def git(*arguments: str, data: bytes = b"") -> bytes:
        return subprocess.run(
            ["git", *arguments], cwd=directory, env=GIT_ENVIRONMENT, input=data, capture_output=True, check=True
        ).stdout

    git("init", "--quiet", ".")
    all_contents = [content * repeats for content in contents]
    all_contents += [all_contents[index % len(contents)] + edit for index, edit in edits]
    names = {git("hash-object", "-w", "--stdin", data=content).strip(): content for content in all_contents}
    more = () if by_name else ("--delta-base-offset",)
    pack = git("pack-objects", "--stdout", "-q", "--window=50", *more, data=b"\n".join(names) + b"\n")
    found = unpack(pack, directory / "out")
    assert {key.hex().encode(): each.path.read_bytes() for key, each in found.items()} == names
    assert all(each.size == each.path.stat().st_size for each in found.values())


def test_a_change_may_come_before_what_it_changes(tmp_path: Path) -> None:
    base, changed = b"hello world", b"hello there"
    orders = bytes([len(base), len(changed), 0x90, 6, 5]) + b"there"
    found = unpack(pack_of(delta(name(base), orders), blob(base)), tmp_path)
    assert found[name(changed)].path.read_bytes() == changed


def test_changes_to_changes_are_applied_without_end_of_the_stack(tmp_path: Path) -> None:
    contents = [b"%d" % number + b"x" * 20 for number in range(10, 99)]
    entries = [blob(contents[0])]
    for before, after in itertools.pairwise(contents):
        orders = bytes([len(before), len(after), 2]) + after[:2] + bytes([0x91, 2, 20])
        entries.append(delta(name(before), orders))
    assert set(unpack(pack_of(*entries), tmp_path)) == {name(each) for each in contents}


BASE = b"0123456789"
BROKEN = {
    "nothing": b"",
    "no pack": b"JUNK" + bytes(28),
    "another version": pack_of(blob(b"x"), version=9),
    "a damaged byte": pack_of(blob(b"x"))[:-1] + bytes([pack_of(blob(b"x"))[-1] ^ 1]),
    "cut off": pack_of(blob(b"x"))[:-5],
    "fewer objects than it says": pack_of(blob(b"x"), count=2),
    "an unknown kind": pack_of(head(5, 1) + zlib.compress(b"x")),
    "a size without end": pack_of(b"\xb1" + b"\xff" * 40),
    "an object larger than it says": pack_of(blob(b"x" * 100, said=10)),
    "an object smaller than it says": pack_of(blob(b"x" * 10, said=100)),
    "no compressed data": pack_of(head(3, 5) + b"hello"),
    "a base that is not there": pack_of(delta(b"x" * 20, b"\x0a\x01\x01x")),
    "a base of another size": pack_of(blob(BASE), delta(name(BASE), b"\x09\x01\x01x")),
    "an unknown order": pack_of(blob(BASE), delta(name(BASE), b"\x0a\x01\x00")),
    "an order that is cut off": pack_of(blob(BASE), delta(name(BASE), b"\x0a\x05\x05x")),
    "a copy from behind the end": pack_of(blob(BASE), delta(name(BASE), b"\x0a\x05\x91\x08\x05")),
    "a change larger than it says": pack_of(blob(BASE), delta(name(BASE), b"\x0a\x01\x90\x05")),
    "a change smaller than it says": pack_of(blob(BASE), delta(name(BASE), b"\x0a\x05\x01x")),
    "a base before the pack": pack_of(head(6, 4) + b"\x7f" + zlib.compress(b"\x0a\x01\x01x")),
    "a base that is itself": pack_of(head(6, 4) + b"\x00" + zlib.compress(b"\x0a\x01\x01x")),
    "an offset without end": pack_of(head(6, 4) + b"\xff" * 40),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_pack_is_refused(what: str, tmp_path: Path) -> None:
    with pytest.raises(PackError):
        unpack(BROKEN[what], tmp_path)


def test_there_are_not_more_objects_than_allowed(tmp_path: Path) -> None:
    with pytest.raises(PackTooLargeError):
        unpack(pack_of(*[blob(b"%d" % number) for number in range(5)]), tmp_path, PackLimits(4, 1 << 20))


def test_sizes_are_added_up_before_anything_is_inflated(tmp_path: Path) -> None:
    with pytest.raises(PackTooLargeError):
        unpack(pack_of(blob(bytes(600)), blob(bytes(601))), tmp_path, PackLimits(10, 1200))
    assert sum(each.stat().st_size for each in (tmp_path / "objects").iterdir()) == 600


def test_a_small_change_that_makes_much_is_refused(tmp_path: Path) -> None:
    """A few bytes that copy the same again and again."""
    copies = b"\xb0\xff\xff" * 1000
    size = 0xFFFF * 1000
    number = bytearray()
    while size > 0x7F:
        number.append(size & 0x7F | 0x80)
        size >>= 7
    base = bytes(0xFFFF)
    orders = b"\xff\xff\x03" + bytes([*number, size]) + copies
    with pytest.raises(PackTooLargeError):
        unpack(pack_of(blob(base), delta(name(base), orders)), tmp_path, PackLimits(10, 1 << 20))


def test_orders_that_are_a_bomb_themselves_are_refused(tmp_path: Path) -> None:
    entry = delta(name(BASE), b"\x0a\x01" + bytes(2 << 20))
    with pytest.raises(PackTooLargeError):
        unpack(pack_of(blob(BASE), entry), tmp_path, PackLimits(10, 1 << 20))


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(place=st.integers(12, 10_000), byte=st.integers(0, 255))
def test_any_other_byte_gives_an_error_or_the_same_names(
    place: int, byte: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """With a checksum that fits again: nothing but a PackError comes out, and the name of each file is its hash."""
    directory = tmp_path_factory.mktemp("pack")
    orders = bytes([len(BASE), 11, 0x90, 10, 1]) + b"!"
    body = bytearray(pack_of(blob(BASE), blob(b"x" * 500), delta(name(BASE), orders))[:-20])
    body[place % (len(body) - 12) + 12] = byte
    pack = bytes(body) + hashlib.sha1(bytes(body), usedforsecurity=False).digest()
    try:
        found = unpack(pack, directory)
    except PackError:
        return
    for key, each in found.items():
        content = each.path.read_bytes()
        named = hashlib.sha1(each.kind + b" %d\0" % len(content) + content, usedforsecurity=False).digest()
        assert named == key
