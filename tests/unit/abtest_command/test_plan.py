"""What a test costs is said before it starts: from the past, or from what a person says instead."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.answering import answering
from tests.unit.abtest_command.conftest import Called, Opened, campaign
from tests.unit.abtest_command.story import Story, abtest

from flywheel.api.load import load_abtest, load_campaign
from flywheel.commands.abtest_planning import Plan, plan_of, window_of
from flywheel.experiment.planning import FACTORS, Baseline, baseline_of, cost_of, participants_a_day, smallest_effect
from flywheel.insight.arms import Sums
from flywheel.insight.past import DAY, Past

TODAY = Baseline(0.081)
NOW = datetime(2027, 6, 15, 12, 0, tzinfo=UTC)


class Worker:
    """Answers POST /query with one row."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.status = 200
        week_ago = int(datetime.now(UTC).timestamp() * 1000) - 7 * DAY
        self.row: dict[str, Any] = {"visitors": 42_000, "first": week_ago, "sum_y": 3402.0, "sum_yy": 3402.0}


@pytest.fixture
def worker() -> Iterator[tuple[Worker, str]]:
    made = Worker()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
            assert asked["format"] == "json"
            made.asked.append(asked["sql"])
            body = (json.dumps(made.row) + "\n").encode()
            self.send_response(made.status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with answering(Handler) as address:
        yield made, address


def written(folder: Path, *manifests: dict[str, Any]) -> str:
    path = folder / "button.yaml"
    path.write_text(yaml.safe_dump_all(manifests, allow_unicode=True))
    return str(path)


def test_visitors_and_days_come_from_the_past(opened: Opened, called: Called, worker: tuple[Worker, str]) -> None:
    made, url = worker
    opened(Story(), schedule=None)
    found = called("plan", "button", "--url", url, COLUMNS="120")
    assert found.exit_code == 0, found.output
    [sql] = made.asked
    assert "campaign = 'yougou-618' AND service = 'landing'" in sql
    assert "name = 'Coupon Claimed'" in sql
    for text in (
        "Coupon Claimed: 8.1% today (42,000 visitors in the last 7 days)",
        "6,000 visitors a day, of whom 6,000 take part; 14 days at most (decision.maximumDuration)",
        "5%",
        "half of it",
        "10%",
        "as planned",
        "20%",
        "twice as much",
        "20,393",
        "40,786",
        "found in 80% of all tests (power)",
        "% of the planned visitors",
        "at most 5% of all tests",
    ):
        assert text in found.output, text


def test_half_the_effect_takes_four_times_the_visitors(opened: Opened, called: Called) -> None:
    opened(Story())
    output = called("plan", "button", "--baseline", "8.1%", "--visitors-per-day", "6000", COLUMNS="120").output
    costs = [line for line in output.splitlines() if any(each in line for each in ("half", "planned  ", "twice"))]
    all_visitors = [int(line.split()[-5].replace(",", "")) for line in costs]
    assert all_visitors[0] == pytest.approx(4 * all_visitors[1], rel=0.05)
    assert all_visitors[2] == pytest.approx(all_visitors[1] / 4, rel=0.1)
    assert "(" not in output.splitlines()[1], "nobody asked the past"


def test_a_test_that_would_end_without_knowing_is_refused_with_what_to_do(opened: Opened, called: Called) -> None:
    opened(Story(abtest(traffic="50%")))
    found = called("plan", "button", "--baseline", "8.1%", "--visitors-per-day", "1000")
    assert found.exit_code == 1
    assert "of whom 500 take part" in found.output
    assert "Not enough: it needs 82 days at most and about" in found.output
    assert "Raise decision.maximumDuration, raise traffic (50% now), set minimumEffect to " in found.output
    [effect] = re.findall(r"In that time, a change of ([0-9.]+)%", found.output)
    test = load_abtest(abtest(traffic="50%"))
    assert cost_of(test, Baseline(0.081), 500, float(effect) / 10).visitors == pytest.approx(500 * 14, rel=0.02)


def test_a_window_between_the_average_and_the_most_is_a_warning(opened: Opened, called: Called) -> None:
    opened(Story())
    found = called("plan", "button", "--baseline", "8.1%", "--visitors-per-day", "2700")
    assert found.exit_code == 0, found.output
    assert "Note: it needs up to 16 days and has 14 days" in found.output
    assert "not as often as statistics.power says" in found.output


def test_the_end_of_the_campaign_counts(opened: Opened, called: Called) -> None:
    begins = datetime.now(UTC) + timedelta(days=1)
    starts, ends = (f"{each:%Y-%m-%dT%H:%M:%SZ}" for each in (begins, begins + timedelta(days=3)))
    opened(Story(), schedule={"startsAt": starts, "endsAt": ends, "timeZone": "Asia/Shanghai"})
    found = called("plan", "button", "--baseline", "8.1%", "--visitors-per-day", "6000")
    assert found.exit_code == 1
    assert "3 days at most (the end of the campaign)" in found.output
    assert "let the campaign run longer" in found.output


def test_a_file_is_planned_before_it_is_applied(opened: Opened, called: Called, tmp_path: Path) -> None:
    api = opened()
    given = ("--baseline", "8.1%", "--visitors-per-day", "6000")
    test = {name: value for name, value in abtest("new").items() if name != "status"}
    found = called("plan", written(tmp_path, test), *given)
    assert found.exit_code == 0, found.output
    assert "new  landing of yougou-618" in found.output
    assert api.asked == ["GET /apis/flywheel.dev/v1alpha1/namespaces/spring/campaigns/yougou-618"]
    found = called("plan", written(tmp_path, test, campaign()), *given)
    assert found.exit_code == 0, found.output
    assert len(api.asked) == 1, "the Campaign is in the file"


def test_a_file_is_planned_without_a_cluster(called: Called, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = called("plan", written(tmp_path, abtest()), "--baseline", "8.1%", "--visitors-per-day", "6000")
    assert found.exit_code == 0, found.output
    assert "The Campaign yougou-618 is not known, so its times are not" in found.output


def test_what_cannot_be_read_is_told(opened: Opened, called: Called, tmp_path: Path) -> None:
    opened()
    assert "There is no ABTest nothing" in called("plan", "nothing").output
    assert "There is no file missing.yaml" in called("plan", "missing.yaml").output
    assert "holds 0 ABTests" in called("plan", written(tmp_path, campaign())).output
    broken = abtest()
    broken["spec"]["variants"][0]["weight"] = "40%"
    found = called("plan", written(tmp_path, broken))
    assert found.exit_code == 1
    assert "add up to exactly 100%" in found.output


def test_a_past_that_says_nothing_leads_to_what_says_it(
    opened: Opened, called: Called, worker: tuple[Worker, str]
) -> None:
    made, url = worker
    opened(Story())
    made.row = {"visitors": 0}
    found = called("plan", "button", "--url", url)
    assert found.exit_code == 1
    assert "knows no visitor of the service landing" in found.output
    assert "--visitors-per-day and --baseline" in found.output
    made.row = {"visitors": 100, "first": 0, "sum_y": 0}
    assert "Is it the name of the event?" in called("plan", "button", "--url", url).output
    made.status = 500
    assert "The event store answered 500" in called("plan", "button", "--url", url).output
    found = called("plan", "button", "--url", "http://127.0.0.1:1")
    assert "does not answer" in found.output
    assert "Without it say --baseline and --visitors-per-day" in found.output


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--baseline", "many"), "A share such as 5.2%"),
        (("--baseline", "8.1"), "with the sign"),
        (("--baseline", "0%"), "with the sign"),
    ],
)
def test_what_is_no_baseline_is_refused(opened: Opened, called: Called, given: tuple[str, ...], said: str) -> None:
    opened(Story())
    found = called("plan", "button", *given, "--visitors-per-day", "100")
    assert found.exit_code == 2
    assert said in found.output


