"""Whether an event is one that the campaign knows, and has the properties that it declared.

A campaign's declarations are compiled once into msgspec types; an event is then checked while its properties are read.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, NamedTuple

import msgspec

from flywheel.edge.document import Collect, DeclaredEvent, Property
from flywheel.events.incoming import TYPES, Incoming, refusal, text_of
from flywheel.events.orders import NOTHING, Value, order_identity, order_value
from flywheel.events.refusal import Refused

_TYPES: dict[str, Any] = {
    "string": str,
    "number": float,
    "integer": int,
    "boolean": bool,
    "array": list[msgspec.Raw],
    "object": dict[str, msgspec.Raw],
}
_PERSONS = frozenset({"identify", "group"})
LONGEST_NAME = 200


class Checked(msgspec.Struct, frozen=True, gc=False):
    """What is known of an event after its check."""

    name: str
    """Of a track, page or screen."""
    properties: str = "{}"
    """JSON text; of identify and group: the traits, of alias: the previous id."""
    order: bool = False
    order_id: str = ""
    value: Value = NOTHING


class _Rule(NamedTuple):
    """How the properties of one event are read."""

    decode: Callable[[bytes], Any]
    order: Callable[[Any], tuple[Any, Any, Any]] | None
    """Gives identity, revenue and currency, where the event is the campaign's order."""


class Catalogue:
    """The events that a campaign declares."""

    def __init__(self, collect: Collect) -> None:
        self._collect = collect
        self._open = collect.undeclared == "Accept"
        self._rules = {each.name: _rule(each, collect) for each in collect.events}
        if collect.order.event not in self._rules and self._open:
            self._rules[collect.order.event] = _rule(DeclaredEvent(name=collect.order.event), collect)

    def check(self, event: Incoming) -> Checked:
        """Check one event.

        Raises:
            Refused: It is none that the campaign takes.
        """
        if event.type == "track":
            return self._check_track(event)
        if event.type not in TYPES:
            raise Refused("invalid_type", f"type: wanted one of {', '.join(sorted(TYPES))}; found {event.type!r:.40}.")
        if event.type in _PERSONS:
            return Checked("", _object("traits", event.traits))
        if event.type == "alias":
            if event.previous_id in (None, ""):
                raise Refused("missing_field", "previousId: an alias needs the id that the user had before.")
            return Checked("", msgspec.json.encode({"previousId": event.previous_id}).decode())
        return Checked((event.name or "")[:LONGEST_NAME], _object("properties", event.properties))

    def _check_track(self, event: Incoming) -> Checked:
        name = event.event
        if not name:
            raise Refused("missing_field", "event: a track call needs the name of what happened.")
        rule = self._rules.get(name)
        if rule is None:
            if not self._open:
                raise Refused("undeclared_event", f"event: this campaign declares no event {name[:LONGEST_NAME]!r}.")
            return Checked(name[:LONGEST_NAME], _object("properties", event.properties))
        text = _bytes("properties", event.properties)
        try:
            read = rule.decode(text)
            properties = str(text, "utf-8")
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise _of_properties(error) from error
        if rule.order is None:
            return Checked(name, properties)
        identity, revenue, currency = rule.order(read)
        return Checked(name, properties, True, order_identity(identity), order_value(revenue, currency, self._collect))


def _rule(declared: DeclaredEvent, collect: Collect) -> _Rule:
    """Make the type of an event's properties. Their names may be any text, so fields are numbered and renamed."""
    of_order = declared.name == collect.order.event
    known = {each.name: _type(each) for each in declared.properties}
    wanted = (collect.order.identity, collect.order.revenue, collect.order.currency) if of_order else ()
    for name in wanted:
        known.setdefault(name, (Any, None))
    fields = {name: f"field_{number}" for number, name in enumerate(known)}
    made = msgspec.defstruct(
        "Properties",
        [(fields[name], *known[name]) for name in known],
        rename={field: name for name, field in fields.items()},
        kw_only=True,
        gc=False,
    )
    order = attrgetter(*(fields[name] for name in wanted)) if wanted else None
    return _Rule(msgspec.json.Decoder(made).decode, order)


def _type(declared: Property) -> tuple[Any, ...]:
    wanted = _TYPES[declared.type]
    return (wanted,) if declared.required else (wanted | None, None)


def _bytes(field: str, raw: msgspec.Raw) -> bytes:
    try:
        return text_of(raw)
    except Refused as error:
        raise Refused(error.reason, f"{field}: {error.detail}") from None


def _object(field: str, raw: msgspec.Raw) -> str:
    try:
        return str(_bytes(field, raw), "utf-8")
    except UnicodeDecodeError as error:
        raise refusal(error) from error


def _of_properties(error: Exception) -> Refused:
    found = refusal(error)
    if found.reason == "missing_field":
        name = str(error).partition("`")[2].rpartition("`")[0]
        return Refused("missing_property", f"properties.{name}: the campaign declares it as required.")
    return Refused(found.reason, f"properties.{found.detail}" if found.reason == "wrong_type" else found.detail)
