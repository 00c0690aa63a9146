"""Whole tests through the product itself, from sums to verdicts; fewer of them than what is vectorised can simulate."""

import math
from collections import Counter
from datetime import timedelta

import numpy as np
import pytest
from tests.unit.experiment.designs import design

from flywheel.experiment.analysis import ArmSums, Guardrail, Metric, analyse
from flywheel.experiment.confidence_sequence import Margin
from flywheel.experiment.decision import Limits, Verdict, decide
from flywheel.experiment.estimate import mean_effect
from flywheel.experiment.moments import Moments, conversions
from flywheel.experiment.sequential import boundary, horizon_test, look
from flywheel.experiment.sizing import Goal, proportion_size

RUNS, LOOKS = 400, 60
BASELINE, PLANNED, ERRORS = 0.05, 0.2, 0.01
GUARDRAIL = Guardrail(Metric("errors", more_is_better=False), Margin(0.01, tuned_for=2000))


def verdicts(seed: int, lift: float, more_errors: float) -> tuple[Counter[Verdict], float]:
    """How tests end, and after which share of their cap on average."""
    dice = np.random.default_rng(seed)
    cap = proportion_size(BASELINE, PLANNED, Goal()).variant_cap
    made = design(test=horizon_test(0.05, cap, cap), guardrails=(GUARDRAIL,), planned_lift=PLANNED)
    batch, ends, fractions = math.ceil(cap / LOOKS), Counter[Verdict](), []
    shares = ((BASELINE, ERRORS), (BASELINE * (1 + lift), ERRORS + more_errors))
    for _ in range(RUNS):
        new = dice.binomial(batch, shares, (LOOKS, 2, 2)).cumsum(axis=0).tolist()
        for number, arms in enumerate(new, 1):
            count = number * batch
            sums = [ArmSums(count, conversions(count, c), (), (conversions(count, e),)) for c, e in arms]
            found = decide(made, analyse(made, sums), Limits(), timedelta(hours=number))
            if found.verdict is not None:
                ends[found.verdict] += 1
                fractions.append(number / LOOKS)
                break
    return ends, float(np.mean(fractions))


@pytest.mark.parametrize(
    ("lift", "more_errors", "wanted", "least"),
    [
        (0.0, 0.0, Verdict.INCONCLUSIVE, 0.7),
        (PLANNED, 0.0, Verdict.SHIP, 0.76),
        (-PLANNED, 0.0, Verdict.KEEP_CONTROL, 0.7),
        (PLANNED, 0.04, Verdict.STOPPED_BY_GUARDRAIL, 0.99),
    ],
)
def test_whole_tests_end_as_they_should(lift: float, more_errors: float, wanted: Verdict, least: float) -> None:
    ends, fraction = verdicts(81, lift, more_errors)
    told = ", ".join(f"{verdict} {count / RUNS:.1%}" for verdict, count in ends.most_common())
    print(f"seed 81, lift {lift:+.0%}, {more_errors:.0%} more errors: {told}; ended at {fraction:.2f} of the cap")
    assert sum(ends.values()) == RUNS
    assert ends[wanted] >= least * RUNS
    if lift > 0 and not more_errors:
        assert ends[Verdict.KEEP_CONTROL] <= 0.025 * RUNS
    else:
        assert ends[Verdict.SHIP] <= (0.025 + 2 * math.sqrt(0.025 / RUNS)) * RUNS
    if more_errors:
        assert fraction <= 0.25


@pytest.mark.parametrize("spread", [1.0, 1.5])
def test_skewed_amounts_keep_the_level(spread: float) -> None:
    """Three of a hundred visitors buy, and what they spend has a long tail."""
    seed, runs, looks, batch = 82, 1500, 80, 100
    dice = np.random.default_rng(seed)
    bought = dice.random((2, runs, looks, batch)) < 0.03
    amount = np.where(bought, np.exp(spread * dice.standard_normal(bought.shape)), 0.0)
    sums = amount.sum(axis=3).cumsum(axis=2)
    squares = (amount**2).sum(axis=3).cumsum(axis=2)
    counts = np.arange(1, looks + 1) * batch
    # Before the first one has bought nothing varies.
    variances = np.maximum((squares - sums**2 / counts) / (counts - 1) / counts, 1e-300)
    score = (sums[1] - sums[0]) / counts / np.sqrt(variances.sum(axis=0)) * np.sqrt(counts / counts[-1])
    crossed = np.abs(np.where(counts >= 100, score, 0.0)) > boundary(0.05)
    wrong = float(crossed.any(axis=1).mean())
    print(f"seed {seed}, log deviation {spread}: {wrong:.2%} wrongly decided")
    assert wrong <= 0.05
    arms = [Moments(int(counts[40]), float(sums[arm, 7, 40]), float(squares[arm, 7, 40])) for arm in (1, 0)]
    test = horizon_test(0.05, int(counts[-1]), int(counts[-1]))
    assert look(test, mean_effect(*arms)).score == pytest.approx(float(score[7, 40]))