def test_a_mean_needs_to_know_how_much_visitors_differ(opened: Opened, called: Called) -> None:
    opened(Story(abtest(metrics={"primary": {"sum": "Order Completed.revenue", "minimumEffect": "10%"}})))
    given = ("plan", "button", "--visitors-per-day", "60000", "--baseline", "48.20")
    assert "standard deviation" in called(*given).output
    found = called(*given, "--deviation", "90")
    assert found.exit_code == 0, found.output
    assert "sum of Order Completed.revenue: 48.2 today" in found.output


def planned(past: Past | None = None, baseline: Baseline = TODAY, **spec: Any) -> Plan:
    test = load_abtest(abtest(**spec))
    return plan_of(test, None, past or Past(42_000, 7.0, Sums(3402.0, 3402.0)), baseline, NOW)


def test_the_expected_time_is_about_four_fifths_of_the_most() -> None:
    made = planned()
    assert 0.7 < made.share < 0.9
    assert made.planned is not None
    assert made.planned.expected_time < made.planned.time


def test_whole_weeks_are_whole() -> None:
    made = planned(decision={"wholeWeeks": True})
    assert [cost.time % timedelta(days=7) for cost in made.costs if cost] == [timedelta(0)] * 3
    assert not any("within a week" in each for each in made.warnings)
    assert any("within a week" in each for each in planned(Past(420_000, 7.0)).warnings)


