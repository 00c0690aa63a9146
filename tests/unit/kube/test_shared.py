"""What several Campaigns own together: what is kept of it in memory, and when it may be written."""

from typing import Any

import pytest

from flywheel.kube.applier import SharedClaim, Standing, standing
from flywheel.kube.drift import is_in_place, stamped
from flywheel.kube.live import live_object
from flywheel.plan import HASH_ANNOTATION, Manifest

CLAIM = SharedClaim("analytics", tuple({"kind": "Campaign", "name": uid, "uid": uid} for uid in ("a", "b")))


def stored(kind: str = "ConfigMap", *, owners: Any = (), labels: Any = None, **fields: Any) -> Manifest:
    metadata = {
        "name": "flywheel-analytics",
        "namespace": "shop",
        "uid": "w1",
        "resourceVersion": "7",
        "labels": {"flywheel.dev/shared": "analytics"} if labels is None else labels,
        "ownerReferences": list(owners),
    }
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata, **fields}


def owner(uid: str, **fields: Any) -> Manifest:
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "name": uid, "uid": uid, **fields}


@pytest.mark.parametrize(
    ("manifest", "expected"),
    [
        (stored(owners=[owner("a")]), Standing.OURS),
        (stored(), Standing.OURS),
        (stored(labels={}), Standing.FOREIGN),
        (stored(labels={"flywheel.dev/shared": "fraud"}), Standing.FOREIGN),
        (stored(owners=[owner("x", controller=True)]), Standing.FOREIGN),
    ],
)
def test_only_what_is_labelled_as_shared_and_controlled_by_nobody_is_written(
    manifest: Manifest, expected: Standing
) -> None:
    assert standing(live_object(manifest), CLAIM) is expected


@pytest.mark.parametrize(
    ("owners", "expected"),
    [
        ([owner("a"), owner("b")], True),
        ([owner("b"), owner("a"), owner("somebody else")], True),
        ([owner("a")], False),
        ([], False),
        ([owner("a"), owner("b", controller=True)], False),
    ],
)
def test_it_is_in_place_when_every_sharer_owns_it(owners: Any, expected: bool) -> None:
    wanted = stamped(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "flywheel-analytics", "ownerReferences": list(CLAIM.references)},
        }
    )
    manifest = stored(owners=owners)
    manifest["metadata"]["annotations"] = dict(wanted["metadata"]["annotations"])
    fields = {"f:metadata": {"f:annotations": {f"f:{HASH_ANNOTATION}": {}}}}
    manifest["metadata"]["managedFields"] = [{"manager": "flywheel", "operation": "Apply", "fieldsV1": fields}]
    assert is_in_place(wanted, live_object(manifest)) is expected


def test_owners_that_do_not_control_are_kept_apart() -> None:
    live = live_object(stored(owners=[owner("a"), owner("x", controller=True), owner("b")]))
    assert (live.owner_uid, live.sharers, live.shared) == ("x", ("a", "b"), "analytics")


def test_of_config_maps_only_those_that_are_a_status_keep_their_data() -> None:
    applied = {"flywheel.dev/applied": "edge", "flywheel.dev/campaign": "spring"}
    assert live_object(stored(labels=applied, data={"pod": "{}"})).status == {"data": {"pod": "{}"}}
    assert live_object(stored(labels=applied)).status == {"data": {}}
    assert live_object(stored(data={"campaigns.json": "{}"})).status == {}


def test_of_a_stateful_set_its_counts_and_what_was_chosen_of_its_volume_are_kept() -> None:
    claim = {
        "metadata": {"name": "data"},
        "spec": {
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "fast",
            "volumeMode": "Filesystem",
        },
    }
    spec = {"replicas": 1, "volumeClaimTemplates": [claim]}
    live = live_object(stored("StatefulSet", spec=spec, status={"readyReplicas": 1, "currentRevision": "x"}))
    assert live.status == {"readyReplicas": 1, "volumeClaims": ({"name": "data", "size": "10Gi", "class": "fast"},)}
