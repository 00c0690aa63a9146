"""The analysis of all arms and metrics: each metric by its own comparison, corrected where there are several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.experiment.designs import CAP, arm, design

from flywheel.experiment.analysis import ArmSums, Design, Guardrail, Kind, Metric, analyse
from flywheel.experiment.bandit import batched_lift, batched_look
from flywheel.experiment.confidence_sequence import Margin, judge
from flywheel.experiment.corrections import holm
from flywheel.experiment.estimate import adjusted_effect, mean_effect, proportion_effect, ratio_effect
from flywheel.experiment.moments import conversions, summarise, summarise_pairs
from flywheel.experiment.quantile import Histogram, Latency, quantile_effect
from flywheel.experiment.sequential import look


def test_every_kind_is_compared_by_its_own_estimate() -> None:
    pairs = [[(1.0 + i % 7, 2.0 + i % 3) for i in range(start, start + 300)] for start in (0, 2)]
    kinds = {
        Kind.SHARE: (proportion_effect, [conversions(300, 60), conversions(300, 50)]),
        Kind.MEAN: (mean_effect, [summarise(y for y, _ in each) for each in pairs]),
        Kind.RATIO: (ratio_effect, [summarise_pairs(each) for each in pairs]),
        Kind.ADJUSTED: (adjusted_effect, [summarise_pairs(each) for each in pairs]),
        Kind.P95: (lambda a, b: quantile_effect(a, b, 0.95), [Latency(Histogram({each: 300}), 1.2) for each in (5, 6)]),
    }
    for kind, (compare, (variant, control)) in kinds.items():
        made = design(primary=Metric("figure", kind))
        found = analyse(made, [ArmSums(300, control), ArmSums(300, variant)]).findings[0]
        assert found.effect == compare(variant, control), kind
        assert found.look == look(made.test, found.effect)


def test_every_variant_is_compared_with_control_and_secondary_metrics_with_all_of_them() -> None:
    made = design(arms=("red", "green", "blue"), secondary=(Metric("bought"), Metric("left", more_is_better=False)))
    sums = [
        ArmSums(CAP, conversions(CAP, 500 + 30 * each), (conversions(CAP, 200 + 60 * each), conversions(CAP, 90)))
        for each in range(3)
    ]
    found = analyse(made, sums)
    assert [each.name for each in found.findings] == ["green", "blue"]
    bare = {
        f"{name} {number}": beside.look.p_value
        for name, each in enumerate(found.findings)
        for number, beside in enumerate(each.secondary)
    }
    told = [beside.adjusted_p for each in found.findings for beside in each.secondary]
    assert told == list(holm(bare).values())
    assert told[2] < 0.05 < told[1]


def test_a_share_as_a_guardrail_has_exact_bounds_while_it_is_rare() -> None:
    made = design(guardrails=(Guardrail(Metric("errors", more_is_better=False), Margin(0.005)),))
    sums = [ArmSums(CAP, conversions(CAP, 500), (), (conversions(CAP, 0),)) for _ in range(2)]
    harm = analyse(made, sums).findings[0].harms[0]
    assert harm.upper < 0.005
    assert judge(Margin(0.005), proportion_effect(conversions(CAP, 0), conversions(CAP, 0))).upper > 1


def test_a_bandit_is_judged_batch_by_batch() -> None:
    made = design(batches=4)
    control, variant = (
        ArmSums(1000, conversions(1000, all_of_them), batches=(conversions(900, first), conversions(100, second)))
        for all_of_them, first, second in ((101, 91, 10), (130, 110, 20))
    )
    found = analyse(made, [control, variant]).findings[0]
    effects = [proportion_effect(*each) for each in zip(variant.batches, control.batches, strict=True)]
    assert found.look == batched_look(effects, 4, 0.05)
    assert found.look.fraction == 0.5
    assert found.lift == batched_lift(effects, 4, 0.05)
    few = [ArmSums(2700, conversions(2700, 3 * each), batches=(conversions(900, each),) * 3) for each in (91, 85)]
    assert analyse(design(batches=4), few).findings[0].look.score < 0
    assert not analyse(design(batches=4), few).findings[0].is_futile


@given(st.integers(0, 2 * CAP), st.integers(0, 2 * CAP), st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_an_analysis_is_total(first: int, second: int, p: float, q: float, more: bool) -> None:
    made = design(primary=Metric("claimed", more_is_better=more))
    found = analyse(made, [arm(first, round(first * p)), arm(second, round(second * q))])
    finding = found.findings[0]
    assert found.control_visitors == first
    assert finding.lift is None or finding.lift.holds(finding.lift.estimate)
    assert not (finding.is_futile and finding.look.direction)


def test_what_does_not_fit_the_design_is_refused() -> None:
    made = design()
    with pytest.raises(ValueError, match="3 counts for 2 weights"):
        analyse(made, [arm(10, 1)] * 3)
    with pytest.raises(ValueError, match="shorter|longer"):  # noqa: RUF043 - what Python says
        analyse(design(secondary=(Metric("bought"),)), [arm(10, 1)] * 2)
    with pytest.raises(ValueError, match="1 arms and 1 weights"):
        Design(("red",), (1.0,), made.test, made.primary, 0.1)
