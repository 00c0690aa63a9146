"""The ABTest: which variants of a service there are, who sees them, what is measured, and how it is decided."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.abtest_metrics import Metrics
from flywheel.api.autoscaling import Autoscaling
from flywheel.api.campaign import CAMPAIGN_NAME_PATTERN, Metadata
from flywheel.api.content import Content
from flywheel.api.gate_values import Share
from flywheel.api.kubernetes import EnvironmentManifest
from flywheel.api.model import KeyedBy, Model, Rule
from flywheel.api.pod_template import PodTemplate
from flywheel.api.quantities import (
    DNS_LABEL_PATTERN,
    Duration,
    Flag,
    ImageReference,
    Replicas,
    Text,
    cel_text,
)
from flywheel.api.service import ServiceName

WHOLE = 10_000
_WEIGHT = "^(100([.]0{1,2})?|[1-9]?[0-9]([.][0-9]{1,2})?)%$"
RESERVED = frozenset({"blue", "green"})


def read_basis_points(text: str) -> int:
    """Read `33.33%` as 3333."""
    return round(float(text[:-1]) * 100)


BasisPoints = Annotated[
    int,
    Text(
        _WEIGHT,
        'a percentage with the sign and at most two decimals, "0%" to "100%", such as 50% or 33.33%',
        7,
        2,
        read_basis_points,
        True,
    ),
]
VariantName = Annotated[
    str,
    Text(DNS_LABEL_PATTERN, "lowercase letters, digits and '-', at most 20, such as green-button", 20, explain=True),
]
ReferredCampaign = Annotated[
    str, Text(CAMPAIGN_NAME_PATTERN, "the name of a Campaign of this namespace, such as shop-618", 50, explain=True)
]


class Override(Model):
    """What differs from the service. What is not named here is as the service has it, also when that changes."""

    constraints = (
        Rule(
            cel="has(self.image) || has(self.env) || has(self.podTemplate) || has(self.content)",
            holds=lambda override: bool(
                override.image or override.env or override.pod_template is not None or override.content
            ),
            message="it changes nothing: give image, env, podTemplate or content",
        ),
        Rule(
            cel="!has(self.image) || !has(self.content)",
            holds=lambda override: override.image is None or override.content is None,
            message="image and content exclude each other: keep one",
            field="content",
        ),
    )

    image: ImageReference | None = Field(default=None, description="Another container image.")
    env: (
        Annotated[
            tuple[EnvironmentManifest, ...],
            Field(min_length=1, max_length=64),
            KeyedBy(("name",), "remove one of the two variables"),
        ]
        | None
    ) = Field(default=None, description="Environment variables to add, or to give another value; all others stay.")
    pod_template: PodTemplate | None = Field(
        default=None,
        description="Instead of the service's podTemplate: merged strategically over what is generated.",
    )
    content: Content | None = Field(default=None, description="Other content, from Git or an image.")


class Variant(Model):
    """One of the things that are compared."""

    constraints = (
        Rule(
            cel="(has(self.control) && self.control) != has(self.override)",
            holds=lambda variant: variant.control != (variant.override is not None),
            message="control is the service as it is and has no override; every other variant needs one",
            field="override",
        ),
        Rule(
            cel="!(has(self.control) && self.control) || !(has(self.replicas) || has(self.autoscaling))",
            holds=lambda variant: not variant.control or (variant.replicas is None and variant.autoscaling is None),
            message="control runs on the service's own pods, whose size is said there: remove replicas and autoscaling",
            field="control",
        ),
        Rule(
            cel=f"!(self.name in {sorted(RESERVED)})",
            holds=lambda variant: variant.name not in RESERVED,
            message="blue and green are the slots of releases: take another name, such as green-button",
            field="name",
        ),
    )

    name: VariantName = Field(description="Name of the variant, such as green-button; its objects carry it.")
    control: Flag = Field(default=False, description="true: the service as it is, which the others are compared with.")
    weight: BasisPoints = Field(description="Share of the test's visitors, such as 50%; all weights add up to 100%.")
    override: Override | None = Field(default=None, description="What differs from the service.")
    replicas: Replicas | None = Field(default=None, description="Pods of the variant. Default: as the service.")
    autoscaling: Autoscaling | None = Field(
        default=None, description="How the variant grows with its load. Default: as the service."
    )


class Statistics(Model):
    """How sure a decision has to be."""

    constraints = (
        Rule(
            cel=f"!has(self.alpha) || !self.alpha.matches({cel_text('^[0-9.]+%$')}) || "
            "(double(self.alpha.replace('%', '')) >= 0.1 && double(self.alpha.replace('%', '')) <= 20.0)",
            holds=lambda statistics: 0.001 <= statistics.alpha <= 0.2,
            message="alpha must be from 0.1% to 20%: 5% is usual",
            field="alpha",
        ),
        Rule(
            cel=f"!has(self.power) || !self.power.matches({cel_text('^[0-9.]+%$')}) || "
            "(double(self.power.replace('%', '')) >= 50.0 && double(self.power.replace('%', '')) <= 99.0)",
            holds=lambda statistics: 0.5 <= statistics.power <= 0.99,
            message="power must be from 50% to 99%: 80% is usual",
            field="power",
        ),
    )

    alpha: Share = Field(
        default=0.05,
        description="Chance to ship a variant that is no better, over all looks and variants. 0.1% to 20%; default 5%.",
    )
    power: Share = Field(
        default=0.8, description="Chance to find the minimum effect if it is there. 50% to 99%; default 80%."
    )
    futility: Flag = Field(
        default=True,
        description="true (default): end early when the minimum effect is out of reach. false: go on to the end.",
    )


class DecisionRules(Model):
    """When there may be a decision, and what follows from it."""

    promote: Literal["Automatic", "Manual"] = Field(
        default="Manual",
        description="Automatic: the winner becomes what the service runs, by the service's own way of releasing, gates "
        "included, for as long as the test exists. Manual (default): a person does it.",
    )
    minimum_duration: Duration = Field(
        default=timedelta(days=1),
        description="No decision before this time has passed, but for a breached guardrail or a broken test. Default "
        "24h.",
    )
    maximum_duration: Duration = Field(
        default=timedelta(days=14), description="After this time it ends, decided or not. Default 14d."
    )
    whole_weeks: Flag = Field(
        default=False,
        description="true: minimumDuration is rounded up to weeks, so that each day of the week is in it as often. "
        "Default false.",
    )


def _weighs_up(spec: "ABTestSpec") -> bool:
    return sum(variant.weight for variant in spec.variants) == WHOLE


class ABTestSpec(Model):
    """What a person wants to know."""

    constraints = (
        Rule(
            cel="self.variants.filter(v, has(v.control) && v.control).size() == 1",
            holds=lambda spec: sum(variant.control for variant in spec.variants) == 1,
            message="exactly one variant has control: true, since the others are compared with it",
            field="variants",
        ),
        Rule(
            cel=f"self.variants.exists(v, !v.weight.matches({cel_text(_WEIGHT)})) || "
            "self.variants.map(v, int(double(v.weight.replace('%', '')) * 100.0 + 0.5)).sum() == 10000",
            holds=_weighs_up,
            message="the weights must add up to 100%: correct one of them, such as 33.33%, 33.33% and 33.34%",
            field="variants",
        ),
        Rule(
            cel=f"self.variants.exists(v, v.weight.matches({cel_text(_WEIGHT)}) && "
            "double(v.weight.replace('%', '')) == 0.0) == false",
            holds=lambda spec: all(variant.weight for variant in spec.variants),
            message="a weight of 0% is a variant that nobody sees: remove it, or give it visitors",
            field="variants",
        ),
    )

    campaign: ReferredCampaign = Field(description="The Campaign, of this namespace, whose visitors take part.")
    service: ServiceName = Field(description="The service of the Campaign that is varied; the edge must lead to it.")
    hypothesis: Annotated[str, Field(max_length=512)] | None = Field(
        default=None,
        description="What is believed, for people, such as: a green button brings more people to claim the coupon.",
    )
    traffic: BasisPoints = Field(
        default=WHOLE,
        description="Share of the service's visitors who take part, such as 20%; everybody else sees the service as it "
        "is. It may be raised at any time and moves nobody who is in already. Default 100%.",
    )
    suspend: Flag = Field(
        default=False,
        description="true: everybody sees control, nobody is counted, and the clock of the test stands still. Default "
        "false.",
    )
    variants: Annotated[
        tuple[Variant, ...],
        Field(min_length=2, max_length=8),
        KeyedBy(("name",), "give each variant a name of its own"),
    ] = Field(description="What is compared: 2 to 8 variants, one of them control.")
    metrics: Metrics = Field(description="What is measured.")
    statistics: Statistics = Field(default=Statistics(), description="How sure a decision has to be.")
    decision: DecisionRules = Field(
        default=DecisionRules(), description="When there may be a decision, and what follows from it."
    )


class ABTest(Model):
    """A question to the visitors of a campaign: which variant of a service does better, decided by statistics."""

    constraints = (
        Rule(
            cel="size(self.metadata.name) <= 40",
            holds=lambda test: len(test.metadata.name) <= 40,
            message="metadata.name must be at most 40 characters, since figures carry it: shorten it",
            field="metadata.name",
        ),
    )

    api_version: Literal["flywheel.dev/v1alpha1"]
    kind: Literal["ABTest"]
    metadata: Metadata
    spec: ABTestSpec
    status: dict[str, Any] = Field(default_factory=dict)

    @property
    def name(self) -> str:
        """Name of the test."""
        return self.metadata.name

    @property
    def control(self) -> Variant:
        """The variant that the others are compared with."""
        return next(variant for variant in self.spec.variants if variant.control)

    @property
    def challengers(self) -> tuple[Variant, ...]:
        """All other variants, in their order."""
        return tuple(variant for variant in self.spec.variants if not variant.control)
