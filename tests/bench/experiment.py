"""What the statistics of A/B tests cost, in processor time, and whether they keep what they promise.

The simulation of tests/unit, ten times as long: A/A and with an effect, with a look after every batch.
"""

import gc
import os
import time
from collections.abc import Callable
from datetime import timedelta

import numpy as np
from statsmodels.stats.proportion import confint_proportions_2indep, proportions_ztest
from tests.abtest_simulation import late_errors, ratio_alarms, simulate_futility, simulate_shares
from tests.bench.rows import Row, median, percentile

from flywheel.experiment.analysis import ArmSums, Design, Guardrail, Metric, analyse
from flywheel.experiment.confidence_sequence import Margin
from flywheel.experiment.decision import Limits, decide
from flywheel.experiment.futility import most_power_lost
from flywheel.experiment.moments import conversions
from flywheel.experiment.probability import probability_best, share_posterior
from flywheel.experiment.sequential import horizon_test
from flywheel.experiment.sizing import Goal

TIMES = 3000
RUNS = int(os.environ.get("BENCH_RUNS", "100000"))
BASELINES = (0.005, 0.02, 0.05, 0.3)
PLANNED = 0.1
LOOKS = 200


def measure() -> list[Row]:
    """Measure an analysis of two arms and three metrics, then simulate."""
    return [*_costs(), *_without_an_effect(), *_with_an_effect(), *_beside()]


def _costs() -> list[Row]:
    design = Design(
        ("red", "green"),
        (0.5, 0.5),
        horizon_test(0.05, 34_000, 34_000),
        Metric("claimed"),
        PLANNED,
        (Metric("bought"),),
        (Guardrail(Metric("errors", more_is_better=False), Margin(0.005)),),
    )
    arms = [
        ArmSums(20_000, conversions(20_000, claimed), (conversions(20_000, 400),), (conversions(20_000, 60),))
        for claimed in (1000, 1040)
    ]
    found = analyse(design, arms)
    posteriors = [share_posterior(conversions(20_000, 1000 + 20 * arm)) for arm in range(4)]

    def peer() -> None:
        for events in ((1000, 1040), (400, 400), (60, 60)):
            proportions_ztest(events, (20_000, 20_000))
            confint_proportions_2indep(events[1], 20_000, events[0], 20_000, method="wald", compare="diff")

    beside = median(_times(peer, 200)) * 1e6
    analysed = _times(lambda: analyse(design, arms))
    decided = _times(lambda: decide(design, found, Limits(), timedelta(days=3)))
    best = _times(lambda: probability_best(posteriors), 50)
    return [
        Row("experiment: analysis of 2 arms x 3 metrics, p50", median(analysed) * 1e6, "µs", 50, baseline=beside),
        Row("experiment: analysis of 2 arms x 3 metrics, p99", percentile(analysed, 0.99) * 1e6, "µs"),
        Row("experiment: decision on it, p50", median(decided) * 1e6, "µs"),
        Row("experiment: probability to be best of 4 arms, p50", median(best) * 1e3, "ms"),
    ]


def _without_an_effect() -> list[Row]:
    rows = []
    for variants in (1, 3):
        for baseline in BASELINES:
            ends, _ = simulate_shares(71, RUNS, baseline, PLANNED, [0.0] * variants, Goal(variants=variants), LOOKS)
            rows.append(
                Row(
                    f"experiment: A/A at {baseline:.1%}, {variants + 1} arms, wrongly decided",
                    ends.any_decided * 100,
                    "%",
                    5.0,
                )
            )
    return rows


def _with_an_effect() -> list[Row]:
    rows = []
    for baseline in BASELINES:
        ends, size = simulate_shares(72, RUNS, baseline, PLANNED, [PLANNED], Goal(), LOOKS)
        twice, _ = simulate_shares(73, RUNS, baseline, PLANNED, [2 * PLANNED], Goal(), LOOKS)
        cap = size.variant_cap / size.fixed
        at = f"experiment: at {baseline:.1%}"
        rows += [
            Row(f"{at}, cap over the fixed design", cap, "x", 1.10),
            Row(f"{at}, power", ends.share(1) * 100, "%", 80.0, "higher"),
            Row(f"{at}, mean sample over the fixed design", float(ends.fraction.mean()) * cap, "x", 0.82),
            Row(f"{at}, likewise at twice the effect", float(twice.fraction.mean()) * cap, "x", 0.45),
            Row(f"{at}, decided on the wrong side", ends.share(-1) * 100, "%", 0.1),
            Row(f"{at}, intervals hold at every look", float(ends.covered.mean()) * 100, "%", 95.0, "higher"),
        ]
    return rows


def _beside() -> list[Row]:
    runs = RUNS // 4
    futility = simulate_futility(74, runs, 0.05, PLANNED)
    clean = float(np.isfinite(ratio_alarms(75, runs // 4, 60_000, [0.5, 0.5], [0.5, 0.5])).mean())
    found = float(np.median(ratio_alarms(76, runs // 4, 40_000, [0.52, 0.48], [0.5, 0.5])))
    late = {beyond: late_errors(77, runs, beyond) * 100 for beyond in (1.02, 1.1, 1.33)}
    return [
        Row(
            "experiment: power lost by the stop for futility",
            futility.power_lost * 100,
            "%",
            most_power_lost(0.8) * 100,
        ),
        Row("experiment: mean share of the cap without an effect, with it", futility.mean_without_effect, "x"),
        Row("experiment: sample ratio, false alarms over 60,000 visitors", clean * 100, "%", 0.5),
        Row("experiment: sample ratio, visitors until 52/48 is found, p50", found, "visitors", 15_000),
        *(
            Row(f"experiment: wrongly decided by a last look at {beyond:g} of the cap", share, "%")
            for beyond, share in late.items()
        ),
    ]


def _times(part: Callable[[], object], times: int = TIMES) -> list[float]:
    for _ in range(20):
        part()
    taken = []
    gc.collect()
    for _ in range(times):
        began = time.process_time()
        part()
        taken.append(time.process_time() - began)
    return taken
