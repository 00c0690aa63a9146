"""The bandit: probabilities against exact figures, shares that add up, and estimates that stay valid."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm

from flywheel.experiment.bandit import allocation, batched_lift, batched_look, largest_remainder, least_batch
from flywheel.experiment.estimate import Effect, proportion_effect
from flywheel.experiment.moments import Moments, conversions, summarise
from flywheel.experiment.probability import (
    BetaPosterior,
    NormalPosterior,
    mean_posterior,
    probability_best,
    share_posterior,
)
from flywheel.experiment.sequential import boundary

BETAS = st.builds(BetaPosterior, st.integers(1, 20_000).map(float), st.integers(1, 200_000).map(float))
NORMALS = st.builds(NormalPosterior, st.floats(-100, 100), st.floats(0.01, 50))


@given(NORMALS, NORMALS)
def test_of_two_normal_arms_the_better_is_as_probable_as_their_difference_says(
    first: NormalPosterior, second: NormalPosterior
) -> None:
    wanted = norm.cdf((first.mean - second.mean) / math.hypot(first.deviation, second.deviation))
    assert probability_best([first, second])[0] == pytest.approx(wanted, abs=2e-4)


@given(BETAS, BETAS)
def test_of_two_shares_the_better_is_as_probable_as_the_integral_says(
    first: BetaPosterior, second: BetaPosterior
) -> None:
    shares = (np.arange(20_000) + 0.5) / 20_000
    one = beta.ppf(shares, first.successes, first.failures)
    wanted = float(beta.cdf(one, second.successes, second.failures).mean())
    assert probability_best([first, second])[0] == pytest.approx(wanted, abs=5e-4)


def test_of_many_arms_it_is_what_drawing_finds() -> None:
    arms = [share_posterior(conversions(2000, each)) for each in (100, 108, 96, 111, 90, 103)]
    dice = np.random.default_rng(51)
    drawn = np.stack([dice.beta(each.successes, each.failures, 400_000) for each in arms])
    for better, found in ((True, drawn.argmax(axis=0)), (False, drawn.argmin(axis=0))):
        wanted = np.bincount(found, minlength=len(arms)) / 400_000
        assert probability_best(arms, more_is_better=better) == pytest.approx(wanted, abs=0.003)


@given(st.lists(st.one_of(BETAS, NORMALS), min_size=1, max_size=8))
def test_probabilities_sum_up_to_one(arms: list[BetaPosterior | NormalPosterior]) -> None:
    found = probability_best(arms)
    assert sum(found) == pytest.approx(1)
    assert min(found) >= 0


def test_an_arm_alone_is_the_best_and_equal_arms_share() -> None:
    assert probability_best([BetaPosterior(1, 1)]) == (1,)
    assert probability_best([BetaPosterior(30, 70)] * 4) == pytest.approx([0.25] * 4)


def test_posteriors_are_those_of_flat_priors() -> None:
    assert share_posterior(conversions(10, 3)) == BetaPosterior(4, 8)
    arm = summarise([1.0, 2.0, 3.0, 6.0])
    assert mean_posterior(arm) == NormalPosterior(3.0, math.sqrt(arm.variance / 4))
    for alike in (Moments(1, 2, 4), summarise([2.0, 2.0])):
        with pytest.raises(ValueError, match="no posterior"):
            mean_posterior(alike)
    with pytest.raises(ValueError, match="one arm or more"):
        probability_best([])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8).filter(lambda each: sum(each) > 1e-3), st.integers(1, 10_000))
def test_rounded_shares_sum_up_and_are_off_by_less_than_one(shares: list[float], whole: int) -> None:
    found = largest_remainder(shares, whole)
    assert sum(found) == whole
    assert all(abs(each - share / sum(shares) * whole) < 1 + 1e-6 for each, share in zip(found, shares, strict=True))


@given(st.lists(BETAS, min_size=2, max_size=8), st.floats(0, 0.12))
def test_every_arm_keeps_its_floor_and_all_buckets_are_given(arms: list[BetaPosterior], floor: float) -> None:
    found = allocation(arms, floor)
    assert sum(found) == 10_000
    assert min(found) >= math.floor(10_000 * floor)
    assert found == allocation(arms, floor)


def test_a_floor_is_added_so_shares_differ_above_it() -> None:
    arms = [share_posterior(conversions(4000, each)) for each in (200, 230, 205)]
    best = probability_best(arms)
    assert allocation(arms, 0.1) == largest_remainder([0.1 + 0.7 * each for each in best], 10_000)
    with pytest.raises(ValueError, match="do not fit"):
        allocation(arms, 0.4)


def run(dice: np.random.Generator, batches: int, size: int, true: tuple[float, float], drifts: bool) -> list[Effect]:
    """Play a bandit of two arms; the first effect is that of all visitors together, as one would naively take it."""
    totals = [Moments(0), Moments(0)]
    found, shares = [], (5000, 5000)
    for number in range(batches):
        shift = 0.03 * math.sin(number) if drifts else 0.0
        arms = []
        for arm in range(2):
            count = size * shares[arm] // 10_000
            arms.append(conversions(count, int(dice.binomial(count, true[arm] + shift))))
            totals[arm] += arms[arm]
        found.append(proportion_effect(arms[1], arms[0]))
        shares = allocation([share_posterior(arm) for arm in totals], 0.1)  # type: ignore[assignment]
    return [proportion_effect(totals[1], totals[0]), *found]


@pytest.mark.parametrize(("true", "drifts"), [((0.1, 0.1), False), ((0.1, 0.1), True), ((0.1, 0.115), True)])
def test_under_a_bandit_the_batched_look_keeps_its_level_and_covers(true: tuple[float, float], drifts: bool) -> None:
    seed, runs, batches = 52, 250, 8
    dice = np.random.default_rng(seed)
    wrong = missed = naive = 0
    for _ in range(runs):
        together, *effects = run(dice, batches, 4000, true, drifts)
        looks = [batched_look(effects[: number + 1], batches, 0.05) for number in range(batches)]
        wrong += any(each.direction for each in looks)
        missed += not all(each.interval.holds(true[1] - true[0]) for each in looks)
        naive += abs((together.difference - (true[1] - true[0])) / together.standard_error) > 1.96
    print(
        f"seed {seed}, true {true}, {'a' if drifts else 'no'} drift: {missed / runs:.1%} of intervals ever miss, "
        f"{wrong / runs:.1%} decided; of the naive difference at the end {naive / runs:.1%} miss"
    )
    assert missed / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)
    if true[0] == true[1]:
        assert wrong / runs <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / runs)


def test_batches_are_taken_together_as_published() -> None:
    effects = [proportion_effect(conversions(900, 100), conversions(100, 9 + each)) for each in (2, 4)]
    found = batched_look(effects, 4, 0.05)
    assert (found.fraction, found.is_final) == (0.5, False)
    assert batched_look(effects, 2, 0.05).is_final
    assert found.score == pytest.approx(sum(each.statistic for each in effects) / 2)
    weights = [1 / each.standard_error for each in effects]
    wanted = sum(w * each.difference for w, each in zip(weights, effects, strict=True)) / sum(weights)
    assert found.interval.estimate == pytest.approx(wanted)
    assert found.interval.upper - wanted == pytest.approx(boundary(0.05) * 2 / sum(weights))


def test_the_lift_of_batches_is_that_of_their_log_ratios() -> None:
    effects = [proportion_effect(conversions(900, 100), conversions(100, 9 + each)) for each in (2, 4)]
    found = batched_lift(effects, 4, 0.05)
    assert found is not None
    logs = [each.log_ratio or (0.0, 0.0) for each in effects]
    precision = sum(1 / error for _, error in logs)
    wanted = sum(value / error for value, error in logs) / precision
    half = boundary(0.05) * 2 / precision
    assert (math.log1p(found.lower), math.log1p(found.estimate), math.log1p(found.upper)) == pytest.approx(
        (wanted - half, wanted, wanted + half)
    )
    nothing = proportion_effect(conversions(900, 0), conversions(900, 100))
    assert batched_lift([*effects, nothing], 4, 0.05) is None
    assert batched_lift([], 4, 0.05) is None


def test_batches_with_too_few_events_are_left_out_and_more_than_planned_refused() -> None:
    few = proportion_effect(conversions(900, 30), conversions(100, 0))
    good = proportion_effect(conversions(900, 100), conversions(200, 22))
    assert batched_look([few, good], 4, 0.05).fraction == 0.25
    assert batched_look([few], 3, 0.05).interval.holds(0.5)
    with pytest.raises(ValueError, match="3 batches of 2"):
        batched_look([good] * 3, 2, 0.05)
    assert least_batch(0.05, 0.1) == 2000
