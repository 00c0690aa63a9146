"""Effects and their errors, against other people's code and against brute force over single visitors."""

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray
from statsmodels.api import OLS
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from flywheel.experiment.estimate import (
    adjusted_effect,
    cuped_theta,
    lift,
    mean_effect,
    proportion_effect,
    ratio_effect,
)
from flywheel.experiment.moments import Moments, PairMoments, conversions, summarise, summarise_pairs

COUNTS = st.integers(100, 100_000)
SHARES = st.floats(0.001, 0.999)
Floats = NDArray[np.float64]


def arms(count: int, share: float) -> Moments:
    return conversions(count, round(count * share))


@given(COUNTS, SHARES, COUNTS, SHARES)
def test_the_statistic_of_shares_is_the_score_test(first: int, p: float, second: int, q: float) -> None:
    variant, control = arms(first, p), arms(second, q)
    assume(0 < variant.total + control.total < first + second)
    wanted, _ = proportions_ztest([variant.total, control.total], [first, second])
    assert proportion_effect(variant, control).statistic == pytest.approx(wanted, rel=1e-9, abs=1e-9)


@given(COUNTS, SHARES, COUNTS, SHARES)
def test_the_interval_of_shares_is_that_of_wald(first: int, p: float, second: int, q: float) -> None:
    variant, control = arms(first, p), arms(second, q)
    found = proportion_effect(variant, control)
    low, high = confint_proportions_2indep(variant.total, first, control.total, second, method="wald", compare="diff")
    half = 1.959963984540054 * found.standard_error
    assert (found.difference - half, found.difference + half) == pytest.approx((low, high), abs=1e-12)


@given(COUNTS, st.floats(0.01, 0.9), COUNTS, st.floats(0.01, 0.9))
def test_the_lift_of_shares_is_the_interval_of_the_log_ratio(first: int, p: float, second: int, q: float) -> None:
    variant, control = arms(first, p), arms(second, q)
    low, high = confint_proportions_2indep(variant.total, first, control.total, second, method="log", compare="ratio")
    found = lift(proportion_effect(variant, control), 1.959963984540054)
    assert found is not None
    assert (1 + found.lower, 1 + found.upper) == pytest.approx((low, high), rel=1e-9)
    assert found.holds(found.estimate)


def test_means_are_compared_as_welch_does() -> None:
    dice = np.random.default_rng(2)
    variant, control = dice.exponential(10, 3000), dice.exponential(9, 2000)
    wanted = CompareMeans(DescrStatsW(variant), DescrStatsW(control))
    found = mean_effect(summarise(variant.tolist()), summarise(control.tolist()))
    assert found.statistic == pytest.approx(wanted.ztest_ind(usevar="unequal")[0])
    half = 1.959963984540054 * found.standard_error
    assert (found.difference - half, found.difference + half) == pytest.approx(wanted.zconfint_diff(usevar="unequal"))


def baskets(dice: np.random.Generator, visitors: int, price: float) -> tuple[Floats, Floats]:
    """Orders of each visitor, and what they were worth; some buy nothing."""
    orders = dice.poisson(0.7, visitors).astype(np.float64)
    return orders * price * dice.lognormal(0, 0.4, visitors), orders


def test_the_error_of_a_ratio_is_what_a_bootstrap_of_visitors_finds() -> None:
    dice = np.random.default_rng(3)
    variant, control = baskets(dice, 4000, 12.0), baskets(dice, 3000, 11.0)
    found = ratio_effect(
        summarise_pairs(zip(*map(np.ndarray.tolist, variant), strict=True)),
        summarise_pairs(zip(*map(np.ndarray.tolist, control), strict=True)),
    )
    assert found.difference == pytest.approx(variant[0].sum() / variant[1].sum() - control[0].sum() / control[1].sum())
    drawn = [resampled(dice, variant) - resampled(dice, control) for _ in range(4000)]
    assert found.standard_error == pytest.approx(float(np.std(drawn)), rel=0.04)


def resampled(dice: np.random.Generator, arm: tuple[Floats, Floats]) -> float:
    picked = dice.integers(0, len(arm[0]), len(arm[0]))
    return float(arm[0][picked].sum() / arm[1][picked].sum())


def test_the_log_ratio_of_ratios_is_what_a_bootstrap_of_visitors_finds() -> None:
    dice = np.random.default_rng(4)
    variant, control = baskets(dice, 4000, 12.0), baskets(dice, 3000, 11.0)
    found = ratio_effect(pairs(*variant), pairs(*control)).log_ratio
    assert found is not None
    drawn = [math.log(resampled(dice, variant) / resampled(dice, control)) for _ in range(4000)]
    assert found[1] == pytest.approx(float(np.std(drawn)), rel=0.04)


def pairs(y: Floats, x: Floats) -> PairMoments:
    return summarise_pairs(zip(y.tolist(), x.tolist(), strict=True))


