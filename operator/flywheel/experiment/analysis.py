"""All that the sums of all arms say at one moment: one result for each variant, before anything follows from it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

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
from flywheel.experiment.quantile import Histogram, quantile_effect
from flywheel.experiment.sample_ratio import SampleRatio, sample_ratio
from flywheel.experiment.sequential import HorizonTest, Look, interval_width, look


class Kind(Enum):
    """What a metric is of a visitor, which decides how arms are compared."""

    SHARE = "share"
    MEAN = "mean"
    RATIO = "ratio"
    ADJUSTED = "adjusted"
    """A mean, with what the past explains taken out."""
    P95 = "p95"


Summary = Moments | PairMoments | Histogram
"""Moments of shares and means, pairs of ratios and adjusted means, a histogram of latency."""

_COMPARE: dict[Kind, Callable[[Any, Any], Effect]] = {
    Kind.SHARE: proportion_effect,
    Kind.MEAN: mean_effect,
    Kind.RATIO: ratio_effect,
    Kind.ADJUSTED: adjusted_effect,
    Kind.P95: lambda variant, control: quantile_effect(variant, control, 0.95),
}


@dataclass(frozen=True, slots=True)
class Metric:
    """One thing that is measured."""

    name: str
    kind: Kind = Kind.SHARE
    more_is_better: bool = True


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


@dataclass(frozen=True, slots=True)
class Secondary:
    """A metric beside the primary one: told, never decided on."""

    effect: Effect
    look: Look
    adjusted_p: float
    """Over all secondary metrics of all variants (Holm), valid at any look."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of one variant."""

    name: str
    visitors: int
    effect: Effect
    look: Look
    lift: Interval | None
    """Relative, for display."""
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
    findings = [_finding(design, name, arm, control) for name, arm in zip(design.arms[1:], arms[1:], strict=True)]
    return Analysis(held, control.visitors, _corrected(findings) if design.secondary else tuple(findings))


def _finding(design: Design, name: str, arm: ArmSums, control: ArmSums) -> Finding:
    effect = _COMPARE[design.primary.kind](arm.primary, control.primary)
    found = look(design.test, effect)
    sign = 1.0 if design.primary.more_is_better else -1.0
    planned = sign * design.planned_lift * abs(effect.control)
    futile = design.stops_for_futility and planned != 0 and is_futile(design.test, found, effect, planned)
    secondary = []
    for metric, mine, other in zip(design.secondary, arm.secondary, control.secondary, strict=True):
        beside = _COMPARE[metric.kind](mine, other)
        seen = look(design.test, beside)
        secondary.append(Secondary(beside, seen, seen.p_value))
    return Finding(
        name,
        arm.visitors,
        effect,
        found,
        lift(effect, interval_width(design.test, found.fraction)) if effect.is_normal else None,
        tuple(
            _harm(guardrail, mine, other)
            for guardrail, mine, other in zip(design.guardrails, arm.guardrails, control.guardrails, strict=True)
        ),
        tuple(secondary),
        futile,
    )


def _harm(guardrail: Guardrail, arm: Summary, control: Summary) -> Harm:
    kind = guardrail.metric.kind
    effect = _COMPARE[kind](arm, control)
    return judge_share(guardrail.margin, effect) if kind is Kind.SHARE else judge(guardrail.margin, effect)


def _corrected(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    values = {
        f"{variant} {metric}": beside.look.p_value
        for variant, finding in enumerate(findings)
        for metric, beside in enumerate(finding.secondary)
    }
    adjusted = holm(values)
    return tuple(
        Finding(
            each.name,
            each.visitors,
            each.effect,
            each.look,
            each.lift,
            each.harms,
            tuple(
                Secondary(beside.effect, beside.look, adjusted[f"{variant} {metric}"])
                for metric, beside in enumerate(each.secondary)
            ),
            each.is_futile,
        )
        for variant, each in enumerate(findings)
    )
