"""Unpack a pack that nobody vouches for, onto the disk, with bounds that hold before anything is inflated.

Libraries keep whole objects and the bases of deltas in memory; a repository of large files would need as much memory as
it has bytes, and a hostile one any amount. Here each object is a file, and each delta is applied once, from file to
file. An object's name is computed and never believed: whoever asks for a commit by its name gets that one or nothing.
"""

import hashlib
import struct
import zlib
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

CHUNK = 1 << 16
_KINDS = {1: b"commit", 2: b"tree", 3: b"blob", 4: b"tag"}
_OFFSET_DELTA, _NAME_DELTA = 6, 7
_HEADER = struct.Struct(">4sLL")
_NAME_SIZE = 20
_LONGEST_NUMBER = 10  # bytes; 70 bits
_COPY = 0x80
_LARGEST_COPY = 0x10000


class PackError(Exception):
    """The pack is damaged, or means no good."""


class PackTooLargeError(PackError):
    """The pack unpacks to more than what is taken."""


@dataclass(frozen=True, slots=True)
class PackLimits:
    """What is unpacked at most."""

    objects: int
    size: int
    """Bytes of all objects together."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object that was unpacked."""

    kind: bytes
    size: int
    path: Path


@dataclass(frozen=True, slots=True)
class _Delta:
    offset: int
    """Where the object begins; by this the deltas that rest on it name it."""
    position: int
    """Where its compressed data begins."""
    size: int


class _Pieces:
    """Reads exact numbers of bytes out of a stream of pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return `size` bytes."""
        while len(self._held) - self._at < size:
            if not self._refill():
                raise PackError("a change in it is cut off")
        taken = self._held[self._at : self._at + size]
        self._at += size
        return taken

    def number(self) -> int:
        """Return the number that comes next, seven bits to a byte."""
        value = 0
        for index in range(_LONGEST_NUMBER):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << (7 * index)
            if not byte & 0x80:
                return value
        raise PackError("it holds a number without end")

    @property
    def is_at_end(self) -> bool:
        """Whether nothing is left."""
        return self._at >= len(self._held) and not self._refill()

    def _refill(self) -> bool:
        piece = next(self._pieces, b"")
        self._held = self._held[self._at :] + piece
        self._at = 0
        return bool(piece)


