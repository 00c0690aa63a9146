"""The children of a released service: two slots, and what belongs to the service whichever of them serves. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.api.service import Service
from flywheel.plan import SLOT_LABEL, Manifest, ObjectKey
from flywheel.release.facts import Facts, full_size, preview_size
from flywheel.release.naming import revision_labels, revision_selector, slot_name, slot_selector
from flywheel.release.revision import Revision
from flywheel.release.state import SLOTS, ReleaseState, Slot
from flywheel.workload.manifests import (
    deployment,
    disruption_budget,
    kubernetes_service,
    own_account,
    scaler,
    service_metadata,
)
from flywheel.workload.naming import selector
from flywheel.workload.provider import Provider
from flywheel.workload.scaling import Size

NOBODY = "none"
"""Revision of a slot that is empty: its Service selects no pod."""


@dataclass(frozen=True, slots=True)
class SlotPlan:
    """What one slot shall hold."""

    revision: str
    replicas: int | None
    """None: the autoscaler decides."""


@dataclass(frozen=True, slots=True)
class Children:
    """The children of a released service."""

    apply: tuple[Manifest, ...]
    keep: tuple[ObjectKey, ...]
    """What stays as it is, since the revision that made it can no longer be read."""


def slot_plans(state: ReleaseState, facts: Facts, size: Size) -> dict[Slot, SlotPlan]:
    """Say what each slot shall hold, and how many pods of it."""
    active = state.active
    if active is None:
        return {}
    plans: dict[Slot, SlotPlan] = {active.slot: SlotPlan(active.revision, _active_replicas(state, facts, size))}
    if size.replicas == 0:
        return plans
    full = full_size(state, facts)
    if state.preview:
        grown = state.phase == "Promoting"
        plans[state.preview.slot] = SlotPlan(state.preview.revision, full if grown else preview_size(facts, full))
    elif state.previous:
        # As large as what serves now: a way back that would first have to grow is none in a flood.
        there = facts.slot(state.previous.slot).desired
        plans[state.previous.slot] = SlotPlan(state.previous.revision, max(there, full))
    elif state.failed:
        there = facts.slot(state.failed.slot).desired
        kept = preview_size(facts, full) if state.failed.until else max(there, 1)
        plans[state.failed.slot] = SlotPlan(state.failed.revision, kept)
    return plans


def _active_replicas(state: ReleaseState, facts: Facts, size: Size) -> int | None:
    if state.phase == "Adopting" and facts.standing_in and size.replicas != 0:
        return max(facts.standing_in.desired, facts.least)
    return size.replicas


def slot_children(
    campaign: str,
    namespace: str,
    service: Service,
    state: ReleaseState,
    facts: Facts,
    size: Size,
    revisions: Mapping[str, Revision],
    provider: Provider,
) -> Children:
    """Build every child of a released service but its records and copies, in the order in which they are created."""
    metadata = service_metadata(campaign, namespace, service.name)
    plans = slot_plans(state, facts, size)
    made: list[Manifest | None] = [_account(campaign, namespace, service, plans, revisions)]
    keep: list[ObjectKey] = []
    serving = revisions.get(state.active.revision) if state.active else None
    services = [
        _slot_service(campaign, service.name, metadata, slot, plans.get(slot), revisions, serving) for slot in SLOTS
    ]
    services.append(_entrance(campaign, service.name, metadata, state, serving))
    for manifest, key in services:
        made.append(manifest)
        keep += [] if manifest else [key]
    for slot, plan in plans.items():
        own = _slot_metadata(campaign, service.name, metadata, slot, plan.revision)
        revision = revisions.get(plan.revision)
        select = slot_selector(campaign, service.name, slot)
        made.append(disruption_budget(service, {**own, "labels": metadata["labels"]}, select))
        if revision is None:
            keep.append(ObjectKey("apps", "Deployment", namespace, own["name"]))
        else:
            template = _labelled(revision, slot)
            made.append(deployment(own, select, template, plan.replicas))
    made.append(scaler(campaign, service, size, metadata, provider, _scaled(campaign, service.name, state)))
    return Children(tuple(each for each in made if each), tuple(keep))


def _scaled(campaign: str, service: str, state: ReleaseState) -> str:
    adopting = state.phase == "Adopting" or state.active is None
    return "" if adopting or state.active is None else slot_name(campaign, service, state.active.slot)


def _slot_metadata(campaign: str, service: str, metadata: Manifest, slot: str, revision: str) -> Manifest:
    labels = {**metadata["labels"], **revision_labels(slot, revision)}
    return {"name": slot_name(campaign, service, slot), "namespace": metadata["namespace"], "labels": labels}


def _slot_service(
    campaign: str,
    service: str,
    metadata: Manifest,
    slot: Slot,
    plan: SlotPlan | None,
    revisions: Mapping[str, Revision],
    serving: Revision | None,
) -> tuple[Manifest | None, ObjectKey]:
    """The address of a slot. It is there whether or not the slot is in use, so that the edge always knows it."""
    own = {**metadata, "name": slot_name(campaign, service, slot)}
    own["labels"] = {**metadata["labels"], SLOT_LABEL: slot}
    revision = (revisions.get(plan.revision) if plan else None) or serving
    select = revision_selector(campaign, service, slot, plan.revision if plan else NOBODY)
    manifest = kubernetes_service(own, select, revision.ports) if revision else None
    return manifest, ObjectKey("", "Service", metadata["namespace"], own["name"])


def _entrance(
    campaign: str, service: str, metadata: Manifest, state: ReleaseState, serving: Revision | None
) -> tuple[Manifest | None, ObjectKey]:
    """The address of the service: it leads to the active revision alone."""
    key = ObjectKey("", "Service", metadata["namespace"], metadata["name"])
    if serving is None or state.active is None:
        return None, key
    select = revision_selector(campaign, service, state.active.slot, state.active.revision)
    own = {**metadata, "labels": {**metadata["labels"], **revision_labels(state.active.slot, state.active.revision)}}
    if state.phase == "Adopting":
        select, own = selector(campaign, service), metadata
    return kubernetes_service(own, select, serving.ports), key


def _labelled(revision: Revision, slot: str) -> Manifest:
    template = revision.template
    labels = {**template["metadata"]["labels"], **revision.labels(slot)}
    return {**template, "metadata": {**template["metadata"], "labels": labels}}


def _account(
    campaign: str, namespace: str, service: Service, plans: Mapping[Slot, SlotPlan], revisions: Mapping[str, Revision]
) -> Manifest | None:
    """The service's own ServiceAccount, as long as a slot runs under it."""
    own = own_account(campaign, namespace, service)
    placed = [revisions[plan.revision] for plan in plans.values() if plan.revision in revisions]
    used = {each.template["spec"].get("serviceAccountName") for each in placed}
    return own if not service.service_account_name or own["metadata"]["name"] in used else None
