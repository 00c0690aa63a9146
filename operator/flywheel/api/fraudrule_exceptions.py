"""Who a fraud rule never stops, or always does: lists, exemptions, snoozes."""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.fraudrule_match import MOST_FILTERS, Filter
from flywheel.api.fraudrule_values import DataKey, KeyValue, Sentence
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Flag, Moment, Name

_OFFSET = "(Z|[+-][0-9]{2}:[0-9]{2})$"


class ListSource(Model):
    """A list of addresses or people, one a line; '#' begins a remark. A change is taken up within 15 seconds."""

    constraints = (exactly_one(("configMap", "secret"), ("config_map", "secret"), "a list"),)

    config_map: Name | None = Field(default=None, description="ConfigMap of the rule's namespace that holds the list.")
    secret: Name | None = Field(default=None, description="Secret of the rule's namespace that holds the list.")
    key: DataKey = Field(description="Key of the ConfigMap or Secret, such as offices.txt.")
    of: Literal["Address", "Visitor", "User", "Device"] = Field(
        default="Address",
        description="Who is on it: Address (ranges as well), Visitor, User or Device. Default Address.",
    )
    hashed: Flag = Field(
        default=False,
        description="true: each line is the sha256 of a value in hexadecimal digits, so that the list names nobody. No "
        "ranges then, and of an address its shortest form. Default false.",
    )


ListSources = Annotated[tuple[ListSource, ...], Field(max_length=8)]


class Lists(Model):
    """Who is known already."""

    allow: ListSources = Field(
        default=(),
        description="Whoever is on one of these is never stopped by this rule, such as [{configMap: fraud, key: "
        "offices.txt}]. It beats everything else, and what holds of them already ends. Until the list has been there "
        "once, the rule stops nobody; at most 8.",
    )
    deny: ListSources = Field(
        default=(),
        description="Whoever is on one of these breaks the rule with each event that it matches. No ranges wider than "
        "/8, or /16 of IPv6; at most 8.",
    )
    watch: ListSources = Field(
        default=(),
        description="Each matched event of whoever is on one of these is kept with its explanation, for a person to "
        "look at, and this rule does not stop them; at most 8.",
    )


class Exemption(Model):
    """Events that the rule leaves alone: they count, and nothing is done about them."""

    where: Annotated[tuple[Filter, ...], Field(min_length=1, max_length=MOST_FILTERS)] = Field(
        description="What must all be true of them, such as [{field: traits.level, operator: In, values: [gold]}]."
    )


class Snooze(Model):
    """One key that the rule leaves alone for a while."""

    constraints = (
        Rule(
            cel=f"self.until.matches('{_OFFSET}')",
            holds=lambda model: model.until.tzinfo is not None,
            message="a rule has no time zone of its own: give until an offset, such as 2027-06-17T00:00:00+08:00",
            field="until",
        ),
    )

    key: Annotated[tuple[KeyValue, ...], Field(min_length=1, max_length=4)] = Field(
        description="Values of the rule's key, in its order, such as [203.0.113.7]."
    )
    until: Moment = Field(description="When it ends, with an offset, such as 2027-06-17T00:00:00+08:00.")
    reason: Sentence = Field(description="Why, for people, such as School outing, see ticket 4711.")
