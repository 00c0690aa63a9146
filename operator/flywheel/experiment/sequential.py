"""The test of the primary metric: look as often as you like, up to a number of visitors that is fixed before the start.

The difference in standard errors, times the root of the share of the planned information, is a Brownian motion in that
share if there is no difference (Jennison, Turnbull (2000), Group Sequential Methods, 3.1). By the reflection principle
it ever leaves a corridor of constant width before the share is 1 with a probability of at most 4 (1 - Phi(width)). So
the rule is one comparison, with no schedule of looks and no memory of them.

It is the O'Brien-Fleming-like spending function of Lan and DeMets (1983, Biometrika 70) in the limit of looking all the
time: what that function spends up to a share t is 4 (1 - Phi(width / sqrt(t))), the same probability. Early looks cross
only where the difference is overwhelming, which is also where small counts are least normal.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

from flywheel.experiment.estimate import Effect, Interval

_NORMAL = NormalDist()
_ROOT_TWO = math.sqrt(2.0)
OVERSHOOT = -0.5825971579390106
"""zeta(1/2) / sqrt(2 pi): how far, in steps, a walk in steps stays behind a motion that is watched all the time."""
_STEPS = 200


@dataclass(frozen=True, slots=True)
class HorizonTest:
    """A test between a variant and control that ends when both have their visitors, or before; from `horizon_test`."""

    level: float
    boundary: float
    variant_cap: int
    control_cap: int
    whole: float
    """Harmonic mean of the caps: visitors in each of two equal arms that tell as much."""


@dataclass(frozen=True, slots=True)
class Look:
    """What can be said at one moment."""

    fraction: float
    """Of the planned information; at most 1."""
    score: float
    """Against the boundary: above it the variant has more, below its negative it has less."""
    direction: int
    """1 if the variant's figure is proven higher, -1 if lower, 0 if neither."""
    p_value: float
    """Valid at any look: the least level at which this look would have been decisive."""
    interval: Interval
    """Of the difference; all looks together hold the truth with a probability of 1 - level."""
    is_final: bool
    """The planned visitors are there; no later look counts."""


def horizon_test(level: float, variant_cap: int, control_cap: int) -> HorizonTest:
    """Fix a test before its start.

    Args:
        level: Chance of a difference where there is none, both sides together, over all looks: 0.05. With several
            variants, the share of each (`corrections.shared_level`).
        variant_cap: Visitors of the variant at which it ends, from `sizing`.
        control_cap: Likewise of control.

    Raises:
        ValueError: The level is not between 0 and 1, or a cap is not above 0.
    """
    if variant_cap <= 0 or control_cap <= 0:
        raise ValueError(f"caps of {variant_cap} and {control_cap} visitors leave nothing to look at")
    return HorizonTest(level, boundary(level), variant_cap, control_cap, _effective(variant_cap, control_cap))


@lru_cache(maxsize=256)
def boundary(level: float) -> float:
    """Give the width of the corridor on either side, in standard errors at the end: 2.2414 for 0.05.

    Raises:
        ValueError: The level is not between 0 and 1.
    """
    if not 0 < level < 1:
        raise ValueError(f"a level of {level} is not between 0 and 1")
    return _NORMAL.inv_cdf(1 - level / 4)


