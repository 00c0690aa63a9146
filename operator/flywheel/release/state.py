"""Where the release of one service stands. It is kept on the Campaign's status and nowhere else.

Everything that shall be in the cluster for a released service follows from this record and the spec; so it is written
before what it says is carried out, and whoever finds it goes on from there.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal

import msgspec

from flywheel.plan import as_json

Slot = Literal["blue", "green"]
SLOTS: tuple[Slot, Slot] = ("blue", "green")
Phase = Literal[
    "Adopting",
    "Stable",
    "Preparing",
    "Verifying",
    "AwaitingPromotion",
    "Promoting",
    "Confirming",
    "Paused",
    "Failed",
    "Aborted",
    "RolledBack",
]
Verdict = Literal["Pending", "Running", "Passed", "Failed", "Inconclusive"]
Stage = Literal["before", "after"]
Cause = Literal["Change", "Return", "Rollback"]
"""Why a revision is on its way: the spec changed, or went back to the slot that is still warm; a person said so."""
MEASUREMENTS_KEPT = 5
HISTORY_KEPT = 20


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all parts: frozen, camelCase on the status, unknown fields of a later version passed over."""


class Serving(Record, frozen=True, kw_only=True):
    """The slot that has the traffic."""

    slot: Slot
    revision: str
    since: datetime


class Candidate(Record, frozen=True, kw_only=True):
    """A revision on its way to the traffic, in the other slot."""

    slot: Slot
    revision: str
    since: datetime
    """When it was begun, or begun anew: the deadline of its pods counts from here."""
    cause: Cause = "Change"
    ready_at: datetime | None = None
    passed_at: datetime | None = None
    """When the last gate before the switch had passed."""
    full_since: datetime | None = None
    """When it began to grow to the active slot's size."""


class Leaving(Record, frozen=True, kw_only=True):
    """A slot that had the traffic, or should have had it, and is there for a while."""

    slot: Slot
    revision: str
    until: datetime | None = None
    """When it goes; None while that is not decided."""
    drained_at: datetime | None = None
    """When its pods were told to send keep-alive clients away."""


class Look(Record, frozen=True, kw_only=True):
    """One measurement of a gate."""

    at: datetime
    outcome: str
    value: str = ""
    message: str = ""


class GateState(Record, frozen=True, kw_only=True):
    """How far one gate is."""

    name: str
    stage: Stage
    kind: str
    digest: str
    """Of the gate's definition: another definition is another gate."""
    verdict: Verdict = "Pending"
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_at: datetime | None = None
    """When the next measurement is due."""
    measured: int = 0
    """Measurements so far: the next one has this number, and none is made twice."""
    successes: int = 0
    """In a row."""
    failures: int = 0
    errors: int = 0
    """Measurements in a row that could not be made."""
    message: str = ""
    evidence: str = ""
    measurements: tuple[Look, ...] = ()
    """The last few, oldest first."""


class Past(Record, frozen=True, kw_only=True):
    """What became of one revision."""

    revision: str
    outcome: Literal["Promoted", "Failed", "Aborted", "RolledBack", "Superseded"]
    at: datetime
    message: str = ""


class ReleaseState(Record, frozen=True, kw_only=True):
    """The release of one service."""

    service: str
    phase: Phase = msgspec.field(default_factory=lambda: "Stable")
    reason: str = ""
    message: str = ""
    number: int = 0
    """Counts the attempts, so that the objects of one are not taken for those of another."""
    active: Serving | None = None
    preview: Candidate | None = None
    previous: Leaving | None = None
    failed: Leaving | None = None
    held: str = ""
    """The spec's revision, where it is not to serve: it failed, was aborted, or was gone back from."""
    promoted_at: datetime | None = None
    """When the active revision took the traffic; the same for services that switched together."""
    promoted_size: int = 0
    """Pods of it that were ready then."""
    resume: bool = False
    """Whether pods of the active slot were told to send clients away, and are to be told that it is over."""
    gates: tuple[GateState, ...] = ()
    history: tuple[Past, ...] = ()
    """Oldest first."""
    handled: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The commands that were carried out, by name, as they were written: each is carried out once."""

    @property
    def other(self) -> Slot:
        """The slot that does not have the traffic."""
        return "green" if self.active is not None and self.active.slot == "blue" else "blue"

    def gates_of(self, stage: Stage) -> tuple[GateState, ...]:
        """The gates before, or after, the switch."""
        return tuple(each for each in self.gates if each.stage == stage)

    def with_past(self, past: Past) -> "ReleaseState":
        """Add what became of a revision."""
        return msgspec.structs.replace(self, history=(*self.history, past)[-HISTORY_KEPT:])


def read_releases(status: Mapping[str, Any]) -> dict[str, ReleaseState]:
    """Read the releases off a status, by service; what is not readable is passed over."""
    found = {}
    entries = status.get("releases")
    for entry in entries if isinstance(entries, list) else ():
        try:
            release = msgspec.convert(entry, ReleaseState)
        except msgspec.ValidationError:
            continue
        found[release.service] = release
    return found


def write_release(release: ReleaseState) -> dict[str, Any]:
    """Write one release for a status."""
    return as_json(release)
