"""Every child that a Campaign shall have, and the field of the spec that each comes from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.service import Service
from flywheel.campaign.entry import EdgeOrders
from flywheel.campaign.gates import gate_children
from flywheel.campaign.observed import Observed
from flywheel.campaign.releasing import Releasing, released_children
from flywheel.campaign.rolling import rolling_children
from flywheel.campaign.variants import Standing, kept_variants, variant_children
from flywheel.edge.manifests import edge_manifests
from flywheel.edge.naming import edge_name
from flywheel.insight.dashboard import dashboard_manifest
from flywheel.insight.monitoring import MonitoringSettings
from flywheel.insight.rules import prometheus_rule_manifest, rules_config_map
from flywheel.insight.scraping import pod_monitor_manifest
from flywheel.plan import Manifest, ObjectKey
from flywheel.workload.adapter import rules_manifest
from flywheel.workload.route import GATEWAY_GROUP, route_manifest
from flywheel.workload.scaling import Phase, Size, size_of

Api = tuple[str, str]
"""Group and kind of an API that a cluster may lack."""

ROUTE_API: Api = (GATEWAY_GROUP, "HTTPRoute")
RULE_API: Api = ("monitoring.coreos.com", "PrometheusRule")
MONITOR_API: Api = ("monitoring.coreos.com", "PodMonitor")


def optional_apis(campaign: Campaign) -> frozenset[Api]:
    """Name the APIs of which the Campaign makes use where the cluster serves them."""
    spec = campaign.spec
    route = {ROUTE_API} if spec.route else set()
    monitoring = {RULE_API, MONITOR_API} if spec.edge else set()
    return frozenset(route | monitoring)


@dataclass(frozen=True, slots=True)
class Desired:
    """Every child that shall be there."""

    apply: tuple[Manifest, ...]
    origins: Mapping[ObjectKey, str]
    """The field of the spec that each comes from."""
    keep: tuple[ObjectKey, ...] = ()
    """Those that stay as they are."""


def desired(
    observed: Observed,
    campaign: Campaign,
    phase: Phase,
    orders: EdgeOrders | None,
    going_on: Releasing,
    standing: Sequence[Standing],
    now: datetime,
) -> Desired:
    """Build every child, with the field of the spec that each comes from."""
    made: dict[ObjectKey, Manifest] = {}
    origins: dict[ObjectKey, str] = {}
    keep: list[ObjectKey] = []
    for index, service in enumerate(campaign.spec.services):
        children, kept = _of_service(observed, campaign, service, phase, going_on, now)
        keep += kept
        for manifest in children:
            made[ObjectKey.of(manifest)] = _lifted_from_zero(observed, manifest, size_of(service, phase))
            origins[ObjectKey.of(manifest)] = f"spec.services[{index}]"
    for test, service, manifest in variant_children(observed, campaign, standing, phase):
        made[ObjectKey.of(manifest)] = _lifted_from_zero(observed, manifest, size_of(service, phase))
        origins[ObjectKey.of(manifest)] = f"ABTest {test}"
    keep += kept_variants(observed, campaign, standing)
    for origin, size, manifest in _children(observed, campaign, phase, orders):
        made[ObjectKey.of(manifest)] = _lifted_from_zero(observed, manifest, size)
        origins[ObjectKey.of(manifest)] = origin
    apply = tuple(made[key] for key in sorted(made, key=lambda key: not _leads_visitors(observed, key)))
    return Desired(apply, origins, tuple(key for key in dict.fromkeys(keep) if key not in made))


def _leads_visitors(observed: Observed, key: ObjectKey) -> bool:
    """Whether it is there and says where visitors go: a switch, and a way back above all, waits for nothing else."""
    orders = ObjectKey("", "ConfigMap", observed.namespace, edge_name(observed.name))
    return key in observed.children and (key.kind == "Service" or key == orders)


def _of_service(
    observed: Observed, campaign: Campaign, service: Service, phase: Phase, going_on: Releasing, now: datetime
) -> tuple[list[Manifest], list[ObjectKey]]:
    if service.name in going_on.steps:
        children, kept = released_children(observed, campaign, service, phase, going_on)
        jobs, kept_jobs = gate_children(observed, campaign, service, going_on.steps[service.name], now)
        return children + jobs, kept + kept_jobs
    return rolling_children(observed, campaign, service, phase)


def _children(
    observed: Observed, campaign: Campaign, phase: Phase, orders: EdgeOrders | None
) -> Iterator[tuple[str, Size, Manifest]]:
    if observed.provider.adapter == "PrometheusAdapter":
        rules = rules_manifest(observed.name, observed.namespace, campaign.spec.services)
        if rules is not None:
            yield "spec.services", Size(), rules
    edge = campaign.spec.edge
    if edge and orders:
        for manifest in edge_manifests(campaign, edge, orders.document, orders.size, observed.images.edge):
            yield "spec.edge", orders.size, manifest
        for manifest in _monitoring(observed, campaign, phase):
            yield "spec.analytics.monitoring", Size(), manifest
    if campaign.spec.route and observed.served.get(ROUTE_API, False):
        yield "spec.route", Size(), route_manifest(campaign)


def _monitoring(observed: Observed, campaign: Campaign, phase: Phase) -> Iterator[Manifest]:
    wanted = (campaign.spec.analytics or Analytics()).monitoring
    settings = MonitoringSettings.of(campaign, serving=not phase.zero)
    name, namespace = campaign.name, campaign.namespace
    if wanted.dashboard:
        yield dashboard_manifest(name, namespace, campaign.spec.title or name, settings)
    if wanted.rules:
        as_rule = observed.served.get(RULE_API, False)
        yield (prometheus_rule_manifest if as_rule else rules_config_map)(name, namespace, settings)
    if observed.served.get(MONITOR_API, False):
        yield pod_monitor_manifest(name, namespace, settings)


def _lifted_from_zero(observed: Observed, manifest: Manifest, size: Size) -> Manifest:
    """Name the number of replicas once where an autoscaler finds none: it takes zero for switched off, for ever.

    Source: kubernetes.io, "Horizontal Pod Autoscaling", implicit maintenance-mode deactivation.
    """
    live = observed.children.get(ObjectKey.of(manifest))
    if manifest["kind"] != "Deployment" or size.replicas is not None or live is None or live.replicas != 0:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": size.minimum}}
