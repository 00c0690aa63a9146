"""How Deployments of slots make room: a new revision does not wait until the pods before it have ended. Pure.

A rolling update within a slot would bring the pods of the new revision a few at a time, though no visitor is there; and
a Deployment that is deleted with its pods first keeps its name for as long as they take to drain. Services select pods
by revision, so the pods of both may stand side by side.
"""

from collections.abc import Iterable, Mapping

from flywheel.campaign.observed import Observed
from flywheel.plan import REVISION_LABEL, Deletion, LiveObject, Manifest, ObjectKey
from flywheel.release.naming import slot_name
from flywheel.release.state import ReleaseState


def removal(live: LiveObject) -> Deletion:
    """Delete what is no longer wanted; the name of a slot is free at once."""
    return Deletion(live.key, live.uid, "Background" if _is_slot(live) else "Foreground")


def replaced(
    observed: Observed, states: Mapping[str, ReleaseState], wanted: Iterable[Manifest]
) -> tuple[Deletion, ...]:
    """Give the Deployments that hold another revision than their slot shall, where no visitor is."""
    serving = {
        ObjectKey("apps", "Deployment", observed.namespace, slot_name(observed.name, name, state.active.slot))
        for name, state in states.items()
        if state.active
    }
    found = []
    for manifest in wanted:
        key = ObjectKey.of(manifest)
        live = observed.children.get(key)
        if live is None or live.deleting or key in serving or not _is_slot(live):
            continue
        if live.revision != manifest["metadata"]["labels"].get(REVISION_LABEL):
            found.append(removal(live))
    return tuple(found)


def _is_slot(live: LiveObject) -> bool:
    return live.key.kind == "Deployment" and bool(live.slot)
