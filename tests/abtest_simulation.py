"""Many A/B tests at once, for tests and benchmarks: whole paths of visitors, in numpy, with the product's own boundary.

What is vectorised here is compared with the product's functions, point by point, in tests/unit/experiment.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flywheel.experiment.futility import LEAST_CHANCE
from flywheel.experiment.sample_ratio import ALARM, CONCENTRATION, log_bayes_factor
from flywheel.experiment.sequential import (
    HorizonTest,
    boundary,
    crossing_probability,
    effective_width,
    horizon_test,
    needed_drift,
)
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


@dataclass(frozen=True)
class Futility:
    """What the stop for futility does to tests with the planned effect, and to tests without any."""

    power: float
    """Without the stop."""
    power_lost: float
    mean_as_planned: float
    """Share of the cap."""
    mean_without_effect: float
    wrong: float
    """Share of tests without an effect that ship all the same."""


def simulate_futility(seed: int, runs: int, baseline: float, planned: float, looks: int = 200) -> Futility:
    """Run tests with and without the stop, side by side on the same visitors."""
    goal = Goal()
    size = proportion_size(baseline, planned, goal)
    drift = needed_drift(effective_width(boundary(goal.level), goal.looks), goal.power)
    lines = _futile_below(boundary(goal.level), drift, np.arange(1, looks + 1) / looks)
    won, kept, mean = zip(
        *(_with_a_stop(seed, runs, size, looks, (baseline, baseline * (1 + true)), lines) for true in (planned, 0.0)),
        strict=True,
    )
    return Futility(won[0], won[0] - kept[0], mean[0], mean[1], kept[1])


def _with_a_stop(
    seed: int, runs: int, size: Size, looks: int, shares: Sequence[float], lines: Floats
) -> tuple[float, float, float]:
    test = horizon_test(0.05, size.variant_cap, size.control_cap)
    won, kept, ends = [], [], []
    for counts, converted in paths(seed, runs, size.variant_cap, looks, shares):
        score = scores(test, converted[1], counts[1], converted[0], counts[0])
        crossed, futile = np.abs(score) > test.boundary, score < lines
        futile[:, -1] = True
        first = np.where(crossed.any(axis=1), crossed.argmax(axis=1), looks)
        stop = futile.argmax(axis=1)
        upwards = score[np.arange(len(score)), np.minimum(first, looks - 1)] > 0
        won.append((first < looks) & upwards)
        kept.append(won[-1] & (first <= stop))
        ends.append((np.minimum(np.minimum(first, stop), looks - 1) + 1) / looks)
    return tuple(float(np.concatenate(each).mean()) for each in (won, kept, ends))  # type: ignore[return-value]


def _futile_below(width: float, drift: float, fractions: Floats) -> Floats:
    """Score below which each look is futile, by bisection on the product's law of first passage."""
    lines = []
    for fraction in fractions:
        low, high = -8.0, width
        for _ in range(40):
            middle = (low + high) / 2
            chance = crossing_probability(width - middle, drift, 1 - fraction)
            low, high = (middle, high) if chance < LEAST_CHANCE else (low, middle)
        lines.append(low)
    return np.array(lines)


def ratio_alarms(
    seed: int, runs: int, visitors: int, shares: Sequence[float], weights: Sequence[float], batch: int = 200
) -> Floats:
    """Give the visitors at the first alarm of the sample ratio in each run, infinite without one.

    There is a look after every batch.
    """
    dice = np.random.default_rng(seed)
    looks = visitors // batch
    counts = np.cumsum(dice.multinomial(batch, shares, size=(runs, looks)), axis=1)
    found = math.lgamma(CONCENTRATION) - np.array(
        [math.lgamma(CONCENTRATION + count) for count in range(batch, looks * batch + 1, batch)]
    )
    for arm, weight in enumerate(np.array(weights) / sum(weights)):
        prior = CONCENTRATION * weight
        gamma = np.array([math.lgamma(prior + count) for count in range(visitors + 1)])
        found = found + gamma[counts[:, :, arm]] - math.lgamma(prior) - counts[:, :, arm] * math.log(weight)
    some = int(dice.integers(looks))
    assert abs(found[0, some] - log_bayes_factor(counts[0, some].tolist(), weights)) < 1e-6, "not the product's factor"
    alarm = found >= -math.log(ALARM)
    return np.where(alarm.any(axis=1), (alarm.argmax(axis=1) + 1.0) * batch, np.inf)


def late_errors(seed: int, runs: int, beyond: float, *, goes_on: bool = False, looks: int = 1000) -> float:
    """Give the share of tests without an effect that are decided when the last look comes late.

    There is a look at each of many steps before the cap, and then one at `beyond` times the cap; or, with `goes_on`, at
    each step until there, as somebody does who does not end a test.
    """
    dice = np.random.default_rng(seed)
    width, wrong = boundary(0.05), 0
    for begin in range(0, runs, CHUNK):
        steps = dice.normal(0, 1 / math.sqrt(looks), (min(CHUNK, runs - begin), math.ceil(beyond * looks)))
        path = np.cumsum(steps, axis=1)
        times = np.arange(1, path.shape[1] + 1) / looks
        crossed = np.abs(path) / np.sqrt(np.maximum(times, 1.0)) > width
        if not goes_on:
            crossed[:, looks - 1 : -1] = False
        wrong += int(crossed.any(axis=1).sum())
    return wrong / runs
