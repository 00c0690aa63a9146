"""From a call of a client to the row that the store keeps.

What is alike for the events of a batch - most often their whole context - is worked out once and remembered by its
text for as long as the batch is at work.
"""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Literal, NamedTuple

import msgspec

from flywheel.edge.document import EdgeDocument
from flywheel.edge.naming import CHANNELS_BUILT_IN
from flywheel.events import consent
from flywheel.events.bots import is_bot
from flywheel.events.channels import DIRECT, LONGEST_URL, OTHER, Utm, classify, take_apart
from flywheel.events.incoming import Incoming
from flywheel.events.moments import milliseconds, moment
from flywheel.events.placement import Placement
from flywheel.events.refusal import Refused
from flywheel.events.rows import EventRow
from flywheel.events.validate import Checked

SCRIPT = "fw.js"
"""What our own script calls itself in `context.library.name`."""
LONGEST_USER_AGENT = 512
LONGEST_ID = 256
LONGEST_MESSAGE_ID = 100
"""As in Segment's documentation."""
LONGEST_UTM = 256
_HIDDEN = ("ip", "userAgent", "user_agent", "consent")
_ABOUT_PAGES = frozenset({"page", "screen"})


class Sender(NamedTuple):
    """Who sent a call, as the edge says."""

    ingest: int
    """When it arrived, in milliseconds."""
    horizon: int
    """How far back times are believed, in milliseconds."""
    visitor: str = ""
    channel: str = ""
    address: str = ""
    """As the campaign wants it kept."""
    consent: bool = True
    region: str = ""
    user_agent: str = ""
    host: str = ""
    """The site's own."""
    sent_at: int | None = None
    """Of a batch, by the client's clock."""


class Place(NamedTuple):
    """Where on the site something happened, and from where its visitor came."""

    url: str = ""
    path: str = ""
    referrer: str = ""
    utm: Utm = Utm()
    channel: str = DIRECT
    service: str = ""


class Surroundings(NamedTuple):
    """What an event's context says."""

    row: EventRow
    """What is alike for all events of this context."""
    place: Place
    consent: bool | None
    """What the event says of its visitor's consent; None where it says nothing."""


_any = msgspec.json.Decoder()


