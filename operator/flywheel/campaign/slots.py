"""What the release of one service sees of the Campaign's world. Pure."""

from collections.abc import Mapping
from datetime import datetime

from flywheel.api.campaign import Campaign
from flywheel.api.service import Service
from flywheel.campaign.entry import deployment_of, told
from flywheel.campaign.gates import job_hindrance, job_results
from flywheel.campaign.observed import Observed
from flywheel.edge.document import Applied
from flywheel.plan import LiveObject, ObjectKey
from flywheel.release.facts import Facts, SlotFacts
from flywheel.release.gate.machine import asks_address
from flywheel.release.gate.measurement import Measurement
from flywheel.release.naming import record_name, slot_name
from flywheel.release.state import SLOTS, ReleaseState
from flywheel.release.work import Pods
from flywheel.workload.naming import child_name
from flywheel.workload.scaling import Phase, size_of


def followed(observed: Observed, generation: str | None) -> tuple[bool, str]:
    """Tell whether every edge pod has carried out the orders of a generation, and which have not."""
    if generation is None:
        return True, ""
    said = told(observed)
    if observed.edge_pods is not None:
        said = {name: said.get(name, Applied()) for name in observed.edge_pods}
    deployment = observed.children.get(deployment_of(observed))
    pods = len(observed.edge_pods) if observed.edge_pods is not None else _pods(deployment)
    behind = sorted(name for name, each in said.items() if each.generation != generation)
    if not behind and len(said) >= pods:
        return True, ""
    if not behind:
        return False, f"{len(said)} of {pods} edge pods have said anything"
    trouble = said[behind[0]].trouble
    why = f" ({trouble.message})" if trouble else ""
    return False, f"edge pod {behind[0]}{why}" + (f" and {len(behind) - 1} more" if len(behind) > 1 else "")


def _pods(deployment: LiveObject | None) -> int:
    return int(deployment.status.get("replicas") or 0) if deployment else 0


def slot_facts(
    observed: Observed,
    campaign: Campaign,
    service: Service,
    state: ReleaseState,
    phase: Phase,
    *,
    wanted: str | None,
    followed: tuple[bool, str],
    now: datetime,
) -> Facts:
    """Gather what the release of one service is decided from."""
    size = size_of(service, phase)
    old = observed.children.get(_deployment(observed, child_name(observed.name, service.name)))
    schedule = campaign.spec.schedule
    return Facts(
        spec=service.release,
        wanted=wanted,
        slots={slot: _slot(observed, service.name, slot) for slot in SLOTS},
        least=size.floor,
        running=not phase.zero and size.replicas != 0,
        releasing=not phase.capped,
        followed=followed[0],
        lag=followed[1],
        results={**_results(observed, state), **job_results(observed, state, service.release, now)},
        hindrance=job_hindrance(observed, state, service.release, now),
        annotations=observed.metadata.get("annotations") or {},
        known=_known(observed, state),
        zone=schedule.time_zone if schedule else "UTC",
        drained=frozenset(each.slot for each in observed.findings.drained if _is_placed(each, state)),
        resumed=any(_is_placed(each, state) for each in observed.findings.resumed),
        standing_in=_facts_of(old, "") if old is not None and not old.deleting else None,
        reachable=not is_probed(campaign, service) or _has_answered(observed, state),
    )


def is_probed(campaign: Campaign, service: Service) -> bool:
    """Whether the address of a slot has to answer before anything comes to it by that: people, or gates."""
    return campaign.spec.edge is None or asks_address(service.release.before)


def unready_slots(observed: Observed, state: ReleaseState) -> frozenset[str]:
    """Name the slots, as `<service>/<slot>`, whose pods may tell why a release does not get on."""
    asked = []
    if state.preview:
        slot = _slot(observed, state.service, state.preview.slot)
        asked += [state.preview.slot] if slot.ready < max(1, slot.desired) else []
    if state.previous and state.active:
        slot = _slot(observed, state.service, state.active.slot)
        asked += [state.active.slot] if slot.ready < slot.desired else []
    return frozenset(f"{state.service}/{slot}" for slot in asked)


def _deployment(observed: Observed, name: str) -> ObjectKey:
    return ObjectKey("apps", "Deployment", observed.namespace, name)


def _slot(observed: Observed, service: str, slot: str) -> SlotFacts:
    live = observed.children.get(_deployment(observed, slot_name(observed.name, service, slot)))
    trouble = observed.troubles.get(f"{service}/{slot}")
    return _facts_of(live, trouble.message if trouble else "")


def _facts_of(live: LiveObject | None, trouble: str) -> SlotFacts:
    if live is None or live.deleting:
        return SlotFacts()
    status = live.status
    desired = live.replicas if live.replicas is not None else 1
    total, updated = int(status.get("replicas") or 0), int(status.get("updatedReplicas") or 0)
    seen = int(status.get("observedGeneration") or 0) >= live.generation
    return SlotFacts(
        revision=live.revision,
        desired=desired,
        ready=int(status.get("availableReplicas") or 0),
        settled=seen and total == updated,
        trouble=trouble,
    )


def _results(observed: Observed, state: ReleaseState) -> Mapping[tuple[str, str, int], Measurement]:
    current = state.preview or state.active
    return {
        (look.stage, look.gate, look.measured): found
        for look, found in observed.findings.measurements.items()
        if look.service == state.service
        and look.number == state.number
        and current is not None
        and look.revision == current.revision
    }


def _known(observed: Observed, state: ReleaseState) -> frozenset[str]:
    return frozenset(
        each.revision
        for each in state.history
        if ObjectKey("", "ConfigMap", observed.namespace, record_name(observed.name, state.service, each.revision))
        in observed.children
    )


def _is_placed(pods: Pods, state: ReleaseState) -> bool:
    places = (state.active, state.preview, state.previous, state.failed)
    return pods.service == state.service and any(
        each is not None and (each.slot, each.revision) == (pods.slot, pods.revision) for each in places
    )


def _has_answered(observed: Observed, state: ReleaseState) -> bool:
    preview = state.preview
    return preview is not None and Pods(state.service, preview.slot, preview.revision) in observed.findings.reachable