class Unpacker:
    """Unpacks one pack into a directory, one file for each object."""

    def __init__(self, pack: BinaryIO, into: Path, limits: PackLimits) -> None:
        """Make an unpacker.

        Args:
            pack: The pack; it must be seekable.
            into: An empty directory.
            limits: What is unpacked at most.
        """
        self._pack = pack
        self._into = into
        self._limits = limits
        self._left = limits.size
        self._left_of_deltas = limits.size
        self._by_offset: dict[int, list[_Delta]] = defaultdict(list)
        self._by_name: dict[bytes, list[_Delta]] = defaultdict(list)
        self._names: dict[int, bytes] = {}
        self._objects: dict[bytes, StoredObject] = {}

    def unpack(self) -> dict[bytes, StoredObject]:
        """Unpack all objects, and return them by their names of 20 bytes.

        Raises:
            PackTooLargeError: There is more than what is taken.
            PackError: The pack is damaged.
        """
        count = self._check_frame()
        self._pack.seek(_HEADER.size)
        for _ in range(count):
            self._read_object()
        self._apply_deltas()
        return self._objects

    def _check_frame(self) -> int:
        """Check the first and last bytes, and return how many objects there are."""
        self._pack.seek(0)
        head = self._pack.read(_HEADER.size)
        if len(head) != _HEADER.size:
            raise PackError("it ends before it begins")
        magic, version, count = _HEADER.unpack(head)
        if magic != b"PACK" or version not in (2, 3):
            raise PackError("it is no pack")
        if count > self._limits.objects:
            raise PackTooLargeError(f"the commit has {count} objects; at most {self._limits.objects} are taken")
        size = self._pack.seek(0, 2) - _NAME_SIZE
        self._pack.seek(0)
        whole = hashlib.sha1(usedforsecurity=False)
        while size > 0:
            piece = self._pack.read(min(CHUNK, size))
            whole.update(piece)
            size -= len(piece)
        if self._pack.read(_NAME_SIZE) != whole.digest():
            raise PackError("it is damaged: its checksum is another")
        return int(count)

    def _read_object(self) -> None:
        offset = self._pack.tell()
        kind, size = self._read_kind_and_size()
        if kind in _KINDS:
            self._names[offset] = self._keep(_KINDS[kind], size, self._inflate(size))
        elif kind == _OFFSET_DELTA:
            base = offset - self._read_offset()
            self._note_delta(self._by_offset[base], _Delta(offset, self._pack.tell(), size))
        elif kind == _NAME_DELTA:
            name = self._pack.read(_NAME_SIZE)
            self._note_delta(self._by_name[name], _Delta(offset, self._pack.tell(), size))
        else:
            raise PackError(f"it holds an object of the unknown kind {kind}")

    def _note_delta(self, others: list[_Delta], delta: _Delta) -> None:
        """Note a delta for when its base is there, and pass over its data."""
        self._left_of_deltas -= delta.size
        if self._left_of_deltas < 0:
            raise self._too_large()
        for _ in self._inflate(delta.size):
            pass
        others.append(delta)

    def _apply_deltas(self) -> None:
        """Apply each delta once, bases first."""
        bases = deque(self._names.items())
        while bases and (self._by_offset or self._by_name):
            offset, name = bases.popleft()
            for delta in (*self._by_offset.pop(offset, ()), *self._by_name.pop(name, ())):
                bases.append((delta.offset, self._apply(delta, self._objects[name])))
        if self._by_offset or self._by_name:
            raise PackError("it holds changes to objects that it does not hold")

    def _apply(self, delta: _Delta, base: StoredObject) -> bytes:
        self._pack.seek(delta.position)
        orders = _Pieces(self._inflate(delta.size))
        if orders.number() != base.size:
            raise PackError("it holds a change to another object than it says")
        size = orders.number()
        with base.path.open("rb") as source:
            return self._keep(base.kind, size, _changed(orders, source))

    def _keep(self, kind: bytes, size: int, pieces: Iterator[bytes]) -> bytes:
        """Write an object of the given size to the disk, and return its name."""
        self._left -= size
        if self._left < 0:
            raise self._too_large()
        name = hashlib.sha1(b"%s %d\0" % (kind, size), usedforsecurity=False)
        incoming = self._into / "incoming"
        missing = size
        with incoming.open("wb") as file:
            for piece in pieces:
                missing -= len(piece)
                if missing < 0:
                    raise PackError("it holds an object that is larger than it says")
                name.update(piece)
                file.write(piece)
        if missing:
            raise PackError("it holds an object that is smaller than it says")
        path = self._into / name.hexdigest()
        incoming.rename(path)
        self._objects[name.digest()] = StoredObject(kind, size, path)
        return name.digest()

    def _inflate(self, size: int) -> Iterator[bytes]:
        """Inflate what comes next, and stand behind it then. It yields `size` bytes, or raises."""
        reader = zlib.decompressobj()
        missing = size
        most = min(CHUNK, size + 64)  # small objects are many: not to read on and on what is not theirs
        try:
            while not reader.eof:
                packed = reader.unconsumed_tail or self._pack.read(most)
                if not packed:
                    raise PackError("it is cut off")
                piece = reader.decompress(packed, min(CHUNK, missing + 1))
                missing -= len(piece)
                if missing < 0:
                    raise PackError("it holds an object that is larger than it says")
                if piece:
                    yield piece
        except zlib.error as error:
            raise PackError("it is damaged: an object cannot be inflated") from error
        if missing:
            raise PackError("it holds an object that is smaller than it says")
        self._pack.seek(-len(reader.unused_data), 1)

    def _too_large(self) -> PackTooLargeError:
        return PackTooLargeError(f"the commit unpacks to more than {self._limits.size >> 20} MiB")

    def _read_kind_and_size(self) -> tuple[int, int]:
        byte = self._byte()
        kind, size, shift = (byte >> 4) & 7, byte & 15, 4
        while byte & 0x80:
            byte = self._byte()
            size |= (byte & 0x7F) << shift
            shift += 7
            if shift > 7 * _LONGEST_NUMBER:
                raise PackError("it holds a number without end")
        return kind, size

    def _read_offset(self) -> int:
        byte = self._byte()
        offset = byte & 0x7F
        for _ in range(_LONGEST_NUMBER):
            if not byte & 0x80:
                return offset
            byte = self._byte()
            offset = ((offset + 1) << 7) | (byte & 0x7F)
        raise PackError("it holds a number without end")

    def _byte(self) -> int:
        byte = self._pack.read(1)
        if not byte:
            raise PackError("it is cut off")
        return byte[0]


def _changed(orders: _Pieces, base: BinaryIO) -> Iterator[bytes]:
    """Yield what a delta makes of its base."""
    while not orders.is_at_end:
        order = orders.take(1)[0]
        if not order:
            raise PackError("it holds a change of an unknown kind")
        if not order & _COPY:
            yield orders.take(order)
            continue
        offset = _sparse_number(orders, order, 4)
        size = _sparse_number(orders, order >> 4, 3) or _LARGEST_COPY
        base.seek(offset)
        while size:
            piece = base.read(min(CHUNK, size))
            if not piece:
                raise PackError("it holds a change that copies what is not there")
            size -= len(piece)
            yield piece


def _sparse_number(orders: _Pieces, present: int, most: int) -> int:
    """Read a number of which only the bytes that are not zero are there."""
    return sum(orders.take(1)[0] << (8 * index) for index in range(most) if present & (1 << index))
