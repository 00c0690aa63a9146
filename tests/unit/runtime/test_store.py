"""The store: never older than what was seen, whoever tells it and in whatever order."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from tests.patience import PATIENCE

from flywheel.kube.resources import DEPLOYMENT, SERVICE
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.runtime.store import FRAUD, MOST_TOMBSTONES, SHARED, Owner, Store
from flywheel.runtime.store import test_key as key_of_test

SPRING: Owner = ("shop", "spring")


@pytest.fixture
def told() -> list[Owner]:
    return []


@pytest.fixture
def store(told: list[Owner]) -> Store:
    return Store(told.append)


def campaign(version: int, uid: str = "c1") -> Manifest:
    metadata = {"namespace": "shop", "name": "spring", "uid": uid, "resourceVersion": str(version), "managedFields": []}
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": {"v": version}}


def child(version: int, uid: str = "d1", owner: str = "spring", name: str = "spring-web") -> LiveObject:
    return LiveObject(
        key=ObjectKey("apps", "Deployment", "shop", name),
        uid=uid,
        resource_version=version,
        generation=1,
        campaign=owner,
        owner_uid="c1",
        applied_hash="",
        owned_fields="",
        deleting=False,
    )


def test_a_campaign_is_kept_without_its_managed_fields(store: Store, told: list[Owner]) -> None:
    given = campaign(1)
    store.put_campaign(given)
    held = store.campaign(*SPRING)
    assert held is not None
    assert "managedFields" not in held["metadata"]
    assert "managedFields" in given["metadata"]
    assert told == [SPRING]


def test_an_older_campaign_is_ignored(store: Store, told: list[Owner]) -> None:
    store.put_campaign(campaign(10))
    store.put_campaign(campaign(9))
    store.put_campaign(campaign(10))
    assert (store.campaign(*SPRING) or {})["spec"] == {"v": 10}
    assert told == [SPRING]


def test_versions_are_numbers_and_not_text(store: Store) -> None:
    store.put_campaign(campaign(99))
    store.put_campaign(campaign(100))
    assert (store.campaign(*SPRING) or {})["spec"] == {"v": 100}


def test_a_deleted_campaign_does_not_come_back_by_a_late_word(store: Store) -> None:
    store.put_campaign(campaign(10))
    store.remove_campaign(*SPRING, "c1")
    store.put_campaign(campaign(11))
    assert store.campaign(*SPRING) is None
    store.put_campaign(campaign(12, uid="c2"))
    assert store.campaign(*SPRING) is not None


def test_a_campaign_that_lost_its_last_finalizer_is_gone(store: Store) -> None:
    store.put_campaign(campaign(10))
    freed = campaign(11)
    freed["metadata"]["deletionTimestamp"] = "2027-06-16T00:00:00Z"
    held = campaign(11)
    held["metadata"] |= {"deletionTimestamp": "2027-06-16T00:00:00Z", "finalizers": ["somebody.example/keeps-it"]}
    store.put_campaign(held)
    assert store.campaign(*SPRING) is not None
    freed["metadata"]["resourceVersion"] = "12"
    store.put_campaign(freed)
    assert store.campaign(*SPRING) is None


def test_a_late_word_of_the_end_of_a_predecessor_removes_nothing(store: Store) -> None:
    store.put_campaign(campaign(10, uid="c2"))
    store.remove_campaign(*SPRING, "c1")
    assert store.campaign(*SPRING) is not None


def test_an_answer_to_a_write_is_not_undone_by_the_watch(store: Store, told: list[Owner]) -> None:
    store.put(child(20))
    store.put(child(19))
    store.put(child(20))
    assert store.children(*SPRING)[child(20).key].resource_version == 20
    assert told == [SPRING]


def test_a_deleted_child_does_not_come_back(store: Store, told: list[Owner]) -> None:
    store.put(child(20))
    store.remove(child(20).key, "d1")
    store.put(child(21))
    assert store.children(*SPRING) == {}
    assert store.child_count() == 0
    assert told == [SPRING, SPRING]


def test_the_end_of_a_predecessor_does_not_remove_its_successor(store: Store) -> None:
    store.put(child(20, uid="d2"))
    store.remove(child(20).key, "d1")
    assert len(store.children(*SPRING)) == 1


def test_a_child_that_lost_its_label_is_told_to_the_one_who_lost_it(store: Store, told: list[Owner]) -> None:
    store.put(child(20))
    store.put(child(21, owner=""))
    assert store.children(*SPRING) == {}
    assert told == [SPRING, SPRING]


def test_a_child_that_changed_its_label_is_told_to_both(store: Store, told: list[Owner]) -> None:
    store.put(child(20))
    store.put(child(21, owner="autumn"))
    assert store.children(*SPRING) == {}
    assert len(store.children("shop", "autumn")) == 1
    assert told == [SPRING, SPRING, ("shop", "autumn")]


def test_a_child_without_a_label_is_nobodys(store: Store, told: list[Owner]) -> None:
    store.put(child(20, owner=""))
    assert store.child_count() == 0
    assert told == []


def test_children_whose_campaign_is_gone_are_still_somebodys(store: Store) -> None:
    store.put(child(20))
    store.put_campaign(campaign(1))
    store.remove_campaign(*SPRING, "c1")
    assert store.owners() == {SPRING}


def test_what_a_complete_list_lacks_is_gone_unless_it_is_newer(store: Store) -> None:
    store.put(child(10, uid="gone", name="gone"))
    store.put(child(10, uid="there", name="there"))
    store.put(child(31, uid="newer", name="newer"))
    other = replace(child(10, uid="other"), key=ObjectKey("", "Service", "shop", "other"))
    store.put(other)
    elsewhere = replace(child(10, uid="elsewhere"), key=ObjectKey("apps", "Deployment", "stage", "elsewhere"))
    store.put(elsewhere)
    store.retain(DEPLOYMENT, "shop", frozenset({"there"}), 30)
    assert {key.name for key in store.children(*SPRING)} == {"there", "newer", "other"}
    assert len(store.children("stage", "spring")) == 1
    store.retain(DEPLOYMENT, None, frozenset(), 40)
    assert {key.name for key in store.children(*SPRING)} == {"other"}
    assert store.children("stage", "spring") == {}
    store.retain(SERVICE, None, frozenset(), 40)
    assert store.owners() == set()


def test_the_memory_of_what_is_gone_is_bounded(store: Store) -> None:
    for number in range(MOST_TOMBSTONES + 10):
        store.remove(child(1).key, f"uid-{number}")
    store.put(child(20, uid="uid-5"))
    assert store.child_count() == 1


async def test_synced_only_when_every_source_has_listed(store: Store) -> None:
    store.expect("deployments")
    store.expect("services")
    waiting = asyncio.create_task(store.wait_synced())
    store.complete("deployments")
    await asyncio.sleep(0)
    assert not store.synced
    assert not waiting.done()
    assert store.waiting_for == ("services",)
    store.complete("services")
    await asyncio.wait_for(waiting, PATIENCE)
    assert store.synced


def sharing(name: str, version: int, uid: str = "", generation: int = 1) -> Manifest:
    metadata = {
        "namespace": "shop",
        "name": name,
        "uid": uid or f"uid-of-{name}",
        "resourceVersion": str(version),
        "generation": generation,
    }
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": {"edge": {}}}


def shared(version: int, **changes: Any) -> LiveObject:
    key = ObjectKey("apps", "StatefulSet", "shop", "flywheel-analytics")
    return replace(child(version, uid="w1", owner=""), key=key, shared="analytics", **changes)


def test_edges_hear_how_many_workers_judge_their_events(store: Store, told: list[Owner]) -> None:
    store.put_campaign(sharing("spring", 1))
    key = ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud")
    worker = replace(child(10, uid="f1", owner=""), key=key, shared="fraud", replicas=1)
    store.put(worker)
    told.clear()
    store.put(replace(worker, resource_version=11, status={"readyReplicas": 1}))
    assert told == [("shop", FRAUD)]
    store.put(replace(worker, resource_version=12, replicas=2))
    assert told[1:] == [("shop", FRAUD), SPRING]


def test_what_campaigns_share_has_a_key_of_its_own(store: Store, told: list[Owner]) -> None:
    store.put(shared(10))
    assert store.shared("shop") == {shared(10).key: shared(10)}
    assert store.shared("stage") == {}
    assert told == [("shop", SHARED)]
    assert store.owners() == {("shop", SHARED)}
    store.remove(shared(10).key, "w1")
    assert store.shared("shop") == {}


def test_a_campaign_that_shares_tells_of_itself_when_its_orders_change(store: Store, told: list[Owner]) -> None:
    store.put_campaign(sharing("spring", 1))
    assert told == [SPRING, ("shop", SHARED)]
    assert store.owners() == {SPRING, ("shop", SHARED)}
    told.clear()
    # Its status was written.
    store.put_campaign(sharing("spring", 2))
    assert told == [SPRING]
    store.put_campaign(sharing("spring", 3, generation=2))
    store.put_campaign({**sharing("spring", 4, generation=3), "spec": {}})
    store.remove_campaign(*SPRING, "uid-of-spring")
    assert told.count(("shop", SHARED)) == 2, "the last time it did not share any more"


def test_a_campaign_without_an_edge_concerns_what_is_there(store: Store, told: list[Owner]) -> None:
    store.put_campaign(campaign(1))
    assert told == [SPRING]
    store.put(shared(10))
    told.clear()
    store.remove_campaign(*SPRING, "c1")
    assert told == [SPRING, ("shop", SHARED)]


def test_those_who_share_hear_how_it_is_doing(store: Store, told: list[Owner]) -> None:
    store.put_campaign(sharing("spring", 1))
    store.put_campaign(sharing("autumn", 2))
    store.put_campaign({**campaign(3, uid="c3"), "metadata": {**campaign(3)["metadata"], "name": "plain"}})
    for live in (shared(10), shared(11, status={"readyReplicas": 1}), shared(12, generation=2)):
        told.clear()
        store.put(live)
        assert sorted(told) == [("shop", SHARED), ("shop", "autumn"), SPRING]
    told.clear()
    # Only its owners have changed.
    store.put(shared(13, generation=2, sharers=("a",)))
    assert told == [("shop", SHARED)]
    told.clear()
    store.remove(shared(13).key, "w1")
    assert sorted(told) == [("shop", SHARED), ("shop", "autumn"), SPRING]


def test_a_trouble_with_it_is_told_once(store: Store, told: list[Owner]) -> None:
    store.put_campaign(sharing("spring", 1))
    told.clear()
    store.put_shared_trouble("shop", "no room")
    store.put_shared_trouble("shop", "no room")
    assert (store.shared_trouble("shop"), store.shared_trouble("stage")) == ("no room", "")
    assert told == [SPRING]
    store.put_shared_trouble("shop", "")
    assert store.shared_trouble("shop") == ""
    assert told == [SPRING, SPRING]


def test_the_campaigns_of_a_namespace(store: Store) -> None:
    store.put_campaign(sharing("spring", 1))
    elsewhere = sharing("spring", 2, uid="other")
    elsewhere["metadata"]["namespace"] = "stage"
    store.put_campaign(elsewhere)
    assert [each["metadata"]["uid"] for each in store.campaigns_in("shop")] == ["uid-of-spring"]


BUTTON: Owner = ("shop", key_of_test("button"))


def abtest(version: int, record: Manifest | None = None, uid: str = "t1", of: str = "spring") -> Manifest:
    metadata = {"namespace": "shop", "name": "button", "uid": uid, "resourceVersion": str(version), "generation": 1}
    status = {"record": record or {}, "updatedAt": str(version)}
    return {"kind": "ABTest", "metadata": metadata, "spec": {"campaign": of}, "status": status}


def test_a_campaign_hears_of_its_tests_when_that_changes_what_runs(store: Store, told: list[Owner]) -> None:
    store.put_campaign(campaign(1))
    told.clear()
    store.put_test(abtest(1))
    assert told == [BUTTON, SPRING]
    told.clear()
    store.put_test(abtest(2))
    assert told == [BUTTON], "a look alone changes nothing that runs"
    told.clear()
    store.put_test(abtest(3, {"state": "Running"}))
    assert told == [BUTTON, SPRING]
    told.clear()
    asked = abtest(4, {"state": "Running"})
    asked["metadata"]["annotations"] = {"flywheel.dev/promote": ""}
    store.put_test(asked)
    assert told == [BUTTON, SPRING]
    assert [each["metadata"]["resourceVersion"] for each in store.tests_of(*SPRING)] == ["4"]
    told.clear()
    store.put_test(abtest(3))
    assert told == [], "an older state"
    store.remove_test("shop", "button", "t1")
    assert told == [BUTTON, SPRING]
    assert store.tests_of(*SPRING) == ()
    store.put_test(abtest(5))
    assert store.test("shop", "button") is None, "what is gone does not come back"


def test_tests_hear_of_their_campaign(store: Store, told: list[Owner]) -> None:
    store.put_test(abtest(1))
    told.clear()
    store.put_campaign(campaign(1))
    assert BUTTON in told
    told.clear()
    store.put_campaign({**campaign(2), "status": {"stage": "Live"}})
    assert BUTTON in told
    told.clear()
    store.put_campaign({**campaign(3), "status": {"stage": "Live", "kpis": {}}})
    assert BUTTON not in told
    store.remove_campaign("shop", "spring", "c1")
    assert BUTTON in told
    assert BUTTON in store.owners()
    assert store.knows(BUTTON)


def test_a_test_that_is_made_anew_for_another_campaign_moves(store: Store, told: list[Owner]) -> None:
    store.put_test(abtest(1))
    store.remove_test("shop", "button", "t1")
    store.put_test(abtest(2, uid="t2", of="summer"))
    assert store.tests_of(*SPRING) == ()
    assert [each["metadata"]["uid"] for each in store.tests_of("shop", "summer")] == ["t2"]
    store.retain_tests(None, frozenset(), 9)
    assert store.tests() == ()
