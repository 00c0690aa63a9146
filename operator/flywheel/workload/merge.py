"""Strategic merge of a pod template over another, as `kubectl patch --type strategic` does it.

Maps merge key by key, null removes a key, a list that Kubernetes gives a merge key merges item by item, any other
list is replaced, and `$patch: delete` or `$patch: replace` in an item or map means what it means to kubectl.
Source: kubernetes.io, "Update API Objects in Place Using kubectl patch", and the patchMergeKey tags of the core API.
"""

from collections.abc import Mapping
from typing import Any, Final

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "initContainers": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "env": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name",
    "schedulingGates": "name",
}
"""Names of the lists in a pod template that merge, each with the field that tells its items apart."""

DIRECTIVE: Final = "$patch"


def strategic_merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `patch` merged over it. Neither is changed; the parts that are kept are shared, not copied."""
    if patch.get(DIRECTIVE) == "replace":
        return _plain(patch)
    merged = dict(base)
    for name, value in patch.items():
        if name == DIRECTIVE:
            continue
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_value(name, merged.get(name), value)
    return merged


def _merge_value(name: str, base: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        return strategic_merge(base if isinstance(base, Mapping) else {}, value)
    key = MERGE_KEYS.get(name)
    if isinstance(value, list) and key and _all_keyed(value, key):
        return _merge_items(base if isinstance(base, list) else [], value, key)
    return value


def _all_keyed(items: list[Any], key: str) -> bool:
    return all(isinstance(item, Mapping) and (key in item or DIRECTIVE in item) for item in items)


def _merge_items(base: list[Any], patches: list[Mapping[str, Any]], key: str) -> list[Any]:
    """Items that both know keep their place; those that only the patch knows stand before them, as with kubectl."""
    if any(patch.get(DIRECTIVE) == "replace" and key not in patch for patch in patches):
        return [_plain(patch) for patch in patches if key in patch]
    merged = list(base)
    added = []
    for patch in patches:
        at = next((i for i, item in enumerate(merged) if _same(item, patch, key)), None)
        if patch.get(DIRECTIVE) == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            added.append(_plain(patch))
        else:
            merged[at] = strategic_merge(merged[at], patch)
    return added + merged


def _same(item: Any, patch: Mapping[str, Any], key: str) -> bool:
    return isinstance(item, Mapping) and key in patch and item.get(key) == patch[key]


def _plain(patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a patch as a value of its own: without directives and without the nulls that only remove."""
    return strategic_merge({}, {name: value for name, value in patch.items() if name != DIRECTIVE})
