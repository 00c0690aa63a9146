"""What is seen of a campaign at one moment, read from the API objects, and what changed between two moments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Manifest = dict[str, Any]
STAGES = ("Scheduled", "Preparing", "Warm", "Live", "Draining", "Retained", "Retired")
SERVICE_LABEL = "flywheel.dev/service"


@dataclass(frozen=True, slots=True)
class Autoscaler:
    """A HorizontalPodAutoscaler: its bounds, and the use of CPU in percent of the request, once it is known."""

    floor: int
    ceiling: int
    target: int | None
    cpu: int | None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service: how many replicas are wanted and ready."""

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

    def service(self, name: str) -> ServiceView:
        """The service `name`; at zero when it does not exist."""
        return next((each for each in self.services if each.name == name), ServiceView(name, 0, 0))


def snapshot(
    campaign: Manifest, deployments: Iterable[Manifest], autoscalers: Iterable[Manifest], events: Iterable[Manifest]
) -> Snapshot:
    """Read one moment from the objects of the API server."""
    status = campaign.get("status", {})
    following = status.get("nextTransition") or {}
    scalers = {each["metadata"]["name"]: _autoscaler(each) for each in autoscalers}
    order = [service["name"] for service in campaign["spec"]["services"]]
    services = [
        ServiceView(
            each["metadata"]["labels"][SERVICE_LABEL],
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
        services=tuple(sorted(services, key=lambda each: order.index(each.name) if each.name in order else len(order))),
        events=tuple(_event(each) for each in sorted(events, key=_event_time)),
    )


def changes(before: Snapshot, after: Snapshot) -> Sequence[str]:
    """Say in one line each what changed, as a person would tell it."""
    lines = []
    if after.stage != before.stage:
        lines.append(f"stage     {before.stage or '(none)'} -> {after.stage or '(gone)'}")
    for name in dict.fromkeys(each.name for each in (*before.services, *after.services)):
        lines += _service_changes(before.service(name), after.service(name))
    known = {condition[:3] for condition in before.conditions}
    for kind, state, reason, message in after.conditions:
        if (kind, state, reason) not in known:
            lines.append(f"condition {kind}={state} {reason}" + (f": {message}" if message else ""))
    seen = {event.uid for event in before.events}
    lines += [f"event     {event.reason}: {event.message}" for event in after.events if event.uid not in seen]
    return lines


def _service_changes(before: ServiceView, after: ServiceView) -> list[str]:
    lines = []
    old, new = before.autoscaler, after.autoscaler
    if new and new.cpu is not None and new.target is not None and (old is None or old.cpu is None or _moved(old, new)):
        lines.append(f"cpu       {after.name}: {new.cpu}% of its request, target {new.target}%")
    if new and old and new.floor != old.floor:
        lines.append(f"floor     {after.name}: {old.floor} -> {new.floor}")
    if (before.wanted, before.ready) != (after.wanted, after.ready):
        lines.append(f"replicas  {after.name}: {after.ready} of {after.wanted} ready")
    return lines


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
    )


def _event(manifest: Manifest) -> EventView:
    subject = manifest.get("regarding") or manifest.get("involvedObject") or {}
    text = manifest.get("note") or manifest.get("message") or ""
    about = "" if subject.get("kind") == "Campaign" else f"{subject.get('kind')} {subject.get('name')}: "
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
