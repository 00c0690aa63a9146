"""What lists of 100,000 entries cost: reading them, looking somebody up, and each event that their rules mean.

Time is the processor's. Nobody who comes is on a list, as is so of nearly everybody: the whole list has to be asked.
The baseline of an event is the same five rules without lists.
"""

import gc
import random
import time
from collections.abc import Callable
from itertools import product
from typing import Any

from tests.bench.rows import Row, median

from flywheel.fraud.embedded import make_engine
from flywheel.fraud.listed import MOST_ENTRIES, Entries, Lists
from flywheel.fraud.listing import read_list
from flywheel.fraud.policy import Action, ListNames, ListOf, Policy, Ruled, Rules, write_rules
from flywheel.fraud.rule import Count, Match, Rule
from flywheel.fraud.rulings import Shard
from flywheel.fraud.words import Event

EVENTS, BATCH, TURNS = 50_000, 100, 5
START = 1_800_000_000_000
ADDRESSES = ListOf(source="configmap/fraud/proxies.txt")
USERS = ListOf(source="configmap/fraud/suspects.txt", of="User")
BOTH = ListNames(allow=(ADDRESSES,), deny=(ADDRESSES,), watch=(USERS,))
LOOKUP_TARGET, EVENT_TARGET = 5.0, 10.0
"""Microseconds; that of an event is on top of what it costs without lists."""


def measure() -> list[Row]:
    """Measure lists of single addresses, none beside another, and of ids."""
    addresses = "\n".join(f"{a}.{b}.{c}.1" for a, b, c in product(range(1, 11), range(100), range(100)))
    users = "\n".join(f"s{number}" for number in range(MOST_ENTRIES))
    lists: dict[ListOf, Entries] = {}
    rows = []
    for name, of, text in (("addresses", ADDRESSES, addresses), ("ids", USERS, users)):
        reading, read = _timed(lambda of=of, text=text: read_list(of, text.encode(), denies=True))
        assert reading.packed is not None
        assert reading.packed.entries == MOST_ENTRIES
        lists[of], laid = _timed(lambda packed=reading.packed: Entries(packed))
        asked = _events()
        took = median([_timed(lambda of=of, asked=asked: sum(map(lists[of].has, asked)))[1] for _ in range(TURNS)])
        rows += [
            Row(f"list of 100,000 {name}: read by the operator", read * 1e3, "ms"),
            Row(f"list of 100,000 {name}: laid out by the worker", laid * 1e3, "ms"),
            Row(f"list of 100,000 {name}: somebody looked up", took / EVENTS * 1e6, "µs", LOOKUP_TARGET),
        ]
    bare, listed = (_event_of_rules(names, lists) for names in (ListNames(), BOTH))
    return [*rows, Row("event, five rules with three such lists", listed, "µs", bare + EVENT_TARGET, baseline=bare)]


def _events() -> list[Event]:
    dice = random.Random(618)
    return [
        Event(
            id=f"{number:08x}-618a-4b0c",
            name="Coupon Claimed",
            time=START + number,
            arrived=START + number,
            address=f"{dice.randrange(1, 11)}.{dice.randrange(100)}.{dice.randrange(100)}.{dice.randrange(2, 250)}",
            user=f"u-{dice.randrange(5_000)}",
        )
        for number in range(EVENTS)
    ]


def _event_of_rules(names: ListNames, lists: Lists) -> float:
    """Give the microseconds that an event takes, in batches as sidecars send them."""
    policy = Policy(action=Action(kind="Block", lasts=60_000), mode="Enforce", lists=names)
    match = Match(events=("Coupon Claimed",))
    rules = [
        Rule(name=f"r{each}", match=match, key=("address",), window=60_000, conditions=(Count(more_than=50 + each),))
        for each in range(5)
    ]
    document = write_rules(Rules(rules=tuple(Ruled(rule=each, policy=policy) for each in rules)))
    taken = []
    for _ in range(TURNS):
        engine, events = make_engine("spring", Shard(secret=b"s")), _events()
        engine.load(document)
        engine.use_lists(lists)
        gc.collect()

        def judge(engine: Any = engine, events: list[Event] = events) -> None:
            for start in range(0, EVENTS, BATCH):
                engine.judge(events[start : start + BATCH])

        taken.append(_timed(judge)[1])
    return median(taken) / EVENTS * 1e6


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = time.thread_time()
    found = call()
    return found, time.thread_time() - began
