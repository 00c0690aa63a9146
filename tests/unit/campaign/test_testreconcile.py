"""The reconcile of an A/B test: from the first look at its Campaign to a verdict, over a store that counts visitors."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.campaign.test_variants import abtest, landing
from tests.unit.campaign.world import answered, campaign

from flywheel.campaign.testreconcile import ABTestReconciler
from flywheel.experiment.asking import Answers, NotAsked, Question, Step
from flywheel.experiment.report_model import read_report
from flywheel.insight.arm_sums import PartFigures
from flywheel.insight.arms import ArmFigures, Sums
from flywheel.plan import LiveObject, Manifest, Notice, ObjectKey

EDGE = {"replicas": 1, "events": {"declared": [{"name": "Coupon Claimed"}]}}
NOON = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
VARIANT = ObjectKey("apps", "Deployment", "shop", "yougou-618-web-green-button")


class Stage:
    """A namespace with one Campaign and its tests, a clock, a store, and a gateway that keeps what is written."""

    def __init__(self, *tests: Manifest, edge: bool = True, **spec: Any) -> None:
        body: dict[str, Any] = {"services": [landing()], **({"edge": EDGE} if edge else {}), **spec}
        self.held: Manifest | None = {**campaign(body), "status": {"stage": "Live"}}
        self.tests = {each["metadata"]["name"]: each for each in tests}
        self.pods = 1
        self.now = NOON
        self.arms: Mapping[str, ArmFigures] | str = {}
        self.causes: dict[str, dict[str, dict[str, int]]] = {}
        self.reports: dict[str, Manifest] = {}
        self.series: list[Step] = []
        self.batches: list[dict[str, PartFigures]] = []
        self.asked: list[tuple[datetime, datetime]] = []
        self.events: list[Notice] = []
        self.writes = 0
        self.reconciler = ABTestReconciler(self, self, self, clock=lambda: self.now)  # type: ignore[arg-type]

    def test(self, namespace: str, name: str) -> Manifest | None:
        return self.tests.get(name)

    def tests_of(self, namespace: str, name: str) -> tuple[Manifest, ...]:
        return tuple(self.tests.values())

    def campaign(self, namespace: str, name: str) -> Manifest | None:
        return self.held

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        status = {"availableReplicas": self.pods}
        return {VARIANT: LiveObject(VARIANT, "uid", 1, 1, "yougou-618", "", "", "", False, status=status)}

    def put_test(self, manifest: Manifest) -> None:
        self.tests[manifest["metadata"]["name"]] = manifest

    async def get(self, key: ObjectKey) -> Manifest | None:
        return self.reports.get(key.name)

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        self.writes += 1
        if body["kind"] == "ConfigMap":
            self.reports[body["metadata"]["name"]] = body
            return body
        held = self.tests[body["metadata"]["name"]]
        return {**held, "status": answered(body["status"])}

    async def record_event(self, involved: Manifest, notice: Notice, now: datetime) -> None:
        self.events.append(notice)

    async def ask(self, question: Question) -> Answers:
        self.asked.append((question.since, question.until))
        if isinstance(self.arms, str):
            raise NotAsked(self.arms)
        return Answers(
            dict(self.arms),
            batches=self.batches if question.batches else [],
            series=self.series if question.steps else [],
            causes=self.causes,
        )

    async def step(self, after: float = 15.0, name: str = "button") -> dict[str, Any]:
        self.now += timedelta(seconds=after)
        await self.reconciler.reconcile("shop", name)
        return self.tests[name]["status"]


def new(name: str = "button", **spec: Any) -> Manifest:
    test = abtest(name, **spec)
    created = {"creationTimestamp": "2027-06-16T11:00:00Z", "generation": 1}
    return {**test, "metadata": {**test["metadata"], **created}, "status": {}}


def share(visitors: int, converted: int) -> ArmFigures:
    return ArmFigures(visitors=visitors, outcomes=(Sums(y=float(converted), yy=float(converted)),))


async def test_from_the_first_visitor_to_a_verdict() -> None:
    stage = Stage(new(decision={"minimumDuration": "1m"}))
    status = await stage.step()
    assert (status["state"], status["record"]["salt"]) == ("Running", "uid-of-the-test")
    stage.arms = {"red": share(150, 8), "green-button": share(160, 9)}
    status = await stage.step()
    assert (status["visitors"], status["record"].get("sizing")) == (310, None), "too few to tell how many are needed"
    stage.arms = {"red": share(1000, 50), "green-button": share(1010, 55)}
    status = await stage.step()
    assert status["record"]["sizing"]["baseline"] == 0.05
    assert [each["name"] for each in status["variants"]] == ["red", "green-button"]
    stage.arms = {"red": share(20_000, 1000), "green-button": share(20_100, 1500)}
    status = await stage.step(60)
    assert status["state"] == "Decided"
    assert (status["decision"]["verdict"], status["decision"]["winner"]) == ("Ship", "green-button")
    assert status["variants"][1]["estimate"] == "+49.3%"
    assert [each.reason for each in stage.events] == ["Running", "Decided"]
    assert {since for since, _ in stage.asked} == {NOON + timedelta(seconds=15)}


async def test_a_world_that_does_not_change_is_not_written_to() -> None:
    stage = Stage(new())
    stage.held = {**campaign({"services": [landing()], "edge": EDGE}), "status": {"stage": "Preparing"}}
    status = await stage.step()
    assert status["record"]["reason"] == "NotYet"
    written = stage.writes
    await stage.step()
    assert stage.writes == written


async def test_a_test_that_runs_is_written_to_when_it_is_looked_at_and_not_in_between() -> None:
    stage = Stage(new(metrics={"primary": {"event": "Coupon Claimed", "minimumEffect": "10%"}}))
    stage.arms = {"red": share(100, 5), "green-button": share(100, 5)}
    for _ in range(2):
        status = await stage.step()
    assert status["record"]["segments"], "the record has lists"
    written = stage.writes
    await stage.step(1)
    await stage.step(1)
    assert stage.writes == written


async def test_figures_are_looked_at_every_fifteen_seconds_and_not_more_often() -> None:
    stage = Stage(new(metrics={"primary": {"event": "Coupon Claimed", "minimumEffect": "10%"}}))
    stage.arms = {"red": share(100, 5), "green-button": share(100, 5)}
    await stage.step()
    for _ in range(4):
        await stage.step(5)
    assert len(stage.asked) == 2


async def test_without_figures_there_is_no_decision_and_visitors_stay_where_they_are() -> None:
    stage = Stage(new())
    await stage.step()
    stage.arms = "the event store at http://worker could not be asked: nobody there"
    status = await stage.step()
    assert (status["state"], status["record"]["reason"]) == ("Running", "FiguresUnavailable")
    assert "nobody there" in status["record"]["message"]


@pytest.mark.parametrize(
    ("spec", "edge", "says"),
    [
        ({"service": "pay"}, True, "has no such service: correct the name"),
        ({}, False, "add spec.edge to Campaign"),
    ],
)
async def test_what_does_not_fit_its_campaign_is_said_with_the_field(spec: Any, edge: bool, says: str) -> None:
    stage = Stage(new(**spec), edge=edge)
    status = await stage.step()
    assert status["state"] == "Waiting"
    stalled = next(each for each in status["conditions"] if each["type"] == "Stalled")
    assert says in stalled["message"]
    assert stalled["message"].startswith("spec.")


async def test_without_a_campaign_it_waits() -> None:
    stage = Stage(new())
    stage.held = None
    status = await stage.step()
    assert "there is no Campaign yougou-618" in status["record"]["message"]


async def test_of_two_tests_that_fight_the_younger_gives_way() -> None:
    younger = new("another")
    younger["metadata"]["creationTimestamp"] = "2027-06-16T11:30:00Z"
    stage = Stage(new(), younger)
    assert (await stage.step())["state"] == "Running"
    status = await stage.step(name="another")
    assert (status["state"], status["record"]["reason"]) == ("Waiting", "InvalidTest")
    assert "as those of a variant of ABTest button" in status["record"]["message"]


async def test_a_spec_that_no_model_takes_is_stalled_and_what_stood_stays() -> None:
    stage = Stage(new())
    await stage.step()
    stage.tests["button"]["spec"]["variants"][0]["weight"] = "40%"
    stage.tests["button"]["metadata"]["generation"] = 2
    status = await stage.step()
    assert status["state"] == "Running"
    assert (
        "must add up to exactly 100%"
        in next(each for each in status["conditions"] if each["type"] == "Stalled")["message"]
    )


async def test_a_guardrail_that_breaks_before_the_size_is_known_ends_it_at_once() -> None:
    metrics = {
        "primary": {"event": "Coupon Claimed", "minimumEffect": "10%"},
        "guardrails": [{"errors": True, "maxIncrease": "1%"}],
    }
    stage = Stage(new(metrics=metrics))
    await stage.step()
    broken = Sums(y=150.0, yy=150.0, x=300.0, xx=300.0, xy=150.0)
    clean = Sums(y=0.0, yy=0.0, x=300.0, xx=300.0, xy=0.0)
    stage.arms = {
        "red": ArmFigures(visitors=300, outcomes=(Sums(y=3, yy=3),), requests=clean, requesters=300),
        "green-button": ArmFigures(visitors=300, outcomes=(Sums(y=3, yy=3),), requests=broken, requesters=300),
    }
    status = await stage.step()
    assert (status["state"], status["decision"]["verdict"]) == ("Decided", "StoppedByGuardrail")
    assert "sizing" not in status["record"]
    assert list(status["record"]["withdrawn"]) == ["green-button"]


async def test_a_sample_ratio_that_does_not_hold_ends_it_and_names_where_it_comes_from() -> None:
    stage = Stage(new(decision={"minimumDuration": "0s"}))
    await stage.step()
    stage.arms = {"red": share(20_000, 1000), "green-button": share(17_000, 850)}
    stage.causes = {
        "browser": {
            "Chrome": {"red": 15_000, "green-button": 15_010},
            "Safari": {"red": 5000, "green-button": 1990},
        }
    }
    status = await stage.step()
    assert (status["state"], status["decision"]["verdict"]) == ("Decided", "Invalid")
    ratio = status["checks"]["sampleRatio"]
    assert ratio["verdict"] == "Violated"
    assert ratio["hint"].startswith("browser Safari has red 71.5%, green-button 28.5%, and without it all is as it")


async def test_other_weights_on_the_way_are_no_mismatch() -> None:
    stage = Stage(new(decision={"minimumDuration": "0s"}))
    await stage.step()
    stage.tests["button"]["spec"]["variants"][0]["weight"] = "20%"
    stage.tests["button"]["spec"]["variants"][1]["weight"] = "80%"
    stage.tests["button"]["metadata"]["generation"] = 2
    stage.arms = {"red": share(1000, 50), "green-button": share(1000, 50)}
    status = await stage.step()
    assert [each["weights"]["red"] for each in status["record"]["stretches"]] == [5000, 2000]
    stage.arms = {"red": share(3000, 150), "green-button": share(9000, 450)}
    part = {name: PartFigures(1000, Sums()) for name in stage.arms}
    rest = {"red": PartFigures(2000, Sums()), "green-button": PartFigures(8000, Sums())}
    stage.batches = [part, rest]
    status = await stage.step()
    assert (status["state"], status["checks"]["sampleRatio"]["verdict"]) == ("Running", "Holds")


async def test_a_bandit_sends_new_visitors_where_it_is_better_and_decides_by_its_batches() -> None:
    stage = Stage(new(statistics={"method": "Bandit"}, decision={"minimumDuration": "0s"}))
    await stage.step()
    batches: list[dict[str, PartFigures]] = []
    status: dict[str, Any] = {}
    for _ in range(40):
        weights = stage.tests["button"]["status"]["record"]["stretches"][-1]["weights"]
        new_visitors = {name: weights[name] * 2 for name in ("red", "green-button")}
        batches = batches[: len(stage.tests["button"]["status"]["record"]["stretches"]) - 1]
        batches.append(
            {
                name: PartFigures(count, Sums(y=count * chance, yy=count * chance))
                for (name, count), chance in zip(new_visitors.items(), (0.05, 0.075), strict=True)
            }
        )
        stage.batches = batches
        totals = {name: sum(each[name].visitors for each in batches) for name in new_visitors}
        converted = {name: sum(each[name].sums.y for each in batches) for name in new_visitors}
        stage.arms = {name: share(totals[name], round(converted[name])) for name in new_visitors}
        status = await stage.step(60)
        if status["state"] != "Running":
            break
    assert (status["state"], status["decision"]["verdict"], status["decision"]["winner"]) == (
        "Decided",
        "Ship",
        "green-button",
    )
    assert status["record"]["stretches"][-1]["weights"]["green-button"] > 8000
    assert status["checks"]["sampleRatio"]["verdict"] == "Holds"


async def test_the_report_is_kept_with_the_course_of_the_test_also_when_the_store_has_gone() -> None:
    stage = Stage(new(decision={"minimumDuration": "1m", "promote": "Manual"}))
    await stage.step()
    for visitors in (5000, 10_000):
        arms = {"red": PartFigures(visitors, Sums(y=visitors * 0.05, yy=visitors * 0.05))}
        arms["green-button"] = PartFigures(visitors, Sums(y=visitors * 0.06, yy=visitors * 0.06))
        at = int((NOON + timedelta(seconds=visitors / 100)).timestamp() * 1000)
        stage.series.append(Step(at, arms))
    stage.arms = {"red": share(10_000, 500), "green-button": share(10_000, 600)}
    status = await stage.step(120)
    assert status["report"] == "button-abtest-report"
    kept = read_report(stage.reports["button-abtest-report"]["data"]["report.json"])
    assert [each.arms["red"].visitors for each in kept.looks] == [5000, 10_000]
    last = kept.looks[-1].variants["green-button"]
    assert last.lift == pytest.approx(0.2)
    assert last.lift_lower is not None
    assert last.lift_upper is not None
    assert last.lift_lower < 0.2 < last.lift_upper
    assert kept.notes[0].startswith("The test ran for 0.0 days, so not every day of the week is in it")
    # The campaign ends, and its store with it: what was kept stays, and the report says how the test ended.
    assert stage.held is not None
    stage.held["status"]["stage"] = "Retained"
    stage.arms = "nobody there"
    assert (await stage.step(60))["record"]["reason"] == "FiguresUnavailable"
    status = await stage.step(301)
    assert status["state"] == "Stopped"
    kept = read_report(stage.reports["button-abtest-report"]["data"]["report.json"])
    assert (kept.state, len(kept.looks)) == ("Stopped", 2)
    assert kept.decision is not None
    assert kept.decision.verdict == "Inconclusive"


async def test_a_report_is_not_written_at_each_look() -> None:
    stage = Stage(new())
    await stage.step()
    stage.arms = {"red": share(1000, 50), "green-button": share(1010, 55)}
    written = 0
    for _ in range(40):
        before = stage.reports.get("button-abtest-report")
        await stage.step()
        written += stage.reports.get("button-abtest-report") is not before
    assert 8 <= written <= 12, "once a minute in ten minutes"


async def test_a_test_whose_campaign_is_deleted_is_over() -> None:
    stage = Stage(new())
    await stage.step()
    stage.held = None
    status = await stage.step()
    assert (status["state"], status["record"]["reason"]) == ("Stopped", "OutOfTime")
    assert status["decision"]["reason"] == "No verdict: the campaign is gone."
    assert status["report"] == "button-abtest-report"
