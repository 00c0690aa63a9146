"""Who serves the figures of events and requests to autoscalers."""

from dataclasses import dataclass
from typing import Literal

from flywheel.api.service import Service

Adapter = Literal["None", "KEDA", "PrometheusAdapter"]


@dataclass(frozen=True, slots=True)
class Provider:
    """Our own process, or what the cluster has already: only one program can serve external metrics."""

    adapter: Adapter = "None"
    prometheus: str = ""
    """Where KEDA asks: the address of a Prometheus that reads the edge pods."""


OURS = Provider()


def counts_traffic(service: Service) -> bool:
    """Tell whether `service` grows with events or requests."""
    metrics = service.autoscaling.metrics if service.autoscaling else ()
    return any(metric.event is not None or metric.requests is not None for metric in metrics)
