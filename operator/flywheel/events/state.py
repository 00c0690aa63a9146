"""How a namespace's analytics worker is doing, and whether a Campaign agrees with it. For conditions and people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from flywheel.api.analytics import Store
from flywheel.api.model import Model
from flywheel.events.naming import WORKER
from flywheel.events.sharing import first, has_edge, read_store
from flywheel.events.volumeclaim import DEFAULT_SIZE, amount
from flywheel.plan import LiveObject, Manifest, ObjectKey

NAMED = {"storage_class_name": "storageClassName"}


@dataclass(frozen=True, slots=True)
class AnalyticsState:
    """What a person wants to know of the worker."""

    ready: bool
    reason: str
    message: str


def analytics_state(live: Mapping[ObjectKey, LiveObject], trouble: str = "") -> AnalyticsState:
    """Judge the worker by its objects.

    Args:
        live: What the Campaigns of the namespace share.
        trouble: Why it is not as it should be, as far as the objects do not tell.
    """
    worker = next((each for key, each in live.items() if key.kind == "StatefulSet"), None)
    if trouble:
        return AnalyticsState(False, "WorkerTrouble", trouble)
    if worker is None:
        return AnalyticsState(False, "Creating", f"the event store {WORKER} is being created")
    if worker.deleting:
        return AnalyticsState(
            False, "Replacing", f"the event store {WORKER} is being made anew; edges hold events back"
        )
    if is_serving(worker):
        return AnalyticsState(True, "Serving", f"the event store {WORKER} takes in events")
    return AnalyticsState(False, "Starting", f"the event store {WORKER} is not ready; edges hold events back")


def is_serving(worker: LiveObject) -> bool:
    """Tell whether the newest form of the worker is at work."""
    status = worker.status
    newest = int(status.get("observedGeneration") or 0) >= worker.generation
    updated = int(status.get("updatedReplicas") or 0)
    return newest and updated >= 1 and int(status.get("readyReplicas") or 0) >= 1


def store_conflict(campaign: Manifest, campaigns: Iterable[Manifest]) -> str | None:
    """Tell what a Campaign asks of the store that another one, which was there first, does not have so.

    Args:
        campaign: The Campaign.
        campaigns: All Campaigns of its namespace.
    """
    deciding = first(campaigns)
    if deciding is None or not has_edge(campaign) or _uid(deciding) == _uid(campaign):
        return None
    asked, holding = read_store(campaign), read_store(deciding)
    if asked is None or holding is None:
        return None
    fields = sorted(_contradictions(asked, holding))
    if not fields:
        return None
    return (
        f"spec.analytics.store: {', '.join(fields)} differ from those of the Campaign {deciding['metadata']['name']}, "
        "which was there first; the store is shared by all Campaigns of the namespace and follows that one: use the "
        "same, take them out, or move to a namespace of its own"
    )


def _contradictions(asked: Store, holding: Store) -> Iterable[str]:
    """Whoever leaves a field out takes what there is."""
    for name in asked.model_fields_set:
        if getattr(asked, name) is not None and _plain(asked, name) != _plain(holding, name):
            yield NAMED.get(name, name)


def _plain(store: Store, name: str) -> object:
    value = getattr(store, name)
    if name == "size":
        return amount(str(value or DEFAULT_SIZE))
    return value.model_dump() if isinstance(value, Model) else value


def _uid(manifest: Manifest) -> str:
    return str(manifest["metadata"]["uid"])
