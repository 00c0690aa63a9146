"""A decision in words for people who do not know statistics: what was seen, how sure it is, what it means."""

import math
from collections.abc import Sequence
from datetime import timedelta

from flywheel.experiment.analysis import Analysis, Design, Finding, Guardrail, Kind
from flywheel.experiment.confidence_sequence import Standing

MOST_TOLD = 100.0
_NEXT_TO_NOTHING = 0.01
"""Of a unit of time: what is so little above a whole one is not rounded up."""
_UNITS = (
    ("days", timedelta(days=1)),
    ("hours", timedelta(hours=1)),
    ("minutes", timedelta(minutes=1)),
    ("seconds", timedelta(seconds=1)),
)
"""Relative difference above which nobody asks for the number."""


def better(design: Design, found: Finding) -> str:
    """Say that a variant has won."""
    return f"{found.name} is better than {design.arms[0]}: {_seen(design, found)}."


def worse(design: Design, found: Sequence[Finding]) -> str:
    """Say that control has won over all."""
    seen = "; ".join(f"{each.name}: {_seen(design, each)}" for each in found)
    return f"{design.arms[0]} stays, as it is better. {seen}."


def better_but_not_safe(design: Design, found: Finding) -> str:
    """Say that a winner cannot be shipped."""
    return (
        f"{found.name} is better than {design.arms[0]} ({_seen(design, found)}), but the test has ended before it was "
        f"sure that {_not_held(design, found)} did not get worse than allowed. Look at it before you ship."
    )


def waits_for_guardrails(design: Design, found: Finding) -> str:
    """Say what a winner waits for."""
    return (
        f"{found.name} is better than {design.arms[0]} ({_seen(design, found)}); the test goes on until it is sure "
        f"that {_not_held(design, found)} did not get worse than allowed."
    )


def nothing_found(design: Design, found: Sequence[Finding], *, is_out_of_time: bool) -> str:
    """Say that a test has ended without a finding."""
    why = "its time is over" if is_out_of_time else "all planned visitors were there"
    seen = "; ".join(f"{each.name}: {_seen(design, each)}" for each in found)
    return f"No difference is proven, and {why}. {seen}."


def ruled_out(design: Design, found: Sequence[Finding]) -> str:
    """Say that control stays as the planned improvement is ruled out."""
    seen = "; ".join(f"{each.name}: {_seen(design, each)}" for each in found)
    return f"{design.arms[0]} stays: an improvement of {_planned(design)}, as planned, is ruled out. {seen}."


def out_of_reach(design: Design, found: Sequence[Finding]) -> str:
    """Say that going on is futile."""
    seen = "; ".join(f"{each.name}: {_seen(design, each)}" for each in found)
    return (
        f"An improvement of {_planned(design)}, for which the test was made, has become so unlikely "
        f"that more visitors would be wasted. {seen}."
    )


def goes_on(design: Design, found: Sequence[Finding]) -> str:
    """Say how far a test is."""
    least = min(each.look.fraction for each in found)
    if design.batches:
        return f"Too early to tell: {round(least * design.batches)} of {design.batches} batches of visitors were there."
    return f"Too early to tell: {math.floor(least * 100)}% of the planned visitors were there."


def too_early(left: timedelta, *, whole_weeks: bool) -> str:
    """Say how long there is no verdict yet."""
    what = "whole weeks, as asked" if whole_weeks else "its least time"
    return f"No verdict before the test has run for {what}: {time_left(left)} more."


def time_left(time: timedelta) -> str:
    """Say how long something takes, rounded up to whole units of which there are at least two: 36 hours, 3 days."""
    for unit, size in _UNITS:
        if time > size:
            return f"{math.ceil(time / size - _NEXT_TO_NOTHING):,} {unit}"
    return "1 second"


