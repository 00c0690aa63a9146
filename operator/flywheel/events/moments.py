"""When an event happened: the client's clock set right by the edge's.

As in Segment's specification: a client says when something happened and when it sent it, both by its own clock. The
difference of the second to the edge's clock is the client's error, and is taken off the first.
"""

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

FUTURE = 60_000
"""Milliseconds after the arrival that are still believed, for clocks that nothing corrects."""
HORIZON = 7 * 86_400_000
"""Milliseconds before the arrival that are believed: phones that were offline for days send late."""
LARGEST = 253_402_300_799_000
"""The end of the year 9999, the last that a datetime can hold."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SECONDS_END = 100_000_000_000
"""Numbers below are seconds since 1970, others milliseconds."""


class Moment(NamedTuple):
    """When an event happened."""

    time: int
    """By the edge's clock, within what is believed."""
    original: int
    """By the client's."""
    clamped: bool


def milliseconds(value: Any) -> int | None:
    """Read a time in one of the forms that clients use; None for what is none."""
    try:
        if isinstance(value, datetime):
            # In whole numbers: as a float of seconds, a millisecond may come out one too few.
            return ((value if value.tzinfo else value.replace(tzinfo=UTC)) - _EPOCH) // _MILLISECOND
        if isinstance(value, bool) or value is None:
            return None
        if isinstance(value, str):
            return _from_text(value)
        number = float(value)
        found = int(number * 1000 if abs(number) < _SECONDS_END else number)
    except (ValueError, OverflowError, TypeError, OSError):
        return None
    return found if 0 <= found <= LARGEST else None


def _from_text(text: str) -> int | None:
    text = text.strip()[:64]
    try:
        return milliseconds(float(text))
    except ValueError:
        return milliseconds(datetime.fromisoformat(text))


def moment(timestamp: Any, sent_at: int | None, ingest: int, horizon: int = HORIZON) -> Moment:
    """Place an event in time.

    Args:
        timestamp: What the client says; None when it says nothing.
        sent_at: When the client sent it, by its own clock, in milliseconds; None when it does not say.
        ingest: When it arrived, in milliseconds.
        horizon: How far back is believed, in milliseconds.
    """
    if timestamp is None:
        return Moment(ingest, ingest, False)
    if type(timestamp) is datetime and timestamp.tzinfo is UTC:
        original: int | None = (timestamp - _EPOCH) // _MILLISECOND
    else:
        original = milliseconds(timestamp)
    if original is None:
        return Moment(ingest, ingest, True)
    time = original if sent_at is None else original + ingest - sent_at
    if time > ingest:
        # A little ahead is a clock; far ahead is nonsense.
        return Moment(ingest, original, time > ingest + FUTURE)
    if time < ingest - horizon:
        return Moment(ingest - horizon, original, True)
    return Moment(time, original, False)
