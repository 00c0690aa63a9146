"""The HTTPRoute of a Campaign: from its hostnames and paths to its services."""

from typing import Any

from flywheel.api.campaign import Campaign
from flywheel.api.route import Route, RouteRule
from flywheel.api.service import Service
from flywheel.edge.naming import ENTRY_PORT, edge_name
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest
from flywheel.workload.naming import child_name

GATEWAY_GROUP = "gateway.networking.k8s.io"


def route_manifest(campaign: Campaign) -> Manifest:
    """Build the HTTPRoute. Everything goes to the edge where there is one; else to the services by their rules."""
    route = campaign.spec.route
    if route is None:
        raise ValueError("a Campaign without spec.route has no HTTPRoute")
    spec: Manifest = {"parentRefs": list(route.parent_refs), "rules": _rules(campaign, route)}
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": f"{GATEWAY_GROUP}/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": campaign.name,
            "namespace": campaign.namespace,
            "labels": {
                "app.kubernetes.io/name": campaign.name,
                "app.kubernetes.io/instance": campaign.name,
                "app.kubernetes.io/component": "route",
                MANAGED_BY_LABEL: "flywheel",
                CAMPAIGN_LABEL: campaign.name,
            },
        },
        "spec": spec,
    }


def _rules(campaign: Campaign, route: Route) -> list[Manifest]:
    if campaign.spec.edge:
        everything = {"path": {"type": "PathPrefix", "value": "/"}}
        return [{"matches": [everything], "backendRefs": [{"name": edge_name(campaign.name), "port": ENTRY_PORT}]}]
    services = campaign.spec.services
    with_ports = [service for service in services if service.listening_ports]
    rules = route.rules or ([RouteRule(path="/", service=with_ports[0].name)] if with_ports else [])
    return [_rule(campaign.name, rule, services) for rule in rules]


def _rule(campaign: str, rule: RouteRule, services: tuple[Service, ...]) -> dict[str, Any]:
    target = next(service for service in services if service.name == rule.service)
    return {
        "matches": [{"path": {"type": "PathPrefix", "value": rule.path}}],
        "backendRefs": [
            {"name": child_name(campaign, rule.service), "port": rule.port or target.listening_ports[0].port}
        ],
    }
