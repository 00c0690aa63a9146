"""Rules to try, and generated pasts: ties, late and repeated events, and some that lack what is asked of them."""

import copy
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.events.rows import EventRow

START = 1_813_104_000_000
LATER = 4_000_000_000
CLAIMED = "Coupon Claimed"
ODD = 'it\'s "odd" \\ 券 {p0:String}'
_WRITTEN: dict[str, dict[str, Any]] = {}
STEPS = (0, 0, 0, 1, 7, 50, 120, 400, 999, 1000, 1500)
"""Milliseconds from one arrival to the next."""
PLACES = ([31.23, 121.47], [31.0, 121.3], [48.86, 2.35], [None, 2.0], ["31", 2.0], [91, 2])


def rule(name: str, **spec: Any) -> FraudRule:
    """Read a rule as a person writes it."""
    return load_fraudrule(_manifest(name, spec))


def manifest_of(name: str) -> dict[str, Any]:
    """Give one of RULES as it is written."""
    return copy.deepcopy(_WRITTEN[name])


def _manifest(name: str, spec: dict[str, Any]) -> dict[str, Any]:
    whole = {
        "campaign": "yougou-618",
        "match": {"event": CLAIMED},
        "key": ["user"],
        "action": {"tag": {"name": "x"}},
        "lateness": "1s",
    }
    _WRITTEN[name] = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "FraudRule",
        "metadata": {"name": name},
        "spec": {**whole, **spec},
    }
    return _WRITTEN[name]


def _where(*filters: tuple[Any, ...]) -> list[dict[str, Any]]:
    names = ("field", "operator", "value", "type")
    return [
        {("values" if isinstance(part, list) else name): part for name, part in zip(names, each, strict=False)}
        for each in filters
    ]


BOUNDED = {"maximumKeys": 100_000}
RULES = {
    each.name: each
    for each in (
        rule("count", key=["address"], window="2s", condition={"count": {"moreThan": 2}}),
        rule("every", match={"type": "Track"}, key=["visitor"], window="10s", condition={"count": {"moreThan": 0}}),
        rule(
            "coupons",
            match={"event": CLAIMED, "where": _where(("properties.amount", "GreaterThan", 5))},
            key=["address", "properties.code"],
            window="2s",
            state=BOUNDED,
            condition={"count": {"moreThan": 1}},
        ),
        rule("networks", key=["addressPrefix"], window="2s", lateness="0s", condition={"count": {"moreThan": 3}}),
        rule("rate", match={"events": [CLAIMED, ODD]}, window="3s", condition={"rate": {"moreThan": 0.7, "per": "1s"}}),
        rule("users", key=["device"], window="2s", condition={"distinct": {"field": "user", "moreThan": 2}}),
        rule(
            "codes", key=["visitor"], window="3s", condition={"distinct": {"field": "properties.code", "moreThan": 1}}
        ),
        rule("money", window="2s", condition={"sum": {"field": "properties.amount", "moreThan": 12.5}}),
        rule(
            "money-kept",
            key=["device"],
            window="6s",
            state={"eventsPerKey": 3},
            condition={"sum": {"field": "properties.amount", "moreThan": 8}},
        ),
        rule(
            "orders",
            match={"event": "Order Completed"},
            key=["visitor"],
            window="6s",
            condition={"sum": {"field": "revenue", "moreThan": 40}},
        ),
        rule("hops", window="3s", condition={"velocity": {"changes": "address", "moreThan": 1}}),
        rule(
            "hops-kept",
            window="9s",
            state={"eventsPerKey": 3},
            condition={"velocity": {"changes": "properties.code", "moreThan": 1}},
        ),
        rule(
            "flying",
            window="2s",
            condition={
                "velocity": {
                    "latitude": "context.location.latitude",
                    "longitude": "context.location.longitude",
                    "kilometresPerHour": 900,
                }
            },
        ),
        rule("haste", condition={"sequence": {"steps": [{"event": "Signed Up"}], "within": "1s"}}),
        rule(
            "steps",
            key=["address"],
            condition={
                "sequence": {
                    "steps": [
                        {"event": "Signed Up"},
                        {"event": ODD, "where": _where(("properties.code", "NotEquals", ODD))},
                        {"event": CLAIMED},
                    ],
                    "within": "3s",
                }
            },
        ),
        rule("young", key=["address"], condition={"accountAge": {"lessThan": "1s", "since": "Signed Up"}}),
        rule("created", condition={"accountAge": {"lessThan": "2s", "createdAt": "context.traits.createdAt"}}),
        rule(
            "both",
            key=["address"],
            window="2s",
            condition={"all": [{"count": {"moreThan": 1}}, {"accountAge": {"lessThan": "2s", "since": "Signed Up"}}]},
        ),
        rule(
            "either",
            key=["address"],
            window="2s",
            condition={
                "any": [
                    {"sequence": {"steps": [{"event": "Signed Up"}], "within": "1s"}},
                    {"distinct": {"field": "user", "moreThan": 2}},
                    {"sum": {"field": "properties.amount", "moreThan": 15}},
                ]
            },
        ),
        rule(
            "exempt",
            key=["address"],
            window="2s",
            exempt=[{"where": _where(("bot", "Equals", "true", "Boolean"))}, {"where": _where(("user", "In", ["u1"]))}],
            condition={"count": {"moreThan": 1}},
        ),
        rule(
            "identified",
            match={"type": "Identify", "where": _where(("traits.code", "Exists"))},
            key=["address"],
            window="5s",
            condition={"count": {"moreThan": 0}},
        ),
    )
}


