"""What is told on the status of an A/B test. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_metrics import Guardrail
from flywheel.api.abtest_variant import Variant
from flywheel.experiment import figures as words
from flywheel.experiment.analysis import Analysis, Design
from flywheel.experiment.plan import BATCHES, is_bandit
from flywheel.experiment.sentences import percent, time_left
from flywheel.experiment.state import ABTestState, Sizing, write_state
from flywheel.insight.arms import ArmFigures
from flywheel.plan import Manifest

LOOKED = ("updatedAt", "visitors", "sizing", "primary", "secondary", "checks")
"""Parts of the status that only a look changes; between looks they stay as they are."""
_DAY = timedelta(days=1)
_FIGURES = ("visitors", "conversions", "value", "estimate", "interval", "best")
MOST_DAYS = 3650.0
LEAST_CHANCE = 0.001


@dataclass(frozen=True, slots=True)
class Numbers:
    """What the newest look has counted, and what follows from it."""

    arms: Mapping[str, ArmFigures]
    design: Design | None = None
    analysis: Analysis | None = None
    """None while too little is known."""
    best: Mapping[str, float] = field(default_factory=dict)
    """How probable each arm is to be the best."""
    hint: str = ""
    """Where a mismatch of the sample ratio comes from."""


@dataclass(frozen=True, slots=True)
class Pods:
    """The pods of one variant."""

    slot: str
    desired: int
    ready: int
    message: str = ""


def status_of(
    test: ABTest,
    state: ABTestState,
    before: Mapping[str, Any],
    conditions: Sequence[Manifest],
    *,
    numbers: Numbers | None,
    pods: Mapping[str, Pods],
    ends_at: datetime | None,
    now: datetime,
) -> Manifest:
    """Write a status.

    Args:
        test: The test.
        state: Where it stands now.
        before: The status as it was.
        conditions: As they are to be.
        numbers: The newest look; None where none was made.
        pods: Of each variant.
        ends_at: When it ends at the latest.
        now: The time.
    """
    moments = {"startedAt": state.started_at, "pausedAt": state.paused_at, "endsAt": ends_at}
    status: Manifest = {
        "observedGeneration": test.metadata.generation,
        "state": state.state,
        "conditions": list(conditions),
        **{name: written(moment) for name, moment in moments.items() if moment is not None},
        **({"pausedFor": round(state.paused_seconds)} if state.paused_seconds else {}),
        "variants": [_variant(test, each, state, before, numbers, pods) for each in test.spec.variants],
        "record": write_state(state),
    }
    if state.decision is not None:
        status["decision"] = _decision(state)
    if "report" in before:
        status["report"] = before["report"]
    if numbers is None:
        return status | {name: before[name] for name in LOOKED if name in before}
    return status | _looked(test, state, numbers, ends_at, now)


def _looked(test: ABTest, state: ABTestState, numbers: Numbers, ends_at: datetime | None, now: datetime) -> Manifest:
    told: Manifest = {
        "updatedAt": written(state.looked_at or now),
        "visitors": sum(each.visitors for each in numbers.arms.values()),
        "sizing": sizing_of(test, state, numbers.arms, ends_at, now),
    }
    if numbers.analysis is None or numbers.design is None:
        return told
    metrics, design, analysis = test.spec.metrics, numbers.design, numbers.analysis
    findings = analysis.findings
    if findings:
        told["primary"] = {
            "name": metrics.primary.label,
            "control": words.value_text(metrics.primary, findings[0].effect.control),
            "variants": [words.comparison(metrics.primary, design.primary, each) for each in findings],
        }
    told["secondary"] = [
        {
            "name": metric.label,
            **({"control": words.value_text(metric, findings[0].secondary[at].effect.control)} if findings else {}),
            "variants": [
                words.beside(metric, planned, each.name, each.secondary[at], test.spec.statistics.alpha)
                for each in findings
            ],
        }
        for at, (metric, planned) in enumerate(zip(metrics.secondary, design.secondary, strict=True))
    ]
    told["checks"] = _checks(test, numbers, analysis)
    return told


def _checks(test: ABTest, numbers: Numbers, analysis: Analysis) -> Manifest:
    ratio: Manifest = {
        "pValue": f"{analysis.ratio.p_value:.2g}",
        "verdict": "Violated" if analysis.ratio.is_mismatch else "Holds",
    }
    if numbers.hint:
        ratio["hint"] = numbers.hint[:1024]
    guardrails = [
        {
            "name": spec.label,
            "margin": words.margin_text(spec),
            **_controlled(spec, analysis, at),
            "variants": [
                words.guarded(spec, each.name, each.harms[at], each.guarded[at]) for each in analysis.findings
            ],
        }
        for at, spec in enumerate(test.spec.metrics.guardrails)
    ]
    return {"sampleRatio": ratio, "guardrails": guardrails}


def _controlled(spec: Guardrail, analysis: Analysis, at: int) -> Manifest:
    found = next((each.guarded[at] for each in analysis.findings if each.guarded[at].control_count), None)
    return {"control": words.value_text(spec, found.control)} if found is not None else {}


def _variant(
    test: ABTest,
    variant: Variant,
    state: ABTestState,
    before: Mapping[str, Any],
    numbers: Numbers | None,
    pods: Mapping[str, Pods],
) -> Manifest:
    entry: Manifest = {"name": variant.name, "weight": _weight(variant, state)}
    own = pods.get(variant.name)
    if own is not None:
        entry |= {"slot": own.slot, "desired": own.desired, "ready": own.ready}
        if own.message:
            entry["message"] = own.message
    if variant.name in state.withdrawn:
        entry["message"] = "it broke a guardrail: its visitors get the control"
    if numbers is None:
        held: Mapping[str, Any] = next(
            (each for each in before.get("variants") or () if each.get("name") == variant.name), {}
        )
        return entry | {name: held[name] for name in _FIGURES if name in held}
    return entry | _figures(test, variant, numbers)


def _weight(variant: Variant, state: ABTestState) -> str:
    share = state.stretches[-1].weights.get(variant.name) if state.stretches else None
    return f"{(variant.weight if share is None else share) / 100:g}%"


def _figures(test: ABTest, variant: Variant, numbers: Numbers) -> Manifest:
    arm, metric = numbers.arms.get(variant.name, ArmFigures()), test.spec.metrics.primary
    told: Manifest = {"visitors": arm.visitors}
    counted = words.conversions(metric, arm)
    if counted is not None:
        told["conversions"] = counted
    if numbers.analysis is None or numbers.design is None:
        return told
    found = next((each for each in numbers.analysis.findings if each.name == variant.name), None)
    if found is not None:
        compared = words.comparison(metric, numbers.design.primary, found)
        told |= {name: compared[name] for name in ("value", "estimate", "interval") if name in compared}
    elif variant.control and numbers.analysis.findings:
        told["value"] = words.value_text(metric, numbers.analysis.findings[0].effect.control)
    chance = numbers.best.get(variant.name)
    return told | ({"best": _chance(chance)} if chance is not None else {})


def _chance(chance: float) -> str:
    # More than three digits would be of no use to anybody, and nothing is certain.
    return percent(round(min(max(chance, LEAST_CHANCE), 1 - LEAST_CHANCE), 3))


def sizing_of(
    test: ABTest, state: ABTestState, arms: Mapping[str, ArmFigures], ends_at: datetime | None, now: datetime
) -> Manifest:
    """Tell how many visitors the test needs, and whether they will be there in time."""
    visitors = sum(each.visitors for each in arms.values())
    per_day = visitors / max(state.elapsed(now) / _DAY, 1e-9) if visitors else 0.0
    told: Manifest = {"visitorsPerDay": min(round(per_day), 1 << 50)}
    if state.sizing is None:
        return told | {"message": "too few visitors so far to say how many are needed"}
    sizing = state.sizing
    told |= {
        "visitorsPerVariant": sizing.variant_cap,
        "baseline": words.value_text(test.spec.metrics.primary, sizing.baseline),
    }
    done = _done(test, state, sizing, arms)
    told["progress"] = f"{math.floor(done * 100)}%"
    if done <= 0 or state.ended_at is not None:
        return told
    needed = min(MOST_DAYS, state.elapsed(now) / _DAY / done)
    left = needed * (1.0 - done)
    told |= {"daysNeeded": _days(needed), "daysLeft": _days(left)}
    if ends_at is not None and now + timedelta(days=left) > ends_at:
        late = time_left(now + timedelta(days=left) - ends_at)
        told["message"] = (
            f"at this rate the planned visitors are there {late} after the end: raise traffic, let it run "
            "longer, or look for a larger minimumEffect"
        )
    return told


def _done(test: ABTest, state: ABTestState, sizing: Sizing, arms: Mapping[str, ArmFigures]) -> float:
    """Give the share of the plan that has been seen: batches of a bandit, else visitors of the arm that lags most."""
    if is_bandit(test):
        return max(0, len(state.stretches) - 1) / BATCHES
    shares = [
        arms.get(each.name, ArmFigures()).visitors / (sizing.control_cap if each.control else sizing.variant_cap)
        for each in test.spec.variants
        if each.name not in state.withdrawn
    ]
    return min(1.0, *shares) if shares else 0.0


def _days(days: float) -> str:
    return f"{days:.1f}" if days >= 1 else f"{days:.3f}"


def _decision(state: ABTestState) -> Manifest:
    decision = state.decision
    if decision is None:
        return {}
    told: Manifest = {"verdict": decision.verdict, "reason": decision.sentence[:1024], "at": written(decision.at)}
    if decision.winner:
        told["winner"] = decision.winner
    if decision.promoted_at is not None:
        told["promotedAt"] = written(decision.promoted_at)
    if decision.revision:
        told["revision"] = decision.revision
    return told


def written(moment: datetime) -> str:
    """Write a moment for a status."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
