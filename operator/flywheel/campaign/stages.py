"""The stages of a Campaign by the clock.

Wall times are resolved to instants once, in the campaign's zone; from there on all arithmetic is on instants, so
that `warmFor: 30m` is thirty real minutes also in the night in which the clocks change.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from itertools import pairwise
from zoneinfo import ZoneInfo

from flywheel.api.campaign import Schedule
from flywheel.api.problem import Problem
from flywheel.plan import content_hash

CLOCK_STEP_TOLERANCE = timedelta(minutes=5)
"""How far the clock may step back (a correction, another replica's clock) without undoing a stage already reached."""

BEGINNING = datetime.min.replace(tzinfo=UTC)


class Stage(Enum):
    """Where a Campaign stands in its own time, in the order in which it goes through them."""

    SCHEDULED = "Scheduled"
    PREPARING = "Preparing"
    WARM = "Warm"
    LIVE = "Live"
    DRAINING = "Draining"
    RETAINED = "Retained"
    RETIRED = "Retired"

    @property
    def rank(self) -> int:
        """The position in the order of stages, from 0."""
        return list(Stage).index(self)

    @property
    def runs(self) -> bool:
        """Whether the children exist in this stage, be it at zero replicas."""
        return self not in (Stage.SCHEDULED, Stage.RETIRED)


@dataclass(frozen=True, slots=True)
class Transition:
    """A stage and the instant at which it begins."""

    stage: Stage
    at: datetime


@dataclass(frozen=True, slots=True)
class Timeline:
    """A schedule resolved to instants: the stages this Campaign will go through, each with its beginning, in order."""

    transitions: tuple[Transition, ...]
    hold_until: datetime | None
    """Until when the warm size stays the floor of a live service; None where there is nothing to hold."""

    @property
    def digest(self) -> str:
        """Changes when, and only when, some instant of the timeline changes."""
        return content_hash([(each.stage.value, each.at.isoformat()) for each in self.transitions])

    def stage_at(self, now: datetime) -> Stage:
        """Tell the stage that the clock alone gives at `now`."""
        return max((each for each in self.transitions if each.at <= now), key=lambda each: each.stage.rank).stage

    def start_of(self, stage: Stage) -> datetime | None:
        """Tell when `stage` begins; None where this timeline has no such stage."""
        return next((each.at for each in self.transitions if each.stage is stage), None)

    def after(self, stage: Stage) -> Transition | None:
        """Tell the transition that ends `stage`; None where it lasts for ever."""
        return next((each for each in self.transitions if each.stage.rank > stage.rank), None)


def current_stage(timeline: Timeline, now: datetime, reached: Stage | None) -> Stage:
    """Tell the stage at `now` of a Campaign that has already `reached` a stage of this same timeline.

    A clock that steps back a little does not undo what was done; one that steps back further than
    CLOCK_STEP_TOLERANCE was wrong before, and is followed.
    """
    by_clock = timeline.stage_at(now)
    if reached is None or reached.rank <= by_clock.rank:
        return by_clock
    start = timeline.start_of(reached)
    if start is None or start - now > CLOCK_STEP_TOLERANCE:
        return by_clock
    return reached


def resolve(schedule: Schedule | None) -> Timeline | tuple[Problem, ...]:
    """Turn a schedule into a timeline, or say what in it cannot be.

    Without a schedule, or without `startsAt`, a Campaign is Live from the beginning; without `endsAt` it stays so.
    """
    if schedule is None:
        return Timeline((Transition(Stage.LIVE, BEGINNING),), hold_until=None)
    zone = _zone(schedule.time_zone)
    if isinstance(zone, Problem):
        return (zone,)
    starts_at = _instant("startsAt", schedule.starts_at, zone)
    ends_at = _instant("endsAt", schedule.ends_at, zone)
    problems = tuple(each for each in (starts_at, ends_at) if isinstance(each, Problem))
    if isinstance(starts_at, Problem) or isinstance(ends_at, Problem):
        return problems
    if starts_at and ends_at and ends_at <= starts_at:
        return (_ends_before_it_starts(starts_at, ends_at),)
    try:
        return _timeline(schedule, starts_at, ends_at)
    except OverflowError:
        return (
            Problem("spec.schedule", "a stage would lie outside the years 1 to 9999: use nearer times or durations"),
        )


def beginning_of(schedule: Schedule | None) -> datetime | None:
    """Tell when a Campaign with this schedule begins to run; None where the schedule cannot be followed."""
    timeline = resolve(schedule)
    if not isinstance(timeline, Timeline):
        return None
    return next(each.at for each in timeline.transitions if each.stage is not Stage.SCHEDULED)


def _timeline(schedule: Schedule, starts_at: datetime | None, ends_at: datetime | None) -> Timeline:
    moments: list[tuple[Stage, datetime]] = []
    if starts_at:
        moments += [
            (Stage.SCHEDULED, BEGINNING),
            (Stage.PREPARING, starts_at - schedule.prepare_for),
            (Stage.WARM, starts_at - schedule.warm_for),
        ]
    moments.append((Stage.LIVE, starts_at or BEGINNING))
    if ends_at:
        retained_at = ends_at + schedule.drain_for
        moments += [
            (Stage.DRAINING, ends_at),
            (Stage.RETAINED, retained_at),
            (Stage.RETIRED, retained_at + schedule.retain_for),
        ]
    hold_until = starts_at + schedule.hold_for if starts_at else None
    return Timeline(_without_empty_stages(moments), hold_until)


def _without_empty_stages(moments: list[tuple[Stage, datetime]]) -> tuple[Transition, ...]:
    """Drop every stage that ends at the instant at which it begins: nobody can be in it."""
    kept = [each for each, following in pairwise(moments) if each[1] < following[1]]
    return tuple(Transition(stage, at) for stage, at in [*kept, moments[-1]])


def _zone(name: str) -> ZoneInfo | Problem:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return Problem(
            "spec.schedule.timeZone",
            f"there is no time zone {name!r}: use an IANA name such as Asia/Shanghai, Europe/Berlin or UTC",
        )


def _instant(field: str, moment: datetime | None, zone: ZoneInfo) -> datetime | Problem | None:
    if moment is None:
        return None
    try:
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
        # The first of two equal wall times, when the clocks go back: fold=0 is the earlier one.
        instant = moment.replace(tzinfo=zone, fold=0).astimezone(UTC)
        if instant.astimezone(zone).replace(tzinfo=None) != moment:
            return Problem(
                f"spec.schedule.{field}",
                f"{moment.isoformat()} does not exist in {zone.key}: the clocks go forward over it; "
                "use an earlier or later time, or give an offset",
            )
    except OverflowError:
        return Problem(f"spec.schedule.{field}", "lies outside the years 1 to 9999: use a nearer time")
    return instant


def _ends_before_it_starts(starts_at: datetime, ends_at: datetime) -> Problem:
    return Problem(
        "spec.schedule.endsAt",
        f"{ends_at.isoformat()} is not after startsAt ({starts_at.isoformat()}): let the campaign end after it starts",
    )
