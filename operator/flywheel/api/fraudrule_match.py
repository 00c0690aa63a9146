"""Which events a fraud rule looks at: by name, by type, and by filters on their fields."""

import re
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.comparisons import Operator
from flywheel.api.fraudrule_values import (
    ALIASES,
    DECIMAL_PATTERN,
    ENTITIES,
    FIELDS_IN_WORDS,
    NUMBER_FIELD,
    PLAIN_FIELDS,
    FieldName,
    Value,
    is_decimal,
    is_range,
    one_name_cel,
)
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import cel_text

ORDERING = ("GreaterThan", "GreaterOrEqual", "LessThan", "LessOrEqual")
PARTIAL = ("StartsWith", "EndsWith", "Contains")
PRESENCE = ("Exists", "DoesNotExist")
SEVERAL = ("In", "NotIn", "InRange")
TYPED = ("Equals", "NotEquals", "In", "NotIn")
MOST_FILTERS = 8
_OTHER_KINDS = {"revenue": "Number", "bot": "Boolean"}
"""The named fields that are no text."""
_ONCE = "remove one of the two"
_ALL = "(!has(self.value) || {one}) && (!has(self.values) || self.values.all(v, {each}))"


def _every(condition: str) -> str:
    """CEL: a condition on `v` holds for value and for each of values."""
    return _ALL.format(one=condition.replace("{v}", "self.value"), each=condition.replace("{v}", "v"))


_IS_DECIMAL = f"(type({{v}}) == int || string({{v}}).matches({cel_text(DECIMAL_PATTERN)}))"
_IS_TRUTH = "(type({v}) == string && string({v}) in ['true', 'false'])"
_IS_RANGE = "(type({v}) == string && (isIP(string({v})) || isCIDR(string({v}))))"
_IS_TEXT = "type({v}) == string"


def _given(filter_: "Filter") -> bool:
    wanted = (filter_.value is not None, filter_.values is not None)
    if filter_.operator in PRESENCE:
        return wanted == (False, False)
    return wanted == ((False, True) if filter_.operator in SEVERAL else (True, False))


_KIND = (
    f"(self.operator in {[*PARTIAL, 'InRange']} ? 'Text' : has(self.type) ? self.type : "
    f"({_every('type({v}) == int')}) ? 'Number' : 'Text')"
)
_TEXT_FIELDS = sorted(
    {name for name in (*ENTITIES, *PLAIN_FIELDS, *ALIASES, "userId", "anonymousId") if name not in _OTHER_KINDS}
)
_KIND_OF_FIELD = (
    "(self.field == 'revenue' ? 'Number' : self.field == 'bot' ? 'Boolean' : "
    f"self.field in {_TEXT_FIELDS} ? 'Text' : {_KIND})"
)


def _as_the_field_is(filter_: "Filter") -> bool:
    if filter_.operator in (*PRESENCE, *ORDERING):
        return True
    return filter_.kind == _OTHER_KINDS.get(filter_.field, "Text" if filter_.field in _TEXT_FIELDS else filter_.kind)


def _of_one_kind(filter_: "Filter") -> bool:
    kinds = {isinstance(value, str) for value in filter_.written}
    return filter_.type is not None or len(kinds) < 2


