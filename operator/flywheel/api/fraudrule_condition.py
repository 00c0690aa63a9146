"""What is not honest: how often, how many, how fast, how young, how linked."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from flywheel.api.autoscaling import EventName
from flywheel.api.durations import between
from flywheel.api.fraudrule_match import Filter, Filters
from flywheel.api.fraudrule_values import (
    Digest,
    FieldName,
    LinkLimit,
    ModelKey,
    Threshold,
    ThresholdFromOne,
    one_name_cel,
)
from flywheel.api.gate_values import NumberFromZero
from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import Duration, Integer, Name

SIGNS = ("count", "distinct", "sum", "rate", "sequence", "accountAge", "velocity", "linked", "score")
"""What can be asked of an event and its key, as it is spelled in YAML."""
_ATTRIBUTES = ("count", "distinct", "sum", "rate", "sequence", "account_age", "velocity", "linked", "score")
WINDOWED = ("count", "distinct", "sum", "rate", "velocity", "linked")
"""Those that look back over the rule's window."""


class CountSign(Model):
    """How many events of one key."""

    more_than: Threshold = Field(
        description="More events of one key than this within the window break the rule; 0 to 10000. 0: every event."
    )


class DistinctSign(Model):
    """How many different values of a field among the events of one key."""

    field: FieldName = Field(description="The field whose values are told apart, such as user: accounts of one device.")
    more_than: ThresholdFromOne = Field(
        description="More different values than this within the window break the rule; 1 to 10000."
    )


class SumSign(Model):
    """What a number adds up to over the events of one key."""

    field: FieldName = Field(
        description="The field that is added up, such as properties.amount. An event in which it is no number is not "
        "judged."
    )
    more_than: NumberFromZero = Field(
        description="A sum above this within the window breaks the rule, such as 500 or 99.5."
    )


class RateSign(Model):
    """How many events of one key in a time, on average over the window."""

    constraints = (
        between("per", "per", "1s", "1d", "a rate is of a second, a minute, an hour or a day"),
        Rule(
            cel="self.moreThan <= 100000.0",
            holds=lambda model: model.more_than <= 100_000,
            message="moreThan of rate must be at most 100000: no key is that busy",
            field="moreThan",
        ),
    )

    more_than: NumberFromZero = Field(
        description="More events in the time of per than this, on average over the window, break the rule, such as 2."
    )
    per: Duration = Field(default=timedelta(seconds=1), description="Of which time; 1s to 1d. Default 1s.")


class Step(Model):
    """An earlier event of a sequence."""

    event: EventName = Field(description="Name of the event, such as Signed Up.")
    where: Filters = Field(default=(), description="What must all be true of it; at most 8 filters.")


class SequenceSign(Model):
    """Events in an order and a haste that no person has."""

    constraints = (between("within", "within", "1s", "7d", "what lies further back is no haste"),)

    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=4)] = Field(
        description="Events of the same key that came before, in this order, such as [{event: Signed Up}]; at most 4. "
        "The event that the rule matches is the last one."
    )
    within: Duration = Field(
        description="From the first of steps to the matched event it took at most this long, such as 1s; 1s to 7d."
    )


class AccountAgeSign(Model):
    """How young the account of the event is."""

    constraints = (
        exactly_one(("since", "createdAt"), ("since", "created_at"), "accountAge"),
        between("lessThan", "less_than", "1s", "90d", "an account of three months is not young"),
    )

    less_than: Duration = Field(
        description="A younger account breaks the rule, such as 10m; 1s to 90d. An account of unknown age does not."
    )
    since: EventName | None = Field(
        default=None, description="The account is as old as this event of the same user, such as Signed Up."
    )
    created_at: FieldName | None = Field(
        default=None,
        description="The account is as old as this field of the event says in RFC 3339, such as "
        "context.traits.createdAt.",
    )


class VelocitySign(Model):
    """How fast a key moves: between values of a field, or between places."""

    constraints = (
        exactly_one(("changes", "kilometresPerHour"), ("changes", "kilometres_per_hour"), "velocity"),
        Rule(
            cel="has(self.changes) == has(self.moreThan)",
            holds=lambda model: (model.changes is None) == (model.more_than is None),
            message="changes and moreThan go together, such as {changes: address, moreThan: 3}: add the other one",
            field="moreThan",
        ),
        Rule(
            cel="has(self.kilometresPerHour) == has(self.latitude) && "
            "has(self.kilometresPerHour) == has(self.longitude)",
            holds=lambda model: (
                (model.kilometres_per_hour is None) == (model.latitude is None)
                and (model.kilometres_per_hour is None) == (model.longitude is None)
            ),
            message="latitude, longitude and kilometresPerHour go together, such as {latitude: "
            "context.location.latitude, longitude: context.location.longitude, kilometresPerHour: 900}: add what is "
            "missing",
            field="kilometresPerHour",
        ),
    )

    changes: FieldName | None = Field(
        default=None, description="A field that seldom changes from one event of a key to the next, such as address."
    )
    more_than: ThresholdFromOne | None = Field(
        default=None,
        description="More changes than this within the window break the rule; 1 to 9999, and less "
        "than state.eventsPerKey (default 100).",
    )
    latitude: FieldName | None = Field(
        default=None, description="Field with the latitude in degrees, such as context.location.latitude."
    )
    longitude: FieldName | None = Field(
        default=None, description="Field with the longitude in degrees, such as context.location.longitude."
    )
    kilometres_per_hour: Annotated[Integer, Field(ge=1, le=100_000)] | None = Field(
        default=None,
        description="Whoever gets from the place of an event to that of the next faster than this, within the window, "
        "breaks the rule, such as 900: no aeroplane is faster. 1 to 100000.",
    )


