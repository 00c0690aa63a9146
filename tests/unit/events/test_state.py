"""What is told of the worker on a Campaign: how it is doing, and where the two do not agree."""

from dataclasses import replace
from typing import Any

import pytest
from tests.unit.events.shared_world import NAMESPACE, Namespace, campaign

from flywheel.events.sharedplan import stateful_set_key
from flywheel.events.state import analytics_state, store_conflict
from flywheel.events.volumeclaim import amount

KEY = stateful_set_key(NAMESPACE)


def store(**fields: Any) -> dict[str, Any]:
    return {"analytics": {"store": fields}}


def live(**changes: Any) -> Any:
    namespace = Namespace(campaign("spring"))
    namespace.settle()
    worker = replace(namespace.live[KEY], **changes)
    return {**namespace.live, KEY: worker}


def serving(generation: int, *, ready: int = 1, updated: int = 1) -> dict[str, Any]:
    return {"observedGeneration": generation, "readyReplicas": ready, "updatedReplicas": updated}


@pytest.mark.parametrize(
    ("objects", "trouble", "ready", "reason"),
    [
        ({}, "", False, "Creating"),
        (live(generation=3), "", False, "Starting"),
        (live(generation=3, status=serving(2)), "", False, "Starting"),
        (live(generation=3, status=serving(3, updated=0)), "", False, "Starting"),
        (live(generation=3, status=serving(3, ready=0)), "", False, "Starting"),
        (live(generation=3, status=serving(3)), "", True, "Serving"),
        (live(generation=3, status=serving(3), deleting=True), "", False, "Replacing"),
        (live(generation=3, status=serving(3)), "no room", False, "WorkerTrouble"),
    ],
)
def test_it_is_judged_by_its_stateful_set(objects: Any, trouble: str, ready: bool, reason: str) -> None:
    state = analytics_state(objects, trouble)
    assert (state.ready, state.reason) == (ready, reason)
    assert state.message


@pytest.mark.parametrize(
    ("first", "second", "fields"),
    [
        ({}, {}, None),
        (store(size="5Gi"), {}, None),
        (store(size="10Gi"), store(size="10240Mi"), None),
        ({}, store(size="10Gi"), None),
        ({}, store(size="5Gi"), ["size"]),
        (store(image="a"), store(image="b", storageClassName="fast"), ["image", "storageClassName"]),
        (store(clickhouse={"url": "https://c.example"}), store(size="5Gi"), ["size"]),
        (store(size="much"), store(size="5Gi"), None),
        (store(size="5Gi"), store(size="much"), None),
    ],
)
def test_the_newer_of_two_is_told_what_it_cannot_have(first: Any, second: Any, fields: list[str] | None) -> None:
    old, new = campaign("z-old", age=1, **first), campaign("a-new", **second)
    assert store_conflict(old, [old, new]) is None
    told = store_conflict(new, [new, old])
    assert (told is None) == (fields is None)
    if told is not None:
        assert "z-old" in told
        assert all(field in told for field in fields or ())


def test_one_that_goes_or_has_no_edge_decides_nothing() -> None:
    going, plain = campaign("going", age=2, **store(size="1Gi")), campaign("plain", age=3, measured=False)
    going["metadata"]["deletionTimestamp"] = "2027-06-17T00:00:00Z"
    new = campaign("new", **store(size="5Gi"))
    assert store_conflict(new, [going, plain, new]) is None
    assert store_conflict(plain, [going, plain, new]) is None


@pytest.mark.parametrize(
    ("quantity", "value"),
    [
        ("10Gi", 10 << 30),
        ("10240Mi", 10 << 30),
        ("1e3", 1000),
        ("5E", 5 * 10**18),
        ("2Ei", 2 << 60),
        ("7", 7),
        (".5Ki", 512),
    ],
)
def test_quantities_are_compared_as_numbers(quantity: str, value: int) -> None:
    assert amount(quantity) == value


@pytest.mark.parametrize("quantity", ["", "Gi", "ten", "10gi", "-1"])
def test_what_is_no_quantity_is_refused(quantity: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        amount(quantity)
