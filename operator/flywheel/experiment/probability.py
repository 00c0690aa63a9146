"""How probable it is that an arm is the best of all, as people like to be told. Nothing is decided on it.

Looked at again and again it is no guard against chance: decisions are the horizon test's.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from flywheel.experiment.moments import Moments

_POINTS = 300
_REACH = 9.0
"""Deviations to either side beyond which a posterior has next to nothing."""


@dataclass(frozen=True, slots=True)
class NormalPosterior:
    """What is believed of a mean."""

    mean: float
    deviation: float


@dataclass(frozen=True, slots=True)
class BetaPosterior:
    """What is believed of a share."""

    successes: float
    """At least 1: what was seen, and 1 for the flat prior."""
    failures: float

    @property
    def mean(self) -> float:
        """Expected share."""
        return self.successes / (self.successes + self.failures)

    @property
    def deviation(self) -> float:
        """Standard deviation of the share."""
        total = self.successes + self.failures
        return math.sqrt(self.successes * self.failures / (total * total * (total + 1)))


Posterior = NormalPosterior | BetaPosterior


def share_posterior(arm: Moments) -> BetaPosterior:
    """Give what visitors say of a share, from a flat prior."""
    return BetaPosterior(1.0 + arm.total, 1.0 + arm.count - arm.total)


def mean_posterior(arm: Moments) -> NormalPosterior:
    """Give what visitors say of a mean, from a flat prior.

    Raises:
        ValueError: There are too few visitors, or all are alike: nothing says how sure a mean is.
    """
    if arm.variance <= 0:
        raise ValueError("a mean of visitors who are all alike, or of fewer than two, has no posterior")
    return NormalPosterior(arm.mean, math.sqrt(arm.variance / arm.count))


def probability_best(posteriors: Sequence[Posterior], *, more_is_better: bool = True) -> tuple[float, ...]:
    """Give for each arm the probability that it is better than all others.

    By quadrature of one integral for each arm, the product of the others' distributions against its own, to four
    digits: no chance is involved, so the same counts always give the same figure.

    Args:
        posteriors: Of each arm, independent of each other.
        more_is_better: False where the least is best.

    Returns:
        As many numbers; they sum up to 1.

    Raises:
        ValueError: There is no arm, or a posterior has no width.

    Source: Scott (2010), A modern Bayesian look at the multi-armed bandit.
    """
    if not posteriors or any(each.deviation <= 0 for each in posteriors):
        raise ValueError("one arm or more is needed, each with a posterior that has some width")
    if len(posteriors) == 2 and all(isinstance(each, NormalPosterior) for each in posteriors):
        return _of_two(posteriors[0], posteriors[1], more_is_better=more_is_better)
    grid = _grid(posteriors)
    below = [_distribution(each, grid) for each in posteriors]
    if not more_is_better:
        below = [[1.0 - value for value in reversed(each)] for each in below]
    found = [_wins(below, arm) for arm in range(len(below))]
    total = sum(found)
    return tuple(each / total for each in found)


def _of_two(first: Posterior, second: Posterior, *, more_is_better: bool) -> tuple[float, float]:
    """Give it in closed form: the difference of two normal figures is normal."""
    ahead = (first.mean - second.mean) / math.hypot(first.deviation, second.deviation)
    chance = math.erfc(-(ahead if more_is_better else -ahead) / math.sqrt(2.0)) / 2.0
    return chance, 1.0 - chance


def _wins(below: list[list[float]], arm: int) -> float:
    """Add up, over the grid, what the arm has there times what all others have below."""
    others = [math.prod(each) for each in zip(*below[:arm], *below[arm + 1 :], strict=True)]
    if not others:
        return 1.0
    own = below[arm]
    return math.fsum(
        (own[step + 1] - own[step]) * (others[step] + others[step + 1]) / 2 for step in range(len(own) - 1)
    )


def _grid(posteriors: Sequence[Posterior]) -> list[float]:
    """Lay points where any arm has its mass: a narrow one beside a wide one is not missed."""
    points: set[float] = set()
    for each in posteriors:
        low, high = each.mean - _REACH * each.deviation, each.mean + _REACH * each.deviation
        if isinstance(each, BetaPosterior):
            # A flat prior alone has its tail further out than a normal one.
            low, high = max(0.0, low), min(1.0, high + _REACH * each.deviation)
        points.update(low + (high - low) * step / _POINTS for step in range(_POINTS + 1))
    return sorted(points)


def _distribution(posterior: Posterior, grid: Sequence[float]) -> list[float]:
    if isinstance(posterior, NormalPosterior):
        scale = posterior.deviation * math.sqrt(2.0)
        return [0.5 * math.erfc((posterior.mean - at) / scale) for at in grid]
    return _beta_distribution(posterior, grid)


def _beta_distribution(posterior: BetaPosterior, grid: Sequence[float]) -> list[float]:
    """Simpson's rule between the points, so that coarse stretches of other arms' grids do no harm."""
    alpha, beta = posterior.successes, posterior.failures
    constant = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)

    def density(at: float) -> float:
        if not 0 < at < 1:
            return math.exp(constant) if (at == 0 and alpha == 1) or (at == 1 and beta == 1) else 0.0
        return math.exp(constant + (alpha - 1) * math.log(at) + (beta - 1) * math.log1p(-at))

    found, total, last = [0.0], 0.0, density(grid[0])
    for low, high in pairwise(grid):
        after = density(high)
        total += (high - low) / 6 * (last + 4 * density((low + high) / 2) + after)
        found.append(total)
        last = after
    return [value / total for value in found]
