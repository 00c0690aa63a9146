"""When a test can run: within its own schedule and within the campaign's. Pure."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.abtest_decision import WEEK
from flywheel.api.campaign import Campaign, Schedule
from flywheel.api.problem import Problem
from flywheel.campaign.stages import BEGINNING, Stage, Timeline, resolve

_NONE = timedelta()
END = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Span:
    """From one instant to another; BEGINNING and END stand for what has none."""

    opens: datetime
    closes: datetime

    def meets(self, other: "Span") -> bool:
        """Tell whether both have an instant in common."""
        return max(self.opens, other.opens) < min(self.closes, other.closes)

    def within(self, other: "Span") -> "Span":
        """Return what both have in common; it closes before it opens where that is nothing."""
        return Span(max(self.opens, other.opens), min(self.closes, other.closes))


def span_of(test: ABTest, campaign: Campaign) -> Span | tuple[Problem, ...]:
    """Tell from when to when a test wants to run at most, or what in its schedule cannot be."""
    if test.spec.schedule is None:
        return Span(BEGINNING, END)
    zone = campaign.spec.schedule.time_zone if campaign.spec.schedule else "UTC"
    own = Schedule(
        time_zone=zone,
        starts_at=test.spec.schedule.starts_at,
        ends_at=test.spec.schedule.ends_at,
        prepare_for=_NONE,
        warm_for=_NONE,
        drain_for=_NONE,
    )
    timeline = resolve(own)
    return _live(timeline) if isinstance(timeline, Timeline) else timeline


def time_problems(test: ABTest, campaign: Campaign) -> tuple[Problem, ...]:
    """Say why the test cannot come to a decision while the campaign is live."""
    timeline, own = resolve(campaign.spec.schedule), span_of(test, campaign)
    if not isinstance(own, Span):
        # A zone that does not exist is the Campaign's fault, and told there.
        return tuple(each for each in own if each.path != "spec.schedule.timeZone")
    if not isinstance(timeline, Timeline):
        return ()
    live = _live(timeline)
    if own.opens >= live.closes:
        return (
            Problem("spec.schedule.startsAt", f"the campaign ends at {_said(live.closes)}, before: start it earlier"),
        )
    if own.closes <= live.opens:
        return (Problem("spec.schedule.endsAt", f"the campaign starts at {_said(live.opens)}, after: end it later"),)
    return _too_short(test, own.within(live), ends_with_campaign=live.closes <= own.closes)


def _too_short(test: ABTest, can: Span, *, ends_with_campaign: bool) -> tuple[Problem, ...]:
    opens = max(can.opens, _since(test))
    decision = test.spec.decision
    least = decision.minimum_duration
    if decision.whole_weeks:
        least = max(1, -(-least // WEEK)) * WEEK
    if can.closes == END or can.closes - opens >= least:
        return ()
    by = "the campaign ends" if ends_with_campaign else "schedule.endsAt ends it"
    remedy = "take wholeWeeks out, " if decision.whole_weeks else ""
    return (
        Problem(
            "spec.decision.minimumDuration",
            f"the test can run from {_said(opens)} until {by} at {_said(can.closes)}, which is less than the "
            f"{_hours(least)} that it needs: {remedy}lower minimumDuration, or let it run longer",
        ),
    )


def created(test: ABTest) -> datetime | None:
    """Tell when the API server made the test; None before it has."""
    moment = test.metadata.creation_timestamp
    return moment if moment is None or moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _since(test: ABTest) -> datetime:
    """Since when the test can have run at all."""
    started = test.status.get("startedAt")
    if isinstance(started, str):
        try:
            return datetime.fromisoformat(started).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    return created(test) or BEGINNING


def _live(timeline: Timeline) -> Span:
    opens, after = timeline.start_of(Stage.LIVE), timeline.after(Stage.LIVE)
    return Span(BEGINNING if opens is None else opens, END if after is None else after.at)


def _said(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _hours(duration: timedelta) -> str:
    return f"{duration / timedelta(hours=1):g}h"
