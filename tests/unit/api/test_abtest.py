"""Reading an ABTest: what good ones become, and what is said of bad ones."""

import copy
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.bad_abtests.table import BASES, BadTest, bad_abtests, good_abtest, whole_status
from tests.bad_campaigns.table import changed
from tests.unit.docs.fields import field_paths, is_used

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_status import ABTestStatus
from flywheel.api.abtest_values import BUCKETS, PropertyOfEvent, read_buckets
from flywheel.api.load import LAST_APPLIED, InvalidResource, load_abtest, load_campaign, unknown_fields
from flywheel.api.problem import Problem

AT_ADMISSION = [bad for bad in bad_abtests() if bad.refused == "admission"]
BY_OPERATOR = [bad for bad in bad_abtests() if bad.refused == "operator"]


def refusal(manifest: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidResource) as caught:
        load_abtest(manifest)
    return caught.value.problems


def weighted(*weights: str) -> dict[str, Any]:
    """A test with so many variants of these weights."""
    manifest = good_abtest("small")
    others = [
        {"name": f"v{n}", "weight": weight, "override": {"env": [{"name": "N", "value": str(n)}]}}
        for n, weight in enumerate(weights[1:])
    ]
    manifest["spec"]["variants"] = [{"name": "base", "control": True, "weight": weights[0]}, *others]
    return manifest


def written(buckets: int) -> str:
    return f"{buckets // 100}.{buckets % 100:02}%"


def test_the_table_is_long_enough_and_every_fault_is_named_once() -> None:
    names = [bad.name for bad in bad_abtests()]
    assert len(names) >= 100
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_test_is_refused_with_field_and_remedy(bad: BadTest) -> None:
    problems = refusal(bad.manifest)
    about = [problem for problem in problems if problem.path.startswith(bad.path) or bad.path in problem.path]
    assert about, problems
    said = "\n".join(str(problem) for problem in about)
    assert [fragment for fragment in bad.load if fragment not in said] == [], said


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_what_only_its_campaign_tells_is_not_asked_of_the_test(bad: BadTest) -> None:
    assert load_abtest(bad.manifest).spec.variants
    if bad.campaign is not None:
        load_campaign(bad.campaign)


def test_the_good_test_becomes_values() -> None:
    test = load_abtest(good_abtest())
    spec = test.spec
    assert (spec.traffic, spec.holdout) == (6250, 500)
    assert [variant.weight for variant in spec.variants] == [3334, 3333, 3333]
    assert spec.control.name == "red"
    assert spec.child_name("lime") == "yougou-618-landing-lime"
    assert spec.schedule
    assert spec.schedule.starts_at == datetime(2027, 6, 16)  # noqa: DTZ001 - wall time
    assert (spec.statistics.alpha, spec.statistics.power) == (0.05, 0.8)
    assert spec.targeting
    assert [header.wanted for header in spec.targeting.headers] == [("ios", "android"), ("zh-CN",)]


def test_metrics_say_what_they_are_called_and_made_of() -> None:
    metrics = load_abtest(good_abtest()).spec.metrics
    told = [(each.kind, each.label, each.direction) for each in (metrics.primary, *metrics.secondary)]
    assert told == [
        ("event", "Claims", "Increase"),
        ("sum", "sum of Order Completed.revenue", "Increase"),
        ("count", "count of Product Added", "Increase"),
        ("ratio", "Value of an order", "Increase"),
        ("timeTo", "time to Order Completed", "Decrease"),
    ]
    assert [(each.kind, each.label) for each in metrics.guardrails] == [
        ("errors", "errors"),
        ("latency", "latency p95"),
        ("event", "Order Completed"),
        ("count", "Returns"),
    ]
    assert metrics.events == {"Coupon Claimed", "Order Completed", "Product Added", "Order Refunded"}
    assert metrics.secondary[0].sum == PropertyOfEvent("Order Completed", "revenue")
    assert [each.max_increase or each.max_decrease for each in metrics.guardrails] == [0.005, 0.2, 0.05, 0.1]
    assert metrics.covariate
    assert (metrics.window, metrics.covariate.history) == (timedelta(days=1), timedelta(days=14))


def test_the_last_dot_divides_event_and_property() -> None:
    text = "shop.Order v2.0 Done.value in CNY"
    manifest = changed(good_abtest(), {"set": {"spec.metrics.secondary[0].sum": text}})
    summed = load_abtest(manifest).spec.metrics.secondary[0].sum
    assert summed == PropertyOfEvent("shop.Order v2.0 Done", "value in CNY")
    assert str(summed) == text


