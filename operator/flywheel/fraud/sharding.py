"""Which shard judges which event by which rule. Pure, and without compiled code: the edge asks too.

A key belongs to one shard. An event goes to the shards of all rules that it matters to; each judges it by the rules
whose key is its own. Rules that look from one key to others are judged whole, by the shard of their name.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import xxhash
from numpy.typing import NDArray

from flywheel.fraud.fields import key_reader
from flywheel.fraud.rule import AccountAge, Linked, Rule
from flywheel.fraud.words import Event


def is_whole(rule: Rule) -> bool:
    """Say whether a rule looks across keys, so that one shard must see all of its events."""
    return any(
        isinstance(each, Linked) or (isinstance(each, AccountAge) and each.since is not None and not by_user(rule))
        for each in rule.conditions
    )


def by_user(rule: Rule) -> bool:
    """Say whether a rule's key is the user and nothing else."""
    return rule.key in (("user",), ("userId",))


def shard_of(key: Sequence[str], of: int) -> int:
    """Give the shard of a key: of equal keys the same, whatever the rule."""
    return xxhash.xxh32_intdigest("\x1f".join(key).encode("utf-8", "surrogatepass")) % of


def shards_of(event: Event, rules: Iterable[Rule], of: int) -> frozenset[int]:
    """Give the shards that an event goes to: none where no rule has a key for it."""
    found = set()
    for rule in rules:
        if is_whole(rule):
            found.add(shard_of((rule.name,), of))
            continue
        key = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)(event)
        if all(key):
            found.add(shard_of(key, of))
    return frozenset(found)


def owned(keys: Iterable[tuple[str, ...]], rule: Rule, shard: int, of: int) -> NDArray[np.bool_] | bool:
    """Say by the texts of keys which events this shard is to judge by a rule. Those without a key are one shard's."""
    if is_whole(rule):
        return shard_of((rule.name,), of) == shard
    return np.array([shard_of(key, of) == shard for key in keys], np.bool_)


def owner(rule: Rule, shard: int, of: int) -> Callable[[Event], bool]:
    """Give the function that says whether this shard is to judge an event by a rule."""
    if is_whole(rule):
        mine = shard_of((rule.name,), of) == shard
        return lambda _: mine
    read = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)
    return lambda event: shard_of(read(event), of) == shard
