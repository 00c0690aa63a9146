"""Confidence sequences: the tuning, exact bounds of rare things, and both promises over whole simulated tests."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import lambertw
from scipy.stats import betabinom, binom
from tests.abtest_simulation import paths

from flywheel.experiment.confidence_sequence import (
    Margin,
    Standing,
    _tuning,
    judge,
    judge_share,
    one_sided_width,
    share_bounds,
    two_sided_width,
)
from flywheel.experiment.estimate import mean_effect, proportion_effect
from flywheel.experiment.moments import Moments, conversions

LEVELS = st.floats(0.001, 0.4)
RUNS = 4000


def mixture(level: float, rho_squared: float, count: float, *, one_sided: bool) -> float:
    """The formulas as they are printed, for a mean of observations with a deviation of 1, times root n."""
    grown = count * rho_squared
    if one_sided:
        inner = 2 * (grown + 1) / (count**2 * rho_squared) * math.log(1 + math.sqrt(grown + 1) / (2 * level))
    else:
        inner = 2 * (grown + 1) / (count**2 * rho_squared) * math.log(math.sqrt(grown + 1) / level)
    return math.sqrt(inner * count)


@given(LEVELS, st.floats(10, 1e6), st.floats(1, 1e7))
def test_the_widths_are_the_published_ones(level: float, tuned_for: float, count: float) -> None:
    for side, width in ((1, two_sided_width), (2, one_sided_width)):
        rho_squared = (-lambertw(-((side * level) ** 2) / math.e, -1).real - 1) / tuned_for
        wanted = mixture(level, rho_squared, count, one_sided=side == 2)
        assert width(level, tuned_for, count) == pytest.approx(wanted, rel=1e-6)


@given(st.floats(0.001, 0.3))
def test_a_sequence_is_narrowest_where_it_is_tuned_for(level: float) -> None:
    found = minimize_scalar(lambda grown: (grown + 1) / grown * math.log((grown + 1) / level**2), bounds=(0.1, 60))
    assert _tuning(level) == pytest.approx(found.x, rel=1e-3)
    assert two_sided_width(level, 5000, 0) == one_sided_width(level, 5000, 0) == math.inf


@given(st.integers(0, 60), st.integers(60, 3000), st.floats(0.005, 0.2))
def test_bounds_of_a_rare_share_are_what_the_mixture_does_not_refute(events: int, count: int, level: float) -> None:
    low, high = share_bounds(events, count, level)
    assert low <= events / count <= high

    def refuted(share: float) -> bool:
        return bool(betabinom.logpmf(events, count, 0.5, 0.5) - binom.logpmf(events, count, share) >= -math.log(level))

    assert not refuted(low + 1e-7 * (high - low) + 1e-300)
    assert not refuted(high - 1e-7 * (high - low))
    if low > 0:
        assert refuted(low * (1 - 1e-5))
    if high < 1:
        assert refuted(high + 1e-5 * (1 - high))


def test_nothing_seen_bounds_nothing() -> None:
    assert share_bounds(0, 0, 0.05) == (0, 1)
    assert share_bounds(0, 5000, 0.025)[0] == 0
    assert share_bounds(0, 5000, 0.025)[1] < 0.002


@pytest.mark.parametrize("looks", [400])
@pytest.mark.parametrize("share", [0.0005, 0.01])
def test_exact_bounds_hold_at_every_look(share: float, looks: int) -> None:
    dice = np.random.default_rng(31)
    counts = np.arange(1, looks + 1) * 25
    events = np.cumsum(dice.binomial(25, share, (1500, looks)), axis=1)
    mixed = betabinom.logpmf(events, counts, 0.5, 0.5) - binom.logpmf(events, counts, share)
    missed = float((mixed >= -math.log(0.05)).any(axis=1).mean())
    print(f"seed 31, share {share:.2%}: {missed:.2%} of sequences miss the truth at any look")
    assert missed <= 0.05


def standings(
    margin: Margin, seed: int, shares: tuple[float, float], cap: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether a guardrail is ever found breached, and whether it is ever found held, in each of many tests."""
    breached, held = [], []
    widths: NDArray[np.float64] | None = None
    for counts, converted in paths(seed, RUNS, cap, 100, shares):
        count = counts[0]
        if widths is None:
            widths = np.array([one_sided_width(margin.level, margin.tuned_for, each) for each in count])
        p, q = converted[1] / count, converted[0] / count
        error = np.sqrt(p * (1 - p) / count + q * (1 - q) / count)
        enough = count * (p + q) / 2 >= 10
        breached.append((enough & (p - q - widths * error > margin.margin)).any(axis=1))
        held.append((enough & (p - q + widths * error <= margin.margin)).any(axis=1))
    return np.concatenate(breached), np.concatenate(held)


