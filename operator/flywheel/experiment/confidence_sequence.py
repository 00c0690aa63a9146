"""Bounds that hold at every look and never end: for guardrails, which have no planned size and must speak at once.

Wider than a horizon test's at its end, and narrower than it at its beginning. Asymptotic: the error is the promised one
once counts are normal, so rare things have bounds of their own, which are exact.
"""

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from flywheel.experiment.estimate import Effect

_NEWTON = 50


class Standing(Enum):
    """How a metric stands to its margin."""

    HELD = "Held"
    """Harm above the margin is ruled out."""
    OPEN = "Open"
    BREACHED = "Breached"
    """Harm above the margin is proven."""


@dataclass(frozen=True, slots=True)
class Margin:
    """How much worse than control a variant may be.

    Raises:
        ValueError: The margin is below 0, or a level or the tuning makes no sense.
    """

    margin: float
    """On the scale of the difference: 0.005 is half a point of a share. Relative: 0.2 is 20% of control."""
    level: float = 0.05
    """Chance of each wrong word, over all looks: of a breach where there is none, of a hold where there is harm."""
    tuned_for: int = 5000
    """Visitors in each arm at which the bounds are as narrow as they can be."""
    is_relative: bool = False
    """Judged on the log ratio: for latency and money."""
    more_is_worse: bool = True

    def __post_init__(self) -> None:
        if self.margin < 0 or not 0 < self.level < 0.5 or self.tuned_for < 1:
            raise ValueError(f"{self}: a margin is not below 0, a level lies between 0 and 0.5, tuning is for visitors")
        if self.is_relative and not self.more_is_worse and self.margin >= 1:
            raise ValueError(f"a fall of {self.margin:.0%} leaves nothing: a relative margin of a fall is below 1")


@dataclass(frozen=True, slots=True)
class Harm:
    """How much worse a variant is than control, as far as can be told: above 0 is worse."""

    standing: Standing
    estimate: float
    lower: float
    """One-sided bound, on the scale of the margin."""
    upper: float


def two_sided_width(level: float, tuned_for: float, count: float) -> float:
    """Give half of a confidence sequence in standard errors.

    Args:
        level: Chance that it ever misses the truth.
        tuned_for: Count at which it is narrowest.
        count: Observations now, in the same unit: those of the smaller side, or of both, but always the same.

    Source: Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas (2024), Time-uniform central limit theory and asymptotic
    confidence sequences, Annals of Statistics 52: the Gaussian mixture, tuned as in its appendix.
    """
    if count <= 0:
        return math.inf
    grown = _tuning(level) * count / tuned_for
    return math.sqrt((grown + 1) / grown * math.log((grown + 1) / level**2))


def one_sided_width(level: float, tuned_for: float, count: float) -> float:
    """Give how far a one-sided bound is from the estimate, in standard errors.

    Args:
        level: Chance that the truth is ever beyond it.
        tuned_for: As of `two_sided_width`.
        count: Likewise.

    Source: as `two_sided_width`, the one-sided mixture of its appendix.
    """
    if count <= 0:
        return math.inf
    grown = _tuning(2 * level) * count / tuned_for
    return math.sqrt(2 * (grown + 1) / grown * math.log1p(math.sqrt(grown + 1) / (2 * level)))


def judge(margin: Margin, effect: Effect) -> Harm:
    """Hold a metric against its margin (non-inferiority), at any look.

    Args:
        margin: What is allowed.
        effect: Of variant and control.
    """
    sign = 1.0 if margin.more_is_worse else -1.0
    limit = _limit(margin)
    found = effect.log_ratio if margin.is_relative else (effect.difference, effect.standard_error)
    if found is None or not effect.is_normal:
        return Harm(Standing.OPEN, sign * effect.difference, -math.inf, math.inf)
    width = one_sided_width(margin.level, margin.tuned_for, _smaller(effect)) * found[1]
    return _harm(sign * found[0], sign * found[0] - width, sign * found[0] + width, limit)


def judge_share(margin: Margin, effect: Effect) -> Harm:
    """Hold a share against its margin; with few events by bounds that are exact at any count.

    Most services have next to no errors, and no error at all in 10,000 requests is good news that the normal
    approximation cannot tell.

    Args:
        margin: What is allowed, on the scale of the difference.
        effect: From `proportion_effect`.
    """
    if effect.is_normal or margin.is_relative:
        return judge(margin, effect)
    sign = 1.0 if margin.more_is_worse else -1.0
    half = margin.level / 2
    first = share_bounds(round(effect.variant * effect.variant_count), effect.variant_count, half)
    second = share_bounds(round(effect.control * effect.control_count), effect.control_count, half)
    ends = sorted((sign * (first[0] - second[1]), sign * (first[1] - second[0])))
    return _harm(sign * effect.difference, ends[0], ends[1], margin.margin)


def share_bounds(events: int, count: int, level: float) -> tuple[float, float]:
    """Bound a share at every look, exactly: what a mixture over all shares does not refute.

    Args:
        events: Of `count`.
        count: Observations.
        level: Chance that the truth is ever outside.

    Source: Robbins (1970), Statistical Methods Related to the Law of the Iterated Logarithm; the mixture is Beta(1/2,
    1/2).
    """
    if count <= 0:
        return 0.0, 1.0
    mixed = math.lgamma(events + 0.5) + math.lgamma(count - events + 0.5) - math.lgamma(count + 1) - math.log(math.pi)
    least = mixed + math.log(level)
    share = events / count
    return _edge(events, count, least, share, 0.0), _edge(events, count, least, share, 1.0)


def _edge(events: int, count: int, least: float, inside: float, outside: float) -> float:
    """Find between a share that is not refuted and the end of all shares where it begins to be."""
    if _log_likelihood(events, count, outside) >= least:
        return outside
    for _ in range(_NEWTON):
        middle = (inside + outside) / 2
        if _log_likelihood(events, count, middle) >= least:
            inside = middle
        else:
            outside = middle
    return outside


def _log_likelihood(events: int, count: int, share: float) -> float:
    found = 0.0
    for times, chance in ((events, share), (count - events, 1 - share)):
        if times:
            found += times * math.log(chance) if chance > 0 else -math.inf
    return found


def _harm(estimate: float, lower: float, upper: float, limit: float) -> Harm:
    standing = Standing.OPEN
    if lower > limit:
        standing = Standing.BREACHED
    elif upper <= limit:
        standing = Standing.HELD
    return Harm(standing, estimate, lower, upper)


def _limit(margin: Margin) -> float:
    if not margin.is_relative:
        return margin.margin
    return math.log1p(margin.margin) if margin.more_is_worse else -math.log1p(-margin.margin)


def _smaller(effect: Effect) -> float:
    """Harmonic mean of the arms: information grows with it."""
    first, second = effect.variant_count, effect.control_count
    return 2.0 * first * second / (first + second)


@lru_cache(maxsize=256)
def _tuning(level: float) -> float:
    """Give count times rho squared at which the sequence is narrowest: the root of x = log((x + 1) / level^2)."""
    found = 1.0
    for _ in range(_NEWTON):
        found = math.log((found + 1) / level**2)
    return found
