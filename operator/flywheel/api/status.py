"""What the operator tells about a Campaign. Modelled for the CRD: the operator writes dicts, people read them.

Fields are only ever added. Nothing here is a counter that moves with every request: each write of a status wakes up
whoever watches the resource.
"""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model
from flywheel.api.quantities import Flag, Integer

Stage = Literal["Scheduled", "Preparing", "Warm", "Live", "Draining", "Retained", "Retired"]
Tally = Annotated[Integer, Field(ge=0)]
Brief = Annotated[str, Field(max_length=316)]
Instant = Annotated[str, Field(max_length=40, json_schema_extra={"format": "date-time"})]


class Condition(Model):
    """One statement about the Campaign: a metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(
        description="What the statement is about: Ready, Reconciling, Stalled, ServicesReady, EdgeReady, "
        "AnalyticsReady, ScalingLimited, RouteReady, Released, ContentReady, Suspended, TeardownBlocked or "
        "UnknownFields."
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


class ContentStatus(Model):
    """What of the content in Git is known."""

    commit: Brief | None = Field(default=None, description="The commit that the ref was found to be.")
    url: Annotated[str, Field(max_length=2048)] | None = Field(
        default=None, description="Address of the repository in which it was found."
    )
    ref: Annotated[str, Field(max_length=255)] | None = Field(default=None, description="The ref that was that commit.")
    problem: Annotated[str, Field(max_length=1024)] | None = Field(
        default=None, description="Why nothing newer is known; what serves stays."
    )


class ServiceStatus(Model):
    """How one service is doing."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the service.")
    desired: Tally | None = Field(default=None, description="Replicas that it shall have now.")
    ready: Tally | None = Field(default=None, description="Replicas that serve.")
    revision: Brief | None = Field(
        default=None, description="Digest of the pod template that is rolled out, or of the revision that is active."
    )
    active: Brief | None = Field(default=None, description="Slot that has the traffic, of a service with two.")
    content: ContentStatus | None = Field(default=None, description="Content from Git.")
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


class ServingStatus(Model):
    """A slot that has the traffic."""

    slot: Brief = Field(description="blue or green.")
    revision: Brief = Field(description="Digest of what it runs.")
    since: Instant = Field(description="Since when it has the traffic.")


class CandidateStatus(Model):
    """A revision on its way to the traffic."""

    slot: Brief = Field(description="blue or green.")
    revision: Brief = Field(description="Digest of what it runs.")
    since: Instant = Field(description="When it was begun.")
    cause: Brief | None = Field(
        default=None, description="Return: still warm from before. Rollback: commanded. Absent: the spec changed."
    )
    ready_at: Instant | None = Field(default=None, description="When its pods were ready.")
    passed_at: Instant | None = Field(default=None, description="When its last gate before the switch had passed.")
    full_since: Instant | None = Field(default=None, description="When it began to grow to the active slot's size.")


class LeavingStatus(Model):
    """A slot that is there for a while."""

    slot: Brief = Field(description="blue or green.")
    revision: Brief = Field(description="Digest of what it runs.")
    until: Instant | None = Field(default=None, description="When it goes.")
    drained_at: Instant | None = Field(default=None, description="When its pods were told to send clients away.")


class MeasurementStatus(Model):
    """One measurement of a gate."""

    at: Instant = Field(description="When it was made.")
    outcome: Brief = Field(description="Success, Failure, NoData or Error.")
    value: Brief | None = Field(default=None, description="The figure.")
    message: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="What was seen.")


class GateStatus(Model):
    """How far a gate is."""

    name: Brief = Field(description="Name of the gate.")
    stage: Literal["before", "after"] = Field(description="Before or after the switch.")
    kind: Brief = Field(description="http, job, browser, prometheus, events or manual.")
    digest: Brief | None = Field(default=None, description="Digest of its definition.")
    verdict: Brief | None = Field(
        default=None, description="Running, Passed, Failed or Inconclusive; absent before it is begun."
    )
    started_at: Instant | None = Field(default=None, description="When it was begun.")
    finished_at: Instant | None = Field(default=None, description="When it had its verdict.")
    next_at: Instant | None = Field(default=None, description="When the next measurement is due.")
    measured: Tally | None = Field(default=None, description="Measurements so far.")
    successes: Tally | None = Field(default=None, description="Successful ones in a row.")
    failures: Tally | None = Field(default=None, description="Failed ones.")
    errors: Tally | None = Field(default=None, description="Ones in a row that could not be made.")
    message: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="The reason, in words.")
    evidence: Brief | None = Field(default=None, description="Where pictures and the whole report are kept.")
    measurements: Annotated[tuple[MeasurementStatus, ...], Field(max_length=16)] = Field(
        default=(), description="The last ones, oldest first."
    )


class PastRevision(Model):
    """What became of a revision."""

    revision: Brief = Field(description="Digest of it.")
    outcome: Brief = Field(description="Promoted, Failed, Aborted, RolledBack or Superseded.")
    at: Instant = Field(description="When.")
    message: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="Why.")


class ReleaseStatus(Model):
    """Where the release of one service stands. The operator goes on from here, whatever happens to it."""

    service: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the service.")
    phase: Brief | None = Field(
        default=None,
        description="Preparing, Verifying, AwaitingPromotion, Promoting, Confirming, Paused, Failed, Aborted, "
        "RolledBack, "
        "Adopting or Stable.",
    )
    reason: Brief | None = Field(default=None, description="Why it is there, in one word.")
    message: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="Why, for people.")
    number: Tally | None = Field(default=None, description="Which attempt it is.")
    active: ServingStatus | None = Field(default=None, description="The slot that has the traffic.")
    preview: CandidateStatus | None = Field(default=None, description="The revision on its way.")
    previous: LeavingStatus | None = Field(default=None, description="The slot that had the traffic, still warm.")
    failed: LeavingStatus | None = Field(default=None, description="The revision that failed, kept to be looked at.")
    held: Brief | None = Field(
        default=None, description="The spec's revision, where it does not serve: failed, aborted or gone back from."
    )
    promoted_at: Instant | None = Field(default=None, description="When the active revision took the traffic.")
    promoted_size: Tally | None = Field(default=None, description="Pods of it that were ready then.")
    resume: Flag | None = Field(default=None, description="Pods are to be told that a drain is over.")
    gates: Annotated[tuple[GateStatus, ...], Field(max_length=32)] = Field(default=(), description="Its gates.")
    history: Annotated[tuple[PastRevision, ...], Field(max_length=32)] = Field(
        default=(), description="What became of the last revisions, oldest first."
    )
    handled: Annotated[dict[str, Annotated[str, Field(max_length=1024)]], Field(max_length=8)] = Field(
        default_factory=dict, description="Commands that were carried out."
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


class WinnerStatus(Model):
    """A service that runs what an A/B test has found better than its spec."""

    service: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the service.")
    test: Brief = Field(description="The ABTest that found it. While it exists, it holds.")
    variant: Brief = Field(description="The variant that the service runs.")
    serves: Flag | None = Field(default=None, description="Whether all visitors get it.")


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
    releases: Annotated[tuple[ReleaseStatus, ...], Field(max_length=64), KeyedBy(("service",), "keep one")] = Field(
        default=(), description="Where the releases of services with two slots stand."
    )
    winners: Annotated[tuple[WinnerStatus, ...], Field(max_length=64), KeyedBy(("service",), "keep one")] = Field(
        default=(), description="Services that run what an A/B test has found better than the spec says."
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
