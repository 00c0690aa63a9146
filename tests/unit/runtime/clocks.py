"""Clocks that a test sets as it likes."""

from datetime import UTC, datetime, timedelta

START = datetime(2027, 6, 16, tzinfo=UTC)


class FakeClock:
    """Two clocks that a test sets as it likes."""

    def __init__(self) -> None:
        self.wall = START
        self.seconds = 1000.0

    def now(self) -> datetime:
        return self.wall

    def elapsed(self) -> float:
        return self.seconds

    def pass_(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += timedelta(seconds=seconds)
