"""What follows from an analysis: go on, or a verdict, with the reason in words. Pure."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from flywheel.experiment import sentences
from flywheel.experiment.analysis import Analysis, Design, Finding
from flywheel.experiment.confidence_sequence import Standing

WEEK = timedelta(days=7)


class Verdict(StrEnum):
    """How a test ends."""

    SHIP = "Ship"
    KEEP_CONTROL = "KeepControl"
    INCONCLUSIVE = "Inconclusive"
    STOPPED_BY_GUARDRAIL = "StoppedByGuardrail"
    INVALID = "Invalid"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a test runs at least and at most.

    Raises:
        ValueError: The most is less than the least, or nothing.
    """

    minimum: timedelta = timedelta()
    """Before that there is no verdict but those that protect visitors or say that the test is broken."""
    maximum: timedelta | None = None
    whole_weeks: bool = False
    """The least time is rounded up to weeks, so that each day of the week is in it as often."""

    def __post_init__(self) -> None:
        if self.maximum is not None and self.maximum < max(self.least, timedelta(seconds=1)):
            raise ValueError(f"at most {self.maximum} is less than at least {self.least}: give the test more time")

    @property
    def least(self) -> timedelta:
        """The least time, in weeks where they are to be whole."""
        return WEEK * math.ceil(self.minimum / WEEK) if self.whole_weeks else self.minimum


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done now."""

    verdict: Verdict | None
    """None as long as the test goes on."""
    winner: str | None
    """The variant to ship."""
    withdrawn: tuple[str, ...]
    """Variants that broke a guardrail, now or before: none of their traffic may stay there."""
    settled: tuple[str, ...]
    """Variants that are worse or out of reach of the planned effect: traffic to them teaches nothing more."""
    sentence: str


def decide(
    design: Design,
    analysis: Analysis,
    limits: Limits,
    elapsed: timedelta,
    *,
    withdrawn_before: frozenset[str] = frozenset(),
    is_tracking_broken: bool = False,
) -> Decision:
    """Decide on a test at one look.

    In this order: a breach takes its variant out at once; a mismatch of the sample ratio or lost events make the test
    invalid; nothing else is said before the least time; then whoever is proven better ships, if all guardrails that
    must hold are known to; if every variant is proven worse control stays. At the end, or when going on is futile,
    control stays too if the intervals rule the planned improvement out; the rest is inconclusive.

    A variant counts as better at this look or not at all: a crossing before the least time that has gone again is
    given away, which can only make fewer errors.

    Args:
        design: As fixed before the start.
        analysis: Of this look.
        limits: Least and greatest time.
        elapsed: Since the first exposure, without pauses.
        withdrawn_before: Variants that broke a guardrail at an earlier look; a breach stays one.
        is_tracking_broken: It is known that events were lost or counted wrongly.
    """
    breached = tuple(each for each in analysis.findings if _breaches(each))
    withdrawn = tuple(each.name for each in analysis.findings if each.name in withdrawn_before or _breaches(each))
    alive = [each for each in analysis.findings if each.name not in withdrawn]
    settled = tuple(each.name for each in alive if _sign(design, each) < 0 or each.is_futile)

    def say(verdict: Verdict | None, sentence: str, winner: str | None = None) -> Decision:
        return Decision(verdict, winner, withdrawn, settled, sentence)

    if not alive:
        return say(Verdict.STOPPED_BY_GUARDRAIL, sentences.breach(design, breached))
    broken = _broken(design, analysis, limits, elapsed, is_tracking_broken=is_tracking_broken)
    if broken:
        return say(Verdict.INVALID, broken)
    if elapsed < limits.least:
        return say(None, sentences.too_early(limits.least - elapsed, whole_weeks=limits.whole_weeks))
    better = [each for each in alive if _sign(design, each) > 0]
    ready = [each for each in better if _all_hold(design, each)]
    if ready:
        best = max(ready, key=lambda each: abs(each.effect.difference))
        return say(Verdict.SHIP, sentences.better(design, best), best.name)
    if all(_sign(design, each) < 0 for each in alive):
        return say(Verdict.KEEP_CONTROL, sentences.worse(design, alive))
    return _at_the_end(design, limits, elapsed, alive, better, say_so=say)


def _at_the_end(
    design: Design,
    limits: Limits,
    elapsed: timedelta,
    alive: list[Finding],
    better: list[Finding],
    *,
    say_so: Callable[[Verdict | None, str], Decision],
) -> Decision:
    is_out_of_time = _is_over(limits, elapsed)
    if is_out_of_time or all(each.look.is_final or _sign(design, each) < 0 or each.is_futile for each in alive):
        if better:
            return say_so(Verdict.INCONCLUSIVE, sentences.better_but_not_safe(design, better[0]))
        if all(_sign(design, each) < 0 or _is_ruled_out(design, each) for each in alive):
            return say_so(Verdict.KEEP_CONTROL, sentences.ruled_out(design, alive))
        if is_out_of_time or any(each.look.is_final for each in alive):
            return say_so(Verdict.INCONCLUSIVE, sentences.nothing_found(design, alive, is_out_of_time=is_out_of_time))
        return say_so(Verdict.INCONCLUSIVE, sentences.out_of_reach(design, alive))
    if better:
        return say_so(None, sentences.waits_for_guardrails(design, better[0]))
    return say_so(None, sentences.goes_on(design, alive))


def _broken(
    design: Design, analysis: Analysis, limits: Limits, elapsed: timedelta, *, is_tracking_broken: bool
) -> str | None:
    """Say why a test proves nothing, or None."""
    if analysis.ratio.is_mismatch:
        return sentences.mismatch(design, analysis)
    if is_tracking_broken:
        return sentences.lost_events(design)
    is_over = _is_over(limits, elapsed)
    visitors = analysis.control_visitors + sum(each.visitors for each in analysis.findings)
    if is_over and not visitors:
        return sentences.nobody_came()
    due = is_over or any(each.look.is_final for each in analysis.findings)
    if due and all(each.effect.variant == each.effect.control == 0 for each in analysis.findings):
        return sentences.no_events(design, visitors)
    return None


def _is_ruled_out(design: Design, finding: Finding) -> bool:
    """Whether the interval leaves no room for the improvement that the test was made for."""
    planned = design.planned_lift * abs(finding.effect.control)
    interval = finding.look.interval
    return interval.upper < planned if design.primary.more_is_better else interval.lower > -planned


def _is_over(limits: Limits, elapsed: timedelta) -> bool:
    return limits.maximum is not None and elapsed >= limits.maximum


def _breaches(finding: Finding) -> bool:
    return any(harm.standing is Standing.BREACHED for harm in finding.harms)


def _all_hold(design: Design, finding: Finding) -> bool:
    return all(
        harm.standing is Standing.HELD or not guardrail.must_hold
        for guardrail, harm in zip(design.guardrails, finding.harms, strict=True)
    )


def _sign(design: Design, finding: Finding) -> int:
    """1 for a variant that is proven better, -1 for one that is proven worse."""
    return finding.look.direction if design.primary.more_is_better else -finding.look.direction
