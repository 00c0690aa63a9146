"""Whether a test can come to a decision in the time that it has, and what to do if not. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from flywheel.api.abtest import ABTest
from flywheel.api.campaign import Campaign
from flywheel.campaign.abtest_time import END, Span, span_of
from flywheel.campaign.stages import BEGINNING, Stage, Timeline, resolve
from flywheel.experiment.planning import (
    FACTORS,
    Baseline,
    Cost,
    cost_of,
    expected_share,
    participants_a_day,
    smallest_effect,
)
from flywheel.experiment.sentences import time_left
from flywheel.insight.past import Past

DAY = timedelta(days=1)
FEWEST_CONVERSIONS = 30
"""Visitors with the event in the past, below which a baseline is a guess."""


@dataclass(frozen=True, slots=True)
class Window:
    """The time that a test has."""

    length: timedelta
    limit: str
    """What ends it, as a field."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is known before the start."""

    baseline: Baseline
    visitors_a_day: float
    participants: float
    """A day."""
    costs: tuple[Cost | None, ...]
    """By factor."""
    window: Window
    share: float
    """Of the planned visitors, needed on average if the effect is as planned."""
    smallest: float | None
    """Effect that can be seen in the window."""
    refusals: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def planned(self) -> Cost | None:
        """What the effect costs that the test is made for."""
        return self.costs[FACTORS.index(1.0)]


def window_of(test: ABTest, campaign: Campaign | None, now: datetime) -> Window:
    """Give the time that a test has, from now or from when it can begin, and what ends it."""
    most = test.spec.decision.maximum_duration
    limits = [(now + most, "decision.maximumDuration")]
    opens = now
    if campaign is not None:
        own, timeline = span_of(test, campaign), resolve(campaign.spec.schedule)
        if isinstance(own, Span):
            opens = max(opens, own.opens)
            limits.append((own.closes, "schedule.endsAt"))
        if isinstance(timeline, Timeline):
            opens = max(opens, timeline.start_of(Stage.LIVE) or BEGINNING)
            after = timeline.after(Stage.LIVE)
            limits.append((after.at if after else END, "the end of the campaign"))
    limits[0] = (opens + most, limits[0][1])
    closes, limit = min(limits)
    return Window(max(timedelta(), closes - opens), limit)


def plan_of(test: ABTest, campaign: Campaign | None, past: Past, baseline: Baseline, now: datetime) -> Plan:
    """Plan a test.

    Args:
        test: The test.
        campaign: Its Campaign; None where it is not known, so that only the test's own times count.
        past: What came a day before; only its visitors a day count.
        baseline: What the primary metric is today.
        now: The time.
    """
    participants = participants_a_day(test, past.per_day)
    window = window_of(test, campaign, now)
    costs = tuple(cost_of(test, baseline, participants, factor) for factor in FACTORS)
    smallest = smallest_effect(test, baseline, participants, window.length / DAY)
    planned = costs[FACTORS.index(1.0)]
    return Plan(
        baseline,
        past.per_day,
        participants,
        costs,
        window,
        expected_share(test),
        smallest,
        tuple(_refusals(test, planned, window, smallest)),
        tuple(_warnings(test, planned, window, past, baseline)),
    )


def _refusals(test: ABTest, planned: Cost | None, window: Window, smallest: float | None) -> Iterator[str]:
    metric, effect = test.spec.metrics.primary.label, test.spec.metrics.primary.minimum_effect
    if planned is None:
        yield (
            f"from such a baseline {metric} cannot change by {effect:.3g}: look at the name of the event and at "
            "metrics.primary.minimumEffect, or say --baseline"
        )
        return
    if planned.expected_time is None:
        yield "nobody takes part: look at the service, traffic and targeting, or say --visitors-per-day"
        return
    least, has = test.spec.decision.minimum_duration, time_left(window.length)
    if window.length < least:
        yield f"it has {has}, less than its own minimumDuration of {time_left(least)}: {_more(window)}"
    elif planned.expected_time > window.length:
        seen = f", set minimumEffect to {percent(smallest)} or more, which can be seen in time" if smallest else ""
        yield (
            f"it needs {_told(planned.time)} at most and about {time_left(planned.expected_time)} if the effect is "
            f"there, and has {has} ({window.limit}): it would end without knowing. {_more(window)}{_traffic(test)}"
            f"{seen}"
        )


def _warnings(test: ABTest, planned: Cost | None, window: Window, past: Past, baseline: Baseline) -> Iterator[str]:
    if planned is not None and planned.time is not None and planned.expected_time is not None:
        is_late = planned.time > window.length
        if is_late and planned.expected_time <= window.length:
            yield (
                f"it needs up to {time_left(planned.time)} and has {time_left(window.length)} ({window.limit}): if "
                f"the effect is there it may still be seen in time, but not as often as statistics.power "
                f"says. {_more(window)}"
            )
        if planned.time < timedelta(days=7) and not test.spec.decision.whole_weeks:
            yield (
                "it may end within a week: weekdays and weekends are other people. With decision.wholeWeeks: true each "
                "day counts alike"
            )
    if test.spec.metrics.primary.event is not None and past.sums.y and past.sums.y < FEWEST_CONVERSIONS:
        yield f"the baseline comes of {past.sums.y:.0f} conversions only, so all of this is a guess"
    if 0 < past.days < 2 and past.sums.y:
        yield f"the past that is known has {time_left(past.days * DAY)} only, so visitors a day are a guess"
    targeting = test.spec.targeting
    if targeting is not None and (targeting.headers or targeting.segments or targeting.visitors != "All"):
        yield "targeting by headers, segments and new or returning visitors is not looked up: fewer will take part"
    if test.spec.metrics.covariate is not None:
        yield "metrics.covariate needs fewer visitors than said here, by how much shows only in the test"
    if test.spec.statistics.method == "Bandit":
        yield "method: Bandit shares visitors out unevenly, so it needs more of them to be as sure"


def _more(window: Window) -> str:
    ways = {
        "decision.maximumDuration": "Raise decision.maximumDuration",
        "schedule.endsAt": "Let schedule.endsAt be later",
    }
    return ways.get(window.limit, "Start it earlier, or let the campaign run longer")


def _traffic(test: ABTest) -> str:
    return f", raise traffic ({test.spec.traffic / 100:g}% now)" if test.spec.traffic < 10_000 else ""


def _told(time: timedelta | None) -> str:
    return "forever" if time is None else time_left(time)


def percent(share: float) -> str:
    """Write a share."""
    return f"{share * 100:.3g}%"
