"""Where pods may run: Kubernetes shapes, taken over as they are."""

from typing import Annotated, Any, Literal

from pydantic import Field

from flywheel.api.kubernetes import LabelSelector, Manifest
from flywheel.api.model import Model, PartialModel, Rule, ShapedBy
from flywheel.api.quantities import Integer, LabelKey, LabelValue


class Toleration(Model):
    """A taint of nodes that the pods accept."""

    constraints = (
        Rule(
            cel="has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            holds=lambda model: model.key is not None or model.operator == "Exists",
            message="without a key the operator must be Exists: name the key, or set operator: Exists for every taint",
            field="operator",
        ),
        Rule(
            cel="!has(self.value) || !has(self.operator) || self.operator != 'Exists'",
            holds=lambda model: model.value is None or model.operator != "Exists",
            message="value has no meaning with operator Exists: remove value, or use operator: Equal",
            field="value",
        ),
    )

    key: LabelKey | None = Field(default=None, description="Key of the taint; absent: every taint.")
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = Field(
        default=None, description="How the value is compared; default Equal."
    )
    value: LabelValue | None = Field(default=None, description="Value of the taint.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="Effect of the taint; absent: every effect."
    )
    toleration_seconds: Annotated[Integer, Field(ge=0, le=2**53)] | None = Field(
        default=None, description="With NoExecute: seconds that a pod stays; default: for ever."
    )


class TopologySpread(Model):
    """How evenly the pods are spread over one kind of place."""

    max_skew: Annotated[Integer, Field(ge=1, le=10000)] = Field(
        description="Largest allowed difference in pods between two places."
    )
    topology_key: LabelKey = Field(
        description="Node label that names the place, such as kubernetes.io/hostname or topology.kubernetes.io/zone."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        description="Whether a pod waits (DoNotSchedule) or is placed all the same (ScheduleAnyway)."
    )
    label_selector: LabelSelector | None = Field(
        default=None, description="Pods that are counted. Default: the pods of the service."
    )
    match_label_keys: Annotated[tuple[LabelKey, ...], Field(max_length=16)] | None = Field(
        default=None, description="Labels whose values must be those of the pod, such as pod-template-hash."
    )
    min_domains: Annotated[Integer, Field(ge=1, le=10000)] | None = Field(
        default=None, description="Least number of places; with DoNotSchedule only."
    )
    node_affinity_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether places that the pod cannot use count; default Honor."
    )
    node_taints_policy: Literal["Honor", "Ignore"] | None = Field(
        default=None, description="Whether places with taints count; default Ignore."
    )


class Terms(PartialModel):
    """Terms of Kubernetes' own shape; the API server checks them when the Deployment is made."""


Opaque = Annotated[dict[str, Any], ShapedBy(Terms)]


class Affinity(Model):
    """Attraction and repulsion of pods."""

    node_affinity: Opaque | None = Field(default=None, description="Nodes by their labels (Kubernetes nodeAffinity).")
    pod_affinity: Opaque | None = Field(default=None, description="Near other pods (Kubernetes podAffinity).")
    pod_anti_affinity: Opaque | None = Field(
        default=None, description="Away from other pods (Kubernetes podAntiAffinity)."
    )


TolerationManifest = Annotated[Manifest, ShapedBy(Toleration)]
TopologySpreadManifest = Annotated[Manifest, ShapedBy(TopologySpread)]
AffinityManifest = Annotated[Manifest, ShapedBy(Affinity)]
