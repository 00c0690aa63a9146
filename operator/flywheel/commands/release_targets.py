"""What a command for a release is about: which service and revision, or why it makes no sense now. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from flywheel.api.release import Release
from flywheel.commands.release_annotation import annotation_of, part_of
from flywheel.commands.release_seen import AGAINST, BEFORE_SWITCH, Refusal, Seen, chosen, clean, waits_for_person
from flywheel.release.facts import Facts
from flywheel.release.moves import obey
from flywheel.release.state import ReleaseState

Known = Mapping[str, frozenset[str] | None]
"""Revisions by service that can be gone back to; None where that may not be read."""
FORESIGHT = "x"


@dataclass(frozen=True, slots=True)
class Choice:
    """What is to be written, what is to be followed, and what the person should know."""

    targets: Mapping[str, str] = field(default_factory=dict)
    """Revision by service."""
    follow: Mapping[str, str] = field(default_factory=dict)
    """What is followed although nothing is written: it is on its way already."""
    notes: tuple[str, ...] = ()


def promotion(seen: Seen, service: str, revision: str) -> Choice:
    """Choose what is promoted.

    Args:
        seen: The Campaign.
        service: The service that is named; empty for the only one there is.
        revision: The revision that is named; empty for the one that is on its way.

    Raises:
        Refusal: There is nothing to promote, or it is not clear what.
    """
    states = chosen(seen, service)
    able = {name: found for name, state in states.items() if (found := promotable(seen, name, state))}
    if revision:
        on_their_way = _on_their_way(states, revision)
        able = {name: found for name, found in able.items() if found == revision}
        if not able and on_their_way:
            return Choice(follow=on_their_way, notes=_under_way(states, on_their_way))
        if not able:
            raise Refusal(_absent(seen, states, revision, "promote"))
    waiting = {name: found for name, found in able.items() if waits_for_person(states[name])}
    targets, notes = _only(seen, "promote", waiting or able, states)
    for name in targets:
        if name not in waiting:
            notes += (f"{name}: {states[name].phase}: it is promoted as soon as its gates have passed.",)
        others = [each for each in seen.members(name) if each not in targets and seen.states[each].preview]
        if others:
            notes += (f"{name} switches together with {_listed(others)}, of the same release group, when all may.",)
    return Choice(targets, notes=notes)


def promotable(seen: Seen, service: str, state: ReleaseState) -> str:
    """Name the revision of a service that a person can promote now; empty for none."""
    if state.preview is not None:
        return state.preview.revision if state.phase in BEFORE_SWITCH else ""
    passed = {each.name for each in state.gates_of("after") if each.verdict == "Passed"}
    if state.phase == "Confirming" and state.active and set(seen.manual_gates(service, "after")) - passed:
        return state.active.revision
    return ""


def _on_their_way(states: Mapping[str, ReleaseState], revision: str) -> dict[str, str]:
    """Services where a revision serves, or is about to, and needs nobody."""
    found = {}
    for name, state in states.items():
        growing = state.phase == "Promoting" and state.preview is not None and state.preview.revision == revision
        serving = state.active is not None and state.active.revision == revision and state.phase != "Paused"
        if growing or serving:
            found[name] = revision
    return found


def _under_way(states: Mapping[str, ReleaseState], follow: Mapping[str, str]) -> tuple[str, ...]:
    told = []
    for name, revision in follow.items():
        active = states[name].active
        serves = active is not None and active.revision == revision
        what = "serves already" if serves else "is on its way to the traffic already"
        told.append(f"{name}: {revision} {what}: nothing to promote.")
    return tuple(told)


def abortion(seen: Seen, service: str, revision: str) -> Choice:
    """Choose what is aborted; arguments and errors as of `promotion`."""
    states = chosen(seen, service)
    targets, notes = _named(seen, "abort", states, revision, lambda _, state: abortable(state))
    for name in targets:
        others = [each for each in seen.members(name) if each not in targets and abortable(seen.states[each])]
        if others:
            notes += (f"The release group goes together: {_listed(others)} will not be released either.",)
    return Choice(targets, notes=notes)


def abortable(state: ReleaseState) -> str:
    """Name the revision of a release that can be stopped now; empty for none."""
    if state.preview is not None:
        return state.preview.revision
    confirming = state.phase in ("Confirming", "Paused") and state.previous is not None
    return state.active.revision if confirming and state.active else ""


def retrial(seen: Seen, service: str, revision: str) -> Choice:
    """Choose what is tried again; arguments and errors as of `promotion`.

    A service of a release group takes along those of the group that stopped, as it would fail again by them.
    """
    states = chosen(seen, service)
    targets, notes = _named(seen, "retry", states, revision, lambda _, state: retriable(state))
    for name in tuple(targets):
        for other in seen.members(name):
            held = retriable(seen.states[other])
            if held and other not in targets:
                targets[other] = held
                notes += (f"The release group goes together: {held} of {other} is tried again, too.",)
    return Choice(targets, notes=notes)


def retriable(state: ReleaseState) -> str:
    """Name the revision of a release that can be tried again; empty for none."""
    if state.phase == "Paused":
        current = state.preview or state.active
        return current.revision if current else ""
    return state.held if state.phase in AGAINST else ""


def going_back(seen: Seen, service: str, revision: str, known: Known, now: datetime) -> Choice:
    """Choose what is gone back to, as the operator will.

    Args:
        seen: The Campaign.
        service: The service that is named; empty for the only one there is.
        revision: Where to; empty for the revision before.
        known: What can be gone back to.
        now: The time.

    Raises:
        Refusal: There is nothing to go back to, or it is not clear what.
    """
    states = chosen(seen, service)
    able: dict[str, str] = {}
    why = ""
    for name in states:
        found, refused = foreseen_return(seen, name, revision, known.get(name), now)
        able |= {name: found} if found else {}
        why = why or f"{name}: {refused}" if not found else why
    if not able:
        asks = seen.place.command("history", service)
        raise Refusal(f"{why}. What can be gone back to is in: {asks}" if why else "There is no service to go back.")
    targets, notes = _only(seen, "rollback", able, states)
    for name, target in targets.items():
        notes += _told_of_return(seen, name, target, targets)
    return Choice(targets, notes=notes)


def foreseen_return(
    seen: Seen, service: str, revision: str, known: frozenset[str] | None, now: datetime
) -> tuple[str, str]:
    """Ask the operator's own rules where a rollback leads: the revision, or nothing and why not."""
    state = seen.states[service]
    if state.active is None:
        return "", "nothing serves yet"
    if revision == state.active.revision:
        return "", f"{revision} serves already"
    if known is None:
        known = frozenset(each.revision for each in state.history)
    text = part_of(service, revision, FORESIGHT)
    annotations = {annotation_of("rollback"): text}
    moved = obey(state, Facts(spec=Release(), wanted=None, annotations=annotations, known=known), now)
    if moved.active is not None and moved.active.revision != state.active.revision:
        return moved.active.revision, ""
    if moved.number != state.number and moved.preview is not None:
        return moved.preview.revision, ""
    return "", moved.message if moved != state else f"it cannot go back while it is {state.phase}"


