"""The volume of the analytics worker, and whether it can stay: Kubernetes never lets a StatefulSet's claims change."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from flywheel.api.analytics import Store
from flywheel.api.quantities import QUANTITY_PATTERN
from flywheel.events.naming import WORKER
from flywheel.plan import ObjectKey

DEFAULT_SIZE = "10Gi"
CLAIM = "data"
_UNITS = {
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
    **{
        unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)
    },
}


@dataclass(frozen=True, slots=True)
class VolumeClaim:
    """What can be chosen of the volume."""

    size: str
    storage_class: str = ""
    """Empty for the cluster's own default."""

    def differs_from(self, other: "VolumeClaim") -> bool:
        """Tell whether the one cannot stand for the other; 1Gi and 1024Mi are the same size."""
        return self.storage_class != other.storage_class or amount(self.size) != amount(other.size)


def wanted_claim(store: Store) -> VolumeClaim | None:
    """Read the volume off the spec; None where the events are kept in a ClickHouse elsewhere."""
    if store.clickhouse is not None:
        return None
    return VolumeClaim(str(store.size or DEFAULT_SIZE), store.storage_class_name or "")


def held_claim(claims: Sequence[Mapping[str, str]]) -> VolumeClaim | None:
    """Read the volume off a StatefulSet's status as it is kept in memory; None where it has none."""
    found = next((each for each in claims if each["name"] == CLAIM), None)
    return VolumeClaim(found["size"], found["class"]) if found else None


def is_other(wanted: VolumeClaim | None, held: VolumeClaim | None) -> bool:
    """Tell whether a StatefulSet with the one claim cannot become one with the other."""
    if wanted is None or held is None:
        return wanted is not held
    return wanted.differs_from(held)


def claim_key(namespace: str) -> ObjectKey:
    """Return the address of the volume's claim, which Kubernetes names after the StatefulSet's only pod."""
    return ObjectKey("", "PersistentVolumeClaim", namespace, f"{CLAIM}-{WORKER}-0")


def amount(quantity: str) -> Decimal:
    """Read a Kubernetes quantity as a number.

    Raises:
        ValueError: It is not a quantity.
    """
    found = re.fullmatch(QUANTITY_PATTERN, quantity)
    if not found:
        raise ValueError(f"not a quantity: {quantity[:40]!r}")
    number, suffix, exponent = found[1], found[3] or "", found[5]
    return Decimal(number + exponent) if exponent else Decimal(number) * _UNITS[suffix]