@st.composite
def pasts(draw: st.DrawFn, most: int = 50, least: int = 0, steps: Sequence[int] = STEPS) -> list[EventRow]:
    """Events as they arrived, some of them again: arrivals never go back, times do."""
    steps = draw(st.lists(st.sampled_from(steps), min_size=least, max_size=most))
    rows: list[EventRow] = []
    arrived = START
    for number, step in enumerate(steps):
        arrived += step
        if rows and draw(st.integers(0, 11)) == 0:
            rows.append(draw(st.sampled_from(rows)))
        else:
            behind = draw(st.sampled_from([0, 0, 0, 0, 1, 50, 999, 1000, 1001, 5000, 5001, 9000]))
            rows.append(draw(events(f"m{number:03}", arrived - behind, arrived)))
    return rows


@st.composite
def events(draw: st.DrawFn, identity: str, time: int, arrived: int) -> EventRow:
    """One event."""
    kind = draw(st.sampled_from(["track"] * 7 + ["identify", "page"]))
    name = draw(st.sampled_from([CLAIMED] * 5 + ["Signed Up", "Signed Up", ODD, "Order Completed"]))
    ordered = name == "Order Completed" and draw(st.booleans())
    place = draw(st.sampled_from(PLACES))
    context = {
        "device": draw(st.sampled_from([{"id": "d1"}, {"id": "d1"}, {"id": ODD}, {"id": 7}, {}, "d1"])),
        "location": {"latitude": place[0], "longitude": place[1]},
        "traits": {"createdAt": draw(created(time))},
    }
    amount = draw(st.sampled_from([6.1, 2.05, -1.0, 7, "9", True, None, 1e12, 0.00005]))
    code = draw(st.sampled_from(["", "A", ODD, 5, "5", True, [1], None, {"a": 1}]))
    return EventRow(
        message_id=identity,
        type=kind,
        event=name,
        time=time,
        original_time=time,
        ingest_time=arrived,
        visitor=draw(st.sampled_from(["", "v1", "v2", "v3", ODD])),
        user_id=draw(st.sampled_from(["", "u1", "u2", "u3", "u4"])),
        bot=draw(st.integers(0, 7)) == 0,
        address=draw(st.sampled_from(["", "192.0.2.1", "192.0.2.2", "198.51.100.1", "2001:db8::1", "0a" * 16])),
        order_id=f"o{identity}" if ordered else "",
        revenue=25.0 if ordered else 0.0,
        properties=json.dumps({"amount": amount, "code": code}),
        context=json.dumps(context, ensure_ascii=draw(st.booleans())),
        expires_at=LATER,
    )


def created(time: int) -> st.SearchStrategy[Any]:
    """When an account says that it began, in one of the forms that are read, and some that are not."""
    whole = time // 1000
    told = datetime.fromtimestamp(whole, UTC).isoformat()
    spoken = [told, told.replace("+00:00", ".1239Z"), told[:19], "soon"]
    return st.sampled_from([time - 1999, time - 2000, time + 50, float(whole), -5, *spoken])
