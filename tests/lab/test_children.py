"""The children of a Campaign on a real cluster: made, healed, changed, handed over, and never taken from others."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from tests.lab.objects import CHILD_KINDS, Manifest
from tests.lab.steps import CART, PAY, SECKILL, Sale, World, always, eventually, given_campaign, given_live_campaign

PER_CART = {"Deployment", "PodDisruptionBudget", "Service", "ServiceAccount"}


def kinds_of(sale: Sale, service: str) -> set[str]:
    return {kind for kind in CHILD_KINDS if sale.has(kind, service)}


def container(sale: Sale, service: str) -> Manifest:
    found: Manifest = sale.child("Deployment", service)["spec"]["template"]["spec"]["containers"][0]
    return found


def test_children_belong_to_their_campaign_and_carry_nothing_of_its_tools(world: World) -> None:
    labels = {"argocd.argoproj.io/instance": "shop", "app.kubernetes.io/managed-by": "Helm", "team": "growth"}
    annotations = {
        "argocd.argoproj.io/tracking-id": "shop:flywheel.dev/Campaign:shop/sale",
        "kubectl.kubernetes.io/last-applied-configuration": "{}",
        "meta.helm.sh/release-name": "shop",
    }
    sale = given_live_campaign(world, SECKILL, metadata={"labels": labels, "annotations": annotations})
    children = sale.children()
    assert {kind for kind, _ in children} == set(CHILD_KINDS)
    template = sale.child("Deployment", "seckill")["spec"]["template"]
    for metadata in [*(each["metadata"] for each in children.values()), template["metadata"]]:
        assert metadata["labels"] == {
            "app.kubernetes.io/name": "seckill",
            "app.kubernetes.io/instance": sale.name,
            "app.kubernetes.io/component": "service",
            "app.kubernetes.io/managed-by": "flywheel",
            "flywheel.dev/campaign": sale.name,
            "flywheel.dev/service": "seckill",
        }
        assert annotations.keys() & metadata.get("annotations", {}).keys() == set()
    reference = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "name": sale.name,
        "uid": sale.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
    assert [each["metadata"]["ownerReferences"] for each in children.values()] == [[reference]] * len(children)
    entries = {(each["kind"], each["name"]) for each in sale.status["inventory"]["entries"]}
    assert entries == children.keys()


@pytest.mark.parametrize("kind", CHILD_KINDS)
def test_a_child_deleted_by_hand_is_made_again(world: World, kind: str) -> None:
    sale = given_live_campaign(world, SECKILL)
    before = sale.child(kind, "seckill")["metadata"]["uid"]
    world.objects.delete(kind, f"{sale.name}-seckill", "Foreground")
    eventually(
        lambda: (sale.has(kind, "seckill"), sale.child(kind, "seckill")["metadata"]["uid"] == before), (True, False)
    )


def image(sale: Sale) -> object:
    return container(sale, "seckill")["image"]


def port(sale: Sale) -> object:
    return [(each["port"], each["targetPort"]) for each in sale.child("Service", "seckill")["spec"]["ports"]]


def reference_uid(kind: str) -> Callable[[Sale], object]:
    def look(sale: Sale) -> object:
        references = sale.child(kind, "seckill")["metadata"].get("ownerReferences", [])
        return [(each["uid"] == sale.uid, each["controller"]) for each in references]

    return look


def label(kind: str, name: str) -> Callable[[Sale], object]:
    return lambda sale: sale.child(kind, "seckill")["metadata"]["labels"].get(name)


HAND_EDITS: list[tuple[str, str, object, Callable[[Sale], object]]] = [
    (
        "image",
        "Deployment",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "shop/other:2"}],
        image,
    ),
    (
        "token",
        "Deployment",
        {"spec": {"template": {"spec": {"automountServiceAccountToken": True}}}},
        lambda sale: sale.child("Deployment", "seckill")["spec"]["template"]["spec"]["automountServiceAccountToken"],
    ),
    ("maxReplicas", "HorizontalPodAutoscaler", {"spec": {"maxReplicas": 99}}, lambda sale: sale.limits("seckill")),
    ("port", "Service", [{"op": "replace", "path": "/spec/ports/0/port", "value": 81}], port),
    (
        "container's port",
        "Deployment",
        [{"op": "replace", "path": "/spec/template/spec/containers/0/ports/0/containerPort", "value": 81}],
        lambda sale: container(sale, "seckill")["ports"],
    ),
    (
        "selector",
        "Service",
        {"spec": {"selector": {"flywheel.dev/service": "cart"}}},
        lambda sale: sale.child("Service", "seckill")["spec"]["selector"],
    ),
    (
        "budget",
        "PodDisruptionBudget",
        {"spec": {"maxUnavailable": "100%"}},
        lambda sale: sale.child("PodDisruptionBudget", "seckill")["spec"]["maxUnavailable"],
    ),
    ("owner", "Deployment", {"metadata": {"ownerReferences": None}}, reference_uid("Deployment")),
    ("account's owner", "ServiceAccount", {"metadata": {"ownerReferences": None}}, reference_uid("ServiceAccount")),
    (
        "owner made plain",
        "Service",
        [{"op": "replace", "path": "/metadata/ownerReferences/0/controller", "value": False}],
        reference_uid("Service"),
    ),
    (
        "service label",
        "Deployment",
        {"metadata": {"labels": {"flywheel.dev/service": None}}},
        label("Deployment", "flywheel.dev/service"),
    ),
    (
        "campaign label",
        "HorizontalPodAutoscaler",
        {"metadata": {"labels": {"flywheel.dev/campaign": None}}},
        label("HorizontalPodAutoscaler", "flywheel.dev/campaign"),
    ),
    (
        "another campaign's label",
        "Service",
        {"metadata": {"labels": {"flywheel.dev/campaign": "another"}}},
        label("Service", "flywheel.dev/campaign"),
    ),
    (
        "managed-by label",
        "Deployment",
        {"metadata": {"labels": {"app.kubernetes.io/managed-by": "me"}}},
        label("Deployment", "app.kubernetes.io/managed-by"),
    ),
]


@pytest.mark.parametrize(
    ("kind", "edit", "look"), [each[1:] for each in HAND_EDITS], ids=[each[0] for each in HAND_EDITS]
)
def test_a_child_edited_by_hand_is_healed(
    world: World, kind: str, edit: object, look: Callable[[Sale], object]
) -> None:
    sale = given_live_campaign(world, SECKILL)
    good = look(sale)
    changed = world.objects.patch(kind, f"{sale.name}-seckill", edit)
    eventually(lambda: look(sale), good)
    healed = sale.child(kind, "seckill")["metadata"]
    assert healed["uid"] == changed["metadata"]["uid"]


def test_what_another_manager_adds_and_the_plan_does_not_name_is_left_alone(world: World) -> None:
    sale = given_live_campaign(world, SECKILL)
    name = f"{sale.name}-seckill"
    world.objects.patch("Deployment", name, {"metadata": {"annotations": {"team": "growth"}, "labels": {"tier": "x"}}})
    world.objects.patch("Deployment", name, {"spec": {"minReadySeconds": 3, "revisionHistoryLimit": 4}})
    sidecar = {"name": "proxy", "image": "mesh/proxy:1"}
    append = [{"op": "add", "path": "/spec/template/spec/containers/-", "value": sidecar}]
    world.objects.patch("Deployment", name, append)
    world.objects.patch("Service", name, {"spec": {"sessionAffinity": "ClientIP"}})
    world.objects.patch("HorizontalPodAutoscaler", name, {"metadata": {"annotations": {"seen": "yes"}}})
    # A change of the spec goes over the very same objects.
    sale.edit(services=[{**SECKILL, "image": "shop/seckill:2"}])
    eventually(lambda: container(sale, "seckill")["image"], "shop/seckill:2")
    deployment = sale.child("Deployment", "seckill")
    assert deployment["metadata"]["annotations"]["team"] == "growth"
    assert deployment["metadata"]["labels"]["tier"] == "x"
    assert (deployment["spec"]["minReadySeconds"], deployment["spec"]["revisionHistoryLimit"]) == (3, 4)
    assert [each["name"] for each in deployment["spec"]["template"]["spec"]["containers"]] == ["seckill", "proxy"]
    assert sale.child("Service", "seckill")["spec"]["sessionAffinity"] == "ClientIP"
    assert sale.child("HorizontalPodAutoscaler", "seckill")["metadata"]["annotations"]["seen"] == "yes"


def test_a_change_of_the_spec_rolls_the_deployment(world: World) -> None:
    sale = given_live_campaign(world)
    before = sale.status["services"][0]["revision"]
    sale.edit(services=[{**CART, "image": "shop/cart:2", "env": [{"name": "FLASH", "value": "on"}]}])
    eventually(lambda: container(sale, "cart")["image"], "shop/cart:2")
    assert container(sale, "cart")["env"] == [{"name": "FLASH", "value": "on"}]
    eventually(lambda: sale.status["services"][0]["revision"] == before, False)
    sale.edit(services=[CART])
    eventually(lambda: "env" in container(sale, "cart"), False)
    eventually(lambda: sale.status["services"][0]["revision"], before)


def test_services_come_go_and_are_renamed(world: World) -> None:
    sale = given_live_campaign(world, CART, PAY)
    assert (kinds_of(sale, "cart"), kinds_of(sale, "pay")) == (PER_CART, PER_CART)
    sale.edit(services=[CART])
    eventually(lambda: kinds_of(sale, "pay"), set())
    assert kinds_of(sale, "cart") == PER_CART
    sale.edit(services=[{**CART, "name": "basket"}])
    eventually(lambda: (kinds_of(sale, "cart"), kinds_of(sale, "basket")), (set(), PER_CART))
    eventually(lambda: {each["name"] for each in sale.status["inventory"]["entries"]}, {f"{sale.name}-basket"})
    eventually(lambda: sorted(name for _, name in sale.children()), [f"{sale.name}-basket"] * 4)


def test_parts_that_the_spec_no_longer_asks_for_go(world: World) -> None:
    sale = given_live_campaign(world, SECKILL)
    without_port = {name: value for name, value in SECKILL.items() if name not in ("port", "autoscaling")}
    sale.edit(services=[{**without_port, "serviceAccountName": "default"}])
    eventually(lambda: kinds_of(sale, "seckill"), {"Deployment", "PodDisruptionBudget"})
    assert sale.child("Deployment", "seckill")["spec"]["replicas"] == 2
    assert sale.child("Deployment", "seckill")["spec"]["template"]["spec"]["serviceAccountName"] == "default"


def test_no_pod_goes_when_an_autoscaler_takes_over_and_when_it_goes(world: World) -> None:
    fixed = {name: value for name, value in SECKILL.items() if name != "autoscaling"}
    scaling: dict[str, Any] = {"min": 4, "max": 9, "metrics": [{"cpu": "60%"}]}
    sale = given_live_campaign(world, {**fixed, "replicas": 7})
    with world.objects.watching("Deployment", f"{sale.name}-seckill") as seen:
        sale.edit(services=[{**fixed, "autoscaling": scaling}])
        eventually(lambda: sale.limits("seckill"), (4, 9))
        # A change of something else, while nobody but the autoscaler owns the number.
        sale.edit(services=[{**fixed, "image": "shop/seckill:2", "autoscaling": scaling}])
        eventually(lambda: container(sale, "seckill")["image"], "shop/seckill:2")
        sale.edit(services=[{**fixed, "replicas": 8}])
        eventually(lambda: kinds_of(sale, "seckill"), PER_CART)
        eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 8)
        sale.edit(services=[{**fixed, "autoscaling": scaling}])
        eventually(lambda: sale.limits("seckill"), (4, 9))
    counts = [each.manifest["spec"]["replicas"] for each in seen]
    assert min(counts) >= 7, counts
    managers = {each["manager"] for each in sale.child("Deployment", "seckill")["metadata"]["managedFields"]}
    assert "flywheel-handover" in managers


def test_an_autoscaled_service_that_was_scaled_to_zero_by_hand_comes_back(world: World) -> None:
    sale = given_live_campaign(world, SECKILL)
    eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 3)
    world.kubectl("scale", f"deployment/{sale.name}-seckill", "--replicas=0")
    # Kubernetes takes zero for a switched off autoscaler, so it is no longer the autoscaler's to decide.
    eventually(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], 3)
    eventually(lambda: sale.settled)
    world.objects.patch("Deployment", f"{sale.name}-seckill", {"spec": {"replicas": 5}}, "scale")
    # And a number that the autoscaler has chosen is its own again.
    always(lambda: sale.child("Deployment", "seckill")["spec"]["replicas"], lambda count: count == 5, during=2)


def test_a_resync_finds_what_no_watch_told(own_world: World) -> None:
    foreign = {"metadata": {"name": "shop-cart"}, "spec": {"ports": [{"port": 80}]}}
    mine = own_world.objects.create({"apiVersion": "v1", "kind": "Service", **foreign})
    sale = given_campaign(own_world, CART, PAY, name="shop")

    eventually(lambda: sale.said("Stalled"), ("True", "Refused"))
    message = sale.condition("Stalled")["message"]
    assert "spec.services[0]" in message
    assert f"Service {own_world.namespace}/shop-cart exists already" in message
    assert "rename" in message
    assert kinds_of(sale, "pay") == PER_CART
    assert {"Deployment", "PodDisruptionBudget", "ServiceAccount"} <= kinds_of(sale, "cart")
    always(
        lambda: sale.child("Service", "cart")["metadata"]["resourceVersion"],
        lambda version: version == mine["metadata"]["resourceVersion"],
        during=3,
    )
    assert [reason for type_, reason, _ in sale.events() if type_ == "Warning"] == ["Refused"]

    own_world.objects.delete("Service", "shop-cart")
    eventually(lambda: sale.child("Service", "cart")["metadata"]["labels"]["flywheel.dev/campaign"], "shop")
    eventually(lambda: (sale.said("Ready"), sale.condition("Stalled")), (("True", "Live"), {}))


def test_an_object_of_another_owner_is_never_deleted_with_the_campaign(world: World) -> None:
    name = "spring-pay"
    labels = {"flywheel.dev/campaign": "spring", "app.kubernetes.io/managed-by": "flywheel"}
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "owner"}}
    owner = world.objects.create(config)
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    metadata = {"name": name, "labels": labels, "ownerReferences": [{**reference, "controller": True}]}
    world.objects.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
    sale = given_campaign(world, CART, PAY, name="spring")
    eventually(lambda: kinds_of(sale, "cart"), PER_CART)
    eventually(lambda: f"{world.namespace}/{name}" in sale.condition("Reconciling").get("message", ""))
    sale.edit(services=[CART])
    eventually(lambda: sale.said("Ready"), ("True", "Live"))
    assert world.objects.read("ServiceAccount", name)["metadata"].get("deletionTimestamp") is None
    world.objects.delete("ServiceAccount", name)


def test_children_that_were_left_behind_are_taken_up_again(world: World) -> None:
    sale = given_live_campaign(world, SECKILL, name="encore", deletionPolicy="Orphan")
    before = {key: each["metadata"]["uid"] for key, each in sale.children().items()}
    sale.delete()
    eventually(lambda: sale.exists, False)
    left = {key: each["metadata"] for key, each in sale.children().items()}
    assert {key: each["uid"] for key, each in left.items()} == before
    assert [each.get("ownerReferences", []) for each in left.values()] == [[]] * len(before)

    again = given_live_campaign(world, {**SECKILL, "image": "shop/seckill:2"}, name="encore")
    taken = {key: each["metadata"] for key, each in again.children().items()}
    assert {key: each["uid"] for key, each in taken.items()} == before
    assert {each["ownerReferences"][0]["uid"] for each in taken.values()} == {again.uid}
    assert image(again) == "shop/seckill:2"


def test_the_numbers_of_a_service_are_on_the_status(world: World) -> None:
    sale = given_live_campaign(world, {**CART, "replicas": 3}, PAY)
    eventually(lambda: [(each["name"], each["desired"], each["ready"]) for each in sale.status["services"]],
               [("cart", 3, 0), ("pay", 0, 0)])  # fmt: skip
    assert sale.status["services"][0]["url"] == f"http://{sale.name}-cart.{world.namespace}.svc:8080"
    eventually(lambda: sale.said("ServicesReady"), ("False", "RollingOut"))
    assert "0 of 3 pods are ready" in sale.condition("ServicesReady")["message"]
    assert sale.said("Ready") == ("Unknown", "Progressing")
    assert json.dumps(sale.status).count("lastTransitionTime") == len(sale.status["conditions"])
