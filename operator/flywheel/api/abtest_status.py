"""What the operator tells about an ABTest. Modelled for the CRD: the operator writes dicts, people read them."""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.model import KeyedBy, Model
from flywheel.api.quantities import Flag
from flywheel.api.status import Brief, Condition, Instant, Tally

Sentence = Annotated[str, Field(max_length=2048)]
State = Literal["Waiting", "Running", "Paused", "Decided", "Promoted", "Stopped", "Failed"]


class ConcludedStatus(Model):
    """How the test has ended."""

    verdict: Literal["Ship", "KeepControl", "Inconclusive", "StoppedByGuardrail", "Invalid"] = Field(
        description="Ship: a variant is better. KeepControl: none is. Inconclusive: the visitors or the time did not "
        "tell. StoppedByGuardrail: every variant broke one. Invalid: the figures prove nothing."
    )
    at: Instant = Field(description="When it was decided.")
    sentence: Sentence = Field(description="Why, for people.")
    winner: Brief | None = Field(default=None, description="The variant to ship.")


class SizingStatus(Model):
    """What was fixed before the first visitor."""

    variant_cap: Tally = Field(description="Visitors of each variant at which the test ends.")
    control_cap: Tally = Field(description="Visitors of control at which the test ends.")
    baseline: Annotated[float, Field()] = Field(description="What the primary metric was before the start.")
    variance: Annotated[float, Field()] | None = Field(
        default=None, description="Variance of one visitor's value; absent where it follows from the baseline."
    )


class TestRecord(Model):
    """Where the test stands: what the operator goes on from."""

    state: State | None = Field(default=None, description="Where the test stands.")
    reason: Brief | None = Field(default=None, description="Why, in one word for programs.")
    message: Sentence | None = Field(default=None, description="Why and what to do, for people.")
    salt: Brief | None = Field(default=None, description="What assigns visitors.")
    started_at: Instant | None = Field(default=None, description="When the first visitors could take part.")
    paused_at: Instant | None = Field(default=None, description="Since when it is paused.")
    paused_seconds: Annotated[float, Field()] | None = Field(default=None, description="Length of earlier pauses.")
    ended_at: Instant | None = Field(default=None, description="When it ended.")
    looked_at: Instant | None = Field(default=None, description="Up to when figures were looked at last.")
    least_ratio: Annotated[float, Field()] | None = Field(
        default=None, description="Least p-value of the sample ratio so far."
    )
    withdrawn: Annotated[tuple[Brief, ...], Field(max_length=8)] = Field(
        default=(), description="Variants that broke a guardrail: nobody is sent there any more."
    )
    sizing: SizingStatus | None = Field(default=None, description="What was fixed before the first visitor.")
    decision: ConcludedStatus | None = Field(default=None, description="How it has ended.")


class IntervalStatus(Model):
    """Bounds that hold at any look."""

    low: Brief | None = Field(default=None, description="Lower bound.")
    high: Brief | None = Field(default=None, description="Upper bound.")


class VariantStatus(Model):
    """How one variant is doing."""

    name: Brief = Field(description="Name of the variant.")
    control: Flag | None = Field(default=None, description="Whether the others are compared with it.")
    ready: Tally | None = Field(default=None, description="Pods that serve.")
    visitors: Tally | None = Field(default=None, description="Visitors who were served it first.")
    value: Brief | None = Field(default=None, description="The primary metric, such as 5.2%.")
    estimate: Brief | None = Field(default=None, description="Relative difference from control, for display.")
    interval: IntervalStatus | None = Field(default=None, description="Of the estimate; holds at any look.")
    progress: Brief | None = Field(default=None, description="Share of the planned visitors.")


class SampleRatioStatus(Model):
    """Whether variants have the visitors that they should."""

    p_value: Brief | None = Field(default=None, description="Valid at any look; below 0.005 the test is Invalid.")
    mismatch: Flag | None = Field(default=None, description="Whether they do not.")


class GuardrailStatus(Model):
    """How one guardrail of one variant stands."""

    variant: Brief = Field(description="The variant.")
    name: Brief = Field(description="The guardrail.")
    standing: Literal["Held", "Open", "Breached"] = Field(
        description="Held: harm above the margin is ruled out. Breached: it is proven. Open: neither yet."
    )
    estimate: Brief | None = Field(default=None, description="How much worse, on the scale of the margin.")


class CheckStatus(Model):
    """What must hold for the figures to mean anything."""

    sample_ratio: SampleRatioStatus | None = Field(default=None, description="Visitors against weights.")
    guardrails: Annotated[tuple[GuardrailStatus, ...], Field(max_length=64)] = Field(
        default=(), description="Every guardrail of every variant."
    )


class ABTestStatus(Model):
    """What the operator tells about an ABTest."""

    observed_generation: Tally | None = Field(
        default=None, description="The generation of the spec that all of this is about."
    )
    conditions: Annotated[tuple[Condition, ...], Field(max_length=32), KeyedBy(("type",), "keep one")] = Field(
        default=(), description="Ready: it runs, or has ended as it should. Stalled: a person must act."
    )
    test: TestRecord | None = Field(default=None, description="Where the test stands.")
    visitors: Tally | None = Field(default=None, description="Visitors of all variants.")
    variants: Annotated[tuple[VariantStatus, ...], Field(max_length=8), KeyedBy(("name",), "keep one")] = Field(
        default=(), description="How each variant is doing."
    )
    checks: CheckStatus | None = Field(default=None, description="What must hold for the figures to mean anything.")
