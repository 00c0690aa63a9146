"""What a test of shares promises, kept over thousands of simulated tests with a look after every batch."""

import math

import numpy as np
import pytest
from tests.abtest_simulation import late_errors, paths, simulate, simulate_shares

from flywheel.experiment.confidence_sequence import two_sided_width
from flywheel.experiment.sizing import Goal, proportion_size

RUNS = 10_000
LOOKS = 200
BASELINES = (0.005, 0.02, 0.05, 0.3)
PLANNED = 0.1


@pytest.mark.parametrize("variants", [1, 3])
@pytest.mark.parametrize("baseline", BASELINES)
def test_without_a_difference_none_is_found_and_intervals_hold_nothing_else(baseline: float, variants: int) -> None:
    seed = 618
    ends, _ = simulate_shares(seed, RUNS, baseline, PLANNED, [0.0] * variants, Goal(variants=variants), LOOKS)
    covered = float(ends.covered.all(axis=1).mean())
    print(
        f"seed {seed}, baseline {baseline:.1%}, {variants + 1} arms: {ends.any_decided:.2%} wrongly decided, "
        f"{covered:.2%} of tests always covered"
    )
    assert ends.any_decided <= 0.05
    assert covered >= 0.95


@pytest.mark.parametrize("baseline", BASELINES)
def test_the_planned_effect_is_found_early_and_never_on_the_wrong_side(baseline: float) -> None:
    seed = 619
    ends, size = simulate_shares(seed, RUNS, baseline, PLANNED, [PLANNED], Goal(), LOOKS)
    inflation = size.variant_cap / size.fixed
    mean = float(ends.fraction.mean()) * inflation
    print(
        f"seed {seed}, baseline {baseline:.1%}: power {ends.share(1):.1%} with a cap of {inflation:.3f} of the fixed "
        f"design, mean sample {mean:.3f}, wrong side {ends.share(-1):.2%}, covered {ends.covered.mean():.2%}"
    )
    # What is promised, less what 10,000 runs cannot tell.
    assert ends.share(1) >= 0.8 - 2 * math.sqrt(0.8 * 0.2 / RUNS)
    assert inflation <= 1.10
    assert mean <= 0.82
    assert ends.share(-1) <= 0.001
    assert float(ends.covered.mean()) >= 0.95 - 2 * math.sqrt(0.05 * 0.95 / RUNS)
    assert mean == pytest.approx(size.at_effect * inflation, abs=0.01)


@pytest.mark.parametrize("baseline", BASELINES)
def test_twice_the_planned_effect_is_found_in_less_than_half(baseline: float) -> None:
    seed = 620
    ends, size = simulate_shares(seed, RUNS, baseline, PLANNED, [2 * PLANNED], Goal(), LOOKS)
    mean = float(ends.fraction.mean()) * size.variant_cap / size.fixed
    print(f"seed {seed}, baseline {baseline:.1%}: mean sample {mean:.3f}, found {ends.share(1):.2%}")
    assert mean <= 0.45
    assert ends.share(1) >= 0.995


@pytest.mark.parametrize(("baseline", "ratio"), [(0.005, 9.0), (0.02, 9.0), (0.05, 1 / 9)])
def test_unequal_arms_keep_the_level_too(baseline: float, ratio: float) -> None:
    """Few conversions in the smaller arm are skewed: with the unpooled variance this would fail."""
    seed = 621
    ends, _ = simulate_shares(seed, RUNS, baseline, PLANNED, [0.0], Goal(control_ratio=ratio), LOOKS)
    print(f"seed {seed}, baseline {baseline:.1%}, control {ratio:.2f} times: {ends.any_decided:.2%} wrongly decided")
    assert ends.any_decided <= 0.05


@pytest.mark.parametrize("planned", [0.5, 1.0, 2.0])
def test_small_tests_of_rare_things_keep_the_level_too(planned: float) -> None:
    """At 0.5% with a coarse aim the whole test has some 30 to 100 conversions in each arm."""
    seed = 622
    ends, size = simulate_shares(seed, RUNS, 0.005, planned, [0.0], Goal(), LOOKS)
    print(f"seed {seed}, planned {planned:+.0%}, {size.variant_cap} visitors: {ends.any_decided:.2%} wrongly decided")
    assert ends.any_decided <= 0.05


@pytest.mark.parametrize("believed", [0.025, 0.1])
def test_a_wrong_baseline_changes_the_power_but_not_the_level(believed: float) -> None:
    seed = 623
    goal = Goal()
    size = proportion_size(believed, PLANNED, goal)
    ends = simulate(seed, RUNS, goal, size, LOOKS, [0.05, 0.05])
    assert ends.any_decided <= 0.05


def test_a_last_look_that_comes_late_errs_hardly_more_often_but_going_on_does() -> None:
    late, on = late_errors(624, 10_000, 1.05), late_errors(624, 10_000, 1.33, goes_on=True)
    print(f"seed 624: {late:.2%} wrongly decided by a last look 5% late, {on:.2%} by going on to a third more")
    assert late <= 0.054
    assert on > 0.06


def test_a_relative_interval_would_break_its_promise_where_the_difference_keeps_it() -> None:
    """Why nothing is decided on the relative scale."""
    relative, against, absolute = [], [], []
    for counts, converted in paths(625, 4000, 20_000, 100, (0.02, 0.02)):
        count = counts[0]
        widths = np.array([two_sided_width(0.05, 5000, each) for each in count])
        p, q = converted[1] / count, np.maximum(converted[0], 1) / count
        errors = np.sqrt(p * (1 - p) / count), np.sqrt(q * (1 - q) / count)
        lift = p / q - 1
        found = np.abs(lift) > widths * np.hypot(errors[0] / q, errors[1] * p / q**2)
        relative.append(found.any(axis=1))
        against.append((found & (lift < 0)).any(axis=1))
        absolute.append((np.abs(p - q) > widths * np.hypot(*errors)).any(axis=1))
    shares = [float(np.concatenate(each).mean()) for each in (relative, against, absolute)]
    print(
        f"seed 625: relative intervals exclude 0 in {shares[0]:.1%}, {shares[1]:.1%} against the variant; "
        f"absolute ones in {shares[2]:.1%}"
    )
    assert shares[0] > 0.07
    assert shares[1] > 0.8 * shares[0]
    assert shares[2] <= 0.05
