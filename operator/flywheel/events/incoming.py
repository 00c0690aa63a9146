"""What clients send: calls of Segment's HTTP tracking API, read strictly where it matters and leniently elsewhere.

Limits are Segment's: 32 KB an event, 500 KB and 2,500 events a batch. Properties, traits and context are kept as the
JSON text they came as; msgspec has checked that text while it skipped over it.
"""

import itertools
import re
from datetime import datetime
from typing import Any

import msgspec

from flywheel.events.refusal import Refused

LARGEST_EVENT = 32 * 1024
LARGEST_BATCH = 500 * 1024
MOST_EVENTS = 2_500
DEEPEST = 32
"""Objects and arrays within each other."""
TYPES = frozenset({"track", "page", "screen", "identify", "group", "alias"})

NOTHING = msgspec.Raw()
Identity = str | int | float | None
"""Segment's libraries send text; people send numbers, too."""


class Incoming(msgspec.Struct, rename="camel", gc=False):
    """One call; fields that nobody needs are skipped."""

    type: str | None = None
    message_id: str | int | None = None
    user_id: Identity = None
    anonymous_id: Identity = None
    previous_id: Identity = None
    group_id: Identity = None
    event: str | None = None
    name: str | None = None
    category: str | None = None
    write_key: str | None = None
    timestamp: datetime | float | None = None
    sent_at: datetime | float | None = None
    context: msgspec.Raw = NOTHING
    properties: msgspec.Raw = NOTHING
    traits: msgspec.Raw = NOTHING


class LooseTimes(Incoming, rename="camel", gc=False):
    """The same, with times in a form that is no RFC 3339."""

    timestamp: Any = None
    sent_at: Any = None


class Envelope(msgspec.Struct, rename="camel"):
    """A batch. Its context is the ground on which each event's own is laid."""

    batch: list[msgspec.Raw]
    write_key: str | None = None
    sent_at: Any = None
    context: msgspec.Raw = NOTHING


_event = msgspec.json.Decoder(Incoming)
_loose = msgspec.json.Decoder(LooseTimes)
_envelope = msgspec.json.Decoder(Envelope)
_OPENING = re.compile(rb'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)
_WRONG = re.compile(r"(?P<what>.*?) - at `\$(?P<where>.*)`", re.DOTALL)


def read_event(text: bytes | msgspec.Raw) -> Incoming:
    """Read one call.

    Raises:
        Refused: It is too large, too deep, no JSON, or a field is not of its type.
    """
    if len(memoryview(text)) > LARGEST_EVENT:
        raise Refused("too_large", f"The event has {len(memoryview(text)):,} bytes; at most {LARGEST_EVENT:,} fit.")
    try:
        return _event.decode(text)
    except msgspec.ValidationError as error:
        if "timestamp" not in str(error) and "sentAt" not in str(error) and "datetime" not in str(error):
            raise refusal(error) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refusal(error) from error
    try:
        return _loose.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refusal(error) from error


def read_envelope(text: bytes) -> Envelope:
    """Read a batch without reading its events.

    Raises:
        Refused: It is too large, no JSON, or has no list `batch`.
    """
    if len(text) > LARGEST_BATCH:
        raise Refused("too_large", f"The batch has {len(text):,} bytes; at most {LARGEST_BATCH:,} fit.")
    try:
        return _envelope.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise refusal(error) from error


def text_of(raw: msgspec.Raw) -> bytes:
    """Give the JSON object in `raw`; an absent or null one is empty.

    Raises:
        Refused: It is no object, or has more than `DEEPEST` layers.
    """
    text = bytes(raw)
    if text[:1] == b"{":
        # Most texts have fewer brackets altogether than layers are allowed: two for each.
        if len(text) > 2 * DEEPEST and text.count(b"{") + text.count(b"[") > DEEPEST and depth(text) > DEEPEST:
            raise Refused("too_deep", f"Objects and arrays lie more than {DEEPEST} deep within each other.")
        return text
    if text in (b"", b"null"):
        return b"{}"
    raise Refused("wrong_type", "It has to be an object.")


def depth(text: bytes) -> int:
    """Count how deep objects and arrays of valid JSON text lie within each other."""
    steps = (bool(each[1]) - bool(each[2]) for each in _OPENING.finditer(text))
    return max(itertools.accumulate(steps), default=0)


def refusal(error: Exception) -> Refused:
    """Say for people why JSON could not be read."""
    if isinstance(error, RecursionError):
        return Refused("too_deep", f"Objects and arrays lie more than {DEEPEST} deep within each other.")
    if not isinstance(error, msgspec.ValidationError):
        return Refused("invalid_json", f"This is not valid JSON in UTF-8: {error}.")
    text = str(error)
    if text.startswith("Object missing required field"):
        name = text.partition("`")[2].partition("`")[0]
        return Refused("missing_field", f"The field {name} is missing.")
    found = _WRONG.fullmatch(text)
    if found is None:
        return Refused("wrong_type", f"{text}.")
    return Refused("wrong_type", f"{found['where'].lstrip('.') or 'The body'}: {found['what'].replace('`', '')}.")
