"""Kills, changes of rules, shards and the order of rules: none of them changes a verdict that it should not."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fraud.refilling import refill, without_repetitions
from tests.unit.fraud.streams import PATTERNS, RULES, START, places, streams

from flywheel.fraud.engine import Engine
from flywheel.fraud.rule import Count, Distinct, Filter, Match, Rule
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Event

ALL = [*RULES, *PATTERNS]


@settings(max_examples=60, deadline=None)
@given(streams(extra=places()), st.data())
def test_a_kill_at_any_point_changes_no_verdict_and_no_byte(events: list[Event], data: st.DataObject) -> None:
    killed = data.draw(st.integers(0, len(events)))
    straight = Engine(ALL, secret=b"s")
    verdicts = straight.judge(events)
    engine = Engine(ALL, secret=b"s")
    found = engine.judge(events[:killed])
    engine, position = Engine.restore(engine.snapshot(str(killed).encode()), secret=b"s")
    found += [verdict for event in events[int(position) :] for verdict in engine.judge([event])]
    assert found == verdicts
    assert engine.snapshot(b"end") == straight.snapshot(b"end")


@settings(max_examples=60, deadline=None)
@given(streams(extra=places()), st.randoms(use_true_random=False))
def test_the_order_of_rules_does_not_matter(events: list[Event], random: object) -> None:
    mixed = list(ALL)
    random.shuffle(mixed)
    assert Engine(mixed).judge(events) == Engine(ALL).judge(events)


@settings(max_examples=60, deadline=None)
@given(streams(extra=places()))
def test_four_shards_say_together_what_one_says(events: list[Event]) -> None:
    whole = Engine(ALL, secret=b"s", now=START).judge(events)
    found = []
    for shard in range(4):
        engine = Engine(ALL, secret=b"s", now=START, shard=shard, of=4)
        found += engine.judge(events)
    assert sorted(found, key=repr) == sorted(whole, key=repr)


@settings(max_examples=60, deadline=None)
@given(streams(), st.data())
def test_other_rules_come_and_go_without_a_trace(events: list[Event], data: st.DataObject) -> None:
    stays, others = RULES[0], RULES[1:]
    engine = Engine([stays], now=START)
    found = []
    for event in events:
        if data.draw(st.integers(0, 4)) == 0:
            engine.replace([stays, *data.draw(st.lists(st.sampled_from(others), unique=True))], engine.clock)
        found += [verdict for verdict in engine.judge([event]) if verdict.rule == stays.name]
    assert found == Engine([stays], now=START).judge(events)


@settings(max_examples=60, deadline=None)
@given(streams(extra=places()), st.data())
def test_a_rule_warmed_by_the_past_judges_as_if_it_had_been_there(events: list[Event], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(events)))
    there = Engine(ALL, now=START)
    there.judge(events[:at])
    engine = Engine(ALL[:1], now=START)
    engine.judge(events[:at])
    engine.replace(ALL, engine.clock)
    refill(engine, ALL[1:], without_repetitions(events[:at]))
    without = [(each.rule, each.event, each.observed, each.since) for each in engine.judge(events[at:])]
    assert without == [(each.rule, each.event, each.observed, each.since) for each in there.judge(events[at:])]


def claim(number: int, at: int, **more: str) -> Event:
    return Event(id=str(number), time=START + at, arrived=START + at, **{"address": "192.0.2.1", **more})


def test_a_batch_in_which_every_event_breaks_every_rule_says_so_in_the_order_of_events() -> None:
    conditions = {"count": Count(more_than=1), "users": Distinct(field="user", more_than=1)}
    rules = [Rule(name=name, key=("address",), window=60_000, conditions=(each,)) for name, each in conditions.items()]
    events = [claim(i, i, user=f"u{i % 3}") for i in range(5000)]
    found = Engine(rules).judge(events)
    assert [(each.event, each.rule) for each in found[-4:]] == [
        ("4998", "count"), ("4998", "users"), ("4999", "count"), ("4999", "users"),
    ]  # fmt: skip
    assert len(found) == 2 * 4999
    one_by_one = Engine(rules)
    assert [verdict for event in events for verdict in one_by_one.judge([event])] == found
    assert one_by_one.counters_of("count").hits == 4999


def test_texts_of_any_length_are_judged_one_by_one_as_in_a_batch() -> None:
    rules = [Rule(name="r", key=("user",), window=60_000, conditions=(Count(more_than=1),))]
    events = [claim(i, i, user="u" * length) for i, length in enumerate((1, 9000, 7, 8, 9, 20_000, 9000, 8, 1))]
    one_by_one, together = Engine(rules), Engine(rules)
    found = [verdict for event in events for verdict in one_by_one.judge([event])]
    assert [each.event for each in found] == ["6", "7", "8"]
    assert found == together.judge(events)
    assert one_by_one.snapshot(b"") == together.snapshot(b"")


def test_a_new_window_says_that_it_is_warming_until_it_is_full() -> None:
    engine = Engine([Rule(name="r", key=("address",), window=1000, conditions=(Count(more_than=1),), lateness=0)])
    found = engine.judge([claim(1, 0), claim(2, 10), claim(3, 999), claim(4, 1000), claim(5, 1001)])
    assert [each.warming for each in found] == [True, True, False, False]
    assert not engine.warming("r")


def test_another_limit_keeps_the_windows_of_the_other_conditions() -> None:
    def rule(limit: int) -> Rule:
        conditions = Distinct(field="user", more_than=1), Count(more_than=limit)
        return Rule(name="r", key=("address",), window=1000, lateness=0, conditions=conditions, combine="Any")

    engine = Engine([rule(50)], now=START)
    engine.judge([claim(1, 0, user="a")])
    engine.replace([rule(60)], START + 1)
    (verdict,) = engine.judge([claim(2, 2, user="b")])
    assert verdict.observed == 2


def test_rules_that_cannot_be_carried_out_change_nothing() -> None:
    engine = Engine(RULES)
    with pytest.raises(ValueError, match="window is 0 ms"):
        engine.replace([Rule(name="r", key=("address",), window=0, conditions=(Count(more_than=1),))], 0)
    wrong = Match(where=(Filter(field="amount", operator="GreaterThan", values=("5",)),))
    with pytest.raises(ValueError, match="GreaterThan on amount takes a number, not '5'"):
        engine.replace([msgspec.structs.replace(RULES[0], match=wrong)], 0)
    with pytest.raises(ValueError, match="two rules have one name"):
        engine.replace([RULES[0], RULES[0]], 0)
    assert {rule.name for rule in engine.rules} == {rule.name for rule in RULES}


def test_a_snapshot_that_is_damaged_or_of_another_secret_is_refused() -> None:
    data = Engine(RULES, secret=b"a").snapshot(b"7")
    with pytest.raises(ValueError, match="another secret"):
        Engine.restore(data, secret=b"b")
    with pytest.raises(ValueError, match="checksum"):
        Engine.restore(data[:-1] + bytes([data[-1] ^ 1]), secret=b"a")
    with pytest.raises(ValueError, match="no snapshot"):
        Engine.restore(b"", secret=b"a")


def test_filters_take_numbers_texts_and_truths_for_what_they_are() -> None:
    sent = Event(id="", time=START, arrived=START, address="192.0.2.9", fields={"n": 1.0, "t": "1", "b": True, "e": ""})

    def holds(field: str, operator: str, *values: object) -> bool:
        return matcher(Match(where=(Filter(field=field, operator=operator, values=values),)))(sent)

    assert holds("n", "Equals", 1.0)
    assert not holds("n", "Equals", "1")
    assert not holds("b", "Equals", 1.0)
    assert holds("b", "In", True, "x")
    assert not holds("t", "GreaterThan", 0.0)
    assert not holds("b", "GreaterOrEqual", 1.0)
    assert holds("n", "LessOrEqual", 1.0)
    assert holds("t", "NotIn", 1.0, True)
    assert holds("gone", "NotEquals", "x")
    assert holds("gone", "NotIn", "x")
    assert not holds("gone", "Equals", "x")
    assert holds("gone", "DoesNotExist")
    assert holds("e", "DoesNotExist")
    assert not holds("e", "Exists")
    assert holds("context.ip", "InRange", "192.0.2.0/24", "2001:db8::/32")
    assert not holds("t", "InRange", "0.0.0.0/0")
    assert holds("address", "StartsWith", "192.")
    assert holds("address", "EndsWith", ".9")
    assert not holds("n", "Contains", "1")
