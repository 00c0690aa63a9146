"""Which shard judges which event by which rule. Pure. Needs the extra `fraud`.

A key belongs to one shard, by the hash that its windows are found by: so a window's record tells whose it is without
the text of its key. Rules that look from one key to others are judged whole, by the shard of their name.

From a number of shards to a larger one, keys move to new shards only; to a smaller one, from those that go only:
J. Lamping and E. Veach, "A fast, minimal memory, consistent hash algorithm", arXiv:1406.2294 (2014).
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.columns import hashed
from flywheel.fraud.compiled import Flags, Numbers, compiled, inlined, mix_all
from flywheel.fraud.fields import key_reader
from flywheel.fraud.rule import AccountAge, Linked, Rule
from flywheel.fraud.shares import Share
from flywheel.fraud.words import Event

Chooser = Callable[[Numbers], Flags]
"""Says of hashes of keys which are meant."""


def is_whole(rule: Rule) -> bool:
    """Say whether a rule looks across keys, so that one shard must see all of its events."""
    return any(
        isinstance(each, Linked) or (isinstance(each, AccountAge) and each.since is not None and not by_user(rule))
        for each in rule.conditions
    )


def by_user(rule: Rule) -> bool:
    """Say whether a rule's key is the user and nothing else."""
    return rule.key in (("user",), ("userId",))


@inlined
def _jump(key: int, of: int) -> int:
    """Give the shard of a hash: figure 1 of the paper."""
    state = np.uint64(key)
    shard, following = -1, 0
    while following < of:
        shard = following
        state = state * np.uint64(2862933555777941757) + np.uint64(1)
        following = np.int64(
            np.float64(shard + 1) * (np.float64(1 << 31) / np.float64((state >> np.uint64(33)) + np.uint64(1)))
        )  # type: ignore[assignment]
    return shard


@compiled
def _among(hashes: Numbers, number: int, of: int, before: int, of_before: int) -> Flags:
    found = np.zeros(len(hashes), np.bool_)
    for i in range(len(hashes)):
        found[i] = _jump(hashes[i], of) == number and _jump(hashes[i], of_before) == before
    return found


def among(hashes: Numbers, share: Share) -> Flags:
    """Say which keys are in a share, by their hashes. Missing keys, whose hash is 0, are the first shard's."""
    if share.is_all:
        return np.ones(len(hashes), np.bool_)
    return _among(hashes, share.number, share.of, *share.came_from)


def hash_of(key: Sequence[str], secret: NDArray[np.uint64]) -> Numbers:
    """Give the hash of a key, as a column of one: 0 where a text of it is empty."""
    texts = hashed([*key], secret)
    found = texts[:1]
    for i in range(1, len(texts)):
        found = mix_all(found, texts[i : i + 1], secret)
    return found


def has(share: Share, key: Sequence[str], secret: NDArray[np.uint64]) -> bool:
    """Say whether a key is in a share."""
    return bool(among(hash_of(key, secret), share)[0])


def chooser(rule: Rule, share: Share, secret: NDArray[np.uint64]) -> Chooser:
    """Give what says, by the hashes of a rule's keys, which are in a share: of a rule that is judged whole all or none.

    Args:
        rule: Whose keys.
        share: The part that is meant.
        secret: The key of hashes.
    """
    if is_whole(rule):
        mine = has(share, (rule.name,), secret)
        return lambda hashes: np.full(len(hashes), mine, np.bool_)
    return lambda hashes: among(hashes, share)


def owner(rule: Rule, share: Share, secret: NDArray[np.uint64]) -> Callable[[Event], bool]:
    """Give the function that says whether an event is in a share by a rule."""
    if share.is_all:
        return lambda _: True
    choose, read = chooser(rule, share, secret), key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)
    return lambda event: bool(choose(hash_of(read(event), secret))[0])
