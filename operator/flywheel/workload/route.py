"""The HTTPRoute of a Campaign: from its hostnames and paths to its services."""

from typing import Any

from flywheel.api.route import Route, RouteRule
from flywheel.api.service import Service
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest
from flywheel.workload.naming import child_name

GATEWAY_GROUP = "gateway.networking.k8s.io"


def route_manifest(campaign: str, namespace: str, route: Route, services: tuple[Service, ...]) -> Manifest:
    """Build the HTTPRoute. Without rules, everything goes to the only service that has ports."""
    with_ports = [service for service in services if service.listening_ports]
    rules = route.rules or ([RouteRule(path="/", service=with_ports[0].name)] if with_ports else [])
    spec: Manifest = {
        "parentRefs": list(route.parent_refs),
        "rules": [_rule(campaign, rule, services) for rule in rules],
    }
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": campaign,
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/name": campaign,
                "app.kubernetes.io/instance": campaign,
                "app.kubernetes.io/component": "route",
                MANAGED_BY_LABEL: "flywheel",
                CAMPAIGN_LABEL: campaign,
            },
        },
        "spec": spec,
    }


def _rule(campaign: str, rule: RouteRule, services: tuple[Service, ...]) -> dict[str, Any]:
    target = next(service for service in services if service.name == rule.service)
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": rule.path}}],
        "backendRefs": [
            {"name": child_name(campaign, rule.service), "port": rule.port or target.listening_ports[0].port}
        ],
    }
