"""What the operator tells about an ABTest. Modelled for the CRD: the operator writes dicts, people read them.

Figures are text, rounded for people, so that a status is written when they see a difference; Prometheus and the report
have them exactly.
"""

from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model
from flywheel.api.status import Brief, Condition, Instant, Tally

Sentence = Annotated[str, Field(max_length=1024)]
Label = Annotated[str, Field(min_length=1, max_length=316)]


class ABTestCondition(Condition):
    """One statement about the ABTest: a metav1.Condition."""

    type: Annotated[str, Field(min_length=1, max_length=316)] = Field(
        description="What the statement is about: Ready, Reconciling, Stalled, VariantsReady, Measured, Decided, "
        "Promoted, Suspended or UnknownFields."
    )


class Interval(Model):
    """What the truth lies in, at any look, as surely as statistics.alpha asks for."""

    low: Brief = Field(description="Lower bound, such as +2.1%.")
    high: Brief = Field(description="Upper bound, such as +18.4%.")


class Sizing(Model):
    """How many visitors the test needs, from the campaign's own traffic."""

    visitors_per_variant: Tally | None = Field(default=None, description="Visitors that each variant needs at most.")
    visitors_per_day: Tally | None = Field(default=None, description="Visitors a day who take part, as measured.")
    baseline: Brief | None = Field(default=None, description="The primary metric of the control, such as 5.2%.")
    progress: Brief | None = Field(default=None, description="Share of the visitors that are there, such as 42%.")
    days_needed: Brief | None = Field(default=None, description="Days from start to end at most, such as 6.5.")
    days_left: Brief | None = Field(default=None, description="Days that are left at most, such as 2.5.")
    message: Sentence | None = Field(default=None, description="What is short, and what to do.")


class VariantStatus(Model):
    """How one variant is doing in the primary metric."""

    name: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the variant.")
    slot: Brief | None = Field(default=None, description="Where the edge finds it: the name of its objects.")
    desired: Tally | None = Field(default=None, description="Replicas that it shall have now.")
    ready: Tally | None = Field(default=None, description="Replicas that serve.")
    weight: Brief | None = Field(default=None, description="Share of new participants who get it now, such as 50%.")
    visitors: Tally | None = Field(default=None, description="Visitors who were served it.")
    conversions: Tally | None = Field(default=None, description="Visitors with the event, where the metric is one.")
    value: Brief | None = Field(default=None, description="The primary metric, such as 5.6%.")
    estimate: Brief | None = Field(default=None, description="Change against the control, such as +9.8%.")
    interval: Interval | None = Field(default=None, description="What that change lies in.")
    best: Brief | None = Field(
        default=None, description="Probability to be the best of all, such as 93%: to look at, it decides nothing."
    )
    message: Sentence | None = Field(default=None, description="What is wrong with it, such as why no pod is ready.")


class Comparison(Model):
    """One metric of one variant, against the control."""

    variant: Annotated[str, Field(min_length=1, max_length=63)] = Field(description="Name of the variant.")
    value: Brief | None = Field(default=None, description="The metric, such as 5.6% or 48.20.")
    estimate: Brief | None = Field(default=None, description="Change against the control, such as +9.8%.")
    interval: Interval | None = Field(default=None, description="What that change lies in.")
    p_value: Brief | None = Field(default=None, description="Corrected for the number of comparisons, such as 0.012.")
    verdict: Brief | None = Field(default=None, description="Better, Worse, or Undecided.")


Comparisons = Annotated[tuple[Comparison, ...], Field(max_length=8), KeyedBy(("variant",), "keep one")]


class MetricResult(Model):
    """What was found of one metric."""

    name: Label = Field(description="Name of the metric, or what it measures.")
    control: Brief | None = Field(default=None, description="The metric of the control.")
    variants: Comparisons = Field(default=(), description="The others, each against the control.")


class GuardrailComparison(Comparison):
    """One guardrail of one variant."""

    verdict: Literal["Holds", "Breached", "Undecided"] | None = Field(
        default=None,
        description="Holds: surely within the margin. Breached: surely beyond it. Undecided: too few visitors.",
    )


