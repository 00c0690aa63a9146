"""The event store that the Campaigns of a namespace share: its objects come, are healed and go with its users."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.lab.cluster.client import Cluster
from tests.lab.conftest import operated
from tests.lab.objects import Manifest
from tests.lab.steps import CART, Sale, World, always, eventually, given_campaign, then_it_is_gone

NAME = "flywheel-analytics"
SHARED = "flywheel.dev/shared=analytics"
KINDS = (
    "ServiceAccount",
    "Role",
    "RoleBinding",
    "ConfigMap",
    "NetworkPolicy",
    "Service",
    "PodDisruptionBudget",
    "StatefulSet",
)
CLAIM = f"data-{NAME}-0"
EDGE: Manifest = {"replicas": 1, "autoscaling": {"max": 1}}
QUIET = 3.0
"""Seconds in which an operator that looks again every two would have shown what it wants."""


@pytest.fixture
def shop(cluster: Cluster, definition: None, tmp_path: Path) -> Iterator[World]:
    """A namespace of one's own where Pod Security is enforced, as a store outlives the test that made it."""
    with operated(cluster, tmp_path, "--log-format=console", "--resync=2s") as world:
        world.objects.within("").patch("Namespace", world.namespace, {"metadata": {"labels": RESTRICTED}})
        yield world
        while world.made:
            world.made.pop().delete()


RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}


def measured(world: World, name: str, **spec: Any) -> Sale:
    """Create a Campaign with an edge."""
    return given_campaign(world, CART, name=name, edge=EDGE, **spec)


def store(**fields: Any) -> Manifest:
    return {"store": fields}


def parts(world: World) -> dict[str, Manifest]:
    """Read all objects of the store that are not on their way out."""
    found = {kind: world.objects.get(kind, NAME) for kind in KINDS}
    return {kind: each for kind, each in found.items() if each and not each["metadata"].get("deletionTimestamp")}


def owners(world: World) -> list[set[str]]:
    """Tell who owns each part."""
    return [{each["name"] for each in part["metadata"].get("ownerReferences", [])} for part in parts(world).values()]


def then_it_belongs_to(world: World, *names: str) -> None:
    eventually(lambda: owners(world), [set(names)] * len(KINDS), why=f"an event store of {names}")


def settings(world: World) -> dict[str, Any]:
    entries: dict[str, Any] = json.loads(world.objects.read("ConfigMap", NAME)["data"]["campaigns.json"])
    return entries


def identities(world: World) -> dict[str, str]:
    return {kind: part["metadata"]["uid"] for kind, part in parts(world).items()}


def versions(world: World) -> dict[str, tuple[str, object]]:
    """Tell what has been written; the status of what has one is its controller's."""
    seen = {kind: part["metadata"] for kind, part in parts(world).items()}
    return {kind: (each["uid"], each.get("generation") or each["resourceVersion"]) for kind, each in seen.items()}


def test_it_comes_with_the_first_campaign_serves_two_and_goes_with_the_last(shop: World) -> None:
    spring = measured(shop, "spring", analytics={"currency": "CNY", "retention": "30d"})
    then_it_belongs_to(shop, "spring")
    assert (
        settings(shop)["spring"] | {"uid": spring.uid, "currency": "CNY", "retention": 2592000}
        == settings(shop)["spring"]
    )
    assert not any("flywheel.dev/campaign" in part["metadata"]["labels"] for part in parts(shop).values())
    assert all(f"{NAME}" not in entry["name"] for entry in spring.status.get("inventory", {}).get("entries", []))
    eventually(lambda: shop.objects.get("PersistentVolumeClaim", CLAIM), bool, why="a volume")
    eventually(lambda: shop.objects.get("Pod", f"{NAME}-0"), bool, why="a pod, under Pod Security restricted")
    claim = shop.objects.read("PersistentVolumeClaim", CLAIM)["metadata"]["uid"]
    made = identities(shop)

    autumn = measured(shop, "autumn")
    then_it_belongs_to(shop, "spring", "autumn")
    assert set(settings(shop)) == {"spring", "autumn"}

    spring.delete()
    then_it_is_gone(spring)
    then_it_belongs_to(shop, "autumn")
    eventually(lambda: set(settings(shop)), {"autumn"})
    assert identities(shop) == made

    autumn.delete()
    then_it_is_gone(autumn)
    eventually(lambda: parts(shop), {}, why="no event store")
    assert shop.objects.read("PersistentVolumeClaim", CLAIM)["metadata"]["uid"] == claim


