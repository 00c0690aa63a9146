"""From values to places on a drawing, and the values that are worth a line. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_SPANS = tuple(
    timedelta(minutes=each) for each in (5, 10, 30, 60, 120, 360, 720, 1440, 2880, 4320, 10080, 20160, 43200)
)


@dataclass(frozen=True, slots=True)
class Scale:
    """From a value to a place."""

    low: float
    high: float
    start: float
    """Place of the lowest value."""
    end: float

    def __call__(self, value: float) -> float:
        """Give the place of a value; what lies outside is held at the edge."""
        within = min(self.high, max(self.low, value))
        share = (within - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def ticks(low: float, high: float, most: int = 6) -> tuple[float, ...]:
    """Give round values between two."""
    if not high > low:
        return (low,)
    raw = (high - low) / most
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(each * power for each in _STEPS if each * power >= raw * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return tuple(each * step for each in range(first, last + 1))


def moments(begin: datetime, end: datetime, most: int = 7) -> Iterator[datetime]:
    """Give round moments between two, in the zone of the first."""
    step = next((each for each in _SPANS if (end - begin) / each <= most), _SPANS[-1])
    at = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    while at <= end:
        if at >= begin:
            yield at
        at += step


def bounds(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """Give what holds all values, with some room beside them."""
    low, high = min(values), max(values)
    beside = (high - low) * room or abs(high) * room or 0.01
    return low - beside, high + beside
