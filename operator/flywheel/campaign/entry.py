"""How the Campaign's edge is doing: its pods, and what each of them says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from flywheel.campaign.observed import Observed
from flywheel.edge.document import Applied, EdgeDocument
from flywheel.edge.naming import COMPONENT, applied_name, edge_name
from flywheel.plan import LiveObject, ObjectKey
from flywheel.workload.scaling import Size
from flywheel.workload.state import ServiceState, service_state

DELIVERY_TROUBLES = ("Store", "Spool", "Log", "Fraud")
"""How reasons begin that concern what is measured; the site itself serves on."""


@dataclass(frozen=True, slots=True)
class EdgeOrders:
    """What the edge shall be."""

    document: EdgeDocument
    size: Size

    @property
    def generation(self) -> str:
        """What a pod says when it has applied them."""
        return self.document.generation


@dataclass(frozen=True, slots=True)
class PodTrouble:
    """Why some edge pods are not as they should be."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class EdgeState:
    """What a person wants to know of the edge."""

    service: ServiceState
    pods: int
    applied: int
    """Pods that have applied the wanted generation."""
    serving: PodTrouble | None = None
    """What keeps pods from following their orders."""
    delivery: PodTrouble | None = None
    """What keeps pods from delivering events."""

    @property
    def followed(self) -> bool:
        """Whether every edge pod has the wanted generation."""
        return self.applied >= self.pods and self.serving is None


def deployment_of(observed: Observed) -> ObjectKey:
    """Return the address of the edge's Deployment."""
    return ObjectKey("apps", "Deployment", observed.namespace, edge_name(observed.name))


def edge_state(observed: Observed, orders: EdgeOrders, lives: Mapping[ObjectKey, LiveObject]) -> EdgeState:
    """Judge the edge by its Deployment and by what its pods say."""
    deployment = lives.get(deployment_of(observed))
    service = service_state(COMPONENT, deployment, orders.size, observed.troubles.get(COMPONENT))
    said = told(observed)
    if observed.edge_pods is not None:
        said = {name: said.get(name, Applied()) for name in observed.edge_pods}
    pods = len(observed.edge_pods) if observed.edge_pods is not None else _pods(deployment)
    return EdgeState(
        service=service,
        pods=pods,
        applied=min(pods, sum(each.generation == orders.generation for each in said.values())),
        serving=_commonest(said, delivery=False),
        delivery=_commonest(said, delivery=True),
    )


def told(observed: Observed) -> dict[str, Applied]:
    """Read what edge pods have said of themselves, by the pods' names; what is not readable is passed over."""
    live = observed.children.get(ObjectKey("", "ConfigMap", observed.namespace, applied_name(observed.name)))
    data = live.status.get("data") if live else None
    said = {}
    for name, text in (data or {}).items():
        try:
            said[str(name)] = msgspec.json.decode(text, type=Applied)
        except (msgspec.MsgspecError, TypeError):
            continue
    return said


def needs_pods(observed: Observed, orders: EdgeOrders) -> bool:
    """Tell whether only the pods themselves can say how far the edge is: entries of pods long gone may be there."""
    said = told(observed)
    pods = _pods(observed.children.get(deployment_of(observed)))
    followed = sum(each.generation == orders.generation for each in said.values())
    return len(said) != pods or followed != pods or any(each.trouble for each in said.values())


def gone(observed: Observed) -> tuple[str, ...]:
    """Name the entries of pods that are no more; empty where the pods were not asked for."""
    live = observed.children.get(ObjectKey("", "ConfigMap", observed.namespace, applied_name(observed.name)))
    data = live.status.get("data") if live else None
    return tuple(sorted(set(data or ()) - set(observed.edge_pods))) if observed.edge_pods is not None else ()


def _pods(deployment: LiveObject | None) -> int:
    return int(deployment.status.get("replicas") or 0) if deployment else 0


def _commonest(said: Mapping[str, Applied], *, delivery: bool) -> PodTrouble | None:
    troubled = {
        name: each.trouble
        for name, each in sorted(said.items())
        if each.trouble and each.trouble.reason.startswith(DELIVERY_TROUBLES) is delivery
    }
    if not troubled:
        return None
    name, first = next(iter(troubled.items()))
    others = f" and {len(troubled) - 1} more" if len(troubled) > 1 else ""
    return PodTrouble(first.reason, f"edge pod {name}{others}: {first.message}")
