"""What a gate looks at, and what one look has shown. Pure."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum

LONGEST_VALUE = 64
LONGEST_MESSAGE = 300


class Outcome(Enum):
    """What one measurement says of the revision, or of itself."""

    SUCCESS = "Success"
    FAILURE = "Failure"
    NO_DATA = "NoData"
    """It could be made, and there was nothing to see."""
    ERROR = "Error"
    """It could not be made: no address, no such metric, no image. It says nothing of the revision."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """One look of a gate."""

    outcome: Outcome
    message: str
    """What was seen and what was wanted, in a sentence for people."""
    value: str = ""
    """The figure, if there is one."""
    evidence: str = ""
    """Where more is kept, such as `configmap/<name>`."""

    def bounded(self) -> "Measurement":
        """The same, short enough for a status."""
        return Measurement(
            self.outcome,
            _shortened(self.message, LONGEST_MESSAGE),
            _shortened(self.value, LONGEST_VALUE),
            self.evidence,
        )


@dataclass(frozen=True, slots=True)
class Target:
    """What is being verified, and against what."""

    namespace: str
    campaign: str
    service: str
    revision: str
    slot: str
    active_slot: str
    """The slot to compare with: the one that had the traffic before this revision."""
    active_revision: str
    address: str
    """Of the revision alone, whatever takes the traffic: http://<service of the slot>.<namespace>.svc:<port>."""
    edge: str
    """Address of the campaign's edge; empty without one. Requests with `X-FW-Preview: <revision>` see the revision."""
    since: datetime
    """Since when the revision is ready (before promotion), or has the traffic (after it)."""
    promoted: bool


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
