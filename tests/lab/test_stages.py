"""Stages by the clock on a real cluster, with schedules of seconds."""

import json
import time
from datetime import datetime
from itertools import pairwise

import pytest
from tests.lab.objects import Seen
from tests.lab.steps import (
    CART,
    SECKILL,
    Sale,
    World,
    eventually,
    given_campaign,
    in_seconds,
    live_schedule,
    then_it_is_live,
)

ALL = ["Scheduled", "Preparing", "Warm", "Live", "Draining", "Retained", "Retired"]


def instant(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def limits_seen(seen: list[Seen]) -> list[tuple[int, int]]:
    """The limits of an autoscaler in the order in which it had them, each once."""
    found = [(each.manifest["spec"]["minReplicas"], each.manifest["spec"]["maxReplicas"]) for each in seen]
    return [each for before, each in zip([None, *found], found, strict=False) if each != before]


def first_time(seen: list[Seen], minimum: int) -> float:
    return next(each.at for each in seen if each.manifest["spec"]["minReplicas"] == minimum)


def test_a_campaign_goes_through_all_its_stages_and_leaves_nothing_but_a_report(world: World) -> None:
    name = "yougou"
    with (
        world.objects.watching("HorizontalPodAutoscaler", f"{name}-seckill") as autoscaler,
        world.objects.watching("Deployment", f"{name}-seckill") as deployment,
    ):
        starts_at = in_seconds(7)
        ends_at = in_seconds(13)
        schedule = {"startsAt": starts_at, "endsAt": ends_at, "prepareFor": "5s", "warmFor": "3s", "holdFor": "3s"}
        sale = given_campaign(
            world, SECKILL, CART, name=name, schedule={**schedule, "drainFor": "3s", "retainFor": "3s"}
        )
        eventually(lambda: sale.stage, "Scheduled")
        assert sale.children() == {}
        assert sale.status["nextTransition"]["stage"] == "Preparing"
        eventually(lambda: sale.stage, "Live")
        head, row = world.kubectl("get", "cmp", name).splitlines()
        eventually(lambda: sale.stage, "Retired")

    assert sale.stages_passed == ALL
    planned = {each["stage"]: instant(each["at"]) for each in sale.status["schedule"]["transitions"]}
    reached = {each["stage"]: instant(each["at"]) for each in sale.status["transitions"]}
    assert [stage for stage in ALL[1:-1] if reached[stage] < planned[stage]] == []
    # Retired is said when the last pod and the last trace of it are gone; the other stages are a matter of the clock.
    assert {stage: reached[stage] - planned[stage] for stage in ALL[1:-1] if reached[stage] - planned[stage] > 3} == {}

    assert limits_seen(autoscaler) == [(2, 6), (5, 6), (3, 6), (2, 2)]
    assert first_time(autoscaler, 5) < instant(starts_at)
    assert first_time(autoscaler, 3) >= instant(starts_at) + 3
    assert deployment[-1].type == "DELETED"
    assert deployment[-1].manifest["spec"]["replicas"] == 0

    assert head.split() == ["NAME", "STAGE", "READY", "STARTS", "ENDS", "NEXT", "GOAL", "AGE"]
    assert row.split()[:2] == [name, "Live"]
    assert row.split()[3:5] == [starts_at, ends_at]
    then_there_is_one_event_for_each_transition(sale)
    then_the_report_stays(sale)
    assert sale.left() == []


def then_there_is_one_event_for_each_transition(sale: Sale) -> None:
    said = [(type_, reason, note.partition(";")[0]) for type_, reason, note in sale.events() if reason in ALL]
    notes = ["Scheduled", *(f"{before} -> {after}" for before, after in pairwise(ALL))]
    assert said == [("Normal", stage, note) for stage, note in zip(ALL, notes, strict=True)]


def then_the_report_stays(sale: Sale) -> None:
    report = sale.status["report"]
    counts = {each["kind"]: each["count"] for each in report["removed"]}
    assert counts["Deployment"] == 2
    assert report["remaining"] == 0
    assert report["checkedResources"] > 30
    config_map = eventually(lambda: sale.objects.read("ConfigMap", f"{sale.name}-report"), lambda found: bool(found))
    kept = json.loads(config_map["data"]["report.json"])
    assert kept["teardown"]["finishedAt"] == report["finishedAt"]
    assert kept["teardown"]["checkedResources"] == report["checkedResources"]
    assert config_map["metadata"]["labels"]["flywheel.dev/report-of"] == sale.name
    assert "flywheel.dev/campaign" not in config_map["metadata"]["labels"]


def test_a_retired_campaign_takes_its_report_along_when_it_is_deleted(world: World) -> None:
    sale = given_campaign(world, schedule={"endsAt": in_seconds(-10), "drainFor": "0s"})
    eventually(lambda: (sale.stage, world.objects.get("ConfigMap", f"{sale.name}-report") is None), ("Retired", False))
    assert sale.stages_passed == ["Retired"]
    sale.delete()
    eventually(lambda: sale.exists, False)
    eventually(lambda: world.objects.get("ConfigMap", f"{sale.name}-report"), None)


def test_a_campaign_without_a_schedule_is_live_until_it_is_deleted(world: World) -> None:
    sale = given_campaign(world)
    then_it_is_live(sale)
    assert "nextTransition" not in sale.status
    eventually(lambda: sale.said("Ready"), ("True", "Live"))


def test_extending_a_live_campaign_moves_its_end(world: World) -> None:
    sale = given_campaign(world, schedule=live_schedule())
    then_it_is_live(sale)
    later = in_seconds(7200)
    sale.reschedule(endsAt=later)
    eventually(lambda: sale.status["nextTransition"], {"stage": "Draining", "at": later})
    assert sale.stages_passed == ["Live"]


def test_shortening_a_live_campaign_ends_it_at_the_new_end(world: World) -> None:
    sale = given_campaign(world, schedule=live_schedule(drainFor="1h"))
    then_it_is_live(sale)
    soon = in_seconds(2)
    sale.reschedule(endsAt=soon)
    eventually(lambda: sale.stage, "Draining")
    assert sale.stages_passed == ["Live", "Draining"]
    assert instant(sale.status["transitions"][-1]["at"]) >= instant(soon)


@pytest.mark.parametrize(
    ("changes", "stage"),
    [
        ({"drainFor": "1h"}, "Draining"),
        ({"drainFor": "1s", "retainFor": "1h"}, "Retained"),
        ({"drainFor": "1s", "retainFor": "1s"}, "Retired"),
    ],
)
def test_an_end_in_the_past_ends_a_live_campaign_early(world: World, changes: dict[str, str], stage: str) -> None:
    sale = given_campaign(world, schedule=live_schedule(**changes))
    then_it_is_live(sale)
    sale.reschedule(endsAt=in_seconds(-20))
    eventually(lambda: sale.stage, stage)
    assert sale.has("Deployment", "cart") is (stage != "Retired")


def test_a_start_moved_into_the_future_takes_everything_back_until_then(world: World) -> None:
    sale = given_campaign(world, schedule=live_schedule())
    then_it_is_live(sale)
    sale.reschedule(startsAt=in_seconds(1800))
    eventually(lambda: (sale.stage, sale.children()), ("Scheduled", {}))
    assert sale.status["nextTransition"]["stage"] == "Preparing"
    eventually(lambda: sale.said("Ready"), ("True", "Scheduled"))
    sale.reschedule(startsAt=in_seconds(-30))
    eventually(lambda: (sale.stage, sale.has("Deployment", "cart")), ("Live", True))


def test_a_suspended_campaign_has_no_pods_and_the_clock_goes_on(world: World) -> None:
    sale = given_campaign(world, SECKILL, schedule=live_schedule(retainFor="1h", drainFor="3s"))
    then_it_is_live(sale)
    eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 3)
    sale.reschedule(suspend=True)
    eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 0)
    eventually(lambda: sale.has("HorizontalPodAutoscaler", "seckill"), False)
    eventually(lambda: sale.said("Suspended"), ("True", "SuspendedBySpec"))
    eventually(lambda: sale.said("Ready"), ("Unknown", "Suspended"))
    assert sale.stage == "Live"

    sale.reschedule(suspend=None)
    eventually(lambda: sale.limits("seckill"), (3, 6))
    eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 3)
    eventually(lambda: sale.condition("Suspended"), {})
    assert [reason for _, reason, _ in sale.events() if reason in ("Suspended", "Resumed")] == ["Suspended", "Resumed"]

    sale.reschedule(suspend=True, endsAt=in_seconds(1))
    eventually(lambda: sale.stage, "Retained")
    assert sale.stages_passed == ["Live", "Draining", "Retained"]


