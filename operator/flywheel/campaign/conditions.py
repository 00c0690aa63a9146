"""Conditions in the form of metav1.Condition, whose transition time changes only when the status does.

Source: kubernetes/community, API conventions, "Typical status properties"; kstatus for Ready, Reconciling, Stalled.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from flywheel.plan import Manifest

MESSAGE_LIMIT = 1024


@dataclass(frozen=True, slots=True)
class Condition:
    """One statement about a resource."""

    type: str
    status: Literal["True", "False", "Unknown"]
    reason: str
    message: str


def timestamp(moment: datetime) -> str:
    """Write an instant as the API server does: UTC, whole seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def condition_list(
    conditions: Iterable[Condition], previous: Iterable[Mapping[str, Any]], generation: int, now: datetime
) -> list[Manifest]:
    """Write `conditions` for a status, keeping the transition times of those whose status did not change."""
    before = {each.get("type"): each for each in previous}
    written = []
    for condition in conditions:
        old = before.get(condition.type, {})
        same = old.get("status") == condition.status and old.get("lastTransitionTime")
        written.append(
            {
                "type": condition.type,
                "status": condition.status,
                "reason": condition.reason,
                "message": _shortened(condition.message),
                "observedGeneration": generation,
                "lastTransitionTime": old["lastTransitionTime"] if same else timestamp(now),
            }
        )
    return written


def _shortened(message: str) -> str:
    return message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 1] + "…"
