"""Windows for promotion, against a clock that is looked at minute by minute."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flywheel.api.release import Window
from flywheel.release.windows import DAYS, opens_at


def window(opens: str, closes: str, *days: str) -> Window:
    return Window.model_validate({"opens": opens, "closes": closes, **({"days": list(days)} if days else {})})


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2027-06-16T01:30:00", "2027-06-16T02:00:00"),
        ("2027-06-16T02:00:00", "2027-06-16T02:00:00"),
        ("2027-06-16T04:59:59", "2027-06-16T04:59:59"),
        ("2027-06-16T05:00:00", "2027-06-17T02:00:00"),
    ],
)
def test_a_window_each_night(now: str, expected: str) -> None:
    assert opens_at([window("02:00", "05:00")], "UTC", at(now)) == at(expected)


def test_a_window_over_midnight_belongs_to_the_day_on_which_it_opens() -> None:
    night = [window("22:00", "04:00", "Fri")]
    assert opens_at(night, "UTC", at("2027-06-19T03:00:00")) == at("2027-06-19T03:00:00")  # a Saturday
    assert opens_at(night, "UTC", at("2027-06-19T05:00:00")) == at("2027-06-25T22:00:00")


def test_times_are_local() -> None:
    assert opens_at([window("02:00", "03:00")], "Asia/Shanghai", at("2027-06-16T00:00:00")) == at("2027-06-16T18:00:00")


@settings(max_examples=60, deadline=None)
@given(
    opens=st.integers(0, 1439),
    length=st.integers(1, 1440),
    days=st.sets(st.sampled_from(DAYS), min_size=1),
    minutes=st.integers(0, 14 * 1440),
)
def test_as_a_clock_that_is_looked_at_each_minute(opens: int, length: int, days: set[str], minutes: int) -> None:
    closes = (opens + length) % 1440
    rule = window(_time(opens), _time(closes), *sorted(days))
    now = at("2027-06-14T00:00:00") + timedelta(minutes=minutes)
    look = now
    while not _is_open(look, opens, closes, days):
        look += timedelta(minutes=1)
    assert opens_at([rule], "UTC", now) == look


def _time(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _is_open(moment: datetime, opens: int, closes: int, days: set[str]) -> bool:
    minute = moment.hour * 60 + moment.minute
    today, yesterday = DAYS[moment.weekday()], DAYS[(moment.weekday() - 1) % 7]
    if opens < closes:
        return today in days and opens <= minute < closes
    return (today in days and minute >= opens) or (yesterday in days and minute < closes)


def test_the_night_on_which_the_clocks_change() -> None:
    found = opens_at([window("02:30", "03:30")], "Europe/Berlin", at("2027-03-28T00:00:00"))
    assert found.astimezone(ZoneInfo("Europe/Berlin")).date().isoformat() == "2027-03-28"
