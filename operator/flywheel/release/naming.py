"""Names and labels of what a release makes."""

from flywheel.plan import CAMPAIGN_LABEL, REVISION_LABEL, SERVICE_LABEL, SLOT_LABEL
from flywheel.workload.naming import child_name

LONGEST_NAME = 253
KEPT_LABEL = "flywheel.dev/kept"
"""On copies and records; its value says of what."""


def slot_name(campaign: str, service: str, slot: str) -> str:
    """Name the Deployment, Service and budget of one slot."""
    return f"{child_name(campaign, service)}-{slot}"


def record_name(campaign: str, service: str, revision: str) -> str:
    """Name the record of a revision."""
    return f"{child_name(campaign, service)}-{revision}"


def copy_name(campaign: str, service: str, of: str, digest: str) -> str:
    """Name the copy of a ConfigMap or Secret."""
    stem = f"{child_name(campaign, service)}-{of}"
    return f"{stem[: LONGEST_NAME - len(digest) - 1].rstrip('-.')}-{digest}"


def gate_name(campaign: str, service: str, gate: str, number: int, measured: int) -> str:
    """Name the Job of one measurement of a gate; together with the counters at most 63 characters of it count."""
    stem = f"{child_name(campaign, service)}-{gate}"
    tail = f"-{number}-{measured}"
    return f"{stem[: 63 - len(tail)].rstrip('-')}{tail}"


def evidence_name(campaign: str, service: str, gate: str) -> str:
    """Name the ConfigMap with what a gate has seen."""
    return f"{child_name(campaign, service)}-{gate}-evidence"


def revision_labels(slot: str, revision: str) -> dict[str, str]:
    """Return the labels by which the pods of one slot and revision are known."""
    return {SLOT_LABEL: slot, REVISION_LABEL: revision}


def slot_selector(campaign: str, service: str, slot: str) -> dict[str, str]:
    """Return the labels that select the pods of a slot, whatever their revision."""
    return {CAMPAIGN_LABEL: campaign, SERVICE_LABEL: service, SLOT_LABEL: slot}


def revision_selector(campaign: str, service: str, slot: str, revision: str) -> dict[str, str]:
    """Return the labels that select the pods of one revision in a slot."""
    return {**slot_selector(campaign, service, slot), REVISION_LABEL: revision}
