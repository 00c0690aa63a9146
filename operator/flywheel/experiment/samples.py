"""What Prometheus is told of an A/B test. Pure.

From the status, which is always there, also after a restart; and from the newest look, which has it exactly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from flywheel.experiment.reading import figure
from flywheel.experiment.report_model import LookAt
from flywheel.experiment.state import Standing
from flywheel.experiment.told_model import Told, ToldMetric, ToldVariant, UnreadableStatus, read_told

STATES: tuple[str, ...] = get_args(Standing)
PROMOTE_ANNOTATION = "flywheel.dev/promote"
OF_TEST = ("namespace", "campaign", "test")
FAMILIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "visitors": ("Visitors who were served it, each once.", ("variant",)),
    "conversions": ("Visitors with the event of the primary metric.", ("variant",)),
    "value": ("The primary metric.", ("variant",)),
    "weight": ("Share of new participants who get it now.", ("variant",)),
    "lift": ("Change of the primary metric against the control, relative.", ("variant",)),
    "lift_lower": ("Lower bound of that change.", ("variant",)),
    "lift_upper": ("Upper bound of that change.", ("variant",)),
    "probability_best": ("Probability to be the best of all; it decides nothing.", ("variant",)),
    "planned_lift": ("The smallest change that is worth knowing, with the sign that is better.", ()),
    "sample_ratio_p": ("p-value of the sample ratio, of all looks together.", ()),
    "sample_ratio_violated": ("1 if visitors were not assigned as the weights say.", ()),
    "guardrail_estimate": ("Change of a guardrail against the control, as its margin.", ("variant", "metric")),
    "guardrail_margin": ("How much of a change is allowed.", ("metric",)),
    "guardrail_breached": ("1 if the change is surely beyond the margin.", ("variant", "metric")),
    "progress_ratio": ("Share of the planned visitors who are there.", ()),
    "days_left": ("Days that are left at most.", ()),
    "state": ("1 for the state that the test is in.", ("state",)),
    "verdict": ("1 for what was decided.", ("verdict", "winner")),
    "waits_for_person": ("1 while a winner waits for somebody to promote it.", ()),
    "updated_timestamp_seconds": ("When the figures were made; at first, when the test began.", ()),
}
"""By name after `flywheel_abtest_`: what it is, and its labels after those of the test."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One number of a family."""

    family: str
    labels: tuple[str, ...]
    """Values, in the order of OF_TEST and the family's own."""
    value: float


def samples(manifest: Mapping[str, Any], look: LookAt | None = None) -> tuple[Sample, ...]:
    """Tell all that is known of a test.

    Args:
        manifest: The ABTest as the API server has it. Of what cannot be read, nothing is told.
        look: The newest look, if it was made by this process.
    """
    spec, metadata = manifest.get("spec") or {}, manifest.get("metadata") or {}
    try:
        told = read_told(manifest.get("status") or {})
    except UnreadableStatus:
        return ()
    own = (str(metadata.get("namespace", "")), str(spec.get("campaign", "")), str(metadata.get("name", "")))
    exact = look if look is not None and is_of(told, look) else None
    found = (*_standing(told, spec, metadata), *_figures(told, exact), *_checks(told, exact))
    return tuple(Sample(family, (*own, *labels), value) for family, labels, value in found if value is not None)


def is_of(told: Told, look: LookAt) -> bool:
    """Tell whether a look is at least as new as the figures of a status: another process may have looked since."""
    return told.updated_at is None or look.at.replace(microsecond=0) >= told.updated_at.replace(microsecond=0)


Row = tuple[str, tuple[str, ...], float | None]


def _standing(told: Told, spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> Iterator[Row]:
    for state in STATES:
        yield "state", (state,), float(told.state == state)
    if told.decision is not None:
        yield "verdict", (told.decision.verdict, told.decision.winner), 1.0
    yield "waits_for_person", (), float(waits_for_person(told, spec, metadata))
    yield "progress_ratio", (), figure(told.sizing.progress)
    yield "days_left", (), figure(told.sizing.days_left)
    yield "planned_lift", (), planned_lift(spec)
    yield "updated_timestamp_seconds", (), _seconds(told.updated_at or told.started_at)


def waits_for_person(told: Told, spec: Mapping[str, Any], metadata: Mapping[str, Any]) -> bool:
    """Tell whether a winner is there and nobody has said yet what becomes of it."""
    decision = told.decision
    is_manual = ((spec.get("decision") or {}).get("promote") or "Manual") == "Manual"
    is_commanded = PROMOTE_ANNOTATION in (metadata.get("annotations") or {})
    is_won = told.state == "Decided" and decision is not None and decision.verdict == "Ship"
    return is_won and is_manual and not is_commanded


def planned_lift(spec: Mapping[str, Any]) -> float | None:
    """Give the change that a test was made for: below 0 where less is better."""
    primary = (spec.get("metrics") or {}).get("primary") or {}
    effect = figure(str(primary.get("minimumEffect", "")))
    usual = "Decrease" if primary.get("timeTo") else "Increase"
    return effect if effect is None or (primary.get("direction") or usual) == "Increase" else -effect


def _figures(told: Told, look: LookAt | None) -> Iterator[Row]:
    for each in told.variants:
        own = (each.name,)
        yield "weight", own, figure(each.weight)
        exact = look.variants.get(each.name) if look else None
        arm = look.arms.get(each.name) if look else None
        yield "visitors", own, float(arm.visitors if arm else each.visitors)
        yield "conversions", own, None if each.conversions is None else float(each.conversions)
        yield "value", own, arm.value if arm and arm.value is not None else figure(each.value)
        lift, lower, upper = _lift(each)
        yield "lift", own, exact.lift if exact else lift
        yield "lift_lower", own, exact.lift_lower if exact else lower
        yield "lift_upper", own, exact.lift_upper if exact else upper
        best = exact.best if exact and exact.best is not None else figure(each.best)
        yield "probability_best", own, best


def _lift(variant: ToldVariant) -> tuple[float | None, float | None, float | None]:
    bounds = variant.interval
    return figure(variant.estimate), figure(bounds.low) if bounds else None, figure(bounds.high) if bounds else None


def _checks(told: Told, look: LookAt | None) -> Iterator[Row]:
    ratio = told.checks.sample_ratio
    if ratio is not None:
        exact = look.ratio_p if look else None
        yield "sample_ratio_p", (), figure(ratio.p_value) if exact is None else exact
        yield "sample_ratio_violated", (), float(ratio.verdict == "Violated")
    for guardrail in told.checks.guardrails:
        yield from _guardrail(guardrail)


def _guardrail(guardrail: ToldMetric) -> Iterator[Row]:
    yield "guardrail_margin", (guardrail.name,), figure(guardrail.margin)
    for each in guardrail.variants:
        own = (each.variant, guardrail.name)
        yield "guardrail_estimate", own, figure(each.estimate)
        yield "guardrail_breached", own, float(each.verdict == "Breached")


def _seconds(moment: datetime | None) -> float | None:
    return None if moment is None else moment.timestamp()
