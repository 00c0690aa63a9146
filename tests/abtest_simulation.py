"""Many A/B tests at once, for tests and benchmarks: whole paths of visitors, in numpy, with the product's own boundary.

What is vectorised here is compared with the product's functions, point by point, in tests/unit/experiment.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel.experiment.sequential import HorizonTest, horizon_test
from flywheel.experiment.sizing import Goal, Size, proportion_size

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CHUNK = 500
LEAST_EXPECTED = 10.0


@dataclass(frozen=True)
class Ends:
    """How tests ended: one row for each run, one column for each variant."""

    direction: Integers
    """1, -1 or 0."""
    fraction: Floats
    """Of the cap, when it was decided; 1 where it never was."""
    covered: NDArray[np.bool_]
    """Whether the intervals of all looks until the cap held the true difference."""

    @property
    def any_decided(self) -> float:
        """Share of runs in which any variant was told from control."""
        return float((self.direction != 0).any(axis=1).mean())

    def share(self, direction: int) -> float:
        """Share of comparisons that ended so."""
        return float((self.direction == direction).mean())


def scores(test: HorizonTest, variant: Floats, first: Floats, control: Floats, second: Floats) -> Floats:
    """Give the scores of shares at many looks; 0 where there is too little for the normal approximation."""
    pooled = (variant + control) / (first + second)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.sqrt(pooled * (1 - pooled) * (1 / first + 1 / second))
        found = (variant / first - control / second) / error * np.sqrt(_fraction(test, first, second))
    return np.where(_is_normal(pooled, first, second), found, 0.0)


def half_widths(test: HorizonTest, variant: Floats, first: Floats, control: Floats, second: Floats) -> Floats:
    """Give half of the intervals of the differences at many looks."""
    p, q = variant / first, control / second
    error = np.sqrt(p * (1 - p) / first + q * (1 - q) / second)
    half = test.boundary * error / np.sqrt(_fraction(test, first, second))
    return np.where(_is_normal((variant + control) / (first + second), first, second), half, np.inf)


def _fraction(test: HorizonTest, first: Floats, second: Floats) -> Floats:
    return np.minimum(1.0, 2 * first * second / (first + second) / test.whole)


def _is_normal(pooled: Floats, first: Floats, second: Floats) -> NDArray[np.bool_]:
    smaller = np.minimum(first, second)
    return np.asarray((smaller * pooled >= LEAST_EXPECTED) & (smaller * (1 - pooled) >= LEAST_EXPECTED))


def paths(
    seed: int, runs: int, cap: int, looks: int, shares: Sequence[float], ratios: Sequence[float] = (), beyond: float = 1
) -> Iterator[tuple[list[Floats], list[Floats]]]:
    """Give visitors and conversions of each arm at each look, some runs at a time; the first arm is control.

    Args:
        seed: Of all that follows.
        runs: Tests.
        cap: Visitors of a variant at the end.
        looks: Evenly apart, the last one at the cap.
        shares: Of visitors who convert, for each arm.
        ratios: Visitors of each arm for one of a variant; 1 without.
        beyond: Go on until so many times the cap, with looks as far apart.
    """
    dice = np.random.default_rng(seed)
    at = np.arange(1, math.ceil(looks * beyond) + 1) * cap / looks
    for begin in range(0, runs, CHUNK):
        size = min(CHUNK, runs - begin)
        counts, converted = [], []
        for arm, share in enumerate(shares):
            count = np.round(at * (ratios[arm] if ratios else 1.0)).astype(np.int64)
            new = np.diff(count, prepend=0)
            converted.append(np.cumsum(dice.binomial(new, share, size=(size, len(at))), axis=1).astype(np.float64))
            counts.append(count.astype(np.float64))
        yield counts, converted


def simulate(
    seed: int, runs: int, goal: Goal, size: Size, looks: int, shares: Sequence[float], beyond: float = 1
) -> Ends:
    """Run tests of shares to their decision, with a look after every batch."""
    test = horizon_test(goal.level / goal.variants, size.variant_cap, size.control_cap)
    ratios = [goal.control_ratio] + [1.0] * (len(shares) - 1)
    directions, fractions, covered = [], [], []
    for counts, converted in paths(seed, runs, size.variant_cap, looks, shares, ratios, beyond):
        control, second = converted[0], counts[0]
        ends = [_ends(test, converted[arm], counts[arm], control, second) for arm in range(1, len(shares))]
        directions.append(np.stack([each[0] for each in ends], axis=1))
        fractions.append(np.stack([each[1] for each in ends], axis=1))
        covered.append(
            np.stack(
                [
                    _covered(test, converted[arm], counts[arm], control, second, shares[arm] - shares[0])
                    for arm in range(1, len(shares))
                ],
                axis=1,
            )
        )
    return Ends(np.concatenate(directions), np.concatenate(fractions), np.concatenate(covered))


def simulate_shares(
    seed: int, runs: int, baseline: float, planned: float, true: Sequence[float], goal: Goal, looks: int = 200
) -> tuple[Ends, Size]:
    """Plan a test of shares for a lift, then run it with the true lifts of its variants."""
    size = proportion_size(baseline, planned, goal)
    shares = [baseline, *(baseline * (1 + lift) for lift in true)]
    return simulate(seed, runs, goal, size, looks, shares), size


def _ends(
    test: HorizonTest, variant: Floats, first: Floats, control: Floats, second: Floats
) -> tuple[Integers, Floats]:
    score = scores(test, variant, first, control, second)
    crossed = np.abs(score) > test.boundary
    where = np.argmax(crossed, axis=1)
    row = np.arange(len(score))
    ended = crossed[row, where]
    direction = np.where(ended, np.sign(score[row, where]), 0).astype(np.int64)
    return direction, np.where(ended, _fraction(test, first, second)[where], 1.0)


def _covered(
    test: HorizonTest, variant: Floats, first: Floats, control: Floats, second: Floats, truth: float
) -> NDArray[np.bool_]:
    half = half_widths(test, variant, first, control, second)
    return np.asarray((np.abs(variant / first - control / second - truth) <= half).all(axis=1))
