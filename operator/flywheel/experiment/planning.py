"""What a test costs before it starts: visitors and days, for the effect that it is made for and for others. Pure."""

import math
from dataclasses import dataclass
from datetime import timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_values import BUCKETS
from flywheel.experiment.plan import challengers, size_of
from flywheel.experiment.sizing import Goal, proportion_size, time_needed
from flywheel.experiment.state import Sizing
from flywheel.insight.past import Past

FACTORS = (0.5, 1.0, 2.0)
"""Times the effect that the test is made for: what half of it would cost, and what twice of it would save."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the primary metric is without any variant."""

    value: float
    variance: float = 0.0
    """Of one visitor's value; of a share it follows from the value."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What it takes to see one effect."""

    effect: float
    """Relative, above 0."""
    sizing: Sizing
    visitors: int
    """Of all variants and the control, at most."""
    time: timedelta | None
    """At most; None if nobody comes."""
    expected_time: timedelta | None
    """On average, if the effect is there."""


def baseline_of(test: ABTest, past: Past) -> Baseline | None:
    """Give the baseline that was measured; None where nothing follows from it."""
    sums, visitors = past.sums, past.visitors
    if not visitors:
        return None
    if test.spec.metrics.primary.ratio is None:
        mean = sums.y / visitors
        return Baseline(mean, max(0.0, sums.yy / visitors - mean * mean))
    if sums.x <= 0:
        return None
    ratio, below = sums.y / sums.x, sums.x / visitors
    spread = (sums.yy - 2 * ratio * sums.xy + ratio * ratio * sums.xx) / visitors
    return Baseline(ratio, max(0.0, spread) / (below * below))


def participants_a_day(test: ABTest, visitors_a_day: float) -> float:
    """Give how many of the service's visitors take part."""
    held_out = (test.spec.holdout or 0) / BUCKETS
    return visitors_a_day * test.spec.traffic / BUCKETS * (1.0 - held_out)


def cost_of(test: ABTest, baseline: Baseline, participants: float, factor: float = 1.0) -> Cost | None:
    """Say what it takes to see a multiple of the effect that the test is made for.

    Args:
        test: The test.
        baseline: What the metric is today.
        participants: A day.
        factor: Times the effect.

    Returns:
        None where there can be no such effect: no share rises above all visitors, nothing falls by all of it.
    """
    effect = test.spec.metrics.primary.minimum_effect * factor
    primary = test.spec.metrics.primary.model_copy(update={"minimum_effect": effect})
    metrics = test.spec.metrics.model_copy(update={"primary": primary})
    asked = test.model_copy(update={"spec": test.spec.model_copy(update={"metrics": metrics})})
    try:
        sizing = size_of(asked, baseline.value, baseline.variance)
    except ValueError:
        return None
    visitors = total_of(test, sizing)
    whole = test.spec.decision.whole_weeks
    share = expected_share(test)
    return Cost(
        effect,
        sizing,
        visitors,
        time_needed(visitors, participants, whole_weeks=whole),
        time_needed(math.ceil(visitors * share), participants, whole_weeks=whole),
    )


def total_of(test: ABTest, sizing: Sizing) -> int:
    """Give all visitors until each arm has its own: who comes is shared out by weight, and the slowest arm decides."""
    arms = [
        (sizing.control_cap if each.control else sizing.variant_cap) * BUCKETS / each.weight
        for each in test.spec.variants
    ]
    return math.ceil(max(arms))


def expected_share(test: ABTest) -> float:
    """Give the share of the planned visitors that is needed on average if the effect is as planned."""
    statistics = test.spec.statistics
    goal = Goal(statistics.alpha, statistics.power, len(challengers(test)))
    # It hangs on level and power alone, so any shares will do.
    return proportion_size(0.1, 0.1, goal).at_effect


def smallest_effect(test: ABTest, baseline: Baseline, participants: float, days: float) -> float | None:
    """Give the smallest effect that so many days can show; None if even ten times the planned one cannot be."""
    low, high = 0.0, 10.0
    if not _fits(test, baseline, participants, days, high):
        high = next((each for each in (5.0, 3.0, 2.0, 1.5) if _fits(test, baseline, participants, days, each)), 0.0)
    if not high:
        return None
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if _fits(test, baseline, participants, days, middle) else (middle, high)
    return high * test.spec.metrics.primary.minimum_effect


def _fits(test: ABTest, baseline: Baseline, participants: float, days: float, factor: float) -> bool:
    cost = cost_of(test, baseline, participants, factor)
    return cost is not None and cost.visitors <= participants * days
