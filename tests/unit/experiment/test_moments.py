"""Sums of visitors: what is merged is the union, and what is read from them is what the visitors say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.experiment.moments import Moments, PairMoments, conversions, summarise, summarise_pairs

WHOLE = st.integers(-1000, 1000)
VALUES = st.lists(WHOLE, max_size=30)
PAIRS = st.lists(st.tuples(WHOLE, WHOLE), max_size=30)


@given(VALUES, VALUES)
def test_the_sum_of_two_summaries_is_that_of_all_visitors(first: list[int], second: list[int]) -> None:
    assert summarise(first) + summarise(second) == summarise(first + second)


@given(PAIRS, PAIRS)
def test_the_sum_of_two_summaries_of_pairs_is_that_of_all_visitors(
    first: list[tuple[int, int]], second: list[tuple[int, int]]
) -> None:
    assert summarise_pairs(first) + summarise_pairs(second) == summarise_pairs(first + second)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_mean_and_variance_are_those_of_the_visitors(values: list[float]) -> None:
    found = summarise(values)
    scale = max(1.0, max(abs(value) for value in values)) ** 2
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9 * scale)
    assert found.variance == pytest.approx(np.var(values, ddof=1), abs=1e-9 * scale)


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=50))
def test_variances_and_covariance_are_those_of_the_visitors(pairs: list[tuple[float, float]]) -> None:
    found = summarise_pairs(pairs)
    wanted = np.cov(np.array(pairs).T)
    assert (found.variance_y, found.variance_x, found.covariance) == pytest.approx(
        (wanted[0, 0], wanted[1, 1], wanted[0, 1]), abs=1e-6
    )
    assert (found.mean_y, found.mean_x) == pytest.approx(np.mean(pairs, axis=0), abs=1e-9)
    assert found.outcome() == summarise(y for y, _ in pairs)


def test_conversions_are_values_of_one_and_nothing() -> None:
    assert conversions(5, 2) == summarise([1, 0, 0, 1, 0])
    assert conversions(5, 2).variance == pytest.approx(0.3)


def test_a_variance_keeps_six_digits_at_ten_thousand_deviations_from_zero() -> None:
    dice = np.random.default_rng(1)
    values = dice.normal(10_000.0, 1.0, 100_000)
    assert summarise(values.tolist()).variance == pytest.approx(float(np.var(values, ddof=1)), rel=1e-6)


def test_nobody_and_one_visitor_have_no_variance() -> None:
    for few in (Moments(0), summarise([7.0]), summarise([3.3, 3.3, 3.3])):
        assert few.variance == pytest.approx(0.0, abs=1e-12)
        assert few.variance >= 0
    one = summarise_pairs([(1.0, 2.0)])
    assert (one.variance_y, one.variance_x, one.covariance) == (0, 0, 0)
    assert (PairMoments(0).mean_y, PairMoments(0).mean_x, Moments(0).mean) == (0, 0, 0)


@pytest.mark.parametrize("wrong", [(-1, 0.0, 0.0), (1, math.nan, 0.0), (1, 0.0, math.inf)])
def test_what_cannot_be_a_summary_is_refused(wrong: tuple[int, float, float]) -> None:
    with pytest.raises(ValueError, match="no summary"):
        Moments(*wrong)
    with pytest.raises(ValueError, match="no summary"):
        PairMoments(*wrong)


def test_more_conversions_than_visitors_are_refused() -> None:
    with pytest.raises(ValueError, match="6 of 5 visitors"):
        conversions(5, 6)
