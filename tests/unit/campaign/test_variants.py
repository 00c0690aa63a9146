"""A/B tests as parts of a Campaign: pods of variants, backends and buckets at the edge, from start to end."""

import json
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.campaign.test_releasing import EDGE, NOW, RELEASE, config, play
from tests.unit.campaign.world import World, campaign

from flywheel.plan import ObjectKey

SALT = "uid-of-the-test"


def landing(**more: Any) -> dict[str, Any]:
    env = [{"name": "BUTTON", "value": "red"}, {"name": "REGION", "value": "cn"}]
    return {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3, "env": env, **more}


def abtest(name: str = "button", state: str = "Waiting", **more: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"state": state} | ({"salt": SALT, "startedAt": "2027-06-16T00:00:00Z"})
    override = {"env": [{"name": "BUTTON", "value": "green"}, {"name": "NEW", "value": "1"}]}
    spec: dict[str, Any] = {
        "campaign": "yougou-618",
        "service": "web",
        "traffic": "50%",
        "variants": [
            {"name": "red", "control": True, "weight": "50%"},
            {"name": "green-button", "weight": "50%", "override": override, "replicas": 2},
        ],
        "metrics": {"primary": {"event": "Coupon Claimed", "minimumEffect": "10%"}},
    }
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "ABTest",
        "metadata": {"name": name, "namespace": "shop", "uid": SALT, "resourceVersion": "1"},
        "spec": {**spec, **more},
        "status": {"test": record},
    }


def given(*tests: dict[str, Any], **service: Any) -> World:
    world = World(campaign({"services": [landing(**service)], "edge": EDGE}))
    world.edge_pods = ("edge-1", "edge-2")
    world.tests = tests
    play(world)
    return world


def orders(world: World) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(world.manifests[config("yougou-618-edge")]["data"]["edge.json"])
    return found


def variant(name: str = "green-button") -> ObjectKey:
    return ObjectKey("apps", "Deployment", "shop", f"yougou-618-web-{name}")


def ready(world: World, pods: int) -> None:
    live = world.children[variant()]
    world.children[variant()] = replace(live, status={**live.status, "availableReplicas": pods})


def test_a_variant_has_pods_and_an_address_of_its_own_before_it_has_visitors() -> None:
    world = given(abtest())
    template = world.manifests[variant()]["spec"]["template"]["spec"]["containers"][0]
    assert (template["name"], template["image"]) == ("web", "shop/web:1")
    assert {each["name"]: each["value"] for each in template["env"]} == {"BUTTON": "green", "REGION": "cn", "NEW": "1"}
    assert world.manifests[variant()]["spec"]["replicas"] == 2
    assert ObjectKey("", "Service", "shop", "yougou-618-web-green-button") in world.children
    backends = {each.get("slot", ""): each["service"] for each in orders(world)["services"][0]["backends"]}
    assert backends == {"": "yougou-618-web", "green-button": "yougou-618-web-green-button"}
    assert orders(world)["live"].get("tests", []) == []


def test_a_test_that_runs_sends_its_share_of_visitors_by_bucket() -> None:
    world = given(abtest(state="Running"))
    (test,) = orders(world)["live"]["tests"]
    assert (test["name"], test["service"], test["salt"]) == ("button", "web", SALT)
    assert test["ranges"] == [
        {"variant": "red", "slot": "", "start": 0, "end": 2500},
        {"variant": "green-button", "slot": "green-button", "start": 5000, "end": 7500},
    ]


