"""The next step of one release: from its record and the world to its next record. Pure and total.

    Stable -> Preparing -> Verifying -> AwaitingPromotion -> Promoting -> (switch) -> Confirming -> Stable
                  |            |                |                |-> Failed                |-> RolledBack
                  '------------'----------------'

Every transition is a function of what is written down and what is seen, so it does not matter who takes it, or how
often it is begun.
"""

import dataclasses
from dataclasses import dataclass
from datetime import datetime, timedelta

from msgspec.structs import replace

from flywheel.release.facts import Facts, command, full_size, preview_size
from flywheel.release.gate import machine
from flywheel.release.gate.machine import Due
from flywheel.release.moves import begin, come_back, conclude, fail, first, go_back, let_go, obey, switch, thaw
from flywheel.release.state import GateState, Leaving, ReleaseState, Stage
from flywheel.release.windows import opens_at

MOST_STEPS = 16
CLIENTS_LEAVE = timedelta(seconds=1)
"""In which clients that were sent away have gone: each leaves with its next answer."""
DRAIN_PATIENCE = timedelta(seconds=30)
DRAIN_DELAY = timedelta(milliseconds=300)
"""From the switch until old pods send clients away: by then every node knows where the Service leads."""


@dataclass(frozen=True, slots=True)
class Step:
    """Where a release stands now, and what it waits for."""

    state: ReleaseState
    due: Due | None = None
    wake_at: datetime | None = None
    waits_for_group: bool = False
    """It could switch, and the services that switch with it are asked first."""


def advance(state: ReleaseState, facts: Facts, now: datetime, *, may_switch: bool = True) -> Step:
    """Take every step that can be taken now.

    Args:
        state: The record as it was.
        facts: The world.
        now: The time, in UTC.
        may_switch: False stops just before the switch.
    """
    step = Step(state)
    for _ in range(MOST_STEPS):
        step = _once(step.state, facts, now, may_switch=may_switch)
        if step.state == state:
            break
        if step.state.active != state.active:
            # What the edge was seen to follow was the record before.
            return dataclasses.replace(step, wake_at=now)
        state = step.state
    return step


def _once(state: ReleaseState, facts: Facts, now: datetime, *, may_switch: bool) -> Step:
    if state.active is None:
        return Step(first(state, facts, now))
    if not facts.running:
        return Step(thaw(let_go(state, now, "the campaign is at zero replicas"), now))
    for move in (_expire, obey, _return_if_broken, _follow_spec):
        moved = move(state, facts, now)
        if moved != state:
            return Step(moved)
    return _in_phase(state, facts, now, may_switch=may_switch)


def _in_phase(state: ReleaseState, facts: Facts, now: datetime, *, may_switch: bool) -> Step:
    match state.phase:
        case "Adopting":
            return Step(_adopted(state, facts, now))
        case "Preparing":
            return _prepare(state, facts, now)
        case "Verifying":
            return _verify(state, facts, now)
        case "AwaitingPromotion":
            return _await(state, facts, now)
        case "Promoting":
            return _promote(state, facts, now, may_switch=may_switch)
        case "Confirming":
            return _confirm(state, facts, now)
        case "Paused":
            return _paused(state, facts, now)
        case _:
            return _at_rest(state, facts, now)


