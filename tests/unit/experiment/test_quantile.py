"""Quantiles of latency from buckets, and whether their errors are what drawing again finds."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.experiment.moments import summarise_pairs
from flywheel.experiment.quantile import GROWTH, Histogram, Latency, bucket, design_effect, quantile, quantile_effect

LATENCIES = st.lists(st.floats(0.01, 1e5), min_size=1, max_size=200)


def histogram(values: list[float]) -> Histogram:
    return Histogram(Counter(bucket(each) for each in values))


@given(LATENCIES, st.floats(0, 1))
def test_a_quantile_is_within_a_bucket_of_a_latency_that_somebody_had(values: list[float], share: float) -> None:
    found = quantile(histogram(values), share)
    rank = max(1, math.ceil(share * len(values) - 1e-9))
    somebody = sorted(values)[rank - 1]
    assert somebody / GROWTH * (1 - 1e-9) <= found <= somebody * GROWTH * (1 + 1e-9)


def test_requests_are_evenly_spread_within_their_bucket() -> None:
    assert quantile(Histogram({10: 100}), 0.5) == pytest.approx(GROWTH**10.5)
    assert quantile(Histogram({10: 100, 12: 100}), 0.75) == pytest.approx(GROWTH**12.5)


@given(LATENCIES, LATENCIES)
def test_the_sum_of_two_histograms_is_that_of_all_requests(first: list[float], second: list[float]) -> None:
    assert dict((histogram(first) + histogram(second)).counts) == dict(histogram(first + second).counts)


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_error_of_a_quantile_is_what_drawing_again_finds(share: float) -> None:
    dice = np.random.default_rng(61)
    found = []
    for _ in range(600):
        arms = [histogram(dice.lognormal(3, 0.8, 2000).tolist()) for _ in range(2)]
        effect = quantile_effect(*map(Latency, arms), share)
        ratio = effect.log_ratio
        assert ratio is not None
        found.append((effect.difference, effect.standard_error, *ratio))
    drawn = np.array(found)
    assert drawn[:, 1].mean() == pytest.approx(drawn[:, 0].std(), rel=0.1)
    assert drawn[:, 3].mean() == pytest.approx(drawn[:, 2].std(), rel=0.1)


def test_requests_of_one_visitor_tell_less_and_the_design_effect_says_how_much() -> None:
    """Each visitor has a latency of their own, and five requests around it."""
    dice = np.random.default_rng(62)
    quantiles, errors, naive = [], [], []
    for _ in range(300):
        own = dice.lognormal(3, 0.7, 800)
        requests = own[:, None] * dice.lognormal(0, 0.3, (800, 5))
        arm = histogram(requests.ravel().tolist())
        p95 = quantile(arm, 0.95)
        design = design_effect(summarise_pairs((float(each), 5.0) for each in (requests <= p95).sum(axis=1)), 0.95)
        quantiles.append(p95)
        errors.append(quantile_effect(Latency(arm, design), Latency(arm), 0.95).variant_error)
        naive.append(quantile_effect(Latency(arm), Latency(arm), 0.95).variant_error)
    print(f"seed 62: deviation {np.std(quantiles):.2f} ms, told {np.mean(errors):.2f}, naive {np.mean(naive):.2f}")
    assert np.mean(errors) == pytest.approx(np.std(quantiles), rel=0.12)
    assert np.mean(naive) < 0.75 * np.std(quantiles)


def test_too_few_requests_beyond_the_quantile_are_not_enough() -> None:
    few, many = (Latency(histogram([10.0 + each for each in range(count)])) for count in (150, 250))
    assert not quantile_effect(few, many, 0.95).is_normal
    assert quantile_effect(many, many, 0.95).is_normal
    assert not quantile_effect(many, Latency(many.histogram, 2.0), 0.95).is_normal
    assert not quantile_effect(Latency(Histogram()), many, 0.95).is_normal
    with pytest.raises(ValueError, match="of 0 requests"):
        quantile(Histogram(), 0.5)
    assert design_effect(summarise_pairs([]), 0.95) == 1
    assert bucket(0.0) == bucket(0.001)
    assert quantile(Histogram({0: 0, 5: 1}), 0.0) == pytest.approx(GROWTH**5)