class Filter(Model):
    """One condition on one field of an event. An event without the field fits only NotEquals, NotIn, DoesNotExist."""

    constraints = (
        Rule(
            cel=f"self.operator in {list(PRESENCE)} ? !has(self.value) && !has(self.values) : "
            f"self.operator in {list(SEVERAL)} ? !has(self.value) && has(self.values) : "
            "has(self.value) && !has(self.values)",
            holds=_given,
            message="In, NotIn and InRange have values (a list), Exists and DoesNotExist have neither, all others have "
            "value: correct the one or the other",
            field="operator",
        ),
        Rule(
            cel=f"!(self.operator in {list(ORDERING)}) || ({_every(_IS_DECIMAL)})",
            holds=lambda model: model.operator not in ORDERING or all(map(is_decimal, model.written)),
            message='only numbers are greater or less: value must be a number such as 5, or "9.5" in quotes',
            field="value",
        ),
        Rule(
            cel=f"!(self.operator in {list(ORDERING)}) || "
            f"{one_name_cel('self.field')}.matches({cel_text(NUMBER_FIELD)})",
            holds=lambda model: model.operator not in ORDERING or re.search(NUMBER_FIELD, model.field) is not None,
            message="this field is text, which is neither greater nor less: use Equals, In or StartsWith, or name a "
            "field that holds a number, such as properties.amount",
            field="operator",
        ),
        Rule(
            cel=f"!(self.operator in {list(PARTIAL)}) || ({_every(_IS_TEXT)})",
            holds=lambda model: model.operator not in PARTIAL or all(isinstance(value, str) for value in model.written),
            message='StartsWith, EndsWith and Contains look into text: put value in quotes, such as "88"',
            field="value",
        ),
        Rule(
            cel=f"self.operator != 'InRange' || ({_every(_IS_RANGE)})",
            holds=lambda model: model.operator != "InRange" or all(map(is_range, model.written)),
            message="InRange compares addresses: each of values must be an address or a range such as 10.0.0.0/8 or "
            "2001:db8::/32",
            field="values",
        ),
        Rule(
            cel=f"!has(self.type) || self.operator in {list(TYPED)}",
            holds=lambda model: model.type is None or model.operator in TYPED,
            message="type tells what Equals, NotEquals, In and NotIn compare; the other operators know it: take it out",
            field="type",
        ),
        Rule(
            cel=f"!has(self.type) || self.type != 'Number' || ({_every(_IS_DECIMAL)})",
            holds=lambda model: model.type != "Number" or all(map(is_decimal, model.written)),
            message='with type: Number each value must be a number such as 5, or "9.5" in quotes',
            field="type",
        ),
        Rule(
            cel=f"!has(self.type) || self.type != 'Boolean' || ({_every(_IS_TRUTH)})",
            holds=lambda model: model.type != "Boolean" or all(value in {"true", "false"} for value in model.written),
            message='with type: Boolean each value must be "true" or "false", in quotes',
            field="type",
        ),
        Rule(
            cel="has(self.type) || !has(self.values) || self.values.all(v, type(v) == int) || "
            "self.values.all(v, type(v) == string)",
            holds=_of_one_kind,
            message="values are numbers or text, not both: put all of them in quotes, or say type: Text or Number",
            field="values",
        ),
        Rule(
            cel=f"self.operator in {[*PRESENCE, *ORDERING]} || {_KIND} == {_KIND_OF_FIELD}",
            holds=_as_the_field_is,
            message="revenue is a number, bot is a truth, and every other field that is no path is text, so this would "
            'never fit: write a number as 5, text in quotes, and of bot "true" with type: Boolean',
            field="field",
        ),
    )

    field: FieldName = Field(
        description=f"Field of the event: {FIELDS_IN_WORDS}. context.ip, userId, anonymousId and context.device.id are "
        "read as address, user, visitor and device; traits are of Identify and Group calls, of others context.traits."
    )
    operator: Operator = Field(
        description="How it is compared. Equals, NotEquals with value; In, NotIn with values; GreaterThan, "
        "GreaterOrEqual, LessThan, LessOrEqual with a number; StartsWith, EndsWith, Contains with text; InRange with "
        "addresses and ranges; Exists, DoesNotExist alone."
    )
    value: Value | None = Field(
        default=None, description='What it is compared with: text, or a number such as 5; "9.5" and "true" in quotes.'
    )
    values: Annotated[tuple[Value, ...], Field(min_length=1, max_length=32), Distinct(_ONCE)] | None = Field(
        default=None, description="Several values, with In, NotIn and InRange, such as [gold, silver]; at most 32."
    )
    type: Literal["Text", "Number", "Boolean"] | None = Field(
        default=None,
        description="What Equals, NotEquals, In and NotIn compare: a value of another type is another value. Default: "
        "Number where the values are written as numbers, else Text.",
    )

    @property
    def written(self) -> tuple[int | str, ...]:
        """The value or values, as they were written."""
        return (self.values or ()) if self.value is None else (self.value,)

    @property
    def kind(self) -> Literal["Text", "Number", "Boolean"]:
        """What is compared."""
        if self.type is not None:
            return self.type
        if self.operator in ORDERING:
            return "Number"
        return "Number" if self.written and all(isinstance(value, int) for value in self.written) else "Text"

    @property
    def wanted(self) -> tuple[str | float | bool, ...]:
        """The value or values, in the type in which they are compared."""
        return tuple(_read(value, self.kind) for value in self.written)


def _read(value: int | str, kind: str) -> str | float | bool:
    if kind == "Boolean":
        return value == "true"
    return float(value) if kind == "Number" else str(value)


WITH_TRAITS = ("Identify", "Group")
"""Calls whose own field is traits, as that of others is properties."""
Filters = Annotated[tuple[Filter, ...], Field(max_length=MOST_FILTERS)]
EventType = Literal["Track", "Page", "Screen", "Identify", "Group", "Alias"]


class Match(Model):
    """Which events the rule looks at."""

    constraints = (
        Rule(
            cel="!has(self.event) || !has(self.events)",
            holds=lambda model: model.event is None or not model.events,
            message="event and events exclude each other: put all names into events",
            field="events",
        ),
        Rule(
            cel="has(self.event) || has(self.events) || has(self.type)",
            holds=lambda model: model.event is not None or bool(model.events) or model.type is not None,
            message="a rule must say which events it looks at: add event, events or type",
        ),
        Rule(
            cel=f"!has(self.where) || self.where.all(f, !f.field.startsWith('traits.')) || (has(self.type) && "
            f"self.type in {list(WITH_TRAITS)})",
            holds=lambda model: (
                model.type in WITH_TRAITS or not any(each.field.startswith("traits.") for each in model.where)
            ),
            message="only Identify and Group calls have traits: use context.traits, such as context.traits.level, or "
            "type: Identify",
            field="where",
        ),
    )

    event: EventName | None = Field(default=None, description="Name of the event, such as Coupon Claimed.")
    events: Annotated[tuple[EventName, ...], Field(min_length=1, max_length=16), Distinct(_ONCE)] = Field(
        default=(), description="Several names instead of event, such as [Coupon Claimed, Prize Drawn]; at most 16."
    )
    type: EventType | None = Field(
        default=None,
        description="Only events of this call of the event API: Track, Page, Screen, Identify, Group or Alias. "
        "Default: all of that name.",
    )
    where: Filters = Field(
        default=(),
        description="What else must all be true of the event, such as [{field: properties.amount, operator: "
        "GreaterThan, value: 5}]; at most 8.",
    )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the events; none: every name."""
        return self.events if self.event is None else (self.event,)
