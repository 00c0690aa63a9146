"""Trimming a full object to the little that decisions need, as many thousands are held in memory."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from flywheel.plan import (
    APPLIED_LABEL,
    CAMPAIGN_LABEL,
    FIELD_MANAGER,
    HASH_ANNOTATION,
    REVISION_LABEL,
    SHARED_LABEL,
    SLOT_LABEL,
    LiveObject,
    Manifest,
    ObjectKey,
)

_COUNTS = (
    "observedGeneration",
    "replicas",
    "readyReplicas",
    "updatedReplicas",
    "availableReplicas",
    "unavailableReplicas",
    "currentReplicas",
    "desiredReplicas",
    "currentHealthy",
    "desiredHealthy",
    "disruptionsAllowed",
    "active",
    "succeeded",
    "failed",
)
_CONDITION_FIELDS = ("type", "status", "reason", "message", "observedGeneration")
_LONGEST_ERROR = 1000
_SHAPES: dict[str, str] = {}
_MOST_SHAPES = 4096


def live_object(manifest: Manifest) -> LiveObject:
    """Trim an object as the API server gave it. Nothing of `manifest` is held afterwards but a few short strings."""
    metadata = manifest["metadata"]
    labels = metadata.get("labels") or {}
    annotations = metadata.get("annotations") or {}
    key = ObjectKey.of(manifest)
    return LiveObject(
        key=ObjectKey(sys.intern(key.group), sys.intern(key.kind), sys.intern(key.namespace), key.name),
        uid=metadata["uid"],
        resource_version=int(metadata["resourceVersion"]),
        generation=int(metadata.get("generation") or 0),
        campaign=sys.intern(labels.get(CAMPAIGN_LABEL, "")),
        owner_uid=sys.intern(_controller_uid(metadata)),
        applied_hash=annotations.get(HASH_ANNOTATION, ""),
        owned_fields=_intern(_owned_fields(metadata)),
        deleting=bool(metadata.get("deletionTimestamp")),
        finalizers=tuple(sys.intern(finalizer) for finalizer in metadata.get("finalizers") or ()),
        replicas=(manifest.get("spec") or {}).get("replicas"),
        status=_status(manifest, labels),
        slot=sys.intern(labels.get(SLOT_LABEL, "")),
        revision=sys.intern(labels.get(REVISION_LABEL, "")),
        shared=sys.intern(labels.get(SHARED_LABEL, "")),
        sharers=_sharers(metadata),
    )


def _controller_uid(metadata: Mapping[str, Any]) -> str:
    for owner in metadata.get("ownerReferences") or ():
        if owner.get("controller"):
            return str(owner["uid"])
    return ""


def _sharers(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    owners = metadata.get("ownerReferences") or ()
    return tuple(sys.intern(str(owner["uid"])) for owner in owners if not owner.get("controller"))


def _owned_fields(metadata: Mapping[str, Any]) -> str:
    for entry in metadata.get("managedFields") or ():
        ours = entry.get("manager") == FIELD_MANAGER and entry.get("operation") == "Apply"
        if ours and not entry.get("subresource"):
            return json.dumps(_without_owners(entry.get("fieldsV1") or {}), sort_keys=True, separators=(",", ":"))
    return ""


def _without_owners(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Leave out the owner references: their uids would make each object's set unlike any other, and none be shared."""
    metadata = {name: value for name, value in fields.get("f:metadata", {}).items() if name != "f:ownerReferences"}
    return {**fields, "f:metadata": metadata}


def _intern(text: str) -> str:
    """Share equal texts: the objects of one shape have the same field set. Forgets all when there are too many."""
    if len(_SHAPES) >= _MOST_SHAPES:
        _SHAPES.clear()
    return _SHAPES.setdefault(text, text)


def _status(manifest: Manifest, labels: Mapping[str, str]) -> Mapping[str, Any]:
    if manifest["kind"] == "ConfigMap":
        # What other ConfigMaps hold is large, and is our own anyway.
        return {"data": dict(manifest.get("data") or {})} if APPLIED_LABEL in labels else {}
    trimmed = _trim_status(manifest.get("status") or {})
    if manifest["kind"] == "FlinkDeployment":
        return {**trimmed, **_job(manifest.get("status") or {})}
    claims = (manifest.get("spec") or {}).get("volumeClaimTemplates")
    return {**trimmed, "volumeClaims": tuple(_claim(each) for each in claims)} if claims else trimmed


def _job(status: Mapping[str, Any]) -> dict[str, str]:
    """What the Flink Kubernetes operator says of a job."""
    told = {
        "jobState": (status.get("jobStatus") or {}).get("state"),
        "lifecycleState": status.get("lifecycleState"),
        "reconciled": (status.get("reconciliationStatus") or {}).get("state"),
    }
    error = str(status.get("error") or "")[:_LONGEST_ERROR]
    return {name: _intern(str(value)) for name, value in told.items() if value} | ({"error": error} if error else {})


def _claim(template: Manifest) -> dict[str, str]:
    """What of a StatefulSet's volume claims somebody chose: Kubernetes never lets it be changed."""
    spec = template["spec"]
    size = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "")
    return {"name": template["metadata"]["name"], "size": str(size), "class": spec.get("storageClassName") or ""}


def _trim_status(status: Mapping[str, Any]) -> Mapping[str, Any]:
    trimmed: dict[str, Any] = {name: status[name] for name in _COUNTS if status.get(name) is not None}
    if status.get("conditions"):
        trimmed["conditions"] = _trim_conditions(status["conditions"])
    if status.get("parents"):
        trimmed["parents"] = tuple(
            {"parentRef": parent.get("parentRef") or {}, "conditions": _trim_conditions(parent.get("conditions") or ())}
            for parent in status["parents"]
        )
    return trimmed


def _trim_conditions(conditions: Any) -> tuple[dict[str, Any], ...]:
    return tuple(
        {
            name: _intern(condition[name]) if isinstance(condition[name], str) else condition[name]
            for name in _CONDITION_FIELDS
            if name in condition
        }
        for condition in conditions
    )