@pytest.mark.parametrize("baseline", [0.005, 0.02, 0.05, 0.3])
def test_a_guardrail_at_its_margin_is_rarely_called_either(baseline: float) -> None:
    """At the margin itself both words are as often wrong as they ever are."""
    margin = Margin(0.1 * baseline, tuned_for=2000)
    breached, held = standings(margin, 32, (baseline, 1.1 * baseline), 20_000)
    print(f"seed 32, baseline {baseline:.1%}: {breached.mean():.2%} called breached, {held.mean():.2%} called held")
    assert breached.mean() <= 0.05
    assert held.mean() <= 0.05


@pytest.mark.parametrize("baseline", [0.005, 0.02, 0.05, 0.3])
def test_a_confidence_sequence_covers_the_truth_at_every_look(baseline: float) -> None:
    missed = []
    for counts, converted in paths(34, RUNS, 20_000, 200, (baseline, baseline * 1.1)):
        count = counts[0]
        widths = np.array([two_sided_width(0.05, 5000, each) for each in count])
        p, q = converted[1] / count, converted[0] / count
        error = np.sqrt(p * (1 - p) / count + q * (1 - q) / count)
        enough = count * (p + q) / 2 >= 10
        missed.append((enough & (np.abs(p - q - 0.1 * baseline) > widths * error)).any(axis=1))
    share = float(np.concatenate(missed).mean())
    print(f"seed 34, baseline {baseline:.1%}: {share:.2%} of sequences ever miss the truth")
    assert share <= 0.05


def test_a_guardrail_speaks_soon_when_errors_double() -> None:
    breached, held = standings(Margin(0.005, tuned_for=2000), 33, (0.01, 0.03), 20_000)
    assert breached.mean() >= 0.99
    assert held.mean() <= 0.01


@given(st.integers(100, 20_000), st.floats(0, 0.2), st.floats(0, 0.2), st.floats(0, 0.1), st.booleans())
def test_what_is_better_in_one_direction_is_worse_in_the_other(
    count: int, p: float, q: float, allowed: float, more: bool
) -> None:
    variant, control = conversions(count, round(count * p)), conversions(count, round(count * q))
    one = judge_share(Margin(allowed, more_is_worse=more), proportion_effect(variant, control))
    other = judge_share(Margin(allowed, more_is_worse=not more), proportion_effect(control, variant))
    assert one.standing == other.standing
    assert (one.estimate, one.lower, one.upper) == pytest.approx((other.estimate, other.lower, other.upper))
    assert one.lower <= one.estimate <= one.upper


def test_no_error_in_many_requests_holds_and_errors_in_all_of_few_breach() -> None:
    margin = Margin(0.005)
    clean = judge_share(margin, proportion_effect(conversions(10_000, 0), conversions(10_000, 1)))
    assert clean.standing is Standing.HELD
    young = judge_share(margin, proportion_effect(conversions(50, 0), conversions(50, 0)))
    assert young.standing is Standing.OPEN
    broken = judge_share(margin, proportion_effect(conversions(12, 12), conversions(40, 0)))
    assert broken.standing is Standing.BREACHED


def test_rare_shares_have_half_of_the_level_for_each_arm() -> None:
    found = judge_share(Margin(0.005, level=0.04), proportion_effect(conversions(800, 3), conversions(700, 1)))
    first, second = share_bounds(3, 800, 0.02), share_bounds(1, 700, 0.02)
    assert (found.lower, found.upper) == (first[0] - second[1], first[1] - second[0])


def test_a_relative_margin_is_judged_on_the_ratio() -> None:
    def money(mean: float) -> Moments:
        return Moments(50_000, mean * 50_000, 50_000 * (mean**2 + 400))

    fall = Margin(0.1, is_relative=True, more_is_worse=False)
    assert judge(fall, mean_effect(money(19.9), money(20))).standing is Standing.HELD
    assert judge(fall, mean_effect(money(16), money(20))).standing is Standing.BREACHED
    assert judge(fall, mean_effect(money(18), money(20))).standing is Standing.OPEN
    assert judge(fall, mean_effect(Moments(0), Moments(0))).standing is Standing.OPEN
    rise = Margin(0.2, is_relative=True)
    assert judge(rise, mean_effect(money(23), money(20))).standing is Standing.HELD
    assert judge(rise, mean_effect(money(26), money(20))).standing is Standing.BREACHED


@pytest.mark.parametrize(
    "wrong",
    [
        {"margin": -0.1},
        {"margin": 0.1, "level": 0.6},
        {"margin": 0.1, "tuned_for": 0},
        {"margin": 1.0, "is_relative": True, "more_is_worse": False},
    ],
)
def test_margins_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"margin"):
        Margin(**wrong)  # type: ignore[arg-type]
