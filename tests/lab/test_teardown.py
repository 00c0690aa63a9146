"""Removing a Campaign from a real cluster: everything goes, what holds it up is named, and nobody is locked in."""

from datetime import datetime
from pathlib import Path

import pytest
from tests.lab.conftest import operated
from tests.lab.objects import Manifest
from tests.lab.steps import (
    CART,
    SECKILL,
    Sale,
    World,
    always,
    eventually,
    given_campaign,
    given_live_campaign,
    in_seconds,
    live_schedule,
    then_it_is_gone,
)

FINALIZER = "flywheel.dev/teardown"
HELD = "example.com/backup"


def config_map(name: str, sale: Sale, *finalizers: str) -> Manifest:
    metadata = {"name": name, "labels": {"flywheel.dev/campaign": sale.name}, "finalizers": list(finalizers)}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


@pytest.fixture(scope="module", autouse=True)
def patient(world: World) -> Sale:
    """A Campaign whose deletion a stray of its label holds up: it has a minute while the other tests run."""
    sale = given_live_campaign(world, CART, name="patient")
    world.made.remove(sale)
    world.objects.create(config_map("patient-stray", sale))
    sale.delete()
    return sale


def test_kubectl_delete_removes_everything_and_then_lets_the_campaign_go(world: World) -> None:
    sale = given_live_campaign(world, SECKILL, CART)
    assert sale.manifest["metadata"]["finalizers"] == [FINALIZER]
    uid = sale.uid
    with world.objects.watching("Campaign", sale.name) as seen:
        world.kubectl("delete", "campaign", sale.name, "--timeout=40s")
    assert not sale.exists
    assert sale.left() == []
    # The last thing that was seen with the finalizer says that everything is gone.
    events = [each for each in world.objects.select("Event") if each["regarding"].get("uid") == uid]
    assert next(each["note"] for each in events if each["reason"] == "Removed").startswith("everything is removed")
    assert seen[-1].type == "DELETED"


@pytest.mark.parametrize("cascade", ["foreground", "background"])
def test_every_way_of_cascading_ends_with_nothing_left(world: World, cascade: str) -> None:
    sale = given_live_campaign(world, SECKILL, CART)
    world.kubectl("delete", "cmp", sale.name, f"--cascade={cascade}", "--timeout=40s")
    assert not sale.exists
    eventually(sale.left, [])


def test_a_campaign_is_deleted_before_it_began_and_after_it_was_suspended(world: World) -> None:
    sleeping = given_campaign(world, schedule={"startsAt": "2099-01-01T00:00:00Z"})
    suspended = given_live_campaign(world, SECKILL, schedule=live_schedule(suspend=True))
    eventually(lambda: sleeping.stage, "Scheduled")
    for sale in (sleeping, suspended):
        sale.delete()
    for sale in (sleeping, suspended):
        then_it_is_gone(sale)
        assert sale.children() == {}


def test_a_child_that_a_finalizer_holds_blocks_the_teardown_by_name(world: World) -> None:
    sale = given_live_campaign(world, CART)
    world.objects.patch("Service", f"{sale.name}-cart", {"metadata": {"finalizers": [HELD]}})
    sale.delete()
    eventually(lambda: sale.said("TeardownBlocked"), ("True", "ObjectsRemain"))
    message = sale.condition("TeardownBlocked")["message"]
    assert f"{sale.name}-cart" in message
    assert HELD in message
    assert sale.said("Stalled")[0] == "True"
    eventually(lambda: set(sale.children()), {("Service", f"{sale.name}-cart")})

    world.objects.patch("Service", f"{sale.name}-cart", {"metadata": {"finalizers": None}})
    then_it_is_gone(sale)
    assert sale.left() == []


def test_the_end_of_its_time_is_blocked_and_goes_on_in_the_same_way(world: World) -> None:
    schedule = live_schedule(endsAt=in_seconds(3), drainFor="1s")
    sale = given_live_campaign(world, CART, schedule=schedule)
    # Not one of the operator's children, but with its label: nothing may be called retired while it is there.
    world.objects.create(config_map(f"{sale.name}-stray", sale, HELD))
    world.objects.delete("ConfigMap", f"{sale.name}-stray")
    eventually(lambda: sale.said("TeardownBlocked"), ("True", "ObjectsRemain"))
    message = sale.condition("TeardownBlocked")["message"]
    assert f"configmaps/{sale.name}-stray" in message
    assert HELD in message
    assert sale.stage == "Draining"
    assert "Retired" not in sale.stages_passed

    world.objects.patch("ConfigMap", f"{sale.name}-stray", {"metadata": {"finalizers": None}})
    eventually(lambda: sale.stage, "Retired")
    assert sale.condition("TeardownBlocked") == {}
    eventually(lambda: sale.said("Ready"), ("True", "Retired"))


