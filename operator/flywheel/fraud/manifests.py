"""The objects of a namespace's fraud workers, as plain manifests in the order in which they are created."""

import json
from collections.abc import Mapping
from typing import Any, Final

from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.edge.naming import TOKEN_FILE
from flywheel.events.naming import AUDIENCE, OPERATOR_COMPONENT
from flywheel.events.volumeclaim import CLAIM, VolumeClaim
from flywheel.fraud import naming
from flywheel.plan import MANAGED_BY_LABEL, SHARED_LABEL, Manifest
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

USER: Final = 65532
STOP_SECONDS: Final = 60
"""How long a worker may take to write its last snapshot."""
TEMPORARY_DIRECTORY: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
RESOURCES: Final[Manifest] = {"requests": {"cpu": "250m", "memory": "512Mi"}, "limits": {"memory": "2Gi"}}
_TOKEN: Final[Manifest] = {"path": "token", "expirationSeconds": 3600, "audience": AUDIENCE}
"""By which workers know each other."""
ASKERS_LABEL: Final = "flywheel.dev/asks-fraud"
"""Label of pods that may ask the worker, with the value `true`: services that grant something, and gateways."""
SELECTOR: Final[Mapping[str, str]] = {SHARED_LABEL: naming.COMPONENT}
"""The labels of the workers' pods: few, as a StatefulSet's selector can never change."""
LABELS: Final[Mapping[str, str]] = {
    "app.kubernetes.io/name": naming.WORKER,
    "app.kubernetes.io/component": naming.COMPONENT,
    MANAGED_BY_LABEL: "flywheel",
    **SELECTOR,
}


def account_manifest(namespace: str) -> Manifest:
    """Build what the workers are. They may do nothing: they read the cluster's public keys, as every account may."""
    return _object(namespace, "v1", "ServiceAccount", automountServiceAccountToken=False)


def rules_manifest(namespace: str, rules: Mapping[str, object]) -> Manifest:
    """Build the ConfigMap that the workers follow.

    Args:
        namespace: Where.
        rules: Campaign -> its rules, as JSON can hold them.
    """
    text = json.dumps(rules, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return _object(namespace, "v1", "ConfigMap", data={naming.RULES_KEY: text})


def network_manifests(namespace: str, operator: str = "") -> list[Manifest]:
    """Build how the workers are reached: by edges of the namespace, by the operator, and by those who may ask.

    Args:
        namespace: Where.
        operator: The operator's ServiceAccount as `namespace:name`. Empty: none.
    """
    policy = {
        "podSelector": {"matchLabels": dict(SELECTOR)},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"from": _senders(operator), "ports": [{"port": naming.PORT, "protocol": "TCP"}]},
            {"ports": [{"port": naming.METRICS_PORT, "protocol": "TCP"}]},
        ],
    }
    ports = [("events", naming.PORT), ("metrics", naming.METRICS_PORT)]
    service = {
        "selector": dict(SELECTOR),
        # Each worker has an address of its own: an edge talks to all of them.
        "clusterIP": "None",
        # Who is not ready says so itself, and what waits for it must find it.
        "publishNotReadyAddresses": True,
        "ports": [{"name": name, "port": port, "targetPort": name, "protocol": "TCP"} for name, port in ports],
    }
    return [
        _object(namespace, "networking.k8s.io/v1", "NetworkPolicy", spec=policy),
        _object(namespace, "v1", "Service", spec=service),
    ]


def _senders(operator: str) -> list[Manifest]:
    edges = {"podSelector": {"matchLabels": {"app.kubernetes.io/component": EDGE, MANAGED_BY_LABEL: "flywheel"}}}
    # They ask each other for what each has decided, and hand each other windows.
    workers = {"podSelector": {"matchLabels": dict(SELECTOR)}}
    # Gateways are in namespaces of their own.
    askers = {"namespaceSelector": {}, "podSelector": {"matchLabels": {ASKERS_LABEL: "true"}}}
    if not operator:
        return [edges, workers, askers]
    of_operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator.partition(":")[0]}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": OPERATOR_COMPONENT}},
    }
    return [edges, workers, askers, of_operator]


def disruption_budget(namespace: str) -> Manifest:
    """Build the PodDisruptionBudget: a node may be drained, as edges hold events and decisions for as long."""
    spec = {
        "selector": {"matchLabels": dict(SELECTOR)},
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
    }
    return _object(namespace, "policy/v1", "PodDisruptionBudget", spec=spec)


