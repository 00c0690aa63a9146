"""Stopping for futility: the chance that is left, and what the stop costs and saves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.abtest_simulation import simulate_futility

from flywheel.experiment.estimate import Effect
from flywheel.experiment.futility import conditional_power, is_futile, most_power_lost
from flywheel.experiment.sequential import (
    Look,
    boundary,
    crossing_probability,
    horizon_test,
    look,
)

CAP = 10_000


def at(fraction: float, score: float) -> tuple[Look, Effect]:
    """A look with a score, of figures with a deviation of 1."""
    count = round(CAP * fraction)
    error = math.sqrt(2 / count)
    effect = Effect(
        score / math.sqrt(count / CAP) * error, 0.0, error, error, count, count, error, error, is_normal=True
    )
    return look(horizon_test(0.05, CAP, CAP), effect), effect


def planned(drift: float) -> float:
    return drift * math.sqrt(2 / CAP)


@given(st.floats(0.05, 0.9), st.floats(-2, 2), st.floats(0.5, 5))
def test_the_chance_that_is_left_is_that_of_first_passage(fraction: float, score: float, drift: float) -> None:
    seen, effect = at(fraction, score)
    found = conditional_power(horizon_test(0.05, CAP, CAP), seen, effect, planned(drift))
    wanted = crossing_probability(boundary(0.05) - seen.score, drift, 1 - seen.fraction)
    assert found == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    down = conditional_power(horizon_test(0.05, CAP, CAP), *at(fraction, -score), -planned(drift))
    assert down == pytest.approx(found, rel=1e-6, abs=1e-12)


def test_the_chance_that_is_left_is_what_a_simulation_finds() -> None:
    dice = np.random.default_rng(41)
    seen, effect = at(0.4, 0.3)
    looks = 400
    steps = dice.normal(2.9 * 0.6 / looks, math.sqrt(0.6 / looks), (20_000, looks))
    crossed = float((seen.score + np.cumsum(steps, axis=1) > boundary(0.05)).any(axis=1).mean())
    found = conditional_power(horizon_test(0.05, CAP, CAP), seen, effect, planned(2.9))
    print(f"seed 41: {crossed:.3f} cross, {found:.3f} expected of looking all the time")
    assert found == pytest.approx(crossed, abs=0.03)
    assert found >= crossed


def test_what_is_decided_or_over_is_not_futile() -> None:
    test = horizon_test(0.05, CAP, CAP)
    for fraction, score in ((0.5, 3.0), (0.5, -3.0), (1.0, 0.0)):
        assert not is_futile(test, *at(fraction, score), planned(2.9))
    assert conditional_power(test, *at(0.5, 3.0), planned(2.9)) == 1
    assert conditional_power(test, *at(0.5, -3.0), planned(2.9)) == 0
    assert conditional_power(test, *at(1.0, 0.0), planned(2.9)) == 0


def test_a_young_test_is_never_futile_and_a_clear_one_is() -> None:
    test = horizon_test(0.05, CAP, CAP)
    assert not is_futile(test, *at(0.05, 0.0), planned(2.9))
    assert is_futile(test, *at(0.7, -0.5), planned(2.9))


@pytest.mark.parametrize("baseline", [0.005, 0.05])
def test_the_stop_costs_less_power_than_stated_and_saves_visitors(baseline: float) -> None:
    found = simulate_futility(42, 8000, baseline, 0.1)
    print(f"seed 42, baseline {baseline:.1%}: {found}")
    assert 0 < found.power_lost <= most_power_lost(0.8)
    assert found.wrong <= 0.025
    assert found.mean_without_effect <= 0.65


def test_the_stated_cost_is_a_point_of_power() -> None:
    assert most_power_lost(0.8) == pytest.approx(0.0105, abs=1e-4)
