"""When a rule is tried on the past, and what its status tells of that."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.campaign.test_fraudplan import campaign, manifest

from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.api.load import load_fraudrule
from flywheel.campaign.conditions import Condition
from flywheel.campaign.fraudplan import Judged
from flywheel.campaign.fraudtold import Seen, status_of
from flywheel.campaign.fraudtrial import (
    AGAIN_AFTER,
    AGAIN_WHILE_EMPTY,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    MOST_CAMPAIGNS,
    LastTry,
    Order,
    Outcome,
    is_due,
    last_try,
    orders_of,
    outcome_of,
    pause_after,
    record_of,
)
from flywheel.campaign.fraudtrialtold import SENTENCE, TrialTold, told_of
from flywheel.fraud.backtest_asking import Answer, LimitTold
from flywheel.plan import Manifest

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
MOMENTS = st.integers(0, 126_230_400).map(lambda seconds: datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
TRIES = st.builds(
    LastTry,
    generation=st.integers(1, 5),
    at=MOMENTS,
    failures=st.integers(0, 100),
    empty=st.booleans(),
)


def tried_rule(generation: int = 3, status: Manifest | None = None, **spec: Any) -> Manifest:
    """A rule that wants to be tried, as the API server holds it."""
    found = manifest(generation=generation, backtest={"since": "24h"}, **spec)
    found["metadata"]["uid"] = "uid-of-rule"
    return found | ({"status": status} if status else {})


def judged_of(held: Manifest, **told: Any) -> Judged:
    return Judged(load_fraudrule(held), campaigns=("yougou-618",), **told)


def order_for(held: Manifest, count: int = 1) -> Order:
    shops = [campaign(f"yougou-{618 + n}", labels={"season": "sale"}) for n in range(count)]
    [order] = orders_of([judged_of(held)], {"burst": held}, shops, NOW)
    return order


def of_several(generation: int = 3) -> Manifest:
    return tried_rule(generation, campaign=None, selector={"matchLabels": {"season": "sale"}})


def points(*counts: tuple[str, int, int, int]) -> tuple[LimitTold, ...]:
    return tuple(
        LimitTold(limit=limit, hits=hits, keys=keys, visitors=10 * keys, customers=customers)
        for limit, hits, keys, customers in counts
    )


ANSWER = Answer(
    events=400,
    path="condition.count.moreThan",
    curve=points(("10", 60, 9, 5), ("20", 30, 4, 1), ("30", 12, 2, 0), ("50", 0, 0, 0)),
    current=1,
    notes=("7 of the events have no address in the store and were not judged",),
)


@given(last=TRIES, later=st.timedeltas(timedelta(0), timedelta(days=400)))
def test_a_rule_is_tried_once_and_again_after_its_pause(last: LastTry, later: timedelta) -> None:
    assert last.at is not None
    assert is_due(last, last.generation, last.at + later) == (later >= pause_after(last))


@given(last=TRIES, now=MOMENTS, more=st.integers(1, 9))
def test_a_changed_rule_is_tried_at_once(last: LastTry, now: datetime, more: int) -> None:
    assert is_due(last, last.generation + more, now)


@given(last=TRIES, back=st.timedeltas(timedelta(seconds=1), timedelta(days=400)))
def test_a_clock_that_went_back_does_not_put_it_off(last: LastTry, back: timedelta) -> None:
    assert last.at is not None
    assert is_due(last, last.generation, last.at - back)


@given(failures=st.integers(1, 10_000))
def test_pauses_grow_up_to_an_end(failures: int) -> None:
    pause, longer = (pause_after(LastTry(1, NOW, each)) for each in (failures, failures + 1))
    assert FIRST_PAUSE <= pause <= longer <= LONGEST_PAUSE
    assert longer == min(2 * pause, LONGEST_PAUSE)


def test_a_past_without_events_is_looked_at_again_sooner() -> None:
    assert pause_after(LastTry(1, NOW)) == AGAIN_AFTER
    assert pause_after(LastTry(1, NOW, empty=True)) == AGAIN_WHILE_EMPTY


@given(last=TRIES)
def test_what_is_written_down_is_read_again(last: LastTry) -> None:
    assert last_try({"record": json.loads(json.dumps(record_of(last)))}) == last


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.text(), each),
)


@given(
    found=st.fixed_dictionaries({}, optional={"generation": JSON, "at": JSON, "failures": JSON, "empty": JSON}) | JSON
)
def test_a_record_that_nobody_can_read_is_as_none(found: Any) -> None:
    last = last_try({"record": {"backtest": found}})
    assert last.failures >= 0
    assert is_due(last, 1, NOW) in (True, False)


def test_an_order_asks_about_the_rule_and_its_campaign() -> None:
    order = order_for(tried_rule())
    [question] = order.questions
    assert (order.generation, order.uid, order.left_out) == (3, "uid-of-rule", 0)
    assert (question.campaign, question.order, question.addresses) == ("yougou-618", "Order Completed", "Hash")
    assert (question.since, question.until) == (int(NOW.timestamp() - 86_400) * 1000, int(NOW.timestamp()) * 1000)
    assert load_fraudrule(question.rule).spec.condition.count


def test_no_more_than_a_few_campaigns_are_asked_about() -> None:
    order = order_for(of_several(), MOST_CAMPAIGNS + 2)
    assert (len(order.questions), order.left_out) == (MOST_CAMPAIGNS, 2)


@pytest.mark.parametrize(
    ("held", "told"),
    [
        (manifest(generation=3), {}),
        (tried_rule(), {"is_waiting": True}),
        (tried_rule(), {"problems": ("spec: wrong",)}),
        (tried_rule(status={"record": {"backtest": {"generation": 3, "at": "2027-06-16T11:59:00Z"}}}), {}),
    ],
    ids=["not wanted", "no campaign is open", "it makes no sense", "just tried"],
)
def test_nothing_is_ordered(held: Manifest, told: dict[str, Any]) -> None:
    held["metadata"]["uid"] = "uid-of-rule"
    assert orders_of([judged_of(held, **told)], {"burst": held}, [campaign()], NOW) == []


def told(held: Manifest, outcome: Outcome | None, now: datetime = NOW) -> TrialTold:
    return told_of(judged_of(held), held.get("status") or {}, outcome, now)


def after(held: Manifest, *answers: Answer) -> TrialTold:
    return told(held, outcome_of(order_for(held, len(answers)), answers))


def condition(found: TrialTold) -> Condition:
    assert found.condition is not None
    return found.condition


def test_what_was_found_is_told() -> None:
    found = after(tried_rule(), ANSWER)
    assert found.backtest == {
        "generation": 3,
        "at": "2027-06-16T12:00:00Z",
        "since": "2027-06-15T12:00:00Z",
        "until": "2027-06-16T12:00:00Z",
        "events": 400,
        "hits": 30,
        "keys": 4,
        "customers": 1,
        "curve": [
            {"moreThan": "10", "hits": 60, "keys": 9, "customers": 5},
            {"moreThan": "20", "hits": 30, "keys": 4, "customers": 1},
            {"moreThan": "30", "hits": 12, "keys": 2, "customers": 0},
            {"moreThan": "50", "hits": 0, "keys": 0, "customers": 0},
        ],
        "recommended": "30",
        "message": "condition.count.moreThan: 30 finds most without hitting a customer: 12 hits of 2 keys. "
        "7 of the events have no address in the store and were not judged.",
    }
    assert (condition(found).status, condition(found).reason) == ("True", "Tried")
    assert "30 would have broken the rule, of 4 keys with 40 visitors, 1 of whom have paid" in condition(found).message
    assert not is_due(last_try({"record": found.record}), 3, NOW + timedelta(hours=23))


def test_of_several_campaigns_the_sums_are_told() -> None:
    found = after(of_several(), ANSWER, ANSWER)
    assert found.backtest
    assert (found.backtest["events"], found.backtest["hits"], found.backtest["customers"]) == (800, 60, 2)
    assert "sums over the Campaigns yougou-618, yougou-619" in found.backtest["message"]
    assert "yougou-619: 7 of the events have no address" in found.backtest["message"]


def test_a_rule_that_the_past_cannot_tell_of_is_said_to_be_so() -> None:
    found = after(of_several(), ANSWER, Answer(untried="spec.key[0] is address, and the campaign keeps none"))
    assert (condition(found).status, condition(found).reason) == ("False", "NotTriable")
    assert condition(found).message.startswith("it cannot be tried on the past: Campaign yougou-619: spec.key[0]")
    assert found.backtest is not None
    assert set(found.backtest) == {"generation", "at", "since", "until", "message"}


def test_a_store_that_is_away_leaves_what_was_told_before() -> None:
    held = tried_rule(status={"backtest": {"generation": 2, "hits": 9}, "record": {"other": 1}})
    found = told(held, Outcome(order_for(held), failure="the event store is away " * 100))
    assert (condition(found).status, condition(found).reason) == ("Unknown", "NotAnswered")
    assert condition(found).message.endswith("it is tried again after 2027-06-16T12:00:30Z")
    assert len(condition(found).message) <= SENTENCE
    assert found.backtest == {"generation": 2, "hits": 9}
    assert found.record == {
        "other": 1,
        "backtest": {"generation": 3, "at": "2027-06-16T12:00:00Z", "failures": 1},
    }


def test_answers_that_are_not_of_one_rule_are_none() -> None:
    order = order_for(of_several(), 2)
    other = Answer(events=1, path="condition.sum.moreThan", curve=points(("1", 1, 1, 1)))
    assert outcome_of(order, [ANSWER, other]).failure
    assert outcome_of(order, [ANSWER]).failure
    assert not outcome_of(order, [ANSWER, ANSWER]).failure


def test_between_two_trials_it_stays_as_it_was_told() -> None:
    held = tried_rule()
    first = status_of(judged_of(held), {}, Seen({}), NOW, after(held, ANSWER))
    again = tried_rule(status=first)
    second = status_of(judged_of(again), first, Seen({}), NOW, told(again, None, NOW + timedelta(minutes=5)))
    assert second == first
    FraudRuleStatus.model_validate(first, by_alias=True, by_name=False)


def test_a_new_generation_says_that_it_has_not_been_tried_and_keeps_the_figures_of_the_last() -> None:
    held = tried_rule()
    first = status_of(judged_of(held), {}, Seen({}), NOW, after(held, ANSWER))
    found = told(tried_rule(4, status=first), None)
    assert (condition(found).status, condition(found).reason) == ("Unknown", "NotTried")
    assert "about generation 3" in condition(found).message
    assert found.backtest is not None
    assert found.backtest["generation"] == 3


def test_a_rule_that_wants_no_trial_any_more_tells_of_none() -> None:
    held = tried_rule()
    first = status_of(judged_of(held), {}, Seen({}), NOW, after(held, ANSWER))
    del held["spec"]["backtest"]
    last = status_of(judged_of(held), first, Seen({}), NOW, told(held | {"status": first}, None))
    assert not {"backtest", "record"} & set(last)
    assert "Backtested" not in {each["type"] for each in last["conditions"]}


def test_before_its_campaign_opens_it_waits() -> None:
    held = tried_rule()
    found = told_of(judged_of(held, is_waiting=True), {}, None, NOW)
    assert (condition(found).status, condition(found).reason) == ("Unknown", "Waiting")
