"""The inventory: the address of every object that a Campaign made or is about to make, kept on its status.

It is written before the objects are, so that whatever happens in between, the next operator knows where to look.
"""

from collections.abc import Iterable, Mapping

from flywheel.campaign.observed import Observed
from flywheel.plan import LiveObject, Manifest, ObjectKey

CREATION_ORDER = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "Service",
    "PodDisruptionBudget",
    "Deployment",
    "HorizontalPodAutoscaler",
    "HTTPRoute",
)


def recorded(observed: Observed) -> tuple[ObjectKey, ...]:
    """Read the inventory off the status; entries that are not addresses are passed over."""
    inventory = observed.status.get("inventory")
    entries = inventory.get("entries") if isinstance(inventory, Mapping) else None
    fields = ("group", "kind", "namespace", "name")
    return tuple(
        ObjectKey(*(str(entry.get(each, "")) for each in fields))
        for entry in (entries if isinstance(entries, list) else [])
        if isinstance(entry, Mapping) and entry.get("kind") and entry.get("name")
    )


def in_creation_order(keys: Iterable[ObjectKey]) -> tuple[ObjectKey, ...]:
    """Sort so that what others need comes first; teardown goes the other way."""

    def position(key: ObjectKey) -> tuple[int, ObjectKey]:
        known = CREATION_ORDER.index(key.kind) if key.kind in CREATION_ORDER else len(CREATION_ORDER)
        return known, key

    return tuple(sorted(set(keys), key=position))


def entries(keys: Iterable[ObjectKey]) -> list[Manifest]:
    """Write addresses for the status."""
    return [key._asdict() for key in keys]


def owned(observed: Observed) -> dict[ObjectKey, LiveObject]:
    """Return the children that are this Campaign's, or nobody's: not those of an older one of the same name."""
    return {key: live for key, live in observed.children.items() if live.owner_uid in ("", observed.uid)}
