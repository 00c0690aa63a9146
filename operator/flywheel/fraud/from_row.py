"""From a row of the store to what a fraud engine judges, with the address that only the edge knows. Pure."""

from typing import Any

import msgspec

from flywheel.events.rows import EventRow
from flywheel.fraud.words import Event, Value

DEEPEST = 3
"""Levels of objects within each other; what is below is left out."""
MOST_FIELDS = 200
LONGEST_VALUE = 1024
_decode = msgspec.json.Decoder().decode
_OWN = {
    "service": "service",
    "path": "path",
    "region": "region",
    "channel": "channel",
    "variant": "variant",
    "orderId": "order_id",
    "userAgent": "user_agent",
    "referrer": "referrer",
    "currency": "currency",
    "source": "source",
}
"""Field of an event -> field of its row."""


def event_of(row: EventRow, address: str) -> Event:
    """Write a row as an event.

    Args:
        row: As it was taken in.
        address: The client's, as the edge sees it. It is not in the row, unless the campaign wants it kept.
    """
    fields: dict[str, Value] = {name: value for name, own in _OWN.items() if (value := getattr(row, own))}
    if row.order_id:
        fields["revenue"] = row.revenue
    if row.bot:
        fields["bot"] = True
    for prefix, text in (
        ("traits" if row.type in ("identify", "group") else "properties", row.properties),
        ("context", row.context),
    ):
        if text != "{}":
            _flatten(fields, prefix, _object(text), 1)
    device = fields.get("context.device.id")
    if isinstance(device, str) and device:
        fields["device"] = device
    return Event(
        id=row.message_id,
        type=row.type,
        name=row.event,
        time=row.time,
        arrived=row.ingest_time,
        address=address,
        visitor=row.visitor,
        user=row.user_id,
        fields=fields,
    )


def _object(text: str) -> dict[str, Any]:
    try:
        found = _decode(text)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _flatten(fields: dict[str, Value], prefix: str, found: dict[str, Any], depth: int) -> None:
    for name, value in found.items():
        if len(fields) >= MOST_FIELDS:
            return
        path = f"{prefix}.{name}"
        if isinstance(value, str):
            fields[path] = value[:LONGEST_VALUE]
        elif isinstance(value, bool):
            fields[path] = value
        elif isinstance(value, int | float):
            fields[path] = _number(value)
        elif isinstance(value, dict) and depth < DEEPEST:
            _flatten(fields, path, value, depth + 1)


def _number(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")