def test_a_retired_campaign_that_is_extended_comes_back(world: World) -> None:
    sale = given_campaign(world, schedule=live_schedule(endsAt=in_seconds(1), drainFor="0s"))
    eventually(lambda: (sale.stage, world.objects.get("ConfigMap", f"{sale.name}-report") is None), ("Retired", False))
    sale.reschedule(endsAt=in_seconds(3600))
    eventually(lambda: (sale.stage, sale.has("Deployment", "cart")), ("Live", True))
    eventually(lambda: "report" in sale.status, False)
    eventually(lambda: world.objects.get("ConfigMap", f"{sale.name}-report"), None)
    sale.reschedule(endsAt=in_seconds(-10))
    eventually(lambda: (sale.stage, sale.children()), ("Retired", {}))
    eventually(lambda: world.objects.get("ConfigMap", f"{sale.name}-report"), lambda found: found is not None)


def test_a_campaign_may_be_changed_and_pass_stages_while_the_operator_is_down(world: World) -> None:
    schedule = live_schedule(drainFor="1s", retainFor="1h")
    ending = given_campaign(world, schedule={**schedule, "endsAt": in_seconds(4)})
    lasting = given_campaign(world, schedule=schedule)
    then_it_is_live(ending)
    eventually(lambda: lasting.said("Ready"), ("True", "Live"))
    before = lasting.versions()

    world.operator.kill()
    lasting_again = given_campaign(world, schedule=schedule)
    ending_at = instant(ending.manifest["spec"]["schedule"]["endsAt"])
    eventually(lambda: time.time() > ending_at + 1.5)
    assert ending.stage == "Live"
    world.operator.start()

    eventually(lambda: ending.stage, "Retained")
    assert ending.stages_passed == ["Live", "Retained"]
    then_it_is_live(lasting_again)
    assert lasting.versions() == before


def test_stages_are_exact_after_a_restart_in_the_middle(world: World) -> None:
    schedule = {"startsAt": in_seconds(8), "prepareFor": "7s", "warmFor": "3s"}
    sale = given_campaign(world, SECKILL, schedule=schedule)
    eventually(lambda: sale.stage, "Preparing")
    assert world.operator.stop() == 0
    world.operator.start()
    eventually(lambda: sale.limits("seckill"), (5, 6))
    eventually(lambda: sale.stage, "Live")
    assert sale.stages_passed == ["Scheduled", "Preparing", "Warm", "Live"]
    planned = {each["stage"]: instant(each["at"]) for each in sale.status["schedule"]["transitions"]}
    for each in sale.status["transitions"]:
        assert instant(each["at"]) >= planned.get(each["stage"], 0)
