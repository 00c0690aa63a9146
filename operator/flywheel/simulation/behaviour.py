"""How shoppers behave: the models of a behaviour file."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Annotated, Any, Literal, Self
from zoneinfo import ZoneInfo, available_timezones

from pydantic import Field, JsonValue, model_validator

from flywheel.api.model import KeyedBy, Model, Rule, broken
from flywheel.api.quantities import Count, Duration, Flag, Integer, Percentage, Text
from flywheel.simulation.groups import Group, Networks, Stops, not_too_many

PLACEHOLDER = re.compile(r"\{([a-z][a-z0-9_]*)\}")
BUILT_IN = ("entry", "shopper", "channel", "region", "uuid", "user", "device")
"""What a placeholder may name besides what was extracted: the entry's path and query, the shopper's number ...

Only members of groups have a user and a device.
"""
LEAVE = "leave"
"""The step after which a shopper is gone."""
VISITOR_COOKIE = "fw_vid"

Name = Annotated[str, Text("^[a-z][a-z0-9_-]*$", "a name such as add-to-cart: lowercase letters, digits, '-', '_'", 40)]
Variable = Annotated[str, Text("^[a-z][a-z0-9_]*$", "a name such as order_id: lowercase letters, digits and '_'", 40)]
Path = Annotated[
    str,
    Text("^(/([^/ ][^ ]*)?|\\{[^ ]*)$", "a path on the site such as /browse, or a placeholder such as {entry}", 2048),
]
Line = Annotated[str, Field(min_length=1, max_length=1024)]
Weight = Annotated[float, Field(gt=0, le=1_000_000)]
Weights = Annotated[dict[Name, Weight], Field(min_length=1, max_length=32)]
Rate = Annotated[float, Field(gt=0, le=10_000)]


class Span(Model):
    """A length of time between two others; each value in between is as likely."""

    constraints = (
        Rule("true", lambda model: model.least <= model.most, "least must not be more than most: swap them", "least"),
    )

    least: Duration = timedelta(seconds=1)
    most: Duration = timedelta(seconds=5)


class Extract(Model):
    """Where in an answer a value is found. Where several fit, one is picked by chance.

    A regex may name values that were found before it, as in `sku={sku} ticket=([0-9a-f]+)`.
    """

    constraints = (
        Rule(
            "true",
            lambda model: sum(each is not None for each in (model.regex, model.url, model.json_path)) == 1,
            "say where the value is: exactly one of regex (in the body), url (in the address of the last answer), "
            "jsonPath (such as purchase.id)",
        ),
    )

    regex: Line | None = None
    url: Line | None = None
    json_path: Line | None = None
    number: Flag = False
    """Read as a number; thousands separators are left out."""
    scale: Annotated[float, Field(gt=0, le=1e9)] = 1.0
    """Multiply the number, such as 0.01 for cents."""
    required: Flag = True
    """Without it the step has failed."""

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        for name, pattern in (("regex", self.regex), ("url", self.url)):
            try:
                groups = re.compile(pattern or "()").groups
            except re.error as error:
                raise broken([(name, f"no regular expression: {error}")]) from error
            if groups != 1:
                raise broken([(name, "must have exactly one group (...), which is the value")])
        return self


class Track(Model):
    """An event that a shopper's browser, or the shop's server, sends once the step has succeeded."""

    event: Line
    properties: Annotated[dict[Line, JsonValue], Field(max_length=64)] = Field(default_factory=dict)
    sender: Literal["Browser", "Server"] = Field(default="Browser", alias="from")


class Sale(Model):
    """An order that a step completes, for the report. Whether an event tells of it is another matter."""

    revenue: Line
    """The value, as a rule a placeholder such as {total}."""


class Preference(Model):
    """Where shoppers go who have seen a certain thing in an answer, such as a button of another colour."""

    name: Name
    """What the report calls it."""
    sees: Line
    """A regex, looked for in the body. It may name values that were found, as that of an extract."""
    next: Weights

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        try:
            re.compile(self.sees)
        except re.error as error:
            raise broken([("sees", f"no regular expression: {error}")]) from error
        return self


class Step(Model):
    """One thing that a shopper does: a request, what is kept of its answer, and where they may go from there."""

    constraints = (
        Rule("true", lambda model: model.form is None or model.body is None, "give either form or json", "json"),
        Rule(
            "true",
            lambda model: model.method == "POST" or (model.form is None and model.body is None),
            "only a POST has a body: set method to POST",
            "method",
        ),
    )

    method: Literal["GET", "POST"] = "GET"
    path: Path
    headers: Annotated[dict[Line, Line], Field(max_length=16)] = Field(default_factory=dict)
    form: Annotated[dict[Line, str], Field(max_length=32)] | None = None
    body: JsonValue = Field(default=None, alias="json")
    expect: Annotated[tuple[Annotated[int, Field(ge=100, le=599)], ...], Field(max_length=16)] = (200,)
    """Statuses of the last answer with which the step has succeeded."""
    extract: Annotated[dict[Variable, Extract], Field(max_length=16)] = Field(default_factory=dict)
    track: Annotated[tuple[Track, ...], Field(max_length=8)] = ()
    sale: Sale | None = None
    think: Span = Span()
    """How long a shopper looks at the answer."""
    next: Weights = Field(default_factory=lambda: {LEAVE: 1.0})
    prefers: Annotated[
        tuple[Preference, ...], Field(max_length=8), KeyedBy(("name",), "give each preference its own name")
    ] = ()
    """The first whose text is in the answer takes the place of `next`."""
    otherwise: Name = LEAVE
    """Where a shopper goes whom the shop refused, as when all is sold out."""

    def ways(self) -> Iterable[tuple[str, Weights]]:
        """Give all weights of steps that may follow, with the paths of their fields."""
        yield "next", self.next
        for index, preference in enumerate(self.prefers):
            yield f"prefers[{index}].next", preference.next

    def texts(self) -> Iterable[tuple[str, str]]:
        """Give all texts that may have placeholders, with the paths of their fields."""
        yield "path", self.path
        yield "sale.revenue", self.sale.revenue if self.sale else ""
        for name, each in self.extract.items():
            yield f"extract.{name}.regex", each.regex or ""
        for index, preference in enumerate(self.prefers):
            yield f"prefers[{index}].sees", preference.sees
        for field, value in (("headers", self.headers), ("form", self.form), ("json", self.body)):
            yield from _texts(field, value)
        for index, track in enumerate(self.track):
            yield from _texts(f"track[{index}].properties", track.properties)


class Journey(Model):
    """A way through the steps, and how many take it."""

    name: Name
    weight: Weight = 1.0
    start: Name


class Channel(Model):
    """Where shoppers come from."""

    name: Name
    weight: Weight = 1.0
    entries: Annotated[tuple[Path, ...], Field(min_length=1, max_length=32)] = ("/",)
    """Paths with queries, such as /?utm_source=baidu&utm_medium=cpc."""
    referrer: Annotated[str, Text("^https?://[^ ]+$", "an address such as https://www.baidu.com/", 2048)] | None = None


class Agent(Model):
    """A browser, or a program."""

    agent: Line
    """The header User-Agent."""
    weight: Weight = 1.0
    bot: Flag = False
    journey: Name | None = None
    """What bots do; people choose by weight."""


class Regions(Model):
    """Which header tells the region, as a content delivery network does."""

    header: Annotated[str, Text("^[A-Za-z0-9-]+$", "the name of a header such as X-Region", 64)] = "X-Region"
    values: Annotated[dict[Line, Weight], Field(min_length=1, max_length=64)]


class Returning(Model):
    """Shoppers who have been here before and bring their cookies."""

    share: Percentage = 20
    among: Annotated[Integer, Field(ge=1, le=10_000)] = 500
    """Of how many latest shoppers."""

    constraints = (Rule("true", lambda model: model.share <= 90, "at most 90%: somebody must be new", "share"),)


class Flood(Model):
    """So many more for a while. Times are the shoppers' own, from the beginning."""

    at: Duration
    length: Annotated[timedelta, Duration.__metadata__[0]] = Field(alias="for")
    factor: Annotated[float, Field(gt=0, le=1000)]
    journeys: Annotated[dict[Name, Weight], Field(max_length=32)] = Field(default_factory=dict)
    """What they come for; by default what everybody comes for."""
    channels: Annotated[dict[Name, Weight], Field(max_length=64)] = Field(default_factory=dict)
    """What they come over, as when a text message goes out; by default as everybody."""


