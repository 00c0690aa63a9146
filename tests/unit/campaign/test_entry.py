"""The edge of a Campaign: planned with it, judged by what its pods say, gone with it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.campaign.world import World, campaign

from flywheel.campaign.decide import decide
from flywheel.campaign.entry import told
from flywheel.plan import LiveObject, ObjectKey, content_hash
from flywheel.workload.provider import Provider

NOW = datetime(2027, 6, 16, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "services": [{"name": "web", "image": "registry.example/web:1", "port": 8080}],
    "edge": {"replicas": 2},
}


@pytest.fixture
def world() -> World:
    world = World(campaign(SPEC))
    world.edge_pods = ("edge-a", "edge-b")
    world.settle(NOW)
    return world


def wanted(world: World) -> str:
    generation: str = world.status["edge"]["generation"]
    return generation


def test_an_edge_is_ready_when_every_pod_has_the_wanted_generation(world: World) -> None:
    assert world.condition("EdgeReady")["reason"] == "Applying"
    assert world.condition("Ready")["status"] == "Unknown"
    world.edge_says(edge_a={"generation": wanted(world)}, edge_b={"generation": "older"})
    world.settle(NOW)
    assert world.status["edge"]["applied"] == 1
    assert "1 of 2 edge pods" in world.condition("EdgeReady")["message"]
    world.edge_says(edge_a={"generation": wanted(world)}, edge_b={"generation": wanted(world)})
    world.settle(NOW)
    assert world.condition("EdgeReady")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"


def test_entries_of_pods_long_gone_count_for_nothing(world: World) -> None:
    current, older = {"generation": wanted(world)}, {"generation": "older"}
    world.edge_says(gone=current, edge_a=current, edge_b=older)
    world.settle(NOW)
    assert (world.status["edge"]["pods"], world.status["edge"]["applied"]) == (2, 1)


def test_a_pod_that_cannot_follow_is_named_with_the_cause(world: World) -> None:
    trouble = {"reason": "ConfigurationRefused", "message": "haproxy -c: line 7: unknown keyword"}
    world.edge_says(edge_a={"generation": wanted(world)}, edge_b={"generation": "older", "trouble": trouble})
    world.settle(NOW)
    condition = world.condition("EdgeReady")
    assert (condition["status"], condition["reason"]) == ("False", "ConfigurationRefused")
    assert "edge-b" in condition["message"]
    assert "line 7" in condition["message"]
    assert world.condition("Stalled")["status"] == "True"


def test_a_store_that_is_away_leaves_the_site_ready(world: World) -> None:
    trouble = {"reason": "StoreUnreachable", "message": "the store does not answer: connection refused"}
    said = {"generation": wanted(world), "trouble": trouble}
    assert world.condition("AnalyticsReady")["reason"] == "Creating"
    world.store_serves()
    world.edge_says(edge_a=said, edge_b=said)
    world.settle(NOW)
    assert world.condition("EdgeReady")["status"] == "True"
    assert world.condition("Ready")["status"] == "True"
    analytics = world.condition("AnalyticsReady")
    assert (analytics["status"], analytics["reason"]) == ("False", "StoreUnreachable")
    assert "and 1 more" in analytics["message"]


def test_a_change_of_the_edge_is_a_new_generation_and_nothing_else_is(world: World) -> None:
    before = wanted(world)
    world.edit(title="another title")
    world.settle(NOW)
    assert wanted(world) == before
    world.edit(edge={"replicas": 2, "limits": {"requestsPerSecond": 7}})
    world.settle(NOW)
    assert wanted(world) != before


def test_without_spec_edge_its_children_and_its_words_go(world: World) -> None:
    assert any(key.name == "yougou-618-edge" for key in world.children)
    world.manifest["spec"] = {"services": SPEC["services"]}
    world.settle(NOW)
    assert not [key for key in world.children if "edge" in key.name]
    assert "edge" not in world.status
    assert not world.condition("EdgeReady")


def test_a_suspended_edge_has_no_pods_and_is_no_trouble() -> None:
    world = World(campaign({**SPEC, "schedule": {"suspend": True}}))
    world.settle(NOW)
    assert world.children[ObjectKey("apps", "Deployment", "shop", "yougou-618-edge")].replicas == 0
    assert world.condition("Ready")["reason"] == "Suspended"


@given(st.dictionaries(st.text(), st.one_of(st.none(), st.text(), st.integers(), st.just('{"generation": 1}'))))
def test_whatever_stands_in_the_config_map_is_read_without_harm(data: dict[str, Any]) -> None:
    world = World(campaign(SPEC))
    key = ObjectKey("", "ConfigMap", "shop", "yougou-618-edge-applied")
    world.children[key] = LiveObject(key, "u", 1, 1, "yougou-618", "", "", "", False, status={"data": data})
    assert told(world.observed()).keys() <= data.keys()


def test_what_keda_cannot_scale_on_is_said() -> None:
    raw = {"type": "External", "external": {"metric": {"name": "queue"}, "target": {"type": "Value", "value": "1"}}}
    scaling = {"min": 1, "max": 3, "metrics": [{"requests": 20}, {"raw": raw}]}
    world = World(campaign({**SPEC, "services": [{**SPEC["services"][0], "autoscaling": scaling}]}))
    world.provider = Provider("KEDA", "http://prometheus:9090")
    world.settle(NOW)
    said = world.condition("ScalingLimited")
    assert said["reason"] == "NotWithKEDA"
    assert "spec.services[0].autoscaling.metrics[1].raw" in said["message"]
    world.provider = Provider()
    world.settle(NOW)
    assert not world.condition("ScalingLimited")


def test_edges_send_events_to_each_fraud_worker_and_the_pods_stay_as_they_are(world: World) -> None:
    def edge(workers: int, *, judged: bool = True) -> tuple[tuple[str, ...], str]:
        seen = replace(world.decide(NOW)[0], judged=judged, fraud_workers=workers)
        decision = decide(seen, NOW)
        assert decision.edge is not None
        assert decision.plan is not None
        [deployment] = [each for each in decision.plan.apply if each["metadata"]["name"] == "yougou-618-edge"
                        and each["kind"] == "Deployment"]  # fmt: skip
        fraud = decision.edge.document.fraud
        return fraud.workers if fraud else (), content_hash(deployment["spec"]["template"])

    assert edge(1, judged=False)[0] == ()
    assert [each.partition(".")[0] for each in edge(1)[0]] == ["http://flywheel-fraud-0"]
    assert len(edge(3)[0]) == 3
    assert edge(3)[1] == edge(1)[1], "no pod is restarted for it"
