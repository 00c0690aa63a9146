"""Services that switch together and go back together: the steps of all releases of a Campaign. Pure."""

from collections.abc import Iterator, Mapping
from datetime import datetime

from msgspec.structs import replace

from flywheel.release.facts import Facts
from flywheel.release.moves import fail, go_back
from flywheel.release.state import ReleaseState
from flywheel.release.step import Step, advance

STOPPED = ("Failed", "Aborted")


def advance_all(states: Mapping[str, ReleaseState], facts: Mapping[str, Facts], now: datetime) -> dict[str, Step]:
    """Take the steps of every release; the services of a group wait for each other before the switch."""
    groups = {name: each.spec.release_group for name, each in facts.items()}
    steps = {name: advance(states[name], facts[name], now, may_switch=not groups[name]) for name in facts}
    for members in _members(groups):
        steps |= _together(members, states, steps, facts, now)
    return steps


def _members(groups: Mapping[str, str | None]) -> Iterator[tuple[str, ...]]:
    for group in sorted({each for each in groups.values() if each}):
        yield tuple(name for name, own in groups.items() if own == group)


def _together(
    members: tuple[str, ...],
    before: Mapping[str, ReleaseState],
    steps: Mapping[str, Step],
    facts: Mapping[str, Facts],
    now: datetime,
) -> dict[str, Step]:
    returned = _returned(members, before, steps)
    if returned:
        return {name: _follow_back(name, returned, before, steps[name], facts[name], now) for name in members}
    on_their_way = [name for name in members if steps[name].state.preview is not None]
    stopped = next((name for name in members if _has_stopped(name, steps, facts)), None)
    if stopped:
        why = f"{stopped}, of the same release group, is not released: {steps[stopped].state.message}"
        return {name: Step(fail(steps[name].state, facts[name], now, "GroupFailed", why)) for name in on_their_way}
    if on_their_way and all(steps[name].waits_for_group for name in on_their_way):
        return {name: advance(steps[name].state, facts[name], now) for name in on_their_way}
    return {}


def _has_stopped(name: str, steps: Mapping[str, Step], facts: Mapping[str, Facts]) -> bool:
    """Whether what the spec wants of a service now has failed already."""
    state = steps[name].state
    return state.phase in STOPPED and state.held == facts[name].wanted


def _returned(members: tuple[str, ...], before: Mapping[str, ReleaseState], steps: Mapping[str, Step]) -> str:
    """Name the service that has just gone back, if one has."""
    for name in members:
        old, new = before[name], steps[name].state
        if not (old.previous and old.active and new.active and new.failed):
            continue
        if (new.active.revision, new.failed.revision) == (old.previous.revision, old.active.revision):
            return name
    return ""


def _follow_back(
    name: str, first: str, before: Mapping[str, ReleaseState], step: Step, facts: Facts, now: datetime
) -> Step:
    state = step.state
    together = state.promoted_at is not None and state.promoted_at == before[first].promoted_at
    if name == first or not together or state.previous is None or state.preview is not None:
        return step
    message = f"{first}, of the same release group, went back"
    held = facts.wanted or ""
    moved = go_back(state, facts, now, "GroupReturned", message, held=held)
    return Step(replace(moved, message=message))
