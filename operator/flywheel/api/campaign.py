"""The Campaign: what runs, when, and how it is reached."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.analytics import Analytics
from flywheel.api.autoscaling import EventName
from flywheel.api.durations import DURATION_CEL, seconds_cel
from flywheel.api.edge import Edge
from flywheel.api.entry_rules import EDGE_RULES, PREVIEW_RULES, RELEASE_RULES, ROUTE_RULES
from flywheel.api.metadata import CAMPAIGN_NAME_PATTERN, Metadata
from flywheel.api.model import KeyedBy, Model, Rule
from flywheel.api.moments import ENDS_AFTER_START
from flywheel.api.quantities import Duration, Flag, Integer, Moment, Text
from flywheel.api.route import Route
from flywheel.api.service import Service

MAX_CHILD_NAME = 52
DEFAULT_PREPARE = timedelta(hours=1)
DEFAULT_WARM = timedelta(minutes=10)


class Schedule(Model):
    """The campaign's time."""

    constraints = (
        ENDS_AFTER_START,
        Rule(
            cel=f"!has(self.warmFor) || !self.warmFor.{DURATION_CEL} || (has(self.prepareFor) && "
            f"!self.prepareFor.{DURATION_CEL}) || {seconds_cel('self.warmFor')} <= "
            f"(has(self.prepareFor) ? {seconds_cel('self.prepareFor')} : 3600)",
            holds=lambda model: model.warm_for <= model.prepare_for,
            message="schedule.warmFor must be at most schedule.prepareFor (default 1h), since only what was "
            "prepared can "
            "be warm: lower warmFor or raise prepareFor",
            field="warmFor",
        ),
    )

    time_zone: Annotated[
        str,
        Text(
            "^[A-Za-z][A-Za-z0-9_+/-]*$", "the IANA name of a time zone such as Asia/Shanghai or UTC", 64, explain=True
        ),
    ] = Field(
        default="UTC",
        description="Time zone of moments written without an offset: an IANA name such as Asia/Shanghai. Default UTC.",
    )
    starts_at: Moment | None = Field(
        default=None,
        description="When the campaign goes live: 2027-06-16T00:00:00 (local time in timeZone) or with an offset, "
        "2027-06-16T00:00:00+08:00 or 2027-06-15T16:00:00Z. Default: as soon as it is applied, "
        "without Preparing and Warm.",
    )
    ends_at: Moment | None = Field(
        default=None,
        description="When it stops being live; same forms as startsAt, and after it. Default: it goes on until it is "
        "deleted or an end is set.",
    )
    prepare_for: Duration = Field(
        default=DEFAULT_PREPARE,
        description="How long before startsAt its objects are created, at base size. A duration such as 90s, 10m, 48h, "
        "7d or 1h30m; default 1h.",
    )
    warm_for: Duration = Field(
        default_factory=lambda data: min(DEFAULT_WARM, data.get("prepare_for", DEFAULT_PREPARE)),
        description="How long before startsAt services are scaled up to autoscaling.warm, so that the first "
        "flood finds "
        "them running. At most prepareFor; default 10m, or prepareFor where that is shorter.",
    )
    hold_for: Duration = Field(
        default=timedelta(minutes=10),
        description="How long after startsAt the warm size stays the least, since an autoscaler would scale down "
        "in the "
        "seconds before the flood arrives. Default 10m.",
    )
    drain_for: Duration = Field(
        default=timedelta(minutes=5),
        description="How long after endsAt it still runs, back at base size, so that visitors can finish. Default 5m.",
    )
    retain_for: Duration = Field(
        default=timedelta(),
        description="How long after draining its objects are kept at zero replicas for inspection. Default 0s: "
        "they are "
        "removed at once.",
    )
    suspend: Flag = Field(
        default=False,
        description="true: zero replicas for as long as it is set; the clock goes on. Default false.",
    )


class Goal(Model):
    """What the campaign is to reach."""

    event: EventName = Field(description="Name of the event that counts, such as Order Completed.")
    count: Annotated[Integer, Field(ge=1, le=1_000_000_000_000)] = Field(description="How many of them, at least 1.")


class CampaignSpec(Model):
    """What a person wants."""

    constraints = (*EDGE_RULES, *ROUTE_RULES, *RELEASE_RULES, *PREVIEW_RULES)

    title: Annotated[str, Field(max_length=256)] | None = Field(
        default=None, description="Name of the campaign for people, such as 优购网 618. At most 256 characters."
    )
    goal: Goal | None = Field(
        default=None, description="What the campaign is to reach, such as {event: Order Completed, count: 50000}."
    )
    deletion_policy: Literal["Delete", "Orphan"] = Field(
        default="Delete",
        description="What becomes of the campaign's objects when the Campaign is deleted: Delete (default) removes all "
        "of them, Orphan leaves them running.",
    )
    schedule: Schedule | None = Field(
        default=None,
        description="When the campaign prepares, starts, ends and disappears. Without it the campaign is live "
        "from when "
        "it is applied until it is deleted.",
    )
    services: Annotated[
        tuple[Service, ...],
        Field(min_length=1, max_length=32),
        KeyedBy(("name",), "give each service a name of its own"),
    ] = Field(description="What runs: 1 to 32 services, each with a name of its own.")
    route: Route | None = Field(
        default=None,
        description="How visitors from outside the cluster reach the services: a Gateway API HTTPRoute.",
    )
    edge: Edge | None = Field(
        default=None,
        description="The campaign's entry: routes visitors to services, knows them again, limits and counts them, "
        "and takes in events. Default: none, and nothing is measured.",
    )
    analytics: Analytics | None = Field(
        default=None,
        description="How the campaign measures itself: store, channels, orders, currency. Needs edge, and has "
        "defaults for everything.",
    )


class Campaign(Model):
    """A marketing campaign: its services run from shortly before its start until shortly after its end, then vanish."""

    constraints = (
        Rule(
            cel=f"self.metadata.name.matches('{CAMPAIGN_NAME_PATTERN}')",
            holds=lambda campaign: Text(CAMPAIGN_NAME_PATTERN, "", 253).matches(campaign.metadata.name),
            message="metadata.name must be lowercase letters, digits and '-', starting with a letter, since Kubernetes "
            "Services carry it: rename the Campaign, such as shop-618",
            field="metadata.name",
        ),
        Rule(
            cel=f"self.spec.services.all(s, size(self.metadata.name) + 1 + size(s.name) <= {MAX_CHILD_NAME})",
            holds=lambda campaign: all(
                len(campaign.child_name(service.name)) <= MAX_CHILD_NAME for service in campaign.spec.services
            ),
            message=f"metadata.name and services[].name, joined by '-', must be at most {MAX_CHILD_NAME} characters, "
            "since objects are named after both: shorten one of them",
            field="spec.services",
        ),
    )

    api_version: Literal["flywheel.dev/v1alpha1"]
    kind: Literal["Campaign"]
    metadata: Metadata
    spec: CampaignSpec
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the Campaign."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the Campaign."""
        return self.metadata.namespace

    def child_name(self, service: str) -> str:
        """Name of the objects of one service."""
        return f"{self.metadata.name}-{service}"