def breach(design: Design, found: Sequence[Finding]) -> str:
    """Say which guardrail was broken and by how much."""
    if not found:
        return "Every variant broke a guardrail before; all visitors get " + design.arms[0] + "."
    said = []
    for each in found:
        for guardrail, harm in zip(design.guardrails, each.harms, strict=True):
            if harm.standing is Standing.BREACHED:
                said.append(
                    f"{guardrail.metric.name} of {each.name} is worse by {_harm(harm.estimate, guardrail)} and "
                    f"surely by more than the allowed {_harm(_allowed(guardrail), guardrail)}"
                )
    return f"{'; '.join(said)}. All visitors get {design.arms[0]} again."


def mismatch(design: Design, analysis: Analysis) -> str:
    """Say that the arms do not have their visitors."""
    had = ", ".join(f"{name} {percent(share)}" for name, share in zip(design.arms, analysis.ratio.shares, strict=True))
    wanted = ", ".join(percent(share) for share in analysis.ratio.wanted)
    return (
        f"The arms do not have the visitors that they should: {had}, wanted {wanted}. Some visitors are lost "
        "or counted in the wrong arm, so nothing can be compared. Find the cause and start the test anew."
    )


def lost_events(design: Design) -> str:
    """Say that counting went wrong."""
    return f'"{design.primary.name}" was not counted as it should be during the test, so nothing can be compared.'


def nobody_came() -> str:
    """Say that there were no visitors."""
    return "Nobody has seen any variant. Look at the routes, the traffic share and whom the test is for."


def no_events(design: Design, visitors: int) -> str:
    """Say that there were no events."""
    return (
        f'{visitors:,} visitors came and "{design.primary.name}" was not seen once, not even with {design.arms[0]}. '
        "Look at the name of the event and whether it is sent at all."
    )


def _seen(design: Design, found: Finding) -> str:
    effect, metric = found.effect, design.primary
    write = percent if metric.in_percent or metric.kind is Kind.SHARE else number
    seen = f'"{metric.name}" {write(effect.variant)} against {write(effect.control)} with {design.arms[0]}'
    if found.lift is None:
        return f"{seen}, too few to compare"
    low, high = signed(found.lift.lower), signed(found.lift.upper)
    return f"{seen}, {signed(found.lift.estimate)}, and very likely between {low} and {high}"


def _planned(design: Design) -> str:
    return f"{'+' if design.primary.more_is_better else '-'}{percent(design.planned_lift)}"


def _not_held(design: Design, found: Finding) -> str:
    names = [
        guardrail.metric.name
        for guardrail, harm in zip(design.guardrails, found.harms, strict=True)
        if guardrail.must_hold and harm.standing is not Standing.HELD
    ]
    return " and ".join(names)


def _allowed(guardrail: Guardrail) -> float:
    margin = guardrail.margin
    if not margin.is_relative:
        return margin.margin
    return math.log1p(margin.margin) if margin.more_is_worse else -math.log1p(-margin.margin)


def _harm(value: float, guardrail: Guardrail) -> str:
    margin = guardrail.margin
    if margin.is_relative:
        return percent(math.expm1(value) if margin.more_is_worse else -math.expm1(-value))
    if guardrail.metric.kind is Kind.SHARE:
        return f"{value * 100:.2g} points"
    return number(value)


def percent(share: float) -> str:
    """Write a share."""
    return f"{share * 100:,.0f}%" if abs(share) >= 1 else f"{share * 100:.3g}%"


def signed(share: float) -> str:
    """Write a relative difference."""
    if not math.isfinite(share):
        return "any"
    if share > MOST_TOLD:
        return f"over +{MOST_TOLD * 100:,.0f}%"
    if share < -MOST_TOLD:
        return f"below -{MOST_TOLD * 100:,.0f}%"
    return f"{share * 100:+,.0f}%" if abs(share) >= 1 else f"{share * 100:+.3g}%"


def number(value: float) -> str:
    """Write a mean, a sum or a time."""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"
