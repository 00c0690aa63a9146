"""The children of a Campaign's edge, as plain manifests in the order in which they are created."""

from typing import Any

from flywheel.api.campaign import Campaign
from flywheel.api.edge import Edge
from flywheel.edge import naming
from flywheel.edge.document import DOCUMENT_KEY, EdgeDocument, encode
from flywheel.events.naming import AUDIENCE
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest
from flywheel.workload.scaling import Size
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

APPLIED_LABEL = "flywheel.dev/applied"
USER = 65532
FLUSH_SECONDS = 300
"""How long a pod that goes may still deliver what it holds: as long as the store may be away."""
OPEN_REQUESTS_SECONDS = 30
"""How long requests under way may take after a pod has stopped taking new ones."""
HAPROXY_RESOURCES = {"requests": {"cpu": "200m", "memory": "128Mi"}}
SIDECAR_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}}
"""Without the sidecar the site serves on, so it may be ended before it takes the node's memory from HAProxy."""
API_TOKEN_DIRECTORY = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path


def edge_size(edge: Edge, *, zero: bool) -> Size:
    """Decide the size of the edge: it serves from Preparing to the end of Draining."""
    most = max(edge.replicas, edge.autoscaling.max)
    if zero:
        return Size(replicas=0)
    return Size(replicas=edge.replicas) if most == edge.replicas else Size(minimum=edge.replicas, maximum=most)


def edge_manifests(campaign: Campaign, edge: Edge, document: EdgeDocument, size: Size, image: str) -> list[Manifest]:
    """Build every child of the edge."""
    name = naming.edge_name(campaign.name)
    metadata: Manifest = {"name": name, "namespace": campaign.namespace, "labels": edge_labels(campaign.name)}
    applied = {
        **metadata,
        "name": naming.applied_name(campaign.name),
        "labels": {**metadata["labels"], APPLIED_LABEL: naming.COMPONENT},
    }
    children = [
        _object("v1", "ServiceAccount", metadata, automountServiceAccountToken=False),
        _object("rbac.authorization.k8s.io/v1", "Role", metadata, rules=_rules(campaign.name)),
        _role_binding(metadata),
        _object("v1", "ConfigMap", metadata, data={DOCUMENT_KEY: encode(document)}),
        _object("v1", "ConfigMap", applied),
        _service(campaign.name, edge, metadata),
        _disruption_budget(campaign.name, metadata),
        _deployment(campaign.name, edge, metadata, size, image),
        _autoscaler(edge, metadata, size),
    ]
    return [each for each in children if each is not None]


def edge_labels(campaign: str) -> dict[str, str]:
    """Return the labels that every child of the edge carries."""
    return {
        "app.kubernetes.io/name": naming.COMPONENT,
        "app.kubernetes.io/instance": campaign,
        "app.kubernetes.io/component": naming.COMPONENT,
        MANAGED_BY_LABEL: "flywheel",
        CAMPAIGN_LABEL: campaign,
    }


def edge_selector(campaign: str) -> dict[str, str]:
    """Return the labels that select the edge's pods, and no pod of a service."""
    return {CAMPAIGN_LABEL: campaign, "app.kubernetes.io/component": naming.COMPONENT}


def _object(api_version: str, kind: str, metadata: Manifest, **fields: Any) -> Manifest:
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **fields}


def _rules(campaign: str) -> list[Manifest]:
    """What the sidecar may do: read its orders and where the services' pods are, and say what it has applied."""
    own, applied = naming.edge_name(campaign), naming.applied_name(campaign)
    return [
        {
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [own],
            "verbs": ["get", "list", "watch"],
        },
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": [applied], "verbs": ["get", "patch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]},
    ]


def _role_binding(metadata: Manifest) -> Manifest:
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]}
    subject = {"kind": "ServiceAccount", "name": metadata["name"], "namespace": metadata["namespace"]}
    return _object("rbac.authorization.k8s.io/v1", "RoleBinding", metadata, roleRef=role, subjects=[subject])


