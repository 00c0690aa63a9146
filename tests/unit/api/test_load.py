"""Reading a Campaign: what good ones become, and what is said of bad ones."""

import copy
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.bad_campaigns.table import BadCampaign, bad_campaigns, good_campaign, read_yaml

from flywheel.api.campaign import Campaign
from flywheel.api.load import LAST_APPLIED, MAX_BYTES, InvalidResource, load_campaign, unknown_fields
from flywheel.api.problem import Problem

EXAMPLES = sorted((Path(__file__).parents[3] / "examples").glob("*/campaign.yaml"))
AT_ADMISSION = [bad for bad in bad_campaigns() if bad.refused == "admission"]
BY_OPERATOR = [bad for bad in bad_campaigns() if bad.refused == "operator"]


def small(**spec: Any) -> dict[str, Any]:
    """The smallest Campaign, with `spec` in it."""
    services = [{"name": "web", "image": "shop/web:1", "port": 8080}]
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "sale"},
        "spec": {"services": services, **spec},
    }


def refusal(manifest: Any) -> tuple[Problem, ...]:
    with pytest.raises(InvalidResource) as caught:
        load_campaign(manifest)
    return caught.value.problems


def test_the_table_is_long_enough_and_every_fault_is_named_once() -> None:
    names = [bad.name for bad in bad_campaigns()]
    assert len(names) >= 200
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_campaign_is_refused_with_field_and_remedy(bad: BadCampaign) -> None:
    problems = refusal(bad.manifest)
    about = [problem for problem in problems if problem.path.startswith(bad.path) or bad.path in problem.path]
    assert about, problems
    said = "\n".join(str(problem) for problem in about)
    assert [fragment for fragment in bad.load if fragment not in said] == [], said


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_what_only_the_zone_tells_is_left_to_the_stages(bad: BadCampaign) -> None:
    assert load_campaign(bad.manifest).spec.schedule


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_good(path: Path) -> None:
    campaigns = [each for each in path.read_text("utf-8").split("\n---\n") if "kind: Campaign" in each]
    assert campaigns
    for text in campaigns:
        load_campaign(read_yaml(text))


def test_the_good_campaign_becomes_values() -> None:
    campaign = load_campaign(good_campaign())
    schedule = campaign.spec.schedule
    assert schedule
    assert schedule.starts_at == datetime(2027, 6, 16)  # noqa: DTZ001 - wall time
    assert (schedule.prepare_for, schedule.hold_for) == (timedelta(hours=48), timedelta(minutes=90))
    seckill, landing, worker = campaign.spec.services
    assert (seckill.base_replicas, landing.base_replicas) == (3, 1)
    assert seckill.autoscaling
    assert [metric.cpu or metric.memory for metric in seckill.autoscaling.metrics[:2]] == [60, 75]
    assert [(port.name, port.port, port.container_port) for port in seckill.listening_ports] == [
        ("http", 80, 8080),
        ("metrics", 9090, 9090),
    ]
    assert [(port.name, port.port) for port in landing.listening_ports] == [("http", 8080)]
    assert worker.listening_ports == ()
    assert landing.automount_service_account_token
    assert not seckill.automount_service_account_token


def test_kubernetes_shapes_stay_as_they_were_written() -> None:
    written = good_campaign()
    before = copy.deepcopy(written)
    service = load_campaign(written).spec.services[0]
    source = before["spec"]["services"][0]
    assert written == before
    assert list(service.env) == source["env"]
    assert service.resources == source["resources"]
    assert service.readiness_probe == source["readinessProbe"]
    assert list(service.volumes) == source["volumes"]
    assert list(service.tolerations) == source["tolerations"]
    assert service.affinity == source["affinity"]
    assert service.pod_template
    assert service.pod_template.spec == source["podTemplate"]["spec"]
    assert service.autoscaling
    assert service.autoscaling.behavior == source["autoscaling"]["behavior"]
    assert service.autoscaling.metrics[2].raw == source["autoscaling"]["metrics"][2]["raw"]


def test_defaults_are_those_that_the_descriptions_name() -> None:
    schedule = load_campaign(small(schedule={})).spec.schedule
    assert schedule
    assert schedule.time_zone == "UTC"
    minutes = [
        each / timedelta(minutes=1)
        for each in (
            schedule.prepare_for,
            schedule.warm_for,
            schedule.hold_for,
            schedule.drain_for,
            schedule.retain_for,
        )
    ]
    assert minutes == [60, 10, 10, 5, 0]
    service = load_campaign(small()).spec.services[0]
    assert (service.disruption_budget.max_unavailable, service.disruption_budget.min_available) == ("10%", None)


