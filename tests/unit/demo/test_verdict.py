"""The demo says that all went well only when it did."""

import json
from typing import Any

import pytest

from rehearsal.crowd import crowd, read_report
from rehearsal.snapshot import STAGES, ServiceView, Snapshot
from rehearsal.verdict import Seen

SIZES = {"Preparing": 1, "Warm": 3, "Live": 5, "Draining": 3}


def perfect(**differently: Any) -> Seen:
    seen = Seen("seckill", warm=3)
    for stage in STAGES:
        ready = SIZES.get(stage, 0)
        seen.note(Snapshot(stage=stage, services=(ServiceView("seckill", ready, ready),)))
    seen.answers = 40
    seen.crowd = {"requests": 100, "failed": 0, "answers": {"200": 100}}
    seen.report = {"teardown": {"remaining": 0}}
    seen.leftovers = []
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
        ({"crowd": {"requests": 9, "failed": 2, "answers": {"503": 2}}}, "2 of the crowd's 9 requests failed"),
        ({"report": None}, "no report"),
        ({"report": {"teardown": {"remaining": 1}}}, "no report"),
        ({"leftovers": None}, "nobody looked"),
        ({"leftovers": ["Service yougou/sale-cart"]}, "left behind: Service yougou/sale-cart"),
    ],
)
def test_each_missing_fact_is_told(differently: dict[str, Any], problem: str) -> None:
    (told,) = perfect(**differently).problems()
    assert problem in told


def test_warm_counts_only_in_its_own_stage() -> None:
    seen = Seen("seckill", warm=3)
    seen.note(Snapshot(stage="Warm", services=(ServiceView("seckill", 3, 2),)))
    seen.note(Snapshot(stage="Live", services=(ServiceView("seckill", 3, 3),)))
    assert not seen.warm_before_start


def test_the_crowd_reports_at_its_end() -> None:
    report = {"requests": 3, "failed": 0}
    assert read_report('{"message": "comes"}\n' + json.dumps({"report": report}) + "\n") == report
    assert read_report('{"message": "comes"}\n') is None
    assert read_report("Error from server (NotFound)") is None


def test_the_crowd_is_no_part_of_the_campaign() -> None:
    text = json.dumps(crowd("yougou", "shop", "http://x", 8, 60))
    assert "flywheel.dev" not in text
