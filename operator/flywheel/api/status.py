"""What the operator tells about a Campaign. Modelled for the CRD: the operator writes dicts, people read them.

Fields are only ever added. Nothing here is a counter that moves with every request: each write of a status wakes up
whoever watches the resource.
"""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model
from flywheel.api.quantities import Integer

Stage = Literal["Scheduled", "Preparing", "Warm", "Live", "Draining", "Retained", "Retired"]
Tally = Annotated[Integer, Field(ge=0)]
Brief = Annotated[str, Field(max_length=316)]
Instant = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class Condition(Model):
    """One statement about the Campaign: a metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(
        description="What the statement is about: Ready, Reconciling, Stalled, ServicesReady, EdgeReady, "
        "AnalyticsReady, ScalingLimited, RouteReady, Suspended, TeardownBlocked or UnknownFields."
    )
    status: Literal["True", "False", "Unknown"] = Field(description="Whether it holds.")
    observed_generation: Tally | None = Field(
        default=None, description="The generation of the spec that the statement was made for."
    )
    last_transition_time: Instant = Field(description="When status last changed.")
    reason: Annotated[str, Field(max_length=1024)] = Field(description="Why, in one CamelCase word for programs.")
    message: Annotated[str, Field(max_length=32768)] = Field(description="Why and what to do, for people.")


class Transition(Model):
    """A change of stage."""

    stage: Stage = Field(description="The stage that begins.")
    at: Instant = Field(description="When it begins or began, in UTC.")


class ServiceStatus(Model):
    """How one service is doing."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the service.")
    desired: Tally | None = Field(default=None, description="Replicas that it shall have now.")
    ready: Tally | None = Field(default=None, description="Replicas that serve.")
    revision: Brief | None = Field(default=None, description="Digest of the pod template that is rolled out.")
    url: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="Address of the service within the cluster."
    )


class InventoryEntry(Model):
    """The address of one object."""

    group: Brief | None = Field(default=None, description="API group; empty for the core.")
    kind: Brief = Field(description="Kind of the object.")
    namespace: Brief | None = Field(default=None, description="Namespace of the object; empty if it has none.")
    name: Brief = Field(description="Name of the object.")


class Inventory(Model):
    """Every object that the operator made for the Campaign."""

    entries: Annotated[tuple[InventoryEntry, ...], Field(max_length=2048)] = Field(
        default=(), description="Written before the objects are created; the teardown goes through it from its end."
    )


class ResolvedSchedule(Model):
    """The schedule as instants."""

    digest: Brief | None = Field(default=None, description="Digest of the schedule that the instants come from.")
    transitions: Annotated[tuple[Transition, ...], Field(max_length=32)] = Field(
        default=(), description="All stages to come and gone, in order."
    )


class RemovedKind(Model):
    """How many objects of one kind there were."""

    kind: Brief = Field(description="Kind of the objects.")
    count: Tally = Field(description="How many.")


class Report(Model):
    """What is left to say when everything else is gone."""

    started_at: Instant | None = Field(default=None, description="When the teardown began.")
    finished_at: Instant | None = Field(default=None, description="When nothing was left.")
    removed: Annotated[tuple[RemovedKind, ...], Field(max_length=64)] = Field(
        default=(), description="What was removed, by kind."
    )
    checked_resources: Tally | None = Field(
        default=None, description="Kinds of API resources that were searched for leftovers."
    )
    unchecked_resources: Annotated[tuple[Brief, ...], Field(max_length=100)] = Field(
        default=(), description="Kinds of API resources that could not be searched, for instance for lack of rights."
    )
    remaining: Tally | None = Field(default=None, description="Objects with the Campaign's label that were found.")


class EdgeStatus(Model):
    """How far the edge pods have followed."""

    generation: Brief | None = Field(default=None, description="Digest of the configuration that is wanted.")
    pods: Tally | None = Field(default=None, description="Edge pods there are.")
    applied: Tally | None = Field(default=None, description="Edge pods that have applied that generation.")
    url: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="Address of the edge within the cluster."
    )


class GoalProgress(Model):
    """How far the campaign is from its goal."""

    event: Brief = Field(description="Name of the event that counts.")
    count: Tally = Field(description="How many are wanted.")
    reached: Tally = Field(description="How many there were, rounded.")
    progress: Brief = Field(description="Share of the goal, such as 12.5%.")


class KeyFigures(Model):
    """Key figures over one window of time, rounded for people. Prometheus has them exactly."""

    window: Literal["campaign", "1h", "15m", "1m"] = Field(description="Length of the window that ends now.")
    page_views: Tally | None = Field(default=None, description="Pages seen by people.")
    visitors: Tally | None = Field(default=None, description="Different visitors.")
    sessions: Tally | None = Field(default=None, description="Visits.")
    orders: Tally | None = Field(default=None, description="Orders, each once.")
    revenue: Brief | None = Field(default=None, description="Revenue in the reporting currency.")
    average_order_value: Brief | None = Field(default=None, description="Revenue of an order on average.")
    conversion: Brief | None = Field(default=None, description="Share of visitors with an order, such as 3.2%.")
    error_rate: Brief | None = Field(default=None, description="Share of requests that failed, such as 0.1%.")
    latency_p50: Brief | None = Field(default=None, alias="latencyP50", description="Median latency, such as 35ms.")
    latency_p95: Brief | None = Field(default=None, alias="latencyP95", description="95th percentile of latency.")
    latency_p99: Brief | None = Field(default=None, alias="latencyP99", description="99th percentile of latency.")


class KeyFigureStatus(Model):
    """How the campaign is going, written by the store's worker."""

    updated_at: Instant | None = Field(default=None, description="When these figures were written.")
    currency: Brief | None = Field(default=None, description="Currency of all money here.")
    goal: GoalProgress | None = Field(default=None, description="Progress towards spec.goal.")
    windows: Annotated[tuple[KeyFigures, ...], Field(max_length=8), KeyedBy(("window",), "keep one")] = Field(
        default=(), description="Key figures by window."
    )


class CampaignStatus(Model):
    """What the operator tells about a Campaign."""

    observed_generation: Tally | None = Field(
        default=None, description="The generation of the spec that all of this is about."
    )
    stage: Stage | None = Field(
        default=None,
        description="Where the campaign stands in its own time: Scheduled (nothing runs), Preparing (base size), Warm "
        "(scaled up before the start), Live, Draining (back to base size), Retained (zero replicas, kept for "
        "inspection), Retired (all gone).",
    )
    next_transition: Transition | None = Field(default=None, description="The next stage and when it begins.")
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), KeyedBy(("type",), "keep one")] = Field(
        default=(),
        description="Ready: everything is as the stage wants it. Reconciling: on its way there. Stalled: a person must "
        "act. Further ones say why.",
    )
    services: Annotated[tuple[ServiceStatus, ...], Field(max_length=64), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="How each service is doing."
    )
    edge: EdgeStatus | None = Field(default=None, description="How far the edge pods have followed.")
    kpis: KeyFigureStatus | None = Field(default=None, description="How the campaign is going.")
    inventory: Inventory | None = Field(default=None, description="Every object that exists for the Campaign.")
    schedule: ResolvedSchedule | None = Field(
        default=None, description="The schedule as instants, as the operator understood it."
    )
    transitions: Annotated[tuple[Transition, ...], Field(max_length=64)] = Field(
        default=(), description="The last changes of stage that took place, oldest first."
    )
    report: Report | None = Field(default=None, description="What the teardown did; stays when all else is gone.")
