"""What a report says in plain words: the verdict, how it came about, and what to be careful of. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from flywheel.experiment.report_model import Day, Report

WEEK = 7
LEAST_CONVERSIONS = 50
"""Of each half and arm, before the change of the first days is compared with that of the later ones."""
SURELY = 2.5
"""Standard errors between both, from which on people are told."""
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@dataclass(frozen=True, slots=True)
class Banner:
    """The verdict, large."""

    title: str
    look: str
    """good, even, bad or open."""


def banner(report: Report) -> Banner:
    """Say in a few words what came out."""
    decision, control = report.decision, control_of(report)
    if decision is None:
        return _undecided(report)
    match decision.verdict:
        case "Ship":
            done = " and is released" if decision.promoted_at or report.state == "Promoted" else ""
            return Banner(f"{decision.winner} is better{done}", "good")
        case "KeepControl":
            return Banner(f"{control} stays", "even")
        case "StoppedByGuardrail":
            return Banner("Stopped to protect visitors", "bad")
        case "Invalid":
            return Banner("The figures cannot be trusted", "bad")
        case _:
            return Banner("No difference is proven", "even")


def _undecided(report: Report) -> Banner:
    named = {
        "Waiting": "The test has not begun",
        "Paused": "The test is paused",
        "Failed": "The test could not run",
        "Stopped": "Stopped before there was a verdict",
    }
    return Banner(named.get(report.state, "The test is running: nothing is decided yet"), "open")


def what_next(report: Report) -> str:
    """Say what becomes, or became, of the verdict."""
    decision, control = report.decision, control_of(report)
    if decision is None:
        return "" if report.state in ("Stopped", "Failed") else "Whoever is ahead now may be so by chance."
    if decision.promoted_at is not None or report.state == "Promoted":
        return "Everybody gets it now. Bring it to Git, so that the next release keeps it: flywheel abtest adopt."
    if decision.verdict != "Ship":
        return f"Everybody gets {control}."
    ways = {
        "Automatic": "It is released to everybody, through the gates of the service's release.",
        "Manual": "It waits for a person to release it: flywheel abtest promote.",
        "Never": "Nobody is given it automatically: the test only reports.",
    }
    return ways.get(report.design.promote, "")


def control_of(report: Report) -> str:
    """Name the control."""
    return next((each.name for each in report.design.variants if each.control), "the control")


def challengers_of(report: Report) -> list[str]:
    """Name the variants that are compared with the control."""
    return [each.name for each in report.design.variants if not each.control]


def planned_lift(report: Report) -> float:
    """Give the change that the test was made for: below 0 where less is better."""
    effect = report.design.minimum_effect
    return effect if report.design.direction == "Increase" else -effect


def zone_of(report: Report) -> tzinfo:
    """Give the campaign's time zone; UTC where nobody knows it here."""
    try:
        return ZoneInfo(report.time_zone)
    except (ValueError, OSError, KeyError):
        return ZoneInfo("UTC")


def moment(at: datetime | None, zone: tzinfo) -> str:
    """Write a moment."""
    return "–" if at is None else f"{at.astimezone(zone):%Y-%m-%d %H:%M}"


def span(seconds: float) -> str:
    """Write a length of time."""
    days = seconds / 86400
    if days >= 1:
        return f"{days:.3g} days" if round(days, 1) != 1 else "1 day"
    hours = seconds / 3600
    return f"{hours:.2g} hours" if hours >= 1 else f"{seconds / 60:.0f} minutes"


def running_seconds(report: Report) -> float:
    """Give how long visitors were assigned, without pauses."""
    end = report.ended_at or (report.looks[-1].at if report.looks else report.started_at)
    if report.started_at is None or end is None:
        return 0.0
    return max(0.0, (end - report.started_at).total_seconds() - report.paused_seconds)


