"""What cannot be: said with the field or the object and the remedy, while everything else goes on."""

import json

import pytest
from tests.lab.cluster.node import PAUSE_IMAGE
from tests.lab.objects import Manifest
from tests.lab.steps import CART, NO_PODS, PAY, Sale, World, always, eventually, given_campaign, given_live_campaign
from tests.lab.steps import live_schedule as live

MISSING_HOUR = {"timeZone": "Europe/Berlin", "startsAt": "2025-03-30T02:30:00"}


def image(sale: Sale, service: str) -> str:
    return str(sale.child("Deployment", service)["spec"]["template"]["spec"]["containers"][0]["image"])


@pytest.mark.parametrize(
    ("change", "path", "word"),
    [
        ({"timeZone": "Asia/Peking"}, "spec.schedule.timeZone", "Asia/Shanghai"),
        (MISSING_HOUR, "spec.schedule.startsAt", "does not exist in Europe/Berlin"),
        (
            {"timeZone": "Asia/Shanghai", "startsAt": "2025-06-18T08:00:00", "endsAt": "2025-06-18T00:00:00Z"},
            "spec.schedule.endsAt",
            "after",
        ),
    ],
    ids=["unknown zone", "missing hour", "ends as it starts"],
)
def test_a_schedule_that_cannot_be_stops_nothing_that_runs(
    world: World, change: dict[str, str], path: str, word: str
) -> None:
    sale = given_live_campaign(world, CART, schedule=live())
    eventually(lambda: sale.said("Ready"), ("True", "Live"))
    before = {key: each for key, each in sale.versions().items() if key[0] != "Campaign"}
    good = sale.manifest["spec"]["schedule"]

    # A new image in the same change: none of it is followed until all of it makes sense.
    sale.edit(schedule=change, services=[{**CART, "image": "shop/cart:2"}])
    eventually(lambda: (sale.said("Stalled"), sale.settled), (("True", "InvalidSpec"), True))
    message = sale.condition("Stalled")["message"]
    assert path in message
    assert word in message
    assert sale.said("Ready") == ("False", "InvalidSpec")
    assert sale.stage == "Live"
    assert {key: each for key, each in sale.versions().items() if key[0] != "Campaign"} == before

    sale.edit(schedule={**dict.fromkeys(change), **good})
    eventually(lambda: image(sale, "cart"), "shop/cart:2")
    eventually(lambda: (sale.said("Ready"), sale.condition("Stalled")), (("True", "Live"), {}))
    warnings = [note for type_, reason, note in sale.events() if (type_, reason) == ("Warning", "InvalidSpec")]
    assert len(warnings) == 1


def test_a_campaign_that_never_made_sense_makes_nothing(world: World) -> None:
    sale = given_campaign(world, schedule={"timeZone": "Mars/Olympus", "endsAt": "2099-01-01T00:00:00"})
    eventually(lambda: sale.said("Stalled"), ("True", "InvalidSpec"))
    assert "spec.schedule.timeZone" in sale.condition("Stalled")["message"]
    assert sale.children() == {}
    sale.reschedule(timeZone="UTC")
    eventually(lambda: (sale.stage, sale.has("Deployment", "cart")), ("Live", True))


REFUSED_TEMPLATES: list[tuple[str, Manifest, str]] = [
    ("unknown field", {"spec": {"dnsPolicyy": "None"}}, "dnsPolicyy"),
    ("bad value", {"spec": {"dnsPolicy": "Never"}}, "dnsPolicy"),
    ("unknown field of a container", {"spec": {"containers": [{"name": "cart", "imagee": "x"}]}}, "imagee"),
    ("type", {"spec": {"hostname": ["x"]}}, "hostname"),
    ("bad address", {"spec": {"hostAliases": [{"ip": "nowhere", "hostnames": ["till"]}]}}, "nowhere"),
]


@pytest.mark.parametrize(
    ("template", "word"), [each[1:] for each in REFUSED_TEMPLATES], ids=[each[0] for each in REFUSED_TEMPLATES]
)
def test_a_template_that_only_the_api_server_refuses_holds_up_one_service(
    world: World, template: Manifest, word: str
) -> None:
    sale = given_live_campaign(world, PAY, CART)
    deployment = sale.child("Deployment", "cart")["metadata"]

    sale.edit(services=[{**PAY, "image": "shop/pay:2"}, {**CART, "image": "shop/cart:2", "podTemplate": template}])
    eventually(lambda: sale.said("Stalled"), ("True", "Refused"))
    message = sale.condition("Stalled")["message"]
    assert message.startswith("spec.services[1]: ")
    assert f"Deployment.apps {world.namespace}/{sale.name}-cart" in message
    assert word in message
    eventually(lambda: image(sale, "pay"), "shop/pay:2")
    after = sale.child("Deployment", "cart")
    assert (after["metadata"]["uid"], after["metadata"]["generation"]) == (
        deployment["uid"],
        deployment["generation"],
    )

    sale.edit(services=[PAY, {**CART, "image": "shop/cart:3", "podTemplate": NO_PODS}])
    eventually(lambda: image(sale, "cart"), "shop/cart:3")
    eventually(lambda: (sale.said("Ready"), sale.condition("Stalled")), (("True", "Live"), {}))


