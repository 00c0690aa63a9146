"""The demo says that all went well only when it did."""

import json
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import pytest

from rehearsal.abtest import ABTestSeen, ABTestView, Arm
from rehearsal.accounts import Account, Accounts
from rehearsal.crowd import Sighting, crowd, read_progress, read_report
from rehearsal.fraud import FraudSeen, Stopped
from rehearsal.fraud_trial import TrialView
from rehearsal.releases import Told
from rehearsal.snapshot import STAGES, Autoscaler, Load, ServiceView, Snapshot
from rehearsal.verdict import Seen

SIZES = {"Preparing": [1], "Warm": [3], "Live": [3, 5, 2], "Draining": [1]}
REPORT: dict[str, Any] = {
    "seed": 618,
    "visits": {"started": 100, "turned_away": 0, "cut_off": 2},
    "requests": 100,
    "failed": 0,
    "failures": {},
    "event_failures": {},
}


def promoted() -> ABTestSeen:
    """A test as it should have been; what else may become of it is another file's."""
    arms = (Arm("red", 210, 60), Arm("green-button", 205, 120))
    came = datetime(2026, 11, 23, 14, 9, tzinfo=UTC)
    view = ABTestView("claim-button", "Promoted", "", arms, came, came, "Ship", "green-button", "it is better")
    told = Told("the A/B test", "green-button has won", 900)
    return ABTestSeen(told, view, [Sighting(came, {"red": 205, "green": 204})], Counter({"green-button": 25}))


def shown(stage: str, ready: int, orders: float | None = None) -> Snapshot:
    scaler = Autoscaler(1, 5, 60, 20, (Load("orders/s", 0.3, orders),))
    return Snapshot(stage=stage, services=(ServiceView("seckill", ready, ready, scaler),))


def perfect(**differently: Any) -> Seen:
    seen = Seen("seckill", warm=3)
    for stage in STAGES:
        for ready in SIZES.get(stage, [0]):
            seen.note(shown(stage, ready, 0.9 if ready == 5 else 0.1))
    seen.answers = 40
    seen.seed = 618
    seen.crowd = REPORT
    seen.report = {"teardown": {"remaining": 0}}
    seen.leftovers = []
    sold = Account(4, 400)
    seen.accounts = Accounts(sold, Account(), sold, sold, {"orders": 4, "revenue": "4.00"})
    seen.releases = {"fix": Told("coupon 1.0.1", "coupon 1.0.1 live", asked=7)}
    seen.abtest = promoted()
    seen.fraud = FraudSeen(tried=(TrialView("burst", "address", 9, 4),), after=Stopped(90, 100, 0, 80))
    for name, value in differently.items():
        setattr(seen, name, value)
    return seen


def test_a_perfect_rehearsal_has_no_problems() -> None:
    assert perfect().problems() == []


