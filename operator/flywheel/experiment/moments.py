"""Sums that say all that a test needs of many visitors: small, exact to merge, and never the visitors themselves.

Sums are floats, and integers where values are; a variance is taken from them by subtraction. It loses about
`2 * log10(mean / deviation)` of sixteen digits, so it is good to six digits as long as the mean is below 10,000
deviations and sums of squares stay below 1e300. Values are winsorised and visitors told apart before they are summed.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Moments:
    """One value of each visitor of an arm: an amount, a count, or 1 and 0 for who did it and who did not.

    Raises:
        ValueError: The count is negative, or a sum is no finite number.
    """

    count: int
    """Visitors that were exposed, with or without an event."""
    total: float = 0.0
    squares: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0 or not math.isfinite(self.total + self.squares):
            raise ValueError(f"{self} is no summary of visitors: counts are not negative and sums are finite")

    def __add__(self, other: "Moments") -> "Moments":
        return Moments(self.count + other.count, self.total + other.total, self.squares + other.squares)

    @property
    def mean(self) -> float:
        """Value of one visitor on average; 0 without any."""
        return self.total / self.count if self.count else 0.0

    @property
    def variance(self) -> float:
        """Unbiased variance between visitors; 0 for fewer than two."""
        return _spread(self.count, self.total, self.total, self.squares)


@dataclass(frozen=True, slots=True)
class PairMoments:
    """Two values of each visitor of an arm, and how they go together.

    For a ratio, `y` is its numerator and `x` its denominator (amount and orders: the average order). With a covariate,
    `y` is the outcome after the exposure and `x` the same thing before it, 0 for visitors without a history.

    Raises:
        ValueError: The count is negative, or a sum is no finite number.
    """

    count: int
    y: float = 0.0
    yy: float = 0.0
    x: float = 0.0
    xx: float = 0.0
    xy: float = 0.0

    def __post_init__(self) -> None:
        if self.count < 0 or not math.isfinite(self.y + self.yy + self.x + self.xx + self.xy):
            raise ValueError(f"{self} is no summary of visitors: counts are not negative and sums are finite")

    def __add__(self, other: "PairMoments") -> "PairMoments":
        return PairMoments(
            self.count + other.count,
            self.y + other.y,
            self.yy + other.yy,
            self.x + other.x,
            self.xx + other.xx,
            self.xy + other.xy,
        )

    @property
    def mean_y(self) -> float:
        """Mean of `y`; 0 without visitors."""
        return self.y / self.count if self.count else 0.0

    @property
    def mean_x(self) -> float:
        """Mean of `x`; 0 without visitors."""
        return self.x / self.count if self.count else 0.0

    @property
    def variance_y(self) -> float:
        """Unbiased variance of `y`; 0 for fewer than two visitors."""
        return _spread(self.count, self.y, self.y, self.yy)

    @property
    def variance_x(self) -> float:
        """Unbiased variance of `x`; 0 for fewer than two visitors."""
        return _spread(self.count, self.x, self.x, self.xx)

    @property
    def covariance(self) -> float:
        """Unbiased covariance; 0 for fewer than two visitors."""
        if self.count < 2:
            return 0.0
        return (self.xy - self.x * self.y / self.count) / (self.count - 1)

    def outcome(self) -> Moments:
        """Give `y` alone."""
        return Moments(self.count, self.y, self.yy)


def conversions(count: int, converted: int) -> Moments:
    """Summarise visitors of whom each did a thing or did not.

    Args:
        count: Visitors.
        converted: How many of them did it, each counted once.

    Raises:
        ValueError: More did it than there were, or fewer than none.
    """
    if not 0 <= converted <= count:
        raise ValueError(f"{converted} of {count} visitors cannot have converted: count each visitor once")
    return Moments(count, converted, converted)


def summarise(values: Iterable[float]) -> Moments:
    """Summarise one value of each visitor."""
    kept = list(values)
    return Moments(len(kept), math.fsum(kept), math.fsum(value * value for value in kept))


def summarise_pairs(pairs: Iterable[tuple[float, float]]) -> PairMoments:
    """Summarise two values of each visitor, each pair as (y, x)."""
    kept = list(pairs)
    return PairMoments(
        len(kept),
        math.fsum(y for y, _ in kept),
        math.fsum(y * y for y, _ in kept),
        math.fsum(x for _, x in kept),
        math.fsum(x * x for _, x in kept),
        math.fsum(x * y for y, x in kept),
    )


def _spread(count: int, first: float, second: float, products: float) -> float:
    """Rounding may leave less than nothing of a variance of nothing."""
    if count < 2:
        return 0.0
    return max(0.0, (products - first * second / count) / (count - 1))
