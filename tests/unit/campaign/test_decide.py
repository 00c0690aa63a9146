"""What is decided about a Campaign: given a Campaign and a world, when it is reconciled, then ..."""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.campaign.world import KilledError, World, campaign

from flywheel.campaign.decision import Course

SCHEDULED = "2027-06-01T00:00:00+08:00"
PREPARING = "2027-06-14T12:00:00+08:00"
WARM = "2027-06-15T23:45:00+08:00"
HELD = "2027-06-16T00:01:00+08:00"
LIVE = "2027-06-16T12:00:00+08:00"
DRAINING = "2027-06-19T00:05:00+08:00"
RETAINED = "2027-06-19T12:00:00+08:00"
RETIRED = "2027-06-21T00:00:00+08:00"
ALL = [SCHEDULED, PREPARING, WARM, HELD, LIVE, DRAINING, RETAINED, RETIRED]

SCHEDULE = {
    "timeZone": "Asia/Shanghai",
    "startsAt": "2027-06-16T00:00:00",
    "endsAt": "2027-06-19T00:00:00",
    "prepareFor": "48h",
    "warmFor": "30m",
    "holdFor": "15m",
    "drainFor": "10m",
    "retainFor": "24h",
}
CPU = {"requests": {"cpu": "100m"}}
SECKILL = {
    "name": "seckill",
    "image": "shop/seckill:1",
    "port": 8080,
    "resources": CPU,
    "replicas": 3,
    "autoscaling": {"min": 10, "max": 100, "warm": 40, "metrics": [{"cpu": "60%"}]},
}
CART = {"name": "cart", "image": "shop/cart:1", "port": 8080, "replicas": 2}
WORKER = {"name": "worker", "image": "shop/worker:1"}
PER_REACHED_SERVICE = ["Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


def world(**spec: Any) -> World:
    return World(campaign({"schedule": SCHEDULE, "services": [SECKILL, CART], **spec}))


def test_nothing_runs_before_its_time() -> None:
    it = world()
    it.settle(at(SCHEDULED))
    assert it.children == {}
    assert it.status["stage"] == "Scheduled"
    assert it.status["nextTransition"] == {"stage": "Preparing", "at": "2027-06-13T16:00:00Z"}
    assert it.condition("Ready")["status"] == "True"


def test_each_stage_has_its_size() -> None:
    it = world()
    sizes = {}
    for moment in ALL[1:-1]:
        it.settle(at(moment))
        sizes[it.status["stage"], moment] = (it.size("seckill"), it.size("cart"))
    assert list(sizes.values()) == [(3, 2), (40, 2), (40, 2), (40, 2), (3, 2), (0, 0)]
    assert [stage for stage, _ in sizes] == ["Preparing", "Warm", "Live", "Live", "Draining", "Retained"]


def test_the_warm_size_is_held_for_a_while_after_the_start_and_then_the_autoscaler_decides() -> None:
    def limits(moment: str) -> tuple[int, int]:
        it = world()
        _, decision = it.decide(at(moment))
        found = next(each for each in decision.plan.apply if each["kind"] == "HorizontalPodAutoscaler")
        return found["spec"]["minReplicas"], found["spec"]["maxReplicas"]

    assert [limits(each) for each in (PREPARING, WARM, HELD, LIVE, DRAINING)] == [
        (3, 100),
        (40, 100),
        (40, 100),
        (10, 100),
        (3, 3),
    ]


def test_the_end_of_the_hold_wakes_the_operator() -> None:
    _, decision = world().decide(at(HELD))
    assert decision.plan.wake_at == at("2027-06-16T00:15:00+08:00")


def test_an_autoscaled_deployment_never_names_its_replicas() -> None:
    for moment in (PREPARING, WARM, HELD, LIVE, DRAINING):
        _, decision = world().decide(at(moment))
        deployment = next(each for each in decision.plan.apply if each["metadata"]["name"] == "yougou-618-seckill"
                          and each["kind"] == "Deployment")  # fmt: skip
        assert "replicas" not in deployment["spec"]


def test_retired_is_said_when_nothing_is_left_and_a_report_stays() -> None:
    it = world()
    it.settle(at(LIVE))
    it.reconcile(at(RETIRED))
    assert it.kinds() == []
    assert it.status["stage"] == "Draining"
    it.settle(at(RETIRED))
    assert it.status["stage"] == "Retired"
    assert it.status["report"]["checkedResources"] == 70
    assert {each["kind"]: each["count"] for each in it.status["report"]["removed"]}["Deployment"] == 2
    assert [key.kind for key in it.children] == ["ConfigMap"]
    assert it.condition("Ready")["status"] == "True"


def test_a_campaign_with_nothing_in_the_cluster_does_not_need_the_operator_to_be_deleted() -> None:
    it = world()
    for moment in (SCHEDULED, LIVE, RETIRED):
        it.settle(at(moment))
        assert bool(it.manifest["metadata"].get("finalizers")) is (moment == LIVE)


def test_a_campaign_that_is_extended_after_its_end_comes_back() -> None:
    it = world()
    it.settle(at(RETIRED))
    it.edit(schedule={**SCHEDULE, "endsAt": "2027-07-01T00:00:00"})
    it.settle(at(RETIRED))
    assert it.status["stage"] == "Live"
    assert "Deployment" in it.kinds()
    assert "report" not in it.status


@pytest.mark.parametrize(
    ("change", "stage", "runs"),
    [
        ({"endsAt": "2027-06-25T00:00:00"}, "Live", True),
        ({"endsAt": "2027-06-16T11:55:00"}, "Draining", True),
        ({"endsAt": "2027-06-16T06:00:00"}, "Retained", True),
        ({"startsAt": "2027-06-18T00:00:00"}, "Preparing", True),
        ({"startsAt": "2027-06-18T00:00:00", "prepareFor": "1h"}, "Scheduled", False),
    ],
)
def test_a_changed_schedule_is_followed_at_once(change: dict[str, str], stage: str, runs: bool) -> None:
    it = world()
    it.settle(at(LIVE))
    it.edit(schedule={**SCHEDULE, **change})
    it.settle(at(LIVE))
    assert it.status["stage"] == stage
    assert ("Deployment" in it.kinds()) is runs


def test_suspended_is_zero_replicas_and_resumed_is_the_size_of_the_stage() -> None:
    it = world()
    it.settle(at(LIVE))
    it.edit(schedule={**SCHEDULE, "suspend": True})
    it.settle(at(LIVE))
    assert (it.size("seckill"), it.size("cart")) == (0, 0)
    assert "HorizontalPodAutoscaler" not in it.kinds()
    assert it.status["stage"] == "Live"
    assert it.condition("Suspended")["status"] == "True"
    assert it.condition("Ready")["status"] == "Unknown"
    it.edit(schedule={**SCHEDULE, "suspend": False})
    it.settle(at(LIVE))
    assert (it.size("seckill"), it.size("cart")) == (10, 2)
    assert [each for each in it.notices if each in ("Suspended", "Resumed")] == ["Suspended", "Resumed"]


def test_a_removed_service_takes_its_children_along() -> None:
    it = world()
    it.settle(at(LIVE))
    it.edit(services=[CART])
    it.settle(at(LIVE))
    assert it.kinds() == PER_REACHED_SERVICE
    assert len(it.status["inventory"]["entries"]) == len(PER_REACHED_SERVICE)


def test_a_deleted_child_is_made_again() -> None:
    it = world()
    it.settle(at(LIVE))
    before = set(it.children)
    it.children.popitem()
    it.settle(at(LIVE))
    assert set(it.children) == before


def test_a_spec_that_makes_no_sense_leaves_what_runs_alone_and_says_where() -> None:
    it = world()
    it.settle(at(LIVE))
    before = dict(it.children)
    it.edit(schedule={**SCHEDULE, "timeZone": "Asia/Peking"})
    it.settle(at(LIVE))
    assert it.children == before
    assert it.condition("Stalled")["status"] == "True"
    assert "spec.schedule.timeZone" in it.condition("Stalled")["message"]
    it.edit(schedule=SCHEDULE)
    it.settle(at(LIVE))
    assert it.condition("Stalled") == {}
    assert it.condition("Ready")["status"] == "True"


def test_deletion_takes_everything_along_also_with_a_broken_spec() -> None:
    it = world()
    it.settle(at(LIVE))
    it.edit(services="nonsense")
    it.delete()
    it.settle(at(LIVE))
    assert it.gone
    assert it.children == {}


def test_orphans_stay_and_are_let_go() -> None:
    it = world(deletionPolicy="Orphan")
    it.settle(at(LIVE))
    it.delete()
    _, decision = it.decide(at(LIVE))
    assert decision.course is Course.LET_GO
    assert set(decision.plan.release) == set(it.children)
    assert not decision.plan.finalizer


def test_one_owner_reference_lost_by_hand_saves_nothing_from_a_deletion() -> None:
    it = world()
    it.settle(at(LIVE))
    key = next(iter(it.children))
    it.children[key] = replace(it.children[key], owner_uid="")
    it.delete()
    _, decision = it.decide(at(LIVE))
    assert decision.course is Course.TEAR_DOWN
    it.children = {key: replace(live, owner_uid="") for key, live in it.children.items()}
    _, decision = it.decide(at(LIVE))
    assert decision.course is Course.LET_GO


def test_a_route_without_the_gateway_api_is_a_condition_and_is_picked_up_later() -> None:
    it = world(route={"parentRefs": [{"name": "public"}], "rules": [{"path": "/", "service": "cart"}]})
    it.served = False
    it.settle(at(LIVE))
    assert it.condition("RouteReady")["reason"] == "GatewayAPIMissing"
    assert "HTTPRoute" not in it.kinds()
    it.served = True
    it.settle(at(LIVE))
    assert "HTTPRoute" in it.kinds()


services = st.lists(
    st.sampled_from([SECKILL, CART, WORKER, {**CART, "name": "pay", "serviceAccountName": "till"}]),
    min_size=1,
    max_size=4,
    unique_by=lambda service: str(service["name"]),
)
moments = st.sampled_from(ALL)


@given(services=services, path=st.lists(moments, min_size=1, max_size=4))
def test_a_settled_world_is_left_alone(services: list[dict[str, Any]], path: list[str]) -> None:
    it = World(campaign({"schedule": SCHEDULE, "services": services}))
    for moment in path:
        it.settle(at(moment))
        assert it.decide(at(moment)) == it.decide(at(moment))
        before = it.writes
        it.reconcile(at(moment))
        assert it.writes == before


@given(services=services, first=moments, then=moments, kills=st.lists(st.integers(0, 8), max_size=6))
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_an_operator_killed_anywhere_changes_nothing_of_the_end(
    services: list[dict[str, Any]], first: str, then: str, kills: list[int]
) -> None:
    spec = {"schedule": SCHEDULE, "services": services}
    undisturbed, killed = World(campaign(spec)), World(campaign(spec))
    for moment in (first, then):
        undisturbed.settle(at(moment))
        for writes in kills:
            killed.budget = writes
            with suppress(KilledError):
                killed.reconcile(at(moment))
        killed.budget = None
        killed.settle(at(moment))
    assert killed.children.keys() == undisturbed.children.keys()
    assert killed.status["stage"] == undisturbed.status["stage"]
    assert killed.status["inventory"] == undisturbed.status["inventory"]


json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(spec=st.dictionaries(st.sampled_from(["schedule", "services", "route", "title", "deletionPolicy"]), json_values),
       status=st.dictionaries(st.sampled_from(["stage", "conditions", "inventory", "schedule", "report"]), json_values),
       moment=moments)  # fmt: skip
def test_no_spec_and_no_status_makes_it_crash(spec: dict[str, Any], status: dict[str, Any], moment: str) -> None:
    it = World({**campaign(spec), "status": status})
    it.reconcile(at(moment))
    it.delete()
    it.settle(at(moment))
    assert it.gone
