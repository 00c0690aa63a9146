"""Time from outside: the wall's, for what people wrote down, and one that never goes back, for waiting."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Where the time comes from. Tests bring their own."""

    def now(self) -> datetime:
        """Tell the wall-clock time, in UTC. It may be set forward or back at any moment."""

    def elapsed(self) -> float:
        """Tell the seconds since some fixed moment. It goes on while the process is stopped or the machine asleep."""


class SystemClock:
    """The clocks of this machine."""

    def now(self) -> datetime:
        """Tell the wall-clock time, in UTC."""
        return datetime.now(UTC)

    def elapsed(self) -> float:
        """Tell the seconds since the machine started, sleep included where the system counts it."""
        return time.clock_gettime(_ELAPSED)


_ELAPSED: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
