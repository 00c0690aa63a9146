"""What labels say of a rule that was tried on the past: on its status, and what follows where it is too often wrong."""

from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.unit.campaign.test_fraudplan import SHOP, campaign, condition, figures, seen
from tests.unit.campaign.test_fraudproof import known, works_as
from tests.unit.campaign.test_fraudreconcile import ANSWER, Past, World, opened, reconcile
from tests.unit.campaign.test_fraudtrial import NOW, judged_of, of_several, order_for, told, tried_rule

from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.campaign.fraudplan import plan_fraud
from flywheel.campaign.fraudproof import is_falling, notice_of
from flywheel.campaign.fraudtold import Seen, status_of
from flywheel.campaign.fraudtrial import Order, Outcome, is_due, last_try, outcome_of
from flywheel.campaign.fraudtrialproof import known_of_the_past
from flywheel.campaign.fraudtrialtold import TrialTold
from flywheel.fraud.backtest_asking import Answer
from flywheel.fraud.proof import Evidence
from flywheel.plan import Manifest, Notice

ENFORCED = {"mode": "Enforce", "minimumPrecision": "90%"}


def labelled(dishonest: int, labels: int, found: int = 300) -> Answer:
    evidence = msgspec.structs.replace(known(dishonest, labels, found), alone=found)
    return msgspec.structs.replace(ANSWER, evidence=evidence)


def ordered(held: Manifest, count: int = 1) -> Order:
    """Order a trial, as if there had been none."""
    return order_for({name: value for name, value in held.items() if name != "status"}, count)


def after(held: Manifest, *answers: Answer) -> TrialTold:
    return told(held, outcome_of(ordered(held, len(answers)), answers))


def status_after(held: Manifest, *answers: Answer, live: Evidence | None = None, now: datetime = NOW) -> Manifest:
    tried = after(held, *answers) if answers else told(held, None, now)
    generation = held["metadata"]["generation"]
    made = seen(figures(generation, evidence=live)) if live else Seen({}, "the fraud worker is starting")
    return status_of(judged_of(held), held.get("status") or {}, made, now, tried)


def test_precision_is_told_with_its_interval_and_labels() -> None:
    status = status_after(tried_rule(), labelled(45, 50))
    assert status["backtest"]["precision"] == {
        "value": "90.0%",
        "interval": {"low": "78.6%", "high": "95.7%"},
        "labels": 50,
    }
    FraudRuleStatus.model_validate(status, by_alias=True, by_name=False)
    status = status_after(tried_rule(), labelled(3, 4))
    assert "4 of 300 keys that it would have found are labelled" in status["backtest"]["precision"]["message"]
    assert "precision" not in status_after(tried_rule(), labelled(0, 0))["backtest"]
    assert "precision" not in status_after(tried_rule(), ANSWER)["backtest"]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (labelled(50, 100), "TooLowInThePast"),
        (labelled(0, 9), "NoLabels"),
        (labelled(88, 100), "NoLabels"),
        (labelled(1000, 1000), "NoLabels"),
        (ANSWER, "NoLabels"),
    ],
    ids=["surely too often wrong", "few labels", "undecided", "right", "no labels"],
)
def test_it_falls_where_all_of_the_interval_is_too_low_and_there_are_enough_labels(answer: Answer, reason: str) -> None:
    assert condition(status_after(tried_rule(**ENFORCED), answer), "Precise")["reason"] == reason


def test_a_rule_that_would_have_hit_the_honest_goes_to_shadow_and_stays_there_until_its_spec_changes() -> None:
    held = tried_rule(**ENFORCED)
    status = status_after(held, labelled(50, 100))
    said = condition(status, "Precise")
    assert (said["status"], said["reason"]) == ("False", "TooLowInThePast")
    assert "of those whom it would have found in the past 50.0% were dishonest" in said["message"]
    assert "(100 labels of 300 keys; see status.backtest)" in said["message"]
    assert "the rule stops nobody any more, until its spec is changed" in said["message"]
    assert is_falling(status)
    fallen = tried_rule(status=status, **ENFORCED)
    assert plan_mode(fallen) == "Shadow"
    # What it finds live says nothing to the contrary, and a later trial does not either.
    later = status_after(fallen, labelled(300, 300), live=known(1000, 1000))
    assert (later["mode"], condition(later, "Precise")["reason"]) == ("Shadow", "TooLowInThePast")
    assert not is_falling(later)
    assert plan_mode(tried_rule(4, status=later, **ENFORCED)) == "Enforce"


