"""All that the sums of all arms say at one moment: one result for each variant, before anything follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from flywheel.experiment.bandit import batched_lift, batched_look
from flywheel.experiment.confidence_sequence import Harm, Margin, judge, judge_share
from flywheel.experiment.corrections import holm
from flywheel.experiment.estimate import (
    Effect,
    Interval,
    adjusted_effect,
    lift,
    mean_effect,
    proportion_effect,
    ratio_effect,
)
from flywheel.experiment.futility import is_futile
from flywheel.experiment.moments import Moments, PairMoments
from flywheel.experiment.quantile import Latency, quantile_effect
from flywheel.experiment.sample_ratio import SampleRatio, sample_ratio
from flywheel.experiment.sequential import HorizonTest, Look, interval_width, look


class Kind(Enum):
    """What a metric is of a visitor, which decides how arms are compared."""

    SHARE = "share"
    MEAN = "mean"
    RATIO = "ratio"
    ADJUSTED = "adjusted"
    """A mean, with what the past explains taken out."""
    P50 = "p50"
    P95 = "p95"
    P99 = "p99"


Summary = Moments | PairMoments | Latency
"""Moments of shares and means, pairs of ratios and adjusted means, latency of quantiles."""

_COMPARE: dict[Kind, Callable[[Any, Any], Effect]] = {
    Kind.SHARE: proportion_effect,
    Kind.MEAN: mean_effect,
    Kind.RATIO: ratio_effect,
    Kind.ADJUSTED: adjusted_effect,
    Kind.P50: lambda variant, control: quantile_effect(variant, control, 0.5),
    Kind.P95: lambda variant, control: quantile_effect(variant, control, 0.95),
    Kind.P99: lambda variant, control: quantile_effect(variant, control, 0.99),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured."""

    name: str
    kind: Kind = Kind.SHARE
    more_is_better: bool = True
    in_percent: bool = False
    """Written as a share also where it is compared as a mean."""


@dataclass(frozen=True, slots=True)
class Guardrail:
    """A metric that must not get worse than its margin allows."""

    metric: Metric
    margin: Margin
    must_hold: bool = True
    """Nothing is shipped before harm is ruled out; without, it is enough that none is proven."""


@dataclass(frozen=True, slots=True)
class Design:
    """What was fixed before the start.

    Raises:
        ValueError: There are not two arms or more, or not as many weights.
    """

    arms: tuple[str, ...]
    """Control first."""
    weights: tuple[float, ...]
    test: HorizonTest
    """Of each variant with control: its level is its share of the test's."""
    primary: Metric
    planned_lift: float
    """Relative, above 0: how much better the variant is to be at least."""
    secondary: tuple[Metric, ...] = ()
    guardrails: tuple[Guardrail, ...] = ()
    stops_for_futility: bool = True
    correct: Callable[[dict[tuple[int, int], float]], dict[tuple[int, int], float]] = holm
    """How p-values of secondary metrics are adjusted."""
    batches: int = 0
    """Planned batches, where shares change with what is seen (a bandit); 0 where they stay. Only the primary metric is
    safe from that: secondary metrics and guardrails are taken of all visitors, and are right as long as nothing but the
    shares changes from batch to batch."""

    def __post_init__(self) -> None:
        if len(self.arms) < 2 or len(self.weights) != len(self.arms):
            raise ValueError(f"{len(self.arms)} arms and {len(self.weights)} weights: control, a variant, one of each")


@dataclass(frozen=True, slots=True)
class ArmSums:
    """What was counted of one arm, in the order of the design's metrics."""

    visitors: int
    primary: Summary
    secondary: tuple[Summary, ...] = ()
    guardrails: tuple[Summary, ...] = ()
    batches: tuple[Summary, ...] = ()
    """The primary metric of the visitors that were new in each batch; of a bandit alone."""


