"""The state of an engine as bytes: versioned, checked, the same after the same log. Pure. Needs the extra `fraud`."""

import hashlib

import msgspec
import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.counters import Counters, RuleCounters
from flywheel.fraud.rule import Rule

MAGIC = b"flywheel fraud 1\n"
CHECKSUM = 32


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that an engine goes on from."""

    secret: str
    """Fingerprint of the key of hashes."""
    rules: tuple[Rule, ...]
    position: bytes
    clock: int
    shard: int
    of: int
    remember: int
    maximum_ids: int
    counters: Counters
    ids: list[bytes]
    states: list[tuple[RuleCounters, dict[str, list[bytes]]]]
    """Of each rule, in the order of the rules: what was counted, and its conditions' states by their digests."""


def write_snapshot(snapshot: Snapshot) -> bytes:
    """Write a snapshot."""
    body = msgspec.msgpack.encode(snapshot, order="deterministic")
    return b"".join((MAGIC, hashlib.blake2b(body, digest_size=CHECKSUM).digest(), body))


def read_snapshot(data: bytes) -> Snapshot:
    """Read what `write_snapshot` has written.

    Raises:
        ValueError: It is something else, or damaged.
    """
    if not data.startswith(MAGIC):
        raise ValueError("this is no snapshot of this version of the fraud engine")
    start = len(MAGIC) + CHECKSUM
    body = memoryview(data)[start:]
    if hashlib.blake2b(body, digest_size=CHECKSUM).digest() != data[len(MAGIC) : start]:
        raise ValueError("the snapshot is damaged: its checksum does not agree")
    try:
        return msgspec.msgpack.decode(body, type=Snapshot)
    except msgspec.DecodeError as error:
        raise ValueError(f"the snapshot cannot be read: {error}") from error


def key_of_secret(secret: bytes) -> NDArray[np.uint64]:
    """Make the key of hashes from a secret of any length."""
    return np.frombuffer(hashlib.blake2b(secret, digest_size=16, person=b"flywheel fraud").digest(), np.uint64)


def fingerprint(key: NDArray[np.uint64]) -> str:
    """Tell keys of hashes apart without giving them away."""
    return hashlib.blake2b(key.tobytes(), digest_size=8, person=b"fingerprint").hexdigest()
