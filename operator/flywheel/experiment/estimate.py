"""How a variant differs from control, and how far that may be from the truth.

Decisions are made on the absolute scale, or on that of the log ratio; a relative interval is for people only. An
interval of the relative difference that is taken from its own standard error leans to one side and breaks its promise
when it is looked at often, as the control's mean stands below the line.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from flywheel.experiment.moments import Moments, PairMoments

LEAST_EXPECTED = 10.0
"""Conversions, and visitors without one, that each arm must be expected to have before its share is taken for normal.
Twice what Cochran (1954) asks of a table, as the test is looked at in its far tail."""
LEAST_VISITORS = 100
"""Of each arm before a mean is taken for normal. Skewed amounts need more, or winsorising."""


@dataclass(frozen=True, slots=True)
class Effect:
    """A variant's figure less control's."""

    variant: float
    control: float
    standard_error: float
    """Of the difference as it is: of intervals."""
    null_error: float
    """Of the difference if there was none: of decisions."""
    variant_count: int
    control_count: int
    variant_error: float
    """Of the variant's figure alone."""
    control_error: float
    covariance: float = 0.0
    """Between the two figures; 0 but where they share what was estimated from both."""
    is_normal: bool = True
    """Whether there is enough for the normal approximation; nothing is decided without."""

    @property
    def difference(self) -> float:
        """In the unit of the figure."""
        return self.variant - self.control

    @property
    def statistic(self) -> float:
        """The difference in standard errors; 0 where nothing varies."""
        return (self.variant - self.control) / self.null_error if self.null_error > 0 else 0.0

    @property
    def log_ratio(self) -> tuple[float, float] | None:
        """Give log(variant / control) and its standard error by the delta method; None unless both are above 0."""
        if self.variant <= 0 or self.control <= 0:
            return None
        variance = (
            (self.variant_error / self.variant) ** 2
            + (self.control_error / self.control) ** 2
            - 2 * self.covariance / (self.variant * self.control)
        )
        return math.log(self.variant / self.control), math.sqrt(max(0.0, variance))


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate between its bounds."""

    estimate: float
    lower: float
    upper: float

    def holds(self, value: float) -> bool:
        """Whether a value lies within."""
        return self.lower <= value <= self.upper


def lift(effect: Effect, width: float) -> Interval | None:
    """Give the relative difference for display: 0.1 is 10% more than control.

    The interval is that of the log ratio, turned back (Katz and others (1978), Biometrics 34); it is never decided on.

    Args:
        effect: What was measured.
        width: Half the interval, in standard errors.

    Returns:
        None where a figure is not above 0, as there is no ratio.
    """
    found = effect.log_ratio
    if found is None:
        return None
    ratio, error = found
    return Interval(math.expm1(ratio), safe_expm1(ratio - width * error), safe_expm1(ratio + width * error))


def proportion_effect(variant: Moments, control: Moments) -> Effect:
    """Compare shares of visitors who did a thing.

    Decisions take the pooled variance, the score test of equal shares, which keeps its level in unequal arms with few
    conversions; intervals the unpooled one, which is right for any difference.

    Args:
        variant: Its visitors, 1 for who did it and 0 for who did not.
        control: Likewise.

    Source: Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, chapter 3.
    """
    first, second = variant.count, control.count
    if not first or not second:
        return _unknown(variant.mean, control.mean, first, second)
    p, q = variant.total / first, control.total / second
    pooled = (variant.total + control.total) / (first + second)
    variant_variance, control_variance = p * (1 - p) / first, q * (1 - q) / second
    smaller = min(first, second)
    return Effect(
        p,
        q,
        math.sqrt(variant_variance + control_variance),
        math.sqrt(pooled * (1 - pooled) * (1 / first + 1 / second)),
        first,
        second,
        math.sqrt(variant_variance),
        math.sqrt(control_variance),
        is_normal=smaller * pooled >= LEAST_EXPECTED and smaller * (1 - pooled) >= LEAST_EXPECTED,
    )


def mean_effect(variant: Moments, control: Moments) -> Effect:
    """Compare means of visitors' values, whose variances may differ.

    Source: Welch (1938), Biometrika 29; with the normal quantile, as each arm has hundreds of visitors.
    """
    first, second = variant.count, control.count
    if min(first, second) < 2:
        return _unknown(variant.mean, control.mean, first, second)
    return _of_means(variant.mean, control.mean, variant.variance / first, control.variance / second, first, second)


def ratio_effect(variant: PairMoments, control: PairMoments) -> Effect:
    """Compare ratios of sums, as revenue by order, where visitors are what was drawn and not orders.

    Source: delta method, Deng, Knoblich, Lu (2018), Applying the Delta Method in Metric Analytics, KDD.
    """
    first, second = variant.count, control.count
    if min(first, second) < 2 or variant.x <= 0 or control.x <= 0:
        return _unknown(_ratio(variant), _ratio(control), first, second)
    return _of_means(_ratio(variant), _ratio(control), ratio_variance(variant), ratio_variance(control), first, second)


def ratio_variance(arm: PairMoments) -> float:
    """Give the variance of the ratio of sums `y / x` of an arm by the delta method; its denominator is above 0."""
    ratio = arm.y / arm.x
    spread = arm.variance_y - 2 * ratio * arm.covariance + ratio * ratio * arm.variance_x
    return max(0.0, spread) / (arm.count * arm.mean_x**2)


def adjusted_effect(variant: PairMoments, control: PairMoments, theta: float | None = None) -> Effect:
    """Compare means of `y` with what visitors' past `x` explains taken out (CUPED): each arm's `y - theta (x - mean)`.

    The mean is that of both arms, so an adjusted figure still is what visitors did.

    Args:
        variant: Outcome and covariate of its visitors.
        control: Likewise.
        theta: As `cuped_theta` gives it for all arms of a test; of these two alone without it.

    Source: Deng, Xu, Kohavi, Walker (2013), Improving the Sensitivity of Online Controlled Experiments, WSDM, 3.2.
    """
    first, second = variant.count, control.count
    if min(first, second) < 2:
        return _unknown(variant.mean_y, control.mean_y, first, second)
    slope = cuped_theta((variant, control)) if theta is None else theta
    share = first / (first + second)
    apart = variant.mean_x - control.mean_x
    adjusted = variant.mean_y - slope * (1 - share) * apart, control.mean_y + slope * share * apart
    # Both arms are taken to the same mean of x, so each figure depends on the visitors of the other one.
    own = _combined(variant, 1, -slope * (1 - share)), _combined(control, 1, -slope * share)
    other = _combined(control, 0, slope * (1 - share)), _combined(variant, 0, slope * share)
    variance = _combined(variant, 1, -slope) + _combined(control, 1, -slope)
    errors = own[0] + other[0], own[1] + other[1]
    error = math.sqrt(variance)
    return Effect(
        adjusted[0],
        adjusted[1],
        error,
        error,
        first,
        second,
        math.sqrt(errors[0]),
        math.sqrt(errors[1]),
        covariance=(errors[0] + errors[1] - variance) / 2,
        is_normal=min(first, second) >= LEAST_VISITORS,
    )


def cuped_theta(arms: Iterable[PairMoments]) -> float:
    """Give the slope of `y` on `x` within arms, pooled over them; 0 where `x` does not vary.

    Within, so that no effect of a variant is taken for one of the past.
    """
    shared = spread = 0.0
    for arm in arms:
        shared += arm.covariance * (arm.count - 1)
        spread += arm.variance_x * (arm.count - 1)
    return shared / spread if spread > 0 else 0.0


def _combined(arm: PairMoments, of_y: float, of_x: float) -> float:
    """Variance of the mean of `of_y * y + of_x * x`."""
    spread = of_y**2 * arm.variance_y + 2 * of_y * of_x * arm.covariance + of_x**2 * arm.variance_x
    return max(0.0, spread) / arm.count


def _ratio(arm: PairMoments) -> float:
    return arm.y / arm.x if arm.x > 0 else 0.0


def _of_means(
    variant: float, control: float, variant_variance: float, control_variance: float, first: int, second: int
) -> Effect:
    error = math.sqrt(variant_variance + control_variance)
    return Effect(
        variant,
        control,
        error,
        error,
        first,
        second,
        math.sqrt(variant_variance),
        math.sqrt(control_variance),
        is_normal=min(first, second) >= LEAST_VISITORS,
    )


def _unknown(variant: float, control: float, first: int, second: int) -> Effect:
    return Effect(variant, control, math.inf, math.inf, first, second, math.inf, math.inf, is_normal=False)


def safe_expm1(value: float) -> float:
    """Turn the bound of a log ratio into one of the relative difference; of nothing known it is infinite."""
    return math.expm1(value) if value < 700 else math.inf