def plan_mode(held: Manifest) -> str:
    rule = judged_of(held).rule.model_copy(update={"status": held.get("status") or {}})
    return works_as(plan_fraud("shop", [rule], [campaign(SHOP)], {SHOP}, {}, "image", {}, NOW))


def test_in_shadow_it_is_told_and_forgotten_when_the_past_is_another_one() -> None:
    held = tried_rule(minimumPrecision="90%")
    status = status_after(held, labelled(50, 100))
    assert "do not enforce it" in condition(status, "Precise")["message"]
    again = status_after(tried_rule(status=status, minimumPrecision="90%"), labelled(100, 100))
    assert condition(again, "Precise")["reason"] == "NoLabels"


def test_what_it_finds_live_goes_before_the_past() -> None:
    status = status_after(tried_rule(**ENFORCED), labelled(50, 100), live=known(10, 100))
    assert condition(status, "Precise")["reason"] == "TooLow"


def test_between_two_trials_and_while_the_store_is_away_it_holds() -> None:
    held = tried_rule(minimumPrecision="90%")
    status = status_after(held, labelled(50, 100))
    kept = tried_rule(status=status, minimumPrecision="90%")
    assert condition(status_after(kept, now=NOW + timedelta(minutes=5)), "Precise")["reason"] == "TooLowInThePast"
    failed = told(kept, Outcome(ordered(kept), failure="the event store is away"))
    assert known_of_the_past(failed.record or {}, 3) == known_of_the_past(status["record"], 3)
    of_another = told(tried_rule(4, status=status), Outcome(ordered(tried_rule(4)), failure="the store is away"))
    assert known_of_the_past(of_another.record or {}, 4) is None


def test_without_a_worker_to_ask_precision_is_left_out_and_asked_for_soon() -> None:
    away = msgspec.structs.replace(ANSWER, unlabelled="the fraud worker could not be asked")
    found = after(tried_rule(), away)
    assert found.backtest
    assert "precision is not told, as nobody could be asked for labels: the fraud worker" in found.backtest["message"]
    assert is_due(last_try({"record": found.record}), 3, NOW + timedelta(hours=1))
    before = tried_rule(status=status_after(tried_rule(), labelled(50, 100)))
    assert known_of_the_past(after(before, away).record or {}, 3) is not None


@pytest.mark.parametrize(
    "record",
    [
        {},
        {"backtest": None},
        {"backtest": {"generation": 3}},
        {"backtest": {"generation": 2, "known": {"precision": {"total": 1.0, "squares": 1.0, "labels": 1}}}},
        {"backtest": {"generation": 3, "known": "much"}},
        {"backtest": {"generation": 3, "known": {"precision": {"good": 9.0, "total": 1.0, "labels": 1}}}},
        {"backtest": {"generation": 3, "known": {"precision": {"good": -1.0, "total": 1.0, "squares": 1.0}}}},
    ],
)
def test_a_record_that_makes_no_sense_is_as_none(record: Any) -> None:
    assert known_of_the_past(record, 3) is None


def test_of_several_campaigns_labels_are_added_up() -> None:
    status = status_after(of_several(), labelled(45, 50), labelled(5, 50))
    assert (status["backtest"]["precision"]["value"], status["backtest"]["precision"]["labels"]) == ("50.0%", 100)


def test_a_fall_is_told_once() -> None:
    status = status_after(tried_rule(**ENFORCED), labelled(50, 100))
    notice = notice_of({}, status)
    assert notice
    assert (notice.type, notice.reason) == ("Warning", "PrecisionTooLowInThePast")
    assert notice_of(status, status) is None


class Watched(World):
    """A cluster that remembers the Events that are recorded."""

    notices: list[Notice]

    async def record_event(self, involved: Manifest, notice: Notice, now: datetime) -> None:
        assert involved["kind"] == "FraudRule"
        self.notices.append(notice)


async def test_the_operator_records_an_event_and_has_the_worker_judge_in_shadow() -> None:
    made, past = opened(), Past()
    made.rules[0]["spec"] |= {**ENFORCED, "holdout": "5%"}
    world = Watched(made.rules[0], campaigns=tuple(made.campaigns_in("shop")))
    world.notices = []
    past.answer = labelled(50, 100)
    await reconcile(world, past)
    assert [each.reason for each in world.notices] == ["PrecisionTooLowInThePast"]
    past.answer = None
    await reconcile(world, past)
    await reconcile(world, past)
    assert len(world.notices) == 1
    assert world.rules[0]["status"]["mode"] == "Shadow"
