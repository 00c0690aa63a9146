from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.events.world import DAY, NOW

from flywheel.events.moments import FUTURE, milliseconds, moment

HORIZON = 7 * DAY


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("2026-11-23T17:00:00Z", NOW),
        ("2026-11-24T01:00:00+08:00", NOW),
        ("2026-11-23T17:00:00", NOW),
        (datetime(2026, 11, 23, 17, tzinfo=UTC), NOW),
        (NOW, NOW),
        (NOW / 1000, NOW),
        (str(NOW), NOW),
        ("2015-2-02T00:30:08.276Z", None),
        ("yesterday", None),
        (True, None),
        (-5, None),
        (float("nan"), None),
        (float("inf"), None),
        (10**400, None),
        ([], None),
    ],
)
def test_times_in_the_forms_of_clients(value, wanted):
    assert milliseconds(value) == wanted


def test_a_clock_that_is_wrong_is_set_right_by_when_the_client_sent():
    """The client's clock is a day ahead: it says so by when it sent, which was just now."""
    ahead = NOW + DAY
    found = moment(ahead - 5_000, ahead, NOW)
    assert found == (NOW - 5_000, ahead - 5_000, False)


def test_what_nobody_says_happened_when_it_came():
    assert moment(None, None, NOW) == (NOW, NOW, False)


def test_nonsense_happened_when_it_came():
    assert moment("soon", None, NOW) == (NOW, NOW, True)


def test_the_future_is_not_believed():
    assert moment(NOW + FUTURE, None, NOW) == (NOW, NOW + FUTURE, False)
    assert moment(NOW + FUTURE + 1, None, NOW) == (NOW, NOW + FUTURE + 1, True)


def test_the_far_past_is_not_believed():
    assert moment(NOW - HORIZON - 1, None, NOW, HORIZON) == (NOW - HORIZON, NOW - HORIZON - 1, True)


anything = st.one_of(
    st.none(), st.integers(), st.floats(), st.text(), st.datetimes(), st.booleans(),
    st.datetimes(timezones=st.just(UTC)),
)  # fmt: skip


@given(anything, st.one_of(st.none(), st.integers(0, 4 * NOW)), st.integers(0, 4 * NOW))
def test_every_event_lies_within_what_is_believed(timestamp, sent_at, ingest):
    found = moment(timestamp, sent_at, ingest)
    assert ingest - HORIZON <= found.time <= ingest


@given(st.integers(-300, 300), st.integers(0, 86_400))
def test_the_error_of_a_clock_is_taken_off(error, age):
    """Whatever the clock's error in minutes: who says when it sent is placed as if the clock were right."""
    clock = timedelta(minutes=error)
    now = datetime.fromtimestamp(NOW / 1000, UTC)
    happened = now - timedelta(seconds=age)
    sent = milliseconds(now + clock)
    assert moment(happened + clock, sent, NOW).time == NOW - age * 1000


@given(st.integers(0, 4 * NOW))
def test_no_millisecond_is_lost(moment_):
    text = datetime.fromtimestamp(moment_ // 1000, UTC).replace(microsecond=moment_ % 1000 * 1000).isoformat()
    assert milliseconds(text) == moment_
    assert milliseconds(datetime.fromisoformat(text)) == moment_
