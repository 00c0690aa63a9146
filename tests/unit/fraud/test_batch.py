"""Events by column: what is read is what was written, whoever judges it says the same, and nothing bad gets in."""

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fraud.refilling import refill, without_repetitions
from tests.unit.fraud.streams import PATTERNS, RULES, START, places, streams

from flywheel.fraud.batch import Batch, Numbers, Texts, Values, Words, encode, pack
from flywheel.fraud.checking import read
from flywheel.fraud.engine import Engine
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.rule import Count, Filter, Match, Rule
from flywheel.fraud.words import Event

ALL = [
    *RULES,
    *PATTERNS,
    Rule(
        name="filters",
        match=Match(
            types=("track",),
            where=(
                Filter(field="odd", operator="NotEquals", values=("x",)),
                Filter(field="kind", operator="Exists"),
                Filter(field="amount", operator="LessThan", values=(7.0,)),
            ),
        ),
        key=("odd", "kind"),
        window=1000,
        lateness=300,
        conditions=(Count(more_than=1),),
    ),
]
odd = st.sampled_from([{}, {"odd": True}, {"odd": "x"}, {"odd": 5.0}, {"odd": ""}, {"odd": "5"}, {"odd": float("inf")}])
kind = st.sampled_from([{}, {"kind": "a"}, {"kind": "b"}, {"kind": ""}])
fields = st.builds(lambda a, b, c: a | b | c, places(), odd, kind)


def packed(events: list[Event]) -> Packed:
    return Packed(Reading(read(encode(pack(events)))))


def plain(event: Event) -> Event:
    """An empty text and a missing field are the same."""
    return msgspec.structs.replace(event, fields={k: v for k, v in event.fields.items() if v != ""})


@settings(max_examples=100, deadline=None)
@given(streams(extra=fields))
def test_what_is_read_is_what_was_written(events: list[Event]) -> None:
    found = packed(events)
    assert [plain(each) for each in found] == [plain(each) for each in events]
    assert [plain(found[i]) for i in range(-len(events), 0)] == [plain(each) for each in events]
    assert [*map(plain, found[1:4][1:])] == [*map(plain, events[1:4][1:])]


@settings(max_examples=100, deadline=None)
@given(streams(extra=fields), st.data())
def test_whoever_judges_columns_says_what_whoever_judges_objects_says(events: list[Event], data: st.DataObject) -> None:
    shards = data.draw(st.sampled_from([1, 1, 3]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(events)), max_size=3)))
    for shard in range(shards):
        straight, other = (Engine(ALL, secret=b"s", now=START, shard=shard, of=shards) for _ in range(2))
        columns = packed(events)
        found = []
        for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True):
            found += other.judge(columns[start:end])
        assert found == straight.judge(events)
        assert other.snapshot(b"") == straight.snapshot(b"")


@settings(max_examples=30, deadline=None)
@given(streams(extra=fields))
def test_windows_are_warmed_by_columns_as_by_objects(events: list[Event]) -> None:
    engines = [Engine([], now=START) for _ in range(2)]
    events = without_repetitions(events)
    for engine, past in zip(engines, (events, packed(events)), strict=True):
        engine.replace(ALL, START)
        refill(engine, ALL, past)
    assert engines[0].snapshot(b"") == engines[1].snapshot(b"")


def claim(number: int, **more: Any) -> Event:
    return Event(id=str(number), time=START + number, arrived=START + number, **more)


def test_fields_that_few_events_have_take_no_room_of_the_others() -> None:
    events = [claim(i, fields={f"property-{i}.{j}": 1.0 for j in range(50)} | {"path": "/"}) for i in range(1000)]
    batch = pack(events)
    assert [*batch.fields] == ["path"]
    assert len(encode(batch)) < 2 * len(msgspec.msgpack.encode(events))
    assert [*Packed(Reading(batch))] == events


def test_a_batch_is_much_smaller_than_its_objects() -> None:
    events = [claim(i, address="192.0.2.1", fields={"path": "/", "properties.amount": 1.5}) for i in range(1000)]
    assert len(encode(pack(events))) < len(msgspec.msgpack.encode(events)) / 2


def test_what_cannot_be_numbered_is_not_packed() -> None:
    with pytest.raises(OverflowError, match="time of an event"):
        pack([msgspec.structs.replace(claim(1), time=1 << 63)])
    with pytest.raises(OverflowError, match="65536 events are too many"):
        pack([claim(1)] * 65_536)


GOOD = pack([claim(i, address=f"192.0.2.{i}", fields={"a": 1.0, "b": "x", "c": True}) for i in range(3)])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": 2}, "format 2; known is 1"),
        ({"count": -1}, "count is -1"),
        ({"count": 2}, "times has 24 bytes for 2 events"),
        ({"arrived": b""}, "arrived has 0 bytes"),
        ({"ids": Texts(b"a\0b")}, "ids: 2 texts for 3 events"),
        ({"ids": Texts(b"a\0\xff\0")}, "ids: .* invalid start byte"),
        ({"users": Values(("a", "b"))}, "users: 2 values for 3 events"),
        ({"users": Values(("a", "b", 1.0))}, "users: not all are texts"),
        ({"users": Values(("a", "b", None))}, "users: not all are texts"),
        ({"names": Words(("a",), b"\0\0\0\0\1\0")}, "names: a place beyond the 1 words"),
        ({"types": Words(("a",), b"\0\0")}, "types: 2 bytes for 3 places"),
        ({"fields": {"amount": Numbers(b"1234567")}}, "amount: 7 bytes for 3 numbers"),
        ({"fields": {"amount": Texts(b"")}}, "amount: 1 texts for 3 events"),
        ({"rest": {3: {"a": 1.0}}}, "an event that is not there"),
        ({"rest": {-1: {"a": 1.0}}}, "an event that is not there"),
        ({"ids": Numbers(b"0" * 24)}, "Invalid value 1"),
        ({"times": 5}, "Expected `bytes`"),
    ],
)
def test_bad_batches_are_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read(encode(msgspec.structs.replace(GOOD, **changes)))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_is_read_can_be_judged(data: st.DataObject) -> None:
    body = bytearray(encode(GOOD))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        batch: Batch = read(bytes(body))
    except ValueError:
        return
    events = Packed(Reading(batch))
    assert len([*events]) == batch.count
    if batch.count:
        Engine(ALL, now=START).judge(events)
