"""What is bounded: keys, ids, entries; and that nothing left out is left unsaid."""

import msgspec
import pytest
from tests.unit.fraud.streams import START

from flywheel.fraud.engine import Engine
from flywheel.fraud.rule import Count, Distinct, Linked, Match, Rule, Sequence, Sum
from flywheel.fraud.words import Event


def event(number: int, at: int = 0, address: str = "192.0.2.1", **fields: float | str) -> Event:
    return Event(
        id=f"e{number}",
        time=START + at,
        arrived=START + at,
        address=address,
        user=str(fields.pop("user", "")),
        fields=fields,
    )


def rule(*conditions: object, **more: object) -> Rule:
    return Rule(**{"name": "r", "key": ("address",), "window": 10_000, "conditions": conditions, **more})


def flood(count: int, start: int = 100) -> list[Event]:
    return [event(start + i, i // 100, address=f"k{i}") for i in range(count)]


def test_the_oldest_key_is_forgotten_where_there_is_no_room_and_that_is_counted() -> None:
    engine = Engine([rule(Count(more_than=1), maximum_keys=3)])
    engine.judge([event(1, 0, "a"), event(2, 1, "b"), event(3, 2, "c"), event(4, 3, "b"), event(5, 4, "d")])
    assert engine.counters_of("r").evicted == 1
    found = engine.judge([event(6, 5, "b"), event(7, 6, "c"), event(8, 7, "d"), event(9, 8, "a")])
    assert [each.key for each in found] == [("b",), ("c",), ("d",)]
    assert engine.counters_of("r").keys == 3


def test_new_keys_are_refused_where_the_rule_says_so_and_known_ones_are_judged() -> None:
    engine = Engine([rule(Count(more_than=1), maximum_keys=2, when_full="Refuse")])
    found = engine.judge([event(1, 0, "a"), event(2, 1, "b"), event(3, 2, "c"), event(4, 3, "c"), event(5, 4, "a")])
    assert [each.key for each in found] == [("a",)]
    assert engine.counters_of("r").refused == 2


def test_room_is_made_by_what_is_over_before_anything_is_refused() -> None:
    engine = Engine([rule(Count(more_than=1), maximum_keys=2, when_full="Refuse", lateness=0)])
    engine.judge([event(1, 0, "a"), event(2, 0, "b")])
    assert [each.key for each in engine.judge([event(3, 10_000, "c"), event(4, 10_001, "c")])] == [("c",)]
    assert engine.counters_of("r").refused == 0


@pytest.mark.parametrize("policy", ["EvictOldest", "Refuse"])
@pytest.mark.parametrize(
    "condition",
    [
        Count(more_than=3),
        Distinct(field="device", more_than=3),
        Sequence(steps=(Match(),), within=1000),
        Linked(accounts="address", through="device", more_than=9),
    ],
)
def test_a_flood_of_new_keys_never_keeps_more_than_allowed(policy: str, condition: object) -> None:
    engine = Engine([rule(condition, maximum_keys=1000, when_full=policy)])
    events = [msgspec.structs.replace(each, fields={"device": each.id}) for each in flood(5000)]
    engine.judge(events)
    counted = engine.counters_of("r")
    tables = 2 if isinstance(condition, Linked) else 1
    assert counted.keys == 1000 * tables
    assert (counted.evicted if policy == "EvictOldest" else counted.refused) == 4000 * tables
    assert engine.judge([event(1, 60, "k4999"), event(2, 61, "k4999")]) == [] or isinstance(condition, Sequence)


def test_what_is_over_is_forgotten_bit_by_bit_with_other_keys_events() -> None:
    engine = Engine([rule(Count(more_than=3), lateness=0)])
    engine.judge(flood(5000))
    assert engine.counters_of("r").keys == 5000
    engine.judge([event(10_000 + i, 20_000 + i) for i in range(6000)])
    assert engine.counters_of("r").keys == 1
    engine.judge(flood(100, start=50_000))
    engine.advance(START + 99_000)
    assert engine.counters_of("r").keys < 101


def test_ids_are_remembered_for_the_horizon_and_no_longer() -> None:
    engine = Engine([rule(Count(more_than=1))], remember=1000)
    assert engine.judge([event(1, 0), event(1, 999)]) == []
    assert len(engine.judge([event(1, 1000)])) == 1
    assert engine.counters.duplicates == 1


def test_ids_are_no_more_than_allowed() -> None:
    engine = Engine([rule(Count(more_than=1))], maximum_ids=64)
    engine.judge(flood(500))
    assert len(engine.judge([event(100, 10, "k0")])) == 1, "the id was forgotten, and the event judged again"


def test_what_is_not_judged_is_counted() -> None:
    engine = Engine([rule(Sum(field="amount", more_than=5), lateness=100)])
    odd = [
        event(1, 0, ""),
        event(2, 1000, amount="6"),
        event(3, 1000, amount=float("inf")),
        event(4, 1000),
        Event(id="5", time=START + 9000, arrived=START + 1000, address="a", fields={"amount": 6.0}),
        Event(id="6", time=START + 899, arrived=START + 1000, address="a", fields={"amount": 6.0}),
    ]
    (verdict,) = engine.judge(odd)
    assert (verdict.event, verdict.at) == ("5", START + 1000)
    counted = engine.counters_of("r")
    assert (counted.matched, counted.missing_key, counted.late, counted.unusable, counted.hits) == (6, 1, 1, 3, 1)
    assert (engine.counters.events, engine.counters.clamped) == (6, 1)


def test_a_sum_of_more_events_than_are_kept_says_so() -> None:
    engine = Engine([rule(Sum(field="amount", more_than=2.5, maximum_events=3))])
    found = engine.judge([event(i, i, amount=1.0) for i in range(5)])
    assert [(each.observed, each.saturated) for each in found] == [(3.0, False), (3.0, True), (3.0, True)]
