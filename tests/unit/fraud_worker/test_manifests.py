"""What is made of a worker in a cluster: restricted, reachable by those who may, and what its command understands."""

from typing import Any

import click
import pytest
from click.testing import CliRunner

from flywheel.cli import main
from flywheel.commands.fraud import _number, fraud_worker
from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.events.volumeclaim import VolumeClaim
from flywheel.fraud import manifests, naming

MADE = manifests.stateful_set("shop", "flywheel:1", VolumeClaim("1Gi"), shards=3, operator="flywheel-system:flywheel")
POD: dict[str, Any] = MADE["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]


def test_the_pod_meets_the_restricted_level():
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault"
    inside = CONTAINER["securityContext"]
    assert inside["allowPrivilegeEscalation"] is False
    assert inside["readOnlyRootFilesystem"] is True
    assert inside["capabilities"]["drop"] == ["ALL"]
    assert {kind for volume in POD["volumes"] for kind in volume} <= {"name", "emptyDir", "configMap", "projected"}


def test_the_command_understands_what_the_manifest_says():
    known = {option for parameter in fraud_worker.params for option in parameter.opts}
    name, *arguments = CONTAINER["args"]
    assert main.commands[name] is fraud_worker
    assert {each.partition("=")[0] for each in arguments} <= known
    assert CliRunner().invoke(main, ["fraud-worker", "--help"]).exit_code == 0


def test_each_worker_of_several_has_an_address_and_a_volume_of_its_own():
    assert MADE["spec"]["replicas"] == 3
    policy, service = manifests.network_manifests("shop", "flywheel-system:flywheel")
    assert service["spec"]["clusterIP"] == "None"
    assert MADE["spec"]["serviceName"] == service["metadata"]["name"]
    assert naming.worker_urls("shop", 2) == (
        "http://flywheel-fraud-0.flywheel-fraud.shop.svc:9105",
        "http://flywheel-fraud-1.flywheel-fraud.shop.svc:9105",
    )
    ports = {each["name"]: each["port"] for each in service["spec"]["ports"]}
    assert {each["name"]: each["containerPort"] for each in CONTAINER["ports"]} == ports
    events, metrics = policy["spec"]["ingress"]
    assert events["ports"] == [{"port": naming.PORT, "protocol": "TCP"}]
    assert [each["podSelector"]["matchLabels"].get("app.kubernetes.io/component") for each in events["from"]] == [
        EDGE,
        None,
        None,
        "operator",
    ]
    assert events["from"][1] == {"podSelector": {"matchLabels": MADE["spec"]["selector"]["matchLabels"]}}, "each other"
    assert "from" not in metrics
    assert len(manifests.network_manifests("shop")[0]["spec"]["ingress"][0]["from"]) == 3


def test_workers_are_found_before_they_are_ready_and_their_volumes_go_with_them():
    _, service = manifests.network_manifests("shop")
    assert service["spec"]["publishNotReadyAddresses"] is True, "who takes over is sent to as well"
    assert MADE["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"] == "Delete"
    assert MADE["spec"]["podManagementPolicy"] == "Parallel"
    spread = {each["topologyKey"]: each["whenUnsatisfiable"] for each in POD["topologySpreadConstraints"]}
    assert spread["kubernetes.io/hostname"] == "ScheduleAnyway"
    fewer = manifests.stateful_set("shop", "flywheel:1", VolumeClaim("1Gi"), shards=1, workers=3)
    assert fewer["spec"]["replicas"] == 3
    assert "--shards=1" in fewer["spec"]["template"]["spec"]["containers"][0]["args"]


def test_workers_show_each_other_tokens_that_nobody_else_takes():
    [token] = [each for each in POD["volumes"] if each["name"] == "token"]
    [source] = token["projected"]["sources"]
    assert source["serviceAccountToken"]["audience"] == "flywheel-analytics"
    [mount] = [each for each in CONTAINER["volumeMounts"] if each["name"] == "token"]
    [file] = [each.partition("=")[2] for each in CONTAINER["args"] if each.startswith("--token-file=")]
    assert file == f"{mount['mountPath']}/{source['serviceAccountToken']['path']}"


@pytest.mark.parametrize(("pod", "number"), [("flywheel-fraud-2", 2), ("flywheel-fraud-63", 63), ("", 0), ("x", 0)])
def test_a_pod_knows_its_shard_by_its_name(pod: str, number: int):
    assert _number(pod) == number


def test_a_pod_beyond_all_shards_does_not_start():
    with pytest.raises(click.BadParameter, match="shard 64; at most 64"):
        _number("flywheel-fraud-64")


def test_equal_rules_make_equal_maps():
    one = manifests.rules_manifest("shop", {"b": [], "a": [{"x": 1, "y": "é"}]})
    assert one == manifests.rules_manifest("shop", {"a": [{"y": "é", "x": 1}], "b": []})
    assert one["data"] == {"rules.json": '{"a":[{"x":1,"y":"é"}],"b":[]}'}
