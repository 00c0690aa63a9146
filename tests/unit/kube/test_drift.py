"""Drift told from managed fields: what a server would answer, and what becomes of it when hands are laid on it."""

import copy
import json
from dataclasses import replace
from typing import Any

from flywheel.kube.drift import is_in_place, owns_path, stamped
from flywheel.plan import HASH_ANNOTATION, LiveObject, Manifest, ObjectKey

OWNER = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "name": "c", "uid": "u1", "controller": True}
DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"a": "b"}, "ownerReferences": [OWNER]},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": {"a": "b"}},
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "web",
                        "image": "web:1",
                        "args": ["x"],
                        "ports": [{"containerPort": 8080}],
                        "resources": {"requests": {"cpu": "1000m"}},
                    }
                ],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            }
        },
    },
}
# As the API server writes it for the manifest above: the selector and args are atomic, the port's key has the default.
OWNED: dict[str, Any] = {
    "f:metadata": {"f:labels": {"f:a": {}}, "f:annotations": {f"f:{HASH_ANNOTATION}": {}}},
    "f:spec": {
        "f:replicas": {},
        "f:selector": {},
        "f:template": {
            "f:spec": {
                "f:containers": {
                    'k:{"name":"web"}': {
                        ".": {},
                        "f:name": {},
                        "f:image": {},
                        "f:args": {},
                        "f:ports": {
                            'k:{"containerPort":8080,"protocol":"TCP"}': {".": {}, "f:containerPort": {}},
                        },
                        "f:resources": {"f:requests": {"f:cpu": {}}},
                    }
                },
                "f:volumes": {'k:{"name":"tmp"}': {".": {}, "f:name": {}, "f:emptyDir": {}}},
            }
        },
    },
}


def live(owned: dict[str, Any], **changes: Any) -> LiveObject:
    wanted = stamped(DEPLOYMENT)
    made = LiveObject(
        key=ObjectKey.of(DEPLOYMENT),
        uid="d1",
        resource_version=1,
        generation=1,
        campaign="c",
        owner_uid="u1",
        applied_hash=wanted["metadata"]["annotations"][HASH_ANNOTATION],
        owned_fields=json.dumps(owned),
        deleting=False,
    )
    return replace(made, **changes)


def without(*path: str) -> dict[str, Any]:
    """Take a path out of the set; like the server, leave no branch that holds nothing."""
    owned = copy.deepcopy(OWNED)
    branches = [owned]
    for name in path[:-1]:
        branches.append(branches[-1][name])
    for branch, name in reversed(list(zip(branches, path, strict=True))):
        if name == path[-1] or not branch[name]:
            del branch[name]
    return owned


def test_what_we_applied_and_nobody_touched_is_in_place() -> None:
    assert is_in_place(stamped(DEPLOYMENT), live(OWNED))


def test_another_wish_is_not_in_place() -> None:
    changed = copy.deepcopy(DEPLOYMENT)
    changed["spec"]["replicas"] = 3
    assert not is_in_place(stamped(changed), live(OWNED))


def test_any_field_that_another_took_over_is_drift() -> None:
    container = ("f:spec", "f:template", "f:spec", "f:containers", 'k:{"name":"web"}')
    for taken in (
        ("f:spec", "f:replicas"),
        ("f:spec", "f:selector"),
        ("f:metadata", "f:labels"),
        (*container, "f:image"),
        (*container, "f:args"),
        (*container, "f:ports", 'k:{"containerPort":8080,"protocol":"TCP"}'),
        (*container, "f:resources", "f:requests", "f:cpu"),
        container,
        ("f:spec", "f:template", "f:spec", "f:volumes", 'k:{"name":"tmp"}'),
    ):
        assert not is_in_place(stamped(DEPLOYMENT), live(without(*taken))), taken


def test_fields_of_others_do_not_matter() -> None:
    more = copy.deepcopy(OWNED)
    more["f:spec"]["f:paused"] = {}
    assert is_in_place(stamped(DEPLOYMENT), live(more))


def test_a_lost_owner_a_lost_record_and_a_dying_object_are_drift() -> None:
    assert not is_in_place(stamped(DEPLOYMENT), live(OWNED, owner_uid=""))
    assert not is_in_place(stamped(DEPLOYMENT), live(OWNED, owned_fields=""))
    assert not is_in_place(stamped(DEPLOYMENT), live(OWNED, deleting=True))


def test_one_path_can_be_asked_for() -> None:
    assert owns_path(json.dumps(OWNED), "spec", "replicas")
    assert not owns_path(json.dumps(without("f:spec", "f:replicas")), "spec", "replicas")
    assert not owns_path("", "spec", "replicas")