@pytest.mark.parametrize(
    ("differently", "problem"),
    [
        ({"stages": [stage for stage in STAGES if stage != "Warm"]}, "the stages seen were"),
        ({"stages": ["Scheduled", "Warm", "Preparing", *STAGES[3:]]}, "the stages seen were"),
        ({"warm_before_start": False}, "not at its warm size of 3"),
        ({"most_ready": 3}, "the autoscaler never brought seckill above 3"),
        ({"answers": 0}, "the shop answered no request"),
        ({"unanswered": ["HTTP status 503"]}, "1 requests to the shop failed; the first: HTTP status 503"),
        ({"crowd": None}, "the crowd left no report"),
        ({"crowd": REPORT | {"failed": 2}}, "2 of the crowd's 100 requests failed"),
        (
            {"crowd": REPORT | {"visits": {"started": 100, "turned_away": 1, "cut_off": 0}}},
            "1 visits of the crowd were turned away",
        ),
        (
            {"crowd": REPORT | {"visits": {"started": 100, "turned_away": 0, "cut_off": 3}}},
            "3 of 100 visits of the crowd were cut off",
        ),
        ({"crowd": REPORT | {"event_failures": {"Coupon Claimed: status 400": 1}}}, "events of the crowd were refused"),
        ({"crowd": REPORT | {"seed": 7}}, "the crowd had seed 7, not 618"),
        ({"busiest": {"orders/s": Load("orders/s", 0.3, 0.2)}}, "neither orders nor requests asked for more"),
        ({"busiest": {}}, "they were unknown"),
        ({"fewest_after": 5}, "never took replicas from seckill again"),
        ({"accounts": Accounts()}, "orders and revenue could not be compared"),
        ({"releases": {"bad": Told("coupon 1.0.2")}}, "coupon 1.0.2: it did not come to its end"),
        ({"releases": {"bad": Told("coupon 1.0.2", "stopped")}}, "nobody asked for anything meanwhile"),
        (
            {"releases": {"bad": Told("coupon 1.0.2", "stopped", 9, ["GET /: HTTP status 503"])}},
            "coupon 1.0.2: 1 of 9 requests meanwhile failed; the first: GET /: HTTP status 503",
        ),
        (
            {"releases": {"page": Told("the page", amiss=["TimeoutError: not seen"])}},
            "the page: TimeoutError: not seen",
        ),
        ({"abtest": ABTestSeen()}, "nothing was seen of the A/B test"),
        ({"report": None}, "no report"),
        ({"report": {"teardown": {"remaining": 1}}}, "no report"),
        ({"leftovers": None}, "nobody looked"),
        ({"leftovers": ["Service yougou/sale-cart"]}, "left behind: Service yougou/sale-cart"),
    ],
)
def test_each_missing_fact_is_told(differently: dict[str, Any], problem: str) -> None:
    (told,) = perfect(**differently).problems()
    assert problem in told


def test_a_demo_that_showed_no_release_says_so_of_all_three() -> None:
    told = Seen("seckill", warm=3).problems()
    assert len([each for each in told if "it did not come to its end while the campaign was live" in each]) == 3


def test_a_release_is_told_in_one_line() -> None:
    told = Told("coupon 1.0.1", "coupon 1.0.1 live 4.1 s after its apply; gates smoke passed", 1234)
    assert str(told).endswith("gates smoke passed; 0 of 1,234 requests meanwhile failed")


def test_warm_counts_only_in_its_own_stage() -> None:
    seen = Seen("seckill", warm=3)
    seen.note(Snapshot(stage="Warm", services=(ServiceView("seckill", 3, 2),)))
    seen.note(Snapshot(stage="Live", services=(ServiceView("seckill", 3, 3),)))
    assert not seen.warm_before_start


def test_growing_step_by_step_is_not_becoming_smaller() -> None:
    seen = Seen("seckill", warm=3)
    for ready in (3, 4, 5):
        seen.note(shown("Live", ready))
    assert (seen.most_wanted, seen.fewest_after) == (5, 5)
    seen.note(shown("Live", 2))
    seen.note(shown("Draining", 1))
    assert (seen.most_wanted, seen.fewest_after) == (5, 2)


def test_the_crowd_reports_at_its_end() -> None:
    log = "5 s: 3 here, 7 came, 31 requests, 0 failed, 1 orders, 99.00\n"
    report = json.dumps(REPORT, indent=2)
    assert read_report(f"{log}{report}\n") == REPORT
    assert read_report(report) == REPORT
    assert read_report(log) is None
    assert read_report(f"{log}{report[:-20]}") is None, "not all of it is there yet"
    assert read_report("Error from server (NotFound)") is None
    assert read_progress(f"{log}{report}") == log.strip()
    assert read_progress(report) == ""


def test_the_crowd_is_no_part_of_the_campaign() -> None:
    text = json.dumps(crowd("yougou", "flywheel", "seed: 1", "http://x", 0.5, 60))
    assert "flywheel.dev" not in text
    assert "--rate=0.5" in text
