"""What dashboards, rules and monitors have to know of a campaign, and the words that they share."""

import json
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, Manifest

COMPONENT: Final = "monitoring"
WINDOWS: Final = ("1m", "15m", "1h", "campaign")
"""The spans of time over which the store computes key figures."""


@dataclass(frozen=True, slots=True)
class Goal:
    """What the campaign is to reach."""

    event: str
    count: int


@dataclass(frozen=True, slots=True)
class MonitoringSettings:
    """What a person has said of the campaign that matters for watching it."""

    currency: str = "USD"
    order_event: str = "Order Completed"
    goal: Goal | None = None
    error_rate: float = 0.01
    """Share of failed requests that raises an alert."""
    latency: float = 1.0
    """Seconds of p95 latency that raise an alert."""
    spool_bytes: int = 1 << 30
    """What an edge pod may hold for the store."""
    serving: bool = True
    """Whether there should be an edge now: its silence is an alarm only then."""
    labels: dict[str, str] = field(default_factory=dict)
    """By which a Grafana or a Prometheus finds its objects."""

    @classmethod
    def of(cls, campaign: Campaign, *, serving: bool = True) -> "MonitoringSettings":
        """Read them from a Campaign."""
        spec = campaign.spec
        analytics = spec.analytics or Analytics()
        monitoring = analytics.monitoring
        return cls(
            currency=analytics.currency,
            order_event=analytics.order.event,
            goal=Goal(spec.goal.event, spec.goal.count) if spec.goal else None,
            error_rate=monitoring.error_rate / 100,
            latency=monitoring.latency.total_seconds(),
            spool_bytes=spec.edge.events.spool if spec.edge else 1 << 30,
            serving=serving,
            labels=dict(monitoring.labels or {}),
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Writes PromQL over the series of one campaign and of no other."""

    namespace: str
    campaign: str

    def of(self, metric: str, matchers: str = "") -> str:
        """Select a metric of the campaign; `matchers` such as `window="1h"` narrow it down."""
        own = f"namespace={json.dumps(self.namespace)},campaign={json.dumps(self.campaign)}"
        return f"{metric}{{{own}{',' if matchers else ''}{matchers}}}"

    def of_store(self, metric: str) -> str:
        """Select a metric of the store that all campaigns of the namespace share."""
        return f"{metric}{{namespace={json.dumps(self.namespace)}}}"

    def rate(self, metric: str, span: str, matchers: str = "") -> str:
        """Write how much a counter grows in a second."""
        return f"rate({self.of(metric, matchers)}[{span}])"

    def increase(self, metric: str, span: str, matchers: str = "", *, before: str = "") -> str:
        """Write how much a counter grew, up to now or to a while `before`."""
        return f"increase({self.of(metric, matchers)}[{span}]{' offset ' + before if before else ''})"


def monitoring_metadata(campaign: str, namespace: str, suffix: str, labels: dict[str, str]) -> Manifest:
    """Return the metadata of an object for people's monitoring; labels of theirs never replace ours."""
    own = {
        "app.kubernetes.io/name": COMPONENT,
        "app.kubernetes.io/instance": campaign,
        "app.kubernetes.io/component": COMPONENT,
        MANAGED_BY_LABEL: "flywheel",
        CAMPAIGN_LABEL: campaign,
    }
    return {"name": f"{campaign}-{suffix}", "namespace": namespace, "labels": {**labels, **own}}


def fingerprint(*words: Any) -> str:
    """Name something by words of any length, in few letters and the same every time."""
    return sha256(json.dumps(words).encode()).hexdigest()[:16]
