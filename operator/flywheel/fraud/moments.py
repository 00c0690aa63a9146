"""Moments as events tell them. Pure."""

from datetime import datetime

from flywheel.fraud.words import Value


def moment(value: Value | None) -> int | None:
    """Read RFC 3339, or seconds or milliseconds since 1970, as milliseconds; None where it is none of these."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, float | int):
        return int(value * 1000 if value < 1e11 else value) if 0 <= value < 1e14 else None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return round(parsed.timestamp() * 1000) if parsed.tzinfo else None
