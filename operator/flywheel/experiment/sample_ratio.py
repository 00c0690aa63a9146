"""Do the arms have the visitors that they should? Asked at each look: a test that loses some proves nothing."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

ALARM = 0.005
"""Chance of a false alarm over a whole test."""
CONCENTRATION = 1000.0
"""Of the prior around the wanted ratio: of two equal arms, a share that is off by 1.6 points is typical. It decides how
soon an alarm comes, never how often a false one does; 1,000 finds 52/48 earliest among the powers of ten."""


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """What the numbers of visitors say."""

    p_value: float
    """Valid at any look."""
    is_mismatch: bool
    shares: tuple[float, ...]
    """Of each arm, as counted."""
    wanted: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A value of a dimension whose visitors do not come as they should."""

    dimension: str
    value: str
    p_value: float
    """Multiplied by all values that were tried."""
    shares: tuple[float, ...]
    excess: float
    """Share of the value's visitors that are in the wrong arm."""
    explains: bool
    """Without this value, the rest of the visitors come as they should."""


def sample_ratio(
    counts: Sequence[int], weights: Sequence[float], *, alarm: float = ALARM, earlier: float = 1.0
) -> SampleRatio:
    """Hold visitors against the weights of their arms.

    Args:
        counts: Visitors of each arm, each one once, in the arm of its first exposure.
        weights: Of each arm; only their ratio counts.
        alarm: Chance of a false alarm over all looks.
        earlier: The least value of an earlier look at the same test; a proof does not go away.

    Raises:
        ValueError: Counts and weights are not as many, an arm has no weight, or a count is negative.
    """
    return stretched_sample_ratio([(counts, weights)], alarm=alarm, earlier=earlier)


def stretched_sample_ratio(
    stretches: Sequence[tuple[Sequence[int], Sequence[float]]], *, alarm: float = ALARM, earlier: float = 1.0
) -> SampleRatio:
    """Do so where weights were changed on the way: by a bandit, or as a variant was taken out.

    Args:
        stretches: For each time with the same weights, the visitors that were new in it, and the weights.
        alarm: As of `sample_ratio`.
        earlier: Likewise.

    Raises:
        ValueError: There is no stretch, or `sample_ratio` would refuse one.
    """
    if not stretches:
        raise ValueError("a sample ratio needs the visitors of one stretch of time or more")
    wanted = [_normed(counts, weights) for counts, weights in stretches]
    factor = sum(_log_factor(counts, shares) for (counts, _), shares in zip(stretches, wanted, strict=True))
    p_value = min(earlier, _p_value(factor))
    counted = [sum(arm) for arm in zip(*(counts for counts, _ in stretches), strict=True)]
    total = sum(counted)
    return SampleRatio(
        p_value,
        p_value <= alarm,
        tuple(count / total if total else 0.0 for count in counted),
        wanted[0] if len(wanted) == 1 else _mixed(stretches, wanted, total),
    )


def log_bayes_factor(counts: Sequence[int], weights: Sequence[float]) -> float:
    """Give the logarithm of how much better any other ratio explains the visitors than the wanted one.

    A Dirichlet prior around the wanted ratio is mixed over. The factor is a martingale if the ratio is as wanted, so by
    Ville's inequality it ever exceeds 1/a with a probability of at most a. Factors of stretches with other weights
    multiply, so their logarithms are added.

    Raises:
        ValueError: As `sample_ratio` does.

    Source: Lindon, Malek (2022), Anytime-Valid Inference for Multinomial Count Data, NeurIPS.
    """
    return _log_factor(counts, _normed(counts, weights))


def suspects(
    by_dimension: Mapping[str, Mapping[str, Sequence[int]]], weights: Sequence[float], *, alarm: float = ALARM
) -> list[Suspect]:
    """Say where a mismatch comes from: which browsers, channels, edge pods have it, the strongest first.

    A value that explains the mismatch alone is a cause; where many values of each dimension have it and none explains
    it, the cause lies before all of them: in the assignment, or in the exposure itself.

    Args:
        by_dimension: Dimension -> value -> visitors of each arm.
        weights: Of each arm.
        alarm: Chance that any value at all is named without a reason (Bonferroni over all values).

    Raises:
        ValueError: As `sample_ratio` does.
    """
    tried = sum(len(values) for values in by_dimension.values())
    found = []
    for dimension, values in by_dimension.items():
        sums = [sum(arm) for arm in zip(*values.values(), strict=True)]
        for value, counts in values.items():
            p_value = min(1.0, _p_value(log_bayes_factor(counts, weights)) * tried)
            if p_value <= alarm:
                rest = [whole - part for whole, part in zip(sums, counts, strict=True)]
                explains = _p_value(log_bayes_factor(rest, weights)) > alarm
                found.append(_suspect(dimension, value, counts, weights, p_value, explains=explains))
    return sorted(found, key=lambda each: (not each.explains, each.p_value, each.dimension, each.value))


def _log_factor(counts: Sequence[int], wanted: Sequence[float]) -> float:
    found = math.lgamma(CONCENTRATION) - math.lgamma(CONCENTRATION + sum(counts))
    for count, share in zip(counts, wanted, strict=True):
        prior = CONCENTRATION * share
        found += math.lgamma(prior + count) - math.lgamma(prior) - count * math.log(share)
    return found


def _mixed(
    stretches: Sequence[tuple[Sequence[int], Sequence[float]]], wanted: Sequence[Sequence[float]], total: int
) -> tuple[float, ...]:
    """Give the shares that all stretches together should have."""
    parts = [sum(counts) / total if total else 1 / len(stretches) for counts, _ in stretches]
    return tuple(
        sum(part * shares[arm] for part, shares in zip(parts, wanted, strict=True)) for arm in range(len(wanted[0]))
    )


def _suspect(
    dimension: str, value: str, counts: Sequence[int], weights: Sequence[float], p_value: float, *, explains: bool
) -> Suspect:
    total = sum(counts)
    shares = tuple(count / total for count in counts)
    excess = sum(max(0.0, share - wanted) for share, wanted in zip(shares, _normed(counts, weights), strict=True))
    return Suspect(dimension, value, p_value, shares, excess, explains)


def _p_value(log_factor: float) -> float:
    return math.exp(-log_factor) if log_factor > 0 else 1.0


def _normed(counts: Sequence[int], weights: Sequence[float]) -> tuple[float, ...]:
    whole = sum(weights)
    if len(counts) != len(weights) or len(counts) < 2:
        raise ValueError(f"{len(counts)} counts for {len(weights)} weights: two arms or more have one of each")
    if min(weights) <= 0 or min(counts) < 0:
        raise ValueError("an arm with no weight, or with less than no visitors, has no ratio: leave it out")
    return tuple(weight / whole for weight in weights)
