"""When promotion may take place: windows of local time. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from flywheel.api.release import Window

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
LOOK_AHEAD = 9
"""Days in which every window opens once at least, whatever the clocks do."""


def opens_at(windows: Sequence[Window], zone: str, now: datetime) -> datetime:
    """Give the moment from which promotion may take place: `now` within a window, else when the next one opens.

    A time of day that a change of the clocks leaves out stands for the moment of the change; one that comes twice, for
    the first time.
    """
    local = ZoneInfo(zone)
    today = now.astimezone(local).date()
    moments = []
    for window in windows:
        for offset in range(-1, LOOK_AHEAD):
            day = today + timedelta(days=offset)
            if DAYS[day.weekday()] not in window.days:
                continue
            closing_day = day if window.closes > window.opens else day + timedelta(days=1)
            opens = _moment(day.isoformat(), window.opens, local)
            closes = _moment(closing_day.isoformat(), window.closes, local)
            if now < closes:
                moments.append(max(now, opens))
    return min(moments)


def _moment(day: str, time: str, zone: ZoneInfo) -> datetime:
    return datetime.fromisoformat(f"{day}T{time}:00").replace(tzinfo=zone).astimezone(UTC)
