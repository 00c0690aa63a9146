"""What a fraud engine judges, and what it says: the words that the edge, the worker and the store share. Pure."""

from typing import Literal

import msgspec

Value = str | float | bool
"""A typed field of an event. A JSON integer is a float."""
Mode = Literal["Off", "Shadow", "Enforce"]
Listed = Literal["Deny", "Watch"]
ActionKind = Literal["Tag", "Review", "Challenge", "Throttle", "Block"]


class Event(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One event as it comes from an edge pod, with what the edge alone knows of its sender."""

    id: str
    """The client's messageId, unique within the campaign."""
    type: str = "track"
    name: str = ""
    time: int
    """When it happened, in milliseconds since 1970: by the edge's clock, corrected and clamped."""
    arrived: int
    """When the edge took it in, in milliseconds since 1970. Never from the client."""
    address: str = ""
    """The client's address as the edge sees it, behind the trusted proxies. Never kept in the store."""
    visitor: str = ""
    user: str = ""
    fields: dict[str, Value] = {}
    """All else, flat, by path: `device` (its identity, `context.device.id`), `deviceKind` (Phone, Tablet, Desktop),
    `service`, `variant`, `path`, `region`, `channel`, `source`, `referrer`, `userAgent`, `revenue`, `currency`,
    `orderId`, `bot`, `properties.amount`, `context.traits.createdAt`.

    Lists, and objects below the third level, are left out."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One rule that an event has broken, with all that explains it."""

    rule: str
    """Name of the FraudRule."""
    version: str
    """Digest of what the rule judges by: equal specs have equal versions."""
    event: str
    """Id of the event that broke it."""
    at: int
    """Time of that event, in milliseconds since 1970."""
    key: tuple[str, ...]
    """Values of the rule's key fields, in their order."""
    observed: float
    """What was counted; no more than one above the limit where `saturated`."""
    limit: float
    since: int
    """First moment of the window that was looked at, excluded."""
    saturated: bool = False
    """There may have been more than `observed`: no more than that is kept."""
    warming: bool = False
    """The window was not yet full when this was judged: there may have been more before."""
    detail: str = ""
    """What a number alone does not tell: the two places, the linked accounts, the score's model."""
    listed: Listed | None = None
    """Which list has named the sender where no condition was met; `detail` says where it is kept then."""
