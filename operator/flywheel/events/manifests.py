"""The objects of a namespace's analytics worker, as plain manifests in the order in which they are created."""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

from flywheel.api.analytics import ClickHouse, Store
from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.events import naming
from flywheel.events.volumeclaim import CLAIM, VolumeClaim, amount
from flywheel.plan import GROUP, MANAGED_BY_LABEL, SHARED_LABEL, Manifest
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

USER: Final = 65532
STOP_SECONDS: Final = 60
"""How long the worker may take to write down what it holds and to close its database."""
TEMPORARY_DIRECTORY: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
RESOURCES: Final[Manifest] = {"requests": {"cpu": "250m", "memory": "1Gi"}, "limits": {"memory": "3Gi"}}
SETTINGS_DIRECTORY: Final = "/etc/flywheel/analytics"
"""The settings as a volume: what the worker starts with where the API server cannot be reached."""
LEAST_MEMORY: Final = 256
"""MiB without which the engine cannot work; as `flywheel analytics --memory` has it."""
LONGEST_SETTINGS: Final = 900_000
"""Bytes: what fits a ConfigMap with room to spare."""

SELECTOR: Final[Mapping[str, str]] = {SHARED_LABEL: naming.COMPONENT}
"""The labels of the worker's pod: few, as a StatefulSet's selector can never change."""
LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/name": naming.WORKER,
    "app.kubernetes.io/component": naming.COMPONENT,
    MANAGED_BY_LABEL: "flywheel",
    **SELECTOR,
}
"""Not the label of any Campaign: what they share is no leftover of one, so a search for leftovers must not find it."""


def access_manifests(namespace: str) -> list[Manifest]:
    """Build what the worker is and may do: read settings and Campaigns, and write key figures on their status."""
    rules = [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [naming.WORKER], "verbs": _READ},
        {"apiGroups": [GROUP], "resources": ["campaigns"], "verbs": _READ},
        {"apiGroups": [GROUP], "resources": ["campaigns/status"], "verbs": ["patch"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": naming.WORKER}
    subject = {"kind": "ServiceAccount", "name": naming.WORKER, "namespace": namespace}
    return [
        _object(namespace, "v1", "ServiceAccount", automountServiceAccountToken=False),
        _object(namespace, "rbac.authorization.k8s.io/v1", "Role", rules=rules),
        _object(namespace, "rbac.authorization.k8s.io/v1", "RoleBinding", roleRef=role, subjects=[subject]),
    ]


_READ = ["get", "list", "watch"]


def settings_manifest(namespace: str, text: str) -> Manifest:
    """Build the ConfigMap that the worker follows."""
    return _object(namespace, "v1", "ConfigMap", data={naming.SETTINGS_KEY: text})


def settings_text(entries: Iterable[tuple[str, Manifest]]) -> tuple[str, tuple[str, ...]]:
    """Write the settings of all Campaigns, and name those that there is no room for.

    Args:
        entries: Names and settings; the first of them get the room there is.
    """
    written: dict[str, Manifest] = {}
    left_out = []
    room = LONGEST_SETTINGS
    for name, settings in entries:
        room -= len(_json({name: settings}).encode())
        if room < 0:
            left_out.append(name)
        else:
            written[name] = settings
    return _json(written), tuple(left_out)


def network_manifests(namespace: str, operator: str = "") -> list[Manifest]:
    """Build how the worker is reached: events only from edges of the namespace, figures by whoever scrapes.

    Args:
        namespace: Where.
        operator: The operator's ServiceAccount as `namespace:name`; it may ask. Empty: none.
    """
    ports = [_port("ingest", naming.INGEST_PORT), _port("metrics", naming.METRICS_PORT)]
    edges = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": EDGE, MANAGED_BY_LABEL: "flywheel"}}}
    senders: list[Manifest] = [edges]
    if operator:
        senders.append(
            {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator.partition(":")[0]}},
                "podSelector": {"matchLabels": {"app.kubernetes.io/component": naming.OPERATOR_COMPONENT}},
            }
        )
    policy = {
        "podSelector": {"matchLabels": dict(SELECTOR)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": senders, "ports": [{"port": naming.INGEST_PORT, "protocol": "TCP"}]},
            {"ports": [{"port": naming.METRICS_PORT, "protocol": "TCP"}]},
        ],
    }
    service = {
        "selector": dict(SELECTOR),
        "ports": [{**each, "targetPort": each["name"], "protocol": "TCP"} for each in ports],
    }
    return [
        _object(namespace, "networking.k8s.io/v1", "NetworkPolicy", spec=policy),
        _object(namespace, "v1", "Service", spec=service),
    ]


