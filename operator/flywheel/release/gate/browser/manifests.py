"""The pod that makes a visit, and what it needs around it, as plain manifests. Pure."""

from collections.abc import Mapping
from typing import Any

from flywheel.api.gate_browser import BrowserGate
from flywheel.plan import Manifest
from flywheel.release.gate.browser.steps import encode, plan_for
from flywheel.release.gate.browser.verdict import read_result
from flywheel.release.gate.measurement import Target
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

__all__ = ["browser_job_parts", "evidence_objects", "plan_data", "read_result"]

CONTAINER = "browser"
PLAN_VARIABLE = "FLYWHEEL_BROWSER_PLAN"
LONGEST_VARIABLE = 32 * 1024
"""Bytes of a plan that travel in the environment; a longer one is in the ConfigMap."""
PLAN_KEY = "plan.json"
PLAN_DIRECTORY = "/etc/flywheel/plan"
HOME = "/home/flywheel"
API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
USER = 65532
RESOURCES: Manifest = {"requests": {"cpu": "250m", "memory": "384Mi"}, "limits": {"memory": "1Gi"}}
TERMINATION_GRACE_SECONDS = 20
"""Time to say how far it came, when it is ended from outside."""


def browser_job_parts(gate: BrowserGate, name: str, target: Target, image: str, evidence: str) -> Manifest:
    """Build the pod template of a Job that makes one visit.

    Args:
        gate: The gate.
        name: Name of its ServiceAccount, as handed to `evidence_objects`.
        target: What is looked at.
        image: Image with the browser.
        evidence: Name of the ConfigMap that pictures and report go to.

    Raises:
        NoEdgeError: The gate goes through the edge, and there is none.
    """
    plan = encode(plan_for(gate, target))
    long = _is_long(plan)
    args = [f"--evidence={evidence}", *([f"--plan={PLAN_DIRECTORY}/{PLAN_KEY}"] if long else [])]
    environment: list[Manifest] = [
        {"name": "HOME", "value": HOME},
        {"name": "FLYWHEEL_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
        *([] if long else [{"name": PLAN_VARIABLE, "value": plan}]),
    ]
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["flywheel", "browser-gate"],
        "args": args,
        "env": environment,
        "resources": gate.resources or RESOURCES,
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        "volumeMounts": _mounts(long=long),
    }
    return {
        "spec": {
            "serviceAccountName": name,
            "automountServiceAccountToken": False,
            # The environment of a pod lists all Services of its namespace by default: nothing that a page should see.
            "enableServiceLinks": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
            "securityContext": {**POD_SECURITY, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [container],
            "volumes": _volumes(evidence, long=long),
        }
    }


def plan_data(gate: BrowserGate, target: Target) -> dict[str, str]:
    """Give the data that the ConfigMap needs before the pod starts: a plan too long for the environment, or nothing.

    Raises:
        NoEdgeError: The gate goes through the edge, and there is none.
    """
    plan = encode(plan_for(gate, target))
    return {PLAN_KEY: plan} if _is_long(plan) else {}


def evidence_objects(
    metadata: Mapping[str, Any], evidence: Mapping[str, Any], data: Mapping[str, str] | None = None
) -> list[Manifest]:
    """Build what the pod may write to, and its permission to write to that alone.

    Args:
        metadata: Metadata (name, namespace, labels ...) of ServiceAccount, Role and RoleBinding.
        evidence: Metadata of the ConfigMap.
        data: What `plan_data` gave.
    """
    rule = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": [evidence["name"]],
        "verbs": ["get", "patch"],
    }
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]}
    subject = {"kind": "ServiceAccount", "name": metadata["name"], "namespace": metadata["namespace"]}
    config_map = _object("v1", "ConfigMap", evidence)
    if data:
        config_map["data"] = dict(data)
    return [
        _object("v1", "ServiceAccount", metadata, automountServiceAccountToken=False),
        _object("rbac.authorization.k8s.io/v1", "Role", metadata, rules=[rule]),
        _object("rbac.authorization.k8s.io/v1", "RoleBinding", metadata, roleRef=role, subjects=[subject]),
        config_map,
    ]


def _object(api_version: str, kind: str, metadata: Mapping[str, Any], **fields: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": dict(metadata), **fields}


def _is_long(plan: str) -> bool:
    return len(plan.encode()) > LONGEST_VARIABLE


def _mounts(*, long: bool) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
        {"name": "home", "mountPath": HOME},
        {"name": "shared-memory", "mountPath": "/dev/shm"},  # noqa: S108 - a volume of the pod's own
        {"name": "api-token", "mountPath": API_TOKEN_DIRECTORY, "readOnly": True},
    ]
    return [*mounts, {"name": "plan", "mountPath": PLAN_DIRECTORY, "readOnly": True}] if long else mounts


def _volumes(evidence: str, *, long: bool) -> list[Manifest]:
    sources: list[Manifest] = [
        {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    volumes: list[Manifest] = [
        {"name": "temporary", "emptyDir": {"sizeLimit": "512Mi"}},
        {"name": "home", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "shared-memory", "emptyDir": {"medium": "Memory", "sizeLimit": "128Mi"}},
        {"name": "api-token", "projected": {"sources": sources}},
    ]
    plan = {"name": evidence, "items": [{"key": PLAN_KEY, "path": PLAN_KEY}]}
    return [*volumes, {"name": "plan", "configMap": plan}] if long else volumes
