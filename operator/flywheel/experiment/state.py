"""Where an A/B test stands. It is kept on the ABTest's status and nowhere else.

Which visitors are sent where follows from this record and the spec, so it is written before the edge is told.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec

Standing = Literal["Waiting", "Running", "Paused", "Decided", "Promoted", "Stopped", "Failed"]
ENDED: frozenset[Standing] = frozenset({"Promoted", "Stopped", "Failed"})
SENDING: frozenset[Standing] = frozenset({"Running"})
"""Where visitors are sent to variants."""


class Record(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """Base of all parts: frozen, camelCase on the status, unknown fields of a later version passed over."""


class Sizing(Record, frozen=True, kw_only=True):
    """What was fixed before the first visitor."""

    variant_cap: int
    """Visitors of each variant at which the test ends."""
    control_cap: int
    baseline: float
    """Of the primary metric: a share, a mean or a ratio."""
    variance: float = 0.0
    """Of one visitor's value; 0 of a share, whose variance follows from it."""


class Concluded(Record, frozen=True, kw_only=True):
    """How the test has ended, as far as statistics go."""

    verdict: str
    at: datetime
    sentence: str
    winner: str = ""


class ABTestState(Record, frozen=True, kw_only=True):
    """One test."""

    state: Standing = "Waiting"
    reason: str = ""
    message: str = ""
    salt: str = ""
    """What assigns visitors; fixed when the test first begins."""
    started_at: datetime | None = None
    paused_at: datetime | None = None
    paused_seconds: float = 0.0
    """Before the pause that is under way."""
    ended_at: datetime | None = None
    looked_at: datetime | None = None
    """Up to when figures were looked at last."""
    least_ratio: float = 1.0
    """Least p-value of the sample ratio so far: a proof does not go away."""
    withdrawn: tuple[str, ...] = ()
    """Variants that have broken a guardrail: nobody is sent there any more."""
    sizing: Sizing | None = None
    decision: Concluded | None = None

    def elapsed(self, now: datetime) -> timedelta:
        """Give the time since the start, without pauses."""
        if self.started_at is None:
            return timedelta()
        until = self.ended_at or self.paused_at or now
        return max(timedelta(), until - self.started_at - timedelta(seconds=self.paused_seconds))


def read_state(status: Mapping[str, Any]) -> ABTestState:
    """Read the record off a status; what cannot be read begins anew, but never as a test that runs."""
    record = status.get("test")
    try:
        return msgspec.convert(record, ABTestState) if isinstance(record, Mapping) else ABTestState()
    except msgspec.ValidationError as error:
        return ABTestState(state="Failed", reason="RecordUnreadable", message=f"status.test cannot be read: {error}")


def write_state(state: ABTestState) -> dict[str, Any]:
    """Write the record for a status."""
    # Also where it is the first one, which the record leaves out: people look for it.
    return {"state": state.state, **msgspec.to_builtins(state)}