class Day(Model):
    """How the hours of a day differ."""

    time_zone: Annotated[str, Field(max_length=64)] = "UTC"
    hours: Annotated[tuple[Annotated[float, Field(ge=0, le=1000)], ...], Field(min_length=24, max_length=24)]
    """Weights of the 24 hours."""
    begin: Annotated[str, Text("^([01][0-9]|2[0-3]):[0-5][0-9]$", "a time of day such as 20:00", 5)] | None = None
    """The time at which the shoppers' own day begins; by default the real one."""

    constraints = (
        Rule("true", lambda model: sum(model.hours) > 0, "in some hour somebody must come: raise a weight", "hours"),
        Rule(
            "true",
            lambda model: model.time_zone in available_timezones(),
            "no such time zone: take one such as Asia/Shanghai",
            "timeZone",
        ),
    )

    def zone(self) -> ZoneInfo:
        """Give the time zone."""
        return ZoneInfo(self.time_zone)


class Behaviour(Model):
    """A whole behaviour file."""

    constraints = (not_too_many(),)

    seed: Count = 0
    rate: Rate = 5.0
    """Shoppers a second in an average hour."""
    write_key: Line = "simulation"
    most_steps: Annotated[Integer, Field(ge=1, le=1000)] = 40
    """After so many steps everybody leaves."""
    day: Day | None = None
    floods: Annotated[tuple[Flood, ...], Field(max_length=16)] = ()
    returning: Returning | None = None
    addresses: Networks | None = None
    """From where shoppers come who belong to no group; by default from where the simulation runs."""
    groups: Annotated[tuple[Group, ...], Field(max_length=32), KeyedBy(("name",), "give each group its own name")] = ()
    stops: Stops = Stops()
    channels: Annotated[
        tuple[Channel, ...], Field(min_length=1, max_length=64), KeyedBy(("name",), "give each channel its own name")
    ]
    regions: Regions | None = None
    agents: Annotated[tuple[Agent, ...], Field(min_length=1, max_length=64)]
    journeys: Annotated[
        tuple[Journey, ...], Field(min_length=1, max_length=32), KeyedBy(("name",), "give each journey its own name")
    ]
    steps: Annotated[dict[Name, Step], Field(min_length=1, max_length=128)]

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        complaints = [
            *self._unknown_steps(),
            *self._unknown_journeys(),
            *self._unknown_channels(),
            *self._unknown_placeholders(),
        ]
        if not any(not each.bot for each in self.agents):
            complaints.append(("agents", "all are bots: add a browser"))
        if complaints:
            raise broken(complaints)
        return self

    def _unknown_steps(self) -> Iterable[tuple[str, str]]:
        there = f"there are: {', '.join(sorted(self.steps))}"
        for index, journey in enumerate(self.journeys):
            if journey.start not in self.steps:
                yield f"journeys[{index}].start", f"no such step; {there}"
        for name, step in self.steps.items():
            for path, weights in step.ways():
                for target in weights:
                    if target != LEAVE and target not in self.steps:
                        yield f"steps.{name}.{path}.{target}", f"no such step; {there}, {LEAVE}"
            if step.otherwise != LEAVE and step.otherwise not in self.steps:
                yield f"steps.{name}.otherwise", f"no such step; {there}, {LEAVE}"

    def _unknown_journeys(self) -> Iterable[tuple[str, str]]:
        known = {journey.name for journey in self.journeys}
        there = f"no such journey; there are: {', '.join(sorted(known))}"
        for index, agent in enumerate(self.agents):
            if agent.journey is not None and agent.journey not in known:
                yield f"agents[{index}].journey", there
            if agent.bot and agent.journey is None:
                yield f"agents[{index}].journey", "say what this bot does: name a journey"
        for index, group in enumerate(self.groups):
            if group.journey not in known:
                yield f"groups[{index}].journey", there
        for index, flood in enumerate(self.floods):
            for name in flood.journeys:
                if name not in known:
                    yield f"floods[{index}].journeys.{name}", there

    def _unknown_channels(self) -> Iterable[tuple[str, str]]:
        known = {channel.name for channel in self.channels}
        for index, flood in enumerate(self.floods):
            for name in flood.channels:
                if name not in known:
                    there = f"no such channel; there are: {', '.join(sorted(known))}"
                    yield f"floods[{index}].channels.{name}", there

    def _unknown_placeholders(self) -> Iterable[tuple[str, str]]:
        known = {*BUILT_IN, *(name for step in self.steps.values() for name in step.extract)}
        for name, step in self.steps.items():
            for path, text in step.texts():
                for found in sorted(set(PLACEHOLDER.findall(text)) - known):
                    there = f"there are: {', '.join(sorted(known))}"
                    yield f"steps.{name}.{path}", f"nothing gives {{{found}}}; {there}"


def _texts(path: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(f"{path}.{name}", each)
    elif isinstance(value, list):
        for index, each in enumerate(value):
            yield from _texts(f"{path}[{index}]", each)
