"""How fast somebody must have travelled between two events. Needs the extra `fraud`."""

from math import asin, cos, inf, isfinite, radians, sin, sqrt

import numpy as np

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.findings import Finding, Kept
from flywheel.fraud.keeper import Keeper
from flywheel.fraud.rule import Rule, Speed
from flywheel.fraud.words import Value

EARTH = 6371.0088
"""Mean radius, in kilometres."""
PLACES_KEPT = 8
"""Of one key: the latest."""
Place = list[float]
"""Time in milliseconds, latitude and longitude in degrees."""


def kilometres(latitude: float, longitude: float, to_latitude: float, to_longitude: float) -> float:
    """Give the distance over ground of two places in degrees, by haversines."""
    low, high = radians(latitude), radians(to_latitude)
    across = sin((high - low) / 2) ** 2
    along = sin(radians(to_longitude - longitude) / 2) ** 2
    return 2 * EARTH * asin(sqrt(min(1.0, across + cos(low) * cos(high) * along)))


class SpeedState(Kept):
    """Compares an event with those just before and after it. An entry is the newest time, and the latest places."""

    def __init__(self, rule: Rule, condition: Speed) -> None:
        self._condition = condition
        self._keeper = Keeper(rule.maximum_keys, refuses=rule.when_full == "Refuse")
        super().__init__(self._keeper, span=rule.window, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell which events are too far from their neighbours in time."""
        latitudes, longitudes = columns.values(self._condition.latitude), columns.values(self._condition.longitude)
        found = {}
        for i in np.flatnonzero(chosen).tolist():
            place = _place(int(columns.times[i]), latitudes[i], longitudes[i])
            if place is None:
                self.unusable += 1
                continue
            finding = self._judged(int(keys[i]), place, int(columns.clocks[i]))
            if finding:
                found[i] = finding
        return found

    def _judged(self, key: int, place: Place, clock: int) -> Finding | None:
        self._keeper.sweep(self.over(clock))
        entry = self._keeper.get(key)
        if entry is None:
            self._keeper.admit(key, [int(place[0]), [place]])
            return None
        places: list[Place] = entry[1]
        index = sum(1 for each in places if each[0] <= place[0])
        around = [each for each in places[max(0, index - 1) : index + 1] if abs(each[0] - place[0]) < self.span]
        entry[0] = max(entry[0], int(place[0]))
        entry[1] = [*places[:index], place, *places[index:]][-PLACES_KEPT:]
        speed, other = max(((self._speed(each, place), each) for each in around), default=(0.0, place))
        limit = self._condition.kilometres_per_hour
        if speed <= limit:
            return None
        since = int(place[0]) - self.span
        return Finding(speed, limit, since, warming=since < self.born, detail=_told(*sorted((other, place))))

    def _speed(self, one: Place, other: Place) -> float:
        """Give kilometres per hour; a place is only known to within the slack."""
        distance = kilometres(*one[1:], *other[1:]) - self._condition.slack_kilometres
        return distance / (max(1.0, abs(one[0] - other[0])) / 3_600_000) if distance > 0 else 0.0


def _place(time: int, latitude: Value | None, longitude: Value | None) -> Place | None:
    numbers = [float(each) if isinstance(each, float | int) else inf for each in (latitude, longitude)]
    if not all(map(isfinite, numbers)) or abs(numbers[0]) > 90 or abs(numbers[1]) > 180:
        return None
    return [float(time), *numbers]


def _told(start: Place, end: Place) -> str:
    distance = kilometres(*start[1:], *end[1:])
    seconds = (end[0] - start[0]) / 1000
    return f"from {start[1]:g},{start[2]:g} to {end[1]:g},{end[2]:g}: {distance:.0f} km in {seconds:g} s"
