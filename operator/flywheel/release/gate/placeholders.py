"""What stands in double braces in a query, put in so that it can be nothing but a value. Pure."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta

from flywheel.api.gate_values import PLACEHOLDERS
from flywheel.release.gate.measurement import Target

_PLACEHOLDER = re.compile("[{][{](" + "|".join(PLACEHOLDERS) + ")[}][}]")
_HARMLESS = re.compile(r"[^A-Za-z0-9_.:/@ -]")


def escaped(text: str) -> str:
    """Write a value so that it ends no text of PromQL, whichever quotes that has, and begins nothing of its own."""
    return _HARMLESS.sub(_written, text)


def _written(found: re.Match[str]) -> str:
    number = ord(found[0])
    return f"\\u{number:04x}" if number < 0x1_0000 else f"\\U{number:08x}"


def filled(query: str, values: Mapping[str, str]) -> str:
    """Put values in, once: what they look like is not looked at again."""
    return _PLACEHOLDER.sub(lambda found: escaped(values[found[1]]), query)


def query_of(query: str, target: Target, window: timedelta) -> str:
    """Ask about the revision that is verified."""
    return filled(query, _values(target, target.slot, target.revision, window))


def query_of_active(query: str, target: Target, window: timedelta) -> str:
    """Ask the same about the active slot."""
    return filled(query, _values(target, target.active_slot, target.active_revision, window))


def _values(target: Target, slot: str, revision: str, window: timedelta) -> dict[str, str]:
    return {
        "namespace": target.namespace,
        "campaign": target.campaign,
        "service": target.service,
        "revision": revision,
        "slot": slot,
        "activeSlot": target.active_slot,
        "activeRevision": target.active_revision,
        "window": f"{max(1, int(window.total_seconds()))}s",
    }


def window_of(longest: timedelta, since: datetime, now: datetime) -> timedelta:
    """Give the time to look at: since the revision is ready or has the traffic, and never longer than asked for."""
    return max(timedelta(seconds=1), min(longest, now - since))
