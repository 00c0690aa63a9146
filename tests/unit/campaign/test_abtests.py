"""What is wrong with a test beside its Campaign and other tests: all of it is found, and nothing of what is well."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.bad_abtests.table import BASES, BadTest, bad_abtests, good_abtest, its_campaign
from tests.bad_campaigns.table import changed

from flywheel.api.abtest import ABTest
from flywheel.api.load import InvalidResource, load_abtest, load_campaign
from flywheel.api.problem import Problem
from flywheel.campaign.abtests import problems_of

BY_OPERATOR = [bad for bad in bad_abtests() if bad.refused == "operator"]
EARLY, LATE = "2027-06-01T00:00:00Z", "2027-06-02T00:00:00Z"


def made(base: str = "base", **fields: Any) -> ABTest:
    """A test with some fields changed; `metadata__name` is metadata.name."""
    paths = {path.replace("__", "."): value for path, value in fields.items()}
    return load_abtest(changed(good_abtest(base), {"set": paths}))


def beside(test: ABTest, *others: ABTest, **campaign: Any) -> list[str]:
    """Paths of what is wrong."""
    paths = {path.replace("__", "."): value for path, value in campaign.items()}
    loaded = load_campaign(changed(its_campaign(), {"set": paths}))
    return [problem.path for problem in problems_of(test, loaded, others)]


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_a_fault_is_found_with_field_and_remedy(bad: BadTest) -> None:
    campaign = load_campaign(bad.campaign) if bad.campaign is not None else None
    problems = problems_of(load_abtest(bad.manifest), campaign, [load_abtest(other) for other in bad.others])
    assert list(problems) == sorted(problems)
    said = "\n".join(str(problem) for problem in problems if problem.path == bad.path)
    assert said, problems
    assert [fragment for fragment in bad.load if fragment not in said] == [], said


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_wrong_with_a_good_test(base: str) -> None:
    assert beside(made(base)) == []


def test_two_good_tests_of_different_services_do_not_meet() -> None:
    first, second = made(metadata__creationTimestamp=EARLY), made("small", metadata__creationTimestamp=LATE)
    assert beside(first, second) == beside(second, first) == []


def rivals(**younger: Any) -> tuple[ABTest, ABTest]:
    """Two tests of one service and layer, the second younger, that together want more than all visitors."""
    variants = {"spec__variants[1]__name": "teal", "spec__variants[2]__name": "navy"}
    older = made(metadata__name="older", metadata__creationTimestamp=EARLY, **variants)
    return older, made(metadata__creationTimestamp=LATE, **younger)


def test_the_younger_of_two_tests_waits() -> None:
    older, younger = rivals()
    assert beside(younger, older) == ["spec.traffic"]
    assert beside(older, younger) == []


def test_a_test_that_is_not_yet_made_is_the_youngest() -> None:
    older, younger = rivals()
    new = made()
    assert new.metadata.creation_timestamp is None
    assert beside(new, older) == ["spec.traffic"]
    assert beside(older, new, younger) == []


def test_of_two_tests_of_the_same_second_the_name_decides() -> None:
    _, younger = rivals()
    twin = made(metadata__name="a-twin", metadata__creationTimestamp=LATE)
    assert beside(twin, younger) == []
    assert "spec.traffic" in beside(younger, twin)


def test_a_test_is_never_its_own_rival() -> None:
    test = made(spec__traffic="100%", metadata__creationTimestamp=EARLY)
    assert beside(test, test) == []


def test_tests_that_share_a_layer_within_its_visitors_are_well() -> None:
    older, younger = rivals(spec__traffic="37.5%")
    assert beside(younger, older) == []
    assert beside(made(spec__traffic="37.51%", metadata__creationTimestamp=LATE), older) == ["spec.traffic"]


@pytest.mark.parametrize(
    "gone",
    [{"status": {"state": "Promoted"}}, {"status": {"state": "Stopped"}}, {"status": {"state": "Failed"}}],
    ids=str,
)
def test_a_test_that_is_over_is_in_nobodys_way(gone: dict[str, Any]) -> None:
    older = load_abtest(changed(good_abtest(), {"set": {"metadata.creationTimestamp": EARLY, **gone}}))
    younger = made(metadata__name="younger", metadata__creationTimestamp=LATE)
    assert beside(younger, older) == []


def test_a_test_with_a_verdict_still_has_its_visitors() -> None:
    older, younger = rivals()
    decided = older.model_copy(update={"status": {"state": "Decided"}})
    assert beside(younger, decided) == ["spec.traffic"]
    assert beside(younger, older.model_copy(update={"status": {"state": "Promoted"}})) == []


def test_a_test_that_is_being_deleted_is_in_nobodys_way() -> None:
    older = made(metadata__name="older", metadata__creationTimestamp=EARLY, metadata__deletionTimestamp=LATE)
    assert beside(made(metadata__creationTimestamp=LATE), older) == []


def test_a_test_of_another_campaign_is_in_nobodys_way() -> None:
    older = made(metadata__name="older", metadata__creationTimestamp=EARLY, spec__campaign="yougou-1111")
    assert beside(made(metadata__creationTimestamp=LATE), older) == []


def test_tests_that_follow_each_other_do_not_meet() -> None:
    names = {"spec__variants[1]__name": "teal", "spec__variants[2]__name": "navy"}
    ended = {"spec__schedule__endsAt": "2027-06-17T12:00:00"}
    older = made(metadata__name="older", metadata__creationTimestamp=EARLY, **names, **ended)
    follows = made(metadata__creationTimestamp=LATE, spec__schedule__startsAt="2027-06-17T12:00:00+08:00")
    overlaps = made(metadata__creationTimestamp=LATE, spec__schedule__startsAt="2027-06-17T11:59:00+08:00")
    assert beside(follows, older) == []
    assert beside(overlaps, older) == ["spec.traffic"]


def test_wall_times_are_those_of_the_campaigns_zone() -> None:
    test = made(spec__schedule__startsAt="2027-06-17T00:00:00", spec__schedule__endsAt="2027-06-17T16:00:00Z")
    assert beside(test) == []
    assert beside(test, spec__schedule__timeZone="UTC") == ["spec.decision.minimumDuration"]


def test_what_cannot_be_in_the_campaigns_schedule_is_not_told_of_the_test() -> None:
    assert beside(made(), spec__schedule__timeZone="Asia/Shangri-La") == []


def test_a_campaign_without_end_gives_all_the_time_there_is() -> None:
    test = load_abtest(changed(good_abtest(), {"set": {"spec.decision.wholeWeeks": True}, "remove": ["spec.schedule"]}))
    campaign = load_campaign(changed(its_campaign(), {"remove": ["spec.schedule"]}))
    assert problems_of(test, campaign, []) == ()


def test_time_that_was_gone_before_the_test_began_does_not_count() -> None:
    began = {"metadata.creationTimestamp": "2027-06-18T00:00:00+08:00"}
    late = load_abtest(changed(good_abtest(), {"set": began}))
    assert beside(late) == []
    started = {"status": {"startedAt": "2027-06-18T00:00:01+08:00"}}
    later = load_abtest(changed(good_abtest(), {"set": began | started}))
    assert beside(later) == ["spec.decision.minimumDuration"]


def test_a_path_with_a_star_reaches_routes_below_it() -> None:
    assert beside(made(spec__targeting__paths=["/co*", "/coupon/8*", "/618", "/618/a"])) == []
    assert beside(made(spec__targeting__paths=["/c", "/coupons", "/6/18*"])) == [
        f"spec.targeting.paths[{index}]" for index in range(3)
    ]


def test_the_order_event_is_known_under_the_name_that_the_campaign_gives_it() -> None:
    renamed = {"spec__analytics": {"order": {"event": "Paid"}}}
    assert beside(made("small"), **renamed) == []
    assert "spec.metrics.secondary[0].sum" in beside(made(), **renamed)


@settings(max_examples=100)
@given(st.data())
def test_it_ends_with_problems_and_never_otherwise(data: st.DataObject) -> None:
    """Whatever loads can be looked at beside whatever loads."""
    rows = [bad.manifest for bad in BY_OPERATOR] + [good_abtest(base) for base in BASES]
    stamps = st.sampled_from([None, EARLY, LATE, "2027-06-01T00:00:00"])
    tests = []
    for manifest in data.draw(st.lists(st.sampled_from(rows), min_size=1, max_size=4)):
        stamp = data.draw(stamps)
        metadata = {"name": data.draw(st.sampled_from("abc")), "creationTimestamp": stamp}
        status = {"startedAt": data.draw(st.sampled_from([None, 5, "soon", EARLY, "2027-06-01T00:00:00"]))}
        tests.append(load_abtest({**manifest, "metadata": metadata, "status": status}))
    campaigns = [bad.campaign for bad in BY_OPERATOR] + [its_campaign()]
    campaign = data.draw(st.sampled_from(campaigns))
    try:
        loaded = load_campaign(campaign) if campaign else None
    except InvalidResource:
        loaded = None
    found = problems_of(tests[0], loaded, tests)
    assert all(isinstance(problem, Problem) and problem.message for problem in found)
