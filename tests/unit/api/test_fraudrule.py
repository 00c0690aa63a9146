"""Reading a FraudRule: what good ones become, and what is said of bad ones."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bad_campaigns.table import changed
from tests.bad_fraudrules.table import BASES, BadRule, bad_fraudrules, good_fraudrule, whole_status
from tests.unit.docs.fields import field_paths, is_used

from flywheel.api.abtest_values import BUCKETS
from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_rules import MOST_ENTRIES, entries_of
from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.api.fraudrule_values import is_range
from flywheel.api.load import InvalidResource, load_campaign, load_fraudrule
from flywheel.api.problem import Problem

AT_ADMISSION = [bad for bad in bad_fraudrules() if bad.refused == "admission"]
BY_OPERATOR = [bad for bad in bad_fraudrules() if bad.refused == "operator"]


def refusal(manifest: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidResource) as caught:
        load_fraudrule(manifest)
    return caught.value.problems


def made(base: str = "base", **fields: Any) -> FraudRule:
    """A rule with some fields changed; `spec__key` is spec.key."""
    paths = {path.replace("__", "."): value for path, value in fields.items()}
    return load_fraudrule(changed(good_fraudrule(base), {"set": paths}))


def test_the_table_is_long_enough_and_every_fault_is_named_once() -> None:
    names = [bad.name for bad in bad_fraudrules()]
    assert len(names) >= 100
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_rule_is_refused_with_field_and_remedy(bad: BadRule) -> None:
    problems = refusal(bad.manifest)
    about = [problem for problem in problems if problem.path.startswith(bad.path) or bad.path in problem.path]
    assert about, problems
    said = "\n".join(str(problem) for problem in about)
    assert [fragment for fragment in bad.load if fragment not in said] == [], said


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_what_only_its_campaign_tells_is_not_asked_of_the_rule(bad: BadRule) -> None:
    assert load_fraudrule(bad.manifest).spec.key
    if bad.campaign is not None:
        load_campaign(bad.campaign)


@pytest.mark.parametrize("base", BASES)
def test_the_good_ones_are_good(base: str) -> None:
    assert load_fraudrule(good_fraudrule(base)).name


def test_the_good_rule_becomes_values() -> None:
    spec = load_fraudrule(good_fraudrule()).spec
    assert (spec.key, spec.window) == (("addressPrefix", "properties.code"), timedelta(minutes=10))
    assert (spec.share, spec.holdout, spec.minimum_precision) == (1250, 500, 0.95)
    assert spec.match.names == ("Coupon Claimed", "Order Completed")
    assert [sign.kind for sign in spec.condition.signs] == ["count", "distinct", "sequence", "accountAge"]
    assert next(place for place, _ in spec.condition.placed()) == "condition.all[0].count"
    block = spec.action.block
    assert block
    assert (block.for_, block.scope, block.status, block.body) == (
        timedelta(minutes=30),
        ("/coupon",),
        403,
        "Come back later",
    )
    assert spec.action.at_the_edge is block
    assert spec.snoozes[0].until == datetime(2027, 6, 16, 16, tzinfo=UTC)
    assert [filter_.field for filter_ in spec.filters] == [
        "properties.value",
        "properties.code",
        "properties.price",
        "context.traits.level",
    ]


def test_defaults_are_those_that_the_descriptions_name() -> None:
    spec = load_fraudrule(good_fraudrule("small")).spec
    assert (spec.mode, spec.share, spec.holdout, spec.on_unavailable) == ("Shadow", BUCKETS, 500, "Allow")
    assert (spec.engine, spec.lateness, spec.backtest) == ("Embedded", timedelta(seconds=5), None)
    assert (spec.minimum_precision, spec.address_prefix) == (None, None)
    assert (spec.state.maximum_keys, spec.state.events_per_key) == (1_000_000, 100)
    assert spec.state.when_full == "EvictOldest"
    assert spec.condition.signs == (spec.condition,)
    assert [place for place, _ in spec.condition.placed()] == ["condition.distinct"]
    assert (spec.match.where, spec.exempt, spec.snoozes) == ((), (), ())


def test_a_field_has_one_name_whichever_way_it_is_written() -> None:
    spec = made("small", spec__key=["context.ip", "anonymousId"], spec__condition__distinct__field="userId").spec
    assert spec.key == ("address", "visitor")
    assert spec.condition.distinct
    assert spec.condition.distinct.field == "user"
    assert made("small", spec__key=["context.device.id"]).spec.key == ("device",)


@pytest.mark.parametrize(
    ("key", "action", "whose"),
    [
        (["device"], {"block": {"for": "1m"}}, "Device"),
        (["addressPrefix"], {"throttle": {"for": "1m", "perSecond": 1}}, "AddressPrefix"),
        (["channel"], {"block": {"for": "1m"}}, "Visitor"),
        (["user", "context.ip"], {"block": {"for": "1m"}}, "User"),
        (["user", "context.ip"], {"block": {"for": "1m", "of": "Address"}}, "Address"),
        (["user"], {"challenge": {"for": "1m", "page": "/prove", "of": "Visitor"}}, "Visitor"),
        (["user"], {"tag": {"name": "odd"}}, "User"),
    ],
)
def test_an_action_meets_whom_the_key_names_or_the_visitor(key: list[str], action: dict[str, Any], whose: str) -> None:
    spec = made("small", spec__key=key, spec__condition__distinct__field="revenue", spec__action=action).spec
    assert spec.acted_on == whose


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({"operator": "GreaterThan", "value": "9.5"}, (9.5,)),
        ({"operator": "LessOrEqual", "value": -3}, (-3.0,)),
        ({"operator": "Equals", "value": 5}, (5.0,)),
        ({"operator": "Equals", "value": "5"}, ("5",)),
        ({"operator": "Equals", "value": 5, "type": "Text"}, ("5",)),
        ({"operator": "NotEquals", "value": "0.5", "type": "Number"}, (0.5,)),
        ({"operator": "Equals", "value": "false", "type": "Boolean"}, (False,)),
        ({"operator": "Equals", "value": "false"}, ("false",)),
        ({"operator": "In", "values": [1, 2]}, (1.0, 2.0)),
        ({"operator": "In", "values": [1, "2"], "type": "Number"}, (1.0, 2.0)),
        ({"operator": "NotIn", "values": ["a", "b"]}, ("a", "b")),
        ({"operator": "StartsWith", "value": "88"}, ("88",)),
        ({"operator": "InRange", "values": ["10.0.0.0/8", "::1"]}, ("10.0.0.0/8", "::1")),
        ({"operator": "Exists"}, ()),
    ],
    ids=str,
)
def test_a_filter_compares_in_a_type(asked: dict[str, Any], wanted: tuple[Any, ...]) -> None:
    (filter_,) = made("small", spec__match__where=[{"field": "properties.x", **asked}]).spec.match.where
    assert filter_.wanted == wanted
    assert [type(value) for value in filter_.wanted] == [type(value) for value in wanted]


@pytest.mark.parametrize("text", ["10.0.0.0/8", "10.1.2.3/8", "10.0.0.1", "::/0", "0.0.0.0/0", "2001:db8::1/56"])
def test_what_is_a_range(text: str) -> None:
    assert is_range(text)


@pytest.mark.parametrize(
    "text",
    ["", "10.0.0", "10.0.0.0/33", "10.0.0.0/08", "10.0.0.0/255.0.0.0", "::ffff:10.0.0.1", "fe80::1%eth0", "x", 10],
)
def test_what_is_no_range(text: str | int) -> None:
    assert not is_range(text)


@given(st.integers(0, 10_000), st.integers(1, 10_000_000))
def test_what_is_remembered_is_bounded_before_it_is(limit: int, keys: int) -> None:
    fields = {"spec__condition": {"count": {"moreThan": limit}}, "spec__state": {"maximumKeys": keys}}
    if (limit + 1) * keys <= MOST_ENTRIES:
        assert entries_of(made("small", **fields).spec) == (limit + 1) * keys
    else:
        with pytest.raises(InvalidResource, match="lower one of them"):
            made("small", **fields)


@pytest.mark.parametrize(
    ("condition", "entries"),
    [
        ({"count": {"moreThan": 20}}, 21),
        ({"distinct": {"field": "user", "moreThan": 5}}, 6),
        ({"rate": {"moreThan": 0.5, "per": "1m"}}, 6),
        ({"sum": {"field": "revenue", "moreThan": 500}}, 7),
        ({"linked": {"accounts": "user", "through": "device", "moreThan": 5}}, 7),
        ({"velocity": {"changes": "address", "moreThan": 3}}, 7),
        ({"velocity": {"latitude": "context.l.a", "longitude": "context.l.o", "kilometresPerHour": 900}}, 1),
        ({"any": [{"count": {"moreThan": 20}}, {"sequence": {"steps": [{"event": "A"}] * 3, "within": "1s"}}]}, 24),
    ],
    ids=str,
)
def test_what_each_condition_remembers_of_a_key(condition: dict[str, Any], entries: int) -> None:
    spec = made("small", spec__condition=condition, spec__state={"maximumKeys": 1, "eventsPerKey": 7}).spec
    assert entries_of(spec) == entries


@pytest.mark.parametrize("value", [None, [], "FraudRule", 5, {}, {"spec": None}])
def test_what_is_no_rule_at_all_is_refused(value: Any) -> None:
    assert refusal(value)


def test_a_test_is_no_rule() -> None:
    (problem,) = refusal(changed(good_fraudrule("small"), {"set": {"kind": "ABTest"}}))
    assert problem == Problem("kind", "must be one of 'FraudRule' (found \"ABTest\")")


def test_the_whole_status_is_one_and_leaves_no_field_out() -> None:
    status = whole_status()
    FraudRuleStatus.model_validate(status, by_alias=True, by_name=False)
    assert [path for path in field_paths(FraudRuleStatus) if not is_used(path, status)] == []