def test_control_follows_the_active_slot_of_a_release() -> None:
    world = given(abtest(state="Running"), release=RELEASE)
    assert orders(world)["live"]["tests"][0]["ranges"][0]["slot"] == "blue"
    world.edit(services=[landing(image="shop/web:2", release=RELEASE)])
    play(world)
    assert orders(world)["live"]["tests"][0]["ranges"][0]["slot"] == "green"
    assert world.manifests[variant()]["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/web:2"


def test_a_variant_without_pods_takes_no_visitors_until_it_has_some_again() -> None:
    world = given(abtest(state="Running"))
    ready(world, 0)
    world.reconcile(NOW)
    assert [each["variant"] for each in orders(world)["live"]["tests"][0]["ranges"]] == ["red"]
    ready(world, 1)
    world.reconcile(NOW)
    assert [each["variant"] for each in orders(world)["live"]["tests"][0]["ranges"]] == ["red", "green-button"]


@pytest.mark.parametrize("state", ["Waiting", "Paused", "Decided"])
def test_who_waits_sends_nobody_and_keeps_its_pods(state: str) -> None:
    world = given(abtest(state=state))
    assert orders(world)["live"].get("tests", []) == []
    assert variant() in world.children


def test_a_withdrawn_variant_goes_with_all_it_has() -> None:
    world = given(abtest(state="Running"))
    test = abtest(state="Running")
    test["status"]["test"]["withdrawn"] = ["green-button"]
    world.tests = (test,)
    play(world)
    assert variant() not in world.children
    assert [each["variant"] for each in orders(world)["live"]["tests"][0]["ranges"]] == ["red"]


@pytest.mark.parametrize("state", ["Promoted", "Stopped", "Failed"])
def test_a_test_that_has_ended_leaves_nothing(state: str) -> None:
    world = given(abtest(state="Running"))
    world.tests = (abtest(state=state),)
    play(world)
    assert variant() not in world.children
    assert len(orders(world)["services"][0]["backends"]) == 1
    assert orders(world)["live"].get("tests", []) == []


def test_a_test_that_is_deleted_leaves_nothing() -> None:
    world = given(abtest(state="Running"))
    world.tests = ()
    play(world)
    assert variant() not in world.children


def test_who_began_first_keeps_its_visitors_and_no_more_than_three_run_at_once() -> None:
    tests = []
    for number in range(4):
        test = abtest(f"test-{number}", state="Running")
        test["spec"]["variants"][1] = {**test["spec"]["variants"][1], "name": f"v{number}"}
        test["status"]["test"]["startedAt"] = f"2027-06-16T0{9 - number}:00:00Z"
        tests.append(test)
    world = given(*tests)
    assert [each["name"] for each in orders(world)["live"]["tests"]] == ["test-3", "test-2", "test-1"]


def test_a_test_that_makes_no_sense_changes_nothing() -> None:
    bad = abtest(state="Running", service="nowhere")
    world = given(bad, {**abtest("other"), "spec": {}})
    assert orders(world)["live"].get("tests", []) == []
    assert not any("green" in key.name for key in world.children)


def decided(promote: str, **metadata: Any) -> dict[str, Any]:
    test = abtest(state="Decided", decision={"promote": promote})
    test["metadata"] |= metadata
    conclusion = {"verdict": "Ship", "at": "2027-06-16T10:00:00Z", "sentence": "so", "winner": "green-button"}
    test["status"]["test"]["decision"] = conclusion
    return test


def running(world: World, name: str = "yougou-618-web") -> dict[str, str]:
    template = world.manifests[ObjectKey("apps", "Deployment", "shop", name)]["spec"]["template"]
    return {each["name"]: each["value"] for each in template["spec"]["containers"][0]["env"]}


@pytest.mark.parametrize(
    "how", [{"promote": "Automatic"}, {"promote": "Manual", "annotations": {"flywheel.dev/promote": ""}}]
)
def test_the_winner_becomes_what_the_service_runs(how: dict[str, Any]) -> None:
    world = given(abtest(state="Running"))
    assert running(world)["BUTTON"] == "red"
    world.tests = (decided(**how),)
    play(world)
    assert running(world) == {"BUTTON": "green", "REGION": "cn", "NEW": "1"}
    assert world.status["winners"] == [{"service": "web", "test": "button", "variant": "green-button", "serves": True}]
    assert orders(world)["live"]["tests"], "who sees the winner goes on to see it"


def test_a_winner_is_released_through_the_gates_of_the_service() -> None:
    world = given(abtest(state="Running"), release=RELEASE)
    world.tests = (decided("Automatic"),)
    world.looks.clear()
    play(world)
    assert [each.gate for each in world.looks] == ["smoke"]
    assert running(world, "yougou-618-web-green")["BUTTON"] == "green"
    assert world.status["winners"][0]["serves"] is True


def test_without_a_word_of_a_person_nothing_is_promoted() -> None:
    world = given(decided("Manual"))
    assert running(world)["BUTTON"] == "red"
    assert "winners" not in world.status


def test_what_was_promoted_stays_as_long_as_its_test_and_no_longer() -> None:
    test = decided("Automatic")
    test["status"]["test"]["state"] = "Promoted"
    world = given(test)
    assert running(world)["BUTTON"] == "green"
    assert variant() not in world.children
    world.tests = ()
    play(world)
    assert running(world)["BUTTON"] == "red"
