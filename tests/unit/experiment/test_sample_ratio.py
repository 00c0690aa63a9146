"""The sample ratio: the formula against a library, its promise by simulation, and whose fault a mismatch is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import dirichlet_multinomial, multinomial
from tests.abtest_simulation import ratio_alarms

from flywheel.experiment.sample_ratio import (
    CONCENTRATION,
    log_bayes_factor,
    sample_ratio,
    stretched_sample_ratio,
    suspects,
)

ARMS = st.lists(st.tuples(st.integers(0, 5000), st.floats(0.05, 1)), min_size=2, max_size=8)


@given(ARMS)
def test_the_factor_is_the_ratio_of_two_likelihoods(arms: list[tuple[int, float]]) -> None:
    counts, weights = [each[0] for each in arms], np.array([each[1] for each in arms])
    wanted = weights / weights.sum()
    mixed = dirichlet_multinomial.logpmf(counts, CONCENTRATION * wanted, sum(counts))
    plain = multinomial.logpmf(counts, sum(counts), wanted)
    assert log_bayes_factor(counts, weights.tolist()) == pytest.approx(mixed - plain, abs=1e-6)


@pytest.mark.parametrize("weights", [[0.5, 0.5], [0.9, 0.1], [0.4, 0.2, 0.2, 0.2]])
def test_a_clean_test_has_next_to_no_false_alarm_over_all_its_looks(weights: list[float]) -> None:
    share = float(np.isfinite(ratio_alarms(11, 4000, 60_000, weights, weights)).mean())
    print(f"seed 11, weights {weights}: {share:.2%} false alarms in 4,000 tests of 300 looks")
    assert share <= 0.005


def test_a_mismatch_of_52_to_48_is_found_by_15000_visitors() -> None:
    median = float(np.median(ratio_alarms(12, 2000, 40_000, [0.52, 0.48], [0.5, 0.5])))
    print(f"seed 12: half of the mismatches of 52/48 are found by {median:,.0f} visitors")
    assert median <= 15_000


def test_a_coarse_mismatch_is_found_at_once() -> None:
    assert np.quantile(ratio_alarms(13, 1000, 5_000, [0.6, 0.4], [0.5, 0.5]), 0.95) <= 1500


def test_a_proof_does_not_go_away() -> None:
    first = sample_ratio([600, 400], [1, 1])
    assert first.is_mismatch
    later = sample_ratio([5200, 5100], [1, 1], earlier=first.p_value)
    assert later.is_mismatch
    assert later.p_value == first.p_value
    assert not sample_ratio([5200, 5100], [1, 1]).is_mismatch
    assert first.shares == (0.6, 0.4)
    assert first.wanted == (0.5, 0.5)


def test_nobody_is_no_mismatch() -> None:
    assert sample_ratio([0, 0], [1, 1]).p_value == pytest.approx(1)
    assert sample_ratio([0, 0], [1, 1]).shares == (0, 0)


def test_stretches_with_other_weights_are_taken_together() -> None:
    """Each as its own weights say: a ratio over all would cry wolf."""
    stretches = [([9000, 1000], [0.9, 0.1]), ([5000, 5000], [0.5, 0.5])]
    found = stretched_sample_ratio(stretches)
    assert not found.is_mismatch
    assert found.shares == found.wanted == (0.7, 0.3)
    assert stretched_sample_ratio([*stretches, ([5400, 4600], [0.5, 0.5])]).is_mismatch
    assert stretched_sample_ratio([([0, 0], [0.5, 0.5])]).wanted == (0.5, 0.5)
    with pytest.raises(ValueError, match="one stretch"):
        stretched_sample_ratio([])
    assert sample_ratio([14_000, 6000], [0.5, 0.5]).is_mismatch


def test_the_browser_that_loses_visitors_is_named() -> None:
    found = suspects(
        {
            "browser": {"Chrome": [20_000, 20_080], "Safari": [5000, 4000], "Firefox": [1000, 990]},
            "channel": {"mail": [13_050, 12_520], "search": [12_950, 12_550]},
        },
        [0.5, 0.5],
    )
    assert (found[0].dimension, found[0].value, found[0].explains) == ("browser", "Safari", True)
    assert found[0].excess == pytest.approx(5000 / 9000 - 0.5)
    assert not any(each.explains for each in found[1:])


def test_a_mismatch_everywhere_is_explained_by_no_value() -> None:
    found = suspects({"browser": {name: [5500, 4500] for name in ("Chrome", "Safari", "Firefox")}}, [0.5, 0.5])
    assert len(found) == 3
    assert not any(each.explains for each in found)


def test_among_many_clean_values_none_is_named() -> None:
    dice = np.random.default_rng(14)
    named = 0
    for _ in range(300):
        values = {str(pod): dice.multinomial(2000, [0.5, 0.5]).tolist() for pod in range(20)}
        named += bool(suspects({"edge pod": values}, [0.5, 0.5]))
    assert named <= 5


def test_no_dimension_names_nobody() -> None:
    assert suspects({}, [1, 1]) == []
    assert suspects({"browser": {}}, [1, 1]) == []


@pytest.mark.parametrize(
    ("counts", "weights", "words"),
    [([1, 2], [1], "2 counts for 1 weights"), ([1, 2], [1, 0], "leave it out"), ([1, -2], [1, 1], "leave it out")],
)
def test_what_has_no_ratio_is_refused(counts: list[int], weights: list[float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        sample_ratio(counts, weights)
