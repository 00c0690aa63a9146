"""How right a rule is, on its status, and that one which is too often wrong stops nobody any more."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.campaign.test_fraudplan import NOW, SHOP, campaign, condition, figures, planned, rule, seen

from flywheel.api.analytics import Analytics
from flywheel.api.fraudrule import FraudRule
from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.campaign.fraudplan import FraudPlan
from flywheel.campaign.fraudproof import is_falling
from flywheel.campaign.fraudtold import Seen, status_of
from flywheel.fraud.proof import Evidence, Met, Sums, evidence_of, of_workers
from flywheel.plan import Manifest

MINE = {"mode": "Enforce", "minimumPrecision": "95%"}


def known(dishonest: int, labels: int, found: int = 500) -> Evidence:
    sums = Sums(good=float(dishonest), total=float(labels), squares=float(labels), labels=labels)
    return Evidence(found=found, alone=found, precision=sums, recall=sums)


def told(made: FraudRule, *evidence: Evidence, held: Manifest | None = None) -> Manifest:
    [judged] = planned(made).judged
    workers = [figures(made.metadata.generation, evidence=each) for each in evidence]
    seen_now = seen(*workers) if workers else Seen({}, "the fraud worker is starting")
    return status_of(judged, held or {}, seen_now, NOW)


def with_status(status: Manifest, **spec: Any) -> FraudRule:
    """The rule as it is read at the next look."""
    generation = spec.pop("generation", 1)
    return rule(generation=generation, **(MINE | spec)).model_copy(update={"status": status})


def works_as(plan: FraudPlan) -> str:
    [found] = [each for each in plan.apply if each["kind"] == "ConfigMap"]
    policy = json.loads(found["data"]["rules.json"])[SHOP]["rules"][0]["policy"]
    return str(policy.get("mode", "Shadow"))


def test_precision_and_recall_are_told_of_all_workers_together() -> None:
    status = told(rule(**MINE), known(40, 50), known(50, 50))
    assert status["precision"] == {"value": "90.0%", "interval": {"low": "82.6%", "high": "94.5%"}, "labels": 100}
    assert status["recall"]["value"] == "90.0%"
    FraudRuleStatus.model_validate(status)
    assert "precision" not in told(rule(**MINE), Evidence(found=3, alone=3))


@pytest.mark.parametrize(
    ("evidence", "status", "reason", "words"),
    [
        (Evidence(), "Unknown", "NoLabels", "found nobody yet"),
        (Evidence(found=8), "Unknown", "NoLabels", "raise holdout"),
        (known(0, 9), "Unknown", "FewLabels", "9 of 500 keys"),
        (known(0, 10), "False", "TooLow", "the rule stops nobody any more, until its spec is changed"),
        (known(94, 100), "Unknown", "Undecided", "minimumPrecision, 95%, lies within"),
        (known(80, 100), "False", "TooLow", "80.0% were dishonest, and with 95% between 71.1% and 86.7%"),
        (known(1000, 1000), "True", "Proven", "all of that is above minimumPrecision, 95%"),
    ],
)
def test_what_is_said_of_how_right_it_is(evidence: Evidence, status: str, reason: str, words: str) -> None:
    found = condition(told(rule(**MINE), evidence), "Precise")
    assert (found["status"], found["reason"]) == (status, reason)
    assert words in found["message"]


def test_a_rule_that_is_too_often_wrong_goes_to_shadow_and_stays_there_until_its_spec_changes() -> None:
    assert works_as(planned(rule(**MINE))) == "Enforce"
    status = told(rule(**MINE), known(50, 100))
    assert is_falling(status), "it is enforced until the worker has been told"
    made = with_status(status)
    assert works_as(planned(made)) == "Shadow"
    status = told(made, known(50, 100), held=status)
    assert (status["mode"], condition(status, "Precise")["status"]) == ("Shadow", "False")
    assert not is_falling(status)
    # Whatever comes then: better figures, none, a waiting Campaign, a rule that makes no sense beside it.
    for evidence in ((known(1000, 1000),), ()):
        later = told(with_status(status), *evidence, held=status)
        assert (later["mode"], condition(later, "Precise")) == ("Shadow", condition(status, "Precise"))
    for options in ({"opened": frozenset()}, {"campaigns": (campaign(edge=False),)}):
        [judged] = planned(with_status(status), **options).judged
        assert condition(status_of(judged, status, Seen({}), NOW), "Precise") == condition(status, "Precise")
    changed = with_status(status, generation=2)
    assert works_as(planned(changed)) == "Enforce"
    fresh = condition(told(changed, held=status), "Precise")
    assert (fresh["status"], fresh["observedGeneration"]) == ("Unknown", 2)


def test_what_is_known_of_an_older_version_takes_no_newer_one_down() -> None:
    [judged] = planned(rule(generation=2, **MINE)).judged
    status = status_of(judged, {}, seen(figures(1, evidence=known(0, 100))), NOW)
    assert condition(status, "Precise")["status"] == "Unknown"


def test_a_rule_in_shadow_is_measured_anew_each_time() -> None:
    shadow = rule(mode="Shadow", minimumPrecision="95%")
    status = told(shadow, known(50, 100))
    assert "do not enforce it" in condition(status, "Precise")["message"]
    assert not is_falling(status)
    later = told(shadow.model_copy(update={"status": status}), known(1000, 1000), held=status)
    assert condition(later, "Precise")["status"] == "True"


@given(st.integers(0, 300), st.integers(0, 300))
def test_more_honest_among_the_found_never_make_a_rule_more_right(dishonest: int, honest: int) -> None:
    order = {"TooLow": 0, "FewLabels": 1, "Undecided": 1, "NoLabels": 1, "Proven": 2}
    labels = dishonest + honest
    if not labels:
        return
    before = condition(told(rule(**MINE), known(dishonest, labels)), "Precise")["reason"]
    after = condition(told(rule(**MINE), known(dishonest, labels + 50)), "Precise")["reason"]
    assert order[after] <= order[before]


def test_a_rule_without_a_minimum_is_measured_and_not_judged() -> None:
    status = told(rule(mode="Enforce"), known(0, 100))
    assert status["precision"]["value"] == "0.0%"
    assert [each for each in status["conditions"] if each["type"] == "Precise"] == []


def test_the_worker_is_told_how_long_verdicts_are_kept_and_with_what_of_addresses() -> None:
    shop = campaign()
    assert shop.spec.edge
    edge = shop.spec.edge.model_copy(update={"events": shop.spec.edge.events.model_copy(update={"addresses": "Drop"})})
    analytics = Analytics(retention=timedelta(days=30))
    spec = shop.spec.model_copy(update={"edge": edge, "analytics": analytics})
    plan = planned(rule(), campaigns=(shop.model_copy(update={"spec": spec}),))
    [found] = [each for each in plan.apply if each["kind"] == "ConfigMap"]
    document = json.loads(found["data"]["rules.json"])[SHOP]
    assert document["keepFor"] == timedelta(days=30) / timedelta(milliseconds=1)
    assert document["addresses"] == "Drop"


PERSONS = st.lists(
    st.tuples(st.integers(0, 3), st.booleans(), st.booleans(), st.sampled_from([1.0, 0.5, 0.25])), max_size=40
)


@given(PERSONS)
def test_recall_of_several_workers_is_that_of_one_that_sees_all(persons: list[tuple[int, bool, bool, float]]) -> None:
    """Each person is found by one worker, or by none."""
    met = [Met(found=found, stopped=stopped and found, chance=chance) for _, found, stopped, chance in persons]

    def seen_by(number: int) -> Evidence:
        mine = [each if who == number else Met(found=False) for (who, *_), each in zip(persons, met, strict=True)]
        return evidence_of(0, 0, (), mine)

    one, several = evidence_of(0, 0, (), met), of_workers([seen_by(number) for number in range(4)])
    assert several.recall.labels == one.recall.labels
    assert several.dishonest == one.dishonest
    for name in ("good", "total", "squares"):
        assert getattr(several.recall, name) == pytest.approx(getattr(one.recall, name))


def test_recall_of_workers_is_told_with_their_rule_and_each_campaign_counts() -> None:
    one = evidence_of(0, 0, (), [Met(found=True)] * 6 + [Met(found=False)] * 14)
    two = evidence_of(0, 0, (), [Met(found=False)] * 14 + [Met(found=True)] * 6)
    status = told(rule(**MINE), one, two)
    assert (status["recall"]["value"], status["recall"]["labels"]) == ("60.0%", 20)
    assert of_workers([one]) == one
    older = Evidence(recall=one.recall)
    assert of_workers([older, older]) == older + older, "of one that does not say how many there are"
