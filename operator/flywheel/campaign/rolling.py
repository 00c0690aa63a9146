"""The children of a service that is changed in place; also one that had slots before, or has content. Pure."""

from flywheel.api.campaign import Campaign
from flywheel.api.service import Service
from flywheel.campaign.content import commit_of, standing_children, waits_for_content
from flywheel.campaign.observed import Observed
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.release.content.parts import parts_of
from flywheel.release.naming import slot_name
from flywheel.release.state import SLOTS
from flywheel.workload.manifests import service_manifests
from flywheel.workload.naming import child_name
from flywheel.workload.scaling import Phase


def rolling_children(
    observed: Observed, campaign: Campaign, service: Service, phase: Phase
) -> tuple[list[Manifest], list[ObjectKey]]:
    """Build the children of a service, and name those of its slots that stay until its own pods serve."""
    if waits_for_content(observed, service):
        return [], standing_children(observed, campaign.name, service.name)
    parts = parts_of(service, commit_of(observed, service), observed.images.content)
    made = service_manifests(campaign.name, campaign.namespace, service, phase, observed.provider, parts)
    slots = _standing_slots(observed, service.name)
    if not slots or phase.zero:
        return made, []
    size = max((live.replicas or 0) for live in slots)
    own = observed.children.get(_deployment(observed, child_name(observed.name, service.name)))
    if own is not None and _serves(own, size):
        return made, []
    names = [slot_name(observed.name, service.name, slot) for slot in SLOTS]
    keep = [_deployment(observed, name) for name in names]
    keep += [ObjectKey("", "Service", observed.namespace, name) for name in names]
    return [_sized(each, size) for each in made], keep


def _deployment(observed: Observed, name: str) -> ObjectKey:
    return ObjectKey("apps", "Deployment", observed.namespace, name)


def _standing_slots(observed: Observed, service: str) -> list[LiveObject]:
    keys = [_deployment(observed, slot_name(observed.name, service, slot)) for slot in SLOTS]
    return [live for key in keys if (live := observed.children.get(key)) is not None and not live.deleting]


def _serves(live: LiveObject, pods: int) -> bool:
    seen = int(live.status.get("observedGeneration") or 0) >= live.generation
    return seen and int(live.status.get("availableReplicas") or 0) >= pods


def _sized(manifest: Manifest, replicas: int) -> Manifest:
    """Name the size while slots stand in: an autoscaler would begin with one pod."""
    if manifest["kind"] != "Deployment":
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": max(replicas, manifest["spec"].get("replicas") or 0)}}