def stateful_set(
    namespace: str,
    image: str,
    claim: VolumeClaim,
    *,
    shards: int = 1,
    workers: int | None = None,
    operator: str = "",
    resources: Mapping[str, Any] = RESOURCES,
) -> Manifest:
    """Build the workers themselves.

    Args:
        namespace: Where.
        image: What they run.
        claim: The volume of each.
        shards: How many share the keys.
        workers: How many there are, where that is more: the others hand over what they have.
        operator: The operator's ServiceAccount as `namespace:name`; it may ask. Empty: none.
        resources: Of each.
    """
    spec: Manifest = {
        "replicas": shards if workers is None else workers,
        "serviceName": naming.WORKER,
        "selector": {"matchLabels": dict(SELECTOR)},
        # An ordered one would wait for a broken pod to become ready before it takes up what mends it.
        "podManagementPolicy": "Parallel",
        "updateStrategy": {"type": "RollingUpdate"},
        "revisionHistoryLimit": 3,
        "template": _pod_template(image, shards, operator, resources),
        "volumeClaimTemplates": [_claim_template(claim)],
        # What was counted is worth nothing once nobody counts any more.
        "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Delete", "whenScaled": "Delete"},
    }
    return _object(namespace, "apps/v1", "StatefulSet", spec=spec)


def _claim_template(claim: VolumeClaim) -> Manifest:
    spec: Manifest = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": claim.size}}}
    if claim.storage_class:
        spec["storageClassName"] = claim.storage_class
    return {"metadata": {"name": CLAIM, "labels": dict(LABELS)}, "spec": spec}


def _pod_template(image: str, shards: int, operator: str, resources: Mapping[str, Any]) -> Manifest:
    annotations = {
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(naming.METRICS_PORT),
        "prometheus.io/path": "/metrics",
    }
    spec = {
        "serviceAccountName": naming.WORKER,
        # For the cluster's public keys, by which edges and services are known.
        "automountServiceAccountToken": True,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": STOP_SECONDS,
        "topologySpreadConstraints": _spread(),
        "securityContext": {
            **POD_SECURITY,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            # A large volume is not gone through again at each start.
            "fsGroupChangePolicy": "OnRootMismatch",
        },
        "containers": [_container(image, shards, operator, resources)],
        "volumes": [
            {"name": "temporary", "emptyDir": {"sizeLimit": "256Mi"}},
            # Whole, not by subPath, or else other rules would not arrive.
            {"name": "rules", "configMap": {"name": naming.WORKER, "optional": True}},
            {"name": "token", "projected": {"sources": [{"serviceAccountToken": _TOKEN}]}},
        ],
    }
    return {"metadata": {"labels": dict(LABELS), "annotations": annotations}, "spec": spec}


def _spread() -> list[Manifest]:
    """Have workers on different nodes where that can be: with one node not all keys are without their judge."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(SELECTOR)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _container(image: str, shards: int, operator: str, resources: Mapping[str, Any]) -> Manifest:
    return {
        "name": naming.COMPONENT,
        "image": image,
        "args": [
            "fraud-worker",
            "--namespace=$(FLYWHEEL_NAMESPACE)",
            "--pod=$(FLYWHEEL_POD)",
            f"--shards={shards}",
            f"--data-directory={naming.DATA_DIRECTORY}",
            f"--rules-file={naming.RULES_DIRECTORY}/{naming.RULES_KEY}",
            f"--token-file={TOKEN_FILE}",
            *([f"--operator-account={operator}"] if operator else []),
        ],
        "env": [
            _field("FLYWHEEL_NAMESPACE", "metadata.namespace"),
            _field("FLYWHEEL_POD", "metadata.name"),
            {"name": "HOME", "value": TEMPORARY_DIRECTORY},
            # What the engine compiles at its first start is there at the next one.
            {"name": "NUMBA_CACHE_DIR", "value": f"{naming.DATA_DIRECTORY}/compiled"},
        ],
        "ports": [
            {"name": "events", "containerPort": naming.PORT, "protocol": "TCP"},
            {"name": "metrics", "containerPort": naming.METRICS_PORT, "protocol": "TCP"},
        ],
        "resources": dict(resources),
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        # A worker that was cut off judges again what its last snapshot does not cover.
        "startupProbe": _probe("/startz", periodSeconds=1, failureThreshold=300),
        "livenessProbe": _probe("/healthz", periodSeconds=10, failureThreshold=6),
        "readinessProbe": _probe("/readyz", periodSeconds=5, failureThreshold=3),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": CLAIM, "mountPath": naming.DATA_DIRECTORY},
            {"name": "temporary", "mountPath": TEMPORARY_DIRECTORY},
            {"name": "rules", "mountPath": naming.RULES_DIRECTORY, "readOnly": True},
            {"name": "token", "mountPath": TOKEN_FILE.rpartition("/")[0], "readOnly": True},
        ],
    }


def _field(name: str, path: str) -> Manifest:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _probe(path: str, **timing: int) -> Manifest:
    return {"httpGet": {"path": path, "port": "events"}, "timeoutSeconds": 5, **timing}


def _object(namespace: str, api_version: str, kind: str, **fields: Any) -> Manifest:
    metadata = {"name": naming.WORKER, "namespace": namespace, "labels": dict(LABELS)}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}
