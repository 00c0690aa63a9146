"""The next step of one A/B test: from its record and the world to its next record. Pure and total.

    Waiting -> Running <-> Paused
                  |-> Decided -> Promoted
                  '-> Stopped            Waiting, Running -> Failed

Every transition is a function of what is written down and what is seen, so it does not matter who takes it, or how
often it is begun.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from msgspec.structs import replace

from flywheel.experiment.analysis import Analysis
from flywheel.experiment.assignment import Segments
from flywheel.experiment.decision import Decision, Verdict
from flywheel.experiment.state import (
    ENDED,
    MOST_CHANGES,
    MOST_STRETCHES,
    ABTestState,
    Concluded,
    Sizing,
    Standing,
    Stretch,
)

LAST_LOOK_WITHIN = timedelta(minutes=5)
"""How long figures are waited for when the time is over and the store cannot be asked."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one look at the figures has shown."""

    until: datetime
    """The figures hold up to this moment."""
    analysis: Analysis
    decision: Decision
    weights: Mapping[str, int] | None = None
    """How new visitors are to be shared out from now on; None where that stays."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the next step is decided from."""

    salt: str = ""
    """What would assign visitors, if the test began now."""
    segments: Segments = ()
    """Buckets of the layer that the test would have now."""
    design: str = ""
    """Digest of what may not change while it runs."""
    revision: str = ""
    """Of the service that is tested."""
    weights: Mapping[str, int] = field(default_factory=dict)
    """Basis points of each variant, as written."""
    is_bandit: bool = False
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
    """What control's own visitors say of the size; None while that is not known."""
    asked_at: datetime | None = None
    """When the store was asked in this step; None where it was not."""
    unseen: str = ""
    """Why figures could not be looked at."""
    stop: bool = False
    """A person has ended it."""
    looked: Looked | None = None
    """The newest look, if one was made since the last step."""
    shipping: str = ""
    """The variant that the service is to run."""
    promoted: bool = False
    """That is what all visitors of the service get."""


def advance(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    """Take the next step."""
    if state.state in ENDED:
        return state
    if facts.asked_at is not None:
        state = replace(state, asked_at=facts.asked_at)
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
        segments=facts.segments,
        stretches=(Stretch(since=now, weights=dict(facts.weights)),),
        design=facts.design,
        revision=facts.revision,
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
        since = state.unseen_since or now
        state = replace(state, reason="FiguresUnavailable", message=facts.unseen, unseen_since=since)
    if facts.obstacle:
        # What was counted so far stays true; visitors go to control until somebody has mended the spec.
        return replace(state, state="Paused", paused_at=now, reason="InvalidTest", message=facts.obstacle)
    if facts.suspended:
        return replace(state, state="Paused", paused_at=now, reason="Suspended", message="suspended by its spec")
    return _shared_out(state, facts, now)


def _shared_out(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    """Follow traffic and weights: of the author, or of a bandit's last batch."""
    state = _followed(replace(state, segments=facts.segments), facts, now)
    weights = _next_weights(state, facts)
    if weights is None:
        return state
    # Of too many changes the last ones are told as one.
    kept = state.stretches[: MOST_STRETCHES - 1]
    return replace(state, stretches=(*kept, Stretch(since=now, weights=dict(weights))))


def _followed(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    """Note that the service has become another one: all arms are made of it, so before and after are two worlds."""
    if not facts.revision or facts.revision == state.revision:
        return state
    changes = (*state.changes, now)[-MOST_CHANGES:] if state.revision else state.changes
    return replace(state, revision=facts.revision, changes=changes)


def _next_weights(state: ABTestState, facts: Facts) -> Mapping[str, int] | None:
    if facts.is_bandit:
        return facts.looked.weights if facts.looked else None
    is_same = bool(state.stretches) and state.stretches[-1].weights == dict(facts.weights)
    return None if is_same else facts.weights


def _after_look(state: ABTestState, looked: Looked, now: datetime) -> ABTestState:
    decision = looked.decision
    state = replace(
        state,
        looked_at=looked.until,
        unseen_since=None,
        least_ratio=min(state.least_ratio, looked.analysis.ratio.p_value),
        withdrawn={**dict.fromkeys(decision.withdrawn, now), **state.withdrawn},
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
    for reason, why in (
        ("InvalidTest", facts.obstacle),
        ("Suspended", "suspended by its spec" if facts.suspended else ""),
        ("VariantsNotReady", facts.unready),
    ):
        if why:
            return replace(state, reason=reason, message=why)
    before = (now - state.paused_at).total_seconds() if state.paused_at else 0.0
    return replace(
        state,
        state="Running",
        paused_at=None,
        paused_seconds=state.paused_seconds + max(0.0, before),
        segments=facts.segments,
        reason="",
        message="",
    )


def _decided(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    if facts.shipping and facts.promoted and state.decision is not None:
        return replace(
            state,
            state="Promoted",
            reason="",
            message=f"{facts.shipping} is what the service runs",
            decision=replace(state.decision, promoted_at=now, revision=facts.revision),
            closed_at=now,
        )
    if facts.over:
        return replace(state, state="Stopped", closed_at=now)
    if facts.stop and not facts.shipping:
        return replace(state, state="Stopped", closed_at=now)
    return state


def _out_of_time(state: ABTestState, facts: Facts, now: datetime) -> ABTestState:
    if state.state == "Waiting" or state.started_at is None:
        why = f": {state.message}" if state.message else ""
        return _ended(state, "Failed", "NeverBegan", f"{facts.over}, and it had not begun{why}", now)
    if facts.looked is not None:
        state = _after_look(state, facts.looked, now)
    elif facts.unseen and now - (state.unseen_since or now) < LAST_LOOK_WITHIN:
        since = state.unseen_since or now
        return replace(state, reason="FiguresUnavailable", message=facts.unseen, unseen_since=since)
    if state.decision is None:
        concluded = Concluded(verdict=Verdict.INCONCLUSIVE.value, at=now, sentence=f"No verdict: {facts.over}.")
        state = replace(state, decision=concluded)
    return _ended(state, "Stopped", "OutOfTime", facts.over, now)


def _ended(state: ABTestState, standing: Standing, reason: str, message: str, now: datetime) -> ABTestState:
    return replace(
        state,
        state=standing,
        reason=reason,
        message=message,
        ended_at=state.ended_at or now,
        closed_at=now,
    )
