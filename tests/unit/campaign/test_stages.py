"""Stages by the clock: in the campaign's zone, exact over changes of the clocks, not undone by a small step back."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flywheel.api.campaign import Schedule
from flywheel.api.problem import Problem
from flywheel.campaign.stages import CLOCK_STEP_TOLERANCE, Stage, Timeline, current_stage, resolve

ZONES = ["UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


def schedule(**fields: object) -> Schedule:
    return Schedule.model_validate(fields)


def timeline(**fields: object) -> Timeline:
    resolved = resolve(schedule(**fields))
    assert isinstance(resolved, Timeline), resolved
    return resolved


def problem(**fields: object) -> Problem:
    resolved = resolve(schedule(**fields))
    assert not isinstance(resolved, Timeline)
    (only,) = resolved
    return only


def at(text: str) -> datetime:
    return datetime.fromisoformat(text)


SIX_EIGHTEEN = {
    "timeZone": "Asia/Shanghai",
    "startsAt": "2027-06-16T00:00:00",
    "endsAt": "2027-06-19T00:00:00",
    "prepareFor": "48h",
    "warmFor": "30m",
    "holdFor": "15m",
    "drainFor": "10m",
    "retainFor": "24h",
}


@pytest.mark.parametrize(
    ("now", "stage"),
    [
        ("2027-06-13T23:59:59+08:00", Stage.SCHEDULED),
        ("2027-06-14T00:00:00+08:00", Stage.PREPARING),
        ("2027-06-15T23:29:59+08:00", Stage.PREPARING),
        ("2027-06-15T23:30:00+08:00", Stage.WARM),
        ("2027-06-16T00:00:00+08:00", Stage.LIVE),
        ("2027-06-18T15:59:59+00:00", Stage.LIVE),
        ("2027-06-18T16:00:00+00:00", Stage.DRAINING),
        ("2027-06-19T00:10:00+08:00", Stage.RETAINED),
        ("2027-06-20T00:09:59+08:00", Stage.RETAINED),
        ("2027-06-20T00:10:00+08:00", Stage.RETIRED),
        ("2999-01-01T00:00:00+00:00", Stage.RETIRED),
    ],
)
def test_the_618_goes_through_its_stages(now: str, stage: Stage) -> None:
    assert timeline(**SIX_EIGHTEEN).stage_at(at(now)) is stage


def test_without_a_schedule_a_campaign_is_live_for_ever() -> None:
    resolved = resolve(None)
    assert isinstance(resolved, Timeline)
    assert resolved.stage_at(at("2026-01-01T00:00:00Z")) is Stage.LIVE
    assert resolved.after(Stage.LIVE) is None


def test_without_a_start_it_is_live_at_once_and_ends() -> None:
    resolved = timeline(endsAt="2027-01-01T00:00:00", drainFor="0s", retainFor="0s")
    assert resolved.stage_at(at("2026-01-01T00:00:00Z")) is Stage.LIVE
    assert resolved.stage_at(at("2027-01-01T00:00:00Z")) is Stage.RETIRED


def test_stages_of_no_length_are_skipped_also_as_the_next_one() -> None:
    resolved = timeline(
        startsAt="2027-01-01T00:00:00", endsAt="2027-01-02T00:00:00", prepareFor="10m", warmFor="10m", drainFor="0s"
    )
    assert [each.stage for each in resolved.transitions] == [Stage.SCHEDULED, Stage.WARM, Stage.LIVE, Stage.RETIRED]
    following = resolved.after(Stage.LIVE)
    assert following is not None
    assert following.stage is Stage.RETIRED


@pytest.mark.parametrize(
    ("zone", "night", "real_hours"),
    [
        ("Europe/Berlin", ("2027-03-28T00:00:00", "2027-03-28T06:00:00"), 5),
        ("Europe/Berlin", ("2027-10-31T00:00:00", "2027-10-31T06:00:00"), 7),
        ("America/New_York", ("2027-03-14T00:00:00", "2027-03-14T06:00:00"), 5),
        ("America/New_York", ("2027-11-07T00:00:00", "2027-11-07T06:00:00"), 7),
        ("Australia/Lord_Howe", ("2027-10-03T00:00:00", "2027-10-03T06:00:00"), 5.5),
        ("Asia/Shanghai", ("2027-03-28T00:00:00", "2027-03-28T06:00:00"), 6),
    ],
)
def test_wall_times_are_wall_times_in_the_night_in_which_the_clocks_change(
    zone: str, night: tuple[str, str], real_hours: float
) -> None:
    resolved = timeline(timeZone=zone, startsAt=night[0], endsAt=night[1])
    start, end = resolved.start_of(Stage.LIVE), resolved.start_of(Stage.DRAINING)
    assert start is not None
    assert end is not None
    assert end - start == timedelta(hours=real_hours)
    assert start.astimezone(ZoneInfo(zone)).replace(tzinfo=None) == at(night[0])


def test_durations_are_real_time_in_the_night_in_which_the_clocks_change() -> None:
    resolved = timeline(timeZone="Europe/Berlin", startsAt="2027-03-28T03:15:00", prepareFor="2h", warmFor="30m")
    assert resolved.start_of(Stage.WARM) == at("2027-03-28T00:45:00Z")
    assert resolved.start_of(Stage.PREPARING) == at("2027-03-27T23:15:00Z")


def test_a_wall_time_that_does_not_exist_is_refused_with_the_field() -> None:
    found = problem(timeZone="Europe/Berlin", startsAt="2027-03-28T02:30:00")
    assert found.path == "spec.schedule.startsAt"
    assert "does not exist in Europe/Berlin" in found.message


def test_of_two_equal_wall_times_the_first_is_meant() -> None:
    resolved = timeline(timeZone="Europe/Berlin", startsAt="2027-10-31T02:30:00")
    assert resolved.start_of(Stage.LIVE) == at("2027-10-31T00:30:00Z")


@pytest.mark.parametrize("zone", ["Asia/Peking2", "Mars/Olympus", "A/../B", "US"])
def test_an_unknown_zone_is_refused_with_the_field(zone: str) -> None:
    found = problem(startsAt="2027-01-01T00:00:00", timeZone=zone) if ".." not in zone else _zone_problem(zone)
    assert found.path == "spec.schedule.timeZone"
    assert "IANA" in found.message


def _zone_problem(zone: str) -> Problem:
    resolved = resolve(schedule().model_copy(update={"time_zone": zone}))
    assert not isinstance(resolved, Timeline)
    return resolved[0]


def test_an_end_before_the_start_is_seen_across_the_two_ways_to_write_a_time() -> None:
    found = problem(timeZone="Asia/Shanghai", startsAt="2027-06-16T00:00:00", endsAt="2027-06-15T15:59:59Z")
    assert found.path == "spec.schedule.endsAt"


def test_times_beyond_the_calendar_are_a_problem_not_a_crash() -> None:
    late = schedule(startsAt="2027-01-01T00:00:00").model_copy(update={"starts_at": datetime(9999, 12, 31, 23, 59)})  # noqa: DTZ001
    resolved = resolve(late)
    assert not isinstance(resolved, Timeline)
    assert resolved[0].path == "spec.schedule"


def test_a_small_step_back_of_the_clock_undoes_nothing_and_a_large_one_is_followed() -> None:
    resolved = timeline(**SIX_EIGHTEEN)
    start = resolved.start_of(Stage.LIVE)
    assert start is not None
    assert current_stage(resolved, start - timedelta(seconds=1), Stage.LIVE) is Stage.LIVE
    assert current_stage(resolved, start - CLOCK_STEP_TOLERANCE, Stage.LIVE) is Stage.LIVE
    assert current_stage(resolved, start - CLOCK_STEP_TOLERANCE - timedelta(seconds=1), Stage.LIVE) is Stage.WARM
    assert current_stage(resolved, start, Stage.WARM) is Stage.LIVE


durations = st.integers(0, 20 * 86400).map(lambda seconds: f"{seconds}s")
wall_times = st.datetimes(datetime(2026, 1, 1), datetime(2030, 1, 1)).map(  # noqa: DTZ001 - wall times
    lambda moment: moment.replace(microsecond=0)
)


@given(
    zone=st.sampled_from(ZONES),
    start=wall_times,
    length=st.integers(1, 90 * 86400),
    prepare=st.integers(0, 90 * 86400),
    warm=st.integers(0, 86400),
    drain=durations,
    retain=durations,
    now=wall_times,
)
def test_every_timeline_is_in_order_and_every_instant_has_one_stage(
    zone: str, start: datetime, length: int, prepare: int, warm: int, drain: str, retain: str, now: datetime
) -> None:
    resolved = resolve(
        schedule(
            timeZone=zone,
            startsAt=start.isoformat(),
            endsAt=(start + timedelta(seconds=length)).isoformat(),
            prepareFor=f"{max(prepare, warm)}s",
            warmFor=f"{warm}s",
            drainFor=drain,
            retainFor=retain,
        )
    )
    assume(isinstance(resolved, Timeline))
    assert isinstance(resolved, Timeline)
    for earlier, later in pairwise(resolved.transitions):
        assert earlier.at < later.at
        assert earlier.stage.rank < later.stage.rank
    instant = now.replace(tzinfo=UTC)
    stage = resolved.stage_at(instant)
    following = resolved.after(stage)
    if following is not None:
        assert following.at > instant
        assert resolved.stage_at(following.at) is following.stage
        assert resolved.stage_at(following.at - timedelta(microseconds=1)) is stage