def test_warm_for_follows_a_short_prepare_for_unless_it_is_written() -> None:
    schedule = load_campaign(small(schedule={"prepareFor": "2m"})).spec.schedule
    assert schedule
    assert schedule.warm_for == timedelta(minutes=2)
    (problem,) = refusal(small(schedule={"prepareFor": "2m", "warmFor": "10m"}))
    assert problem.path == "spec.schedule.warmFor"


def test_metadata_is_at_hand_and_what_is_unknown_in_it_is_ignored() -> None:
    manifest = small()
    manifest["metadata"] |= {
        "namespace": "shop",
        "uid": "u-1",
        "generation": 7,
        "deletionTimestamp": "2027-01-01T00:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
        "selfLink": "/x",
    }
    manifest["status"] = {"stage": "Live"}
    metadata = load_campaign(manifest).metadata
    assert (metadata.namespace, metadata.uid, metadata.generation) == ("shop", "u-1", 7)
    assert metadata.deletion_timestamp == datetime(2027, 1, 1, tzinfo=UTC)


def test_all_problems_are_told_at_once_and_in_order() -> None:
    manifest = small(titel="x", schedule={"warmFor": "2h"})
    manifest["spec"]["services"][0] |= {"port": "8080", "autoscaling": {"min": 5, "max": 1, "metrics": [{"cpu": "60"}]}}
    paths = [problem.path for problem in refusal(manifest)]
    assert paths == sorted(paths)
    assert paths == [
        "spec.schedule.warmFor",
        "spec.services[0].autoscaling.metrics[0].cpu",
        "spec.services[0].port",
        "spec.titel",
    ]


@pytest.mark.parametrize("value", [None, [], "Campaign", 5, {}, {"spec": None}])
def test_what_is_no_campaign_at_all_is_refused(value: Any) -> None:
    assert refusal(value)


def test_a_spec_that_contains_itself_is_refused() -> None:
    manifest = small()
    manifest["spec"]["services"][0]["podTemplate"] = {"spec": manifest["spec"]}
    (problem,) = refusal(manifest)
    assert "nested deeper" in problem.message or "larger than" in problem.message


def test_deep_nesting_is_refused_before_anything_recurses() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    manifest = small()
    manifest["spec"]["services"][0]["podTemplate"] = {"spec": deep}
    (problem,) = refusal(manifest)
    assert "make it flatter" in problem.message


def test_a_few_aliases_cannot_stand_for_gigabytes() -> None:
    bomb: list[Any] = ["lol"] * 9
    for _ in range(12):
        bomb = [bomb] * 9
    manifest = small()
    manifest["spec"]["services"][0]["podTemplate"] = {"spec": {"bomb": bomb}}
    (problem,) = refusal(manifest)
    assert "larger than 256 KiB" in problem.message


def test_a_spec_of_megabytes_is_refused() -> None:
    manifest = small()
    manifest["spec"]["services"][0]["env"] = [{"name": f"V{i}", "value": "x" * 30_000} for i in range(50)]
    (problem,) = refusal(manifest)
    assert problem.path == "spec"
    assert "move bulky data into ConfigMaps" in problem.message


def test_the_operators_own_large_status_does_not_count() -> None:
    manifest = small()
    manifest["status"] = {"inventory": {"entries": [{"name": "x" * 200} for _ in range(2 * MAX_BYTES // 200)]}}
    assert isinstance(load_campaign(manifest), Campaign)


def test_problems_stay_readable_however_many_there_are() -> None:
    manifest = small()
    manifest["spec"]["services"] = [{"name": "x" * 5000, "image": "\ud800" * 100, "nope": i} for i in range(1000)]
    problems = refusal(manifest)
    assert len(problems) <= 32
    assert all(len(str(problem)) < 400 for problem in problems)
    assert all(str(problem).isprintable() for problem in problems)


def with_last_applied(applied: str) -> dict[str, Any]:
    manifest = small()
    manifest["metadata"]["annotations"] = {LAST_APPLIED: applied}
    return manifest


def test_unknown_fields_are_found_in_what_was_applied() -> None:
    applied = small(budget=1, schedule={"startAt": "2027-01-01T00:00:00"})
    applied["spec"]["services"][0]["readinessProbe"] = {"httpGet": {"pth": "/", "port": 1}}
    found = unknown_fields(with_last_applied(json.dumps(applied)))
    assert found == ("spec.budget", "spec.schedule.startAt", "spec.services[0].readinessProbe.httpGet.pth")


@pytest.mark.parametrize("applied", ["", "{", "[]", "null", "[" * 100_000, json.dumps(small()), "x" * (MAX_BYTES + 1)])
def test_nothing_is_said_of_an_annotation_that_tells_nothing(applied: str) -> None:
    assert unknown_fields(with_last_applied(applied)) == ()


def test_nothing_is_said_without_the_annotation() -> None:
    assert unknown_fields(small()) == ()
    assert unknown_fields({"metadata": {"annotations": {LAST_APPLIED: 5}}}) == ()
