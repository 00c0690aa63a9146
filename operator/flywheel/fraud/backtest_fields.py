"""Fields of events as the store has them: in SQL, each in the types in which a rule may ask for it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from flywheel.insight.kpi import Parameters

Kept = Literal["Hash", "Store", "Drop"]
"""What a campaign keeps of addresses."""
NO_NUMBER = "nan"
LONGEST_VALUE = 1024
"""Characters of a text of properties and context that are judged."""
_COLUMNS = {
    "address": "address",
    "visitor": "visitor",
    "user": "user_id",
    "service": "service",
    "variant": "variant",
    "path": "path",
    "region": "region",
    "channel": "channel",
    "source": "source",
    "referrer": "referrer",
    "userAgent": "user_agent",
    "currency": "currency",
    "orderId": "order_id",
}
"""Field of a rule -> column of the table `events`."""
_ABOUT_TRAITS = "type IN ('identify', 'group')"


class Untried(Exception):  # noqa: N818 - nothing is wrong, the past does not know
    """A rule cannot be tried on the past. The text says which part of it, why, and what to do."""


@dataclass(slots=True)
class Binder:
    """Collects the parameters of a statement: no text from outside stands in the SQL."""

    parameters: Parameters = field(default_factory=dict)
    _names: dict[object, str] = field(default_factory=dict)

    def text(self, value: str) -> str:
        """Give the expression for a text; equal ones share a parameter, so that the store reads a field once."""
        return f"unhex({{{self._name(value.encode().hex())}:String}})"

    def number(self, value: float) -> str:
        """Give the expression for a number."""
        return f"{{{self._name(float(value))}:Float64}}"

    def texts(self, values: Sequence[str]) -> str:
        """Give the expressions for a list of texts, as IN takes them."""
        return ", ".join(self.text(value) for value in values)

    def _name(self, value: str | float) -> str:
        name = self._names.setdefault(value, f"p{len(self._names)}")
        self.parameters[name] = value
        return name


@dataclass(frozen=True, slots=True)
class Field:
    """A field, as SQL."""

    text: str
    """As keys and members are written: of 5 and "5" the same. Empty where it is missing."""
    string: str
    """Only if it is a text; else empty."""
    number: str = NO_NUMBER
    """Only if it is a number."""
    truth: str = "''"
    """'true' or 'false', only if it is one of these."""


def field_of(name: str, binder: Binder) -> Field:
    """Give a field of a rule by its one name.

    Raises:
        Untried: The store does not have it.
    """
    if name in _COLUMNS:
        return Field(_COLUMNS[name], _COLUMNS[name])
    if name == "revenue":
        return Field("if(order_id = '', '', toString(revenue))", "''", f"if(order_id = '', {NO_NUMBER}, revenue)")
    if name == "bot":
        return Field("if(bot, 'true', '')", "''", truth="if(bot, 'true', '')")
    if name == "device":
        device = _in_json("context", ("device", "id"), "", binder)
        return Field(device.string, device.string)
    column, _, path = name.partition(".")
    if not path:
        raise Untried(f"{name} is not in the event store, so the past does not tell: take it out to try the rest")
    if column == "context":
        return _in_json("context", path.split("."), "", binder)
    # The store has traits in the column of properties; which of the two they are, the type of the event tells.
    other = _ABOUT_TRAITS if column == "properties" else f"NOT {_ABOUT_TRAITS}"
    return _in_json("properties", path.split("."), other, binder)


def network_of(ipv4: int, ipv6: int) -> str:
    """Give the network of an address as text; empty where the store has no address, but a hash or nothing.

    Args:
        ipv4: Bits of the prefix.
        ipv6: The same for IPv6.
    """
    return (
        f"multiIf(isIPv4String(address), "
        f"concat(toString(IPv4CIDRToRange(toIPv4OrDefault(address), {ipv4:d}).1), '/{ipv4:d}'), "
        f"isIPv6String(address), "
        f"concat(toString(IPv6CIDRToRange(toIPv6OrDefault(address), {ipv6:d}).1), '/{ipv6:d}'), '')"
    )


def _in_json(column: str, path: Sequence[str], unless: str, binder: Binder) -> Field:
    """Give a field of a column of JSON; it is missing where `unless` holds."""
    place = f"{column}, {binder.texts(path)}"
    raw = f"JSONExtractRaw({place})"
    if unless:
        raw = f"if({unless}, '', {raw})"
    whole = f"if(startsWith({raw}, '\"'), JSONExtractString({place}), '')"
    string = f"if(length({whole}) > {LONGEST_VALUE}, leftUTF8({whole}, {LONGEST_VALUE}), {whole})"
    number = f"ifNull(toFloat64OrNull({raw}), {NO_NUMBER})"
    truth = f"if({raw} IN ('true', 'false'), {raw}, '')"
    text = f"multiIf({string} != '', {string}, {truth} != '', {truth}, isNaN({number}), '', toString({number}))"
    return Field(text, string, number, truth)
