"""The moves of a release: begin, fail, switch, go back, let go, and what people command. Pure."""

from datetime import datetime, timedelta

from msgspec.structs import replace

from flywheel.release.facts import Facts, command, rollback_target
from flywheel.release.state import Candidate, GateState, Leaving, Past, ReleaseState, Serving, Slot

FIRST_SLOT: Slot = "blue"
SWITCH_SPREADS = timedelta(seconds=3)
"""In which every node has followed a Service to its new pods; the old ones are there until then in any case."""


def first(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Give the first revision the traffic: there is nobody whom a gate could spare anything."""
    if facts.wanted is None:
        return state
    serving = Serving(slot=FIRST_SLOT, revision=facts.wanted, since=now)
    state = state.with_past(Past(revision=facts.wanted, outcome="Promoted", at=now, message="the first one"))
    if facts.standing_in is None:
        return replace(state, active=serving, phase="Stable")
    message = "the service gets slots: its pods are moved into the first one"
    return replace(state, active=serving, phase="Adopting", reason="Adopting", message=message)


def begin(state: ReleaseState, facts: Facts, wanted: str, now: datetime) -> ReleaseState:
    """Begin with a revision, in the slot beside the active one; what is there has to go.

    A revision that is still warm from before takes the traffic without gates: it had it.
    """
    state = let_go(state, now, "another revision has come")
    previous = state.previous
    warm = previous is not None and previous.revision == wanted
    candidate = Candidate(
        slot=state.other,
        revision=wanted,
        since=now,
        cause="Return" if warm else "Change",
        full_since=now if warm else None,
    )
    return replace(
        state,
        phase="Promoting" if warm else "Preparing",
        reason="",
        message="",
        number=state.number + 1,
        preview=candidate,
        previous=None,
        failed=None,
        held="",
        gates=(),
        resume=state.resume or bool(warm and previous and previous.drained_at and _resumes(facts)),
    )


def let_go(state: ReleaseState, now: datetime, why: str) -> ReleaseState:
    """End a release before its switch, without a verdict."""
    preview = state.preview
    if preview is None:
        return state
    past = Past(revision=preview.revision, outcome="Superseded", at=now, message=why)
    return replace(state, preview=None, phase="Stable", reason="", message="", gates=()).with_past(past)


def thaw(state: ReleaseState, now: datetime) -> ReleaseState:
    """At zero there is no second slot, and gates that were at work begin anew when there are pods again."""
    gates = tuple(_anew(each) if each.verdict == "Running" else each for each in state.gates)
    return replace(state, previous=None, failed=None, gates=gates)


def fail(state: ReleaseState, facts: Facts, now: datetime, reason: str, message: str) -> ReleaseState:
    """End a release before its switch: the active slot serves on, and the revision is not tried again by itself."""
    return _ended(state, facts, now, "Failed", reason, message)


def _ended(state: ReleaseState, facts: Facts, now: datetime, outcome: str, reason: str, message: str) -> ReleaseState:
    preview = state.preview
    if preview is None:
        return state
    past = Past(revision=preview.revision, outcome=outcome, at=now, message=message[:200])  # type: ignore[arg-type]
    return replace(
        _used(state, facts, "promote", preview.revision),
        phase=outcome,
        reason=reason,
        message=message,
        preview=None,
        failed=Leaving(slot=preview.slot, revision=preview.revision, until=now + facts.spec.keep_failed),
        held=state.held if preview.cause == "Rollback" else preview.revision,
    ).with_past(past)


def switch(state: ReleaseState, facts: Facts, now: datetime, ready: int) -> ReleaseState:
    """Give a revision the traffic."""
    preview, active = state.preview, state.active
    if preview is None or active is None:
        return state
    return replace(
        _used(state, facts, "promote", preview.revision),
        phase="Confirming",
        reason="",
        message="",
        active=Serving(slot=preview.slot, revision=preview.revision, since=now),
        previous=Leaving(slot=active.slot, revision=active.revision),
        preview=None,
        promoted_at=now,
        promoted_size=ready,
    )


def conclude(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Keep a revision: its gates after the switch have passed, or the campaign has ended before they could."""
    if state.phase != "Confirming" or state.active is None:
        return state
    previous = state.previous
    if previous is not None:
        spread = (state.promoted_at or now) + SWITCH_SPREADS
        previous = replace(previous, until=max(spread, now + facts.spec.keep_previous))
    past = Past(revision=state.active.revision, outcome="Promoted", at=now)
    phase, message = ("RolledBack", "brought back by a person") if state.held else ("Stable", "")
    return replace(state, phase=phase, reason="", message=message, previous=previous).with_past(past)


def go_back(
    state: ReleaseState,
    facts: Facts,
    now: datetime,
    reason: str,
    message: str,
    *,
    outcome: str = "RolledBack",
    held: str = "",
) -> ReleaseState:
    """Bring the traffic back to the slot that had it before, at once: it is warm.

    `held` is the revision of the spec that is not to be tried again by itself; that which goes, if nothing is said.
    """
    active, previous = state.active, state.previous
    if active is None or previous is None:
        return state
    past = Past(revision=active.revision, outcome="RolledBack", at=now, message=message[:200])
    return replace(
        _used(state, facts, "promote", active.revision),
        phase=outcome,
        reason=reason,
        message=message,
        active=Serving(slot=previous.slot, revision=previous.revision, since=now),
        previous=None,
        failed=Leaving(slot=active.slot, revision=active.revision),
        held=held or active.revision,
        promoted_at=now,
        promoted_size=0,
        resume=bool(previous.drained_at and _resumes(facts)),
    ).with_past(past)


def obey(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Carry out what a person has commanded, once."""
    for carry_out in (_abort, _rollback, _retry):
        moved = carry_out(state, facts, now)
        if moved != state:
            return moved
    return state


def _abort(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    preview, active = state.preview, state.active
    if preview and command(facts, state, "abort", preview.revision):
        stopped = _used(state, facts, "abort", preview.revision)
        return _ended(stopped, facts, now, "Aborted", "Aborted", "stopped by a person")
    confirming = state.phase in ("Confirming", "Paused") and state.previous is not None
    if confirming and active and command(facts, state, "abort", active.revision):
        stopped = _used(state, facts, "abort", active.revision)
        return go_back(stopped, facts, now, "Aborted", "stopped by a person after the switch", outcome="Aborted")
    return state


def _rollback(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    asked, active = rollback_target(facts, state), state.active
    if asked is None or active is None or state.phase == "Adopting":
        return state
    text, revision = asked
    state = replace(state, handled={**state.handled, "rollback": text})
    previous = state.previous
    if previous is not None and revision in ("", previous.revision):
        held = facts.wanted or ""
        return go_back(state, facts, now, "RolledBack", "brought back by a person", held=held)
    target = revision or _last_good(state)
    if target == active.revision or target not in facts.known:
        message = f"there is no revision {target!r} to go back to" if target else "there is no revision to go back to"
        return replace(state, reason="NothingToGoBackTo", message=message)
    return _start_again(state, facts, target, now, held=facts.wanted or "")


def _last_good(state: ReleaseState) -> str:
    active = state.active.revision if state.active else ""
    good = [each.revision for each in state.history if each.outcome == "Promoted" and each.revision != active]
    bad = {each.revision for each in state.history if each.outcome in ("RolledBack", "Failed")}
    return next((each for each in reversed(good) if each not in bad), "")


def come_back(state: ReleaseState, facts: Facts, now: datetime, reason: str, message: str) -> ReleaseState:
    """Leave a revision that failed after its switch: at once to the slot before, or else by starting what was good."""
    if state.previous is not None or state.active is None:
        return go_back(state, facts, now, reason, message)
    target, bad = _last_good(state), state.active.revision
    if target not in facts.known:
        return conclude(replace(state, message=message), facts, now)
    past = Past(revision=bad, outcome="RolledBack", at=now, message=message[:200])
    return _start_again(state.with_past(past), facts, target, now, held=bad)


def _start_again(state: ReleaseState, facts: Facts, target: str, now: datetime, *, held: str) -> ReleaseState:
    """Start a revision that had the traffic once: it waits for its pods, and for no gate before the switch."""
    state = begin(state, facts, target, now)
    preview = replace(state.preview, cause="Rollback", full_since=now) if state.preview else None
    return replace(state, preview=preview, phase="Promoting", held=held)


def _retry(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    target = state.held
    if state.phase == "Paused":
        current = state.preview or state.active
        target = current.revision if current else ""
    if not target or not command(facts, state, "retry", target):
        return state
    state = _used(state, facts, "retry", target)
    if state.phase == "Paused":
        gates = tuple(_anew(each) if each.verdict == "Inconclusive" else each for each in state.gates)
        return replace(state, gates=gates)
    return replace(state, held="")


def _anew(gate: GateState) -> GateState:
    return GateState(name=gate.name, stage=gate.stage, kind=gate.kind, digest=gate.digest, measured=gate.measured)


def _used(state: ReleaseState, facts: Facts, name: str, revision: str) -> ReleaseState:
    text = command(facts, state, name, revision)
    return replace(state, handled={**state.handled, name: text}) if text else state


def _resumes(facts: Facts) -> bool:
    return facts.spec.drain is not None and facts.spec.drain.resume_path is not None