def _told_of_return(seen: Seen, service: str, target: str, targets: Mapping[str, str]) -> tuple[str, ...]:
    state = seen.states[service]
    serving = state.active.revision if state.active else ""
    warm = state.previous is not None and state.previous.revision == target
    how = "at once: its pods are warm" if warm else "as soon as its pods are ready"
    told = [f"{service}: from {serving} back to {target}, {how}."]
    if state.preview is not None:
        told.append(f"{service}: {state.preview.revision}, which is on its way, is let go.")
    others = [each for each in seen.members(service) if each not in targets]
    if warm:
        together = [each for each in others if _switched_together(seen.states[each], state)]
        told += [f"The release group goes together: {_listed(together)} goes back, too."] if together else []
    elif others:
        told.append(f"Only {service} of its release group goes back; {_listed(others)} stays as it is.")
    return tuple(told)


def _switched_together(other: ReleaseState, state: ReleaseState) -> bool:
    same = other.promoted_at is not None and other.promoted_at == state.promoted_at
    return same and other.previous is not None and other.preview is None


def _named(
    seen: Seen,
    verb: str,
    states: Mapping[str, ReleaseState],
    revision: str,
    able: Callable[[str, ReleaseState], str],
) -> tuple[dict[str, str], tuple[str, ...]]:
    found = {name: target for name, state in states.items() if (target := able(name, state))}
    if revision:
        matching = {name: target for name, target in found.items() if target == revision}
        if not matching:
            raise Refusal(_absent(seen, states, revision, verb))
        found = matching
    return _only(seen, verb, found, states)


def _only(
    seen: Seen, verb: str, able: Mapping[str, str], states: Mapping[str, ReleaseState]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Take the only one there is, or the services of one release group together."""
    if not able:
        stand = "; ".join(_standing(name, state) for name, state in states.items())
        raise Refusal(f"There is nothing to {verb}: {stand}.")
    groups = {seen.group(name) for name in able}
    if len(able) > 1 and (len(groups) > 1 or groups == {""}):
        lines = "\n".join(f"  {seen.place.command(verb, name)}    ({target})" for name, target in able.items())
        raise Refusal(f"{len(able)} services come into question: name one.\n{lines}")
    together = len(able) > 1
    note = f"{_listed(list(able))} are of one release group and go together."
    return dict(able), (note,) if together else ()


def _standing(name: str, state: ReleaseState) -> str:
    why = f" ({clean(state.message)})" if state.message else ""
    serving = f", {state.active.revision} serves" if state.active else ""
    return f"{name} is {state.phase}{why}{serving}"


def _absent(seen: Seen, states: Mapping[str, ReleaseState], revision: str, verb: str) -> str:
    there = []
    for name, state in states.items():
        places = {"active": state.active, "preview": state.preview, "previous": state.previous, "failed": state.failed}
        named = [f"{place} {each.revision}" for place, each in places.items() if each]
        there.append(f"{name} is {state.phase}: {', '.join(named) or 'nothing'}")
    return f"There is no revision {revision!r} to {verb}. {'; '.join(there)}. See: {seen.place.command('status')}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
