"""From the real campaign to one that is over in minutes, on a node with two cores.

The stages keep their order and their meaning; each gets a fixed number of seconds, because a scale that turns three
days into a minute would turn half an hour of warmth into less than a second. Sizes are cut in the same spirit. All else
is the campaign as written.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds of each stage. `hold` is the part of Live in which the warm size stays the floor."""

    scheduled: int = 10
    preparing: int = 30
    warm: int = 30
    live: int = 380
    hold: int = 20
    draining: int = 15
    retained: int = 15

    @property
    def total(self) -> int:
        """Seconds from applying the campaign until its removal begins."""
        return self.scheduled + self.preparing + self.warm + self.live + self.draining + self.retained


@dataclass(frozen=True, slots=True)
class Size:
    """What an autoscaled service is cut to, and what one of its replicas is worth then."""

    min: int
    warm: int
    max: int
    events: str = "200m"
    """Events a second, as a quantity of Kubernetes: the crowd is cut, so its orders are."""
    requests: str = "1"


@dataclass(frozen=True, slots=True)
class Cut:
    """What is smaller in the rehearsal. A service that `autoscaled` does not name runs once."""

    autoscaled: Mapping[str, Size] = field(default_factory=lambda: {"seckill": Size(min=1, warm=4, max=10)})
    """A tenth of what is written: from 1 to 10, and 4 when the sale opens."""
    flash_stock: int = 40
    """Pieces of each product: so few that the crowd buys all of some, and late visitors are turned away."""
    goal: int = 120
    small: Mapping[str, str] = field(default_factory=lambda: {"cpu": "25m", "memory": "96Mi"})
    """What each container of the edge asks for."""
    store: Mapping[str, str] = field(default_factory=lambda: {"cpu": "50m", "memory": "512Mi"})
    """What the event store asks for."""
    store_size: str = "1Gi"
    looked_every: str = "10s"
    """How often content in Git is looked at."""
    least_effect: str = "30%"
    """Of the A/B test: more people must claim the coupon by so much."""
    most_latency: str = "900%"
    """Of the A/B test, and of the median: on a busy node a few hundred requests rule out no less."""
    least_test: str = "20s"
    """How long the A/B test runs at least."""
    gateways: tuple[str, ...] = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
    """Who may say in whose name a request is made: the simulator, in a pod of the cluster, plays the gateway."""
    kept: str = "20s"
    """How long a slot that has lost the traffic, or never had it, stays: the node has two cores for both."""


def compress(campaign: Manifest, now: datetime, pace: Pace, cut: Cut, image: str, repository: str) -> Manifest:
    """Return `campaign` with its times moved to the next minutes and its sizes cut.

    Every service of the shop runs `image`, and pages come from the Git repository at the address `repository`.

    Environment variables that hold the campaign's own start or end follow it.
    """
    made = copy.deepcopy(campaign)
    schedule = made["spec"]["schedule"]
    zone = ZoneInfo(schedule.get("timeZone", "UTC"))
    before = {_instant(schedule[name], zone): name for name in ("startsAt", "endsAt")}
    first = now.astimezone(UTC).replace(microsecond=0) + timedelta(seconds=1)
    starts_at = first + timedelta(seconds=pace.scheduled + pace.preparing + pace.warm)
    after = {"startsAt": starts_at, "endsAt": starts_at + timedelta(seconds=pace.live)}
    schedule |= {name: moment.astimezone(zone).isoformat() for name, moment in after.items()}
    schedule |= {
        "prepareFor": f"{pace.preparing + pace.warm}s",
        "warmFor": f"{pace.warm}s",
        "holdFor": f"{pace.hold}s",
        "drainFor": f"{pace.draining}s",
        "retainFor": f"{pace.retained}s",
    }
    _shrink_entry(made["spec"], cut)
    for service in made["spec"]["services"]:
        if "content" in service:
            service["content"]["git"] |= {"url": repository, "interval": cut.looked_every}
        else:
            service["image"] = image
        if "release" in service:
            service["release"] |= {"keepPrevious": cut.kept, "keepFailed": cut.kept}
        _shrink(service, cut)
        for variable in service.get("env", []):
            moved = before.get(_instant(variable.get("value", ""), zone))
            if moved:
                variable["value"] = after[moved].astimezone(zone).isoformat()
            elif variable["name"] == "FLASH_STOCK":
                variable["value"] = str(cut.flash_stock)
    return made


def compress_test(test: Manifest, cut: Cut, repository: str) -> Manifest:
    """Return the A/B test `test` of a few minutes and a few hundred visitors.

    What is asked stays; how small a difference is worth knowing, and how much harm is ruled out, becomes what so few
    can tell.
    """
    made = copy.deepcopy(test)
    spec = made["spec"]
    for variant in spec["variants"]:
        if "override" in variant:
            variant["override"]["content"]["git"] |= {"url": repository, "interval": cut.looked_every}
            variant["replicas"] = 1
    spec["metrics"]["primary"]["minimumEffect"] = cut.least_effect
    for guardrail in spec["metrics"]["guardrails"]:
        guardrail |= {"latency": "p50", "maxIncrease": cut.most_latency} if "latency" in guardrail else {}
    spec["metrics"]["window"] = "10m"
    spec["decision"] |= {"minimumDuration": cut.least_test, "maximumDuration": "10m"}
    return made


def without_end(campaign: Manifest) -> Manifest:
    """Return `campaign` without a schedule: Live from apply until it is deleted."""
    made = copy.deepcopy(campaign)
    schedule = made["spec"].pop("schedule")
    bounds = {schedule["startsAt"], schedule["endsAt"]}
    for service in made["spec"]["services"]:
        kept = [variable for variable in service.get("env", []) if variable.get("value") not in bounds]
        if "env" in service:
            service["env"] = kept
    return made


def _shrink(service: Manifest, cut: Cut) -> None:
    if "autoscaling" not in service:
        service["replicas"] = 1
        return
    service.pop("replicas", None)
    size = cut.autoscaled[service["name"]]
    service["autoscaling"] |= {"min": size.min, "warm": size.warm, "max": size.max}
    for metric in service["autoscaling"]["metrics"]:
        metric |= {"perSecond": size.events} if "event" in metric else {}
        metric |= {"requests": size.requests} if "requests" in metric else {}
    behavior = service["autoscaling"].setdefault("behavior", {})
    # Kubernetes waits five minutes before it scales down: longer than the whole rehearsal.
    behavior["scaleDown"] = {**behavior.get("scaleDown", {}), "stabilizationWindowSeconds": 10}


def _shrink_entry(spec: Manifest, cut: Cut) -> None:
    spec["goal"]["count"] = cut.goal
    edge = spec["edge"]
    edge["autoscaling"]["max"] = edge["replicas"]
    edge |= {each: {"requests": dict(cut.small)} for each in ("resources", "sidecarResources")}
    edge["trustedProxies"] = list(cut.gateways)
    # Kubernetes' endpoints are known everywhere in seconds here, and the stages are short.
    edge["drainFor"] = "5s"
    spec["analytics"]["store"] |= {"size": cut.store_size, "resources": {"requests": dict(cut.store)}}


def _instant(text: str, zone: ZoneInfo) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(UTC)
