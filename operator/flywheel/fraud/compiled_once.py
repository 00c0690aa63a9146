"""Compiles all that an engine can come to, before there are visitors who would wait. Needs the extra `fraud`."""

import functools

from flywheel.fraud.engine import Engine
from flywheel.fraud.rule import AccountAge, Changes, Condition, Count, Distinct, Match, Rule, Sum
from flywheel.fraud.rule import Sequence as Ordered
from flywheel.fraud.shares import Share
from flywheel.fraud.words import Event, Value


@functools.cache
def compile_once() -> None:
    """Judge something of no consequence, so that the first event of a visitor waits for no compiler."""
    conditions: tuple[Condition, ...] = (
        Count(more_than=1),
        Distinct(field="user", more_than=1),
        Sum(field="properties.amount", more_than=1),
        Changes(field="user", more_than=1),
        Ordered(steps=(Match(events=("a",)),), within=1000),
        AccountAge(less_than=1000, since=Match(events=("a",))),
    )
    rules = [
        Rule(name=f"r{number}", key=("address",), window=60_000, conditions=(each,))
        for number, each in enumerate(conditions)
    ]
    fields: dict[str, Value] = {"properties.amount": 1.0}
    events = [
        Event(id=str(each), name="a", time=each, arrived=each, address="192.0.2.1", user=f"u{each}", fields=fields)
        for each in range(1, 5)
    ]
    engine = Engine(rules, of=2)
    engine.judge(events)
    engine.judge(events[:1])
    other = Engine(rules, of=0)
    other.lacks(engine, 0)
    other.take_over([engine], Share(), complete=True)
    other.use_share(Share(0, 2))
    other.use_share(Share())
    other.judge(events)
    other.judge(events[:1])
