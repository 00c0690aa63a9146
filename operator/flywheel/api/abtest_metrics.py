"""What an A/B test measures of each visitor, and what must not get worse."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.gate_values import DecimalNumber, Increase
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Duration, Flag, Text

KINDS = ("event", "count", "sum", "ratio")
GUARDED = (*KINDS, "errors", "latency")

MetricName = Annotated[
    str, Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 40, such as revenue", 40)
]
Total = Annotated[
    str,
    Text(
        "^[^\\x00-\\x20\\x7f.]([^\\x00-\\x1f\\x7f.]*[^\\x00-\\x20\\x7f.])?[.][A-Za-z_][A-Za-z0-9_]{0,63}$",
        "an event and one of its properties with a point between, such as Order Completed.revenue",
        193,
        3,
        explain=True,
    ),
]
AboveZero = Annotated[float, DecimalNumber(1e-9)]


class Ratio(Model):
    """Two totals of the same visitors, one over the other."""

    constraints = (
        exactly_one(("count", "sum"), ("count", "sum"), "the numerator"),
        exactly_one(("perCount", "perSum"), ("per_count", "per_sum"), "the denominator"),
    )

    count: EventName | None = Field(default=None, description="Numerator: how often this event happened.")
    sum: Total | None = Field(
        default=None, description="Numerator: the sum of a property, such as Order Completed.revenue."
    )
    per_count: EventName | None = Field(default=None, description="Denominator: how often this event happened.")
    per_sum: Total | None = Field(default=None, description="Denominator: the sum of a property.")


class Measured(Model):
    """A figure of each visitor after they were first served a variant. Exactly one of the kinds is given."""

    name: MetricName | None = Field(
        default=None, description="Name on boards and in reports. Default: made from what is measured."
    )
    event: EventName | None = Field(
        default=None, description="Share of visitors with at least one such event, such as Coupon Claimed."
    )
    count: EventName | None = Field(default=None, description="How many such events a visitor has on average.")
    sum: Total | None = Field(
        default=None,
        description="Sum of a property of an event, of a visitor on average, such as Order Completed.revenue.",
    )
    ratio: Ratio | None = Field(
        default=None,
        description="One total over another, such as {sum: Order Completed.revenue, perCount: Order Completed}: the "
        "average order.",
    )
    cap: AboveZero | None = Field(
        default=None,
        description="The most that one visitor counts for in count and sum, such as 5000: a single large order then "
        "decides nothing. Default: no limit.",
    )

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(name for name in KINDS if getattr(self, name) is not None)

    @property
    def title(self) -> str:
        """Its name for people."""
        if self.name:
            return self.name
        if self.ratio is not None:
            above = self.ratio.sum or self.ratio.count
            return f"{above} per {self.ratio.per_sum or self.ratio.per_count}"
        return str(getattr(self, self.kind))


_ONE_KIND = exactly_one(KINDS, KINDS, "a metric")
_CAPPED = Rule(
    cel="!has(self.cap) || has(self.count) || has(self.sum)",
    holds=lambda metric: metric.cap is None or metric.count is not None or metric.sum is not None,
    message="cap limits what one visitor counts for in count or sum: remove it here",
    field="cap",
)


class Metric(Measured):
    """A figure that is told beside the primary one."""

    constraints = (_ONE_KIND, _CAPPED)

    direction: Literal["Increase", "Decrease"] = Field(
        default="Increase", description="Which way is better: Increase (default) or Decrease."
    )


class PrimaryMetric(Metric):
    """The one figure on which the test is decided."""

    minimum_effect: Increase = Field(
        description="The least relative change that would be worth having, such as 10%. It decides how many visitors "
        "are needed: half the effect needs four times as many."
    )
    baseline: Annotated[float, DecimalNumber(0)] | None = Field(
        default=None,
        description="What the figure is today, where the campaign has no traffic yet to tell: a share such as 0.05 for "
        "event, a mean for the others. Default: measured over the days before the start.",
    )


class Guardrail(Measured):
    """A figure that must not get worse by more than a margin. A proven breach takes the variant out at once."""

    constraints = (
        exactly_one(GUARDED, GUARDED, "a guardrail"),
        _CAPPED,
        exactly_one(("maxIncrease", "maxDecrease"), ("max_increase", "max_decrease"), "a guardrail"),
        Rule(
            cel="!(has(self.errors) || has(self.latency)) || has(self.maxIncrease)",
            holds=lambda guardrail: (
                guardrail.max_increase is not None or (guardrail.errors is None and guardrail.latency is None)
            ),
            message="errors and latency get worse by growing: give maxIncrease",
            field="maxIncrease",
        ),
    )

    errors: Flag | None = Field(
        default=None, description="true: the share of requests to the variant that failed (5xx, or no answer)."
    )
    latency: Literal["p95"] | None = Field(
        default=None, description="p95: the 95th percentile of the time until the variant's answers were complete."
    )
    max_increase: Increase | None = Field(
        default=None,
        description="How much it may grow: in percentage points for errors and event (0.5% lets 2.0% become 2.5%), "
        "relative for everything else (20% lets 100 ms become 120 ms).",
    )
    max_decrease: Increase | None = Field(
        default=None, description="How much it may fall; as maxIncrease, the other way round."
    )
    must_hold: Flag = Field(
        default=True,
        description="true (default): nothing is shipped before harm above the margin is ruled out. false: it is enough "
        "that none is proven.",
    )

    @property
    def kind(self) -> str:
        """Which of the kinds it is."""
        return next(name for name in GUARDED if getattr(self, name) is not None)

    @property
    def title(self) -> str:
        """Its name for people."""
        if self.errors is not None:
            return self.name or "errors"
        return self.name or "latency p95" if self.latency is not None else super().title


class Covariate(Model):
    """What visitors did before the test, to take out of the comparison what it explains (CUPED)."""

    history: Duration = Field(
        description="How far back from a visitor's first exposure, such as 14d: the same figure over this time."
    )


class Metrics(Model):
    """What is measured."""

    primary: PrimaryMetric = Field(description="The one figure on which the test is decided.")
    secondary: Annotated[tuple[Metric, ...], Field(max_length=7)] = Field(
        default=(), description="Further figures, told with a correction for their number and never decided on."
    )
    guardrails: Annotated[tuple[Guardrail, ...], Field(max_length=8)] = Field(
        default=(), description="Figures that must not get worse."
    )
    window: Duration = Field(
        default=timedelta(days=7),
        description="How long after a visitor's first exposure their events count. Default 7d.",
    )
    covariate: Covariate | None = Field(
        default=None, description="Makes means of visitors with a past more precise. For count and sum. Default: none."
    )
