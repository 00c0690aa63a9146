"""From what a person wrote to what is asked of the store and decided on. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_metrics import Guardrail as GuardrailSpec
from flywheel.api.abtest_metrics import Measured
from flywheel.api.abtest_metrics import Metric as MetricSpec
from flywheel.experiment.analysis import ArmSums, Design, Guardrail, Kind, Metric, Summary
from flywheel.experiment.confidence_sequence import Margin
from flywheel.experiment.corrections import shared_level
from flywheel.experiment.decision import Limits
from flywheel.experiment.moments import Moments, PairMoments
from flywheel.experiment.quantile import Histogram, Latency, design_effect
from flywheel.experiment.sequential import horizon_test
from flywheel.experiment.sizing import Goal, Size, mean_size, proportion_size
from flywheel.experiment.state import Sizing
from flywheel.insight.arms import QUICK, Amount, ArmFigures, Outcome, Sums

REVENUE = "revenue"
"""The property that the store has reckoned into the campaign's currency, under the campaign's order event."""
GUARDED_VISITORS = 3000
"""Of each arm, at which the bounds of guardrails are narrowest: early, as that is when they are needed."""
GUARDED_REQUESTS = 10_000


@dataclass(frozen=True, slots=True)
class Questions:
    """What is asked of the store, in the order of the design's metrics."""

    outcomes: tuple[Outcome, ...]
    requests: bool


def questions_of(test: ABTest, order_event: str) -> Questions:
    """Say what has to be summed up.

    Args:
        test: The test.
        order_event: The event whose revenue the store knows in the campaign's currency.
    """
    metrics = test.spec.metrics
    history = int(metrics.covariate.history.total_seconds() * 1000) if metrics.covariate else 0
    measured: list[Measured] = [metrics.primary, *metrics.secondary]
    measured += [each for each in metrics.guardrails if not _is_of_requests(each)]
    return Questions(
        tuple(_outcome(each, history, order_event) for each in measured),
        any(_is_of_requests(each) for each in metrics.guardrails),
    )


def _is_of_requests(guardrail: GuardrailSpec) -> bool:
    return guardrail.errors is not None or guardrail.latency is not None


def _outcome(metric: Measured, history: int, order_event: str) -> Outcome:
    cap = math.inf if metric.cap is None else metric.cap
    if metric.ratio is not None:
        above = _amount(metric.ratio.count, metric.ratio.sum, math.inf, order_event)
        return Outcome(above, _amount(metric.ratio.per_count, metric.ratio.per_sum, math.inf, order_event))
    if metric.event is not None:
        return Outcome(Amount(metric.event))
    return Outcome(_amount(metric.count, metric.sum, cap, order_event), history=history)


def _amount(count: str | None, total: str | None, cap: float, order_event: str) -> Amount:
    if count is not None:
        return Amount(count, "Count", cap=cap)
    event, _, name = str(total).rpartition(".")
    if event == order_event and name == REVENUE:
        return Amount(event, "Revenue", cap=cap)
    return Amount(event, "Property", name, cap)


def kind_of(metric: Measured, *, has_history: bool) -> Kind:
    """Tell how arms are compared by a metric."""
    if metric.ratio is not None:
        return Kind.RATIO
    if metric.event is not None:
        return Kind.SHARE
    return Kind.ADJUSTED if has_history else Kind.MEAN


def size_of(test: ABTest, baseline: float, variance: float = 0.0) -> Sizing:
    """Fix how many visitors the test takes at most.

    Args:
        test: The test.
        baseline: What the primary metric is today: a share, a mean or a ratio.
        variance: Of one visitor's value; not of a share.

    Raises:
        ValueError: Nothing follows from such a baseline: a share of 0 or of all, or values that do not vary.
    """
    spec = test.spec
    primary = spec.metrics.primary
    lift = primary.minimum_effect if primary.direction == "Increase" else -primary.minimum_effect
    control = test.control.weight
    goals = [
        Goal(spec.statistics.alpha, spec.statistics.power, len(test.challengers), control / variant.weight)
        for variant in test.challengers
    ]
    sizes: list[Size] = [
        proportion_size(baseline, lift, goal)
        if primary.event is not None
        else mean_size(baseline, variance, lift, goal)
        for goal in goals
    ]
    largest = max(sizes, key=lambda each: each.variant_cap)
    return Sizing(
        variant_cap=largest.variant_cap, control_cap=largest.control_cap, baseline=baseline, variance=variance
    )


