"""From a call of a client to the row that the store keeps.

What is alike for the events of a batch - most often their whole context - is worked out once and remembered by its
text for as long as the batch is at work.
"""

import hashlib
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import msgspec

from flywheel.edge.document import EdgeDocument
from flywheel.edge.naming import CHANNELS_BUILT_IN
from flywheel.events import consent
from flywheel.events.bots import is_bot
from flywheel.events.channels import DIRECT, OTHER, Address, Utm, classify, take_apart
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


class Surroundings(NamedTuple):
    """What an event's context says."""

    text: str = "{}"
    page: Address = Address()
    referrer: str = ""
    utm: Utm = Utm()
    channel: str = DIRECT
    service: str = ""
    user_agent: str = ""
    bot: bool = False
    source: Literal["edge", "script", "library"] = "library"
    consent: bool | None = None


_contexts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()


class Normaliser:
    """Makes rows by one document of the edge."""

    def __init__(self, document: EdgeDocument) -> None:
        self._rules = document.channels
        self._channels = frozenset({*CHANNELS_BUILT_IN, *(rule.name for rule in document.channels)})
        self._consent_required = document.visitor.consent is not None
        self._keep = document.collect.retention
        self._placement = Placement(document)

    def surroundings(self, context: bytes, ground: bytes, sender: Sender) -> Surroundings:
        """Read a context; parts of it that make no sense are as absent."""
        parts = {**_parts(ground), **_parts(context)} if ground else _parts(context)
        page, campaign = _read(parts.get("page")), _read(parts.get("campaign"))
        library, referrer = _read(parts.get("library")), _read(parts.get("referrer"))
        said = consent.said_by_event(_read(parts.get("consent")))
        agent = (_text(_value(parts.get("userAgent"))) or sender.user_agent)[:LONGEST_USER_AGENT]
        source: Literal["script", "library"] = "script" if library.get("name") == SCRIPT else "library"
        own_words = bool(_text(_value(parts.get("userAgent")))) or source == "script"
        for name in _HIDDEN:
            parts.pop(name, None)
        text = msgspec.json.encode(parts).decode("utf-8", "replace") if parts else "{}"
        place = self._place(page, campaign, _text(referrer.get("url")), sender)
        return place._replace(
            text=text, user_agent=agent, bot=is_bot(agent, browser=own_words), source=source, consent=said
        )

    def _place(self, page: dict[str, Any], campaign: dict[str, Any], referrer: str, sender: Sender) -> Surroundings:
        """Say where on the site, and from where."""
        address = take_apart(_text(page.get("url")))
        if not address.path:
            address = address._replace(path=_text(page.get("path"))[:1024])
        search = take_apart("/" + _text(page.get("search"))) if page.get("search") else address
        host = take_apart(_text(page.get("referrer")) or referrer).host
        utm = _utm(campaign) if campaign else (address.utm if any(address.utm) else search.utm)
        own = frozenset({sender.host, address.host})
        return Surroundings(
            page=address,
            referrer="" if host in own else host,
            utm=utm,
            channel=self._channel(sender.channel, utm, host, address.parameters | search.parameters, own),
            service=self._placement.service(address.host, address.path),
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
        kind: Any = event.type
        visitor = sender.visitor or identity(event.anonymous_id)
        user = identity(event.user_id)
        if not visitor and not user and sender.consent:
            raise Refused("no_identity", "userId, anonymousId: at least one of them is needed.")
        if kind in _ABOUT_PAGES and checked.properties != "{}":
            around = self._on_page(checked.properties, around, sender)
        sent_at = sender.sent_at if event.sent_at is None else _sent_at(event, sender)
        when = moment(event.timestamp, sent_at, sender.ingest, sender.horizon)
        utm, page, value = around.utm, around.page, checked.value
        row = EventRow(
            message_id=message_id(event.message_id) or new_id(),
            type=kind,
            event=checked.name,
            time=when.time,
            original_time=when.original,
            ingest_time=sender.ingest,
            visitor=visitor,
            user_id=user,
            channel=around.channel,
            utm_source=utm.source,
            utm_medium=utm.medium,
            utm_campaign=utm.campaign,
            utm_content=utm.content,
            utm_term=utm.term,
            referrer=around.referrer,
            url=page.url,
            path=page.path,
            service=around.service,
            variant=self._placement.variant(around.service, visitor),
            region=sender.region,
            bot=around.bot,
            clamped=when.clamped,
            address=sender.address,
            user_agent=around.user_agent,
            order_id=checked.order_id,
            revenue=value.revenue,
            currency=value.currency,
            revenue_unknown=value.unknown,
            properties=checked.properties,
            context=around.text,
            source=around.source,
            expires_at=when.time // 1000 + self._keep,
        )
        if sender.consent and around.consent is not False:
            return row
        return self._as_agreed(row, around, sender)

    def _on_page(self, properties: str, around: Surroundings, sender: Sender) -> Surroundings:
        """Let the properties of a page call, which are about the page itself, say where it is."""
        page = _read(properties.encode())
        if not any(page.get(name) for name in ("url", "path", "referrer")):
            return around
        place = self._place(page, {}, "", sender)
        if any(around.utm):
            place = place._replace(utm=around.utm, channel=around.channel)
        return around._replace(
            page=place.page, referrer=place.referrer, utm=place.utm, channel=place.channel, service=place.service
        )

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


def identity(value: Any) -> str:
    """Write an id of a visitor or user; numbers are as good as text."""
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


def _parts(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _contexts.decode(text) if text != b"{}" else {}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return {}


def _value(raw: msgspec.Raw | bytes | None) -> Any:
    try:
        return None if raw is None else _any.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None


def _read(raw: msgspec.Raw | bytes | None) -> dict[str, Any]:
    found = _value(raw)
    return found if isinstance(found, dict) else {}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _utm(campaign: dict[str, Any]) -> Utm:
    """Read Segment's `context.campaign`, in which the campaign's own name is `name`."""
    named = {**campaign, "campaign": campaign.get("name") or campaign.get("campaign")}
    return Utm(*(_text(named.get(field)).strip().lower()[:LONGEST_UTM] for field in Utm._fields))