def disruption_budget(namespace: str) -> Manifest:
    """Build the PodDisruptionBudget: a node may be drained, as edges hold their events for as long."""
    spec = {
        "selector": {"matchLabels": dict(SELECTOR)},
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object(namespace, "policy/v1", "PodDisruptionBudget", spec=spec)


def stateful_set(namespace: str, store: Store, image: str, claim: VolumeClaim | None, operator: str = "") -> Manifest:
    """Build the worker itself.

    Args:
        namespace: Where.
        store: How its Campaigns want it.
        image: What it runs where `store` names no image.
        claim: Its volume; None where it keeps nothing itself.
        operator: The operator's ServiceAccount as `namespace:name`; it may ask. Empty: none.
    """
    spec: Manifest = {
        "replicas": 1,
        "serviceName": naming.WORKER,
        "selector": {"matchLabels": dict(SELECTOR)},
        # An ordered one would wait for a broken pod to become ready before it takes up what mends it.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 3,
        "template": _pod_template(store, store.image or image, claim, operator),
    }
    if claim is not None:
        spec["volumeClaimTemplates"] = [_claim_template(claim)]
        # What was learnt outlives the campaigns: `kubectl delete pvc` frees it.
        spec["persistentVolumeClaimRetentionPolicy"] = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    return _object(namespace, "apps/v1", "StatefulSet", spec=spec)


def _claim_template(claim: VolumeClaim) -> Manifest:
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": claim.size}}}
    if claim.storage_class:
        spec["storageClassName"] = claim.storage_class
    return {"metadata": {"name": CLAIM, "labels": dict(LABELS)}, "spec": spec}


def _pod_template(store: Store, image: str, claim: VolumeClaim | None, operator: str) -> Manifest:
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(naming.METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }
    volumes: list[Manifest] = [
        {"name": "temporary", "emptyDir": {"sizeLimit": "1Gi"}},
        {"name": "settings", "configMap": {"name": naming.WORKER, "optional": True}},
    ]
    if claim is None:
        volumes.append({"name": CLAIM, "emptyDir": {"sizeLimit": "1Gi"}})
    spec = {
        "serviceAccountName": naming.WORKER,
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "securityContext": {
            **POD_SECURITY,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # A large volume is not gone through again at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
        },
        "containers": [_container(store, image, operator)],
        "volumes": volumes,
    }
    return {"metadata": {"labels": dict(LABELS), "annotations": annotations}, "spec": spec}


def _container(store: Store, image: str, operator: str) -> Manifest:
    resources = store.resources or RESOURCES
    return {
        "name": naming.COMPONENT,
        "image": image,
        "args": [
            "analytics",
            "--namespace=$(FLYWHEEL_NAMESPACE)",
            f"--data-directory={naming.DATA_DIRECTORY}",
            f"--settings-file={SETTINGS_DIRECTORY}/{naming.SETTINGS_KEY}",
            *([f"--operator-account={operator}"] if operator else []),
            *_memory_argument(resources),
            *(_clickhouse_arguments(store.clickhouse) if store.clickhouse else []),
        ],
        "env": [
            {"name": "FLYWHEEL_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "HOME", "value": TEMPORARY_DIRECTORY},
            *(_clickhouse_credentials(store.clickhouse) if store.clickhouse else []),
        ],
        "ports": [
            {"name": "ingest", "containerPort": naming.INGEST_PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": naming.METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": resources,
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        # A store that was cut off has to read what it has before it answers.
        "startupProbe": _probe("/healthz", periodSeconds=2, failureThreshold=150),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": CLAIM, "mountPath": naming.DATA_DIRECTORY},
            {"name": "temporary", "mountPath": TEMPORARY_DIRECTORY},
            {"name": "settings", "mountPath": SETTINGS_DIRECTORY, "readOnly": True},
        ],
    }


def _memory_argument(resources: Mapping[str, Any]) -> list[str]:
    """Give the engine half of what the pod may take: the rest is for rows that come in, and for the caches of files."""
    limit = (resources.get("limits") or {}).get("memory")
    if limit is None:
        return []
    return [f"--memory={max(LEAST_MEMORY, int(amount(str(limit))) >> 21)}"]


def _clickhouse_arguments(clickhouse: ClickHouse) -> list[str]:
    return [f"--clickhouse-url={clickhouse.url}", f"--clickhouse-database={clickhouse.database}"]


def _clickhouse_credentials(clickhouse: ClickHouse) -> list[Manifest]:
    if clickhouse.secret_name is None:
        return []
    names = {"FLYWHEEL_CLICKHOUSE_USER": "username", "FLYWHEEL_CLICKHOUSE_PASSWORD": "password"}
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": clickhouse.secret_name, "key": key}}}
        for name, key in names.items()
    ]


def _probe(path: str, **timing: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "ingest"}, "timeoutSeconds": 5, **timing}


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "port": number}


def _object(namespace: str, api_version: str, kind: str, **fields: Any) -> Manifest:
    metadata = {"name": naming.WORKER, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
