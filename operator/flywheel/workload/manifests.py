"""The children of one service, as plain manifests in the order in which they are created."""

from flywheel.api.service import Service
from flywheel.plan import Manifest
from flywheel.workload.keda import scaled_object
from flywheel.workload.naming import child_name, labels, selector
from flywheel.workload.provider import OURS, Provider, counts_traffic
from flywheel.workload.scaling import Phase, Size, autoscaler, size_of
from flywheel.workload.template import pod_template


def service_manifests(
    campaign: str, namespace: str, service: Service, phase: Phase, provider: Provider = OURS
) -> list[Manifest]:
    """Build every child of `service` in `phase`.

    Labels and annotations of the Campaign are not copied: tools that track objects by label (Argo CD, Helm) would
    take the children for their own and prune them.
    """
    metadata = {
        "name": child_name(campaign, service.name),
        "namespace": namespace,
        "labels": labels(campaign, service.name),
    }
    size = size_of(service, phase)
    children = [
        None if service.service_account_name else _service_account(metadata),
        _service(campaign, service, metadata),
        _disruption_budget(campaign, service, metadata),
        _deployment(campaign, service, metadata, size.replicas),
        _scaler(campaign, service, size, metadata, provider),
    ]
    return [each for each in children if each is not None]


def _scaler(campaign: str, service: Service, size: Size, metadata: Manifest, provider: Provider) -> Manifest | None:
    if provider.adapter == "KEDA" and counts_traffic(service):
        return scaled_object(campaign, service, size, metadata, provider.prometheus)
    return autoscaler(campaign, service, size, metadata, provider)


def _service_account(metadata: Manifest) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": metadata,
        "automountServiceAccountToken": False,
    }


def _service(campaign: str, service: Service, metadata: Manifest) -> Manifest | None:
    if not service.listening_ports:
        return None
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
    spec = {"selector": selector(campaign, service.name), "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}


def _disruption_budget(campaign: str, service: Service, metadata: Manifest) -> Manifest:
    budget = service.disruption_budget
    limit: Manifest = {"maxUnavailable": budget.max_unavailable}
    if budget.min_available is not None:
        limit = {"minAvailable": budget.min_available}
    spec = {"selector": {"matchLabels": selector(campaign, service.name)}, **limit}
    return {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata, "spec": spec}


def _deployment(campaign: str, service: Service, metadata: Manifest, replicas: int | None) -> Manifest:
    account = service.service_account_name or metadata["name"]
    spec: Manifest = {
        "selector": {"matchLabels": selector(campaign, service.name)},
        # No pod goes before its successor is ready: a change in the middle of the sale takes no capacity away.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": pod_template(campaign, service, account),
    }
    if replicas is not None:
        spec["replicas"] = replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec}
