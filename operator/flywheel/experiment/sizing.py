"""How many visitors a test needs before it starts, and how many days that is."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from statistics import NormalDist

from flywheel.experiment.sequential import boundary, effective_width, expected_fraction, needed_drift

LOOKS = 150
"""Over a test, for which a size is made. More of them only make it a little stronger, fewer a little weaker."""
DAYS_OF_A_WEEK = 7
LONGEST_TOLD = 36_500
"""Days."""
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Size:
    """Visitors of one comparison between a variant and control."""

    fixed: int
    """Visitors of each variant of a test that is looked at only once, for comparison."""
    variant_cap: int
    """Visitors of each variant at which the test ends."""
    control_cap: int
    at_effect: float
    """Share of the cap that is needed on average if the effect is as planned."""
    at_none: float
    """Likewise if there is none, without a stop for futility."""

    def total(self, variants: int) -> int:
        """Give all visitors of a test at its cap; `variants` does not count control."""
        return variants * self.variant_cap + self.control_cap


@dataclass(frozen=True, slots=True)
class Goal:
    """What a test is to be able to see.

    Raises:
        ValueError: A figure is out of its bounds; the message says which.
    """

    level: float = 0.05
    """Chance of a difference where there is none, over all variants."""
    power: float = 0.8
    """Chance to see the effect if it is there."""
    variants: int = 1
    """That are compared with control; the level is shared between them (Bonferroni)."""
    control_ratio: float = 1.0
    """Visitors of control for each visitor of a variant."""
    looks: int = LOOKS

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not self.level < self.power < 1:
            raise ValueError(f"level {self.level} and power {self.power}: wanted 0 < level < power < 1")
        if self.variants < 1 or self.control_ratio <= 0 or self.looks < 1:
            raise ValueError("at least one variant, one look, and some visitors for control are needed")


def proportion_size(baseline: float, lift: float, goal: Goal) -> Size:
    """Size a test of shares.

    Args:
        baseline: Share of control's visitors who do it, 0 to 1.
        lift: Relative difference to be seen: 0.1 is 10% more.
        goal: Level, power, variants.

    Raises:
        ValueError: A share is not between 0 and 1, or there is no lift to see.

    Source: Fleiss, Levin, Paik (2003), Statistical Methods for Rates and Proportions, chapter 4, without continuity
    correction; times what looking costs.
    """
    target = baseline * (1 + lift)
    if not 0 < baseline < 1 or not 0 < target < 1 or lift == 0:
        raise ValueError(f"from {baseline} by {lift} to {target}: shares lie between 0 and 1, and a lift is not 0")
    ratio = goal.control_ratio
    pooled = (target + ratio * baseline) / (1 + ratio)
    under_none = pooled * (1 - pooled) * (1 + 1 / ratio)
    under_effect = target * (1 - target) + baseline * (1 - baseline) / ratio
    return _size(abs(target - baseline), under_none, under_effect, goal)


def mean_size(mean: float, variance: float, lift: float, goal: Goal) -> Size:
    """Size a test of means, or of ratios.

    Args:
        mean: Of control: a mean, or a ratio of sums.
        variance: Of one visitor's value; of a ratio, visitors times its variance (`estimate.ratio_variance`). With a
            covariate, times one less the square of the correlation.
        lift: Relative difference to be seen: 0.1 is 10% more.
        goal: Level, power, variants.

    Raises:
        ValueError: The mean or the lift is 0, or the variance is not above 0.

    Source: Chow, Shao, Wang (2008), Sample Size Calculations in Clinical Research, 3.2.1; times what looking costs.
    """
    if mean == 0 or lift == 0 or not 0 < variance < math.inf:
        raise ValueError(f"mean {mean}, variance {variance}, lift {lift}: each must be something, the variance above 0")
    spread = variance * (1 + 1 / goal.control_ratio)
    return _size(abs(mean * lift), spread, spread, goal)


def proportion_effect_for(visitors: int, baseline: float, goal: Goal) -> float:
    """Give the least lift that a number of visitors can show; the inverse of `proportion_size`.

    Args:
        visitors: Of each variant.
        baseline: Share of control's visitors who do it.
        goal: Level, power, variants.

    Returns:
        The relative difference upwards; infinite if not even all visitors of the variant would be enough.
    """
    most = (1 - baseline) / baseline * (1 - 1e-9)
    return _least_lift(visitors, most, lambda lift: proportion_size(baseline, lift, goal).variant_cap)


def mean_effect_for(visitors: int, mean: float, variance: float, goal: Goal) -> float:
    """Give the least lift of a mean that a number of visitors of each variant can show."""
    return _least_lift(visitors, 1e6, lambda lift: mean_size(mean, variance, lift, goal).variant_cap)


def time_needed(visitors: int, per_day: float, traffic: float = 1.0, *, whole_weeks: bool = False) -> timedelta | None:
    """Give the time until so many visitors have been in a test.

    Args:
        visitors: Of all its arms.
        per_day: New visitors of the service each day.
        traffic: Share of them that takes part, above 0 up to 1.
        whole_weeks: Round up to weeks, so that each day of the week counts the same.

    Returns:
        None if nobody comes.
    """
    if per_day * traffic <= 0:
        return None
    days = min(visitors / (per_day * traffic), LONGEST_TOLD)
    return timedelta(days=math.ceil(days / DAYS_OF_A_WEEK) * DAYS_OF_A_WEEK if whole_weeks else days)


@lru_cache(maxsize=256)
def _cost_of_looking(level: float, power: float, looks: int) -> tuple[float, float, float, float]:
    """Drift of a test with looks, quantile of one without, and mean shares of the cap with the effect and without."""
    width = effective_width(boundary(level), looks)
    drift = needed_drift(width, power)
    once = _NORMAL.inv_cdf(1 - level / 2) + _NORMAL.inv_cdf(power)
    return drift, once, expected_fraction(width, drift), expected_fraction(width, 0.0)


def _size(difference: float, under_none: float, under_effect: float, goal: Goal) -> Size:
    """Both variances are of the difference, for one visitor of the variant."""
    level = goal.level / goal.variants
    drift, once, at_effect, at_none = _cost_of_looking(level, goal.power, goal.looks)
    tail = _NORMAL.inv_cdf(1 - level / 2)
    spread = tail * math.sqrt(under_none) + (once - tail) * math.sqrt(under_effect)
    fixed = (spread / difference) ** 2
    cap = fixed * (drift / once) ** 2
    return Size(math.ceil(fixed), math.ceil(cap), math.ceil(cap * goal.control_ratio), at_effect, at_none)


def _least_lift(visitors: int, most: float, needed: Callable[[float], int]) -> float:
    if visitors < 1 or needed(most) > visitors:
        return math.inf
    low, high = 0.0, most
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if needed(middle) > visitors else (low, middle)
    return high