@pytest.mark.parametrize(
    ("past", "spec", "said"),
    [
        (Past(400, 1.5, Sums(20.0, 20.0)), {}, "of 20 conversions only"),
        (Past(4000, 0.5, Sums(400.0, 400.0)), {}, "12 hours only"),
        (None, {"targeting": {"visitors": "New"}}, "new or returning visitors is not looked up"),
        (None, {"statistics": {"method": "Bandit"}}, "unevenly"),
    ],
)
def test_what_is_not_sure_is_said(past: Past | None, spec: dict[str, Any], said: str) -> None:
    assert any(said in each for each in planned(past, **spec).warnings)


def test_an_effect_that_cannot_be_is_refused() -> None:
    made = planned(baseline=Baseline(0.95))
    assert made.costs[FACTORS.index(1.0)] is None
    assert "cannot change by" in made.refusals[0]
    assert "nobody takes part" in planned(traffic="0%").refusals[0]


def test_holdout_and_traffic_leave_fewer_participants() -> None:
    test = load_abtest(abtest(traffic="50%", holdout="10%"))
    assert participants_a_day(test, 1000) == pytest.approx(450)


def test_the_slowest_arm_decides_with_unequal_weights() -> None:
    variants = [
        {"name": "red", "control": True, "weight": "90%"},
        {"name": "lime", "weight": "10%", "override": {"env": [{"name": "B", "value": "1"}]}},
    ]
    uneven = cost_of(load_abtest(abtest(variants=variants)), Baseline(0.081), 6000)
    even = cost_of(load_abtest(abtest()), Baseline(0.081), 6000)
    assert uneven is not None
    assert even is not None
    assert uneven.visitors == pytest.approx(uneven.sizing.variant_cap * 10, rel=0.01)
    assert uneven.visitors > 2 * even.visitors


def test_the_smallest_effect_takes_all_of_the_time() -> None:
    test = load_abtest(abtest())
    for days in (1, 7, 30):
        found = smallest_effect(test, Baseline(0.081), 6000, days)
        assert found is not None
        cost = cost_of(test, Baseline(0.081), 6000, found / 0.1)
        assert cost is not None
        assert cost.visitors == pytest.approx(6000 * days, rel=0.02)
    assert smallest_effect(test, Baseline(0.081), 1, 1) is None


def test_a_ratio_is_measured_by_its_two_sums() -> None:
    ratio = {"ratio": {"numerator": {"sum": "Order Completed.revenue"}, "denominator": {"count": "Order Completed"}}}
    test = load_abtest(abtest(metrics={"primary": {**ratio, "minimumEffect": "10%"}}))
    found = baseline_of(test, Past(4, 1.0, Sums(200.0, 30_000.0, 4.0, 8.0, 400.0)))
    assert found is not None
    assert found.value == 50
    assert found.variance == pytest.approx((30_000 - 100 * 400 + 2500 * 8) / 4)
    assert baseline_of(test, Past(4, 1.0)) is None
    assert baseline_of(test, Past()) is None


def test_the_window_is_what_is_left_of_schedule_campaign_and_maximum() -> None:
    held = campaign(
        schedule={"timeZone": "Asia/Shanghai", "startsAt": "2027-06-16T00:00:00", "endsAt": "2027-06-26T00:00:00"}
    )
    sale = load_campaign(held)
    test = load_abtest(abtest())
    assert window_of(test, None, NOW).limit == "decision.maximumDuration"
    found = window_of(test, sale, NOW)
    assert (found.length, found.limit) == (timedelta(days=10), "the end of the campaign")
    own = load_abtest(abtest(schedule={"startsAt": "2027-06-17T00:00:00", "endsAt": "2027-06-19T00:00:00"}))
    found = window_of(own, sale, NOW)
    assert (found.length, found.limit) == (timedelta(days=2), "schedule.endsAt")
    late = NOW + timedelta(days=30)
    assert window_of(own, sale, late).length == timedelta()
    assert "minimumDuration" in plan_of(own, sale, Past(1, 1.0), Baseline(0.1), late).refusals[0]