class Normaliser:
    """Makes rows by one document of the edge."""

    def __init__(self, document: EdgeDocument) -> None:
        self._rules = document.channels
        self._channels = frozenset({*CHANNELS_BUILT_IN, *(rule.name for rule in document.channels)})
        self._consent_required = document.visitor.consent is not None
        self._keep = document.collect.retention
        self._placement = Placement(document)
        # Many visitors see the same few pages.
        self._found = lru_cache(maxsize=2_048)(self._find)

    def surroundings(self, context: bytes, ground: bytes, sender: Sender) -> Surroundings:
        """Read a context; parts of it that make no sense are as absent."""
        parts = {**_read(ground), **_read(context)} if ground else _read(context)
        page, campaign = _object(parts.get("page")), _object(parts.get("campaign"))
        library, referrer = _object(parts.get("library")), _object(parts.get("referrer"))
        said = consent.said_by_event(parts.get("consent"))
        told = _text(parts.get("userAgent"))
        source: Literal["script", "library"] = "script" if library.get("name") == SCRIPT else "library"
        for name in _HIDDEN:
            parts.pop(name, None)
        agent = (told or sender.user_agent)[:LONGEST_USER_AGENT]
        place = self._place(page, campaign, _text(referrer.get("url")), sender)
        row = EventRow(
            message_id="",
            type="track",
            time=sender.ingest,
            original_time=sender.ingest,
            ingest_time=sender.ingest,
            region=sender.region,
            # A server's library sends for people: what it is itself says nothing about them.
            bot=is_bot(agent, browser=bool(told) or source == "script"),
            address=sender.address,
            user_agent=agent,
            context=msgspec.json.encode(parts).decode() if parts else "{}",
            source=source,
            expires_at=sender.ingest // 1000 + self._keep,
        )
        _put(row, place)
        return Surroundings(row, place, said)

    def _place(self, page: dict[str, Any], campaign: dict[str, Any], referrer: str, sender: Sender) -> Place:
        """Say where on the site, and from where."""
        get = page.get
        return self._found(
            _text(get("url"))[:LONGEST_URL],
            _text(get("path"))[:1024],
            _text(get("search"))[:LONGEST_URL],
            (_text(get("referrer")) or referrer)[:LONGEST_URL],
            _utm(campaign) if campaign else None,
            sender.channel,
            sender.host,
        )

    def _find(self, url: str, path: str, search: str, referrer: str, utm: Utm | None, told: str, host: str) -> Place:
        address = take_apart(url)
        if not address.path:
            address = address._replace(path=path)
        query = take_apart(f"/{search}") if search else address
        came_from = take_apart(referrer).host if referrer else ""
        utm = utm or (address.utm if any(address.utm) else query.utm)
        own = frozenset({host, address.host})
        return Place(
            address.url,
            address.path,
            "" if came_from in own else came_from,
            utm,
            self._channel(told, utm, came_from, address.parameters | query.parameters, own),
            self._placement.service(address.host, address.path),
        )

    def _channel(self, told: str, utm: Utm, referrer: str, parameters: frozenset[str], own: frozenset[str]) -> str:
        """Take the edge's word, unless that is only that it knows nothing: a server's library sends no cookie."""
        if told and told != DIRECT:
            return told if told in self._channels else OTHER
        return classify(self._rules, utm, referrer, parameters, own)

    def row(
        self, event: Incoming, checked: Checked, around: Surroundings, sender: Sender, new_id: Callable[[], str]
    ) -> EventRow:
        """Make the row of an event.

        Raises:
            Refused: It says of nobody whom it is about, or its visitor did not agree to it.
        """
        visitor = sender.visitor or identity(event.anonymous_id)
        user = identity(event.user_id)
        if not visitor and not user and sender.consent:
            raise Refused("no_identity", "userId, anonymousId: at least one of them is needed.")
        # A copy of what all events of this context share costs a fraction of a row made from its parts.
        row: EventRow = around.row.__copy__()  # type: ignore[attr-defined]
        found = event.message_id
        row.message_id = (
            found if type(found) is str and 0 < len(found) <= LONGEST_MESSAGE_ID else message_id(found) or new_id()
        )
        row.type = event.type  # type: ignore[assignment]
        row.event = checked.name
        row.visitor = visitor
        row.user_id = user
        row.properties = checked.properties
        if checked.order:
            row.order_id = checked.order_id
            value = checked.value
            row.revenue, row.currency, row.revenue_unknown = value.revenue, value.currency, value.unknown
        if event.type in _ABOUT_PAGES and checked.properties != "{}":
            _put(row, self._on_page(checked.properties, around.place, sender))
        if self._placement.tested:
            row.variant = self._placement.variant(row.service, visitor)
        if event.timestamp is not None:
            sent_at = sender.sent_at if event.sent_at is None else _sent_at(event, sender)
            row.time, row.original_time, row.clamped = moment(event.timestamp, sent_at, sender.ingest, sender.horizon)
            row.expires_at = row.time // 1000 + self._keep
        if sender.consent and around.consent is not False:
            return row
        return self._as_agreed(row, around, sender)

    def _on_page(self, properties: str, around: Place, sender: Sender) -> Place:
        """Let the properties of a page call, which are about the page itself, say where it is."""
        page = _read(properties.encode())
        if not any(page.get(name) for name in ("url", "path", "referrer")):
            return around
        place = self._place(page, {}, "", sender)
        return place._replace(utm=around.utm, channel=around.channel) if any(around.utm) else place

    def _as_agreed(self, row: EventRow, around: Surroundings, sender: Sender) -> EventRow:
        """Keep of a row what its visitor agreed to."""
        decision = consent.decide(row.type, required=self._consent_required, edge=sender.consent, event=around.consent)
        if decision == "refused":
            raise Refused("no_consent", "The visitor did not agree to be measured.")
        if decision == "full":
            if not row.visitor and not row.user_id:
                raise Refused("no_identity", "userId, anonymousId: at least one of them is needed.")
            return row
        return msgspec.structs.replace(
            row,
            visitor="",
            user_id="",
            variant="",
            address="",
            user_agent="",
            properties="{}",
            context="{}",
            consent=False,
        )


def _put(row: EventRow, place: Place) -> None:
    row.url, row.path, row.referrer, utm, row.channel, row.service = place
    row.utm_source, row.utm_medium, row.utm_campaign, row.utm_content, row.utm_term = utm


def identity(value: Any) -> str:
    """Write an id of a visitor or user; numbers are as good as text."""
    if type(value) is str:
        return value[:LONGEST_ID]
    if value is None:
        return ""
    if isinstance(value, int) and abs(value) >= 10**LONGEST_ID:
        raise Refused("wrong_type", f"An id has more than {LONGEST_ID} digits.")
    return str(value)[:LONGEST_ID]


def message_id(value: Any) -> str:
    """Write a message id; one that is too long is replaced by its digest, so that it still tells repetitions."""
    text = identity(value) if isinstance(value, int) else value or ""
    if len(text) <= LONGEST_MESSAGE_ID:
        return text
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _sent_at(event: Incoming, sender: Sender) -> int | None:
    found = milliseconds(event.sent_at)
    return sender.sent_at if found is None else found


def _read(text: bytes) -> dict[str, Any]:
    """Read an object; anything else is an empty one."""
    try:
        return _object(_any.decode(text)) if text != b"{}" else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _utm(campaign: dict[str, Any]) -> Utm:
    """Read Segment's `context.campaign`, in which the campaign's own name is `name`."""
    named = {**campaign, "campaign": campaign.get("name") or campaign.get("campaign")}
    return Utm(*(_text(named.get(field)).strip().lower()[:LONGEST_UTM] for field in Utm._fields))
