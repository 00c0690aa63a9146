"""The next step of one A/B test: from its record and the world to its next record. Pure and total.

    Waiting -> Running <-> Paused
                  |-> Decided -> Promoted
                  '-> Stopped            Waiting, Running -> Failed

Every transition is a function of what is written down and what is seen, so it does not matter who takes it, or how
often it is begun.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from flywheel.experiment.analysis import Analysis
from flywheel.experiment.decision import Decision, Verdict
from flywheel.experiment.state import ENDED, ABTestState, Concluded, Sizing, Standing

READY_WITHIN = timedelta(minutes=10)
"""How long the pods of variants may take before the test counts as failed; it begins all the same once they serve."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at the figures has shown."""

    until: datetime
    """The figures hold up to this moment."""
    analysis: Analysis
    decision: Decision


@dataclass(frozen=True, slots=True)
class Facts:
    """What the next step is decided from."""

    salt: str
    """What would assign visitors, if the test began now."""
    obstacle: str = ""
    """Why it cannot run as it is written, for people."""
    early: str = ""
    """Why it is not its time yet."""
    over: str = ""
    """Why its time is over: the campaign has ended, or its own schedule has."""
    suspended: bool = False
    unready: str = ""
    """Which variants do not serve yet, and why."""
    sizing: Sizing | None = None
    """What the author, or control's own visitors, say of the size; None while that is not known."""
    unseen: str = ""
    """Why figures could not be looked at."""
    stop: bool = False
    """A person has ended it."""
    looked: Looked | None = None
    """The newest look, if one was made since the last step."""
    promoted: bool = False
    """The winner is what the service runs."""
    commands: frozenset[str] = field(default_factory=frozenset)


def advance(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    """Take the next step."""
    if state.state in ENDED:
        return state
    if state.state == "Decided":
        return _decided(state, facts, now)
    if facts.stop:
        return _ended(state, "Stopped", "StoppedByPerson", "ended by a person", now)
    if facts.over:
        return _out_of_time(state, facts, now)
    match state.state:
        case "Waiting":
            return _waiting(state, facts, now)
        case "Paused":
            return _paused(state, facts, now)
        case _:
            return _running(state, facts, now)


def _waiting(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    for reason, why in (
        ("InvalidTest", facts.obstacle),
        ("NotYet", facts.early),
        ("Suspended", "suspended: it begins when suspend is taken back" if facts.suspended else ""),
        ("VariantsNotReady", facts.unready),
    ):
        if why:
            return replace(state, reason=reason, message=why)
    return replace(
        state,
        state="Running",
        reason="",
        message="",
        salt=state.salt or facts.salt,
        started_at=now,
        sizing=state.sizing or facts.sizing,
    )


def _running(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    if state.sizing is None and facts.sizing is not None:
        state = replace(state, sizing=facts.sizing)
    if facts.looked is not None:
        state = _after_look(state, facts.looked, now)
        if state.state != "Running":
            return state
    elif facts.unseen:
        state = replace(state, reason="FiguresUnavailable", message=facts.unseen)
    if facts.obstacle:
        # What was counted so far stays true; visitors go to control until somebody has mended the spec.
        return replace(state, state="Paused", paused_at=now, reason="InvalidTest", message=facts.obstacle)
    if facts.suspended:
        return replace(state, state="Paused", paused_at=now, reason="Suspended", message="suspended by its spec")
    return state


def _after_look(state: ABTestState, looked: Looked, now: datetime) -> ABTestState:
    decision = looked.decision
    state = replace(
        state,
        looked_at=looked.until,
        least_ratio=min(state.least_ratio, looked.analysis.ratio.p_value),
        withdrawn=tuple(sorted({*state.withdrawn, *decision.withdrawn})),
        reason="",
        message=decision.sentence,
    )
    if decision.verdict is None:
        return state
    concluded = Concluded(
        verdict=decision.verdict.value, at=now, sentence=decision.sentence, winner=decision.winner or ""
    )
    return replace(state, state="Decided", reason=decision.verdict.value, decision=concluded, ended_at=now)


def _paused(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    if facts.obstacle:
        return replace(state, reason="InvalidTest", message=facts.obstacle)
    if facts.suspended:
        return replace(state, reason="Suspended", message="suspended by its spec")
    if facts.unready:
        return replace(state, reason="VariantsNotReady", message=facts.unready)
    before = (now - state.paused_at).total_seconds() if state.paused_at else 0.0
    return replace(
        state,
        state="Running",
        paused_at=None,
        paused_seconds=state.paused_seconds + max(0.0, before),
        reason="",
        message="",
    )


def _decided(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    winner = state.decision.winner if state.decision and state.decision.verdict == Verdict.SHIP.value else ""
    shipped = bool(winner)
    if shipped and facts.promoted:
        return replace(state, state="Promoted", reason="", message=f"{winner} is what the service runs")
    if facts.over or (not shipped and facts.stop):
        return replace(state, state="Stopped", reason=state.reason, message=state.message)
    return state


def _out_of_time(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    if state.state == "Waiting" or state.started_at is None:
        return _ended(state, "Failed", "NeverBegan", f"{facts.over}, and it had not begun: {state.message}", now)
    if facts.looked is not None:
        state = _after_look(state, facts.looked, now)
    if state.decision is None:
        concluded = Concluded(verdict=Verdict.INCONCLUSIVE.value, at=now, sentence=facts.over)
        state = replace(state, decision=concluded)
    return _ended(state, "Stopped", "OutOfTime", facts.over, now)


def _ended(state: ABTestState, standing: Standing, reason: str, message: str, now: datetime) -> ABTestState:
    return replace(
        state,
        state=standing,
        reason=reason,
        message=message,
        ended_at=state.ended_at or now,
    )
