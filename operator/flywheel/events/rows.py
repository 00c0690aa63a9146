"""The rows that a sidecar delivers and the store keeps. One line of JSON each, fields in snake case as in the tables.

Moments are milliseconds since 1970 in UTC. The campaign is not in the row: the worker knows it from the sender's token.
"""

from typing import Literal

import msgspec


class Row(msgspec.Struct, kw_only=True, omit_defaults=False):
    """Base of all rows."""


class EventRow(Row, kw_only=True):
    """One event of a visitor. The store keeps the first of those with equal `message_id`."""

    message_id: str
    type: Literal["track", "page", "screen", "identify", "group", "alias"]
    event: str = ""
    """Name of a `track`, name of a `page` or `screen`."""
    time: int
    """When it happened, by the edge's clock: corrected for the client's skew and clamped."""
    original_time: int
    """When it happened as the client says; `time` where it says nothing."""
    ingest_time: int
    """When the edge took it in."""
    visitor: str = ""
    """The cookie `fw_vid`, else the anonymousId of the client; empty without consent."""
    user_id: str = ""
    channel: str = ""
    utm_source: str = ""
    utm_medium: str = ""
    utm_campaign: str = ""
    utm_content: str = ""
    utm_term: str = ""
    referrer: str = ""
    """Host name of the referring page."""
    url: str = ""
    """Address of the page without its query."""
    path: str = ""
    service: str = ""
    variant: str = ""
    region: str = ""
    bot: bool = False
    consent: bool = True
    clamped: bool = False
    """The client's time was not believed."""
    address: str = ""
    """Client address as the campaign wants it: salted hash, the address, or nothing."""
    user_agent: str = ""
    order_id: str = ""
    revenue: float = 0.0
    """In the campaign's reporting currency."""
    currency: str = ""
    """As the client gave it; where no rate is declared for it, revenue is 0 and `revenue_unknown` true."""
    revenue_unknown: bool = False
    properties: str = "{}"
    """JSON text."""
    context: str = "{}"
    """JSON text, without address and user agent."""
    source: Literal["edge", "script", "library"] = "library"
    expires_at: int
    """Seconds since 1970."""


class RequestRow(Row, kw_only=True):
    """One HTTP request that HAProxy answered."""

    request_id: str
    time: int
    ingest_time: int
    service: str = ""
    slot: str = ""
    test: str = ""
    variant: str = ""
    fallback: int = 0
    """1 where the control answered in place of the variant."""
    channel: str = ""
    region: str = ""
    host: str = ""
    method: str = ""
    path: str = ""
    """Without the query, at most 1,024 characters."""
    status: int
    duration_ms: float
    """From the first byte of the request to the last of the answer."""
    server_ms: float
    """Until the service began to answer; negative where none did."""
    bytes_in: int = 0
    bytes_out: int = 0
    visitor: str = ""
    new_visitor: bool = False
    bot: bool = False
    page: bool = False
    """An HTML answer to a person: a page view."""
    termination: str = ""
    """HAProxy's termination state, such as `--` or `SC`."""
    refused: str = ""
    """Why the edge itself refused it: rate, blocked, body, path ...; empty where a service answered."""
    address: str = ""
    browser: str = ""
    """Family, such as Chrome; empty without consent."""
    device: str = ""
    """Phone, Tablet or Desktop; empty without consent."""
    pod: str = ""
    """Of the edge."""
    expires_at: int


class DeadLetter(Row, kw_only=True):
    """An event that was not taken in, and why."""

    time: int
    reason: str
    """One word: invalid_json, too_large, no_identity, undeclared_event, missing_property, wrong_type, no_consent ..."""
    detail: str = ""
    """For people: which field, what was found, what is wanted."""
    message_id: str = ""
    type: str = ""
    event: str = ""
    visitor: str = ""
    user_id: str = ""
    payload: str = ""
    """What came, cut at 32 KiB."""
    expires_at: int


TABLES: dict[str, type[Row]] = {"events": EventRow, "requests": RequestRow, "dead_letters": DeadLetter}
