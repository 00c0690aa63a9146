"""Verdicts: one test for each way a test can end, and what holds of every decision whatever was counted."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.experiment.designs import CAP, arm, design

from flywheel.experiment.analysis import ArmSums, Design, Guardrail, Kind, Metric, analyse
from flywheel.experiment.confidence_sequence import Margin, Standing
from flywheel.experiment.decision import Decision, Limits, Verdict, decide
from flywheel.experiment.moments import Moments, conversions

DAY = timedelta(days=1)
HALF = CAP // 2
ERRORS = Guardrail(Metric("error rate", more_is_better=False), Margin(0.005))
CLEAN, BROKEN, UNSURE = (conversions(HALF, each) for each in (5, 150, 30))


def decided(made: Design, *arms: ArmSums, limits: Limits | None = None, days: float = 3, **more: object) -> Decision:
    return decide(made, analyse(made, arms), limits or Limits(), days * DAY, **more)  # type: ignore[arg-type]


def test_a_better_variant_ships_with_its_figures() -> None:
    found = decided(design(), arm(HALF, 250), arm(HALF, 400))
    assert (found.verdict, found.winner) == (Verdict.SHIP, "green")
    assert found.sentence == (
        'green is better than red: "Coupon Claimed" 8% against 5% with red, +60%, '
        "and very likely between +24.9% and +105%."
    )


def test_less_is_better_where_it_is_said_so() -> None:
    made = design(primary=Metric("left at the till", more_is_better=False))
    assert decided(made, arm(HALF, 400), arm(HALF, 250)).verdict is Verdict.SHIP
    assert decided(made, arm(HALF, 250), arm(HALF, 400)).verdict is Verdict.KEEP_CONTROL


def test_control_stays_when_every_variant_is_worse() -> None:
    found = decided(design(), arm(HALF, 400), arm(HALF, 250))
    assert (found.verdict, found.winner, found.settled) == (Verdict.KEEP_CONTROL, None, ("green",))
    assert "red stays, as it is better" in found.sentence


def test_of_several_better_variants_the_best_ships() -> None:
    found = decided(design(("red", "green", "blue")), arm(HALF, 250), arm(HALF, 400), arm(HALF, 420))
    assert (found.verdict, found.winner) == (Verdict.SHIP, "blue")


def test_while_nothing_is_proven_it_goes_on() -> None:
    found = decided(design(), arm(HALF, 250), arm(HALF, 270))
    assert found.verdict is None
    assert found.sentence == "Too early to tell: 50% of the planned visitors were there."


def test_at_the_cap_without_a_finding_it_is_inconclusive() -> None:
    found = decided(design(), arm(CAP, 500), arm(CAP, 530))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "all planned visitors were there" in found.sentence


def test_at_the_cap_control_stays_if_the_planned_effect_is_ruled_out() -> None:
    found = decided(design(), arm(CAP, 500), arm(CAP, 495))
    assert found.verdict is Verdict.KEEP_CONTROL
    assert found.sentence.startswith("red stays: an improvement of +20%, as planned, is ruled out.")
    less = design(primary=Metric("left at the till", more_is_better=False))
    assert decided(less, arm(CAP, 500), arm(CAP, 505)).verdict is Verdict.KEEP_CONTROL
    assert decided(less, arm(CAP, 500), arm(CAP, 460)).verdict is Verdict.INCONCLUSIVE


def test_out_of_time_without_a_finding_it_is_inconclusive() -> None:
    found = decided(design(), arm(HALF, 250), arm(HALF, 270), limits=Limits(maximum=14 * DAY), days=14)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "its time is over" in found.sentence


def test_it_stops_when_the_planned_effect_is_out_of_reach() -> None:
    found = decided(design(), arm(6200, 310), arm(6200, 306))
    assert (found.verdict, found.settled) == (Verdict.INCONCLUSIVE, ("green",))
    assert "An improvement of +20%" in found.sentence
    assert decided(design(stops_for_futility=False), arm(6200, 310), arm(6200, 306)).verdict is None


def test_it_ends_when_one_variant_is_worse_and_the_other_is_at_its_cap() -> None:
    found = decided(design(("red", "green", "blue"), weights=(2, 1, 2)), arm(CAP, 500), arm(HALF, 130), arm(CAP, 540))
    assert (found.verdict, found.settled) == (Verdict.INCONCLUSIVE, ("green",))


def test_a_breach_stops_at_once_whatever_the_time_and_the_primary_metric() -> None:
    made = design(guardrails=(ERRORS,))
    found = decided(made, arm(HALF, 250, CLEAN), arm(HALF, 400, BROKEN), limits=Limits(minimum=14 * DAY), days=0.1)
    assert (found.verdict, found.winner, found.withdrawn) == (Verdict.STOPPED_BY_GUARDRAIL, None, ("green",))
    assert found.sentence == (
        "error rate of green is worse by 2.9 points and surely by more than the allowed 0.5 points. "
        "All visitors get red again."
    )


def test_a_breach_takes_one_variant_out_and_the_other_goes_on() -> None:
    made = design(("red", "green", "blue"), guardrails=(ERRORS,))
    arms = arm(HALF, 250, CLEAN), arm(HALF, 400, BROKEN), arm(HALF, 260, CLEAN)
    found = decided(made, *arms)
    assert (found.verdict, found.withdrawn) == (None, ("green",))
    assert decided(made, *arms[:2], arm(HALF, 400, CLEAN)).winner == "blue"


def test_a_breach_stays_one() -> None:
    made = design(guardrails=(ERRORS,))
    found = decided(made, arm(HALF, 250, CLEAN), arm(HALF, 400, CLEAN), withdrawn_before=frozenset({"green"}))
    assert (found.verdict, found.withdrawn) == (Verdict.STOPPED_BY_GUARDRAIL, ("green",))


def test_a_winner_waits_until_its_guardrail_is_known_to_hold() -> None:
    made = design(guardrails=(ERRORS,))
    unsure = arm(HALF, 250, CLEAN), arm(HALF, 400, UNSURE)
    found = decided(made, *unsure)
    assert found.verdict is None
    assert "goes on until it is sure that error rate did not get worse" in found.sentence
    assert decided(made, arm(HALF, 250, CLEAN), arm(HALF, 400, CLEAN)).verdict is Verdict.SHIP
    at_end = decided(made, *unsure, limits=Limits(maximum=3 * DAY))
    assert at_end.verdict is Verdict.INCONCLUSIVE
    assert "Look at it before you ship" in at_end.sentence
    lenient = Guardrail(ERRORS.metric, ERRORS.margin, must_hold=False)
    assert decided(design(guardrails=(lenient,)), *unsure).verdict is Verdict.SHIP


def test_a_relative_guardrail_is_told_in_percent() -> None:
    latency = Guardrail(Metric("wait", Kind.MEAN, more_is_better=False), Margin(0.2, is_relative=True))
    slow, fast = (Moments(HALF, mean * HALF, (mean**2 + 100) * HALF) for mean in (40.0, 20.0))
    found = decided(design(guardrails=(latency,)), arm(HALF, 250, fast), arm(HALF, 250, slow))
    assert found.sentence.startswith("wait of green is worse by 100% and surely by more than the allowed 20%")


def test_visitors_that_are_missing_make_it_invalid() -> None:
    found = decided(design(), arm(5600, 280), arm(4400, 400))
    assert found.verdict is Verdict.INVALID
    assert "red 56%, green 44%, wanted 50%, 50%" in found.sentence


def test_lost_events_make_it_invalid() -> None:
    found = decided(design(), arm(HALF, 250), arm(HALF, 400), is_tracking_broken=True)
    assert found.verdict is Verdict.INVALID
    assert '"Coupon Claimed" was not counted' in found.sentence


def test_no_event_at_all_makes_it_invalid_at_its_end() -> None:
    assert decided(design(), arm(HALF, 0), arm(HALF, 0)).verdict is None
    found = decided(design(), arm(CAP, 0), arm(CAP, 0))
    assert found.verdict is Verdict.INVALID
    assert '20,000 visitors came and "Coupon Claimed" was not seen once' in found.sentence


def test_nobody_at_all_makes_it_invalid_at_its_end() -> None:
    limits = Limits(maximum=7 * DAY)
    assert decided(design(), arm(0, 0), arm(0, 0), limits=limits).verdict is None
    found = decided(design(), arm(0, 0), arm(0, 0), limits=limits, days=7)
    assert found.verdict is Verdict.INVALID
    assert "Nobody has seen any variant" in found.sentence


def test_before_its_least_time_nothing_is_decided() -> None:
    arms = arm(HALF, 250), arm(HALF, 400)
    found = decided(design(), *arms, limits=Limits(minimum=5 * DAY))
    assert found.verdict is None
    assert "2 days more" in found.sentence
    assert "6 hours more" in decided(design(), *arms, limits=Limits(minimum=3.25 * DAY)).sentence
    weeks = Limits(minimum=8 * DAY, whole_weeks=True)
    assert weeks.least == 14 * DAY
    assert decided(design(), *arms, limits=weeks, days=13).verdict is None
    assert "whole weeks" in decided(design(), *arms, limits=weeks, days=13).sentence
    assert decided(design(), *arms, limits=weeks, days=14).verdict is Verdict.SHIP


def test_limits_that_leave_no_time_are_refused() -> None:
    with pytest.raises(ValueError, match="less than at least 14 days"):
        Limits(minimum=8 * DAY, maximum=10 * DAY, whole_weeks=True)
    with pytest.raises(ValueError, match="give the test more time"):
        Limits(maximum=timedelta())


def test_a_mean_is_told_as_a_number() -> None:
    made = design(primary=Metric("revenue", Kind.MEAN))
    rich, poor = (Moments(HALF, mean * HALF, (mean**2 + 400) * HALF) for mean in (22.0, 20.0))
    found = decided(made, ArmSums(HALF, poor), ArmSums(HALF, rich))
    assert found.sentence.startswith('green is better than red: "revenue" 22 against 20 with red, +10%')


COUNTS = st.integers(0, 2 * CAP)
SHARES = st.floats(0, 1)


@st.composite
def arms(draw: st.DrawFn) -> ArmSums:
    visitors = draw(COUNTS)
    return arm(visitors, round(visitors * draw(SHARES)), conversions(visitors, round(visitors * draw(SHARES) ** 4)))


@given(
    st.lists(arms(), min_size=2, max_size=4),
    st.booleans(),
    st.booleans(),
    st.floats(0, 30),
    st.booleans(),
    st.booleans(),
)
def test_every_decision_is_safe(
    sums: list[ArmSums], more: bool, must_hold: bool, days: float, weeks: bool, lost: bool
) -> None:
    names = ("red", "green", "blue", "gold")[: len(sums)]
    guardrail = Guardrail(ERRORS.metric, ERRORS.margin, must_hold)
    made = design(names, primary=Metric("claimed", more_is_better=more), guardrails=(guardrail,))
    limits = Limits(2 * DAY, 21 * DAY, whole_weeks=weeks)
    analysis = analyse(made, sums)
    found = decide(made, analysis, limits, days * DAY, is_tracking_broken=lost)
    breached = {each.name for each in analysis.findings if each.harms[0].standing is Standing.BREACHED}
    assert set(found.withdrawn) == breached
    assert found.sentence.endswith(".")
    assert (found.winner is not None) == (found.verdict is Verdict.SHIP)
    if found.verdict is Verdict.SHIP:
        winner = next(each for each in analysis.findings if each.name == found.winner)
        assert (winner.effect.difference > 0) == more
        assert abs(winner.look.score) > made.test.boundary
        assert winner.harms[0].standing is Standing.HELD or not must_hold
        assert not analysis.ratio.is_mismatch
        assert not lost
    if found.verdict in (Verdict.SHIP, Verdict.KEEP_CONTROL, Verdict.INCONCLUSIVE):
        assert days * DAY >= limits.least
    if days * DAY >= 21 * DAY:
        assert found.verdict is not None
    assert found == decide(made, analysis, limits, days * DAY, is_tracking_broken=lost)
