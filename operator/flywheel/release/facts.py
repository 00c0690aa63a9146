"""What the release of a service is decided from, beside its record and the time. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.api.release import Release
from flywheel.release.gate.machine import Results
from flywheel.release.state import ReleaseState

COMMANDS = ("promote", "abort", "rollback", "retry")
ANNOTATION_PREFIX = "flywheel.dev/"
LONGEST_COMMAND = 512


@dataclass(frozen=True, slots=True)
class SlotFacts:
    """The Deployment of one slot."""

    revision: str = ""
    """What it runs; empty where there is no Deployment."""
    desired: int = 0
    ready: int = 0
    settled: bool = False
    """Every pod is of the newest template, and there are as many as asked for."""
    trouble: str = ""
    """Why pods do not start."""

    def holds(self, revision: str, pods: int) -> bool:
        """Whether so many pods of a revision serve, and no others are left."""
        return self.revision == revision and self.settled and self.ready >= pods


NOTHING = SlotFacts()


@dataclass(frozen=True, slots=True)
class Facts:
    """The world as the release of one service sees it."""

    spec: Release
    wanted: str | None
    """The revision that the spec asks for; None while that cannot be told."""
    slots: Mapping[str, SlotFacts] = field(default_factory=dict)
    least: int = 1
    """Fewest pods that the stage of the campaign asks for."""
    running: bool = True
    """False while everything is at zero: suspended or retained."""
    releasing: bool = True
    """False once the campaign has ended: nothing new takes the traffic."""
    followed: bool = True
    """Whether every edge pod sends requests where the record says."""
    lag: str = ""
    """Which do not."""
    results: Results = field(default_factory=dict)
    hindrance: str = ""
    """What the Job of a gate waits for."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    """Revisions that can be gone back to."""
    zone: str = "UTC"
    drained: frozenset[str] = frozenset()
    """Slots whose pods were just told to send clients away."""
    resumed: bool = False
    standing_in: SlotFacts | None = None
    """The Deployment that served before the service had slots, while it is there."""
    reachable: bool = True
    """Whether the address of the revision on its way has answered; always where nobody comes by it."""

    def slot(self, name: str) -> SlotFacts:
        """The Deployment of a slot."""
        return self.slots.get(name, NOTHING)


def full_size(state: ReleaseState, facts: Facts) -> int:
    """How many pods must be ready before the traffic comes: as many as have it now, not the fewest allowed."""
    now = facts.slot(state.active.slot).desired if state.active else 0
    return max(now, facts.least, 1)


def preview_size(facts: Facts, full: int) -> int:
    """How many pods verify a revision."""
    asked = facts.spec.preview
    if isinstance(asked, str):
        return max(1, math.ceil(full * int(asked.removesuffix("%")) / 100))
    return max(1, asked)


def command(facts: Facts, state: ReleaseState, name: str, revision: str) -> str | None:
    """Give the command of a name, if it is about the service or a revision of it and was not carried out yet.

    An annotation holds one or several of `<revision>` or `<service>=<revision>`, with commas between; what is behind a
    `/` only makes one command differ from an earlier one.
    """
    new = _not_yet_handled(facts, state, name)
    return _text(facts, name) if any(_is_about(part, state.service, revision) for part in new) else None


def _text(facts: Facts, name: str) -> str:
    return facts.annotations.get(ANNOTATION_PREFIX + name, "")[:LONGEST_COMMAND]


def _not_yet_handled(facts: Facts, state: ReleaseState, name: str) -> list[str]:
    """Give the parts of a command that are news: others may have been added to it since it was carried out."""
    handled = {part.strip() for part in state.handled.get(name, "").split(",")}
    return [part.strip() for part in _text(facts, name).split(",") if part.strip() not in handled]


def _is_about(part: str, service: str, revision: str) -> bool:
    target = part.strip().partition("/")[0]
    named, _, of_revision = target.rpartition("=")
    if named:
        return named == service and of_revision == revision
    return bool(target) and target == revision


def rollback_target(facts: Facts, state: ReleaseState) -> tuple[str, str] | None:
    """Give the command to go back and the revision that it names; an empty one means the one before."""
    for part in _not_yet_handled(facts, state, "rollback"):
        named, _, revision = part.partition("/")[0].partition("=")
        if named == state.service:
            return _text(facts, "rollback"), revision
    return None
