"""A rule that Flink judges by, on a real API server: refused before the kind is there, applied, told of, and removed.

No Flink runs here. The definition is the smallest that takes what is applied; who plays the Flink Kubernetes operator
writes its status alone.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.cluster.client import Cluster
from tests.lab.conftest import operated
from tests.lab.steps import CART, Sale, World, eventually, given_campaign

Manifest = dict[str, Any]
CRD = "flinkdeployments.flink.apache.org"
OPTIONS = (
    "--log-format=console",
    "--resync=2s",
    "--fraud-kafka=kafka:9092",
    "--fraud-flink-image=shop/flink:2.3-kafka",
    "--fraud-flink-directory=s3://flink/flywheel",
)
ANYTHING: Manifest = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
DEFINITION: Manifest = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": CRD},
    "spec": {
        "group": "flink.apache.org",
        "scope": "Namespaced",
        "names": {"kind": "FlinkDeployment", "plural": "flinkdeployments", "singular": "flinkdeployment"},
        "versions": [
            {
                "name": "v1beta1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": ANYTHING, "status": ANYTHING}}},
            }
        ],
    },
}
RULE: Manifest = {
    "apiVersion": "flywheel.dev/v1alpha1",
    "kind": "FraudRule",
    "metadata": {"name": "burst"},
    "spec": {
        "match": {"event": "Coupon Claimed"},
        "key": ["address"],
        "window": "60s",
        "condition": {"count": {"moreThan": 20}},
        "action": {"block": {"for": "30m"}},
        "engine": "Flink",
    },
}
EDGE: Manifest = {"replicas": 1, "autoscaling": {"max": 1}}


@pytest.fixture(scope="module")
def shop(cluster: Cluster, definition: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A namespace with an operator that knows Kafka and Flink, in a cluster that knows no FlinkDeployment."""
    if cluster.kubectl("get", f"customresourcedefinition/{CRD}", "--ignore-not-found", "--output=name"):
        pytest.skip("this cluster has the Flink Kubernetes operator, and this test plays it")
    with operated(cluster, tmp_path_factory.mktemp("operator"), *OPTIONS) as made:
        yield made
    cluster.kubectl("delete", f"customresourcedefinition/{CRD}", "--ignore-not-found", "--timeout=60s")


def condition(world: World, type_: str) -> Manifest:
    status = world.objects.read("FraudRule", "burst").get("status") or {}
    found: Manifest = next((each for each in status.get("conditions") or () if each["type"] == type_), {})
    return found


def reason(world: World, type_: str) -> str:
    return str(condition(world, type_).get("reason"))


def deployments(world: World) -> list[Manifest]:
    found: list[Manifest] = world.objects.select("FlinkDeployment")
    return found


def say(world: World, deployment: Manifest, **status: Any) -> None:
    """Write what the Flink Kubernetes operator would."""
    name = deployment["metadata"]["name"]
    generation = world.objects.read("FlinkDeployment", name)["metadata"]["generation"]
    world.objects.patch("FlinkDeployment", name, {"status": {"observedGeneration": generation, **status}}, "status")


def sql_of(world: World) -> set[str]:
    maps = world.objects.select("ConfigMap")
    return {each["metadata"]["name"] for each in maps if "rule.sql" in (each.get("data") or {})}


def given_a_rule(world: World) -> Sale:
    sale = given_campaign(world, CART, edge=EDGE)
    world.objects.create({**RULE, "spec": {**RULE["spec"], "campaign": sale.name}})
    return sale


def test_a_rule_goes_the_whole_way(shop: World, tmp_path: Path) -> None:
    given_a_rule(shop)
    eventually(lambda: reason(shop, "Stalled"), "Invalid")
    assert "install the Flink Kubernetes operator" in condition(shop, "Stalled")["message"]

    file = tmp_path / "definition.json"
    file.write_text(json.dumps(DEFINITION))
    shop.cluster.kubectl("apply", "--server-side", f"--filename={file}")
    shop.cluster.wait_until_established(CRD)
    [made] = eventually(lambda: deployments(shop), lambda found: len(found) == 1)
    assert any(
        each["manager"] == "flywheel" and each["operation"] == "Apply" for each in made["metadata"]["managedFields"]
    )
    [owner] = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("FraudRule", "burst")
    eventually(lambda: reason(shop, "Flink"), "Starting")
    first = sql_of(shop)
    assert len(first) == 1

    say(shop, made, jobStatus={"state": "RUNNING"}, reconciliationStatus={"state": "DEPLOYED"})
    eventually(lambda: reason(shop, "Flink"), "Running")
    say(shop, made, jobStatus={"state": "FAILED"}, error='{"message": "no such bucket"}')
    eventually(lambda: reason(shop, "Flink"), "Failed")
    assert "no such bucket" in condition(shop, "Flink")["message"]
    say(shop, made, jobStatus={"state": "RUNNING"}, error=None)
    eventually(lambda: reason(shop, "Flink"), "Running")

    shop.objects.patch("FraudRule", "burst", {"spec": {"condition": {"count": {"moreThan": 30}}}})
    eventually(lambda: len(sql_of(shop)), 2, why="the SQL before stays beside the newest")

    def taken() -> int:
        say(shop, made, jobStatus={"state": "RUNNING"}, reconciliationStatus={"state": "DEPLOYED"})
        return len(sql_of(shop))

    eventually(taken, 1, why="the SQL before goes once the job runs by the newest")
    assert sql_of(shop) != first

    shop.objects.delete("FraudRule", "burst")
    eventually(lambda: deployments(shop), [], why="the FlinkDeployment goes with its rule")
    eventually(lambda: sql_of(shop), set(), why="and so does its SQL")


def test_a_rule_that_goes_back_to_the_worker_takes_its_job_along(shop: World) -> None:
    given_a_rule(shop)
    eventually(lambda: len(deployments(shop)), 1)
    shop.objects.patch("FraudRule", "burst", {"spec": {"engine": "Embedded"}})
    eventually(lambda: deployments(shop), [])
    eventually(lambda: condition(shop, "Flink"), {})
