"""From what a person wrote to what is asked of the store and decided on. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_metrics import Guardrail as GuardrailSpec
from flywheel.api.abtest_metrics import Measured
from flywheel.api.abtest_metrics import Metric as MetricSpec
from flywheel.api.abtest_values import PropertyOfEvent
from flywheel.api.abtest_variant import Variant
from flywheel.api.model import Model
from flywheel.experiment.analysis import ArmSums, Design, Guardrail, Kind, Metric, Summary
from flywheel.experiment.confidence_sequence import Margin
from flywheel.experiment.corrections import bonferroni, holm, shared_level
from flywheel.experiment.decision import Limits
from flywheel.experiment.moments import Moments, PairMoments
from flywheel.experiment.quantile import Histogram, Latency, design_effect
from flywheel.experiment.sequential import horizon_test
from flywheel.experiment.sizing import Goal, Size, mean_size, proportion_size
from flywheel.experiment.state import Sizing
from flywheel.insight.arms import QUICK, Amount, ArmFigures, Outcome, Sums
from flywheel.plan import content_hash

REVENUE = "revenue"
"""The property that the store has reckoned into the campaign's currency, under the campaign's order event."""
GUARDED_VISITORS = 3000
"""Of each arm, at which the bounds of guardrails are narrowest: early, as that is when they are needed."""
GUARDED_REQUESTS = 10_000
BATCHES = 20
"""Of a bandit, from its start to its planned size."""


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
    return bool(guardrail.errors) or guardrail.latency is not None


def _outcome(metric: Measured, history: int, order_event: str) -> Outcome:
    if metric.ratio is not None:
        above, below = metric.ratio.numerator, metric.ratio.denominator
        return Outcome(_amount(above.count, above.sum, order_event), _amount(below.count, below.sum, order_event))
    if metric.time_to is not None:
        return Outcome(Amount(metric.time_to, "TimeTo"), winsorise=metric.winsorise)
    if metric.event is not None:
        return Outcome(Amount(metric.event), history=history)
    return Outcome(_amount(metric.count, metric.sum, order_event), history=history, winsorise=metric.winsorise)


def _amount(count: str | None, total: PropertyOfEvent | None, order_event: str) -> Amount:
    if total is None:
        return Amount(str(count), "Count")
    if total.event == order_event and total.name == REVENUE:
        return Amount(total.event, "Revenue")
    return Amount(total.event, "Property", total.name)


def kind_of(metric: Measured, *, has_history: bool) -> Kind:
    """Tell how arms are compared by a metric."""
    if metric.ratio is not None:
        return Kind.RATIO
    if has_history and metric.time_to is None:
        return Kind.ADJUSTED
    return Kind.SHARE if metric.event is not None else Kind.MEAN


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
    variants = challengers(test)
    sizes: list[Size] = []
    for variant in variants:
        ratio = spec.control.weight / variant.weight
        goal = Goal(spec.statistics.alpha, spec.statistics.power, len(variants), ratio)
        is_share = primary.event is not None and spec.metrics.covariate is None
        sizes.append(proportion_size(baseline, lift, goal) if is_share else mean_size(baseline, variance, lift, goal))
    largest = max(sizes, key=lambda each: each.variant_cap)
    return Sizing(
        variant_cap=largest.variant_cap, control_cap=largest.control_cap, baseline=baseline, variance=variance
    )


def challengers(test: ABTest) -> tuple[Variant, ...]:
    """Give the variants that are compared with the control."""
    return tuple(each for each in test.spec.variants if not each.control)


def design_of(test: ABTest, sizing: Sizing, withdrawn: frozenset[str] = frozenset()) -> Design:
    """Say what is decided on, of the variants that still take part."""
    spec, metrics = test.spec, test.spec.metrics
    has_history = metrics.covariate is not None
    variants = [each for each in challengers(test) if each.name not in withdrawn]
    level = shared_level(spec.statistics.alpha, len(challengers(test)))
    return Design(
        arms=(spec.control.name, *(each.name for each in variants)),
        weights=(spec.control.weight, *(each.weight for each in variants)),
        test=horizon_test(level, sizing.variant_cap, sizing.control_cap),
        primary=_metric(metrics.primary, has_history),
        planned_lift=metrics.primary.minimum_effect,
        secondary=tuple(_metric(each, has_history) for each in metrics.secondary),
        guardrails=tuple(_guardrail(each, has_history) for each in metrics.guardrails),
        stops_for_futility=spec.statistics.futility,
        batches=BATCHES if is_bandit(test) else 0,
        correct=bonferroni if spec.statistics.correction == "Bonferroni" else holm,
    )


def design_digest(test: ABTest) -> str:
    """Name what may not change while a test runs: what is compared, by what, and how surely.

    Weights, traffic, secondary metrics, guardrails and times may change: they answer no other question.
    """
    spec = test.spec
    variants = [(each.name, bool(each.control), _plain(each.override)) for each in spec.variants]
    return content_hash({"variants": variants, "primary": _plain(spec.metrics.primary), "how": _how(test)})


def _how(test: ABTest) -> dict[str, Any]:
    given = test.spec.statistics
    return {"alpha": given.alpha, "method": given.method, "window": test.spec.metrics.window.total_seconds()}


def _plain(model: Model | None) -> Any:
    if model is None:
        return None
    # Only what was written: a field that a later version adds makes no other test of it. Shapes of Kubernetes are kept
    # as dicts, of which the model warns.
    return model.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)


def is_bandit(test: ABTest) -> bool:
    """Tell whether shares follow what is seen."""
    return test.spec.statistics.method == "Bandit"


def _metric(metric: MetricSpec, has_history: bool) -> Metric:
    kind = kind_of(metric, has_history=has_history)
    return Metric(metric.label, kind, metric.direction == "Increase", in_percent=metric.event is not None)


def _guardrail(spec: GuardrailSpec, has_history: bool) -> Guardrail:
    worse = spec.max_increase is not None
    margin = spec.max_increase if spec.max_increase is not None else spec.max_decrease
    tuned = GUARDED_VISITORS
    if spec.errors:
        kind = Kind.RATIO
    elif spec.latency is not None:
        kind, tuned = Kind(spec.latency), GUARDED_REQUESTS
    else:
        kind = kind_of(spec, has_history=has_history)
    return Guardrail(
        Metric(spec.label, kind, more_is_better=not worse),
        Margin(float(margin or 0.0), tuned_for=tuned, is_relative=not spec.errors, more_is_worse=worse),
    )


def limits_of(test: ABTest, most: timedelta | None = None) -> Limits:
    """Say how long the test runs at least and at most.

    Args:
        test: The test.
        most: The time that it has where that is less than it asks for, as its schedule or its campaign ends.
    """
    rules = test.spec.decision
    if most is None or most >= rules.maximum_duration:
        return Limits(rules.minimum_duration, rules.maximum_duration, whole_weeks=rules.whole_weeks)
    # What is over is judged by what is there: there will be no whole weeks, and no more of a least time.
    most = max(most, timedelta(seconds=1))
    return Limits(min(rules.minimum_duration, most), most)


def sums_of(
    test: ABTest,
    design: Design,
    figures: Mapping[str, ArmFigures],
    batches: Sequence[Mapping[str, ArmFigures]] = (),
) -> tuple[ArmSums, ...]:
    """Put what the store has summed up in the order of a design.

    Args:
        test: The test.
        design: Its design.
        figures: Of all visitors.
        batches: Of a bandit, the primary metric of the visitors that were new in each batch that is complete.
    """
    return tuple(
        _arm_sums(test, design, figures.get(name, ArmFigures()), [each.get(name, ArmFigures()) for each in batches])
        for name in design.arms
    )


def _arm_sums(test: ABTest, design: Design, arm: ArmFigures, batches: Sequence[ArmFigures]) -> ArmSums:
    guardrails = test.spec.metrics.guardrails
    asked = 1 + len(design.secondary) + sum(not _is_of_requests(each) for each in guardrails)
    outcomes = iter(arm.outcomes or (Sums(),) * asked)
    primary = _summary(design.primary, arm.visitors, next(outcomes))
    secondary = tuple(_summary(each, arm.visitors, next(outcomes)) for each in design.secondary)
    guarded = tuple(_guarded(design.guardrails, guardrails, arm, outcomes))
    parts = tuple(
        _summary(design.primary, each.visitors, each.outcomes[0] if each.outcomes else Sums()) for each in batches
    )
    return ArmSums(arm.visitors, primary, secondary, guarded, parts)


def _guarded(
    guardrails: Sequence[Guardrail], specs: Sequence[GuardrailSpec], arm: ArmFigures, outcomes: Iterator[Sums]
) -> Iterator[Summary]:
    for guardrail, spec in zip(guardrails, specs, strict=True):
        if spec.errors:
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