@dataclass(frozen=True, slots=True)
class Secondary:
    """A metric beside the primary one: told, never decided on."""

    effect: Effect
    look: Look
    adjusted_p: float
    """Over all secondary metrics of all variants, valid at any look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one variant."""

    name: str
    visitors: int
    effect: Effect
    look: Look
    lift: Interval | None
    """Relative, for display."""
    guarded: tuple[Effect, ...]
    """Of each guardrail."""
    harms: tuple[Harm, ...]
    secondary: tuple[Secondary, ...]
    is_futile: bool


@dataclass(frozen=True, slots=True)
class Analysis:
    """What is known of a test."""

    ratio: SampleRatio
    control_visitors: int
    findings: tuple[Finding, ...]
    """Of each variant, in the design's order."""


def analyse(
    design: Design, arms: Sequence[ArmSums], *, earlier_ratio: float = 1.0, ratio: SampleRatio | None = None
) -> Analysis:
    """Compare every variant with control.

    Args:
        design: What was fixed before the start.
        arms: What was counted, in the order of the design's arms.
        earlier_ratio: Least p-value of the sample ratio so far.
        ratio: The sample ratio, where weights were changed on the way (`stretched_sample_ratio`).

    Raises:
        ValueError: Arms or metrics are not as many as planned.
    """
    control = arms[0]
    held = ratio or sample_ratio([arm.visitors for arm in arms], design.weights, earlier=earlier_ratio)
    beside = _secondary(design, arms) if design.secondary else [()] * len(arms[1:])
    findings = tuple(
        _finding(design, name, arm, control, secondary)
        for name, arm, secondary in zip(design.arms[1:], arms[1:], beside, strict=True)
    )
    return Analysis(held, control.visitors, findings)


def _finding(design: Design, name: str, arm: ArmSums, control: ArmSums, secondary: tuple[Secondary, ...]) -> Finding:
    effect = _COMPARE[design.primary.kind](arm.primary, control.primary)
    found, relative = _looked(design, effect, arm, control)
    sides = zip(design.guardrails, arm.guardrails, control.guardrails, strict=True)
    guarded = tuple(_COMPARE[each.metric.kind](mine, other) for each, mine, other in sides)
    harms = tuple(_harm(*each) for each in zip(design.guardrails, guarded, strict=True))
    sign = 1.0 if design.primary.more_is_better else -1.0
    planned = sign * design.planned_lift * abs(effect.control)
    futile = (
        design.stops_for_futility
        and not design.batches
        and planned != 0
        and is_futile(design.test, found, effect, planned)
    )
    return Finding(name, arm.visitors, effect, found, relative, guarded, harms, secondary, futile)


def _looked(design: Design, effect: Effect, arm: ArmSums, control: ArmSums) -> tuple[Look, Interval | None]:
    if not design.batches:
        found = look(design.test, effect)
        width = interval_width(design.test, found.fraction)
        return found, lift(effect, width) if effect.is_normal else None
    compare = _COMPARE[design.primary.kind]
    batches = [compare(mine, other) for mine, other in zip(arm.batches, control.batches, strict=True)]
    level = design.test.level
    return batched_look(batches, design.batches, level), batched_lift(batches, design.batches, level)


def _secondary(design: Design, arms: Sequence[ArmSums]) -> list[tuple[Secondary, ...]]:
    """Compare what is beside the primary metric, corrected over all metrics of all variants."""
    seen: dict[tuple[int, int], tuple[Effect, Look]] = {}
    for variant, arm in enumerate(arms[1:]):
        each = zip(design.secondary, arm.secondary, arms[0].secondary, strict=True)
        for number, (metric, mine, other) in enumerate(each):
            effect = _COMPARE[metric.kind](mine, other)
            seen[variant, number] = effect, look(design.test, effect)
    adjusted = design.correct({key: found.p_value for key, (_, found) in seen.items()})
    return [
        tuple(Secondary(*seen[variant, number], adjusted[variant, number]) for number in range(len(design.secondary)))
        for variant in range(len(arms) - 1)
    ]


def _harm(guardrail: Guardrail, effect: Effect) -> Harm:
    if guardrail.metric.kind is Kind.SHARE:
        return judge_share(guardrail.margin, effect)
    return judge(guardrail.margin, effect)
