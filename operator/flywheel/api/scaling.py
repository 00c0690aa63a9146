"""Shapes of the HorizontalPodAutoscaler (autoscaling/v2), taken over as they are."""

from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.kubernetes import LabelSelector, Manifest, exactly_one
from flywheel.api.model import Model, Rule, ShapedBy
from flywheel.api.quantities import Integer, Label, Name, Quantity, Word


class MetricIdentifier(Model):
    """Which metric."""

    name: Word = Field(description="Name of the metric.")
    selector: LabelSelector | None = Field(default=None, description="Which series of the metric, by its labels.")


class MetricTarget(Model):
    """The value to hold."""

    constraints = (
        Rule(
            cel="(self.type == 'Utilization' && has(self.averageUtilization)) || "
            "(self.type == 'AverageValue' && has(self.averageValue)) || (self.type == 'Value' && has(self.value))",
            holds=lambda model: (
                (model.type == "Utilization" and model.average_utilization is not None)
                or (model.type == "AverageValue" and model.average_value is not None)
                or (model.type == "Value" and model.value is not None)
            ),
            message="the field named by type must be given: averageUtilization with Utilization, averageValue with "
            "AverageValue, value with Value",
            field="type",
        ),
    )

    type: Literal["Utilization", "Value", "AverageValue"] = Field(description="Which of the other fields is meant.")
    average_utilization: Annotated[Integer, Field(ge=1, le=10000)] | None = Field(
        default=None, description="Percent of the pods' requests, on average over the pods."
    )
    average_value: Quantity | None = Field(default=None, description="Amount per pod, on average over the pods.")
    value: Quantity | None = Field(default=None, description="Amount in total.")


class ResourceMetric(Model):
    """CPU or memory of the pods."""

    name: Word = Field(description="cpu, memory or another resource.")
    target: MetricTarget = Field(description="The value to hold.")


class ContainerResourceMetric(Model):
    """CPU or memory of one container of each pod."""

    name: Word = Field(description="cpu, memory or another resource.")
    container: Label = Field(description="Name of the container; the service's own has the name of the service.")
    target: MetricTarget = Field(description="The value to hold.")


class PodsMetric(Model):
    """A metric of each pod, averaged."""

    metric: MetricIdentifier = Field(description="Which metric.")
    target: MetricTarget = Field(description="The value to hold; AverageValue only.")


class DescribedObject(Model):
    """An object of the same namespace."""

    api_version: Word | None = Field(default=None, description="Such as networking.k8s.io/v1.")
    kind: Word = Field(description="Such as Ingress.")
    name: Name = Field(description="Name of the object.")


class ObjectMetric(Model):
    """A metric of one Kubernetes object."""

    described_object: DescribedObject = Field(description="The object.")
    metric: MetricIdentifier = Field(description="Which metric.")
    target: MetricTarget = Field(description="The value to hold.")


class ExternalMetric(Model):
    """A metric from outside the cluster."""

    metric: MetricIdentifier = Field(description="Which metric.")
    target: MetricTarget = Field(description="The value to hold.")


_SOURCES = {
    "Resource": ("resource", "resource"),
    "ContainerResource": ("containerResource", "container_resource"),
    "Pods": ("pods", "pods"),
    "Object": ("object", "object_"),
    "External": ("external", "external"),
}


class MetricSpec(Model):
    """A MetricSpec of autoscaling/v2."""

    constraints = (
        exactly_one(
            tuple(field for field, _ in _SOURCES.values()), tuple(name for _, name in _SOURCES.values()), "raw"
        ),
        Rule(
            cel=" || ".join(f"(self.type == '{type_}' && has(self.{field}))" for type_, (field, _) in _SOURCES.items()),
            holds=lambda model: getattr(model, _SOURCES[model.type][1]) is not None,
            message="the field named by type must be given, such as external: with type: External",
            field="type",
        ),
    )

    type: Literal["Resource", "ContainerResource", "Pods", "Object", "External"] = Field(
        description="Which of the other fields is meant."
    )
    resource: ResourceMetric | None = Field(default=None, description="CPU or memory of the pods.")
    container_resource: ContainerResourceMetric | None = Field(
        default=None, description="CPU or memory of one container of each pod."
    )
    pods: PodsMetric | None = Field(default=None, description="A metric of each pod, averaged.")
    object_: ObjectMetric | None = Field(default=None, alias="object", description="A metric of one Kubernetes object.")
    external: ExternalMetric | None = Field(default=None, description="A metric from outside the cluster.")


class ScalingPolicy(Model):
    """How much may change in a period."""

    type: Literal["Pods", "Percent"] = Field(description="Whether value counts pods or percent.")
    value: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(description="Most change in one period.")
    period_seconds: Annotated[Integer, Field(ge=1, le=1800)] = Field(description="Length of the period in seconds.")


class ScalingRules(Model):
    """How fast one direction goes."""

    stabilization_window_seconds: Annotated[Integer, Field(ge=0, le=3600)] | None = Field(
        default=None,
        description="Seconds of past recommendations that are looked at to avoid flapping; default 0 up, 300 down.",
    )
    select_policy: Literal["Max", "Min", "Disabled"] | None = Field(
        default=None,
        description="Which policy decides when several apply; Disabled forbids this direction. Default Max.",
    )
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1, max_length=16)] | None = Field(
        default=None, description="Limits to the speed."
    )
    tolerance: Quantity | None = Field(
        default=None, description="Deviation from the target that is ignored, such as 0.1 for 10 percent."
    )


class Behavior(Model):
    """How fast an autoscaler acts."""

    scale_up: ScalingRules | None = Field(default=None, description="How fast it adds pods.")
    scale_down: ScalingRules | None = Field(default=None, description="How fast it removes pods.")


MetricSpecManifest = Annotated[Manifest, ShapedBy(MetricSpec)]
BehaviorManifest = Annotated[Manifest, ShapedBy(Behavior)]
