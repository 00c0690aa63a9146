"""Who shares a namespace's analytics worker: the Campaigns that have an edge, the oldest of them first."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from flywheel.api.analytics import Analytics, Monitoring, Store
from flywheel.api.campaign import Campaign, Schedule
from flywheel.api.load import InvalidResource, load_campaign
from flywheel.plan import Manifest

StartOf = Callable[[Schedule | None], datetime | None]
"""When a Campaign with this schedule begins; None where the schedule cannot be followed."""


@dataclass(frozen=True, slots=True)
class Sharer:
    """One Campaign that uses the worker."""

    name: str
    uid: str
    created: str
    """When it was made, as the API server writes it; equal forms, so that text compares."""
    deleting: bool
    store: Store | None
    """How it wants the store; None where that cannot be read."""
    settings: Manifest | None
    """What the worker has to know of it; None where its spec cannot be followed."""
    monitor_labels: Mapping[str, str] = field(default_factory=dict)
    """By which its Prometheus finds what it shall scrape."""


Read = Callable[[Manifest], Sharer]


def sharers(manifests: Iterable[Manifest], read: Read) -> tuple[Sharer, ...]:
    """Read the sharers among the Campaigns of a namespace, the oldest first."""
    found = [read(each) for each in manifests if has_edge(each)]
    return tuple(sorted(found, key=lambda each: (each.created, each.name)))


def has_edge(manifest: Manifest) -> bool:
    """Tell whether a Campaign is measured: whatever has an edge is. Read without the models, as it may be broken."""
    spec = manifest.get("spec")
    return isinstance(spec, Mapping) and spec.get("edge") is not None


def first(manifests: Iterable[Manifest]) -> Manifest | None:
    """Return the Campaign whose word on the store holds: the oldest with an edge that is not being deleted."""
    staying = [each for each in manifests if has_edge(each) and not each["metadata"].get("deletionTimestamp")]
    return min(staying, key=_age, default=None)


def read_store(manifest: Manifest) -> Store | None:
    """Read how a Campaign wants the store, whatever else is wrong with its spec; None where that cannot be read."""
    analytics = manifest["spec"].get("analytics")
    stated = analytics.get("store") if isinstance(analytics, Mapping) else None
    try:
        return Store.model_validate(stated or {}, by_alias=True, by_name=False)
    except ValidationError:
        return None


def _age(manifest: Manifest) -> tuple[str, str]:
    metadata = manifest["metadata"]
    return str(metadata.get("creationTimestamp") or ""), str(metadata["name"])


def read_sharer(manifest: Manifest, start_of: StartOf) -> Sharer:
    """Read what a Campaign with an edge means to the worker."""
    created, name = _age(manifest)
    metadata: Mapping[str, Any] = manifest["metadata"]
    return Sharer(
        name=name,
        uid=str(metadata["uid"]),
        created=created,
        deleting=bool(metadata.get("deletionTimestamp")),
        store=read_store(manifest),
        settings=_settings(manifest, start_of),
        monitor_labels=_monitor_labels(manifest),
    )


def _monitor_labels(manifest: Manifest) -> Mapping[str, str]:
    analytics = manifest["spec"].get("analytics")
    stated = analytics.get("monitoring") if isinstance(analytics, Mapping) else None
    try:
        return Monitoring.model_validate(stated or {}, by_alias=True, by_name=False).labels or {}
    except ValidationError:
        return {}


def _settings(manifest: Manifest, start_of: StartOf) -> Manifest | None:
    try:
        campaign = load_campaign(manifest)
    except InvalidResource:
        return None
    begins = start_of(campaign.spec.schedule)
    return worker_settings(campaign, begins) if begins is not None and campaign.spec.edge else None


def worker_settings(campaign: Campaign, begins: datetime) -> Manifest:
    """Write what the worker has to know of a Campaign: one entry of `campaigns.json`."""
    spec = campaign.spec
    analytics = spec.analytics or Analytics()
    order = analytics.order
    return {
        "uid": campaign.metadata.uid,
        "currency": analytics.currency,
        "order": {"event": order.event, "identity": order.identity, "revenue": order.revenue},
        "goal": {"event": spec.goal.event, "count": spec.goal.count} if spec.goal else None,
        "sessionTimeout": int(analytics.session_timeout.total_seconds()),
        "pageViews": spec.edge.events.page_views if spec.edge else "Edge",
        "services": [service.name for service in spec.services],
        "channels": [channel.name for channel in analytics.channels],
        # What was there before the first moment of the calendar's computers counts from the beginning.
        "from": max(0, int(begins.timestamp() * 1000)) if begins.year > 1 else 0,
        "retention": int(analytics.retention.total_seconds()),
    }
