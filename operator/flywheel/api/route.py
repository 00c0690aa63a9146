"""How visitors reach the services: one Gateway API HTTPRoute per Campaign."""

from typing import Annotated, Any, ClassVar

from pydantic import Field

from flywheel.api.model import Distinct, KeyedBy, Model, Rule, ShapedBy
from flywheel.api.quantities import Label, Name, PortNumber, Text
from flywheel.api.service import ServiceName
from flywheel.api.web import Hostname

PathPrefix = Annotated[
    str,
    Text(
        "^/([-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})*$",
        "a path that starts with '/', without query, such as /coupon",
        1024,
        explain=True,
    ),
]
Kind = Annotated[str, Text("^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$", "a Kubernetes kind such as Gateway", 63)]
Group = Annotated[
    str,
    Text("^$|^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", "an API group such as gateway.networking.k8s.io", 253, min_length=0),
]


class ParentReference(Model):
    """The Gateway (or other parent) that takes the traffic in."""

    group: Group | None = Field(default=None, description="Group of the parent; default gateway.networking.k8s.io.")
    kind: Kind | None = Field(default=None, description="Kind of the parent; default Gateway.")
    namespace: Label | None = Field(default=None, description="Namespace of the parent; default: the Campaign's.")
    name: Name = Field(description="Name of the parent.")
    section_name: Name | None = Field(default=None, description="One listener of the Gateway; default: all that fit.")
    port: PortNumber | None = Field(default=None, description="One port of the Gateway; default: all.")


class RouteRule(Model):
    """Which service answers below one path."""

    constraints: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="!self.path.contains('//') && !self.path.matches('/[.][.]?(/|$)')",
            holds=lambda model: (
                "//" not in model.path and not any(part in {".", ".."} for part in model.path.split("/"))
            ),
            message="a path must not contain '//', '/./' or '/../': write it in its normal form",
            field="path",
        ),
    )

    path: PathPrefix = Field(
        description="Path prefix, by whole elements: /coupon matches /coupon and /coupon/1, not /coupons. "
        "The longest matching path wins."
    )
    service: ServiceName = Field(description="Name of a service of this campaign that has a port.")
    port: PortNumber | None = Field(
        default=None, description="Port of the service; needed when it has several, else its only one."
    )


class Route(Model):
    """Entry of visitors from outside the cluster."""

    parent_refs: Annotated[
        tuple[Annotated[dict[str, Any], ShapedBy(ParentReference)], ...], Field(min_length=1, max_length=8)
    ] = Field(description="Gateways that take the traffic in, as in an HTTPRoute, such as [{name: public}].")
    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16), Distinct("remove one of the two")] = Field(
        default=(), description="Host names of the campaign. Default: all that the Gateway's listeners accept."
    )
    rules: Annotated[
        tuple[RouteRule, ...],
        Field(min_length=1, max_length=64),
        KeyedBy(("path",), "a path leads to one service, so remove one of the two rules"),
    ] = Field(
        default=(),
        description="Which path leads to which service. May be absent when exactly one service has a port: it gets "
        "everything.",
    )
