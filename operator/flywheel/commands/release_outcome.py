"""Whether what a person commanded has come to an end, as a release's record tells. Pure.

A record that is read just after a command may be the one from before it: nothing is concluded from what only the
operator's next look can change.
"""

from dataclasses import dataclass

from flywheel.commands.release_annotation import is_handled
from flywheel.commands.release_seen import AGAINST, Place, clean
from flywheel.release.state import ReleaseState


@dataclass(frozen=True, slots=True)
class Goal:
    """What was commanded."""

    command: str
    service: str
    revision: str
    part: str
    """What was written; empty where nothing had to be."""


@dataclass(frozen=True, slots=True)
class End:
    """How it ended."""

    good: bool
    sentence: str


def end_of(goal: Goal, state: ReleaseState | None, place: Place) -> End | None:
    """Tell how a command ended; None while it has not."""
    if state is None:
        return End(good=False, sentence=f"{goal.service} is no service with releases any more.")
    if goal.command == "abort":
        return _aborted(goal, state, place)
    if _is_pending(goal, state):
        return None
    if goal.command == "rollback" and state.reason == "NothingToGoBackTo":
        return End(good=False, sentence=f"{goal.service}: {clean(state.message)}.")
    return _arrived(goal, state, place)


def _is_pending(goal: Goal, state: ReleaseState) -> bool:
    """Whether the operator has yet to take a command that changes where a release stands."""
    if goal.command not in ("retry", "rollback") or is_handled(goal.command, goal.part, state):
        return False
    if goal.command == "rollback":
        return not _serves(goal, state)
    paused = state.preview or state.active if state.phase == "Paused" else None
    return goal.revision in (state.held, paused.revision if paused else "")


def _serves(goal: Goal, state: ReleaseState) -> bool:
    return state.active is not None and state.active.revision == goal.revision


def _previews(goal: Goal, state: ReleaseState) -> bool:
    return state.preview is not None and state.preview.revision == goal.revision


def _arrived(goal: Goal, state: ReleaseState, place: Place) -> End | None:
    on_trial = state.preview is None and state.phase in ("Confirming", "Paused")
    if _serves(goal, state) and not on_trial and state.phase != "Adopting":
        return End(good=True, sentence=f"{goal.service}: {goal.revision} serves.")
    if state.phase == "Paused" and (_serves(goal, state) or _previews(goal, state)):
        return End(good=False, sentence=f"{_why(goal, state)}\n  {place.command('retry', goal.service)}")
    if _serves(goal, state) or _previews(goal, state):
        return None
    gone_wrong = state.phase in AGAINST and goal.revision in (state.held, _failed(state))
    if gone_wrong:
        return End(good=False, sentence=_why(goal, state))
    if goal.command == "retry" and state.preview is None:
        # It is not held any more; what the spec asks for is perhaps being looked up.
        return None
    return End(good=False, sentence=f"{_why(goal, state)}. It is not on its way any more{_became(goal, state)}.")


def _failed(state: ReleaseState) -> str:
    return state.failed.revision if state.failed else ""


def _aborted(goal: Goal, state: ReleaseState, place: Place) -> End | None:
    serves_still = _serves(goal, state) and state.phase in ("Confirming", "Paused") and state.preview is None
    if _previews(goal, state) or serves_still:
        return None
    if _serves(goal, state):
        back = place.command("rollback", goal.service)
        return End(good=False, sentence=f"{goal.service}: too late, {goal.revision} serves. To go back: {back}")
    serving = f"; {state.active.revision} serves" if state.active else ""
    return End(good=True, sentence=f"{goal.service}: {goal.revision} is stopped ({state.phase}){serving}.")


def _became(goal: Goal, state: ReleaseState) -> str:
    past = next((each for each in reversed(state.history) if each.revision == goal.revision), None)
    return f" ({past.outcome}: {clean(past.message)})" if past and past.message else ""


def _why(goal: Goal, state: ReleaseState) -> str:
    message = f": {clean(state.message)}" if state.message else ""
    return f"{goal.service}: {goal.revision}: {state.phase}{message}"
