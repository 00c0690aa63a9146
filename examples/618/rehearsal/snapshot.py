"""What is seen of a campaign at one moment, read from the API objects, and what changed between two moments."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flywheel.events.volumeclaim import amount
from flywheel.metrics.naming import EVENTS_PER_SECOND, REQUESTS_PER_SECOND
from rehearsal.abtest import ABTestView, abtest_changes, abtest_view
from rehearsal.releases import releases

Manifest = dict[str, Any]
STAGES = ("Scheduled", "Preparing", "Warm", "Live", "Draining", "Retained", "Retired")
GO_SELECTOR = re.compile(r"\(&LabelSelector\{MatchLabels:map\[string\]string\{(.*?),?\},[^)]*\)")
"""How the autoscaler writes the labels of a metric: as Go does."""
SERVICE_LABEL, SLOT_LABEL = "flywheel.dev/service", "flywheel.dev/slot"


EXTERNAL = {EVENTS_PER_SECOND: "orders/s", REQUESTS_PER_SECOND: "requests/s"}
"""Metrics that the edge counts, and what they are called in the view."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a replica bears of one thing that the edge counts, on average; None while the autoscaler does not know."""

    name: str
    target: float
    current: float | None = None

    @property
    def is_high(self) -> bool:
        """Whether this alone asks for more replicas. The autoscaler lets a tenth pass."""
        return self.current is not None and self.current > 1.1 * self.target


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler: its bounds, and the use of CPU in percent of the request, once it is known."""

    floor: int
    ceiling: int
    target: int | None
    cpu: int | None
    loads: tuple[Load, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """What the Campaign says of itself: figures of all of it, as they are written on its status."""

    page_views: int = 0
    visitors: int = 0
    orders: int = 0
    revenue: str = "0.00"
    currency: str = ""
    conversion: str = "–"
    error_rate: str = "–"
    latency: str = "–"
    goal: int = 0
    reached: int = 0
    progress: str = "0%"


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service, or its slot beside the one that has the traffic: how many replicas are wanted and ready."""

    name: str
    wanted: int
    ready: int
    autoscaler: Autoscaler | None = None


