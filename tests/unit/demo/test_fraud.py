"""Rules on fraud in the rehearsal: what is read of them, whom they stop, and what counts as seen."""

from datetime import UTC, datetime
from typing import Any

import pytest
import yaml
from tests.unit.fraud_worker.rehearsing import Rehearsal

from flywheel.api.load import load_campaign, load_fraudrule
from flywheel.campaign.fraudflink import Beyond
from flywheel.campaign.fraudplan import judge
from flywheel.simulation.read import read_behaviour
from rehearsal.compress import Cut, Pace, compress
from rehearsal.fraud import (
    FraudSeen,
    RuleView,
    Stopped,
    enforced,
    kinds_told,
    rule_view,
    stopped_in_all,
    stopped_so_far,
)
from rehearsal.fraud_run import FINDING, HUNT_SECONDS, HUNTERS_FILE, RULES_FILE, SINGLES_RATE
from rehearsal.fraud_trial import TrialView
from rehearsal.play import CAMPAIGN_FILE, GOING_HOME_SECONDS

NOW = datetime(2026, 11, 26, tzinfo=UTC)
RULES = [each for each in yaml.safe_load_all(RULES_FILE.read_text("utf-8")) if each]
LOG = """
5 s: 12 here, 30 came, 40 requests, 0 failed, 0 orders, 0.00; 0 of 9 dishonest visits stopped, 0 of 11 honest visits stopped
10 s: 9 here, 60 came, 90 requests, 0 failed, 0 orders, 0.00; 1,002 of 1,020 dishonest visits stopped, 3 of 31 honest visits stopped
"""  # noqa: E501 - as it is printed


TRIED = (TrialView("device-farm", "device", 40, 12, 2, 30),)


def report(dishonest: int, honest: int) -> dict[str, Any]:
    def told(truth: str, blocked: int, visits: int) -> dict[str, Any]:
        share = round(blocked / visits, 4)
        return {"truth": truth, "blocked": blocked, "challenged": 0, "visits": visits, "stopped_share": share}

    groups = {"school": told("Honest", honest, 100), "botnet": told("Dishonest", dishonest, 100)}
    return {"fates": {"dishonest": groups["botnet"], "honest": groups["school"], "groups": groups}}


def test_the_rules_that_stop_anybody_begin_in_shadow_and_are_enforced_as_they_are() -> None:
    made = enforced(RULES)
    assert {each["spec"]["mode"] for each in made} == {"Enforce"}
    assert "Shadow" in {each["spec"]["mode"] for each in RULES}, "and what is written is left alone"
    for before, after in zip(RULES, made, strict=True):
        assert {**after["spec"], "mode": ""} == {**before["spec"], "mode": ""}
    assert {each["metadata"]["name"] for each in RULES if each["spec"]["mode"] == "Shadow"} >= set(FINDING)


def test_the_compressed_campaign_can_be_judged_by_them() -> None:
    written = yaml.safe_load(CAMPAIGN_FILE.read_text())
    made = compress(written, NOW, Pace(), Cut(), "shop", "http://git.yougou:8080/landing.git")
    campaign = load_campaign(made)
    assert campaign.spec.edge
    assert campaign.spec.edge.trusted_proxies
    for each in RULES:
        judged = judge(load_fraudrule(each), [campaign], {campaign.name}, NOW, {}, {}, Beyond())
        assert judged.problems == ()
        assert judged.campaigns == (campaign.name,)


def test_a_rule_is_loaded_when_its_latest_spec_is_judged_by() -> None:
    ready = {"type": "Ready", "status": "True", "reason": "Loaded", "message": "all"}
    rule: dict[str, Any] = {
        "metadata": {"name": "burst", "generation": 2},
        "spec": {"mode": "Enforce"},
        "status": {"loadedGeneration": 2, "mode": "Enforce", "hits": 30, "wouldBlock": 20, "blocked": 9},
    }
    rule["status"]["conditions"] = [ready]
    assert rule_view(rule) == RuleView("burst", "Enforce", True, 30, 20, 9, "all")
    assert str(rule_view(rule)) == "burst in Enforce: 30 hits, 9 acted on"
    rule["status"]["loadedGeneration"] = 1
    assert not rule_view(rule).is_loaded
    fresh = rule_view({"metadata": {"name": "new", "generation": 1}, "spec": {}})
    assert (fresh.mode, fresh.is_loaded, fresh.hits) == ("Shadow", False, 0)


def test_whom_the_edge_stopped_is_read_from_log_and_report() -> None:
    assert stopped_so_far("") == Stopped()
    assert stopped_so_far(LOG) == Stopped(1002, 1020, 3, 31)
    assert stopped_in_all(report(90, 2)) == Stopped(90, 100, 2, 100)
    second = Stopped(90, 100, 0, 100).since(Stopped(0, 50, 0, 40))
    assert str(second) == "90 of 50 dishonest visits blocked (180%), 0 of 60 honest ones harmed (0%)"
    assert [line.split()[0] for line in kinds_told(report(90, 2)["fates"]["groups"])] == ["botnet", "school"]


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (FraudSeen(), "did not come to their end"),
        (FraudSeen(amiss=["TimeoutError: no worker"]), "no worker"),
        (FraudSeen(before=Stopped(0, 9, 1, 9), after=Stopped(90, 100, 0, 100)), "while they were in Shadow"),
        (FraudSeen(after=Stopped(40, 100, 0, 100)), "most hunters went free"),
        (FraudSeen(after=Stopped(0, 0, 0, 100)), "most hunters went free"),
        (FraudSeen(after=Stopped(90, 100, 1, 100)), "the honest were harmed"),
        (FraudSeen(after=Stopped(90, 100, 0, 5)), "too few honest ones"),
        (FraudSeen(after=Stopped(90, 100, 0, 100)), "they were not tried on the past"),
        (FraudSeen(tried=(TrialView("burst", "address", 9),), after=Stopped(90, 100, 0, 100)), "hit nobody there"),
    ],
)
def test_what_was_not_seen_is_named(seen: FraudSeen, words: str) -> None:
    assert words in "; ".join(seen.problems())


def test_all_was_seen_where_hunters_were_tried_and_blocked_and_nobody_else() -> None:
    assert FraudSeen(tried=TRIED, after=Stopped(60, 100, 0, 100)).problems() == []


def test_the_demos_own_hunt_shows_what_the_demo_claims() -> None:
    """The very people of the demo, before the engine, with the holdout that the example has."""
    behaviour = read_behaviour(HUNTERS_FILE.read_text("utf-8")).model_copy(update={"rate": SINGLES_RATE})
    shadow = Rehearsal(behaviour, [load_fraudrule(each) for each in RULES])
    shadow.run(25)
    assert all(shadow.hits(name) for name in FINDING), "the rules have found somebody soon"
    met = Rehearsal(behaviour, [load_fraudrule(each) for each in enforced(RULES)])
    met.run(HUNT_SECONDS)
    fates = met.fates.report()
    counted = Stopped(fates["dishonest"]["blocked"], fates["dishonest"]["visits"], fates["honest"]["blocked"], 100)
    assert FraudSeen(tried=TRIED, after=counted).problems() == [], fates["groups"]


def test_hunters_have_their_time_while_the_sale_is_open() -> None:
    # The test about the page has 150 s for its verdict and takes 30 s to be released, a push takes 35 s.
    assert Pace().live > 120 + 30 + 35 + HUNT_SECONDS + 15
    assert GOING_HOME_SECONDS < HUNT_SECONDS, "the crowd is still there"
