"""How many replicas a service has, stage by stage."""

from dataclasses import dataclass
from typing import Any

from flywheel.api.autoscaling import Metric
from flywheel.api.service import Service
from flywheel.metrics.naming import CAMPAIGN, EVENT, EVENTS_PER_SECOND, REQUESTS_PER_SECOND, SERVICE, event_label
from flywheel.plan import Manifest
from flywheel.workload.adapter import event_metric
from flywheel.workload.provider import OURS, Provider


@dataclass(frozen=True, slots=True)
class Phase:
    """What of a Campaign's time matters to the size of its services."""

    zero: bool = False
    """Nothing shall run: retained or suspended."""
    warm: bool = False
    """The warm size is the floor: shortly before the start, and while it is held after it."""
    live: bool = False
    capped: bool = False
    """Back to base size, whatever the load: draining."""


@dataclass(frozen=True, slots=True)
class Size:
    """Either a fixed number of replicas, or the limits within which the autoscaler decides."""

    replicas: int | None = None
    minimum: int | None = None
    maximum: int | None = None

    @property
    def floor(self) -> int:
        """How many replicas must be there at least for the service to be as the plan wants it."""
        return self.replicas if self.replicas is not None else self.minimum or 0


def size_of(service: Service, phase: Phase) -> Size:
    """Decide the size of `service`. At zero there is no autoscaler: Kubernetes switches it off there anyway."""
    base = service.base_replicas
    if phase.zero:
        return Size(replicas=0)
    scaling = service.autoscaling
    if scaling is None:
        return Size(replicas=base)
    if phase.warm:
        return Size(minimum=scaling.warm_replicas, maximum=scaling.max)
    if phase.live:
        return Size(minimum=scaling.min, maximum=scaling.max)
    if base == 0:
        return Size(replicas=0)
    return Size(minimum=base, maximum=base if phase.capped else max(base, scaling.max))


def autoscaler(
    campaign: str, service: Service, size: Size, metadata: Manifest, provider: Provider = OURS, target: str = ""
) -> Manifest | None:
    """Build the HorizontalPodAutoscaler of `service` in autoscaling/v2; None where its size is fixed.

    `target` names the Deployment, where it is not called as the autoscaler.
    """
    if service.autoscaling is None or size.replicas is not None:
        return None
    spec: Manifest = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target or metadata["name"]},
        "minReplicas": size.minimum,
        "maxReplicas": size.maximum,
        "metrics": [_metric(campaign, service.name, each, provider) for each in service.autoscaling.metrics],
    }
    if service.autoscaling.behavior:
        spec["behavior"] = service.autoscaling.behavior
    return {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": metadata, "spec": spec}


def _metric(campaign: str, service: str, metric: Metric, provider: Provider) -> dict[str, Any]:
    if metric.raw is not None:
        return dict(metric.raw)
    if metric.event is not None and metric.per_second is not None:
        return _per_replica(*_event(campaign, metric.event, provider), metric.per_second)
    if metric.requests is not None:
        return _per_replica(REQUESTS_PER_SECOND, {CAMPAIGN: campaign, SERVICE: service}, metric.requests)
    name, percentage = ("cpu", metric.cpu) if metric.cpu is not None else ("memory", metric.memory)
    target = {"type": "Utilization", "averageUtilization": percentage}
    return {"type": "Resource", "resource": {"name": name, "target": target}}


def _event(campaign: str, event: str, provider: Provider) -> tuple[str, dict[str, str]]:
    if provider.adapter == "PrometheusAdapter":
        return event_metric(event), {CAMPAIGN: campaign}
    return EVENTS_PER_SECOND, {CAMPAIGN: campaign, EVENT: event_label(event)}


def _per_replica(name: str, labels: dict[str, str], amount: int | str) -> dict[str, Any]:
    """Ask for a figure of the whole campaign, of which each replica bears `amount`."""
    metric = {"name": name, "selector": {"matchLabels": labels}}
    target = {"type": "AverageValue", "averageValue": str(amount)}
    return {"type": "External", "external": {"metric": metric, "target": target}}