def test_what_somebody_changes_or_deletes_is_healed_and_then_nothing_is_written(shop: World) -> None:
    measured(shop, "spring")
    then_it_belongs_to(shop, "spring")
    wanted = settings(shop)

    shop.objects.patch("ConfigMap", NAME, {"data": {"campaigns.json": "{}"}})
    shop.objects.patch("Role", NAME, {"rules": []})
    shop.objects.patch("Service", NAME, {"metadata": {"ownerReferences": None}})
    shop.objects.delete("PodDisruptionBudget", NAME)
    shop.objects.delete("StatefulSet", NAME)
    eventually(lambda: settings(shop), wanted)
    eventually(lambda: len(shop.objects.read("Role", NAME)["rules"] or ()), 3)
    then_it_belongs_to(shop, "spring")

    eventually(lambda: bool(shop.objects.get("Pod", f"{NAME}-0")), True)
    before = versions(shop)
    always(lambda: versions(shop), lambda seen: seen == before, during=QUIET)


def test_it_goes_when_its_campaign_does_without_an_edge(shop: World) -> None:
    spring = measured(shop, "spring")
    then_it_belongs_to(shop, "spring")
    spring.edit(edge=None)
    eventually(lambda: parts(shop), {}, why="no event store")
    assert spring.exists


@pytest.mark.parametrize("way", ["cascade", "policy"])
def test_it_stays_with_the_edge_that_is_left_behind(shop: World, way: str) -> None:
    spring = measured(shop, "spring", deletionPolicy="Orphan" if way == "policy" else "Delete")
    then_it_belongs_to(shop, "spring")
    made = identities(shop)
    spring.delete("Orphan" if way == "cascade" else "Background")
    then_it_is_gone(spring)
    always(lambda: identities(shop), lambda seen: seen == made, during=QUIET)
    assert owners(shop) == [set()] * len(KINDS)

    # The next one takes it up, and with it what was learnt.
    autumn = measured(shop, "autumn")
    then_it_belongs_to(shop, "autumn")
    assert identities(shop) == made
    autumn.delete()
    then_it_is_gone(autumn)
    eventually(lambda: parts(shop), {}, why="no event store")
    leave_nothing(shop)


def leave_nothing(world: World) -> None:
    for deployment in world.objects.select("Deployment"):
        world.objects.delete("Deployment", deployment["metadata"]["name"])


def test_kubernetes_removes_it_while_the_operator_is_away(shop: World) -> None:
    spring = measured(shop, "spring")
    then_it_belongs_to(shop, "spring")
    shop.operator.kill()
    shop.objects.patch("Campaign", "spring", {"metadata": {"finalizers": None}})
    spring.delete()
    eventually(lambda: parts(shop), {}, why="no event store")


def test_one_that_was_killed_in_between_is_followed_by_one_that_goes_on(shop: World) -> None:
    shop.operator.kill()
    spring = measured(shop, "spring")
    shop.operator.start()
    then_it_belongs_to(shop, "spring")
    shop.operator.kill()
    autumn = measured(shop, "autumn")
    spring.delete()
    shop.operator.start()
    then_it_is_gone(spring)
    then_it_belongs_to(shop, "autumn")
    autumn.delete()
    then_it_is_gone(autumn)


def size(world: World) -> str:
    [claim] = parts(world)["StatefulSet"]["spec"]["volumeClaimTemplates"]
    return str(claim["spec"]["resources"]["requests"]["storage"])


