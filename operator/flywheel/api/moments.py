"""The rule on two moments, wherever a schedule has a start and an end."""

from typing import Any

from flywheel.api.model import Rule
from flywheel.api.quantities import MOMENT_PATTERN, cel_text

_MOMENT = f"matches({cel_text(MOMENT_PATTERN)})"
_OFFSET = "matches('(Z|[+-][0-9]{2}:[0-9]{2})$')"


def _ends_after_start(schedule: Any) -> bool:
    start, end = schedule.starts_at, schedule.ends_at
    if start is None or end is None or (start.tzinfo is None) != (end.tzinfo is None):
        return True  # one wall time and one offset: only the zone tells, see the stages
    return bool(start < end)


ENDS_AFTER_START = Rule(
    cel=f"!has(self.startsAt) || !has(self.endsAt) || !self.startsAt.{_MOMENT} || !self.endsAt.{_MOMENT} || "
    f"self.startsAt.{_OFFSET} != self.endsAt.{_OFFSET} || (self.startsAt.{_OFFSET} ? "
    "timestamp(self.startsAt) < timestamp(self.endsAt) : self.startsAt < self.endsAt)",
    holds=_ends_after_start,
    message="schedule.endsAt must be after schedule.startsAt: move endsAt later or startsAt earlier",
    field="endsAt",
)
