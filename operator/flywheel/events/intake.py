"""From the text of a call to rows: each event is read, checked, normalised and compared with those seen lately.

A bad event becomes a dead letter and takes no good one of its batch with it.
"""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from flywheel.edge.document import EdgeDocument
from flywheel.events.consent import said_by_event
from flywheel.events.dedupe import Recent
from flywheel.events.incoming import LARGEST_EVENT, MOST_EVENTS, Envelope, Incoming, read_event, text_of
from flywheel.events.normalise import Normaliser, Sender, Surroundings, identity, message_id
from flywheel.events.refusal import Refused
from flywheel.events.rows import DeadLetter, EventRow
from flywheel.events.validate import LONGEST_NAME, Catalogue

LONGEST_DETAIL = 500
_NOBODY = "no_consent"


class Rejection(msgspec.Struct, rename="camel", omit_defaults=True):
    """One event of a call that was not taken in, as its client is told."""

    index: int
    message_id: str
    reason: str
    detail: str


@dataclass(slots=True)
class Taken:
    """What became of one call."""

    rows: list[EventRow] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    rejected: list[Rejection] = field(default_factory=list)
    duplicates: int = 0
    beyond: int = 0
    """Events after the last that a batch may have."""


def fresh_id() -> str:
    """Make an id for an event that came without one."""
    return f"fw-{uuid.uuid4().hex}"


class Intake:
    """Takes in events by one document of the edge."""

    def __init__(self, document: EdgeDocument, recent: Recent, new_id: Callable[[], str] = fresh_id) -> None:
        self._catalogue = Catalogue(document.collect)
        self._normaliser = Normaliser(document)
        self._consent_required = document.visitor.consent is not None
        self._keep = document.collect.retention
        self._recent = recent
        self._new_id = new_id

    def batch(self, envelope: Envelope, sender: Sender) -> Taken:
        """Take in a batch; what is beyond its largest number of events is refused as a whole."""
        events = envelope.batch
        beyond = max(0, len(events) - MOST_EVENTS)
        ground = _ground(envelope.context)
        taken = self.take(events[:MOST_EVENTS] if beyond else events, sender, ground=ground)
        if beyond:
            detail = f"A batch may have {MOST_EVENTS:,} events; the last {beyond:,} were not taken in."
            taken.rejected.append(Rejection(MOST_EVENTS, "", "too_many", detail))
            taken.beyond = beyond
        return taken

    def take(
        self, events: Iterable[bytes | msgspec.Raw], sender: Sender, kind: str | None = None, ground: bytes = b""
    ) -> Taken:
        """Take in events.

        Args:
            events: The JSON text of each.
            sender: Who sent them.
            kind: What all of them are, where the address of the call says it.
            ground: A context on which each event's own is laid.
        """
        taken, known = Taken(), dict[bytes, Surroundings]()
        check, surroundings, make = self._catalogue.check, self._normaliser.surroundings, self._normaliser.row
        is_new, keep, new_id = self._recent.add, taken.rows.append, self._new_id
        for index, text in enumerate(events):
            event = None
            try:
                event = read_event(text)
                if kind is not None:
                    event.type = kind
                checked = check(event)
                context = _context(event)
                around = known.get(context)
                if around is None:
                    around = known[context] = surroundings(context, ground, sender)
                row = make(event, checked, around, sender, new_id)
            except Refused as error:
                self._refuse(taken, index, text, event, error, sender)
                continue
            if is_new(row.message_id):
                keep(row)
            else:
                taken.duplicates += 1
        return taken

    def forget(self, taken: Taken) -> None:
        """Take events back that could not be kept: their client will send them again."""
        for row in taken.rows:
            self._recent.forget(row.message_id)

    def _refuse(
        self,
        taken: Taken,
        index: int,
        text: bytes | msgspec.Raw,
        event: Incoming | None,
        error: Refused,
        sender: Sender,
    ) -> None:
        """Write down why an event was not taken in; of a visitor who did not agree, nothing but that."""
        detail = error.detail[:LONGEST_DETAIL]
        letter = DeadLetter(
            time=sender.ingest,
            reason=error.reason,
            detail=detail,
            expires_at=sender.ingest // 1000 + self._keep,
        )
        found = "" if event is None else _id(message_id, event.message_id)
        if event is not None:
            letter.type = (event.type or "")[:LONGEST_NAME]
            letter.event = (event.event or event.name or "")[:LONGEST_NAME]
        if sender.consent and error.reason != _NOBODY and not _says_no(bytes(text), event):
            letter.message_id = found
            letter.payload = bytes(text)[:LARGEST_EVENT].decode("utf-8", "replace")
            letter.visitor = sender.visitor or ("" if event is None else _id(identity, event.anonymous_id))
            letter.user_id = "" if event is None else _id(identity, event.user_id)
        taken.letters.append(letter)
        taken.rejected.append(Rejection(index, found, error.reason, detail))


def _says_no(text: bytes, event: Incoming | None) -> bool:
    """Tell whether a bad event says that its visitor did not agree; one that cannot be read may."""
    if b'"consent"' not in text:
        return False
    if event is None:
        return True
    try:
        context = msgspec.json.decode(bytes(event.context) or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return True
    return isinstance(context, dict) and said_by_event(context.get("consent")) is False


def _context(event: Incoming) -> bytes:
    try:
        return text_of(event.context)
    except Refused as error:
        raise Refused(error.reason, f"context: {error.detail}") from None


def _ground(context: msgspec.Raw) -> bytes:
    try:
        text = text_of(context)
    except Refused:
        return b""
    return b"" if text == b"{}" else text


def _id(write: Callable[[object], str], value: object) -> str:
    try:
        return write(value)
    except Refused:
        return ""
