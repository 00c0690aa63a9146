"""Where an A/B test stands. It is kept on the ABTest's status and nowhere else.

Which visitors are sent where follows from this record and the spec, so it is written before the edge is told.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

from flywheel.plan import as_json

Standing = Literal["Waiting", "Running", "Paused", "Decided", "Promoted", "Stopped", "Failed"]
ENDED: frozenset[Standing] = frozenset({"Promoted", "Stopped", "Failed"})
MOST_STRETCHES = 64
MOST_CHANGES = 16


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all parts: frozen, camelCase on the status, unknown fields of a later version passed over."""


class Sizing(Record, frozen=True, kw_only=True):
    """What was fixed before anything could be decided."""

    variant_cap: int
    """Visitors of each variant at which the test ends."""
    control_cap: int
    baseline: float
    """Of the primary metric: a share, a mean or a ratio."""
    variance: float = 0.0
    """Of one visitor's value; 0 of a share, whose variance follows from it."""


class Stretch(Record, frozen=True, kw_only=True):
    """A time in which new visitors were shared out alike."""

    since: datetime
    weights: dict[str, int]
    """Basis points of each variant that took part."""


class Concluded(Record, frozen=True, kw_only=True):
    """How the test has ended, as far as statistics go."""

    verdict: str
    at: datetime
    sentence: str
    winner: str = ""
    promoted_at: datetime | None = None
    revision: str = ""
    """What the service runs with the winner in it."""


class ABTestState(Record, frozen=True, kw_only=True):
    """One test."""

    state: Standing = "Waiting"
    reason: str = ""
    message: str = ""
    salt: str = ""
    """What assigns visitors; fixed when the test first begins."""
    segments: tuple[tuple[int, int], ...] = ()
    """Buckets of the layer that are the test's: from the first one up to, but without, the second."""
    stretches: tuple[Stretch, ...] = ()
    """The first begins with the test."""
    started_at: datetime | None = None
    paused_at: datetime | None = None
    paused_seconds: float = 0.0
    """Before the pause that is under way."""
    ended_at: datetime | None = None
    """Nothing later counts."""
    closed_at: datetime | None = None
    """When visitors left its variants for good."""
    asked_at: datetime | None = None
    """When the store was asked last, whatever it said."""
    looked_at: datetime | None = None
    """Up to when figures were looked at last."""
    reported_at: datetime | None = None
    """When the report was written last."""
    unseen_since: datetime | None = None
    """Since when there have been no figures."""
    least_ratio: float = 1.0
    """Least p-value of the sample ratio so far: a proof does not go away."""
    withdrawn: dict[str, datetime] = msgspec.field(default_factory=dict)
    """Variants that have broken a guardrail, and when: nobody is sent there any more."""
    design: str = ""
    """Digest of what may not change while it runs."""
    revision: str = ""
    """Of the service, as last seen."""
    changes: tuple[datetime, ...] = ()
    """When the service became another one while the test ran."""
    sizing: Sizing | None = None
    decision: Concluded | None = None

    def elapsed(self, now: datetime) -> timedelta:
        """Give the time since the start, without pauses."""
        if self.started_at is None:
            return timedelta()
        until = self.ended_at or self.paused_at or now
        return max(timedelta(), until - self.started_at - timedelta(seconds=self.paused_seconds))

    @property
    def winner(self) -> str:
        """The variant that was found better; empty where none was."""
        return self.decision.winner if self.decision else ""


def read_state(status: Mapping[str, Any]) -> ABTestState:
    """Read the record off a status; what cannot be read is a test that has failed, never one that begins anew."""
    record = status.get("record")
    try:
        return msgspec.convert(record, ABTestState) if isinstance(record, Mapping) else ABTestState()
    except msgspec.ValidationError as error:
        return ABTestState(state="Failed", reason="RecordUnreadable", message=f"status.record cannot be read: {error}")


def write_state(state: ABTestState) -> dict[str, Any]:
    """Write the record for a status."""
    # Also where it is the first one, which the record leaves out: otherwise a status without any would look alike.
    return {"state": state.state, **as_json(state)}
