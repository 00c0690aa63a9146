"""Does the cluster still hold what we applied? Answered from what the server says we own, without comparing values.

The API server keeps, for each field manager, the set of fields it applied (`metadata.managedFields`, FieldsV1). When
anybody else changes one of our fields, the field leaves our set. So an object is as we left it when the hash that we
stored on it is the hash of what we want and every field that we want is still ours. Values need no comparison, and
the server's defaults and spellings ("1000m" for "1") cannot look like drift.
Source: kubernetes.io, "Server-Side Apply", and sigs.k8s.io/structured-merge-diff, fieldpath serialisation.
"""

import json
from collections.abc import Mapping
from typing import Any

from flywheel.plan import HASH_ANNOTATION, LiveObject, Manifest, content_hash

FieldSet = Mapping[str, Any]
"""A FieldsV1 tree: `f:<name>` for a field, `k:<keys>` for a list item by its keys, `v:<value>` for an item of a set."""

UNTRACKED = ("apiVersion", "kind")
UNTRACKED_METADATA = ("name", "namespace", "ownerReferences")
"""Not in the set at all, or, as for owner references, kept as `LiveObject.owner_uid` and `sharers`."""


def stamped(manifest: Manifest) -> Manifest:
    """Return `manifest` with the hash of its content in an annotation."""
    metadata = dict(manifest["metadata"])
    metadata["annotations"] = {**metadata.get("annotations", {}), HASH_ANNOTATION: content_hash(manifest)}
    return {**manifest, "metadata": metadata}


def is_in_place(stamped_manifest: Manifest, live: LiveObject) -> bool:
    """Tell whether applying `stamped_manifest` over `live` would change nothing."""
    wanted = stamped_manifest["metadata"]["annotations"][HASH_ANNOTATION]
    if live.deleting or live.applied_hash != wanted or not live.owned_fields:
        return False
    references = stamped_manifest["metadata"].get("ownerReferences", [])
    controllers = {each["uid"] for each in references if each.get("controller")}
    sharers = {each["uid"] for each in references if not each.get("controller")}
    if not (controllers <= {live.owner_uid} and sharers <= set(live.sharers)):
        return False
    return owns_all(json.loads(live.owned_fields), stamped_manifest)


def owns_all(owned: FieldSet, manifest: Manifest) -> bool:
    """Tell whether every field that `manifest` names is in the set of fields that are `owned`."""
    body = {name: value for name, value in manifest.items() if name not in UNTRACKED}
    body["metadata"] = {name: value for name, value in body["metadata"].items() if name not in UNTRACKED_METADATA}
    return _owns(owned, body)


def owns_path(owned_fields: str, *path: str) -> bool:
    """Tell whether the field at `path` (field names only) is in the set, given as JSON text."""
    at: Any = json.loads(owned_fields) if owned_fields else {}
    for name in path:
        if f"f:{name}" not in at:
            return False
        at = at[f"f:{name}"]
    return True


def _owns(owned: FieldSet, value: object) -> bool:
    if not owned:
        # A leaf of the tree: a scalar, or a map or list that its schema declares atomic.
        return True
    if isinstance(value, Mapping):
        return all(f"f:{name}" in owned and _owns(owned[f"f:{name}"], each) for name, each in value.items())
    if isinstance(value, list):
        return all(_owns_item(owned, item) for item in value)
    return True


def _owns_item(owned: FieldSet, item: object) -> bool:
    if not isinstance(item, Mapping):
        return f"v:{json.dumps(item, separators=(',', ':'))}" in owned
    return any(
        _has_keys(item, json.loads(entry[2:])) and _owns(fields, item)
        for entry, fields in owned.items()
        if entry.startswith("k:")
    )


def _has_keys(item: Mapping[str, Any], keys: Mapping[str, Any]) -> bool:
    """A key that the item leaves out stands for its default, such as the protocol of a port."""
    return all(item.get(name, value) == value for name, value in keys.items())


def ports_alone(manifest: Manifest) -> Manifest:
    """Return the strategic merge patch that replaces the lists of ports of `manifest` as a whole; empty for none.

    The number of a port is its key. Changed by hand, it makes a new port that is not ours beside our old one, and as
    both have the same name, the server refuses every apply of ours from then on.
    """
    spec = manifest.get("spec", {})
    patch: Manifest = {}
    if "ports" in spec:
        patch["ports"] = [_REPLACE, *spec["ports"]]
    pod = spec.get("template", {}).get("spec", {})
    containers = [
        {"name": each["name"], "ports": [_REPLACE, *each["ports"]]}
        for each in pod.get("containers", [])
        if each.get("ports")
    ]
    if containers:
        patch["template"] = {"spec": {"containers": containers}}
    return {"spec": patch} if patch else {}


_REPLACE = {"$patch": "replace"}