class LinkedSign(Model):
    """How many accounts hang together."""

    constraints = (
        Rule(
            cel=f"{one_name_cel('self.accounts')} != {one_name_cel('self.through')}",
            holds=lambda model: model.accounts != model.through,
            message="accounts are linked through something else that they share, such as device: change one of the two",
            field="through",
        ),
    )

    accounts: FieldName = Field(description="What is counted, such as user.")
    through: FieldName = Field(description="What two of them share when they are linked, such as device.")
    depth: Annotated[Integer, Field(ge=1, le=4)] = Field(
        default=1,
        description="How many links are followed: 1 counts whoever shares it with the event's account, 2 those who "
        "share another one with these as well; 1 to 4. Default 1.",
    )
    more_than: LinkLimit = Field(
        description="More linked accounts than this, the event's own included, break the rule; 1 to 1000."
    )


class ModelFile(Model):
    """A model of scikit-learn, in the format of skops."""

    config_map: Name = Field(description="ConfigMap of the rule's namespace that holds the file in binaryData.")
    key: ModelKey = Field(description="Its key, such as model.skops.")
    digest: Digest = Field(
        description="sha256 of the file. Another file under that key is not loaded, whoever put it there."
    )


class ScoreSign(Model):
    """What a trained model thinks of the event."""

    constraints = (
        Rule(
            cel="self.moreThan < 1.0",
            holds=lambda model: model.more_than < 1,
            message="a score is a probability, which is never above 1: lower moreThan, such as 0.9",
            field="moreThan",
        ),
    )

    model: ModelFile = Field(description="The model, such as {configMap: fraud, key: model.skops, digest: sha256:...}.")
    features: Annotated[tuple[FieldName, ...], Field(min_length=1, max_length=64), Distinct("remove one")] = Field(
        description="Fields that the model is asked with, in the order in which it was trained; at most 64."
    )
    more_than: NumberFromZero = Field(description="A score above this breaks the rule, such as 0.9; below 1.")


class Sign(Model):
    """One thing that is asked."""

    constraints: ClassVar[tuple[Rule, ...]] = (exactly_one(SIGNS, _ATTRIBUTES, "an item of all or any"),)

    count: CountSign | None = Field(
        default=None, description="More than so many events of one key, such as {moreThan: 20}."
    )
    distinct: DistinctSign | None = Field(
        default=None,
        description="More than so many different values among the events of one key, such as {field: user, moreThan: "
        "5}.",
    )
    sum: SumSign | None = Field(
        default=None,
        description="A field adds up to more over the events of one key, such as {field: properties.amount, moreThan: "
        "500}.",
    )
    rate: RateSign | None = Field(
        default=None,
        description="More events of one key in a time than a person makes, such as {moreThan: 2, per: 1s}.",
    )
    sequence: SequenceSign | None = Field(
        default=None,
        description="Events in an order and a haste that no person has, such as {steps: [{event: Signed Up}], within: "
        "1s}.",
    )
    account_age: AccountAgeSign | None = Field(
        default=None, description="The account is young, such as {lessThan: 10m, since: Signed Up}."
    )
    velocity: VelocitySign | None = Field(
        default=None,
        description="The key changes its place or another field too fast, such as {changes: address, moreThan: 3}.",
    )
    linked: LinkedSign | None = Field(
        default=None,
        description="More accounts hang together, such as {accounts: user, through: device, depth: 2, moreThan: 5}.",
    )
    score: ScoreSign | None = Field(default=None, description="A trained model finds the event suspicious.")

    @property
    def kind(self) -> str:
        """Which of the signs it is, as it is spelled in YAML."""
        given = (kind for kind, name in zip(SIGNS, _ATTRIBUTES, strict=True) if getattr(self, name) is not None)
        return next(given, "")


Signs = Annotated[tuple[Sign, ...], Field(min_length=2, max_length=4)]


class Condition(Sign):
    """What breaks the rule: one thing, or several of which all or any must be."""

    constraints = (exactly_one((*SIGNS, "all", "any"), (*_ATTRIBUTES, "all", "any"), "condition"),)

    all: Signs | None = Field(
        default=None,
        description="All of these at once, such as [{count: {moreThan: 5}}, {accountAge: {lessThan: 10m, since: Signed "
        "Up}}]; 2 to 4. Each is as a condition, but without all and any.",
    )
    any: Signs | None = Field(default=None, description="At least one of these; 2 to 4, otherwise as all.")

    @property
    def signs(self) -> tuple[Sign, ...]:
        """All things that are asked; of a single one, the condition itself."""
        return self.all or self.any or (self,)

    def placed(self) -> Iterator[tuple[str, Sign]]:
        """All things that are asked, each with its path below the rule's spec."""
        for name, signs in (("all", self.all), ("any", self.any)):
            for index, sign in enumerate(signs or ()):
                yield f"condition.{name}[{index}].{sign.kind}", sign
        if not (self.all or self.any):
            yield f"condition.{self.kind}", self

    def filters(self) -> Iterator[Filter]:
        """All filters on earlier events."""
        for sign in self.signs:
            for step in sign.sequence.steps if sign.sequence else ():
                yield from step.where
