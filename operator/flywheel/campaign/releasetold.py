"""What is told of releases: status, conditions, Events. Pure."""

from collections.abc import Iterator, Mapping

from flywheel.api.service import Service
from flywheel.campaign.conditions import Condition
from flywheel.campaign.content import git_of, state_of, told_of, waits_for_content
from flywheel.campaign.decision import Course, Decision
from flywheel.campaign.observed import Observed
from flywheel.plan import Manifest, Notice
from flywheel.release.state import GateState, ReleaseState, read_releases, write_release
from flywheel.release.step import Step

RELEASE_TYPES = ("Released",)
AT_WORK = ("Adopting", "Preparing", "Verifying", "Promoting", "Confirming")
WAITING = ("AwaitingPromotion", "Paused")
AGAINST = ("Failed", "Aborted", "RolledBack")
SAID: Mapping[str, str] = {
    "Preparing": "ReleaseStarted",
    "AwaitingPromotion": "AwaitingPromotion",
    "Confirming": "Promoted",
    "Paused": "ReleasePaused",
    "Failed": "ReleaseFailed",
    "Aborted": "ReleaseAborted",
    "RolledBack": "RolledBack",
}
"""Events of phases; the others are on the way."""


def release_fields(observed: Observed, decision: Decision) -> Manifest:
    """Write the records of releases. They stay where nothing can be decided, and go with the last slot."""
    if decision.course is Course.FREEZE:
        return {"releases": observed.status["releases"]} if "releases" in observed.status else {}
    if decision.course is not Course.RUN:
        return {}
    written = [write_release(state) for state in decision.releases.states.values()]
    return {"releases": written} if written else {}


def serving_fields(decision: Decision, service: str) -> Manifest:
    """Say which slot has the traffic of a service with slots, and what it runs."""
    step = decision.releases.steps.get(service)
    active = step.state.active if step else None
    return {"active": active.slot, "revision": active.revision} if active else {}


def content_field(observed: Observed, service: Service) -> Manifest:
    """Tell of a service's content in Git."""
    git = git_of(service)
    if git is None:
        return {}
    found = state_of(observed, service)
    before = told_of(observed, service.name)
    known = {name: before.get(name) or "" for name in ("commit", "url", "ref")}
    if found.commit:
        known = {"commit": found.commit, "url": git.url, "ref": git.ref}
    told = {**known, "problem": found.problem}
    return {"content": {name: value for name, value in told.items() if value}}


def release_conditions(observed: Observed, decision: Decision) -> Iterator[Condition]:
    """Say how the releases stand, and whether content and configuration are known."""
    steps = decision.releases.steps
    if decision.course is Course.RUN and steps:
        yield _released(steps)
    yield from _content(observed, decision)


def _released(steps: Mapping[str, Step]) -> Condition:
    states = [step.state for step in steps.values()]
    waiting = [state for state in states if _waits(state)]
    told = (([state for state in states if state.phase in AGAINST], "False"), (waiting, "Unknown"))
    for found, status in (*told, ([state for state in states if state.phase in AT_WORK], "Unknown")):
        if found:
            first = found[0]
            more = f"; and {len(found) - 1} more" if len(found) > 1 else ""
            return Condition("Released", status, first.reason or first.phase, _sentence(first) + more)  # type: ignore[arg-type]
    return Condition("Released", "True", "Stable", f"{len(states)} services serve the revisions of the spec")


def _waits(state: ReleaseState) -> bool:
    """Whether it waits for a person or a moment, and for nothing that the operator does."""
    return state.phase in WAITING or state.reason == "AwaitingPromotion"


def _sentence(state: ReleaseState) -> str:
    serving = f"; {state.active.revision} serves" if state.active else ""
    return f"{state.service}: {state.message or state.phase}{serving}"


