"""Blue-green releases as parts of a Campaign: objects, edge, status, and an operator that dies at any write."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.campaign.world import KilledError, World, campaign

from flywheel.plan import ObjectKey
from flywheel.release.gate.measurement import Measurement, Outcome
from flywheel.release.revision import Configuration

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
SMOKE = {"name": "smoke", "http": {"path": "/check"}}
BAD = Measurement(Outcome.FAILURE, "answered 500, wanted 200")
RELEASE = {"strategy": "BlueGreen", "keepPrevious": "60s", "before": [SMOKE]}
EDGE = {"replicas": 2, "routes": [{"path": "/", "service": "web"}]}


def web(version: int = 1, **more: Any) -> dict[str, Any]:
    return {"name": "web", "image": f"shop/web:{version}", "port": 8080, "replicas": 3, "release": RELEASE, **more}


def given(edge: bool = False, **more: Any) -> World:
    spec: dict[str, Any] = {"services": [web(**more)]}
    if edge:
        spec["edge"] = EDGE
    world = World(campaign(spec))
    world.edge_pods = ("edge-1", "edge-2") if edge else ()
    play(world)
    return world


def play(world: World, now: datetime = NOW, rounds: int = 30) -> None:
    """Reconcile, and let pods and edge pods follow, until nothing is written any more."""
    quiet = 0
    for _ in range(rounds):
        before = (world.writes, world.findings)
        world.reconcile(now)
        follow(world)
        quiet = quiet + 1 if before == (world.writes, world.findings) else 0
        if quiet == 2:
            return
    raise AssertionError(f"does not come to rest: {json.dumps(world.status, indent=1)}")


def follow(world: World) -> None:
    world.pods_follow()
    if world.edge_pods:
        generation = json.loads(world.manifests[config("yougou-618-edge")]["data"]["edge.json"])["generation"]
        world.edge_says(**{name.replace("-", "_"): {"generation": generation} for name in world.edge_pods})
        key = ObjectKey("apps", "Deployment", "shop", "yougou-618-edge")
        assert world.children[key].replicas == 2


def config(name: str) -> ObjectKey:
    return ObjectKey("", "ConfigMap", "shop", name)


def selector(world: World, name: str = "yougou-618-web") -> dict[str, str]:
    found: dict[str, str] = world.manifests[ObjectKey("", "Service", "shop", name)]["spec"]["selector"]
    return found


def orders(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.manifests[config("yougou-618-edge")]["data"]["edge.json"])
    return found


def release(world: World) -> dict[str, Any]:
    found: dict[str, Any] = world.status["releases"][0]
    return found


def deployments(world: World) -> dict[str, str]:
    """Slots that there are, with the image of each."""
    return {
        key.name.rpartition("-")[2]: world.manifests[key]["spec"]["template"]["spec"]["containers"][0]["image"]
        for key in world.children
        if key.kind == "Deployment" and not key.name.endswith("-edge")
    }


def test_a_new_service_serves_from_the_blue_slot_and_has_an_address_for_each() -> None:
    world = given()
    assert deployments(world) == {"blue": "shop/web:1"}
    assert selector(world)["flywheel.dev/slot"] == "blue"
    assert selector(world, "yougou-618-web-green")["flywheel.dev/revision"] == "none"
    assert world.condition("Released")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"


def test_a_change_switches_service_edge_and_status_together() -> None:
    world = given(edge=True)
    assert orders(world)["live"]["active"] == {"web": "blue"}
    structure = {**orders(world), "live": None, "generation": None}
    world.edit(services=[web(2)])
    play(world)
    assert deployments(world) == {"blue": "shop/web:1", "green": "shop/web:2"}
    assert selector(world)["flywheel.dev/slot"] == "green"
    assert orders(world)["live"]["active"] == {"web": "green"}
    assert orders(world)["live"]["fallbacks"] == {"web": "blue"}
    assert {**orders(world), "live": None, "generation": None} == structure, "a release costs no reload"
    entry = world.status["services"][0]
    assert (entry["active"], entry["revision"]) == ("green", release(world)["active"]["revision"])
    assert world.notices.count("Promoted") == 1
    assert "GatePassed" in world.notices
    play(world, NOW + timedelta(seconds=61))
    assert deployments(world) == {"green": "shop/web:2"}


def test_a_bad_revision_is_a_condition_and_the_good_one_serves() -> None:
    world = given(edge=True)
    world.answers["smoke"] = BAD
    world.edit(services=[web(2)])
    play(world)
    said = world.condition("Released")
    assert (said["status"], said["reason"]) == ("False", "GateFailed")
    assert "smoke" in said["message"]
    assert world.condition("Stalled")["status"] == "True"
    assert world.condition("ServicesReady")["status"] == "True"
    assert orders(world)["live"]["active"] == {"web": "blue"}
    assert {"GateFailed", "ReleaseFailed"} <= set(world.notices)


def test_a_revision_can_be_looked_at_through_the_edge_before_it_serves() -> None:
    hosts = {"previewHosts": ["preview.shop.example"], "promotion": "Manual"}
    world = given(edge=True, release={**RELEASE, **hosts})
    world.edit(services=[web(2, release={**RELEASE, **hosts})])
    play(world)
    [preview] = orders(world)["live"]["previews"]
    assert preview == {
        "service": "web",
        "slot": "green",
        "revision": release(world)["preview"]["revision"],
        "hosts": ["preview.shop.example"],
    }
    assert world.condition("Ready")["reason"] == "AwaitingPromotion"


def test_size_changes_are_no_release() -> None:
    world = given()
    before = release(world)["active"]
    world.edit(services=[web(replicas=7, disruptionBudget={"maxUnavailable": 2})])
    play(world)
    assert release(world)["active"] == before
    assert world.size("web-blue") == 7


def test_size_and_image_may_change_together() -> None:
    world = given()
    world.edit(services=[web(2, replicas=7)])
    play(world)
    assert (deployments(world)["green"], world.size("web-green")) == ("shop/web:2", 7)


def test_the_autoscaler_belongs_to_the_active_slot_and_its_size_is_carried_over() -> None:
    scaling = {"min": 2, "max": 40, "metrics": [{"cpu": "60%"}]}
    service = web(autoscaling=scaling, resources={"requests": {"cpu": "1"}})
    del service["replicas"]
    world = World(campaign({"services": [service]}))
    play(world)
    key = ObjectKey("apps", "Deployment", "shop", "yougou-618-web-blue")
    world.children[key] = replace(world.children[key], replicas=23)
    world.pods_follow()
    world.edit(services=[{**service, "image": "shop/web:2"}])
    play(world)
    scaler = world.manifests[ObjectKey("autoscaling", "HorizontalPodAutoscaler", "shop", "yougou-618-web")]
    assert scaler["spec"]["scaleTargetRef"]["name"] == "yougou-618-web-green"
    assert world.size("web-green") == 23
    assert world.size("web-blue") == 23


def test_each_revision_keeps_its_configuration() -> None:
    settings = {"envFrom": [{"configMapRef": {"name": "settings"}}, {"secretRef": {"name": "keys"}}]}
    world = World(campaign({"services": [web(**settings)]}))
    world.configurations["ConfigMap", "settings"] = Configuration("ConfigMap", "settings", {"data": {"COLOUR": "red"}})
    world.configurations["Secret", "keys"] = Configuration(
        "Secret", "keys", {"data": {"KEY": "eA=="}, "type": "Opaque"}
    )
    play(world)
    [first] = [key for key in world.children if key.kind == "ConfigMap" and "settings" in key.name]
    assert any(key.kind == "Secret" and "keys" in key.name for key in world.children)
    world.configurations["ConfigMap", "settings"] = Configuration(
        "ConfigMap", "settings", {"data": {"COLOUR": "green"}}
    )
    play(world)
    assert release(world)["active"]["slot"] == "green", "a change of the configuration is a change"
    names = {slot: _container(world, slot)["envFrom"][0]["configMapRef"]["name"] for slot in ("blue", "green")}
    assert names["blue"] == first.name
    assert world.manifests[config(names["blue"])]["data"] == {"COLOUR": "red"}
    assert world.manifests[config(names["green"])]["data"] == {"COLOUR": "green"}
    assert first in world.children


def settings_with(colour: str) -> Configuration:
    return Configuration("ConfigMap", "settings", {"data": {"COLOUR": colour}})


def _container(world: World, slot: str) -> dict[str, Any]:
    key = ObjectKey("apps", "Deployment", "shop", f"yougou-618-web-{slot}")
    found: dict[str, Any] = world.manifests[key]["spec"]["template"]["spec"]["containers"][0]
    return found


def test_configuration_that_is_missing_is_named_and_what_serves_stays() -> None:
    world = given()
    world.edit(services=[web(envFrom=[{"configMapRef": {"name": "settings"}}])])
    play(world)
    said = world.condition("ContentReady")
    assert (said["status"], said["reason"]) == ("False", "ConfigurationMissing")
    assert "settings" in said["message"]
    assert deployments(world) == {"blue": "shop/web:1"}


def test_a_rolling_service_gets_slots_without_a_gap() -> None:
    rolling = {name: value for name, value in web().items() if name != "release"}
    world = World(campaign({"services": [rolling]}))
    play(world)
    assert deployments(world) == {"web": "shop/web:1"}
    world.edit(services=[web()])
    world.reconcile(NOW)
    assert deployments(world) == {"web": "shop/web:1", "blue": "shop/web:1"}
    assert "flywheel.dev/slot" not in selector(world)
    play(world)
    assert deployments(world) == {"blue": "shop/web:1"}
    assert selector(world)["flywheel.dev/slot"] == "blue"


def test_a_service_gives_up_its_slots_without_a_gap() -> None:
    world = given()
    world.edit(services=[{name: value for name, value in web().items() if name != "release"}])
    key = ObjectKey("apps", "Deployment", "shop", "yougou-618-web")
    world.reconcile(NOW)
    world.children[key] = replace(world.children[key], status={**world.children[key].status, "availableReplicas": 0})
    world.reconcile(NOW)
    assert set(deployments(world)) == {"web", "blue"}
    assert "flywheel.dev/slot" not in selector(world)
    world.children[key] = replace(world.children[key], status=world._ready(1, 3))
    play(world)
    assert set(deployments(world)) == {"web"}
    assert "releases" not in world.status


def test_a_second_reconcile_of_an_unchanged_world_writes_nothing() -> None:
    world = given(edge=True)
    world.edit(services=[web(2)])
    play(world)
    before = world.writes
    world.reconcile(NOW)
    world.reconcile(NOW)
    assert world.writes == before


def test_the_history_is_kept_as_long_as_it_is_asked_for() -> None:
    world = given(release={**RELEASE, "history": 2, "keepPrevious": "0s"})
    moment = NOW
    for version in range(2, 8):
        moment += timedelta(minutes=1)
        world.edit(services=[web(version, release={**RELEASE, "history": 2, "keepPrevious": "0s"})])
        play(world, moment)
    records = [key.name for key in world.children if key.kind == "ConfigMap" and key.name.startswith("yougou-618-web-")]
    assert len(records) == 3


def test_a_suspended_campaign_lets_its_second_slot_go() -> None:
    world = given(edge=True)
    world.edit(services=[web(2)])
    play(world)
    world.edit(schedule={"suspend": True})
    for _ in range(8):
        world.reconcile(NOW)
    assert {slot: world.size(f"web-{slot}") for slot in deployments(world)} == {"green": 0}


def test_a_deleted_campaign_leaves_nothing_in_the_middle_of_a_release() -> None:
    world = given(release={**RELEASE, "promotion": "Manual"})
    world.edit(services=[web(2, release={**RELEASE, "promotion": "Manual"})])
    play(world)
    assert len(deployments(world)) == 2
    world.delete()
    for _ in range(6):
        world.reconcile(NOW)
    assert world.gone
    assert not world.children


@pytest.mark.parametrize("verdict", ["good", "bad before", "bad after"])
def test_the_operator_may_die_at_any_write(verdict: str) -> None:
    """However often it dies: the same end, no gate measured twice after it has passed, none skipped."""
    gates = {**RELEASE, "after": [{"name": "errors", "http": {"path": "/check"}}]}
    bad = {"bad before": "smoke", "bad after": "errors"}.get(verdict)

    def world_before() -> World:
        world = given(edge=True, release=gates)
        if bad:
            world.answers[bad] = BAD
        world.edit(services=[web(2, release=gates)])
        return world

    undisturbed = world_before()
    play(undisturbed)
    expected = _essence(undisturbed)
    for budget in range(60):
        world = world_before()
        world.budget = budget
        deaths = 0
        try:
            play(world)
        except KilledError:
            deaths += 1
            # The next operator has only what is on objects.
            world.findings = type(world.findings)()
            world.budget = None
            play(world)
        assert _essence(world) == expected, f"died after {budget} writes"
        passed = [look for look in world.looks if look.gate == "smoke"]
        assert len(passed) <= 1 + deaths
        if not deaths:
            return
    raise AssertionError("the operator never came to its end alive")


def _essence(world: World) -> object:
    state = release(world)
    gates = [(each["name"], each.get("verdict"), each.get("measured")) for each in state.get("gates", [])]
    return state["phase"], state["active"]["slot"], gates, sorted(deployments(world).items()), selector(world)


@pytest.mark.parametrize(("gate", "tried"), [(SMOKE, True), ({"name": "smoke", "http": {"through": "Edge"}}, False)])
def test_with_an_edge_the_address_of_a_slot_is_tried_where_gates_come_by_it(gate: dict[str, Any], tried: bool) -> None:
    release = {**RELEASE, "before": [gate]}
    world = given(edge=True, release=release)
    world.edit(services=[web(2, release=release)])
    probed = []
    for _ in range(6):
        _, decision = world.decide(NOW)
        probed += decision.work.probing
        world.reconcile(NOW)
        follow(world)
    assert bool(probed) is tried
    assert {each.host for each in probed} <= {"yougou-618-web-green.shop.svc"}
