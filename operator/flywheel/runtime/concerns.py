"""Which parts of an object concern which others, and what of the objects in the store is new or over. All pure."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flywheel.plan import LiveObject, Manifest


def is_newer(new: Mapping[str, str], held: Mapping[str, str]) -> bool:
    """Compare the metadata of two states of an object, or of an object and its successor."""
    # Versions grow over all objects of a cluster, so that a successor of the same name is newer too.
    return int(new["resourceVersion"]) > int(held["resourceVersion"])


def vanished(
    held: Iterable[Manifest], namespace: str | None, uids: frozenset[str], resource_version: int
) -> Iterator[dict[str, Any]]:
    """Give the metadata of objects that a complete list of a namespace does not show, but for those newer than it."""
    for each in tuple(held):
        metadata = each["metadata"]
        covered = namespace in (None, metadata["namespace"])
        if covered and metadata["uid"] not in uids and int(metadata["resourceVersion"]) <= resource_version:
            yield metadata


def trimmed(manifest: Manifest) -> Manifest:
    """Copy an object without what no decision needs. The parts that are kept are shared, not copied."""
    metadata = {name: value for name, value in manifest["metadata"].items() if name != "managedFields"}
    return {**manifest, "metadata": metadata}


def orders(manifest: Manifest) -> object:
    """What of an object is somebody's wish; its status changes all the time."""
    metadata = manifest["metadata"]
    return metadata["uid"], metadata.get("generation"), metadata.get("deletionTimestamp")


def for_tests(campaign: Manifest) -> object:
    """What of a campaign concerns its A/B tests."""
    status = campaign.get("status") or {}
    return orders(campaign), status.get("stage"), status.get("winners")


def for_fraud_rules(campaign: Manifest) -> object:
    """What of a campaign concerns the rules on fraud and their worker."""
    return orders(campaign), campaign["metadata"].get("labels"), (campaign.get("status") or {}).get("stage")


def campaign_of(test: Manifest) -> str:
    """Give the name of the campaign that an A/B test is of; "" where it says none."""
    return str((test.get("spec") or {}).get("campaign") or "")


def for_campaign(test: Manifest) -> object:
    """What of an A/B test can change what its campaign runs: the spec, what a person asked, where the test stands."""
    record = (test.get("status") or {}).get("record") or {}
    stands = {name: record.get(name) for name in ("state", "withdrawn", "salt", "segments", "stretches", "decision")}
    return orders(test), campaign_of(test), test["metadata"].get("annotations"), stands


def for_sharing(live: LiveObject) -> object:
    """What of a shared object can change what is told on campaigns."""
    return live.uid, live.generation, live.deleting, live.status


def is_stalled(campaign: Manifest) -> bool:
    """Tell whether a campaign waits for a person."""
    conditions = (campaign.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Stalled" and each.get("status") == "True" for each in conditions)