class GuardrailResult(Model):
    """What was found of one guardrail."""

    name: Label = Field(description="Name of the guardrail, or what it watches.")
    margin: Brief | None = Field(default=None, description="The margin, such as +0.5 points or -5%.")
    control: Brief | None = Field(default=None, description="Its figure of the control.")
    variants: Annotated[tuple[GuardrailComparison, ...], Field(max_length=8), KeyedBy(("variant",), "keep one")] = (
        Field(default=(), description="The others, each against the control.")
    )


class SampleRatio(Model):
    """Whether visitors were assigned as the weights say."""

    p_value: Brief | None = Field(default=None, description="Of all looks together, such as 0.4.")
    verdict: Literal["Holds", "Violated", "Undecided"] | None = Field(
        default=None, description="Violated: no result of this test can be trusted."
    )
    hint: Sentence | None = Field(
        default=None, description="Where it comes from: a browser, a channel, an edge pod, errors of a variant."
    )


class Checks(Model):
    """What must hold for the result to count."""

    sample_ratio: SampleRatio | None = Field(
        default=None, description="Whether visitors were assigned as the weights say."
    )
    guardrails: Annotated[tuple[GuardrailResult, ...], Field(max_length=8), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="The guardrails."
    )


class Verdict(Model):
    """What was decided."""

    verdict: Literal["Ship", "KeepControl", "Inconclusive", "StoppedByGuardrail", "Invalid"] = Field(
        description="Ship: a variant is better. KeepControl: none is. Inconclusive: the time is over and nobody knows. "
        "StoppedByGuardrail: every variant broke one. Invalid: the data cannot be trusted."
    )
    winner: Brief | None = Field(default=None, description="Name of the variant that is better.")
    reason: Sentence = Field(description="Why, with the numbers, for people.")
    at: Instant = Field(description="When it was decided.")
    promoted_at: Instant | None = Field(default=None, description="When the winner had the traffic of the service.")
    revision: Brief | None = Field(default=None, description="Digest of the revision that was promoted.")


class ABTestStatus(Model):
    """What the operator tells about an ABTest."""

    observed_generation: Tally | None = Field(
        default=None, description="The generation of the spec that all of this is about."
    )
    state: Literal["Waiting", "Running", "Paused", "Decided", "Promoted", "Stopped", "Failed"] | None = Field(
        default=None,
        description="Where the test stands: Waiting (for its start, or for pods), Running, Paused, Decided (there is a "
        "verdict), Promoted (the winner is the service), Stopped (by a person, or with the campaign), Failed (it "
        "cannot run).",
    )
    conditions: Annotated[tuple[ABTestCondition, ...], Field(max_length=32), KeyedBy(("type",), "keep one")] = Field(
        default=(),
        description="Ready: all is as the state wants it. Reconciling: on its way there. Stalled: a person must act. "
        "Further ones say why.",
    )
    started_at: Instant | None = Field(default=None, description="When the first visitor could be assigned.")
    paused_at: Instant | None = Field(default=None, description="When the pause began that lasts.")
    paused_for: Tally | None = Field(default=None, description="Seconds of all pauses that are over.")
    ends_at: Instant | None = Field(default=None, description="When it ends at the latest.")
    updated_at: Instant | None = Field(default=None, description="When the figures were made.")
    visitors: Tally | None = Field(default=None, description="Visitors of all variants, each once.")
    sizing: Sizing | None = Field(default=None, description="How many visitors it needs.")
    variants: Annotated[tuple[VariantStatus, ...], Field(max_length=8), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="How each variant is doing in the primary metric."
    )
    primary: MetricResult | None = Field(default=None, description="What was found of the primary metric.")
    secondary: Annotated[tuple[MetricResult, ...], Field(max_length=8), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="What was found of the secondary metrics."
    )
    checks: Checks | None = Field(default=None, description="What must hold for the result to count.")
    decision: Verdict | None = Field(default=None, description="What was decided.")
    report: Brief | None = Field(default=None, description="Name of the ConfigMap with the report that is kept.")
    record: dict[str, Any] = Field(
        default_factory=dict,
        description="What the operator goes on from: nothing for people, and not to be edited.",
    )
