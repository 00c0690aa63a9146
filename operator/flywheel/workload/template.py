"""The pod template of a service: what its author wrote, on top of defaults that are safe."""

from dataclasses import dataclass
from typing import Any, Final

from flywheel.api.service import Service
from flywheel.plan import Manifest
from flywheel.workload.merge import strategic_merge
from flywheel.workload.naming import labels, selector

POD_SECURITY: Final[Manifest] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
CONTAINER_SECURITY: Final[Manifest] = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The restricted level of the Pod Security Standards: kubernetes.io, "Pod Security Standards"."""


@dataclass(frozen=True, slots=True)
class PodParts:
    """What stands in a pod for a program of the author's own: a server of ours, and what it needs."""

    container: Manifest
    init_containers: tuple[Manifest, ...] = ()
    volumes: tuple[Manifest, ...] = ()


def pod_template(
    campaign: str, service: Service, service_account: str, parts: PodParts | None = None, container: str = ""
) -> Manifest:
    """Build the pod template of `service`, with its `podTemplate` merged over the generated one.

    Args:
        campaign: Name of the Campaign.
        service: The service.
        service_account: What the pods run as.
        parts: Stand in for an image of its own.
        container: Name of the container; by default that of the service.
    """
    own = container or service.name
    volumes = [*service.volumes, *(parts.volumes if parts else ())]
    prepared = list(parts.init_containers) if parts else []
    generated: Manifest = {
        "metadata": {"labels": labels(campaign, service.name)},
        "spec": {
            "automountServiceAccountToken": bool(service.automount_service_account_token),
            "serviceAccountName": service_account,
            "securityContext": POD_SECURITY,
            "topologySpreadConstraints": _spread_constraints(campaign, service),
            **_present(initContainers=prepared),
            "containers": [_container(service, parts, own)],
            **_present(
                imagePullSecrets=service.image_pull_secrets,
                volumes=volumes,
                nodeSelector=service.node_selector,
                tolerations=service.tolerations,
                affinity=service.affinity,
                priorityClassName=service.priority_class_name,
                runtimeClassName=service.runtime_class_name,
                terminationGracePeriodSeconds=service.termination_grace_period_seconds,
            ),
        },
    }
    return _with_defaults(strategic_merge(generated, _override(service)), own)


def _with_defaults(template: Manifest, service: str) -> Manifest:
    """Give containers that the author added the same safe defaults, and kubectl the one that people mean."""
    spec = template["spec"]
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        container["securityContext"] = {**CONTAINER_SECURITY, **container.get("securityContext", {})}
    if len(spec["containers"]) > 1:
        annotations = template["metadata"].setdefault("annotations", {})
        annotations.setdefault("kubectl.kubernetes.io/default-container", service)
    return template


def container_ports(service: Service) -> list[dict[str, Any]]:
    """Return the ports of the service's own container; several ports of the service may lead to the same one."""
    ports: dict[tuple[int, str], dict[str, Any]] = {}
    for port in service.listening_ports:
        entry = {"name": port.name, "containerPort": port.container_port, "protocol": port.protocol}
        ports.setdefault((port.container_port, port.protocol), entry)
    return list(ports.values())


def _container(service: Service, parts: PodParts | None, name: str) -> dict[str, Any]:
    given: Manifest = parts.container if parts else {"image": service.image}
    mounts = [*service.volume_mounts, *given.get("volumeMounts", ())]
    return {
        "name": name,
        **given,
        "securityContext": {**CONTAINER_SECURITY, **given.get("securityContext", {})},
        **_present(
            imagePullPolicy=service.image_pull_policy,
            command=service.command,
            args=service.args,
            ports=container_ports(service),
            env=service.env,
            envFrom=service.env_from,
            resources=service.resources,
            readinessProbe=_aimed(service.readiness_probe, service),
            livenessProbe=_aimed(service.liveness_probe, service),
            startupProbe=_aimed(service.startup_probe, service),
            lifecycle={hook: _aimed(action, service) for hook, action in (service.lifecycle or {}).items()},
            volumeMounts=mounts,
        ),
    }


def _aimed(action: Any, service: Service) -> Any:
    """Give a probe or hook that names no port the service's first one: Kubernetes itself wants it named."""
    if not isinstance(action, dict) or not service.listening_ports:
        return action
    port = service.listening_ports[0].container_port
    asking = {
        kind: {**action[kind], "port": action[kind].get("port", port)}
        for kind in ("httpGet", "tcpSocket", "grpc")
        if action.get(kind) is not None
    }
    return {**action, **asking}


def _spread_constraints(campaign: str, service: Service) -> list[dict[str, Any]]:
    """Over zones first, then over nodes; a preference, so that a small cluster still runs everything."""
    if service.topology_spread_constraints is not None:
        return list(service.topology_spread_constraints)
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(campaign, service.name)},
        }
        for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
    ]


def _override(service: Service) -> Manifest:
    template = service.pod_template
    if template is None:
        return {}
    metadata = template.metadata
    override: Manifest = {"spec": template.spec or {}}
    if metadata is not None:
        override["metadata"] = _present(labels=metadata.labels, annotations=metadata.annotations)
    return override


def _present(**fields: Any) -> dict[str, Any]:
    """Keep what the author set: an absent field stays absent, so that it can be another manager's."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in fields.items()}
    return {name: value for name, value in plain.items() if value not in (None, [], {})}