def design_of(test: ABTest, sizing: Sizing, withdrawn: frozenset[str] = frozenset()) -> Design:
    """Say what is decided on, of the variants that still take part."""
    spec, metrics = test.spec, test.spec.metrics
    has_history = metrics.covariate is not None
    variants = [each for each in test.challengers if each.name not in withdrawn]
    level = shared_level(spec.statistics.alpha, len(test.challengers))
    return Design(
        arms=(test.control.name, *(each.name for each in variants)),
        weights=(test.control.weight, *(each.weight for each in variants)),
        test=horizon_test(level, sizing.variant_cap, sizing.control_cap),
        primary=_metric(metrics.primary, has_history),
        planned_lift=metrics.primary.minimum_effect,
        secondary=tuple(_metric(each, has_history) for each in metrics.secondary),
        guardrails=tuple(_guardrail(each, has_history) for each in metrics.guardrails),
        stops_for_futility=bool(spec.statistics.futility),
    )


def _metric(metric: MetricSpec, has_history: bool) -> Metric:
    return Metric(metric.title, kind_of(metric, has_history=has_history), metric.direction == "Increase")


def _guardrail(spec: GuardrailSpec, has_history: bool) -> Guardrail:
    worse = spec.max_increase is not None
    margin = spec.max_increase if spec.max_increase is not None else spec.max_decrease
    if spec.errors is not None:
        kind, relative, tuned = Kind.RATIO, False, GUARDED_VISITORS
    elif spec.latency is not None:
        kind, relative, tuned = Kind.P95, True, GUARDED_REQUESTS
    else:
        kind, relative, tuned = kind_of(spec, has_history=has_history), spec.event is None, GUARDED_VISITORS
    return Guardrail(
        Metric(spec.title, kind, more_is_better=not worse),
        Margin(float(margin or 0.0), tuned_for=tuned, is_relative=relative, more_is_worse=worse),
        must_hold=bool(spec.must_hold),
    )


def limits_of(test: ABTest) -> Limits:
    """Say how long the test runs at least and at most."""
    rules = test.spec.decision
    return Limits(rules.minimum_duration, rules.maximum_duration, whole_weeks=bool(rules.whole_weeks))


def sums_of(test: ABTest, design: Design, figures: Mapping[str, ArmFigures]) -> tuple[ArmSums, ...]:
    """Put what the store has summed up in the order of a design."""
    return tuple(_arm_sums(test, design, figures.get(name, ArmFigures())) for name in design.arms)


def _arm_sums(test: ABTest, design: Design, arm: ArmFigures) -> ArmSums:
    guardrails = test.spec.metrics.guardrails
    asked = 1 + len(design.secondary) + sum(not _is_of_requests(each) for each in guardrails)
    outcomes = iter(arm.outcomes or (Sums(),) * asked)
    primary = _summary(design.primary, arm.visitors, next(outcomes))
    secondary = tuple(_summary(each, arm.visitors, next(outcomes)) for each in design.secondary)
    return ArmSums(arm.visitors, primary, secondary, tuple(_guarded(design.guardrails, guardrails, arm, outcomes)))


def _guarded(
    guardrails: Sequence[Guardrail], specs: Sequence[GuardrailSpec], arm: ArmFigures, outcomes: Iterator[Sums]
) -> Iterator[Summary]:
    for guardrail, spec in zip(guardrails, specs, strict=True):
        if spec.errors is not None:
            yield _pair(arm.requesters, arm.requests)
        elif spec.latency is not None:
            alike = design_effect(_pair(arm.answered, arm.quick), QUICK)
            yield Latency(Histogram(dict(arm.latencies)), alike)
        else:
            yield _summary(guardrail.metric, arm.visitors, next(outcomes))


def _summary(metric: Metric, visitors: int, sums: Sums) -> Summary:
    if metric.kind in (Kind.SHARE, Kind.MEAN):
        return Moments(visitors, sums.y, sums.yy)
    return _pair(visitors, sums)


def _pair(count: int, sums: Sums) -> PairMoments:
    return PairMoments(count, sums.y, sums.yy, sums.x, sums.xx, sums.xy)
