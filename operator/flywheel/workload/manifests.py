"""The children of one service, as plain manifests in the order in which they are created."""

from collections.abc import Sequence

from flywheel.api.service import Service
from flywheel.plan import Manifest
from flywheel.workload.keda import scaled_object
from flywheel.workload.naming import child_name, labels, selector
from flywheel.workload.provider import OURS, Provider, counts_traffic
from flywheel.workload.scaling import Phase, Size, autoscaler, size_of
from flywheel.workload.template import PodParts, pod_template


def service_manifests(
    campaign: str,
    namespace: str,
    service: Service,
    phase: Phase,
    provider: Provider = OURS,
    parts: PodParts | None = None,
    container: str = "",
) -> list[Manifest]:
    """Build every child of `service` in `phase`; `parts` stand in for an image of its own.

    The container is called like the service unless `container` gives it another name.

    Labels and annotations of the Campaign are not copied: tools that track objects by label (Argo CD, Helm) would
    take the children for their own and prune them.
    """
    metadata = service_metadata(campaign, namespace, service.name)
    size = size_of(service, phase)
    select = selector(campaign, service.name)
    template = pod_template(campaign, service, account_of(campaign, service), parts, container)
    ports = service_ports(service)
    children = [
        service_account(campaign, namespace, service),
        kubernetes_service(metadata, select, ports) if ports else None,
        disruption_budget(service, metadata, select),
        deployment(metadata, select, template, size.replicas),
        scaler(campaign, service, size, metadata, provider),
    ]
    return [each for each in children if each is not None]


def service_metadata(campaign: str, namespace: str, service: str) -> Manifest:
    """Name and label what belongs to a service as a whole."""
    return {"name": child_name(campaign, service), "namespace": namespace, "labels": labels(campaign, service)}


def account_of(campaign: str, service: Service) -> str:
    """Name the ServiceAccount of the pods."""
    return service.service_account_name or child_name(campaign, service.name)


def scaler(
    campaign: str, service: Service, size: Size, metadata: Manifest, provider: Provider, target: str = ""
) -> Manifest | None:
    """Build what scales a service; None where its size is fixed.

    Args:
        campaign: Name of the Campaign.
        service: The service.
        size: Its limits.
        metadata: Of the autoscaler.
        provider: Who serves events and requests per second.
        target: Name of the Deployment; by default that of the autoscaler.
    """
    if provider.adapter == "KEDA" and counts_traffic(service):
        return scaled_object(campaign, service, size, metadata, provider.prometheus, target)
    return autoscaler(campaign, service, size, metadata, provider, target)


def service_account(campaign: str, namespace: str, service: Service) -> Manifest | None:
    """Build the ServiceAccount of a service that names none."""
    return None if service.service_account_name else own_account(campaign, namespace, service)


def own_account(campaign: str, namespace: str, service: Service) -> Manifest:
    """Build the ServiceAccount that is called like the service."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": service_metadata(campaign, namespace, service.name),
        "automountServiceAccountToken": False,
    }


def service_ports(service: Service) -> list[Manifest]:
    """Return the ports of the Kubernetes Service; empty for a service that is not reached."""
    ports = []
    for port in service.listening_ports:
        entry = {
            "name": port.name,
            "port": port.port,
            "targetPort": port.container_port,
            "protocol": port.protocol,
        }
        if port.app_protocol:
            entry["appProtocol"] = port.app_protocol
        ports.append(entry)
    return ports


def kubernetes_service(metadata: Manifest, select: Manifest, ports: Sequence[Manifest]) -> Manifest:
    """Build a Kubernetes Service."""
    spec = {"selector": select, "ports": list(ports)}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def disruption_budget(service: Service, metadata: Manifest, select: Manifest) -> Manifest:
    """Build the budget of some pods of a service."""
    budget = service.disruption_budget
    limit: Manifest = {"maxUnavailable": budget.max_unavailable}
    if budget.min_available is not None:
        limit = {"minAvailable": budget.min_available}
    spec = {"selector": {"matchLabels": select}, **limit}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def deployment(metadata: Manifest, select: Manifest, template: Manifest, replicas: int | None) -> Manifest:
    """Build a Deployment; without `replicas` an autoscaler decides."""
    spec: Manifest = {
        "selector": {"matchLabels": select},
        # No pod goes before its successor is ready: a change in the middle of the sale takes no capacity away.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": template,
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