def history(dice: np.random.Generator, visitors: int, correlation: float, effect: float) -> tuple[Floats, Floats]:
    before = dice.normal(20, 5, visitors)
    after = 20 + effect + correlation * (before - 20) + math.sqrt(1 - correlation**2) * dice.normal(0, 5, visitors)
    return after, before


def test_cuped_gives_the_estimate_of_a_regression_on_arm_and_covariate() -> None:
    dice = np.random.default_rng(5)
    variant, control = history(dice, 3000, 0.7, 0.5), history(dice, 2000, 0.7, 0.0)
    found = adjusted_effect(pairs(*variant), pairs(*control))
    arm = np.repeat([1.0, 0.0], [3000, 2000])
    regression = OLS(
        np.concatenate([variant[0], control[0]]),
        np.column_stack([np.ones(5000), arm, np.concatenate([variant[1], control[1]])]),
    ).fit()
    assert found.difference == pytest.approx(regression.params[1], rel=1e-9)
    assert cuped_theta((pairs(*variant), pairs(*control))) == pytest.approx(regression.params[2], rel=1e-9)
    assert found.standard_error == pytest.approx(regression.bse[1], rel=0.02)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.6, 0.9])
def test_cuped_leaves_one_less_the_square_of_the_correlation_of_the_variance(correlation: float) -> None:
    dice = np.random.default_rng(6)
    variant, control = (pairs(*history(dice, 200_000, correlation, 0.0)) for _ in range(2))
    adjusted, bare = adjusted_effect(variant, control), mean_effect(variant.outcome(), control.outcome())
    left = (adjusted.standard_error / bare.standard_error) ** 2
    print(f"seed 6, correlation {correlation}: {left:.4f} of the variance is left")
    assert left == pytest.approx(1 - correlation**2, rel=0.02)


def test_the_estimates_of_cuped_vary_as_their_errors_say_and_are_not_biased() -> None:
    dice = np.random.default_rng(7)
    found = []
    for _ in range(1500):
        effect = adjusted_effect(pairs(*history(dice, 300, 0.8, 1.0)), pairs(*history(dice, 200, 0.8, 0.0)))
        ratio = effect.log_ratio
        assert ratio is not None
        found.append((effect.difference, effect.standard_error, *ratio))
    drawn = np.array(found)
    assert drawn[:, 0].mean() == pytest.approx(1.0, abs=4 * drawn[:, 0].std() / math.sqrt(len(drawn)))
    assert drawn[:, 1].mean() == pytest.approx(drawn[:, 0].std(), rel=0.06)
    assert drawn[:, 3].mean() == pytest.approx(drawn[:, 2].std(), rel=0.06)


def test_adjusted_figures_of_each_arm_vary_as_their_errors_say() -> None:
    """The error of one figure counts the other arm's visitors, as both are taken to the mean of all."""
    dice = np.random.default_rng(8)
    found = []
    for _ in range(1500):
        effect = adjusted_effect(pairs(*history(dice, 300, 0.8, 1.0)), pairs(*history(dice, 200, 0.8, 0.0)))
        found.append((effect.variant, effect.variant_error, effect.control, effect.control_error))
    drawn = np.array(found)
    assert drawn[:, 1].mean() == pytest.approx(drawn[:, 0].std(), rel=0.06)
    assert drawn[:, 3].mean() == pytest.approx(drawn[:, 2].std(), rel=0.06)


def test_a_covariate_that_never_varies_changes_nothing() -> None:
    dice = np.random.default_rng(9)
    after = dice.normal(5, 1, 400)
    arm = summarise_pairs((value, 1.0) for value in after.tolist())
    adjusted, bare = adjusted_effect(arm, arm), mean_effect(arm.outcome(), arm.outcome())
    assert adjusted.difference == bare.difference == 0
    assert adjusted.standard_error == pytest.approx(bare.standard_error)


def test_too_few_visitors_or_events_are_not_taken_for_normal() -> None:
    assert not proportion_effect(conversions(10_000, 9), conversions(10_000, 8)).is_normal
    assert proportion_effect(conversions(10_000, 11), conversions(10_000, 11)).is_normal
    assert not proportion_effect(conversions(10_000, 9_995), conversions(10_000, 9_998)).is_normal
    assert not mean_effect(Moments(99, 5, 5), Moments(10_000, 5, 5)).is_normal
    assert not ratio_effect(PairMoments(500), PairMoments(500)).is_normal


def test_nothing_at_all_is_no_effect_and_no_error() -> None:
    for nothing in (
        proportion_effect(Moments(0), conversions(10, 1)),
        mean_effect(Moments(1, 1, 1), Moments(0)),
        ratio_effect(PairMoments(0), PairMoments(0)),
        adjusted_effect(PairMoments(1, 2, 4), PairMoments(0)),
    ):
        assert nothing.statistic == 0
        assert not nothing.is_normal
    assert lift(proportion_effect(conversions(10, 0), conversions(10, 1)), 2.0) is None
    bounds = lift(mean_effect(Moments(1, 1, 1), Moments(1, 2, 4)), 2.0)
    assert bounds is not None
    assert (bounds.lower, bounds.upper) == (-1, math.inf)