def look(test: HorizonTest, effect: Effect) -> Look:
    """Take a look at a test.

    The share of information is that of visitors, so what was assumed of the baseline cannot break the level: between
    equal arms variance is the same at every look, whatever it is, and information grows as the harmonic mean of the
    visitors. The assumption only decides how much power the planned visitors buy.

    Nothing is decided while there are too few events for the normal approximation: the interval has no bounds then.

    Beyond the caps the share stays 1, so the boundary does not fall any further, and the look is final. The first such
    look is the last: who goes on after it is wrong more often than the level says.
    """
    fraction = min(1.0, _effective(effect.variant_count, effect.control_count) / test.whole)
    root = math.sqrt(fraction)
    score = effect.statistic * root
    difference = effect.difference
    is_final = fraction >= 1.0
    if not effect.is_normal:
        # Of a handful of events a standard error may be anything, and of none it is 0.
        return Look(fraction, 0.0, 0, 1.0, Interval(difference, -math.inf, math.inf), is_final)
    half = test.boundary * effect.standard_error / root
    direction = 0
    if abs(score) > test.boundary:
        direction = 1 if score > 0 else -1
    p_value = min(1.0, 2.0 * math.erfc(abs(score) / _ROOT_TWO))
    return Look(
        fraction, score, direction, p_value, Interval(difference, difference - half, difference + half), is_final
    )


def interval_width(test: HorizonTest, fraction: float) -> float:
    """Give half of the interval at a look, in standard errors: for `estimate.lift`, and for metrics beside the primary.

    Infinite before there is any information.
    """
    return test.boundary / math.sqrt(fraction) if fraction > 0 else math.inf


def crossing_probability(width: float, drift: float, until: float = 1.0) -> float:
    """Give the chance that a Brownian motion with a drift rises above a line before a share of its time has passed.

    Args:
        width: Where the line is, above 0.
        drift: Where the motion is at time 1 on average: the true difference in standard errors at the end.
        until: Time, 1 at the end.

    Source: Bachelier and Levy; Siegmund (1985), Sequential Analysis, (3.15).
    """
    if until <= 0:
        return 0.0
    root = math.sqrt(until)
    reflected = 2 * drift * width
    # Far below, the second term is a product of something huge and something tiny.
    second = math.exp(reflected + _log_cdf((-width - drift * until) / root))
    return min(1.0, _cdf((drift * until - width) / root) + second)


def needed_drift(width: float, power: float) -> float:
    """Give the drift at which a line is crossed with a probability of `power`; the inverse of `crossing_probability`.

    Raises:
        ValueError: The power is not between 0 and 1.
    """
    if not 0 < power < 1:
        raise ValueError(f"a power of {power} is not between 0 and 1")
    low, high = -40.0, width + 40.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if crossing_probability(width, middle) < power else (low, middle)
    return high


def effective_width(width: float, looks: int) -> float:
    """Give the line that a motion must cross to be seen above `width` at one of so many looks, evenly apart.

    Who looks now and then misses what crosses in between and comes back: as if the line were higher.

    Source: Siegmund (1985), Sequential Analysis, chapter 10; Chernoff (1965).
    """
    return width - OVERSHOOT / math.sqrt(looks)


def expected_fraction(width: float, drift: float) -> float:
    """Give the share of the planned visitors after which a test ends on average, by either line or by its cap.

    Args:
        width: Of the corridor, from `boundary` or `effective_width`.
        drift: True difference in standard errors at the end; 0 for none.
    """

    def still_on(at: float) -> float:
        ended = crossing_probability(width, drift, at) + crossing_probability(width, -drift, at)
        return max(0.0, 1.0 - ended)

    inner = sum((4 if step % 2 else 2) * still_on(step / _STEPS) for step in range(1, _STEPS))
    return (still_on(0.0) + inner + still_on(1.0)) / (3 * _STEPS)


def _effective(variant: int, control: int) -> float:
    """Visitors in each of two equal arms that tell as much."""
    return 2.0 * variant * control / (variant + control) if variant and control else 0.0


def _cdf(value: float) -> float:
    return 0.5 * math.erfc(-value / _ROOT_TWO)


def _log_cdf(value: float) -> float:
    """Logarithm of Phi, also where Phi is too small for a float (Abramowitz, Stegun, 26.2.12)."""
    if value > -30:
        return math.log(_cdf(value))
    square = value * value
    series = 1 - 1 / square + 3 / square**2 - 15 / square**3
    return -square / 2 - math.log(-value * math.sqrt(2 * math.pi)) + math.log(series)
