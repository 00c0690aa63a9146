"""Sending more visitors to what does better while a test runs, with estimates that stay valid.

Shares change in steps: a batch is a stretch of time with the same shares. Visitors who were in a test before stay in
their arm, so a batch is of new visitors alone.
"""

import math
from collections.abc import Sequence

from flywheel.experiment.estimate import Effect, Interval, safe_expm1
from flywheel.experiment.probability import Posterior, probability_best
from flywheel.experiment.sequential import Look, boundary

BUCKETS = 10_000
FLOOR = 0.05
"""Share that each arm keeps, so that a bad start can be made good and each batch has an estimate."""


def allocation(
    posteriors: Sequence[Posterior], floor: float = FLOOR, *, buckets: int = BUCKETS, more_is_better: bool = True
) -> tuple[int, ...]:
    """Share buckets out as each arm is probable to be the best, above a floor (Thompson sampling).

    The floor is added and not a least value, so shares still differ at the bottom. Probabilities are computed and not
    drawn: the same counts give the same shares.

    Args:
        posteriors: Of each arm, control too.
        floor: Share that each arm has whatever happens.
        buckets: To share out.
        more_is_better: False where the least is best.

    Returns:
        Buckets of each arm; exactly all of them.

    Raises:
        ValueError: The floors are more than there is, or below 0.

    Source: Scott (2010), A modern Bayesian look at the multi-armed bandit, Applied Stochastic Models 26; Chapelle, Li
    (2011), An Empirical Evaluation of Thompson Sampling, NeurIPS.
    """
    if floor < 0 or floor * len(posteriors) > 1:
        raise ValueError(f"{len(posteriors)} arms with a floor of {floor} each do not fit into 1")
    free = 1 - floor * len(posteriors)
    best = probability_best(posteriors, more_is_better=more_is_better)
    return largest_remainder([floor + free * each for each in best], buckets)


def largest_remainder(shares: Sequence[float], whole: int) -> tuple[int, ...]:
    """Round shares to whole numbers that sum up to `whole`; of equal remainders, the first ones are rounded up.

    Source: Hare's quota, Balinski, Young (1982), Fair Representation.
    """
    total = sum(shares)
    exact = [share / total * whole for share in shares]
    found = [math.floor(each) for each in exact]
    order = sorted(range(len(exact)), key=lambda arm: (found[arm] - exact[arm], arm))
    for arm in order[: whole - sum(found)]:
        found[arm] += 1
    return tuple(found)


def least_batch(baseline: float, floor: float, expected: float = 10.0) -> int:
    """Give the visitors that a batch of a share must have for its estimate to count, over all arms."""
    return math.ceil(expected / (floor * min(baseline, 1 - baseline)))


def batched_look(batches: Sequence[Effect], planned: int, level: float) -> Look:
    """Take a look at a test whose shares changed with what was seen.

    The plain difference of all visitors is biased and not normal then. Within a batch the shares were fixed before it
    began, so its statistic is standard normal whatever came before; their sum is a random walk with steps of 1, on
    which the horizon test works as on visitors, with batches as its time. A baseline that changes from batch to batch
    does no harm. Batches with too few events to be normal are left out.

    Args:
        batches: Of a variant and control, the effect in each batch.
        planned: Number of batches at which the test ends.
        level: Chance of a difference where there is none.

    Returns:
        Its fraction is that of planned batches; its estimate weighs each batch by its precision.

    Raises:
        ValueError: There are more batches than planned: a decision was due.

    Source: Zhang, Janson, Murphy (2020), Inference for Batched Bandits, NeurIPS: batched OLS.
    """
    if len(batches) > planned:
        raise ValueError(f"{len(batches)} batches of {planned}: the test ended with the last one that was planned")
    counted = [each for each in batches if _counts(each)]
    is_final = len(batches) == planned
    if not counted:
        return Look(0.0, 0.0, 0, 1.0, Interval(0.0, -math.inf, math.inf), is_final)
    width = boundary(level)
    score = sum(each.statistic for each in counted) / math.sqrt(planned)
    direction = 0
    if abs(score) > width:
        direction = 1 if score > 0 else -1
    p_value = min(1.0, 2.0 * math.erfc(abs(score) / math.sqrt(2.0)))
    interval = _weighed([(each.difference, each.standard_error) for each in counted], planned, width)
    return Look(len(counted) / planned, score, direction, p_value, interval, is_final)


def batched_lift(batches: Sequence[Effect], planned: int, level: float) -> Interval | None:
    """Give the relative difference for display, from the log ratios of the batches; None where there is none.

    Args:
        batches: As of `batched_look`.
        planned: Likewise.
        level: Likewise.
    """
    ratios = [each.log_ratio for each in batches if _counts(each)]
    known = [each for each in ratios if each is not None]
    if not known or len(known) < len(ratios):
        return None
    found = _weighed(known, planned, boundary(level))
    return Interval(math.expm1(found.estimate), safe_expm1(found.lower), safe_expm1(found.upper))


def _counts(batch: Effect) -> bool:
    return batch.is_normal and batch.null_error > 0


def _weighed(estimates: Sequence[tuple[float, float]], planned: int, width: float) -> Interval:
    """Weigh each estimate by one over its error, so that each batch is a step of the same size."""
    precision = sum(1 / error for _, error in estimates)
    estimate = sum(each / error for each, error in estimates) / precision
    half = width * math.sqrt(planned) / precision
    return Interval(estimate, estimate - half, estimate + half)