def test_defaults_are_those_that_the_descriptions_name() -> None:
    spec = load_abtest(good_abtest("small")).spec
    assert (spec.traffic, spec.layer_name, spec.holdout, spec.suspend) == (BUCKETS, "pages", None, False)
    assert (spec.metrics.window, spec.metrics.covariate) == (timedelta(days=7), None)
    assert spec.metrics.primary.direction == "Decrease"
    statistics = spec.statistics
    assert (statistics.alpha, statistics.power, statistics.futility) == (0.05, 0.8, True)
    assert (statistics.method, statistics.correction) == ("Sequential", "Holm")
    decision = spec.decision
    assert (decision.promote, decision.otherwise, decision.whole_weeks) == ("Manual", "Control", False)
    assert (decision.minimum_duration, decision.maximum_duration) == (timedelta(hours=24), timedelta(days=14))


def test_a_test_that_is_made_anew_assigns_anew_unless_it_has_a_salt() -> None:
    manifest = changed(good_abtest("small"), {"set": {"metadata.uid": "u-1"}})
    assert load_abtest(manifest).salt == "u-1"
    assert load_abtest(changed(good_abtest(), {"set": {"metadata.uid": "u-1"}})).salt == "button-2027-06"


def test_overrides_stay_as_they_were_written() -> None:
    manifest = good_abtest()
    before = copy.deepcopy(manifest)
    lime, mint = load_abtest(manifest).spec.variants[1:]
    assert manifest == before
    assert lime.override
    assert list(lime.override.env) == before["spec"]["variants"][1]["override"]["env"]
    assert mint.override
    assert mint.override.pod_template
    assert mint.override.pod_template.spec == before["spec"]["variants"][2]["override"]["podTemplate"]["spec"]


@pytest.mark.parametrize("value", [None, [], "ABTest", 5, {}, {"spec": None}])
def test_what_is_no_test_at_all_is_refused(value: Any) -> None:
    assert refusal(value)


def test_a_campaign_is_no_test() -> None:
    (problem,) = refusal(changed(good_abtest("small"), {"set": {"kind": "Campaign"}}))
    assert problem == Problem("kind", "must be one of 'ABTest' (found \"Campaign\")")
    assert refusal(None)[0].message.startswith("an ABTest must be an object")


def test_unknown_fields_are_found_in_what_was_applied() -> None:
    applied = '{"spec": {"campaing": "x", "variants": [{"wieght": "50%"}]}}'
    manifest = changed(good_abtest("small"), {"set": {"metadata.annotations": {LAST_APPLIED: applied}}})
    assert unknown_fields(manifest, ABTest) == ("spec.campaing", "spec.variants[0].wieght")


@given(st.integers(0, BUCKETS))
def test_every_share_of_two_decimals_is_a_whole_number_of_buckets(buckets: int) -> None:
    assert read_buckets(written(buckets)) == buckets
    manifest = changed(good_abtest("small"), {"set": {"spec.traffic": written(buckets)}})
    assert load_abtest(manifest).spec.traffic == buckets


@given(st.lists(st.integers(2, BUCKETS // 8), min_size=1, max_size=7), st.integers(-1, 1))
def test_weights_add_up_to_everybody_and_not_one_bucket_beside(others: list[int], beside: int) -> None:
    manifest = weighted(written(BUCKETS - sum(others) + beside), *map(written, others))
    if beside == 0:
        assert sum(variant.weight for variant in load_abtest(manifest).spec.variants) == BUCKETS
    else:
        assert any("add up to exactly 100%" in problem.message for problem in refusal(manifest))


@pytest.mark.parametrize("text", ["5", "5 %", "%", "05%", "1e1%", "50.%", "50.001%", "-1%", "٥%", "5%\n", "100.5%"])
def test_what_is_no_share(text: str) -> None:
    assert refusal(changed(good_abtest("small"), {"set": {"spec.traffic": text}}))


@pytest.mark.parametrize(("least", "most", "fits"), [("0s", "7d", True), ("7d", "7d", True), ("7d1s", "13d", False)])
def test_whole_weeks_round_up(least: str, most: str, fits: bool) -> None:
    decision = {"minimumDuration": least, "maximumDuration": most, "wholeWeeks": True}
    manifest = changed(good_abtest("small"), {"set": {"spec.decision": decision}})
    if fits:
        assert load_abtest(manifest).spec.decision.whole_weeks
    else:
        assert [problem.path for problem in refusal(manifest)] == ["spec.decision.wholeWeeks"]


@pytest.mark.parametrize("base", BASES)
def test_the_good_ones_are_good(base: str) -> None:
    assert load_abtest(good_abtest(base)).name


def test_the_whole_status_is_one_and_leaves_no_field_out() -> None:
    status = whole_status()
    ABTestStatus.model_validate(status, by_alias=True, by_name=False)
    assert [path for path in field_paths(ABTestStatus) if not is_used(path, status)] == []
