"""When a source is asked for its commit next. Pure."""

LONGEST_BACKOFF = 600.0
"""Seconds; a source whose own interval is longer keeps that."""
JITTER = 0.1
LEAST_DISTANCE = 2.0
"""Seconds between two questions, whatever asks for them: one push may come as several calls of a webhook."""
_MOST_DOUBLINGS = 16


def next_poll(now: float, interval: float, failures: int, chance: float) -> float:
    """Return when to ask again.

    Args:
        now: Seconds of any clock; when the last question ended.
        interval: Seconds between two questions.
        failures: How many questions in a row had no answer; each doubles the wait, up to ten minutes.
        chance: 0 to 1, from dice: spreads sources that were first asked about at the same time.
    """
    wait = interval
    if failures:
        wait = min(interval * 2 ** min(failures, _MOST_DOUBLINGS), max(interval, LONGEST_BACKOFF))
    return now + wait * (1 - JITTER + 2 * JITTER * chance)


def soonest(now: float, started: float | None) -> float:
    """Return when a source that shall be asked at once may be asked, after the last question started at `started`."""
    return now if started is None else max(now, started + LEAST_DISTANCE)
