"""What a test measures: one primary metric that decides, secondary ones that explain, guardrails that must hold."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from flywheel.api.abtest_values import Effect, Level, MetricName, SummedProperty, percent_cel, within
from flywheel.api.autoscaling import EventName
from flywheel.api.durations import between
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Duration, Flag

KINDS = ("event", "count", "sum", "ratio", "timeTo")
"""What can be measured of a visitor."""
GUARDRAIL_KINDS = ("errors", "latency", *KINDS)
_ATTRIBUTES = ("event", "count", "sum", "ratio", "time_to")

Direction = Literal["Increase", "Decrease"]


def _usual_direction(data: dict[str, Any]) -> Direction:
    return "Decrease" if data.get("time_to") is not None else "Increase"


class RatioPart(Model):
    """One side of a ratio, added up over all events of a visitor."""

    constraints = (exactly_one(("count", "sum"), ("count", "sum"), "each side of a ratio"),)

    count: EventName | None = Field(default=None, description="Number of these events, such as Order Completed.")
    sum: SummedProperty | None = Field(
        default=None, description="Sum of a property of an event, such as Order Completed.revenue."
    )


class Ratio(Model):
    """One sum over another, over all visitors of a variant."""

    numerator: RatioPart = Field(description="Above the line, such as {sum: Order Completed.revenue}.")
    denominator: RatioPart = Field(description="Below the line, such as {count: Order Completed}.")


_WINSORISED = Rule(
    cel="!has(self.winsorise) || has(self.count) || has(self.sum) || has(self.timeTo)",
    holds=lambda model: (
        model.winsorise is None or not (model.count is None and model.sum is None and model.time_to is None)
    ),
    message="only what is summed for each visitor has outliers to cut: use winsorise with count, sum or timeTo, or "
    "take it out",
    field="winsorise",
)
_WINSORISE_BOUNDS = within("winsorise", "winsorise", "50%", "99.99%", "it cuts what lies above that percentile")


class Measured(Model):
    """One figure of each visitor, or of all of a variant."""

    name: MetricName | None = Field(
        default=None,
        description="Name for people, such as Revenue per visitor. Default: what is measured, such as count of "
        "Page Shared.",
    )
    event: EventName | None = Field(
        default=None, description="Share of visitors with at least one such event, such as Coupon Claimed."
    )
    count: EventName | None = Field(
        default=None, description="Number of such events of a visitor on average, such as Product Added."
    )
    sum: SummedProperty | None = Field(
        default=None,
        description="Sum of a property over such events of a visitor, on average, such as Order Completed.revenue.",
    )
    ratio: Ratio | None = Field(
        default=None,
        description="One sum over another, such as {numerator: {sum: Order Completed.revenue}, denominator: {count: "
        "Order Completed}}: the value of an order.",
    )
    time_to: EventName | None = Field(
        default=None,
        description="Time from the exposure to the first such event, such as Order Completed; whoever has none within "
        "metrics.window counts with the whole window.",
    )
    winsorise: Level | None = Field(
        default=None,
        description="With count, sum and timeTo: values above this percentile of all visitors count as that "
        "percentile, so that a few do not decide, such as 99%; 50% to 99.99%. Default: none is cut.",
    )

    @property
    def kind(self) -> str:
        """Which of the kinds it is, as it is spelled in YAML."""
        given = (kind for kind, name in zip(KINDS, _ATTRIBUTES, strict=True) if getattr(self, name) is not None)
        return next(given, "")

    @property
    def events(self) -> frozenset[str]:
        """Names of the events that it is made of."""
        parts = (self.ratio.numerator, self.ratio.denominator) if self.ratio else ()
        counted = (self.event, self.count, self.time_to, *(part.count for part in parts))
        summed = (self.sum, *(part.sum for part in parts))
        return frozenset([each for each in counted if each] + [each.event for each in summed if each])

    @property
    def label(self) -> str:
        """What it is called on the board, in reports and in the status."""
        if self.name is not None:
            return self.name
        for phrase, value in (("", self.event), ("count of ", self.count), ("time to ", self.time_to)):
            if value is not None:
                return phrase + value
        return "ratio" if self.sum is None else f"sum of {self.sum}"


class Metric(Measured):
    """A metric with the direction that is better."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        exactly_one(KINDS, _ATTRIBUTES, "a metric"),
        _WINSORISED,
        _WINSORISE_BOUNDS,
    )

    direction: Direction = Field(
        default_factory=_usual_direction,
        description="Which change is better: Increase or Decrease. Default Increase; of timeTo: Decrease.",
    )


class PrimaryMetric(Metric):
    """The metric that decides."""

    constraints = (
        *Metric.constraints,
        Rule(
            cel="(has(self.direction) ? self.direction : has(self.timeTo) ? 'Decrease' : 'Increase') == 'Increase' || "
            f"!self.minimumEffect.matches('^[0-9]+([.][0-9]+)?%$') || {percent_cel('self.minimumEffect')} < 100.0",
            holds=lambda model: model.direction == "Increase" or model.minimum_effect < 1,
            message="nothing falls by 100% or more: lower minimumEffect, or set direction: Increase",
            field="minimumEffect",
        ),
    )

    minimum_effect: Effect = Field(
        description="Smallest change that is worth knowing, relative to the control: with a conversion of 5%, 10% "
        "means from 5% to 5.5%. The test is sized for it: half of it takes four times the visitors."
    )


_LABEL = (
    "(has({0}.name) ? {0}.name : has({0}.event) ? {0}.event : has({0}.count) ? 'count of ' + {0}.count : "
    "has({0}.timeTo) ? 'time to ' + {0}.timeTo : has({0}.sum) ? 'sum of ' + {0}.sum : {1})"
)
_GUARDRAIL_LABEL = "has({0}.errors) ? 'errors' : has({0}.latency) ? 'latency ' + {0}.latency : 'ratio'"