def _service(campaign: str, edge: Edge, metadata: Manifest) -> Manifest:
    ports = [
        {
            "name": "http",
            "port": naming.ENTRY_PORT,
            "targetPort": naming.HTTP_PORT,
            "protocol": "TCP",
            "appProtocol": "http",
        }
    ]
    if edge.tls:
        ports.append(
            {"name": "https", "port": 443, "targetPort": naming.HTTPS_PORT, "protocol": "TCP", "appProtocol": "https"}
        )
    own = {**metadata, "annotations": dict(edge.service.annotations)} if edge.service.annotations else metadata
    spec = {"type": edge.service.type, "selector": edge_selector(campaign), "ports": ports}
    return _object("v1", "Service", own, spec=spec)


def _disruption_budget(campaign: str, metadata: Manifest) -> Manifest:
    spec = {"selector": {"matchLabels": edge_selector(campaign)}, "maxUnavailable": 1}
    return _object("policy/v1", "PodDisruptionBudget", metadata, spec=spec)


def _autoscaler(edge: Edge, metadata: Manifest, size: Size) -> Manifest | None:
    if size.replicas is not None:
        return None
    target = {"type": "Utilization", "averageUtilization": edge.autoscaling.cpu}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": metadata["name"]},
        "minReplicas": size.minimum,
        "maxReplicas": size.maximum,
        # Of HAProxy alone: the sidecar's own load must not be diluted into it, or it into the sidecar's.
        "metrics": [
            {
                "type": "ContainerResource",
                "containerResource": {"name": "cpu", "container": "haproxy", "target": target},
            }
        ],
    }
    return _object("autoscaling/v2", "HorizontalPodAutoscaler", metadata, spec=spec)


