"""Sizes against other people's code, and the way back from visitors to effects."""

import math
from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from statsmodels.stats.power import NormalIndPower
from statsmodels.stats.proportion import samplesize_proportions_2indep_onetail

from flywheel.experiment.sizing import (
    LONGEST_TOLD,
    Goal,
    mean_effect_for,
    mean_size,
    proportion_effect_for,
    proportion_size,
    time_needed,
)

GOALS = st.builds(
    Goal,
    level=st.sampled_from((0.01, 0.05, 0.1)),
    power=st.floats(0.5, 0.95),
    variants=st.integers(1, 7),
    control_ratio=st.floats(0.25, 4),
)


@given(st.floats(0.005, 0.5), st.floats(0.02, 0.8), GOALS)
def test_the_fixed_design_of_shares_is_that_of_statsmodels(baseline: float, lift: float, goal: Goal) -> None:
    wanted = samplesize_proportions_2indep_onetail(
        baseline * lift, baseline, goal.power, goal.control_ratio, goal.level / goal.variants
    )
    assert proportion_size(baseline, lift, goal).fixed == pytest.approx(wanted, rel=2e-3, abs=1)


@given(st.floats(1, 100), st.floats(1, 1000), st.floats(0.01, 0.2), GOALS)
def test_the_fixed_design_of_means_has_its_power(mean: float, variance: float, lift: float, goal: Goal) -> None:
    visitors = mean_size(mean, variance, lift, goal).fixed
    assume(visitors >= 100)
    effect = mean * lift / math.sqrt(variance)
    power = NormalIndPower().power(effect, visitors, goal.level / goal.variants, goal.control_ratio)
    assert power == pytest.approx(goal.power, abs=0.01)


def test_the_published_example_has_its_visitors() -> None:
    assert proportion_size(0.05, 0.1, Goal()).fixed == 31_234


@pytest.mark.parametrize("variants", [1, 3, 7])
@pytest.mark.parametrize("power", [0.8, 0.9])
def test_looking_costs_at_most_a_tenth_and_saves_more(variants: int, power: float) -> None:
    found = proportion_size(0.05, 0.1, Goal(power=power, variants=variants))
    inflation = found.variant_cap / found.fixed
    assert 1 < inflation <= 1.10
    assert found.at_effect * inflation <= 0.83
    assert 0.95 <= found.at_none <= 1


@given(st.floats(0.005, 0.5), st.floats(0.02, 0.5), GOALS)
def test_the_way_back_from_visitors_of_shares_gives_the_lift(baseline: float, lift: float, goal: Goal) -> None:
    cap = proportion_size(baseline, lift, goal).variant_cap
    found = proportion_effect_for(cap, baseline, goal)
    assert found <= lift * (1 + 1e-6)
    assert proportion_size(baseline, found, goal).variant_cap <= cap


@given(st.floats(1, 100), st.floats(1, 1000), st.floats(0.01, 0.5), GOALS)
def test_the_way_back_from_visitors_of_means_gives_the_lift(
    mean: float, variance: float, lift: float, goal: Goal
) -> None:
    cap = mean_size(mean, variance, lift, goal).variant_cap
    assert mean_effect_for(cap, mean, variance, goal) <= lift * (1 + 1e-6)


def test_more_visitors_than_there_are_effects_show_none() -> None:
    assert proportion_effect_for(2, 0.5, Goal()) == math.inf
    assert proportion_effect_for(0, 0.5, Goal()) == math.inf


def test_a_larger_control_needs_fewer_visitors_of_the_variant_and_more_in_all() -> None:
    even, uneven = (proportion_size(0.05, 0.1, Goal(control_ratio=ratio)) for ratio in (1.0, 3.0))
    assert uneven.variant_cap < even.variant_cap
    assert uneven.total(1) > even.total(1)
    assert uneven.total(3) == 3 * uneven.variant_cap + uneven.control_cap


def test_a_fall_is_sized_like_a_rise() -> None:
    assert proportion_size(0.05, -0.1, Goal()).variant_cap < proportion_size(0.05, 0.1, Goal()).variant_cap


def test_the_time_needed_is_rounded_up_to_weeks_if_asked() -> None:
    assert time_needed(67_500, 10_000, 0.5) == timedelta(days=13.5)
    assert time_needed(68_001, 10_000, 0.5, whole_weeks=True) == timedelta(days=14)
    assert time_needed(70_001, 10_000, 0.5, whole_weeks=True) == timedelta(days=21)
    assert time_needed(100, 2_400) == timedelta(hours=1)
    assert time_needed(10**15, 1e-6) == timedelta(days=LONGEST_TOLD)
    assert time_needed(1, 0) is None


@pytest.mark.parametrize(("baseline", "lift"), [(0.0, 0.1), (1.0, 0.1), (0.6, 0.7), (0.1, 0.0), (0.1, -1.0)])
def test_shares_that_are_none_are_refused(baseline: float, lift: float) -> None:
    with pytest.raises(ValueError, match="shares lie between 0 and 1"):
        proportion_size(baseline, lift, Goal())


def test_means_without_anything_to_see_are_refused() -> None:
    for mean, variance, lift in ((0.0, 1.0, 0.1), (1.0, 0.0, 0.1), (1.0, 1.0, 0.0), (1.0, math.inf, 0.1)):
        with pytest.raises(ValueError, match="each must be something"):
            mean_size(mean, variance, lift, Goal())


@pytest.mark.parametrize("wrong", [{"level": 0.0}, {"power": 0.01}, {"variants": 0}, {"control_ratio": 0.0}])
def test_goals_that_are_none_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"needed|wanted"):
        Goal(**wrong)  # type: ignore[arg-type]
