"""The small values of tests: shares of visitors, levels, effects, and what of an event is added up."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from flywheel.api.gate_values import read_share
from flywheel.api.model import Rule
from flywheel.api.quantities import Text, cel_text

BUCKETS = 10_000
"""Visitors fall into so many buckets; a share with two decimals is a whole number of them."""
SHARE_PATTERN = "^(100([.]0{1,2})?|[1-9]?[0-9]([.][0-9]{1,2})?)%$"
_WEIGHT_PATTERN = "^([1-9][0-9]?([.][0-9]{1,2})?|0[.]([1-9][0-9]?|0[1-9]))%$"
_EFFECT_PATTERN = "^([1-9][0-9]{0,2}([.][0-9]{1,2})?|0[.]([1-9][0-9]?|0[1-9]))%$"
_ON_ONE_LINE = "^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$"
_PROPERTY = "[^.\\x00-\\x20\\x7f]([^.\\x00-\\x1f\\x7f]*[^.\\x00-\\x20\\x7f])?"


def read_buckets(text: str) -> int:
    """Read `12.5%` as 1250: so many of 10000 buckets."""
    whole, _, decimals = text[:-1].partition(".")
    return int(whole) * 100 + int(decimals.ljust(2, "0"))


@dataclass(frozen=True, slots=True)
class PropertyOfEvent:
    """One property of one event, such as the revenue of Order Completed."""

    event: str
    name: str

    def __str__(self) -> str:
        return f"{self.event}.{self.name}"


def read_property(text: str) -> PropertyOfEvent:
    """Read `Order Completed.revenue`; the last dot divides."""
    event, _, name = text.rpartition(".")
    return PropertyOfEvent(event, name)


VisitorShare = Annotated[
    int,
    Text(
        SHARE_PATTERN,
        'a percentage with the sign and at most two decimals, "0%" to "100%", such as 50% or 12.5%',
        7,
        2,
        read_buckets,
        True,
    ),
]
"""In buckets: 50% is 5000."""
Weight = Annotated[
    int,
    Text(
        _WEIGHT_PATTERN,
        'a percentage with the sign and at most two decimals, "0.01%" to "99.99%", such as 50% or 33.34%',
        6,
        2,
        read_buckets,
        True,
    ),
]
"""In buckets: 50% is 5000."""
Level = Annotated[
    float,
    Text(
        SHARE_PATTERN,
        'a percentage with the sign and at most two decimals, "0%" to "100%", such as 5% or 99.5%',
        7,
        2,
        read_share,
        True,
    ),
]
"""As a share: 5% is 0.05."""
Effect = Annotated[
    float,
    Text(
        _EFFECT_PATTERN,
        'a percentage with the sign and at most two decimals, "0.01%" to "999.99%", such as 10% or 0.5%',
        7,
        2,
        read_share,
        True,
    ),
]
"""As a share: 10% is 0.1."""
SummedProperty = Annotated[
    PropertyOfEvent,
    Text(
        f"{_ON_ONE_LINE.removesuffix('$')}[.]{_PROPERTY}$",
        "an event and one of its properties, joined by a dot, such as Order Completed.revenue",
        257,
        3,
        read_property,
        True,
    ),
]
MetricName = Annotated[
    str, Text(_ON_ONE_LINE, "a name on one line without spaces around it, such as Revenue per visitor", 64)
]
CampaignName = Annotated[
    str, Text("^[a-z]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 50, such as yougou-618", 50)
]
"""As a Campaign may be called, with room for a service and a variant."""
LayerName = Annotated[
    str,
    Text("^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", "lowercase letters, digits and '-', at most 40, such as checkout", 40),
]
VariantName = Annotated[
    str,
    Text(
        "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lowercase letters, digits and '-', at most 30, such as green-button",
        30,
        explain=True,
    ),
]
Salt = Annotated[
    str, Text("^[A-Za-z0-9._-]+$", "letters, digits and . _ - without spaces, such as button-2027-06", 64, explain=True)
]


def percent_cel(cel: str) -> str:
    """CEL for the number of a percentage that has its form."""
    return f"double({cel}.replace('%', ''))"


def within(field: str, attribute: str, least: str, most: str, why: str) -> Rule:
    """A rule that keeps a level within bounds; `why` says what the bounds are good for."""
    return _bounded(field, attribute, (least, most), why, read_share)


def within_share(field: str, attribute: str, least: str, most: str, why: str) -> Rule:
    """The same for a share of visitors."""
    return _bounded(field, attribute, (least, most), why, read_buckets)


def _bounded(field: str, attribute: str, bounds: tuple[str, str], why: str, read: Callable[[str], float]) -> Rule:
    low, high = (read(each) for each in bounds)

    def holds(model: Any) -> bool:
        value = getattr(model, attribute)
        return value is None or low <= value <= high

    number = percent_cel(f"self.{field}")
    least, most = bounds
    return Rule(
        cel=f"!has(self.{field}) || !self.{field}.matches({cel_text(SHARE_PATTERN)}) || "
        f"({number} >= {float(least[:-1])} && {number} <= {float(most[:-1])})",
        holds=holds,
        message=f"{field} must be between {least} and {most}: {why}",
        field=field,
    )


SUM_TO_ALL = Rule(
    # Doubles add up to within a billionth; two sums of two decimals differ by a hundredth or not at all.
    cel=f"!self.variants.all(v, v.weight.matches({cel_text(_WEIGHT_PATTERN)})) || "
    f"(self.variants.map(v, {percent_cel('v.weight')}).sum() > 99.995 && "
    f"self.variants.map(v, {percent_cel('v.weight')}).sum() < 100.005)",
    holds=lambda spec: sum(variant.weight for variant in spec.variants) == BUCKETS,
    message="the weights of all variants must add up to exactly 100%: change them, such as 33.34%, 33.33% and 33.33%",
    field="variants",
)
