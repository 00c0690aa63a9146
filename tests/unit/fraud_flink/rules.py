"""Rules that Flink and the engine both judge by: each kind of condition, and each kind of filter."""

from tests.unit.fraud.streams import PATTERNS, RULES
from tests.unit.fraud_flink.log import ODD, ODD_FIELD

from flywheel.fraud.rule import AccountAge, Count, Distinct, Filter, Linked, Match, Rule, Sequence, Speed, Sum
from flywheel.fraud.words import Value


def field(name: str, operator: str, *values: Value) -> Filter:
    return Filter(field=name, operator=operator, values=values)  # type: ignore[arg-type]


FILTERS = [
    *(field("code", operator, text) for text in ODD for operator in ("Equals", "StartsWith", "EndsWith", "Contains")),
    *(field("code", operator, *ODD[:4], "A") for operator in ("In", "NotIn")),
    *(
        field("code", operator, value)
        for value in (5.0, 5.5, 1e22, True, False)
        for operator in ("Equals", "NotEquals")
    ),
    *(field("code", operator) for operator in ("Exists", "DoesNotExist")),
    *(field("code", operator, "") for operator in ("Equals", "NotEquals", "StartsWith", "EndsWith", "Contains")),
    *(field("amount", operator, 2.05) for operator in ("GreaterThan", "GreaterOrEqual", "LessThan", "LessOrEqual")),
    *(field("amount", operator, -1.0) for operator in ("Equals", "NotEquals", "GreaterThan")),
    field("amount", "In", 6.1, "9", True),
    field(ODD_FIELD, "Equals", ODD[2]),
    field(ODD_FIELD, "Contains", "1=1"),
    field("address", "InRange", "192.0.0.0/19", "2001:db8::/64"),
    field("address", "InRange", "0.0.0.0/0"),
    field("address", "InRange", "::/0"),
    field("properties.ip", "InRange", "10.0.0.0/8", "2001:db8::9"),
    field("code", "InRange", "10.0.0.0/8"),
    field("address", "StartsWith", "192."),
    field("address", "DoesNotExist"),
    field("user", "NotIn", "u1", "ü5"),
    field("event", "Equals", "Signed Up"),
    field("event", "GreaterThan", 1.0),
    field("event", "Equals", True),
    field("type", "NotEquals", "page"),
    field("messageId", "EndsWith", "7"),
]

MORE = [
    Rule(
        name="networks",
        match=Match(types=("track",), where=(field("code", "NotEquals", ODD[0]),)),
        key=("addressPrefix", "visitor"),
        prefix_ipv4=20,
        prefix_ipv6=57,
        window=2000,
        lateness=400,
        conditions=(Count(more_than=3),),
    ),
    Rule(
        name="codes",
        key=("visitor", "code"),
        window=10_000,
        lateness=400,
        conditions=(Distinct(field="properties.ip", more_than=2),),
    ),
    Rule(
        name="everything",
        match=Match(events=("Coupon Claimed", "Signed Up")),
        key=("user",),
        window=3000,
        lateness=500,
        conditions=(
            Count(more_than=2),
            AccountAge(less_than=1500, since=Match(events=("Signed Up",))),
            Sequence(steps=(Match(events=("Signed Up",)),), within=1000),
            Sum(field="amount", more_than=3.0),
        ),
    ),
    Rule(
        name="anything",
        key=("user",),
        window=2000,
        lateness=300,
        combine="Any",
        conditions=(
            Speed(latitude="latitude", longitude="longitude", kilometres_per_hour=900),
            AccountAge(less_than=800, created_at="created"),
            Distinct(field="device", more_than=2),
        ),
    ),
]
LIKE_OTHERS = {"many", "crowd", "quick"}
"""Rules that differ from another one in numbers only: a script takes seconds to plan."""
JUDGED = [
    each
    for each in (*RULES, *PATTERNS, *MORE)
    if each.name not in LIKE_OTHERS and not any(isinstance(one, Linked) for one in each.conditions)
]
