"""The ABTest: which of several variants of a service does better, and what follows from it."""

from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.abtest_decision import Decision, Statistics
from flywheel.api.abtest_metrics import Metrics
from flywheel.api.abtest_targeting import Targeting
from flywheel.api.abtest_values import BUCKETS, SUM_TO_ALL, CampaignName, LayerName, Salt, VisitorShare, within_share
from flywheel.api.abtest_variant import Variant
from flywheel.api.campaign import MAX_CHILD_NAME
from flywheel.api.metadata import Metadata, name_rule
from flywheel.api.model import KeyedBy, Model, Rule
from flywheel.api.moments import ENDS_AFTER_START
from flywheel.api.quantities import Flag, Moment
from flywheel.api.service import ServiceName

MAX_TEST_NAME = 50


class ABTestSchedule(Model):
    """When the test runs at most. It never runs outside of the campaign's own time."""

    constraints = (ENDS_AFTER_START,)

    starts_at: Moment | None = Field(
        default=None,
        description="When it starts: 2027-06-16T00:00:00 (local time in the Campaign's schedule.timeZone) or with an "
        "offset, 2027-06-16T00:00:00+08:00. Default: as soon as the campaign is live and the variants are ready.",
    )
    ends_at: Moment | None = Field(
        default=None,
        description="When it ends at the latest, with what is there; same forms as startsAt, and after it. Default: "
        "after decision.maximumDuration, or with the campaign.",
    )


def _fixed(field: str, why: str) -> Rule:
    """A rule for the API server alone, as only it knows what was there before."""
    return Rule(
        cel=f"self.{field} == oldSelf.{field}",
        holds=lambda _: True,
        message=f"{field} cannot be changed, since {why}: delete this ABTest and make a new one",
        field=field,
    )


class ABTestSpec(Model):
    """What a person wants to know."""

    constraints = (
        _fixed("campaign", "what was measured belongs to the old one"),
        _fixed("service", "what was measured belongs to the old one"),
        Rule(
            cel="has(self.salt) == has(oldSelf.salt) && (!has(self.salt) || self.salt == oldSelf.salt)",
            holds=lambda _: True,
            message="salt cannot be added, changed or removed, since every visitor would be assigned anew: put it "
            "back, or delete this ABTest and make a new one",
            field="salt",
        ),
        Rule(
            cel="self.variants.filter(v, has(v.control) && v.control).size() == 1",
            holds=lambda spec: sum(variant.control for variant in spec.variants) == 1,
            message="exactly one of the variants must be the control: set control: true in one, and take it out of the "
            "others",
            field="variants",
        ),
        SUM_TO_ALL,
        Rule(
            cel=f"self.variants.all(v, size(self.campaign) + size(self.service) + size(v.name) + 2 <= "
            f"{MAX_CHILD_NAME})",
            holds=lambda spec: all(len(spec.child_name(each.name)) <= MAX_CHILD_NAME for each in spec.variants),
            message=f"campaign, service and variants[].name, joined by '-', must be at most {MAX_CHILD_NAME} "
            "characters, since objects are named after them: shorten the variant's name",
            field="variants",
        ),
        within_share("holdout", "holdout", "0%", "50%", "most visitors should see what was found to be better"),
    )

    campaign: CampaignName = Field(
        description="Name of the Campaign, in the same namespace, such as yougou-618. It needs an edge. Cannot be "
        "changed."
    )
    service: ServiceName = Field(
        description="Name of the service of the Campaign that is tested, such as landing; one that the edge leads to. "
        "Cannot be changed."
    )
    hypothesis: Annotated[str, Field(max_length=512)] | None = Field(
        default=None,
        description="What is thought to be true, for people, such as A green button brings more people to claim the "
        "coupon. At most 512 characters.",
    )
    traffic: VisitorShare = Field(
        default=BUCKETS,
        description="Share of the service's visitors who take part, with at most two decimals, such as 12.5%; 0% to "
        "100%. Raising it moves nobody who is in. Default 100%.",
    )
    layer: LayerName | None = Field(
        default=None,
        description="Tests of one layer never share a visitor, so their traffic adds up to at most 100%; tests of "
        "different layers are independent. Default: the name of the service.",
    )
    salt: Salt | None = Field(
        default=None,
        description="What visitors are assigned by: the same salt assigns alike, such as button-2027-06. Default: the "
        "test's uid, so that a test that is made anew assigns anew. Cannot be changed.",
    )
    suspend: Flag = Field(
        default=False,
        description="true: a pause. Everybody gets the control, nobody is assigned, nothing is counted, and the clock "
        "stands still; afterwards each visitor has the variant from before. Default false.",
    )
    schedule: ABTestSchedule | None = Field(
        default=None, description="When it starts and ends. Default: with the campaign, and by decision."
    )
    variants: Annotated[
        tuple[Variant, ...],
        Field(min_length=2, max_length=8),
        KeyedBy(("name",), "give each variant a name of its own"),
    ] = Field(
        description="What is compared: 2 to 8, exactly one of them the control, such as [{name: red, control: true, "
        "weight: 50%}, {name: lime, weight: 50%, override: {env: [{name: BUTTON, value: lime}]}}]."
    )
    targeting: Targeting | None = Field(
        default=None,
        description="Who takes part, such as {paths: [/coupon*], devices: [Phone]}. Default: every visitor of the "
        "service.",
    )
    holdout: VisitorShare | None = Field(
        default=None,
        description="Share of all visitors who are in no test of this campaign that names a holdout, such as 5%; at "
        "most 50%. Larger holdouts contain the smaller ones. Default: none.",
    )
    metrics: Metrics = Field(
        description="What is measured, such as {primary: {event: Coupon Claimed, minimumEffect: 10%}}."
    )
    statistics: Statistics = Field(default=Statistics(), description="How sure the test must be.")
    decision: Decision = Field(default=Decision(), description="What follows from what was found.")

    @property
    def control(self) -> Variant:
        """The variant that is the service as it is."""
        return next(variant for variant in self.variants if variant.control)

    @property
    def layer_name(self) -> str:
        """The layer, whether it was written or not."""
        return self.layer or self.service

    def child_name(self, variant: str) -> str:
        """Name of the objects of one variant."""
        return f"{self.campaign}-{self.service}-{variant}"


class ABTest(Model):
    """A test of variants of one service of a Campaign: visitors are assigned, what they do is compared."""

    constraints = (name_rule("ABTest", MAX_TEST_NAME, since="its report and figures carry it", such_as="green-button"),)

    api_version: Literal["flywheel.dev/v1alpha1"]
    kind: Literal["ABTest"]
    metadata: Metadata
    spec: ABTestSpec
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the ABTest."""
        return self.metadata.name

    @property
    def namespace(self) -> str:
        """Namespace of the ABTest."""
        return self.metadata.namespace

    @property
    def salt(self) -> str:
        """What visitors are assigned by."""
        return self.spec.salt or self.metadata.uid