def method(report: Report) -> Iterator[str]:
    """Say how it was decided, for people who do not know statistics."""
    design, control = report.design, control_of(report)
    several = len(challengers_of(report)) > 1
    yield (
        f"Visitors were assigned to the variants by chance, each one for good, and compared by {design.primary}. The "
        f"test was made to find a change of {design.minimum_effect * 100:.3g}% against {control} with a probability of "
        f"{design.power:.0%}; smaller ones may go unnoticed."
    )
    if design.variant_cap is not None:
        yield (
            f"How many visitors it takes was fixed before anything was decided: {design.variant_cap:,} of each variant"
            + (
                f", from {_figure(design.baseline, design.kind)} with {control}."
                if design.baseline is not None
                else "."
            )
        )
    if design.method == "Bandit":
        yield (
            "New visitors went more and more to the variant that did best (Thompson sampling), and each batch was "
            "compared within itself, so that a good day is not taken for a good variant."
        )
    yield (
        f"The figures were looked at again and again, and the test was free to end at any look: the bounds are made "
        f"wide enough for that. If no variant made a difference, at most {design.alpha * 100:.3g}% of such tests would "
        f"name one{', over all variants together' if several else ''}."
    )
    yield (
        'The band of "very likely between" holds the truth at any look with a probability of at least '
        f"{(1 - design.alpha) * 100:.3g}%. While it holds 0, no difference is proven. The probability to be best is "
        "for curiosity: nothing is decided on it."
    )
    if design.whole_weeks:
        yield "It was decided after whole weeks only, so that each day of the week counts alike."


def assumptions() -> Iterator[str]:
    """Say what all of it rests on."""
    yield "Visitors do not influence each other, and each one is known again by a cookie: who deletes it counts twice."
    yield "Each variant is the service with only the difference that is shown below."
    yield "What was found holds for the visitors and the time of this test. Another season has other people."
    yield "Secondary metrics explain and prove nothing by themselves; their bounds allow for their number."


def _figure(value: float, kind: str) -> str:
    return f"{value * 100:.3g}%" if kind == "event" else f"{value:,.4g}"


def notes(report: Report) -> Iterator[str]:
    """Say what to be careful of: what the operator has noted, missing weekdays, and a change that wears off."""
    yield from report.notes
    yield from _weekdays(report)
    for variant in challengers_of(report):
        yield from _novelty(report, variant)


def _weekdays(report: Report) -> Iterator[str]:
    seen = [found for each in report.days if (found := _date(each.day)) is not None]
    if not seen or (report.decision is None and report.state != "Stopped"):
        return
    missing = [name for at, name in enumerate(WEEKDAYS) if at not in {each.weekday() for each in seen}]
    if missing:
        names = f"{', '.join(missing[:-1])} or {missing[-1]}" if len(missing) > 1 else missing[0]
        yield f"The test had no {names}, and people of other weekdays may act otherwise."
    elif running_seconds(report) % (WEEK * 86400) > 86400:
        yield "The test did not end with a whole week, so some weekdays count more than others."


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _novelty(report: Report, variant: str) -> Iterator[str]:
    """Compare the change for visitors of the first half of the days with that for the later ones."""
    if report.design.kind != "event" or len(report.days) < 4:
        return
    half = len(report.days) // 2
    control = control_of(report)
    early, late = (_log_ratio(part, variant, control) for part in (report.days[:half], report.days[half:]))
    if early is None or late is None:
        yield (
            f"Whether the change with {variant} is only news that wears off cannot be told: too few came in each half "
            "of the test."
        )
        return
    difference, error = early[0] - late[0], math.hypot(early[1], late[1])
    first, second = (f"{math.expm1(each[0]) * 100:+.3g}%" for each in (early, late))
    told = f"{first} for visitors of the first half of the days and {second}"
    if abs(difference) > SURELY * error:
        yield (
            f"The change with {variant} was {told} for later ones. That is more than chance: it may be news that wears "
            "off, or something that happened meanwhile. Look at it again in some weeks."
        )
    else:
        yield f"The change with {variant} was {told} for later ones: no sign of news that wears off."


def _log_ratio(days: Sequence[Day], variant: str, control: str) -> tuple[float, float] | None:
    """Give the logarithm of the ratio of two shares, and its standard error."""
    sums = []
    for name in (variant, control):
        arms = [each.arms[name] for each in days if name in each.arms]
        visitors, total = sum(each.visitors for each in arms), sum(each.total or 0.0 for each in arms)
        if total < LEAST_CONVERSIONS or visitors <= total:
            return None
        sums.append((total / visitors, (1 / total - 1 / visitors)))
    (mine, spread), (other, noise) = sums
    return math.log(mine / other), math.sqrt(spread + noise)


def duration_told(report: Report) -> str:
    """Say how long it ran."""
    paused = f", {span(report.paused_seconds)} of pauses not counted" if report.paused_seconds else ""
    return f"{span(running_seconds(report))}{paused}" if report.started_at else "not begun"


def longest(report: Report) -> timedelta:
    """Give how long it was allowed to run."""
    return timedelta(seconds=report.design.maximum_duration)
