"""What is told about a FraudRule. Modelled for the CRD: the operator writes dicts, people read them.

Counts are rounded summaries, written when people see a difference; Prometheus has them exactly.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model
from flywheel.api.quantities import Flag
from flywheel.api.status import Brief, Condition, Instant, Tally

Sentence = Annotated[str, Field(max_length=1024)]


class FraudRuleCondition(Condition):
    """One statement about the FraudRule: a metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(
        description="What the statement is about: Ready, Reconciling, Stalled, Loaded, Warm, Lists, Precise, "
        "Backtested or UnknownFields."
    )


class FraudWorker(Model):
    """What one worker does with the rule."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Name of the worker's pod.")
    generation: Tally | None = Field(default=None, description="The generation of the spec that it judges by.")
    version: Brief | None = Field(default=None, description="Digest of what it judges by.")
    keys: Tally | None = Field(default=None, description="Keys that it remembers.")
    warm: Flag | None = Field(default=None, description="Whether it has seen a whole window since it began.")
    message: Sentence | None = Field(default=None, description="Why it judges by an older generation, or by none.")


class Bounds(Model):
    """What the truth lies in, with 95%."""

    low: Brief = Field(description="Lower bound, such as 91.2%.")
    high: Brief = Field(description="Upper bound, such as 98.9%.")


class Figure(Model):
    """A share that was measured by labels."""

    value: Brief = Field(description="The share, such as 96.4%.")
    interval: Bounds | None = Field(default=None, description="What the truth lies in, with 95%.")
    labels: Tally | None = Field(default=None, description="Labels that it is made of.")
    message: Sentence | None = Field(default=None, description="What it lacks, such as labels of the holdout.")


class Sample(Model):
    """One verdict, explained."""

    event: Brief = Field(description="messageId of the event that broke the rule.")
    at: Instant | None = Field(default=None, description="When that was.")
    version: Brief | None = Field(default=None, description="Digest of what it was judged by.")
    key: Annotated[tuple[Annotated[str, Field(max_length=316)], ...], Field(max_length=4)] = Field(
        default=(), description="Values of the key; addresses are shortened to their network."
    )
    observed: Brief | None = Field(default=None, description="What was found, such as 21 or more.")
    limit: Brief | None = Field(default=None, description="What is allowed, such as 20.")
    since: Instant | None = Field(default=None, description="First moment of the window that was looked at.")
    outcome: Brief | None = Field(default=None, description="What followed, such as Blocked, Holdout or WouldBlock.")


class CurvePoint(Model):
    """What another limit would have found."""

    more_than: Brief = Field(description="The limit, as it would stand in the rule; of sequence and accountAge a time.")
    hits: Tally | None = Field(default=None, description="Events that would have broken the rule.")
    keys: Tally | None = Field(default=None, description="Keys of these events.")
    customers: Tally | None = Field(default=None, description="Visitors among them who have paid for an order.")


class BacktestStatus(Model):
    """What the rule would have done."""

    generation: Tally | None = Field(
        default=None, description="The generation of the spec that was tried; a later one has not been yet."
    )
    at: Instant | None = Field(default=None, description="When it was tried.")
    since: Instant | None = Field(default=None, description="The first moment that was looked at.")
    until: Instant | None = Field(default=None, description="The last moment that was looked at.")
    events: Tally | None = Field(default=None, description="Events that the rule matches.")
    hits: Tally | None = Field(default=None, description="Events that broke it.")
    keys: Tally | None = Field(default=None, description="Keys of these events.")
    customers: Tally | None = Field(default=None, description="Visitors among them who have paid for an order.")
    precision: Figure | None = Field(
        default=None, description="Share of the found who were labelled dishonest; empty without labels."
    )
    curve: Annotated[tuple[CurvePoint, ...], Field(max_length=32)] = Field(
        default=(), description="What other limits would have found."
    )
    recommended: Brief | None = Field(
        default=None, description="The limit that finds most and hits no customer; absent where each hits some."
    )
    message: Sentence | None = Field(default=None, description="What came of it, or why it could not be tried.")


class FraudRuleStatus(Model):
    """What is told about a FraudRule."""

    observed_generation: Tally | None = Field(
        default=None, description="The generation of the spec that all of this is about."
    )
    loaded_generation: Tally | None = Field(
        default=None, description="The oldest generation that any worker judges by; absent while one has none."
    )
    mode: Literal["Off", "Shadow", "Enforce"] | None = Field(
        default=None,
        description="How it works now: as spec.mode, or Shadow where its precision fell too low or its model is new.",
    )
    conditions: Annotated[tuple[FraudRuleCondition, ...], Field(max_length=32), KeyedBy(("type",), "keep one")] = Field(
        default=(),
        description="Ready: all workers judge by the latest spec. Reconciling: on the way there. Stalled: a person "
        "must act. Further ones say why.",
    )
    campaigns: Annotated[tuple[Brief, ...], Field(max_length=64)] = Field(
        default=(), description="Campaigns that it is about now; at most 64 are named."
    )
    workers: Annotated[tuple[FraudWorker, ...], Field(max_length=64), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="What each worker does with it."
    )
    updated_at: Instant | None = Field(default=None, description="When the figures were made.")
    evaluated: Tally | None = Field(default=None, description="Events that it judged.")
    hits: Tally | None = Field(default=None, description="Events that broke it.")
    blocked: Tally | None = Field(default=None, description="Hits that the action met.")
    would_block: Tally | None = Field(
        default=None, description="Hits that it would have met, in Shadow or beside share."
    )
    held_out: Tally | None = Field(default=None, description="Hits that were left alone for the holdout.")
    active: Tally | None = Field(default=None, description="Blocks, limits and challenges that hold now.")
    without_key: Tally | None = Field(default=None, description="Events without a field of key, which were not judged.")
    late: Tally | None = Field(default=None, description="Events that came later than lateness.")
    duplicates: Tally | None = Field(default=None, description="Events that came again.")
    dropped: Tally | None = Field(default=None, description="Events that no worker got, as edges had no room for more.")
    evicted: Tally | None = Field(default=None, description="Keys that were forgotten or refused, as state is full.")
    unusable: Tally | None = Field(
        default=None, description="Events that lacked what a condition looks at, or that the model gave no score."
    )
    latency_p99: Brief | None = Field(
        default=None,
        alias="latencyP99",
        description="From the event at the edge to its verdict, p99 of the latest, rounded up: 20ms.",
    )
    precision: Figure | None = Field(default=None, description="Share of the found who are dishonest, by labels.")
    recall: Figure | None = Field(default=None, description="Share of the dishonest who were found, by labels.")
    samples: Annotated[tuple[Sample, ...], Field(max_length=8)] = Field(
        default=(), description="The latest verdicts, explained."
    )
    backtest: BacktestStatus | None = Field(default=None, description="What the rule would have done.")
    record: dict[str, Any] = Field(
        default_factory=dict,
        description="What the operator goes on from: nothing for people, and not to be edited.",
    )