@pytest.mark.parametrize("way", ["deletionPolicy: Orphan", "--cascade=orphan", "--cascade=orphan, operator away"])
def test_orphans_stay_as_they_are_and_belong_to_nobody(world: World, way: str) -> None:
    policy = {"deletionPolicy": "Orphan"} if way.startswith("deletionPolicy") else {}
    sale = given_live_campaign(world, SECKILL, **policy)
    before = sale.children()
    if way.endswith("away"):
        world.operator.kill()
    sale.delete("Background" if policy else "Orphan")
    if way.endswith("away"):
        # Kubernetes takes the owner references off by itself, and only our own finalizer is left.
        eventually(lambda: sale.manifest["metadata"]["finalizers"], [FINALIZER])
        world.operator.start()
    then_it_is_gone(sale)

    def still_there() -> bool:
        return sale.children().keys() == before.keys()

    always(still_there, bool, during=3)
    for key, each in sale.children().items():
        assert each["metadata"]["uid"] == before[key]["metadata"]["uid"]
        assert "ownerReferences" not in each["metadata"]
        assert "deletionTimestamp" not in each["metadata"]
        world.objects.delete(key[0], key[1])


def test_a_campaign_with_a_spec_that_makes_no_sense_can_be_deleted(world: World) -> None:
    sale = given_live_campaign(world, CART, schedule=live_schedule())
    sale.reschedule(timeZone="Asia/Peking")
    eventually(lambda: sale.said("Stalled"), ("True", "InvalidSpec"))
    assert sale.has("Deployment", "cart")
    sale.delete()
    then_it_is_gone(sale)
    assert sale.left() == []


def test_a_finalizer_of_somebody_else_on_the_campaign_is_waited_for(world: World) -> None:
    sale = given_live_campaign(world, CART)
    world.objects.patch("Campaign", sale.name, {"metadata": {"finalizers": [FINALIZER, HELD]}})
    sale.delete()
    eventually(lambda: sale.manifest["metadata"]["finalizers"], [HELD])
    assert sale.children() == {}
    always(lambda: sale.children(), lambda children: children == {}, during=2)
    world.objects.patch("Campaign", sale.name, {"metadata": {"finalizers": None}})
    then_it_is_gone(sale)


def test_a_campaign_that_is_made_again_at_once_gets_children_of_its_own(world: World) -> None:
    sale = given_live_campaign(world, SECKILL, CART, name="twice")
    before = {each["metadata"]["uid"] for each in sale.children().values()}
    # The finalizer is taken off by hand, as the documentation says for the time after the operator is gone.
    sale.delete()
    world.objects.patch("Campaign", sale.name, {"metadata": {"finalizers": None}})
    then_it_is_gone(sale)
    again = given_campaign(world, SECKILL, CART, name="twice")
    eventually(lambda: again.said("ServicesReady")[0] != "")

    def owners_and_uids() -> tuple[set[str], bool]:
        metadata = [each["metadata"] for each in again.children().values()]
        owners = {reference["uid"] for each in metadata for reference in each["ownerReferences"]}
        return owners, len(metadata) == 9 and not before & {each["uid"] for each in metadata}

    eventually(owners_and_uids, ({again.uid}, True))


def test_a_namespace_with_campaigns_inside_can_be_deleted(world: World, tmp_path: Path) -> None:
    # This operator serves several namespaces.
    with operated(world.cluster, tmp_path, "--log-format=console", f"--namespace={world.namespace}") as other:
        given_live_campaign(other, SECKILL, CART)
        given_live_campaign(other, CART, deletionPolicy="Orphan")
        given_campaign(other, schedule={"endsAt": "2020-01-01T00:00:00Z"})
        eventually(lambda: len(other.objects.select("ConfigMap")), 2)
        other.made.clear()
        other.objects.delete("Namespace", other.namespace)
        eventually(lambda: other.objects.get("Namespace", other.namespace), None)


def test_a_stray_that_nobody_deletes_counts_as_blocking_after_a_minute(world: World, patient: Sale) -> None:
    eventually(lambda: patient.said("TeardownBlocked"), ("True", "ObjectsRemain"))
    assert "configmaps/patient-stray" in patient.condition("TeardownBlocked")["message"]
    began = datetime.fromisoformat(patient.status["report"]["startedAt"])
    blocked = datetime.fromisoformat(patient.condition("TeardownBlocked")["lastTransitionTime"])
    assert (blocked - began).total_seconds() > 59
    # It was not made by the campaign, so it is not the operator's to delete.
    assert "deletionTimestamp" not in world.objects.read("ConfigMap", "patient-stray")["metadata"]
    world.objects.delete("ConfigMap", "patient-stray")
    then_it_is_gone(patient)
