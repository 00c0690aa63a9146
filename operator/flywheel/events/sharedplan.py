"""What shall become of a namespace's analytics worker. Pure: from the Campaigns and what there is of it, no more."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flywheel.api.analytics import Store
from flywheel.events.manifests import (
    access_manifests,
    disruption_budget,
    network_manifests,
    settings_manifest,
    settings_text,
    stateful_set,
)
from flywheel.events.naming import WORKER
from flywheel.events.owners import deletions, owner_reference
from flywheel.events.sharing import Read, Sharer, sharers
from flywheel.events.volumeclaim import VolumeClaim, held_claim, is_other, wanted_claim
from flywheel.insight.scraping import worker_monitor_manifest
from flywheel.plan import Deletion, LiveObject, Manifest, ObjectKey

KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "NetworkPolicy",
    "Service",
    "PodDisruptionBudget",
    "PodMonitor",
    "StatefulSet",
)
"""In the order of creation."""

Held = Mapping[str, Manifest]
"""The settings as the worker's ConfigMap has them, by the name of the Campaign."""


@dataclass(frozen=True, slots=True)
class Replacement:
    """The worker has to be made anew, as Kubernetes does not let its volume claims be changed."""

    old: Deletion
    claim: VolumeClaim | None
    meanwhile: Manifest
    """What stays for as long as the volume cannot follow."""


@dataclass(frozen=True, slots=True)
class SharedPlan:
    """What to do next, in this order."""

    delete: tuple[Deletion, ...] = ()
    apply: tuple[Manifest, ...] = ()
    references: tuple[Manifest, ...] = ()
    """Owner references of everything that is applied: one for each Campaign that shares it."""
    adopt: tuple[ObjectKey, ...] = ()
    """What stays as it is, but for its owner references."""
    replace: Replacement | None = None
    trouble: str = ""
    """What a person has to do something about."""
    asks_held: bool = False
    """The settings as they are must be known: they go on holding for a Campaign whose spec cannot be followed."""


def plan_worker(
    namespace: str,
    campaigns: Sequence[Manifest],
    live: Mapping[ObjectKey, LiveObject],
    image: str,
    read: Read,
    held: Held | None = None,
    *,
    monitored: bool = False,
    operator: str = "",
) -> SharedPlan:
    """Decide the next step for the worker of one namespace.

    Campaigns that are being deleted keep the worker, but nothing is made or healed for them alone: whoever deletes in
    the foreground would have Kubernetes delete it again and again.
    """
    sharing = sharers(campaigns, read)
    staying = [each for each in sharing if not each.deleting]
    if not sharing:
        return SharedPlan(delete=deletions([each["metadata"]["uid"] for each in campaigns], live, KINDS))
    if not staying:
        return SharedPlan()
    if held is None and any(each.settings is None for each in sharing):
        return SharedPlan(asks_held=True)
    text, left_out = settings_text(_entries(sharing, held or {}))
    apply = [
        *access_manifests(namespace),
        settings_manifest(namespace, text),
        *network_manifests(namespace, operator),
        disruption_budget(namespace),
        *([worker_monitor_manifest(namespace, staying[0].monitor_labels)] if monitored else []),
    ]
    references = tuple(owner_reference(each.name, each.uid) for each in staying)
    trouble = (
        f"there is no room for the settings of {', '.join(left_out[:3])}: delete old Campaigns" if left_out else ""
    )
    store = staying[0].store
    if store is None:
        # What runs is left as it is until the spec makes sense.
        unread = f"spec.analytics.store of the Campaign {staying[0].name} cannot be read: correct it"
        adopt = (stateful_set_key(namespace),)
        return SharedPlan(apply=tuple(apply), references=references, adopt=adopt, trouble=trouble or unread)
    worker, replace = _worker(namespace, store, image, live.get(stateful_set_key(namespace)), operator)
    return SharedPlan(apply=(*apply, worker), references=references, replace=replace, trouble=trouble)


def stateful_set_key(namespace: str) -> ObjectKey:
    """Return the address of the worker itself."""
    return ObjectKey("apps", "StatefulSet", namespace, WORKER)


def settings_key(namespace: str) -> ObjectKey:
    """Return the address of its settings."""
    return ObjectKey("", "ConfigMap", namespace, WORKER)


def newcomers(plan: SharedPlan, live: Mapping[ObjectKey, LiveObject]) -> tuple[str, ...]:
    """Name the Campaigns of `plan` that something that exists does not refer to yet, or any more."""
    staying = [set(shared.sharers) for shared in live.values() if not shared.deleting]
    known = set.intersection(*staying) if staying else {each["uid"] for each in plan.references}
    return tuple(each["name"] for each in plan.references if each["uid"] not in known)


def _entries(sharing: Iterable[Sharer], held: Held) -> Iterable[tuple[str, Manifest]]:
    """The newest first: where there is no room for all, the oldest are the likeliest to be over."""
    for each in reversed(tuple(sharing)):
        last = held.get(each.name)
        if each.settings is not None:
            yield each.name, each.settings
        elif last is not None and last.get("uid") == each.uid:
            yield each.name, last


def _worker(
    namespace: str, store: Store, image: str, live: LiveObject | None, operator: str
) -> tuple[Manifest, Replacement | None]:
    claim = wanted_claim(store)
    wanted = stateful_set(namespace, store, image, claim, operator)
    if live is None or live.deleting:
        return wanted, None
    held = held_claim(live.status.get("volumeClaims", ()))
    if not is_other(claim, held):
        # In its own words, as Kubernetes compares text in what cannot be changed.
        return stateful_set(namespace, store, image, held, operator), None
    meanwhile = stateful_set(namespace, store, image, held, operator)
    return wanted, Replacement(Deletion(live.key, live.uid), claim, meanwhile)
