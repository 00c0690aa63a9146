"""Generated streams of events: ties, late, repeated and future ones, and some that lack what is asked of them."""

import msgspec
from hypothesis import strategies as st

from flywheel.fraud.rule import (
    AccountAge,
    Changes,
    Count,
    Distinct,
    Filter,
    Linked,
    Match,
    Rate,
    Rule,
    Sequence,
    Speed,
    Sum,
)
from flywheel.fraud.words import Event, Verdict

START = 1_800_000_000_000
ADDRESSES = ["", "192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1"]
DEVICES = [{}, {"device": "d1"}, {"device": "d1"}, {"device": "d\0"}, {"device": 7.0}]
AMOUNTS = [{}, {"amount": 6.1}, {"amount": 2.05}, {"amount": -1.0}, {"amount": "9"}]

RULES = [
    Rule(name="count", key=("address",), window=1000, lateness=400, conditions=(Count(more_than=2),)),
    Rule(
        name="coupons",
        match=Match(events=("Coupon Claimed",), where=(Filter(field="amount", operator="GreaterThan", values=(5.0,)),)),
        key=("address", "device"),
        window=1500,
        lateness=100,
        conditions=(Count(more_than=1),),
    ),
    Rule(name="many", key=("address",), window=2000, lateness=500, conditions=(Count(more_than=9),)),
    Rule(name="rate", key=("addressPrefix",), window=1000, lateness=999, conditions=(Rate(more_than=3.5),)),
    Rule(name="users", key=("device",), window=1000, lateness=300, conditions=(Distinct(field="user", more_than=2),)),
    Rule(name="crowd", key=("device",), window=3000, lateness=300, conditions=(Distinct(field="user", more_than=5),)),
    Rule(name="money", key=("user",), window=1000, lateness=300, conditions=(Sum(field="amount", more_than=12.5),)),
    Rule(
        name="money-capped",
        key=("device",),
        window=2000,
        lateness=300,
        conditions=(Sum(field="amount", more_than=8, maximum_events=5),),
    ),
    Rule(name="hops", key=("user",), window=2000, lateness=300, conditions=(Changes(field="address", more_than=2),)),
    Rule(
        name="both",
        key=("address",),
        window=1000,
        lateness=200,
        conditions=(Count(more_than=2), Distinct(field="user", more_than=1)),
    ),
    Rule(
        name="either",
        key=("address",),
        window=1000,
        lateness=200,
        combine="Any",
        conditions=(Sum(field="amount", more_than=20), Distinct(field="user", more_than=2)),
    ),
]

RULES = [msgspec.structs.replace(rule, maximum_keys=5000) for rule in RULES]
CLAIMED, SIGNED_UP = Match(events=("Coupon Claimed",)), Match(events=("Signed Up",))
PATTERNS = [
    Rule(
        name="quick",
        match=CLAIMED,
        key=("user",),
        window=1000,
        lateness=300,
        conditions=(Sequence(steps=(SIGNED_UP,), within=500),),
    ),
    Rule(
        name="steps",
        match=CLAIMED,
        key=("address",),
        window=3000,
        lateness=300,
        conditions=(Sequence(steps=(SIGNED_UP, Match(), CLAIMED), within=2000),),
    ),
    Rule(
        name="young",
        match=CLAIMED,
        key=("address",),
        window=1000,
        lateness=300,
        conditions=(AccountAge(less_than=800, since=SIGNED_UP),),
    ),
    Rule(
        name="created",
        key=("address",),
        window=1000,
        lateness=300,
        conditions=(AccountAge(less_than=800, created_at="created"),),
    ),
    Rule(
        name="flying",
        key=("user",),
        window=2000,
        lateness=60,
        conditions=(Speed(latitude="latitude", longitude="longitude", kilometres_per_hour=900),),
    ),
    Rule(
        name="linked",
        key=("address",),
        window=1500,
        lateness=300,
        conditions=(Linked(accounts="user", through="device", depth=2, more_than=2),),
    ),
]


@st.composite
def places(draw: st.DrawFn) -> dict[str, float]:
    """Somewhere, and an account that began at some time."""
    where = draw(st.sampled_from([(31.23, 121.47), (31.0, 121.3), (48.86, 2.35), (None, 2.0)]))
    found = {"latitude": where[0], "longitude": where[1], "created": START + draw(st.integers(-1000, 3000)) * 1.0}
    return {name: value for name, value in found.items() if value is not None}


@st.composite
def streams(draw: st.DrawFn, most: int = 60, extra: st.SearchStrategy[dict[str, float]] | None = None) -> list[Event]:
    """A log: arrivals never go back, times do."""
    steps = draw(st.lists(st.sampled_from([0, 0, 1, 7, 50, 120, 400, 1500]), max_size=most))
    events, arrived = [], START
    for i, step in enumerate(steps):
        arrived += step
        repeated = events and draw(st.integers(0, 11)) == 0
        if repeated:
            events.append(_again(draw(st.sampled_from(events)), arrived))
            continue
        behind = draw(st.sampled_from([0, 0, 0, 0, 1, 50, 100, 101, 300, 700, 2500, -400]))
        events.append(
            Event(
                id=f"e{i}" if draw(st.integers(0, 15)) else "",
                name=draw(st.sampled_from(["Coupon Claimed", "Signed Up", ""])),
                time=arrived - behind,
                arrived=arrived,
                address=draw(st.sampled_from(ADDRESSES)),
                user=draw(st.sampled_from(["", "u1", "u2", "u3", "u4", "ü5", "u6"])),
                fields={
                    **draw(st.sampled_from(DEVICES)),
                    **draw(st.sampled_from(AMOUNTS)),
                    **(draw(extra) if extra is not None else {}),
                },
            )
        )
    return events


def _again(event: Event, arrived: int) -> Event:
    return Event(
        id=event.id,
        name=event.name,
        time=event.time,
        arrived=arrived,
        address=event.address,
        user=event.user,
        fields=event.fields,
    )


def told(verdicts: list[Verdict]) -> list[tuple[object, ...]]:
    """What an oracle says too."""
    return [
        (each.rule, each.event, each.key, each.observed, each.limit, each.since, each.saturated) for each in verdicts
    ]