def _deployment(campaign: str, edge: Edge, metadata: Manifest, size: Size, image: str) -> Manifest:
    spec: Manifest = {
        "selector": {"matchLabels": edge_selector(campaign)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": _pod_template(campaign, edge, metadata, edge.image or image),
    }
    if size.replicas is not None:
        spec["replicas"] = size.replicas
    return _object("apps/v1", "Deployment", metadata, spec=spec)


def _pod_template(campaign: str, edge: Edge, metadata: Manifest, image: str) -> Manifest:
    drain = int(edge.drain_for.total_seconds())
    annotations = {
        "kubectl.kubernetes.io/default-container": "haproxy",
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(naming.SIDECAR_PORT),
        "prometheus.io/path": "/metrics",
    }
    return {
        "metadata": {"labels": metadata["labels"], "annotations": annotations},
        "spec": {
            "serviceAccountName": metadata["name"],
            "automountServiceAccountToken": False,
            "securityContext": {**POD_SECURITY, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "terminationGracePeriodSeconds": drain + OPEN_REQUESTS_SECONDS + FLUSH_SECONDS + 15,
            "topologySpreadConstraints": _spread(campaign),
            # A sidecar of Kubernetes' own kind: HAProxy starts when its configuration is there, and the sidecar
            # ends after HAProxy, with everything that HAProxy still had to say.
            "initContainers": [_sidecar(campaign, edge, image)],
            "containers": [_haproxy(edge, image, drain)],
            "volumes": _volumes(metadata["name"], edge),
        },
    }


def _spread(campaign: str) -> list[Manifest]:
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": edge_selector(campaign)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _haproxy(edge: Edge, image: str, drain: int) -> Manifest:
    ports = [_port("http", naming.HTTP_PORT), _port("haproxy-health", naming.HEALTH_PORT)]
    if edge.tls:
        ports.insert(1, _port("https", naming.HTTPS_PORT))
    run = naming.RUN_DIRECTORY
    return {
        "name": "haproxy",
        "image": image,
        "command": ["haproxy", "-W", "-S", f"{run}/master.sock", "-f", f"{run}/haproxy.cfg"],
        "ports": ports,
        "resources": edge.resources or HAPROXY_RESOURCES,
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        "readinessProbe": _probe("/readyz", naming.HEALTH_PORT, periodSeconds=2, failureThreshold=2),
        "livenessProbe": _probe("/healthz", naming.HEALTH_PORT, periodSeconds=10, failureThreshold=3),
        "lifecycle": {
            "preStop": {"exec": {"command": ["flywheel", "edge-drain", f"--run-directory={run}", f"--for={drain}s"]}}
        },
        "volumeMounts": [{"name": "run", "mountPath": run}],
    }


def _sidecar(campaign: str, edge: Edge, image: str) -> Manifest:
    return {
        "name": "sidecar",
        "image": image,
        "restartPolicy": "Always",
        "command": ["flywheel", "sidecar"],
        "args": [
            f"--campaign={campaign}",
            f"--run-directory={naming.RUN_DIRECTORY}",
            f"--document-directory={naming.DOCUMENT_DIRECTORY}",
            f"--spool-directory={naming.SPOOL_DIRECTORY}",
            f"--spool-limit={edge.events.spool}",
            f"--token-file={naming.TOKEN_FILE}",
            f"--flush-for={FLUSH_SECONDS}s",
            *([f"--tls-directory={naming.TLS_DIRECTORY}"] if edge.tls else []),
        ],
        "env": [
            {"name": "FLYWHEEL_NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
            {"name": "FLYWHEEL_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "ports": [_port("metrics", naming.SIDECAR_PORT)],
        "resources": edge.sidecar_resources or SIDECAR_RESOURCES,
        "securityContext": {**CONTAINER_SECURITY, "readOnlyRootFilesystem": True},
        "startupProbe": _probe("/readyz", naming.SIDECAR_PORT, periodSeconds=1, failureThreshold=120),
        "livenessProbe": _probe("/healthz", naming.SIDECAR_PORT, periodSeconds=10, failureThreshold=6),
        "volumeMounts": [
            {"name": "run", "mountPath": naming.RUN_DIRECTORY},
            {"name": "spool", "mountPath": naming.SPOOL_DIRECTORY},
            {"name": "temporary", "mountPath": "/tmp"},  # noqa: S108 - a volume of the pod's own
            {"name": "document", "mountPath": naming.DOCUMENT_DIRECTORY, "readOnly": True},
            {"name": "store-token", "mountPath": naming.TOKEN_FILE.rpartition("/")[0], "readOnly": True},
            {"name": "api-token", "mountPath": API_TOKEN_DIRECTORY, "readOnly": True},
            *([{"name": "tls", "mountPath": naming.TLS_DIRECTORY, "readOnly": True}] if edge.tls else []),
        ],
    }


def _volumes(config_map: str, edge: Edge) -> list[Manifest]:
    token = {"path": "token", "expirationSeconds": 3600}
    api = [
        {"serviceAccountToken": token},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
    ]
    volumes: list[Manifest] = [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": "64Mi"}},
        # A little more than the spool may hold, so that the sidecar meets its own limit before the kubelet evicts.
        {"name": "spool", "emptyDir": {"sizeLimit": str(edge.events.spool * 5 // 4 + (64 << 20))}},
        {"name": "temporary", "emptyDir": {"sizeLimit": "64Mi"}},
        {"name": "document", "configMap": {"name": config_map}},
        {"name": "store-token", "projected": {"sources": [{"serviceAccountToken": {**token, "audience": AUDIENCE}}]}},
        {"name": "api-token", "projected": {"sources": api}},
    ]
    if edge.tls:
        # Optional, so that a missing Secret is told by the sidecar instead of by a pod that never starts.
        volumes.append({"name": "tls", "secret": {"secretName": edge.tls.secret_name, "optional": True}})
    return volumes


def _port(name: str, number: int) -> Manifest:
    return {"name": name, "containerPort": number, "protocol": "TCP"}


def _probe(path: str, port: int, **timing: int) -> Manifest:
    return {"httpGet": {"path": path, "port": port}, "timeoutSeconds": 5, **timing}
