"""A/B tests as parts of a Campaign: pods of variants, backends and buckets at the edge, from start to end."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from tests.unit.campaign.test_releasing import EDGE, NOW, RELEASE, config, play
from tests.unit.campaign.world import World, campaign

from flywheel.campaign.variants import LINGER
from flywheel.experiment.told import written
from flywheel.plan import ObjectKey

SALT = "uid-of-the-test"


def landing(**more: Any) -> dict[str, Any]:
    env = [{"name": "BUTTON", "value": "red"}, {"name": "REGION", "value": "cn"}]
    return {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3, "env": env, **more}


def abtest(name: str = "button", state: str = "Waiting", **more: Any) -> dict[str, Any]:
    reason = {"Waiting": "VariantsNotReady"}.get(state, "")
    weights = {"red": 5000, "green-button": 5000}
    record: dict[str, Any] = {
        "state": state,
        "reason": reason,
        "salt": SALT,
        "startedAt": "2027-06-16T00:00:00Z",
        "segments": [[0, 5000]],
        "stretches": [{"since": "2027-06-16T00:00:00Z", "weights": weights}],
    }
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
        "status": {"record": record},
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


def uid(world: World) -> str:
    return str(world.manifest["metadata"]["uid"])


def sent(world: World) -> list[dict[str, Any]]:
    ranges: list[dict[str, Any]] = orders(world)["live"]["tests"][0]["ranges"]
    return ranges


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
    assert test["segments"] == [{"start": 0, "end": 5000}]
    assert test["layerSalt"] == f"layer/{uid(world)}/web"
    assert test["ranges"] == [
        {"variant": "red", "slot": "", "start": 0, "end": 5000},
        {"variant": "green-button", "slot": "green-button", "start": 5000, "end": 10_000},
    ]
    assert [each["variant"] for each in test["forced"]] == ["red", "green-button"]


def test_control_follows_the_active_slot_of_a_release() -> None:
    world = given(abtest(state="Running"), release=RELEASE)
    assert orders(world)["live"]["tests"][0]["ranges"][0]["slot"] == "blue"
    world.edit(services=[landing(image="shop/web:2", release=RELEASE)])
    play(world)
    assert orders(world)["live"]["tests"][0]["ranges"][0]["slot"] == "green"
    assert world.manifests[variant()]["spec"]["template"]["spec"]["containers"][0]["image"] == "shop/web:2"


def test_visitors_of_a_variant_without_pods_get_the_control_and_their_exposure_says_so() -> None:
    world = given(abtest(state="Running"))
    ready(world, 0)
    world.reconcile(NOW)
    assert [(each["variant"], each["slot"], each.get("fallback")) for each in sent(world)] == [
        ("red", "", None),
        ("green-button", "", True),
    ]
    ready(world, 1)
    world.reconcile(NOW)
    assert [(each["variant"], each["slot"], each.get("fallback")) for each in sent(world)] == [
        ("red", "", None),
        ("green-button", "green-button", None),
    ]


@pytest.mark.parametrize("state", ["Waiting", "Paused"])
def test_who_waits_sends_nobody_and_keeps_its_pods(state: str) -> None:
    world = given(abtest(state=state))
    assert orders(world)["live"].get("tests", []) == []
    assert variant() in world.children


def test_a_withdrawn_variant_goes_with_all_it_has() -> None:
    world = given(abtest(state="Running"))
    test = abtest(state="Running")
    test["status"]["record"]["withdrawn"] = {"green-button": written(NOW)}
    world.tests = (test,)
    play(world)
    assert variant() in world.children, "until every edge pod has heard of it"
    assert [each["variant"] for each in sent(world)] == ["red"]
    play(world, NOW + LINGER)
    assert variant() not in world.children
    assert [each["variant"] for each in orders(world)["live"]["tests"][0]["ranges"]] == ["red"]


@pytest.mark.parametrize("state", ["Promoted", "Stopped", "Failed"])
def test_a_test_that_has_ended_leaves_nothing(state: str) -> None:
    world = given(abtest(state="Running"))
    test = abtest(state=state)
    test["status"]["record"]["closedAt"] = written(NOW)
    world.tests = (test,)
    play(world)
    assert orders(world)["live"].get("tests", []) == []
    assert variant() in world.children, "until every edge pod has heard of it"
    play(world, NOW + LINGER)
    assert variant() not in world.children
    assert len(orders(world)["services"][0]["backends"]) == 1
    assert orders(world)["live"].get("tests", []) == []


def test_a_test_that_is_deleted_leaves_nothing() -> None:
    world = given(abtest(state="Running"))
    world.tests = ()
    play(world)
    assert variant() not in world.children


def test_of_two_that_have_taken_the_same_visitors_the_first_keeps_them() -> None:
    tests = []
    for number in range(2):
        test = abtest(f"test-{number}", state="Running")
        test["spec"]["variants"][1] = {**test["spec"]["variants"][1], "name": f"v{number}"}
        test["status"]["record"] |= {"startedAt": f"2027-06-16T0{9 - number}:00:00Z", "segments": [[0, 5000 + number]]}
        tests.append(test)
    world = given(*tests)
    found = {each["name"]: each.get("segments", []) for each in orders(world)["live"]["tests"]}
    assert found == {"test-1": [{"end": 5001, "start": 0}], "test-0": []}


def test_targeting_and_holdout_reach_the_edge() -> None:
    targeting = {"paths": ["/coupon*"], "devices": ["Phone"], "headers": [{"name": "X-App", "value": "ios"}]}
    world = given(abtest(state="Running", targeting=targeting, holdout="5%"))
    (test,) = orders(world)["live"]["tests"]
    assert test["holdout"] == 500
    assert orders(world)["live"]["holdoutSalt"] == f"holdout/{uid(world)}"
    assert test["target"] == {
        "paths": ["/coupon*"],
        "devices": ["Phone"],
        "headers": [{"name": "X-App", "values": ["ios"]}],
    }


def test_segments_are_known_by_a_key_of_the_campaign_as_soon_as_a_test_asks_for_some() -> None:
    for state in ("Waiting", "Running"):
        asked = orders(given(abtest(state=state, targeting={"segments": ["big-spenders"]})))
        assert re.fullmatch("[0-9a-f]{64}", asked["segmentsKey"])
        assert [each["target"]["segments"] for each in asked["live"].get("tests", [])] in ([], [["big-spenders"]])
    assert asked["live"]["tests"]
    assert "segmentsKey" not in orders(given(abtest(state="Running", targeting={"devices": ["Phone"]})))


def test_a_template_of_a_variant_is_merged_over_that_of_its_service() -> None:
    over = {"podTemplate": {"spec": {"priorityClassName": "high"}, "metadata": {"labels": {"side": "b"}}}}
    base = {"spec": {"terminationGracePeriodSeconds": 7}, "metadata": {"labels": {"team": "a"}}}
    changed = abtest(state="Running")
    changed["spec"]["variants"][1]["override"] = over
    world = given(changed, podTemplate=base)
    template = world.manifests[variant()]["spec"]["template"]
    assert template["spec"]["terminationGracePeriodSeconds"] == 7
    assert template["spec"]["priorityClassName"] == "high"
    assert {"team": "a", "side": "b"}.items() <= template["metadata"]["labels"].items()


def test_a_test_that_makes_no_sense_changes_nothing() -> None:
    bad = abtest(state="Running", service="nowhere")
    world = given(bad, {**abtest("other"), "spec": {}})
    assert orders(world)["live"].get("tests", []) == []
    assert not any("green" in key.name for key in world.children)


def decided(promote: str, **metadata: Any) -> dict[str, Any]:
    test = abtest(state="Decided", decision={"promote": promote})
    test["metadata"] |= metadata
    conclusion = {"verdict": "Ship", "at": "2027-06-16T10:00:00Z", "sentence": "so", "winner": "green-button"}
    test["status"]["record"] |= {"decision": conclusion, "endedAt": "2027-06-16T10:00:00Z"}
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
    test["status"]["record"] |= {"state": "Promoted", "closedAt": "2027-06-16T10:00:00Z"}
    world = given(test)
    assert running(world)["BUTTON"] == "green"
    assert variant() not in world.children
    world.tests = ()
    play(world)
    assert running(world)["BUTTON"] == "red"


def test_what_the_author_has_adopted_is_no_difference_any_more() -> None:
    world = given(decided("Automatic"))
    assert world.status["winners"]
    env = [{"name": "BUTTON", "value": "green"}, {"name": "REGION", "value": "cn"}, {"name": "NEW", "value": "1"}]
    world.edit(services=[landing(env=env)])
    play(world)
    assert "winners" not in world.status
    assert running(world)["BUTTON"] == "green"


def test_a_second_test_is_made_of_what_the_first_has_found() -> None:
    first = decided("Automatic")
    first["status"]["record"] |= {"state": "Promoted", "closedAt": "2027-06-16T10:00:00Z"}
    second = abtest("headline", state="Running")
    second["status"]["record"]["startedAt"] = "2027-06-16T11:00:00Z"
    override = {"env": [{"name": "HEADLINE", "value": "big"}]}
    second["spec"]["variants"][1] |= {"name": "big", "override": override}
    world = given(first, second)
    assert running(world, "yougou-618-web-big") == {"BUTTON": "green", "REGION": "cn", "NEW": "1", "HEADLINE": "big"}


def test_a_person_may_name_another_variant_and_never_means_never() -> None:
    world = given(decided("Never", annotations={"flywheel.dev/promote": "green-button"}))
    assert running(world)["BUTTON"] == "red"
    test = decided("Manual", annotations={"flywheel.dev/promote": "green-button"})
    test["status"]["record"]["decision"] |= {"verdict": "Inconclusive", "winner": ""}
    world = given(test)
    assert running(world)["BUTTON"] == "green"


@pytest.mark.parametrize(("otherwise", "sends"), [("Control", False), ("Keep", True)])
def test_without_a_winner_visitors_get_what_was_asked_for(otherwise: str, sends: bool) -> None:
    test = abtest(state="Decided", decision={"otherwise": otherwise})
    conclusion = {"verdict": "KeepControl", "at": written(NOW), "sentence": "so"}
    test["status"]["record"] |= {"decision": conclusion, "endedAt": written(NOW)}
    world = given(abtest(state="Running"))
    world.tests = (test,)
    play(world, NOW + LINGER)
    assert bool(orders(world)["live"].get("tests")) is sends
    assert (variant() in world.children) is sends