def _adopted(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """The service had no slots before: its old pods stay until the first slot serves as many."""
    old = facts.standing_in
    if state.active is None:
        return state
    if old is None or not facts.slot(state.active.slot).holds(state.active.revision, max(old.desired, facts.least)):
        gone = old is None
        return replace(state, phase="Stable", reason="", message="") if gone else state
    return replace(state, phase="Stable", reason="Adopted", message="the first slot serves", promoted_at=now)


def _expire(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Let slots go whose time is over, but none to which an edge pod may still send."""
    if not facts.followed:
        return state
    previous, failed = state.previous, state.failed
    over = previous and previous.until and now >= previous.until and state.phase != "Confirming"
    if previous and over and _is_left(previous, facts, now):
        return replace(state, previous=None)
    if failed and failed.until is None:
        return replace(state, failed=replace(failed, until=now + facts.spec.keep_failed))
    if failed and failed.until and now >= failed.until:
        return replace(state, failed=None)
    return _drained(state, facts, now)


def _is_left(leaving: Leaving, facts: Facts, now: datetime) -> bool:
    """Whether clients had the time to go; pods that never hear of it are not waited for without end."""
    if facts.spec.drain is None or leaving.until is None or now >= leaving.until + DRAIN_PATIENCE:
        return True
    return leaving.drained_at is not None and now >= leaving.drained_at + CLIENTS_LEAVE


def _drained(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    for name in ("previous", "failed"):
        leaving = getattr(state, name)
        if leaving and leaving.drained_at is None and leaving.slot in facts.drained:
            return replace(state, **{name: replace(leaving, drained_at=now)})
    return replace(state, resume=False) if state.resume and facts.resumed else state


def _return_if_broken(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Bring the traffic back when most pods of the new revision are gone, whether or not they will come again."""
    if state.previous is None or state.active is None or state.preview is not None:
        return state
    active, previous = facts.slot(state.active.slot), facts.slot(state.previous.slot)
    lost = active.ready * 2 < state.promoted_size and active.ready < active.desired
    if not lost or previous.ready <= active.ready or previous.revision != state.previous.revision:
        return state
    why = active.trouble or "they are not ready"
    message = f"{active.ready} of {active.desired} pods are left after the switch: {why}"
    return go_back(state, facts, now, "PodsLost", message)


def _follow_spec(state: ReleaseState, facts: Facts, now: datetime) -> ReleaseState:
    """Begin what the spec asks for, and end what it no longer does."""
    wanted, preview = facts.wanted, state.preview
    if not facts.releasing:
        return conclude(let_go(state, now, "the campaign has ended"), facts, now)
    if wanted is None or state.active is None or state.phase == "Adopting":
        return state
    if preview and preview.cause == "Rollback" and wanted == state.held:
        return state
    if wanted == state.active.revision:
        return _back_to_active(state, now)
    if wanted == state.held or (preview and preview.revision == wanted):
        return state
    if preview is None and (state.phase == "Confirming" or _paused_after(state)):
        if state.previous and wanted == state.previous.revision:
            gone = go_back(state, facts, now, "", "the spec asks for the revision before")
            return replace(gone, phase="Stable", reason="", message="", held="")
        # The slot that would be taken is the way back from a revision of which nothing is known yet.
        return state
    return begin(state, facts, wanted, now)


def _back_to_active(state: ReleaseState, now: datetime) -> ReleaseState:
    if state.preview:
        state = let_go(state, now, "the spec asks for the active revision again")
    if state.held or state.phase in ("Failed", "Aborted", "RolledBack"):
        return replace(state, held="", phase="Stable", reason="", message="")
    return state


def _paused_after(state: ReleaseState) -> bool:
    return state.phase == "Paused" and state.preview is None


def _prepare(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    preview = state.preview
    if preview is None:
        return Step(replace(state, phase="Stable"))
    size = preview_size(facts, full_size(state, facts))
    slot = facts.slot(preview.slot)
    holds = slot.holds(preview.revision, size)
    shown = facts.followed or not machine.asks_edge(facts.spec.before)
    if holds and facts.reachable and shown:
        return Step(replace(state, phase="Verifying", preview=replace(preview, ready_at=now), reason="", message=""))
    deadline = preview.since + facts.spec.deadline
    ready = slot.ready if slot.revision == preview.revision else 0
    progress = f"{ready} of {size} pods are ready"
    if now >= deadline:
        why = f": {slot.trouble}" if slot.trouble else ""
        why = f"; {_hidden(preview.slot, facts)}" if holds else why
        took = f"{facts.spec.deadline.total_seconds():.0f} s"
        return Step(fail(state, facts, now, "PreviewNotReady", f"{progress} after {took}{why}"))
    message = slot.trouble or (f"the {preview.slot} slot is starting" if not holds else _hidden(preview.slot, facts))
    return Step(replace(state, reason="Starting", message=message), wake_at=deadline)


def _hidden(slot: str, facts: Facts) -> str:
    """Say why gates would not see pods that are ready."""
    if not facts.reachable:
        return f"the address of the {slot} slot does not answer the operator yet"
    return f"the edge does not show the {slot} slot everywhere yet: {facts.lag}"


def _verify(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    step, failed = _through_gates(state, facts, now, "before")
    state = step.state
    if failed:
        return Step(fail(state, facts, now, "GateFailed", f"gate {failed.name}: {failed.message}"))
    if state.phase != "Verifying" or not _all_passed(state, facts, "before"):
        return step
    preview = replace(state.preview, passed_at=now) if state.preview else None
    return Step(replace(state, phase="AwaitingPromotion", preview=preview, reason="", message=""))


def _through_gates(state: ReleaseState, facts: Facts, now: datetime, stage: Stage) -> tuple[Step, GateState | None]:
    preview = state.preview
    approved = bool(preview and command(facts, state, "promote", preview.revision))
    gates = facts.spec.before if stage == "before" else facts.spec.after
    if stage == "after" and state.active:
        approved = command(facts, state, "promote", state.active.revision) is not None
    standing = machine.advance(stage, gates, state.gates_of(stage), facts.results, now, approved=approved)
    others = tuple(each for each in state.gates if each.stage != stage)
    moved = replace(state, gates=(*others, *standing.gates) if stage == "after" else (*standing.gates, *others))
    failed = standing.first("Failed")
    if failed:
        return Step(moved), failed
    unclear = standing.first("Inconclusive")
    if unclear:
        message = f"gate {unclear.name} cannot look: {unclear.message}; when that is mended: flywheel release retry"
        return Step(replace(moved, phase="Paused", reason="GateInconclusive", message=message)), None
    running = standing.first("Running")
    if running:
        at_work = facts.hindrance or f"gate {running.name} is at work"
        message = running.message if running.kind == "manual" else at_work
        reason = "AwaitingPromotion" if running.kind == "manual" else "GateRunning"
        moved = replace(moved, reason=reason, message=message)
    return Step(moved, standing.due, standing.wake_at), None


def _all_passed(state: ReleaseState, facts: Facts, stage: Stage) -> bool:
    gates = facts.spec.before if stage == "before" else facts.spec.after
    return all(each.verdict == "Passed" for each in machine.fresh(stage, gates, state.gates_of(stage)))


def _await(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    preview = state.preview
    if preview is None:
        return Step(replace(state, phase="Stable"))
    if not _all_passed(state, facts, "before"):
        return Step(replace(state, phase="Verifying"))
    approved = command(facts, state, "promote", preview.revision) is not None
    wait, message = _wait(state, facts, now, approved=approved)
    if wait is None and not message:
        return Step(replace(state, phase="Promoting", preview=replace(preview, full_since=now), reason="", message=""))
    return Step(replace(state, reason="AwaitingPromotion", message=message), wake_at=wait)


def _wait(state: ReleaseState, facts: Facts, now: datetime, *, approved: bool) -> tuple[datetime | None, str]:
    """Tell until when promotion waits, and for what; no words when it need not."""
    preview, spec = state.preview, facts.spec
    if preview is None or approved:
        return None, ""
    if spec.promotion == "Manual":
        return None, f"{preview.revision} has passed its gates and waits for a person: flywheel release promote"
    if preview.passed_at and now < preview.passed_at + spec.promote_after:
        moment = preview.passed_at + spec.promote_after
        return moment, f"promotion at {moment:%Y-%m-%dT%H:%M:%SZ}"
    if spec.promotion == "Window" and spec.windows:
        moment = opens_at(spec.windows, facts.zone, now)
        if moment > now:
            return moment, f"the window for promotion opens at {moment:%Y-%m-%dT%H:%M:%SZ}"
    return None, ""


def _promote(state: ReleaseState, facts: Facts, now: datetime, *, may_switch: bool) -> Step:
    preview = state.preview
    if preview is None or preview.full_since is None:
        return Step(replace(state, phase="Stable"))
    if preview.cause == "Change" and not _all_passed(state, facts, "before"):
        return Step(replace(state, phase="Verifying"))
    size, slot = full_size(state, facts), facts.slot(preview.slot)
    if slot.holds(preview.revision, size):
        if may_switch:
            return Step(switch(state, facts, now, slot.ready))
        message = f"ready; waits for the other services of the group {facts.spec.release_group}"
        return Step(replace(state, reason="WaitingForGroup", message=message), waits_for_group=True)
    deadline = preview.full_since + facts.spec.deadline
    ready = slot.ready if slot.revision == preview.revision else 0
    if now >= deadline:
        why = slot.trouble or "there is perhaps no room for a second slot of this size"
        return Step(fail(state, facts, now, "NoCapacity", f"{ready} of {size} pods are ready: {why}"))
    message = slot.trouble or f"growing to the {size} pods of the active slot"
    return Step(replace(state, reason="Growing", message=message), wake_at=deadline)


def _confirm(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    if not facts.followed:
        message = f"the switch is not carried out everywhere yet: {facts.lag}"
        return Step(replace(state, reason="EdgeFollowing", message=message))
    step, failed = _through_gates(state, facts, now, "after")
    state = step.state
    if failed:
        return Step(come_back(state, facts, now, "GateFailed", f"gate {failed.name}: {failed.message}"))
    if state.phase != "Confirming" or not _all_passed(state, facts, "after"):
        return Step(state, step.due, _earliest(step.wake_at, _drain_at(state, facts, now)))
    return Step(conclude(state, facts, now))


def _paused(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    stage: Stage = "before" if state.preview else "after"
    gates = facts.spec.before if stage == "before" else facts.spec.after
    states = machine.fresh(stage, gates, state.gates_of(stage))
    if any(each.verdict == "Inconclusive" for each in states):
        return Step(state, wake_at=_drain_at(state, facts, now))
    return Step(replace(state, phase="Verifying" if stage == "before" else "Confirming", reason="", message=""))


def _at_rest(state: ReleaseState, facts: Facts, now: datetime) -> Step:
    moments = [each.until for each in (state.previous, state.failed) if each and each.until]
    if state.previous and state.previous.drained_at and facts.spec.drain:
        moments.append(state.previous.drained_at + CLIENTS_LEAVE)
    if state.previous and state.previous.until and facts.spec.drain:
        moments.append(state.previous.until + DRAIN_PATIENCE)
    return Step(state, wake_at=_earliest(*(each for each in moments if each > now), _drain_at(state, facts, now)))


def _drain_at(state: ReleaseState, facts: Facts, now: datetime) -> datetime | None:
    """Tell when old pods are to be told; None where that is past: whoever tells them says when it is done."""
    pending = any(each and each.drained_at is None for each in (state.previous, state.failed))
    if facts.spec.drain is None or not pending or state.promoted_at is None:
        return None
    moment = state.promoted_at + DRAIN_DELAY
    return moment if moment > now else None


def _earliest(*moments: datetime | None) -> datetime | None:
    return min((each for each in moments if each), default=None)