def _content(observed: Observed, decision: Decision) -> Iterator[Condition]:
    if decision.course is not Course.RUN or decision.campaign is None:
        return
    obstacles = [(each.reason, each.obstacle) for each in decision.releases.drafts.values() if each.obstacle]
    followed = [each for each in decision.campaign.spec.services if each.content and each.content.git]
    for service in followed:
        found = state_of(observed, service)
        if found.problem:
            message = f"spec.services {service.name}: content.git: {found.problem}"
            known = f"; {found.commit} is the last one known, and what serves stays" if found.commit else ""
            obstacles.append((found.reason or "ContentUnavailable", message + known))
        elif waits_for_content(observed, service):
            looked = f"spec.services {service.name}: content.git: it is being looked up"
            obstacles.append(("ContentUnavailable", looked))
    if obstacles:
        reason, message = obstacles[0]
        yield Condition("ContentReady", "False", reason, message)
    elif followed:
        yield Condition("ContentReady", "True", "Resolved", f"content of {len(followed)} services is known")


def release_at_work(decision: Decision) -> tuple[str, str] | None:
    """Say that a release is on its way, if one is."""
    for step in decision.releases.steps.values():
        if step.state.phase in AT_WORK and not _waits(step.state):
            return "Releasing", _sentence(step.state)
    return None


def release_waiting(decision: Decision) -> tuple[str, str] | None:
    """Say that a release waits for a person or a moment, or that nobody knows what to release."""
    for draft in decision.releases.drafts.values():
        if draft.obstacle:
            return draft.reason, draft.obstacle
    for step in decision.releases.steps.values():
        if _waits(step.state):
            return step.state.reason or step.state.phase, _sentence(step.state)
    return None


def release_notices(observed: Observed, decision: Decision) -> Iterator[Notice]:
    """Announce what has happened to releases since the last status."""
    before = read_releases(observed.status)
    for name, state in decision.releases.states.items():
        old = before.get(name) or ReleaseState(service=name)
        yield from _phase_notice(old, state)
        for gate in state.gates:
            yield from _gate_notice(state, gate, old)


def _phase_notice(old: ReleaseState, state: ReleaseState) -> Iterator[Notice]:
    reason = SAID.get(state.phase)
    current = state.preview or state.active
    if old.active is not None and state.phase == "Stable" and old.phase == "Confirming":
        reason = "Released"
    if reason is None or current is None or (old.phase, old.number) == (state.phase, state.number):
        return
    about = state.failed if state.phase in AGAINST and state.failed else current
    message = f"{state.service}: {_happened(state, about.revision, about.slot, reason)}"
    identity = f"release/{state.service}/{state.number}/{state.phase}/{len(state.history)}/{state.promoted_at}"
    yield Notice("Warning" if state.phase in (*AGAINST, "Paused") else "Normal", reason, message, identity)


def _happened(state: ReleaseState, revision: str, slot: str, reason: str) -> str:
    serving = state.active.revision if state.active else "nothing"
    match reason:
        case "ReleaseStarted":
            return f"revision {revision} is on its way in the {slot} slot; {serving} serves"
        case "Promoted":
            return f"revision {revision} in the {slot} slot has taken the traffic"
        case "Released":
            return f"revision {revision} serves, and its gates have passed"
        case "AwaitingPromotion" | "ReleasePaused":
            return f"revision {revision}: {state.message}; {serving} serves"
        case _:
            return f"revision {revision} does not serve: {state.message}; {serving} serves"


def _gate_notice(state: ReleaseState, gate: GateState, old: ReleaseState) -> Iterator[Notice]:
    if gate.verdict not in ("Passed", "Failed", "Inconclusive"):
        return
    same = next((each for each in old.gates if (each.stage, each.name) == (gate.stage, gate.name)), None)
    if same is not None and (same.verdict, old.number) == (gate.verdict, state.number):
        return
    took = gate.finished_at - gate.started_at if gate.finished_at and gate.started_at else None
    seconds = f" after {took.total_seconds():.1f} s" if took is not None else ""
    which = f"gate {gate.name} ({gate.kind}, {gate.stage} the switch)"
    message = f"{state.service}: {which} {gate.verdict}{seconds}: {gate.message}"
    identity = f"gate/{state.service}/{state.number}/{gate.stage}/{gate.name}/{gate.verdict}/{gate.measured}"
    kind = "Normal" if gate.verdict == "Passed" else "Warning"
    yield Notice(kind, f"Gate{gate.verdict}", message, identity)  # type: ignore[arg-type]
