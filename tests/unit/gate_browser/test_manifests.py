"""The pod that makes a visit, and what it may do."""

from typing import Any

import pytest
from tests.unit.chart.shapes import findings
from tests.unit.gate_browser.looking import gate
from tests.unit.gate_browser.test_steps import TARGET

from flywheel.release.gate.browser.manifests import browser_job_parts, evidence_objects, plan_data
from flywheel.release.gate.browser.steps import decode, plan_for

SHORT = gate("[{open: /}, {clickText: 领取}]", through="Edge")
LONG = gate(str([{"open": "/"}, *[{"fill": {"selector": "#a", "value": "领" * 512}}] * 49]))


def job(template: dict[str, Any]) -> dict[str, Any]:
    spec = {"template": {**template, "metadata": {"labels": {"a": "b"}}}, "backoffLimit": 0}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "gate", "namespace": "shop"}, "spec": spec}


def parts(of: Any = SHORT) -> dict[str, Any]:
    return browser_job_parts(of, "gate", TARGET, "registry.example/browser:1", "gate-evidence")


@pytest.mark.parametrize("of", [SHORT, LONG])
def test_the_job_has_the_shape_that_kubernetes_knows(of: Any) -> None:
    assert findings(job(parts(of))) == []


def test_the_pod_keeps_to_the_restricted_level() -> None:
    pod = parts()["spec"]
    [container] = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
        "readOnlyRootFilesystem": True,
    }
    assert {next(iter(volume.keys() - {"name"})) for volume in pod["volumes"]} == {"emptyDir", "projected"}
    assert all("sizeLimit" in volume["emptyDir"] for volume in pod["volumes"] if "emptyDir" in volume)
    assert pod["restartPolicy"] == "Never"
    assert pod["enableServiceLinks"] is False


def test_the_browser_has_what_it_writes_to_and_bounds() -> None:
    pod = parts()["spec"]
    [container] = pod["containers"]
    shared = next(volume for volume in pod["volumes"] if volume["name"] == "shared-memory")
    assert shared["emptyDir"] == {"medium": "Memory", "sizeLimit": "128Mi"}
    assert {mount["mountPath"] for mount in container["volumeMounts"]} >= {"/tmp", "/home/flywheel", "/dev/shm"}
    assert container["resources"] == {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}}
    own = gate("[{open: /}]", resources={"limits": {"memory": "2Gi"}})
    assert parts(own)["spec"]["containers"][0]["resources"] == {"limits": {"memory": "2Gi"}}


def test_a_plan_travels_in_the_environment() -> None:
    [container] = parts()["spec"]["containers"]
    environment = {each["name"]: each.get("value") for each in container["env"]}
    assert decode(environment["FLYWHEEL_BROWSER_PLAN"] or "") == plan_for(SHORT, TARGET)
    assert container["command"] == ["flywheel", "browser-gate"]
    assert container["args"] == ["--evidence=gate-evidence"]
    assert plan_data(SHORT, TARGET) == {}


def test_a_plan_that_is_too_long_for_it_travels_in_the_config_map() -> None:
    pod = parts(LONG)["spec"]
    [container] = pod["containers"]
    assert "FLYWHEEL_BROWSER_PLAN" not in {each["name"] for each in container["env"]}
    assert "--plan=/etc/flywheel/plan/plan.json" in container["args"]
    assert {"name": "plan", "mountPath": "/etc/flywheel/plan", "readOnly": True} in container["volumeMounts"]
    data = plan_data(LONG, TARGET)
    assert decode(data["plan.json"]) == plan_for(LONG, TARGET)
    [config_map] = [each for each in objects(data) if each["kind"] == "ConfigMap"]
    assert config_map["data"] == data
    assert len(data["plan.json"].encode()) < 250 * 1024


def objects(data: dict[str, str] | None = None) -> list[dict[str, Any]]:
    metadata = {"name": "gate", "namespace": "shop", "labels": {"flywheel.dev/campaign": "spring"}}
    return evidence_objects(metadata, {**metadata, "name": "gate-evidence"}, data)


def test_the_pod_may_read_and_write_one_config_map_and_nothing_else() -> None:
    assert [finding for each in objects() for finding in findings(each)] == []
    account, role, binding, config_map = objects()
    assert account["automountServiceAccountToken"] is False
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["gate-evidence"], "verbs": ["get", "patch"]}
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "gate", "namespace": "shop"}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"] == parts()["spec"]["serviceAccountName"]
    assert config_map["metadata"]["name"] == "gate-evidence"
    assert all(each["metadata"]["labels"] == {"flywheel.dev/campaign": "spring"} for each in objects())