def test_a_quota_that_is_used_up_is_told_in_its_own_words(own_world: World) -> None:
    quota = {"hard": {"count/deployments.apps": "1", "pods": "1"}}
    own_world.objects.create(
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"}, "spec": quota}
    )
    eventually(lambda: own_world.objects.read("ResourceQuota", "small")["status"]["hard"], quota["hard"])
    sale = given_campaign(own_world, CART, PAY)
    eventually(lambda: sale.said("Stalled"), ("True", "Refused"))
    message = sale.condition("Stalled")["message"]
    assert "spec.services[1]" in message
    assert "exceeded quota: small" in message
    assert "count/deployments.apps" in message

    own_world.objects.patch("ResourceQuota", "small", {"spec": {"hard": {"count/deployments.apps": "9"}}})
    eventually(lambda: sale.said("Ready"), ("True", "Live"))

    sale.edit(services=[{**CART, "replicas": 2}, PAY])
    eventually(lambda: sale.said("ServicesReady"), ("False", "FailedCreate"))
    message = sale.condition("ServicesReady")["message"]
    assert message.startswith("cart: pods cannot be created: ")
    assert "exceeded quota: small" in message


def test_fields_that_nobody_knows_are_named_for_clients_that_do_not_ask(world: World) -> None:
    spec = {"services": [{**CART, "replica": 3}], "budget": 1}
    manifest = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": {"name": "typo"}, "spec": spec}
    world.kubectl("apply", "--validate=false", "--filename=-", input=json.dumps(manifest))
    sale = Sale(world, "typo")
    eventually(lambda: sale.said("UnknownFields"), ("True", "Pruned"))
    message = sale.condition("UnknownFields")["message"]
    assert "spec.budget" in message
    assert "spec.services[0].replica" in message
    eventually(lambda: sale.said("Ready"), ("True", "Live"))
    assert ("Warning", "Pruned") in [(type_, reason) for type_, reason, _ in sale.events()]

    world.kubectl(
        "apply", "--filename=-", input=json.dumps({**manifest, "spec": {"services": [{**CART, "replicas": 0}]}})
    )
    eventually(lambda: sale.condition("UnknownFields"), {})


UNSTARTABLE: dict[str, tuple[Manifest, tuple[str, ...], list[str]]] = {
    "no-such-image": (
        {"image": "localhost:1/shop/none:1"},
        ("ErrImagePull", "ImagePullBackOff"),
        ["localhost:1/shop/none:1", "check the image's name and the registry's credentials"],
    ),
    "image-not-there": (
        {"image": "localhost/shop/none:1", "imagePullPolicy": "Never"},
        ("ErrImageNeverPull",),
        ["localhost/shop/none:1", "load it, or let it be pulled"],
    ),
    "runs-as-root": (
        {
            "image": PAUSE_IMAGE,
            "imagePullPolicy": "Never",
            "podTemplate": {"spec": {"containers": [{"name": "cart", "securityContext": {"runAsUser": 0}}]}},
        },
        ("CreateContainerConfigError",),
        ["container cart", "non-root", "set what the message asks for"],
    ),
    "no-such-config-map": (
        {"image": PAUSE_IMAGE, "imagePullPolicy": "Never", "envFrom": [{"configMapRef": {"name": "nowhere"}}]},
        ("CreateContainerConfigError",),
        ["nowhere", "not found", "create the ConfigMap"],
    ),
    "no-such-node": (
        {"image": PAUSE_IMAGE, "nodeSelector": {"disk": "gold"}},
        ("Unschedulable",),
        ["node", "add nodes"],
    ),
}
"""Services whose pods do not start: with the reasons that are right, and words that the message must have."""


def test_pods_that_do_not_start_are_explained(world: World) -> None:
    if not world.cluster.lab:
        pytest.skip("needs the image that the lab's node has")
    sales = {
        name: given_campaign(world, {"name": "cart", "replicas": 1, **service}, name=name)
        for name, (service, _, _) in UNSTARTABLE.items()
    }
    for name, (_, reasons, words) in UNSTARTABLE.items():
        said = eventually(
            lambda name=name: sales[name].condition("ServicesReady"),  # type: ignore[misc]
            lambda said, reasons=reasons: said.get("status") == "False" and said["reason"] in reasons,  # type: ignore[misc]
            within=60,
            why=f"{name}: {reasons}",
        )
        assert said["message"].startswith("cart: 1 pod is not starting"), name
        assert [word for word in words if word not in said["message"]] == [], said["message"]


def test_a_broken_campaign_does_not_keep_others_waiting(world: World) -> None:
    broken = [given_campaign(world, {**CART, "podTemplate": {"spec": {"dnsPolicyy": "None"}}}) for _ in range(3)]
    for each in broken:
        eventually(lambda each=each: each.said("Stalled"), ("True", "Refused"))  # type: ignore[misc]
    good = given_campaign(world, CART)
    eventually(lambda: good.said("Ready"), ("True", "Live"))

    def quiet() -> bool:
        before = world.operator.writes()
        always(world.operator.writes, lambda now: now == before, during=3)
        return True

    # What was refused is not tried again and again. Others that are being removed may be busy a little longer.
    eventually(quiet)
