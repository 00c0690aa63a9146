"""What is told on the status of an A/B test. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from flywheel.api.abtest import ABTest, Variant
from flywheel.experiment.analysis import Analysis, Finding
from flywheel.experiment.state import ABTestState, write_state
from flywheel.insight.arms import ArmFigures
from flywheel.plan import Manifest

FIGURES = ("visitors", "variants", "checks")
"""Parts of the status that only a look changes; between looks they stay as they are."""


def test_status(
    test: ABTest,
    state: ABTestState,
    before: Mapping[str, Any],
    conditions: Sequence[Manifest],
    figures: Mapping[str, ArmFigures] | None,
    analysis: Analysis | None,
) -> Manifest:
    """Write a status.

    Args:
        test: The test.
        state: Where it stands now.
        before: The status as it was.
        conditions: As they are to be.
        figures: What the newest look has counted; None where none was made.
        analysis: What follows from it; None while too little is known.
    """
    status: Manifest = {
        "observedGeneration": test.metadata.generation,
        "conditions": list(conditions),
        "test": write_state(state),
    }
    if figures is None:
        return status | {name: before[name] for name in FIGURES if name in before}
    findings = {each.name: each for each in analysis.findings} if analysis else {}
    status["visitors"] = sum(each.visitors for each in figures.values())
    status["variants"] = [
        _variant(each, figures.get(each.name, ArmFigures()), findings.get(each.name)) for each in test.spec.variants
    ]
    if analysis:
        status["checks"] = {
            "sampleRatio": {"pValue": f"{analysis.ratio.p_value:.3g}", "mismatch": analysis.ratio.is_mismatch},
            "guardrails": [
                {
                    "variant": finding.name,
                    "name": spec.title,
                    "standing": harm.standing.value,
                    "estimate": f"{harm.estimate:+.4g}",
                }
                for finding in analysis.findings
                for spec, harm in zip(test.spec.metrics.guardrails, finding.harms, strict=True)
            ],
        }
    return status


def _variant(variant: Variant, arm: ArmFigures, finding: Finding | None) -> Manifest:
    entry: Manifest = {"name": variant.name, "visitors": arm.visitors}
    if variant.control:
        entry["control"] = True
    if arm.visitors and arm.outcomes:
        entry["value"] = f"{arm.outcomes[0].y / arm.visitors:.4g}"
    if finding is not None:
        entry["progress"] = f"{finding.look.fraction:.0%}"
        if finding.lift is not None and finding.effect.control:
            entry["estimate"] = f"{finding.effect.difference / finding.effect.control:+.1%}"
            entry["interval"] = {"low": f"{finding.lift.lower:+.1%}", "high": f"{finding.lift.upper:+.1%}"}
    return entry


def rounded_to_seconds(moment: datetime) -> str:
    """Write a moment for a status."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