def test_another_volume_makes_the_worker_anew_and_keeps_what_it_has(shop: World) -> None:
    spring = measured(shop, "spring", analytics=store(size="2Gi"))
    then_it_belongs_to(shop, "spring")
    eventually(lambda: shop.objects.read("PersistentVolumeClaim", CLAIM)["status"]["phase"], "Bound")
    claim = shop.objects.read("PersistentVolumeClaim", CLAIM)["metadata"]["uid"]
    worker = identities(shop)["StatefulSet"]

    # Nothing has to grow.
    spring.edit(analytics=store(size="1Gi"))
    eventually(lambda: size(shop), "1Gi")
    assert identities(shop)["StatefulSet"] != worker
    assert shop.objects.read("PersistentVolumeClaim", CLAIM)["metadata"]["uid"] == claim

    # A volume that can grow does; the one of a class that cannot stays, and so does the worker.
    worker = identities(shop)["StatefulSet"]
    spring.edit(analytics={**store(size="3Gi"), "currency": "EUR"})
    eventually(lambda: settings(shop)["spring"]["currency"], "EUR")
    if not expandable(shop):
        told(spring, "WorkerTrouble", "stays at 2Gi", "cannot grow to 3Gi")
        always(
            lambda: (identities(shop)["StatefulSet"], size(shop)), lambda seen: seen == (worker, "1Gi"), during=QUIET
        )
        return
    eventually(lambda: size(shop), "3Gi")
    assert shop.objects.read("PersistentVolumeClaim", CLAIM)["spec"]["resources"]["requests"]["storage"] == "3Gi"


def expandable(world: World) -> bool:
    claim = world.objects.read("PersistentVolumeClaim", CLAIM)["spec"]
    path = "jsonpath={.allowVolumeExpansion}"
    return world.kubectl("get", "storageclass", claim["storageClassName"], "-o", path) == "true"


def told(sale: Sale, reason: str, *words: str) -> None:
    """Wait until the Campaign says why it is not measured as it should be."""

    def says() -> bool:
        condition = sale.condition("AnalyticsReady")
        return condition.get("reason") == reason and all(word in condition["message"] for word in words)

    eventually(says, why=f"AnalyticsReady with {reason} and {words}")


def test_one_that_wants_another_store_is_told(shop: World) -> None:
    measured(shop, "spring", analytics=store(size="2Gi"))
    then_it_belongs_to(shop, "spring")
    # Of two that were made in the same second, the name decides.
    summer = measured(shop, "summer", analytics=store(size="3Gi"))
    told(summer, "StoreConflict", "spring", "size")
    assert size(shop) == "2Gi"
    summer.edit(analytics=store(size="2048Mi"))
    eventually(lambda: summer.condition("AnalyticsReady")["reason"] != "StoreConflict", True)


def test_a_worker_that_does_not_start_is_told(cluster: Cluster, definition: None, tmp_path: Path) -> None:
    with operated(cluster, tmp_path, "--log-format=console", "--resync=2s", "--analytics-image=no/such image") as world:
        told(measured(world, "spring"), "WorkerTrouble", "InvalidImageName", NAME)


def test_what_is_there_under_its_name_is_left_alone(shop: World) -> None:
    mine = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": {"mine": "yes"}}
    shop.objects.create(mine)
    spring = measured(shop, "spring")
    eventually(lambda: set(parts(shop)), set(KINDS))
    told(spring, "WorkerTrouble", f"ConfigMap {shop.namespace}/{NAME}", "not made by flywheel")
    assert shop.objects.read("ConfigMap", NAME)["data"] == {"mine": "yes"}
    # Looked at again every two seconds here: once it is out of the way, the store gets its own.
    shop.objects.delete("ConfigMap", NAME)
    eventually(lambda: set(settings(shop)), {"spring"})


def test_the_real_worker_serves_and_may_do_what_it_has_to(cluster: Cluster, definition: None, tmp_path: Path) -> None:
    image = f"--analytics-image={cluster.images['analytics']}"
    with operated(cluster, tmp_path, "--log-format=console", image) as world:
        world.objects.within("").patch("Namespace", world.namespace, {"metadata": {"labels": RESTRICTED}})
        spring = measured(world, "spring", goal={"event": "Order Completed", "count": 10})
        eventually(lambda: parts(world)["StatefulSet"]["status"]["readyReplicas"], 1, within=120, why="a ready worker")
        # Written by the worker itself, with its own rights.
        eventually(lambda: spring.status["kpis"]["goal"]["count"], 10, why="key figures on the status")
        eventually(lambda: spring.said("AnalyticsReady"), ("True", "Serving"))
        figures = world.kubectl(
            "get", "--raw", f"/api/v1/namespaces/{world.namespace}/pods/{NAME}-0:9104/proxy/metrics"
        )
        assert "campaign_analytics_last_success_timestamp_seconds" in figures
        spring.delete()
        then_it_is_gone(spring)
        eventually(lambda: world.objects.get("Pod", f"{NAME}-0"), None, why="the end of the worker")
