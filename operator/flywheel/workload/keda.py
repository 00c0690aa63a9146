"""Scaling by KEDA, in a cluster where KEDA serves the external metrics: a ScaledObject instead of our autoscaler."""

from decimal import Decimal

from flywheel.api.autoscaling import Metric
from flywheel.api.service import Service
from flywheel.plan import Manifest
from flywheel.workload.promql import events_per_second, requests_per_second
from flywheel.workload.scaling import Size

HPA_EXCLUDED_LABELS = "scaledobject.keda.sh/hpa-excluded-labels"
POLLING_SECONDS = 15
_EXPONENTS = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_POWERS = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}


def scaled_object(
    campaign: str, service: Service, size: Size, metadata: Manifest, prometheus: str, target: str = ""
) -> Manifest | None:
    """Build the ScaledObject of `service`; None where its size is fixed.

    `target` names the Deployment, where it is not called as the ScaledObject.
    """
    if service.autoscaling is None or size.replicas is not None:
        return None
    metrics = [metric for metric in service.autoscaling.metrics if metric.raw is None]
    spec: Manifest = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": target or metadata["name"]},
        "minReplicaCount": size.minimum,
        "maxReplicaCount": size.maximum,
        "pollingInterval": POLLING_SECONDS,
        "triggers": [_trigger(campaign, service.name, metadata["namespace"], each, prometheus) for each in metrics],
    }
    if service.autoscaling.behavior:
        spec["advanced"] = {"horizontalPodAutoscalerConfig": {"behavior": service.autoscaling.behavior}}
    # Else KEDA's own autoscaler carries our labels, and looks like a child of ours.
    annotations = {HPA_EXCLUDED_LABELS: ",".join(metadata["labels"])}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {**metadata, "annotations": annotations},
        "spec": spec,
    }


def obstacle(service: Service) -> str | None:
    """Say what of the autoscaling of `service` KEDA cannot do, or None."""
    metrics = service.autoscaling.metrics if service.autoscaling else ()
    positions = [str(position) for position, metric in enumerate(metrics) if metric.raw is not None]
    if not positions:
        return None
    return (
        f"autoscaling.metrics[{', '.join(positions)}].raw cannot stand beside event or requests where KEDA scales: "
        "it takes triggers and no MetricSpec. Leave raw out, or make a service of its own of it."
    )


def _trigger(campaign: str, service: str, namespace: str, metric: Metric, prometheus: str) -> Manifest:
    if metric.event is not None and metric.per_second is not None:
        return _prometheus(prometheus, events_per_second(namespace, campaign, metric.event), metric.per_second)
    if metric.requests is not None:
        return _prometheus(prometheus, requests_per_second(namespace, campaign, service), metric.requests)
    name, percentage = ("cpu", metric.cpu) if metric.cpu is not None else ("memory", metric.memory)
    return {"type": name, "metricType": "Utilization", "metadata": {"value": str(percentage)}}


def _prometheus(address: str, query: str, threshold: int | str) -> Manifest:
    said = {
        "serverAddress": address,
        "query": query,
        "threshold": decimal_text(threshold),
        # No answer is no zero.
        "ignoreNullValues": "false",
    }
    return {"type": "prometheus", "metricType": "AverageValue", "metadata": said}


def decimal_text(quantity: int | str) -> str:
    """Write a quantity of Kubernetes, such as `500m` or `2k`, as a plain decimal number."""
    text = str(quantity)
    if text[-2:] in _POWERS:
        value = Decimal(text[:-2]) * 1024 ** _POWERS[text[-2:]]
    elif text[-1] in _EXPONENTS:
        value = Decimal(text[:-1]).scaleb(_EXPONENTS[text[-1]])
    else:
        value = Decimal(text)
    plain = f"{value:f}"
    return plain.rstrip("0").rstrip(".") if "." in plain else plain