def _labels_differ(field: str, otherwise: str) -> Rule:
    """Results are told by label, so two of one label could not be told apart."""
    ours, theirs = (_LABEL.format(name, otherwise.format(name)) for name in ("a", "b"))

    def holds(metrics: Any) -> bool:
        labels = [each.label for each in getattr(metrics, field)]
        return len(set(labels)) == len(labels)

    return Rule(
        cel=f"!has(self.{field}) || self.{field}.all(a, self.{field}.exists_one(b, {ours} == {theirs}))",
        holds=holds,
        message=f"two of {field} measure the same or have the same name: give each a name of its own, or remove one",
        field=field,
    )


class Guardrail(Measured):
    """What a variant must not worsen by more than a margin, compared with the control."""

    constraints = (
        exactly_one(GUARDRAIL_KINDS, ("errors", "latency", *_ATTRIBUTES), "a guardrail"),
        _WINSORISED,
        _WINSORISE_BOUNDS,
        exactly_one(("maxIncrease", "maxDecrease"), ("max_increase", "max_decrease"), "a guardrail"),
        Rule(
            cel="!has(self.errors) || self.errors",
            holds=lambda model: model.errors is not False,
            message="errors can only be watched: set errors: true, or remove the guardrail",
            field="errors",
        ),
        Rule(
            cel="!has(self.maxDecrease) || !(has(self.errors) || has(self.latency))",
            holds=lambda model: model.max_decrease is None or (model.errors is None and model.latency is None),
            message="fewer errors and less latency harm nobody: use maxIncrease",
            field="maxDecrease",
        ),
        Rule(
            cel="!has(self.maxDecrease) || !self.maxDecrease.matches('^[0-9]+([.][0-9]+)?%$') || "
            f"{percent_cel('self.maxDecrease')} < 100.0",
            holds=lambda model: model.max_decrease is None or model.max_decrease < 1,
            message="nothing falls by more than 100%, so this would hold whatever happens: lower maxDecrease",
            field="maxDecrease",
        ),
        Rule(
            cel="!has(self.errors) || !has(self.maxIncrease) || "
            f"!self.maxIncrease.matches('^[0-9]+([.][0-9]+)?%$') || {percent_cel('self.maxIncrease')} < 100.0",
            holds=lambda model: model.errors is None or model.max_increase is None or model.max_increase < 1,
            message="no share of errors rises by 100 points: maxIncrease of errors is in percentage points, such as "
            "0.5%",
            field="maxIncrease",
        ),
    )

    errors: Flag | None = Field(
        default=None, description="true: the share of requests that fail (status 5xx, or no answer) of the variant."
    )
    latency: Literal["p50", "p95", "p99"] | None = Field(
        default=None, description="Latency of the variant: p50, p95 or p99 of its requests."
    )
    max_increase: Effect | None = Field(
        default=None,
        description="Most that it may rise above the control's. Of errors in percentage points: 0.5% allows 1.5% where "
        "the control has 1%. Of all others relative: 20% allows 240ms where the control has 200ms.",
    )
    max_decrease: Effect | None = Field(
        default=None,
        description="Most that it may fall below the control's, always relative: 5% allows 1.9% where the control has "
        "2%. Not for errors and latency; below 100%.",
    )

    @property
    def kind(self) -> str:
        """Which of the kinds it is, as it is spelled in YAML."""
        return "errors" if self.errors else "latency" if self.latency else super().kind

    @property
    def label(self) -> str:
        """What it is called on the board, in reports and in the status."""
        if self.name is not None or not (self.errors or self.latency):
            return super().label
        return "errors" if self.errors else f"latency {self.latency}"


class Covariate(Model):
    """What visitors did before the test, by which chance is taken out of what they do in it (CUPED)."""

    constraints = (between("history", "history", "1h", "90d", "it is looked for in the event store"),)

    history: Duration = Field(
        description="How far back from the exposure the same metric is looked at, such as 14d; 1h to 90d. Visitors "
        "without a past count as average."
    )


class Metrics(Model):
    """What is measured."""

    constraints = (
        _labels_differ("secondary", "'ratio'"),
        _labels_differ("guardrails", _GUARDRAIL_LABEL),
        between("window", "window", "1m", "90d", "an event needs some time, and a test has an end"),
    )

    primary: PrimaryMetric = Field(
        description="The metric that decides, such as {event: Coupon Claimed, minimumEffect: 10%}. Exactly one of "
        "event, count, sum, ratio and timeTo."
    )
    secondary: Annotated[tuple[Metric, ...], Field(max_length=8)] = Field(
        default=(),
        description="Metrics that explain and do not decide, such as [{sum: Order Completed.revenue, winsorise: 99%}]; "
        "at most 8. Their intervals are corrected for their number.",
    )
    guardrails: Annotated[tuple[Guardrail, ...], Field(max_length=8)] = Field(
        default=(),
        description="What must not get worse by more than a margin, such as [{errors: true, maxIncrease: 0.5%}, "
        "{latency: p95, maxIncrease: 20%}, {event: Order Completed, maxDecrease: 5%}]; at most 8. A variant that "
        "breaks one loses its visitors at once.",
    )
    window: Duration = Field(
        default=timedelta(days=7),
        description="How long after the exposure an event counts, such as 24h; 1m to 90d. Default 7d.",
    )
    covariate: Covariate | None = Field(
        default=None,
        description="Use what visitors did before the exposure to need fewer of them, such as {history: 14d}. "
        "Default: not used.",
    )

    @property
    def events(self) -> frozenset[str]:
        """Names of all events that must be known."""
        return frozenset().union(*(each.events for each in (self.primary, *self.secondary, *self.guardrails)))
