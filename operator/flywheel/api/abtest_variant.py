"""What the visitors of a test are shown: variants of one service."""

from typing import Annotated

from pydantic import Field

from flywheel.api.abtest_values import VariantName, Weight
from flywheel.api.autoscaling import AT_MOST_MAX, Autoscaling
from flywheel.api.content import Content
from flywheel.api.kubernetes import EnvironmentManifest
from flywheel.api.model import KeyedBy, Model, Rule
from flywheel.api.pod_template import PodTemplate
from flywheel.api.quantities import Flag, ImageReference, Replicas

_PARTS = ("image", "content", "env", "podTemplate")


class Override(Model):
    """What differs from the service. Everything else is the service's own, also after a change of it."""

    constraints = (
        Rule(
            cel=" || ".join(f"has(self.{part})" for part in _PARTS),
            holds=lambda model: bool(model.image or model.content or model.env or model.pod_template),
            message=f"an override must change something: add one of {', '.join(_PARTS)}",
        ),
        Rule(
            cel="!has(self.image) || !has(self.content)",
            holds=lambda model: model.image is None or model.content is None,
            message="image and content exclude each other: keep the one that the service has",
            field="content",
        ),
        Rule(
            cel="!has(self.podTemplate) || has(self.podTemplate.metadata) || has(self.podTemplate.spec)",
            holds=lambda model: model.pod_template is None or bool(model.pod_template.model_fields_set),
            message="an empty podTemplate changes nothing: add metadata or spec, or take it out",
            field="podTemplate",
        ),
    )

    image: ImageReference | None = Field(
        default=None,
        description="Another image, such as registry.example/shop/landing:1.5.0-green. For a service with image.",
    )
    content: Content | None = Field(
        default=None,
        description="Other files, such as {git: {url: https://git.example/landing.git, ref: green}}; replaces the "
        "service's content as a whole. For a service with content.",
    )
    env: Annotated[
        tuple[EnvironmentManifest, ...],
        Field(min_length=1, max_length=256),
        KeyedBy(("name",), "remove one of the two variables"),
    ] = Field(
        default=(),
        description="Environment variables, merged by name over the service's, such as [{name: BUTTON, value: green}].",
    )
    pod_template: PodTemplate | None = Field(
        default=None,
        description="Merged strategically over the pod template of the service, after the service's own podTemplate. "
        "The service's container has the name of the service.",
    )


class Variant(Model):
    """One of the things that visitors are shown."""

    constraints = (
        AT_MOST_MAX,
        Rule(
            cel="!has(self.control) || !self.control || !(has(self.override) || has(self.replicas) || "
            "has(self.autoscaling))",
            holds=lambda model: (
                not model.control or (model.override is None and model.replicas is None and model.autoscaling is None)
            ),
            message="the control is the service as it is: take override, replicas and autoscaling out, or make another "
            "variant the control",
            field="control",
        ),
        Rule(
            cel="(has(self.control) && self.control) || has(self.override)",
            holds=lambda model: model.control or model.override is not None,
            message="a variant that is not the control must differ from the service: add override, or set control: "
            "true",
            field="override",
        ),
    )

    name: VariantName = Field(
        description="Name of the variant, such as green-button: lowercase letters, digits and '-', at most 30. Its "
        "objects are called <campaign>-<service>-<name>, at most 52 characters; blue and green are taken where the "
        "service is released BlueGreen."
    )
    control: Flag = Field(
        default=False,
        description="true: this is the service as it is, with which the others are compared. Exactly one variant is "
        "the control. Default false.",
    )
    weight: Weight = Field(
        description="Share of the participants who get it, with at most two decimals, such as 50%; all weights add up "
        "to 100%. A change moves visitors who are in already. With method: Bandit only where it begins."
    )
    override: Override | None = Field(
        default=None,
        description="What differs from the service, such as {env: [{name: BUTTON, value: green}]}. The control has "
        "none, every other variant needs one.",
    )
    replicas: Replicas | None = Field(
        default=None, description="Base size of the variant, 0 to 1000. Default: autoscaling.min, or the service's."
    )
    autoscaling: Autoscaling | None = Field(
        default=None,
        description="Grow and shrink with the load, such as {min: 2, max: 20, metrics: [{cpu: 60%}]}. Default: as the "
        "service, or none where replicas is given.",
    )
