"""How far a service grows, by what, and how much of it may be missing."""

import re
from typing import Annotated

from pydantic import Field

from flywheel.api.kubernetes import exactly_one
from flywheel.api.model import Model, Rule
from flywheel.api.quantities import Integer, IntegerOrPercent, Percentage, Quantity, Text
from flywheel.api.scaling import BehaviorManifest, MetricSpecManifest

EventName = Annotated[
    str,
    Text(
        "^[^\\x00-\\x20\\x7f]([^\\x00-\\x1f\\x7f]*[^\\x00-\\x20\\x7f])?$",
        "the name of an event such as Order Completed, on one line, without spaces around it",
        128,
    ),
]


def _above_zero(field: str, attribute: str) -> Rule:
    def holds(metric: "Metric") -> bool:
        value = getattr(metric, attribute)
        return value is None or re.match(_ABOVE_ZERO, str(value)) is not None

    return Rule(
        cel=f"!has(self.{field}) || string(self.{field}).matches('{_ABOVE_ZERO}')",
        holds=holds,
        message=f"{field} of nothing would ask for endless replicas: use a number above 0",
        field=field,
    )


_ABOVE_ZERO = "^[0.]*[1-9]"


class Metric(Model):
    """One thing that the autoscaler watches."""

    constraints = (
        exactly_one(
            ("cpu", "memory", "event", "requests", "raw"), ("cpu", "memory", "event", "requests", "raw"), "a metric"
        ),
        Rule(
            cel="has(self.event) == has(self.perSecond)",
            holds=lambda model: (model.event is None) == (model.per_second is None),
            message="event and perSecond belong together, such as {event: Order Completed, perSecond: 50}",
            field="perSecond",
        ),
        _above_zero("perSecond", "per_second"),
        _above_zero("requests", "requests"),
    )

    cpu: Percentage | None = Field(
        default=None, description="CPU use to hold, in percent of resources.requests.cpu on average, such as 60%."
    )
    memory: Percentage | None = Field(
        default=None, description="Memory use to hold, in percent of resources.requests.memory on average, such as 75%."
    )
    event: EventName | None = Field(
        default=None, description="Name of an event taken in at the edge, of which perSecond counts, for one replica."
    )
    per_second: Quantity | None = Field(
        default=None, description="Events per second that one replica is worth, such as 50. Goes with event."
    )
    requests: Quantity | None = Field(
        default=None, description="Requests per second to this service that one replica is worth, such as 200."
    )
    raw: MetricSpecManifest | None = Field(
        default=None, description="Any other metric, as a MetricSpec of Kubernetes autoscaling/v2."
    )


class Autoscaling(Model):
    """How far and by what the service grows."""

    constraints = (
        Rule(
            cel="self.max >= self.min",
            holds=lambda model: model.max >= model.min,
            message="autoscaling.max must be at least autoscaling.min: raise max or lower min",
            field="max",
        ),
        Rule(
            cel="!has(self.warm) || (self.warm >= self.min && self.warm <= self.max)",
            holds=lambda model: model.warm is None or model.min <= model.warm <= model.max,
            message="autoscaling.warm must be between autoscaling.min and autoscaling.max: change warm, or "
            "widen the range",
            field="warm",
        ),
    )

    min: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        description="Fewest replicas while the campaign runs; 1 to 1000."
    )
    max: Annotated[Integer, Field(ge=1, le=1000)] = Field(
        description="Most replicas; 1 to 1000 and at least min. What the cluster can hold is the cluster's matter."
    )
    warm: Annotated[Integer, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="Replicas that are kept from schedule.warmFor before the start until schedule.holdFor after it, so "
        "that the first flood finds them running. Between min and max; default min.",
    )
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=8)] = Field(
        description="What the autoscaler watches; it takes the largest number of replicas that any of them asks for. "
        "Such as [{cpu: 60%}, {event: Order Completed, perSecond: 50}, {requests: 200}]; the last two need spec.edge."
    )
    behavior: BehaviorManifest | None = Field(
        default=None,
        description="How fast it acts: the behavior of a HorizontalPodAutoscaler. Default: Kubernetes' own.",
    )

    @property
    def warm_replicas(self) -> int:
        """The size to be warm at."""
        return self.min if self.warm is None else self.warm


AT_MOST_MAX = Rule(
    cel="!has(self.replicas) || !has(self.autoscaling) || self.replicas <= self.autoscaling.max",
    holds=lambda model: model.replicas is None or model.autoscaling is None or model.replicas <= model.autoscaling.max,
    message="replicas must be at most autoscaling.max: lower replicas or raise max",
    field="replicas",
)
"""Of whatever has replicas and autoscaling."""


class DisruptionBudget(Model):
    """How many pods may be evicted at a time, by node drains and the like."""

    constraints = (
        exactly_one(("minAvailable", "maxUnavailable"), ("min_available", "max_unavailable"), "disruptionBudget"),
    )

    min_available: IntegerOrPercent | None = Field(
        default=None, description="Pods that must stay, as a number or percentage, such as 2 or 80%."
    )
    max_unavailable: IntegerOrPercent | None = Field(
        default=None, description="Pods that may be missing, as a number or percentage, such as 1 or 10%."
    )
