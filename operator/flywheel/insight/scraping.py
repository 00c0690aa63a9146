"""How a Prometheus with its operator finds the pods that have figures. Others go by the annotations of the pods."""

from collections.abc import Mapping

from flywheel.edge.naming import COMPONENT as EDGE
from flywheel.events.naming import COMPONENT as ANALYTICS
from flywheel.events.naming import WORKER
from flywheel.insight.monitoring import MonitoringSettings, monitoring_metadata
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, SHARED_LABEL, Manifest

FRAUD = "fraud"
"""The component of `flywheel.fraud.naming`, which is no part of this one."""
PORT = "metrics"
"""Name of the port in all these pods."""
INTERVAL = "15s"


def pod_monitor_manifest(campaign: str, namespace: str, settings: MonitoringSettings) -> Manifest:
    """Build the object by which the edge pods of a campaign are scraped."""
    metadata = monitoring_metadata(campaign, namespace, "edge", settings.labels)
    own = {CAMPAIGN_LABEL: campaign, "app.kubernetes.io/component": EDGE}
    return _pod_monitor(metadata, {"matchLabels": own})


def worker_monitor_manifest(namespace: str, labels: Mapping[str, str]) -> Manifest:
    """Build the object by which a namespace's workers are scraped; like them, it is its campaigns'."""
    own = {
        "app.kubernetes.io/name": WORKER,
        "app.kubernetes.io/component": ANALYTICS,
        MANAGED_BY_LABEL: "flywheel",
        SHARED_LABEL: ANALYTICS,
    }
    metadata = {"name": WORKER, "namespace": namespace, "labels": {**labels, **own}}
    shared = {"key": SHARED_LABEL, "operator": "In", "values": [ANALYTICS, FRAUD]}
    return _pod_monitor(metadata, {"matchExpressions": [shared]})


def _pod_monitor(metadata: Manifest, selector: Manifest) -> Manifest:
    endpoint = {
        "port": PORT,
        "path": "/metrics",
        "interval": INTERVAL,
        "scrapeTimeout": "10s",
        # The figures say themselves to which campaign they belong.
        "honorLabels": True,
    }
    spec = {"selector": selector, "podMetricsEndpoints": [endpoint]}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata, "spec": spec}
