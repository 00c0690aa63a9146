"""The FraudRule: what is not honest, and what becomes of whoever does it."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.abtest_values import BUCKETS, CampaignName, Level, VisitorShare, within, within_share
from flywheel.api.durations import between
from flywheel.api.fraudrule_action import Action, Entity
from flywheel.api.fraudrule_condition import Condition
from flywheel.api.fraudrule_exceptions import Exemption, Lists, Snooze
from flywheel.api.fraudrule_match import Filter, Match
from flywheel.api.fraudrule_rules import RULE_RULES
from flywheel.api.fraudrule_values import KeyLimit, KeyName, Sentence
from flywheel.api.kubernetes import Labels, exactly_one, well_formed_keys
from flywheel.api.metadata import Metadata, name_rule
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.quantities import Duration, Integer

MAX_RULE_NAME = 50
ENTITY_OF_FIELD: dict[str, Entity] = {
    "address": "Address",
    "addressPrefix": "AddressPrefix",
    "visitor": "Visitor",
    "user": "User",
    "device": "Device",
}


class CampaignSelector(Model):
    """Several Campaigns, by their labels."""

    constraints = (
        well_formed_keys("matchLabels"),
        Rule(
            cel="self.matchLabels.size() > 0",
            holds=lambda model: bool(model.match_labels),
            message="a selector without labels would take every Campaign: add a label, such as {matchLabels: {season: "
            "sale}}",
            field="matchLabels",
        ),
    )

    match_labels: Labels = Field(description="Labels that a Campaign must all have, such as {season: sale}.")


class AddressPrefix(Model):
    """How much of an address is the network that it belongs to."""

    ipv4: Annotated[Integer, Field(ge=8, le=32)] = Field(
        default=24, description="Bits of an IPv4 address; 8 to 32. Default 24."
    )
    ipv6: Annotated[Integer, Field(ge=16, le=128)] = Field(
        default=56, description="Bits of an IPv6 address, of which one household usually has 56; 16 to 128. Default 56."
    )


class State(Model):
    """How much the rule may remember, on each worker."""

    maximum_keys: KeyLimit = Field(
        default=1_000_000,
        description="Keys that are remembered at a time, 1 to 10000000. Default 1000000, where key has no field that "
        "a client makes up.",
    )
    events_per_key: Annotated[Integer, Field(ge=2, le=10_000)] = Field(
        default=100,
        description="Events of one key that sum, linked and velocity remember, 2 to 10000: of more the oldest are "
        "forgotten, which is counted and finds less, never more. Default 100.",
    )
    when_full: Literal["EvictOldest", "Refuse"] = Field(
        default="EvictOldest",
        description="What becomes of one key more than maximumKeys. EvictOldest (default): the key that was quiet for "
        "longest is forgotten. Refuse: the new one is not looked at. Both are counted.",
    )


class Backtest(Model):
    """Try the rule on what was."""

    constraints = (between("since", "since", "1h", "90d", "it looks into the event store, which has an end"),)

    since: Duration = Field(description="How far back, such as 24h; 1h to 90d.")


class FraudRuleSpec(Model):
    """What a person calls dishonest."""

    constraints = (
        exactly_one(("campaign", "selector"), ("campaign", "selector"), "a FraudRule"),
        *RULE_RULES,
        between("window", "window", "1s", "7d", "all that it holds is kept in memory"),
        between("lateness", "lateness", "0s", "5m", "every verdict would have to wait, or be taken back"),
        within_share("holdout", "holdout", "0%", "50%", "most of those who break a rule should be stopped"),
        within("minimumPrecision", "minimum_precision", "50%", "99.99%", "below that a coin is as good, above it none"),
    )

    campaign: CampaignName | None = Field(
        default=None, description="Name of the Campaign, in the same namespace, such as yougou-618. It needs an edge."
    )
    selector: CampaignSelector | None = Field(
        default=None,
        description="Several Campaigns of the namespace instead, such as {matchLabels: {season: sale}}. Each counts "
        "for itself.",
    )
    title: Sentence | None = Field(
        default=None,
        description="What it is about, for people, such as More claims from one address than a family makes.",
    )
    match: Match = Field(description="Which events it looks at, such as {event: Coupon Claimed}.")
    key: Annotated[tuple[KeyName, ...], Field(min_length=1, max_length=4), Distinct("remove one of the two")] = Field(
        description="By what events are put together: address, addressPrefix, device, visitor, user, or any field as "
        "in where, such as [device] or [address, properties.coupon]; at most 4. An event without one of them is not "
        "judged, and counted as such."
    )
    address_prefix: AddressPrefix | None = Field(
        default=None, description="What addressPrefix in key means, such as {ipv4: 24, ipv6: 56}, which is the default."
    )
    window: Duration | None = Field(
        default=None,
        description="How far back count, distinct, sum, rate, velocity and linked look from each event, such as 60s; "
        "1s to 7d. Required by these, and only there.",
    )
    condition: Condition = Field(
        description="What breaks the rule, such as {count: {moreThan: 20}}: exactly one of count, distinct, sum, rate, "
        "sequence, accountAge, velocity, linked, score, all and any."
    )
    lists: Lists = Field(default=Lists(), description="Who is known already: lists in ConfigMaps and Secrets.")
    exempt: Annotated[tuple[Exemption, ...], Field(max_length=8)] = Field(
        default=(),
        description="Events that the rule leaves alone, whatever they break: those that fit any of these, at most 8.",
    )
    snoozes: Annotated[tuple[Snooze, ...], Field(max_length=256)] = Field(
        default=(), description="Keys that the rule leaves alone for a while, at most 256."
    )
    action: Action = Field(
        description="What becomes of it, such as {block: {for: 30m, scope: [/coupon]}}: exactly one of block, "
        "throttle, challenge, review and tag."
    )
    mode: Literal["Off", "Shadow", "Enforce"] = Field(
        default="Shadow",
        description="Off: nothing is counted. Shadow (default): it is judged, counted and explained, and nobody is "
        "stopped. Enforce: the action is carried out.",
    )
    share: VisitorShare = Field(
        default=BUCKETS,
        description="With mode: Enforce: the share of those who break the rule whom the action meets, such as 10% to "
        "begin with; the others are as in Shadow. Raising it lets nobody go. Default 100%.",
    )
    holdout: VisitorShare = Field(
        default=500,
        description="Share of those who break the rule who are never stopped, so that one sees whether it is right; "
        "0% to 50%. Default 5%.",
    )
    state: State = Field(default=State(), description="How much the rule may remember.")
    lateness: Duration = Field(
        default=timedelta(seconds=5),
        description="How late an event may come and still count in its place; later ones are counted as late. 0s to "
        "5m, and less than window. Default 5s.",
    )
    on_unavailable: Literal["Allow", "Review", "Deny"] = Field(
        default="Allow",
        description="What the check API says while nobody can judge: Allow (default), Review or Deny. Pages are open "
        "then whatever this says; blocks that are there stay until they end.",
    )
    minimum_precision: Level | None = Field(
        default=None,
        description="The rule goes to Shadow by itself when surely fewer of those whom it found were dishonest, by "
        "labels; 50% to 99.99%, such as 95%. Default: it never does.",
    )
    backtest: Backtest | None = Field(
        default=None,
        description="Try it on what was, after each change of it and again each day, such as {since: 24h}: "
        "status.backtest says what came of it. Default: not.",
    )
    engine: Literal["Embedded", "Flink"] = Field(
        default="Embedded",
        description="Who judges: the fraud worker (Embedded, default), or a FlinkDeployment with the same rule as "
        "Flink SQL.",
    )

    @property
    def acted_on(self) -> Entity:
        """Whose requests an action of the edge is about, whether it was written or not."""
        action = self.action.at_the_edge
        if action is not None and action.of is not None:
            return action.of
        return next((ENTITY_OF_FIELD[field] for field in self.key if field in ENTITY_OF_FIELD), "Visitor")

    @property
    def filters(self) -> tuple[Filter, ...]:
        """All filters, wherever they are."""
        exempt = (filter_ for exemption in self.exempt for filter_ in exemption.where)
        return (*self.match.where, *self.condition.filters(), *exempt)


class FraudRule(Model):
    """What is not honest, and what becomes of whoever does it: judged event by event, enforced at the edge."""

    constraints = (
        name_rule("FraudRule", MAX_RULE_NAME, since="its verdicts and figures carry it", such_as="coupon-burst"),
    )

    api_version: Literal["flywheel.dev/v1alpha1"]
    kind: Literal["FraudRule"]
    metadata: Metadata
    spec: FraudRuleSpec
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the FraudRule."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the FraudRule."""
        return self.metadata.namespace
