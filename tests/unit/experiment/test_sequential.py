"""The horizon test against published tables, the law of first passage, and an integration over all paths."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import invgauss, norm
from tests.abtest_simulation import half_widths, scores

from flywheel.experiment.estimate import mean_effect, proportion_effect
from flywheel.experiment.moments import Moments, conversions
from flywheel.experiment.sequential import (
    boundary,
    crossing_probability,
    effective_width,
    expected_fraction,
    horizon_test,
    interval_width,
    look,
    needed_drift,
)

WIDTHS = st.floats(0.5, 4.0)
DRIFTS = st.floats(0.05, 8.0)
LEVELS = st.floats(0.001, 0.3)


def first_passage(width: float, drift: float) -> object:
    """The time until a motion with a drift reaches a line is distributed as an inverse Gaussian."""
    return invgauss(drift * width and 1 / (drift * width), scale=width**2)


def test_the_boundary_is_the_published_one() -> None:
    assert boundary(0.05) == pytest.approx(2.2414, abs=5e-5)
    assert boundary(0.01) == pytest.approx(2.8070, abs=5e-5)


@given(WIDTHS, DRIFTS, st.floats(0.01, 1.0))
def test_a_line_is_crossed_as_the_inverse_gaussian_says(width: float, drift: float, until: float) -> None:
    wanted = first_passage(width, drift).cdf(until)  # type: ignore[attr-defined]
    assert crossing_probability(width, drift, until) == pytest.approx(wanted, rel=1e-6, abs=1e-12)


@given(LEVELS, st.floats(0.001, 1.0))
def test_what_is_spent_is_the_spending_function_of_lan_and_demets(level: float, at: float) -> None:
    """Their O'Brien-Fleming-like function, each side with half of the level."""
    spent = 2 * crossing_probability(boundary(level), 0.0, at)
    assert spent == pytest.approx(4 * norm.sf(norm.isf(level / 4) / math.sqrt(at)), rel=1e-9)
    assert 2 * crossing_probability(boundary(level), 0.0) == pytest.approx(level)


@given(WIDTHS, st.floats(0.01, 0.99))
def test_the_needed_drift_is_the_inverse_of_power(width: float, power: float) -> None:
    assert crossing_probability(width, needed_drift(width, power)) == pytest.approx(power, abs=1e-7)


@given(WIDTHS, DRIFTS)
def test_the_expected_end_is_the_integral_over_those_that_go_on(width: float, drift: float) -> None:
    up = first_passage(width, drift)
    # Downwards it is defective: it is reached with a probability of exp(-2 drift width) at all.
    reached = math.exp(-2 * drift * width)
    times = (np.arange(20_000) + 0.5) / 20_000
    wanted = float(np.maximum(0.0, up.sf(times) - reached * up.cdf(times)).mean())  # type: ignore[attr-defined]
    assert expected_fraction(width, drift) == pytest.approx(wanted, abs=2e-4)


def crossed(width: float, looks: int, drift: float = 0.0) -> float:
    """Probability that a walk leaves the corridor at one of its looks, by integration from look to look.

    Armitage, McPherson, Rowe (1969): the density of those who are still within, folded with one step.
    """
    step = 1 / math.sqrt(looks)
    grid = np.linspace(-width, width, 1201)
    weights = np.full(len(grid), grid[1] - grid[0])
    weights[[0, -1]] /= 2
    kernel = norm.pdf(grid[:, None] - grid[None, :], drift / looks, step) * weights[None, :]
    density = norm.pdf(grid, drift / looks, step)
    for _ in range(looks - 1):
        density = kernel @ density
    return 1 - float(density @ weights)


@pytest.mark.parametrize(("looks", "constant"), [(2, 1.977), (5, 2.040), (10, 2.087), (20, 2.126)])
def test_the_integration_finds_the_published_constants_of_obrien_and_fleming(looks: int, constant: float) -> None:
    """Jennison, Turnbull (2000), table 2.3, for 5%."""
    assert crossed(constant, looks) == pytest.approx(0.05, abs=2e-4)


@pytest.mark.parametrize("looks", [1, 2, 5, 14, 50, 200])
@pytest.mark.parametrize("level", [0.01, 0.05, 0.1])
def test_no_number_of_looks_breaks_the_level(level: float, looks: int) -> None:
    assert crossed(boundary(level), looks) <= level


