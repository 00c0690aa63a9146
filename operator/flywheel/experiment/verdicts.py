"""One look at a test, from its sums to what is to be done: also with shares that changed on the way. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.experiment.analysis import Analysis, Design, analyse
from flywheel.experiment.bandit import FLOOR, allocation, least_batch
from flywheel.experiment.decision import decide
from flywheel.experiment.figures import best, posteriors
from flywheel.experiment.machine import Looked
from flywheel.experiment.plan import BATCHES, design_of, is_bandit, limits_of, sums_of
from flywheel.experiment.sample_ratio import SampleRatio, Suspect, stretched_sample_ratio, suspects
from flywheel.experiment.state import ABTestState, Sizing
from flywheel.experiment.told import Numbers
from flywheel.insight.arms import ArmFigures

ENDLESS = Sizing(variant_cap=10**12, control_cap=10**12, baseline=0.0)
"""So many that nothing is ever proven: for a test whose size is not known yet."""
Stretches = Sequence[Mapping[str, ArmFigures]]
"""For each stretch of time with the same shares, what was counted of the visitors who were new in it."""


def judged(
    test: ABTest,
    state: ABTestState,
    sizing: Sizing | None,
    arms: Mapping[str, ArmFigures],
    now: datetime,
    most: timedelta | None = None,
    stretches: Stretches = (),
) -> tuple[Numbers, Looked]:
    """Analyse what was counted, and decide on it.

    Args:
        test: The test.
        state: Where it stands.
        sizing: Its size; None while nobody knows it: then only guardrails and the sample ratio can end it.
        arms: What was counted of all visitors.
        now: Up to when.
        most: The time that it has, where that is less than it asks for; see `limits_of`.
        stretches: What was counted of the visitors of each stretch; needed where shares have changed.
    """
    withdrawn = frozenset(state.withdrawn)
    design = design_of(test, sizing or ENDLESS, withdrawn)
    if sizing is None:
        design = replace(design, stops_for_futility=False)
    complete = tuple(stretches[: len(state.stretches) - 1]) if is_bandit(test) else ()
    sums = sums_of(test, design, arms, complete)
    ratio = _ratio(design, state, stretches if len(state.stretches) > 1 else [arms])
    analysis = analyse(design, sums, earlier_ratio=state.least_ratio, ratio=ratio)
    decision = decide(design, analysis, limits_of(test, most), state.elapsed(now), withdrawn_before=withdrawn)
    weights = None
    if is_bandit(test) and decision.verdict is None and sizing is not None:
        weights = next_weights(test, design, analysis, state, sizing, stretches)
    return Numbers(arms, design, analysis, best(design, analysis)), Looked(now, analysis, decision, weights)


def _ratio(design: Design, state: ABTestState, stretches: Stretches) -> SampleRatio | None:
    if not state.stretches or len(stretches) != len(state.stretches):
        return None
    held = [
        ([arms.get(name, ArmFigures()).visitors for name in design.arms], [own.weights[name] for name in design.arms])
        for own, arms in zip(state.stretches, stretches, strict=True)
        if all(own.weights.get(name) for name in design.arms)
    ]
    return stretched_sample_ratio(held, earlier=state.least_ratio) if held else None


def hint_of(test: ABTest, state: ABTestState, causes: Mapping[str, Mapping[str, Mapping[str, int]]]) -> str:
    """Say in words where a mismatch of the sample ratio comes from.

    Args:
        test: The test.
        state: Where it stands.
        causes: Dimension -> value -> arm -> visitors.
    """
    names = [each.name for each in test.spec.variants if each.name not in state.withdrawn]
    weights = [each.weight for each in test.spec.variants if each.name in names]
    if len(state.stretches) > 1:
        return "shares have changed on the way, so no single browser, channel or edge pod can be named"
    counts = {
        dimension: {value: [arms.get(name, 0) for name in names] for value, arms in values.items()}
        for dimension, values in causes.items()
    }
    found = suspects(counts, weights)
    if not found:
        return "no browser, channel, device or edge pod stands out: look at the assignment itself, and at lost requests"
    said = [_suspicion(each, names) for each in found[:3]]
    if not found[0].explains:
        said.append("none of them explains it alone, so the cause lies before all of them")
    return "; ".join(said)


def _suspicion(found: Suspect, names: Sequence[str]) -> str:
    had = ", ".join(f"{name} {share:.1%}" for name, share in zip(names, found.shares, strict=True))
    alone = ", and without it all is as it should be" if found.explains else ""
    return f"{found.dimension} {found.value or 'unknown'} has {had}{alone}"


def next_weights(
    test: ABTest,
    design: Design,
    analysis: Analysis,
    state: ABTestState,
    sizing: Sizing,
    stretches: Stretches,
) -> dict[str, int] | None:
    """Share new visitors of a bandit out anew; None before the batch that is under way has its visitors."""
    if len(stretches) != len(state.stretches) or len(state.stretches) >= BATCHES or not analysis.findings:
        return None
    batch = sum(each.visitors for each in stretches[-1].values())
    variants = len(test.spec.variants) - 1
    whole = sizing.control_cap + variants * sizing.variant_cap
    least = math.ceil(whole / BATCHES)
    if test.spec.metrics.primary.event is not None:
        least = max(least, least_batch(sizing.baseline, FLOOR))
    if batch < least:
        return None
    known = posteriors(design, analysis)
    if not known:
        return None
    shares = allocation(known, more_is_better=design.primary.more_is_better)
    found = {each.name: 0 for each in test.spec.variants}
    return found | dict(zip(design.arms, shares, strict=True))
