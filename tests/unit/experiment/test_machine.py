"""One A/B test from its start to its end, step by step, and from any record whatever is seen."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.experiment.analysis import ArmSums, Design, Metric, analyse
from flywheel.experiment.decision import Limits, decide
from flywheel.experiment.machine import Facts, Looked, advance
from flywheel.experiment.moments import conversions
from flywheel.experiment.sequential import horizon_test
from flywheel.experiment.state import ENDED, MOST_STRETCHES, ABTestState, Concluded, Sizing, read_state, write_state

NOON = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
SIZING = Sizing(variant_cap=10_000, control_cap=10_000, baseline=0.05)
DESIGN = Design(("red", "green"), (1, 1), horizon_test(0.05, 10_000, 10_000), Metric("claimed"), 0.1)
READY = Facts(salt="uid-1", sizing=SIZING, segments=((0, 5000),), weights={"red": 5000, "green": 5000})


def looked(control: tuple[int, int], variant: tuple[int, int], after: float = 3600.0) -> Looked:
    arms = [ArmSums(each[0], conversions(*each)) for each in (control, variant)]
    analysis = analyse(DESIGN, arms)
    decision = decide(DESIGN, analysis, Limits(), timedelta(seconds=after))
    return Looked(NOON + timedelta(seconds=after), analysis, decision)


def facts(**changes: Any) -> Facts:
    return replace(READY, **changes)


def running() -> ABTestState:
    return advance(ABTestState(), READY, NOON)


def test_it_begins_when_nothing_is_in_the_way() -> None:
    state = running()
    assert (state.state, state.salt, state.started_at) == ("Running", "uid-1", NOON)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"obstacle": "no such service"}, "InvalidTest"),
        ({"early": "the campaign is Preparing"}, "NotYet"),
        ({"suspended": True}, "Suspended"),
        ({"unready": "no pod of green"}, "VariantsNotReady"),
    ],
)
def test_what_is_in_the_way_is_said_and_waited_for(change: dict[str, Any], reason: str) -> None:
    state = advance(ABTestState(), facts(**change), NOON)
    assert (state.state, state.reason, bool(state.message)) == ("Waiting", reason, True)
    assert advance(state, READY, NOON).state == "Running"


def test_a_look_that_tells_nothing_goes_on_and_one_that_tells_decides() -> None:
    state = advance(running(), facts(looked=looked((500, 25), (500, 26))), NOON + timedelta(hours=1))
    assert (state.state, state.decision, state.looked_at) == ("Running", None, NOON + timedelta(hours=1))
    state = advance(state, facts(looked=looked((9000, 450), (9000, 900))), NOON + timedelta(hours=2))
    assert state.decision is not None
    assert (state.state, state.decision.verdict, state.decision.winner) == ("Decided", "Ship", "green")
    again = advance(state, facts(looked=looked((9000, 900), (9000, 450))), NOON + timedelta(hours=3))
    assert again == state, "what is decided stays"
    shipped = advance(state, facts(shipping="green", promoted=True, revision="two"), NOON + timedelta(hours=3))
    assert (shipped.state, shipped.closed_at) == ("Promoted", NOON + timedelta(hours=3))
    assert shipped.decision is not None
    assert (shipped.decision.promoted_at, shipped.decision.revision) == (NOON + timedelta(hours=3), "two")


def test_a_pause_stops_its_clock() -> None:
    state = advance(running(), facts(suspended=True), NOON + timedelta(hours=1))
    assert state.state == "Paused"
    assert state.elapsed(NOON + timedelta(hours=9)) == timedelta(hours=1)
    state = advance(state, READY, NOON + timedelta(hours=9))
    assert state.state == "Running"
    assert state.elapsed(NOON + timedelta(hours=10)) == timedelta(hours=2)
    assert state.salt == "uid-1"


def test_a_spec_that_makes_no_sense_any_more_pauses_and_goes_on_when_mended() -> None:
    state = advance(running(), facts(obstacle="no such service"), NOON)
    assert (state.state, state.reason) == ("Paused", "InvalidTest")
    assert advance(state, READY, NOON).state == "Running"


def test_a_store_that_is_away_changes_nothing_but_what_is_said() -> None:
    state = advance(running(), facts(unseen="the store is away"), NOON)
    assert (state.state, state.reason, state.message) == ("Running", "FiguresUnavailable", "the store is away")


def test_a_person_ends_it() -> None:
    state = advance(running(), facts(stop=True), NOON)
    assert (state.state, state.reason, state.ended_at) == ("Stopped", "StoppedByPerson", NOON)


def test_the_end_of_the_campaign_ends_it_with_what_is_known() -> None:
    never = advance(ABTestState(), facts(over="the campaign is Draining"), NOON)
    assert (never.state, never.reason) == ("Failed", "NeverBegan")
    state = advance(running(), facts(over="the campaign is Draining"), NOON)
    assert state.decision is not None
    assert (state.state, state.decision.verdict) == ("Stopped", "Inconclusive")
    late = advance(running(), facts(over="the campaign is Draining", looked=looked((9000, 450), (9000, 900))), NOON)
    assert late.decision is not None
    assert (late.state, late.decision.verdict, late.decision.winner) == ("Stopped", "Ship", "green")


def test_traffic_and_weights_are_followed_while_it_runs() -> None:
    later = NOON + timedelta(hours=1)
    state = advance(running(), facts(segments=((0, 9000),), weights={"red": 2000, "green": 8000}), later)
    assert state.segments == ((0, 9000),)
    assert [(each.since, each.weights["green"]) for each in state.stretches] == [(NOON, 5000), (later, 8000)]
    for hour in range(200):
        share = 1000 + hour
        changed = facts(weights={"red": share, "green": 10_000 - share})
        state = advance(state, changed, later + timedelta(hours=hour))
    assert len(state.stretches) == MOST_STRETCHES
    assert state.stretches[-1].weights["red"] == 1199


def test_the_weights_of_a_bandit_are_those_of_its_last_look() -> None:
    told = replace(looked((500, 25), (500, 26)), weights={"red": 4000, "green": 6000})
    state = advance(running(), facts(is_bandit=True, weights={"red": 1, "green": 9999}), NOON)
    assert len(state.stretches) == 1
    state = advance(state, facts(is_bandit=True, looked=told), NOON + timedelta(hours=1))
    state = advance(state, facts(is_bandit=True, looked=told), NOON + timedelta(hours=2))
    assert [each.weights["green"] for each in state.stretches] == [5000, 6000, 6000], (
        "a batch may leave them as they were"
    )


def test_a_release_of_the_service_is_noted() -> None:
    state = advance(ABTestState(), facts(revision="one"), NOON)
    assert advance(state, facts(revision="one"), NOON).changes == ()
    assert advance(state, facts(revision="two"), NOON + timedelta(hours=1)).changes == (NOON + timedelta(hours=1),)


def test_at_the_end_figures_are_waited_for_a_while() -> None:
    over = facts(over="the campaign is Draining", unseen="the store is away")
    state = advance(running(), over, NOON)
    assert (state.state, state.unseen_since) == ("Running", NOON)
    state = advance(state, over, NOON + timedelta(minutes=6))
    assert (state.state, state.reason) == ("Stopped", "OutOfTime")


def test_a_variant_that_breaks_a_guardrail_is_withdrawn_once() -> None:
    broken = replace(looked((500, 25), (500, 26)).decision, withdrawn=("green",))
    told = replace(looked((500, 25), (500, 26)), decision=broken)
    state = advance(running(), facts(looked=told), NOON + timedelta(hours=1))
    state = advance(state, facts(looked=told), NOON + timedelta(hours=2))
    assert state.withdrawn == {"green": NOON + timedelta(hours=1)}


moments = st.datetimes(datetime(2027, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001
states = st.builds(
    ABTestState,
    state=st.sampled_from(["Waiting", "Running", "Paused", "Decided", "Promoted", "Stopped", "Failed"]),
    started_at=st.none() | moments,
    paused_at=st.none() | moments,
    looked_at=st.none() | moments,
    sizing=st.none() | st.just(SIZING),
    decision=st.none()
    | st.builds(Concluded, verdict=st.sampled_from(["Ship", "KeepControl"]), at=moments, sentence=st.just("so")),
)
worlds = st.builds(
    Facts,
    salt=st.just("uid-1"),
    obstacle=st.sampled_from(["", "no"]),
    early=st.sampled_from(["", "no"]),
    over=st.sampled_from(["", "ended"]),
    suspended=st.booleans(),
    unready=st.sampled_from(["", "no"]),
    sizing=st.none() | st.just(SIZING),
    unseen=st.sampled_from(["", "away"]),
    stop=st.booleans(),
    looked=st.none() | st.just(looked((9000, 450), (9000, 900))),
    promoted=st.booleans(),
)


@given(states, worlds, moments)
def test_whatever_is_found_there_is_a_next_step_that_can_be_written_down(
    state: ABTestState, world: Facts, now: datetime
) -> None:
    moved = advance(state, world, now)
    written = write_state(moved)
    assert json.loads(json.dumps(written)) == written, "what comes back is what was written"
    assert read_state({"record": written}) == moved
    if state.state in ENDED:
        assert moved == state
    if state.decision is not None and state.state == "Decided":
        assert moved.decision == state.decision
    assert set(state.withdrawn) <= set(moved.withdrawn)


def test_a_record_that_cannot_be_read_is_no_test_that_runs() -> None:
    state = read_state({"record": {"state": "Flying"}})
    assert (state.state, state.reason) == ("Failed", "RecordUnreadable")
    assert read_state({}) == ABTestState()