@pytest.mark.parametrize("looks", [50, 150, 400])
def test_the_effective_width_says_what_looks_in_steps_find(looks: int) -> None:
    width = boundary(0.05)
    seen = 2 * crossing_probability(effective_width(width, looks), 0.0)
    assert crossed(width, looks) == pytest.approx(seen, rel=0.03)
    power = crossing_probability(effective_width(width, looks), 2.9)
    assert crossed(width, looks, 2.9) == pytest.approx(power, abs=0.005)


@given(st.integers(1, 50_000), st.integers(1, 50_000), st.floats(0, 1), st.floats(0, 1), st.floats(0.01, 0.2))
def test_the_simulation_is_the_product(first: int, second: int, p: float, q: float, level: float) -> None:
    """What is simulated many times at once is what the product says of each point."""
    test = horizon_test(level, 30_000, 20_000)
    variant, control = round(first * p), round(second * q)
    found = look(test, proportion_effect(conversions(first, variant), conversions(second, control)))
    point = [np.array([float(each)]) for each in (variant, first, control, second)]
    assert found.score == pytest.approx(float(scores(test, *point)[0]), rel=1e-9, abs=1e-12)
    half = float(half_widths(test, *point)[0])
    assert found.interval.upper - found.interval.estimate == pytest.approx(half, rel=1e-9, abs=1e-12)
    assert found.direction == (abs(found.score) > test.boundary) * math.copysign(1, found.score)


@given(LEVELS, st.floats(-6, 6), st.floats(0.01, 1.5))
def test_boundary_p_value_and_interval_say_the_same(level: float, statistic: float, fraction: float) -> None:
    """Of means, whose error is the same with an effect and without."""
    count = round(10_000 * fraction)
    variance = 4.0
    mean = statistic * math.sqrt(2 * variance / count)
    squares = variance * (count - 1)
    test = horizon_test(level, 10_000, 10_000)
    found = look(test, mean_effect(Moments(count, mean * count, squares + mean**2 * count), Moments(count, 0, squares)))
    if abs(abs(found.score) - test.boundary) < 1e-6:
        return
    assert (found.direction != 0) == (found.p_value < level) == (not found.interval.holds(0.0))
    assert found.direction * statistic >= 0
    assert found.fraction == pytest.approx(min(1.0, count / 10_000))
    assert found.is_final == (count >= 10_000)


def test_unequal_arms_know_as_much_as_their_harmonic_mean() -> None:
    test = horizon_test(0.05, 1000, 9000)
    half = look(test, proportion_effect(conversions(500, 50), conversions(4500, 450)))
    assert half.fraction == pytest.approx(0.5)
    # More of control alone does not bring the end.
    uneven = look(test, proportion_effect(conversions(500, 50), conversions(90_000, 9000)))
    assert uneven.fraction == pytest.approx(0.5525, abs=1e-4)


def test_a_look_beyond_the_cap_has_the_boundary_of_the_cap() -> None:
    test = horizon_test(0.05, 1000, 1000)
    late = look(test, proportion_effect(conversions(4000, 440), conversions(4000, 400)))
    assert late.is_final
    assert late.fraction == 1
    statistic = proportion_effect(conversions(4000, 440), conversions(4000, 400)).statistic
    assert late.score == pytest.approx(statistic)


def test_with_a_handful_of_conversions_nothing_is_said() -> None:
    test = horizon_test(0.05, 1000, 1000)
    for variant, control in ((0, 0), (9, 0)):
        found = look(test, proportion_effect(conversions(1000, variant), conversions(1000, control)))
        assert (found.direction, found.p_value, found.is_final) == (0, 1.0, True)
        assert found.interval.holds(1.0)
    nothing = look(test, proportion_effect(Moments(0), Moments(0)))
    assert (nothing.fraction, nothing.direction, nothing.is_final) == (0, 0, False)


def test_the_width_of_an_interval_falls_to_the_boundary() -> None:
    test = horizon_test(0.05, 1000, 1000)
    assert interval_width(test, 0.0) == math.inf
    assert interval_width(test, 0.25) == pytest.approx(2 * test.boundary)
    assert interval_width(test, 1.0) == test.boundary


@pytest.mark.parametrize("level", [0.0, 1.0, -0.1])
def test_a_level_that_is_none_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="not between 0 and 1"):
        horizon_test(level, 10, 10)


def test_a_test_without_visitors_or_power_is_refused() -> None:
    with pytest.raises(ValueError, match="leave nothing to look at"):
        horizon_test(0.05, 0, 10)
    with pytest.raises(ValueError, match="power of 1"):
        needed_drift(2.0, 1.0)
