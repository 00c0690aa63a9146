"""Quantiles of latency, from counts in narrow buckets that can be added up, and how far they differ between arms."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.experiment.estimate import Effect, ratio_variance
from flywheel.experiment.moments import PairMoments

GROWTH = 1.02
"""From bucket to bucket: a quantile is off by 1% at most, and by much less where buckets are well filled."""
_DEVIATIONS = 2.0
_LEAST_BEYOND = 10.0


@dataclass(frozen=True, slots=True)
class Histogram:
    """Requests by latency: bucket `i` has those from `GROWTH ** i` to `GROWTH ** (i + 1)` milliseconds."""

    counts: Mapping[int, int] = field(default_factory=dict)

    def __add__(self, other: "Histogram") -> "Histogram":
        keys = self.counts.keys() | other.counts.keys()
        return Histogram({key: self.counts.get(key, 0) + other.counts.get(key, 0) for key in keys})

    @property
    def count(self) -> int:
        """All requests."""
        return sum(self.counts.values())


@dataclass(frozen=True, slots=True)
class Latency:
    """The requests of an arm."""

    histogram: Histogram
    design: float = 1.0
    """Design effect, from `design_effect`: requests of one visitor are alike, so they tell less."""


def bucket(milliseconds: float) -> int:
    """Give the bucket of a latency; what took no time is in that of a microsecond."""
    return math.floor(math.log(max(milliseconds, 0.001)) / math.log(GROWTH))


def quantile(histogram: Histogram, share: float) -> float:
    """Give the latency in milliseconds that a share of requests does not exceed, evenly spread within its bucket.

    Raises:
        ValueError: There is no request, or the share is not between 0 and 1.
    """
    if not 0 <= share <= 1 or histogram.count < 1:
        raise ValueError(f"no quantile {share} of {histogram.count} requests")
    wanted = share * histogram.count
    before = 0
    for index in sorted(histogram.counts):
        here = histogram.counts[index]
        if here and before + here >= wanted:
            return math.pow(GROWTH, index + (wanted - before) / here)
        before += here
    return math.pow(GROWTH, max(histogram.counts) + 1)


def quantile_effect(variant: Latency, control: Latency, share: float) -> Effect:
    """Compare a quantile of two arms, in milliseconds.

    The number of requests below the true quantile is binomial, whatever latency looks like. The quantiles at two
    deviations of that number to either side are the bounds of an order-statistic interval, and its width gives the
    standard error.

    Args:
        variant: Its requests.
        control: Likewise.
        share: 0.95 for p95.

    Source: Woodruff (1952), Confidence Intervals for Medians and Other Position Measures, JASA 47; Deng, Knoblich, Lu
    (2018), KDD, for requests in visitors.
    """
    first, second = variant.histogram.count, control.histogram.count
    if not first or not second:
        return Effect(0.0, 0.0, math.inf, math.inf, first, second, math.inf, math.inf, is_normal=False)
    errors = _error(variant, share), _error(control, share)
    enough = all(
        count * min(share, 1 - share) / design >= _LEAST_BEYOND
        for count, design in ((first, variant.design), (second, control.design))
    )
    error = math.hypot(*errors)
    return Effect(
        quantile(variant.histogram, share),
        quantile(control.histogram, share),
        error,
        error,
        first,
        second,
        errors[0],
        errors[1],
        is_normal=enough,
    )


def design_effect(below: PairMoments, share: float) -> float:
    """Give by how much the variance of a share of requests is larger than if each was another visitor's.

    Args:
        below: Of each visitor, `y` requests at or below the quantile and `x` requests.
        share: 0.95 for p95.

    Returns:
        1 or more; 1 where nothing is known.

    Source: Kish (1965), Survey Sampling, 8.2; Deng, Knoblich, Lu (2018), KDD.
    """
    if below.count < 2 or below.x <= 0:
        return 1.0
    return max(1.0, ratio_variance(below) * below.x / (share * (1 - share)))


def _error(arm: Latency, share: float) -> float:
    reach = _DEVIATIONS * math.sqrt(arm.design * share * (1 - share) / arm.histogram.count)
    high = quantile(arm.histogram, min(1.0, share + reach))
    low = quantile(arm.histogram, max(0.0, share - reach))
    return (high - low) / (2 * _DEVIATIONS)
