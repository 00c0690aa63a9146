"""Rules for prometheus-adapter, in a cluster where it serves the external metrics."""

import hashlib
from collections.abc import Iterable

import yaml

from flywheel.api.service import Service
from flywheel.metrics.naming import CAMPAIGN, EVENTS_PER_SECOND, EVENTS_TOTAL, REQUESTS_PER_SECOND, REQUESTS_TOTAL
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest
from flywheel.workload.promql import WINDOW, text

RULES_KEY = "rules.yaml"


def rules_name(campaign: str) -> str:
    """Name the ConfigMap of the rules."""
    return f"{campaign}-adapter-rules"


def event_metric(event: str) -> str:
    """Name the metric of one event: the adapter passes labels on as they are, and no label holds every name."""
    return f"{EVENTS_PER_SECOND}-{hashlib.sha256(event.encode()).hexdigest()[:10]}"


def adapter_rules(services: Iterable[Service]) -> list[Manifest]:
    """Build the external rules that the autoscalers of `services` ask for; they hold for all campaigns."""
    metrics = [metric for each in services if each.autoscaling for metric in each.autoscaling.metrics]
    rules = [
        _rule(EVENTS_TOTAL, event_metric(event), f"event={text(event)},")
        for event in dict.fromkeys(metric.event for metric in metrics if metric.event is not None)
    ]
    if any(metric.requests is not None for metric in metrics):
        rules.append(_rule(REQUESTS_TOTAL, REQUESTS_PER_SECOND, ""))
    return rules


def rules_manifest(campaign: str, namespace: str, services: Iterable[Service]) -> Manifest | None:
    """Build the ConfigMap with the rules of a campaign, to be joined to the adapter's own; None without any."""
    rules = adapter_rules(services)
    if not rules:
        return None
    labels = {
        "app.kubernetes.io/name": "adapter-rules",
        "app.kubernetes.io/instance": campaign,
        "app.kubernetes.io/component": "scaling",
        MANAGED_BY_LABEL: "flywheel",
        CAMPAIGN_LABEL: campaign,
    }
    file = yaml.safe_dump({"externalRules": rules}, sort_keys=False, allow_unicode=True, width=1000)
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": rules_name(campaign), "namespace": namespace, "labels": labels},
        "data": {RULES_KEY: file},
    }


def _rule(counter: str, name: str, matchers: str) -> Manifest:
    return {
        "seriesQuery": f'{counter}{{{matchers}namespace!="",{CAMPAIGN}!=""}}',
        "resources": {"overrides": {"namespace": {"resource": "namespace"}}},
        "name": {"as": name},
        "metricsQuery": f"sum(rate({counter}{{{matchers}<<.LabelMatchers>>}}[{WINDOW}]))",
    }