@dataclass(frozen=True, slots=True)
class EventView:
    """A Kubernetes Event about the campaign."""

    uid: str
    kind: str
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that the view shows."""

    stage: str = ""
    next_stage: str = ""
    next_at: datetime | None = None
    transitions: tuple[str, ...] = ()
    """The stages that the campaign says it has gone through, in order."""
    conditions: tuple[tuple[str, str, str, str], ...] = ()
    """Type, status, reason, message."""
    services: tuple[ServiceView, ...] = ()
    events: tuple[EventView, ...] = ()
    figures: KeyFigures | None = None
    abtest: ABTestView | None = None

    def service(self, name: str) -> ServiceView:
        """The service `name`; at zero when it does not exist."""
        return next((each for each in self.services if each.name == name), ServiceView(name, 0, 0))


def snapshot(
    campaign: Manifest,
    deployments: Iterable[Manifest],
    autoscalers: Iterable[Manifest],
    events: Iterable[Manifest],
    abtests: Iterable[Manifest] = (),
) -> Snapshot:
    """Read one moment from the objects of the API server."""
    status = campaign.get("status", {})
    following = status.get("nextTransition") or {}
    scalers = {each["metadata"]["name"]: _autoscaler(each) for each in autoscalers}
    order = [service["name"] for service in campaign["spec"]["services"]]
    serving = {name: each.slot for name, each in releases(status).items()}
    services = [
        ServiceView(
            _name(each["metadata"]["labels"], serving),
            each["spec"].get("replicas", 1),
            each.get("status", {}).get("readyReplicas", 0),
            scalers.get(each["metadata"]["name"]),
        )
        for each in deployments
        if SERVICE_LABEL in each["metadata"].get("labels", {})
    ]
    return Snapshot(
        stage=status.get("stage", ""),
        next_stage=following.get("stage", ""),
        next_at=datetime.fromisoformat(following["at"]) if following.get("at") else None,
        transitions=tuple(each["stage"] for each in status.get("transitions", [])),
        conditions=tuple(
            (each["type"], each["status"], each.get("reason", ""), each.get("message", ""))
            for each in status.get("conditions", [])
        ),
        services=tuple(sorted(services, key=lambda each: _place(each.name, order))),
        events=tuple(_event(each) for each in sorted(events, key=_event_time)),
        figures=key_figures(status.get("kpis")),
        abtest=next((abtest_view(each) for each in abtests), None),
    )


def _name(labels: Mapping[str, str], serving: Mapping[str, str]) -> str:
    """Name what has the traffic by its service, and a slot beside it by both."""
    service, slot = labels[SERVICE_LABEL], labels.get(SLOT_LABEL, "")
    return service if slot in ("", serving.get(service, slot)) else f"{service} {slot}"


def _place(name: str, order: Sequence[str]) -> tuple[int, str]:
    service = name.partition(" ")[0]
    return order.index(service) if service in order else len(order), name


def key_figures(told: Manifest | None) -> KeyFigures | None:
    """Read the figures of the whole campaign from `status.kpis`; None while there are none."""
    whole = next((each for each in (told or {}).get("windows", []) if each["window"] == "campaign"), None)
    if told is None or whole is None or not {"pageViews", "visitors", "orders", "revenue"} <= whole.keys():
        return None
    goal = told.get("goal") or {}
    return KeyFigures(
        page_views=whole["pageViews"],
        visitors=whole["visitors"],
        orders=whole["orders"],
        revenue=whole["revenue"],
        currency=told["currency"],
        conversion=whole.get("conversion", "–"),
        error_rate=whole.get("errorRate", "–"),
        latency=whole.get("latencyP95", "–"),
        goal=goal.get("count", 0),
        reached=goal.get("reached", 0),
        progress=goal.get("progress", "0%"),
    )


def changes(before: Snapshot, after: Snapshot) -> Sequence[str]:
    """Say in one line each what changed, as a person would tell it."""
    lines = []
    if after.stage != before.stage:
        lines.append(f"stage     {before.stage or '(none)'} -> {after.stage or '(gone)'}")
    for name in dict.fromkeys(each.name for each in (*before.services, *after.services)):
        lines += _service_changes(before.service(name), after.service(name))
    if after.figures and after.figures != before.figures:
        lines.append(f"kpis      {figures_in_words(after.figures)}")
    lines += abtest_changes(before.abtest, after.abtest)
    known = {condition[:3] for condition in before.conditions}
    for kind, state, reason, message in after.conditions:
        if (kind, state, reason) not in known:
            lines.append(f"condition {kind}={state} {reason}" + (f": {message}" if message else ""))
    seen = {event.uid for event in before.events}
    lines += [f"event     {event.reason}: {event.message}" for event in after.events if event.uid not in seen]
    return lines


def figures_in_words(figures: KeyFigures) -> str:
    """Tell the key figures in one line."""
    return (
        f"PV {figures.page_views}, UV {figures.visitors}, {figures.orders} orders,"
        f" {figures.revenue} {figures.currency}, conversion {figures.conversion}, errors {figures.error_rate},"
        f" p95 {figures.latency}; goal {figures.progress}"
    )


def _service_changes(before: ServiceView, after: ServiceView) -> list[str]:
    lines = []
    old, new = before.autoscaler, after.autoscaler
    if new and new.cpu is not None and new.target is not None and (old is None or old.cpu is None or _moved(old, new)):
        lines.append(f"cpu       {after.name}: {new.cpu}% of its request, target {new.target}%")
    lines += [
        f"load      {after.name}: {load.current:g} {load.name} for each replica, target {load.target:g}"
        for load in (new.loads if new else ())
        if load.current is not None and load.is_high != _was_high(old, load.name)
    ]
    if new and old and new.floor != old.floor:
        lines.append(f"floor     {after.name}: {old.floor} -> {new.floor}")
    if (before.wanted, before.ready) != (after.wanted, after.ready):
        lines.append(f"replicas  {after.name}: {after.ready} of {after.wanted} ready")
    return lines


def _was_high(old: Autoscaler | None, name: str) -> bool:
    return any(load.is_high for load in (old.loads if old else ()) if load.name == name)


def _moved(old: Autoscaler, new: Autoscaler) -> bool:
    """Whether the use of CPU crossed its target: small moves are no news."""
    if old.cpu is None or new.cpu is None or new.target is None:
        return False
    return (old.cpu > new.target) != (new.cpu > new.target)


def _autoscaler(manifest: Manifest) -> Autoscaler:
    spec, status = manifest["spec"], manifest.get("status", {})

    def cpu(metrics: Iterable[Manifest] | None, side: str) -> int | None:
        found = [m["resource"] for m in metrics or () if m.get("type") == "Resource" and m["resource"]["name"] == "cpu"]
        value: int | None = found[0].get(side, {}).get("averageUtilization") if found else None
        return value

    return Autoscaler(
        floor=spec.get("minReplicas", 1),
        ceiling=spec["maxReplicas"],
        target=cpu(spec.get("metrics"), "target"),
        cpu=cpu(status.get("currentMetrics"), "current"),
        loads=_loads(spec.get("metrics"), status.get("currentMetrics")),
    )


def _loads(wanted: Iterable[Manifest] | None, known: Iterable[Manifest] | None) -> tuple[Load, ...]:
    def values(metrics: Iterable[Manifest] | None, side: str) -> dict[str, float]:
        found = [each["external"] for each in metrics or () if each.get("type") == "External"]
        # A metric that could not be read yet has no value.
        return {
            each["metric"]["name"]: float(amount(each[side]["averageValue"]))
            for each in found
            if each.get(side, {}).get("averageValue")
        }

    current = values(known, "current")
    targets = values(wanted, "target")
    return tuple(Load(EXTERNAL[name], value, current.get(name)) for name, value in targets.items() if name in EXTERNAL)


def _event(manifest: Manifest) -> EventView:
    subject = manifest.get("regarding") or manifest.get("involvedObject") or {}
    text = manifest.get("note") or manifest.get("message") or ""
    about = "" if subject.get("kind") == "Campaign" else f"{subject.get('kind')} {subject.get('name')}: "
    text = GO_SELECTOR.sub(r"{\1}", text)
    return EventView(
        manifest["metadata"]["uid"], manifest.get("type", "Normal"), manifest.get("reason", ""), about + text
    )


def _event_time(manifest: Manifest) -> str:
    return str(
        manifest.get("eventTime")
        or manifest.get("deprecatedLastTimestamp")
        or manifest.get("lastTimestamp")
        or manifest["metadata"].get("creationTimestamp")
        or ""
    )
