"""Figures of a test in words, for its status and its report. Pure."""

import math

from flywheel.api.abtest_metrics import Guardrail as GuardrailSpec
from flywheel.api.abtest_metrics import Measured
from flywheel.experiment.analysis import Analysis, Design, Finding, Metric, Secondary
from flywheel.experiment.confidence_sequence import Harm, Standing
from flywheel.experiment.estimate import Effect, Interval
from flywheel.experiment.probability import BetaPosterior, NormalPosterior, Posterior, probability_best
from flywheel.experiment.sentences import number, percent, signed
from flywheel.insight.arms import ArmFigures
from flywheel.plan import Manifest

ENOUGH = 500
"""Conversions, and visitors without one, from which on a share is as good as normal to three digits."""
_HARM = {Standing.HELD: "Holds", Standing.BREACHED: "Breached", Standing.OPEN: "Undecided"}


def value_text(metric: Measured, value: float) -> str:
    """Write one figure of a metric in its unit."""
    if metric.event is not None or metric.kind == "errors":
        return percent(value)
    unit = " s" if metric.time_to is not None else " ms" if metric.kind == "latency" else ""
    return f"{number(value)}{unit}"


def direction_text(metric: Metric, direction: int) -> str:
    """Say what a proven difference means."""
    if direction == 0:
        return "Undecided"
    return "Better" if (direction > 0) == metric.more_is_better else "Worse"


def comparison(metric: Measured, planned: Metric, found: Finding) -> Manifest:
    """Tell how a variant does in the primary metric."""
    told: Manifest = {"variant": found.name, "value": value_text(metric, found.effect.variant)}
    return told | _relative(found.effect, found.lift) | _proof(found.look.p_value, planned, found.look.direction)


def beside(metric: Measured, planned: Metric, variant: str, found: Secondary, level: float) -> Manifest:
    """Tell how a variant does in a secondary metric; what is proven is proven of all of them together."""
    told: Manifest = {"variant": variant, "value": value_text(metric, found.effect.variant)}
    difference = found.effect.difference
    direction = 0 if found.adjusted_p > level else 1 if difference > 0 else -1
    relative = _scaled(found.look.interval, found.effect.control)
    return told | _relative(found.effect, relative) | _proof(found.adjusted_p, planned, direction)


def guarded(spec: GuardrailSpec, variant: str, harm: Harm, effect: Effect) -> Manifest:
    """Tell how a variant does in a guardrail; a rise of what must not fall is a negative harm."""
    told: Manifest = {"variant": variant, "verdict": _HARM[harm.standing]}
    write = _points if spec.errors else _of_log_ratio
    sign = 1.0 if spec.max_increase is not None else -1.0
    if effect.variant_count:
        told["value"] = value_text(spec, effect.variant)
    if math.isfinite(harm.lower) and math.isfinite(harm.upper):
        ends = sorted((sign * harm.lower, sign * harm.upper))
        told["estimate"] = write(sign * harm.estimate)
        told["interval"] = {"low": write(ends[0]), "high": write(ends[1])}
    return told


def margin_text(spec: GuardrailSpec) -> str:
    """Write how much worse a variant may be."""
    if spec.errors:
        return _points(float(spec.max_increase or 0.0))
    return signed(spec.max_increase if spec.max_increase is not None else -float(spec.max_decrease or 0.0))


def posteriors(design: Design, analysis: Analysis) -> list[Posterior]:
    """Give what is believed of each arm, control first; nothing while an arm says too little."""
    if not analysis.findings:
        return []
    effects = [found.effect for found in analysis.findings]
    found = [
        _posterior(effects[0].control, effects[0].control_error, effects[0].control_count, design.primary),
        *(_posterior(each.variant, each.variant_error, each.variant_count, design.primary) for each in effects),
    ]
    known = [each for each in found if each is not None]
    return known if len(known) == len(found) else []


def best(design: Design, analysis: Analysis) -> dict[str, float]:
    """Give for each arm how probable it is to be the best; nothing is decided on it."""
    known = posteriors(design, analysis)
    if not known:
        return {}
    chances = probability_best(known, more_is_better=design.primary.more_is_better)
    return dict(zip(design.arms, chances, strict=True))


def conversions(metric: Measured, arm: ArmFigures) -> int | None:
    """Count the visitors with the event, where the metric is one."""
    return round(arm.outcomes[0].y) if metric.event is not None and arm.outcomes else None


def _posterior(value: float, error: float, count: int, metric: Metric) -> Posterior | None:
    exact = min(value, 1.0 - value) * count < ENOUGH
    if metric.kind.value == "share" and exact:
        return BetaPosterior(1.0 + value * count, 1.0 + (1.0 - value) * count)
    return NormalPosterior(value, error) if 0 < error < math.inf else None


def _relative(effect: Effect, found: Interval | None) -> Manifest:
    if found is None or effect.control == 0:
        return {}
    return {
        "estimate": signed(effect.difference / abs(effect.control)),
        "interval": {"low": signed(found.lower), "high": signed(found.upper)},
    }


def _scaled(found: Interval, control: float) -> Interval | None:
    if control == 0 or not math.isfinite(found.lower):
        return None
    whole = abs(control)
    return Interval(found.estimate / whole, found.lower / whole, found.upper / whole)


def _proof(p_value: float, planned: Metric, direction: int) -> Manifest:
    return {"pValue": f"{p_value:.2g}", "verdict": direction_text(planned, direction)}


def _points(value: float) -> str:
    return f"{value * 100:+.2g} points"


def _of_log_ratio(value: float) -> str:
    return signed(math.expm1(value)) if value < 700 else "any"
