"""Makes the report of a test from what was planned, seen and decided. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flywheel.api.abtest import ABTest
from flywheel.experiment.analysis import Analysis, Design, Finding, analyse
from flywheel.experiment.asking import Day as DayOfVisitors
from flywheel.experiment.asking import Step, as_arms
from flywheel.experiment.figures import best
from flywheel.experiment.novelty import novelty
from flywheel.experiment.plan import design_of, is_bandit, sums_of
from flywheel.experiment.report_model import (
    MOST_DAYS,
    MOST_LOOKS,
    ArmAt,
    Day,
    LookAt,
    Report,
    ReportDesign,
    VariantAt,
    VariantDesign,
)
from flywheel.experiment.state import ABTestState, Sizing
from flywheel.experiment.told_model import read_told
from flywheel.insight.arms import ArmFigures, Sums

STEPS = 60
WEEK_DAYS = 7
_SPARE = timedelta(seconds=1)


def steps_of(started_at: datetime, until: datetime, most: int = STEPS) -> tuple[datetime, ...]:
    """Give moments from the start to the end at which the sums are asked for, at most one a second."""
    whole = max(_SPARE, until - started_at)
    count = max(1, min(most, int(whole / _SPARE)))
    return tuple(started_at + whole * number / count for number in range(1, count + 1))


def look_at(at: datetime, design: Design, analysis: Analysis, arms: Mapping[str, ArmFigures]) -> LookAt:
    """Write one look with its exact figures."""
    chances = best(design, analysis)
    return LookAt(
        at=at,
        ratio_p=analysis.ratio.p_value,
        arms={name: _arm(arms.get(name, ArmFigures()), design) for name in design.arms},
        variants={each.name: _variant(each, chances.get(each.name)) for each in analysis.findings},
    )


def looks_of(test: ABTest, state: ABTestState, sizing: Sizing, series: Sequence[Step]) -> tuple[LookAt, ...]:
    """Analyse the primary metric as it was at each of several moments.

    Of a bandit only visitors and values are told: its intervals come from its batches.
    """
    plain = test.model_copy(update={"spec": _primary_only(test)})
    design = design_of(plain, sizing)
    found = []
    for step in series:
        arms = as_arms(step.arms)
        if sum(each.visitors for each in arms.values()) == 0:
            continue
        at = datetime.fromtimestamp(step.at / 1000, tz=UTC)
        analysis = analyse(replace(design, batches=0), sums_of(plain, design, arms))
        look = look_at(at, replace(design, batches=0), analysis, arms)
        if is_bandit(test):
            bare = {name: msgspec.structs.replace(each, lower=None, upper=None) for name, each in look.variants.items()}
            bare = {
                name: msgspec.structs.replace(each, lift_lower=None, lift_upper=None) for name, each in bare.items()
            }
            look = msgspec.structs.replace(look, variants=bare, ratio_p=None)
        elif len(state.stretches) > 1:
            # Weights have changed on the way: the plain ratio of all visitors says nothing.
            look = msgspec.structs.replace(look, ratio_p=None)
        found.append(look)
    return tuple(found[-MOST_LOOKS:])


def _primary_only(test: ABTest) -> Any:
    metrics = test.spec.metrics.model_copy(update={"secondary": (), "guardrails": ()})
    return test.spec.model_copy(update={"metrics": metrics})


def days_of(test: ABTest, days: Sequence[DayOfVisitors]) -> tuple[Day, ...]:
    """Write the visitors who came on each day."""
    is_ratio = test.spec.metrics.primary.ratio is not None
    return tuple(
        Day(day=each.day, arms={name: _counted(arm, is_ratio=is_ratio) for name, arm in as_arms(each.arms).items()})
        for each in days[-MOST_DAYS:]
    )


def report_of(
    test: ABTest,
    state: ABTestState,
    status: Mapping[str, Any],
    time_zone: str,
    looks: Sequence[LookAt],
    days: Sequence[Day],
    now: datetime,
) -> Report:
    """Put everything together that is known of a test.

    Raises:
        UnreadableStatus: The status is none of ours.
    """
    told = read_told(status)
    return Report(
        test=test.name,
        namespace=test.namespace,
        campaign=test.spec.campaign,
        service=test.spec.service,
        hypothesis=test.spec.hypothesis or "",
        state=state.state,
        started_at=state.started_at,
        ended_at=state.ended_at,
        paused_seconds=state.paused_seconds,
        updated_at=now,
        time_zone=time_zone,
        design=_design(test, state),
        looks=tuple(looks),
        primary=told.primary,
        secondary=told.secondary,
        checks=told.checks,
        variants=told.variants,
        days=tuple(days),
        decision=told.decision,
        notes=notes_of(test, state, days, now),
    )


def _design(test: ABTest, state: ABTestState) -> ReportDesign:
    spec = test.spec
    sizing = state.sizing
    return ReportDesign(
        alpha=spec.statistics.alpha,
        power=spec.statistics.power,
        method=spec.statistics.method,
        minimum_effect=spec.metrics.primary.minimum_effect,
        direction=spec.metrics.primary.direction,
        primary=spec.metrics.primary.label,
        kind=spec.metrics.primary.kind,
        variant_cap=sizing.variant_cap if sizing else None,
        control_cap=sizing.control_cap if sizing else None,
        baseline=sizing.baseline if sizing else None,
        minimum_duration=spec.decision.minimum_duration.total_seconds(),
        maximum_duration=spec.decision.maximum_duration.total_seconds(),
        whole_weeks=spec.decision.whole_weeks,
        promote=spec.decision.promote,
        variants=tuple(
            VariantDesign(
                name=each.name,
                control=each.control,
                weight=each.weight / 10_000,
                override=each.override.model_dump(mode="json", exclude_unset=True, by_alias=True, warnings=False)
                if each.override
                else {},
            )
            for each in spec.variants
        ),
    )


def notes_of(test: ABTest, state: ABTestState, days: Sequence[Day], now: datetime) -> tuple[str, ...]:
    """Say what a reader has to know to read the figures well."""
    notes = [*_weekdays(state, now), *_novelty(test, days)]
    notes += [
        f"The service was released at {moment:%Y-%m-%d %H:%M} UTC. All variants are made of it, so they stay "
        "comparable, but figures from before and after are of two versions."
        for moment in state.changes
    ]
    if len(state.stretches) > 1 and not is_bandit(test):
        notes.append(
            "Weights were changed while the test ran. Visitors who were moved count where they were first; where days "
            "differ much from each other, the comparison of all visitors together leans to the days with more of them."
        )
    for name, moment in state.withdrawn.items():
        notes.append(f"{name} broke a guardrail and lost its visitors at {moment:%Y-%m-%d %H:%M} UTC.")
    if state.paused_seconds:
        notes.append(f"The test was paused for {state.paused_seconds / 3600:.1f} hours; nobody was assigned meanwhile.")
    return tuple(notes)


def _weekdays(state: ABTestState, now: datetime) -> list[str]:
    days = state.elapsed(now) / timedelta(days=1)
    if state.started_at is None:
        return []
    if days < WEEK_DAYS:
        told = f"The test ran for {days:.1f} days, so not every day of the week is in it"
        return [f"{told}: what holds on some need not hold on others."]
    if days % WEEK_DAYS > 0.5:
        return ["The test did not run for whole weeks, so some days of the week weigh more than others."]
    return []


def _novelty(test: ABTest, days: Sequence[Day]) -> list[str]:
    if test.spec.metrics.primary.event is None:
        return []
    others = [each.name for each in test.spec.variants if not each.control]
    return list(novelty(days, test.spec.control.name, others))


def _arm(arm: ArmFigures, design: Design) -> ArmAt:
    return _counted(arm, is_ratio=design.primary.kind.value == "ratio")


def _counted(arm: ArmFigures, *, is_ratio: bool) -> ArmAt:
    sums = arm.outcomes[0] if arm.outcomes else Sums()
    below = sums.x if is_ratio else float(arm.visitors)
    return ArmAt(visitors=arm.visitors, total=sums.y, value=sums.y / below if below else None)


def _variant(found: Finding, chance: float | None) -> VariantAt:
    interval, lift = found.look.interval, found.lift
    return VariantAt(
        difference=_finite(found.effect.difference),
        lower=_finite(interval.lower),
        upper=_finite(interval.upper),
        lift=_finite(lift.estimate) if lift else None,
        lift_lower=_finite(lift.lower) if lift else None,
        lift_upper=_finite(lift.upper) if lift else None,
        best=chance,
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
