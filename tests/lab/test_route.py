"""The route of a Campaign: asked for before the Gateway API is there, picked up when it comes, kept in step after."""

from collections.abc import Iterator

import pytest
from tests.lab import gateway_api
from tests.lab.cluster.client import Cluster
from tests.lab.steps import CART, PAY, Sale, World, eventually, given_campaign, given_live_campaign, then_it_is_live

ROUTE = {
    "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "https"}],
    "hostnames": ["sale.example.com"],
    "rules": [{"path": "/pay", "service": "pay"}, {"path": "/", "service": "cart", "port": 8081}],
}
SERVICES = ({key: each for key, each in CART.items() if key != "port"} | {"ports": [
    {"name": "http", "port": 8080}, {"name": "extra", "port": 8081}]}, PAY)  # fmt: skip


@pytest.fixture(scope="module")
def without_gateway_api(cluster: Cluster) -> Iterator[None]:
    """A cluster that does not know routes; whatever a test brings is taken away."""
    if gateway_api.is_installed(cluster):
        pytest.skip("this cluster has the Gateway API, and these tests install and remove it")
    yield
    if gateway_api.is_installed(cluster):
        gateway_api.remove(cluster)


def answer_as_a_gateway(sale: Sale, accepted: bool, reason: str, message: str) -> None:
    """Write to the route's status what the controller of a gateway writes there."""
    route = sale.objects.read("HTTPRoute", sale.name)
    condition = {
        "type": "Accepted",
        "status": str(accepted),
        "reason": reason,
        "message": message,
        "observedGeneration": route["metadata"]["generation"],
        "lastTransitionTime": "2027-06-16T00:00:00Z",
    }
    parent = {
        "parentRef": route["spec"]["parentRefs"][0],
        "controllerName": "example.com/gateway",
        "conditions": [condition],
    }
    sale.objects.patch("HTTPRoute", sale.name, {"status": {"parents": [parent]}}, "status")


def then_the_route_leads_to_the_services(sale: Sale) -> None:
    route = sale.objects.read("HTTPRoute", sale.name)
    assert route["spec"]["hostnames"] == ["sale.example.com"]
    assert [(each["name"], each["namespace"], each["sectionName"]) for each in route["spec"]["parentRefs"]] == [
        ("public", "gateways", "https")
    ]
    paths = [
        (rule["matches"][0]["path"], [(each["name"], each["port"]) for each in rule["backendRefs"]])
        for rule in route["spec"]["rules"]
    ]
    assert paths == [
        ({"type": "PathPrefix", "value": "/pay"}, [(f"{sale.name}-pay", 8080)]),
        ({"type": "PathPrefix", "value": "/"}, [(f"{sale.name}-cart", 8081)]),
    ]
    assert route["metadata"]["labels"]["flywheel.dev/campaign"] == sale.name
    owner = route["metadata"]["ownerReferences"][0]
    assert (owner["uid"], owner["controller"], owner["blockOwnerDeletion"]) == (sale.uid, True, True)


def test_a_route_waits_for_the_gateway_api_and_is_made_when_it_comes(without_gateway_api: None, world: World) -> None:
    sale = given_live_campaign(world, *SERVICES, route=ROUTE)
    assert sale.said("RouteReady") == ("False", "GatewayAPIMissing")
    assert "install the Gateway API" in sale.condition("RouteReady")["message"]
    eventually(lambda: sale.said("ServicesReady"), ("True", "AllReady"))
    assert sale.said("Ready") == ("False", "GatewayAPIMissing")
    assert world.operator.probe("/readyz").status_code == 200

    gateway_api.install(world.cluster)
    eventually(lambda: sale.objects.get("HTTPRoute", sale.name), lambda found: found is not None)
    then_the_route_leads_to_the_services(sale)
    eventually(lambda: sale.said("RouteReady"), ("Unknown", "NotAccepted"))

    answer_as_a_gateway(sale, accepted=True, reason="Accepted", message="all is well")
    eventually(lambda: sale.said("RouteReady"), ("True", "Accepted"))
    eventually(lambda: sale.said("Ready"), ("True", "Live"))

    answer_as_a_gateway(sale, accepted=False, reason="NotAllowedByListeners", message="no listener takes it")
    eventually(lambda: sale.said("RouteReady"), ("False", "NotAllowedByListeners"))
    assert "no listener takes it" in sale.condition("RouteReady")["message"]


@pytest.fixture(scope="module")
def with_gateway_api(without_gateway_api: None, cluster: Cluster) -> None:
    if not gateway_api.is_installed(cluster):
        gateway_api.install(cluster)


def test_a_route_is_healed_changed_and_removed(with_gateway_api: None, world: World) -> None:
    sale = given_campaign(world, *SERVICES, route=ROUTE)
    then_it_is_live(sale)
    eventually(lambda: sale.objects.get("HTTPRoute", sale.name), lambda found: found is not None)

    world.objects.patch("HTTPRoute", sale.name, {"spec": {"hostnames": ["evil.example.com"]}})
    eventually(lambda: sale.objects.read("HTTPRoute", sale.name)["spec"]["hostnames"], ["sale.example.com"])
    world.objects.delete("HTTPRoute", sale.name)
    eventually(lambda: then_the_route_leads_to_the_services(sale), None)

    sale.edit(route={"hostnames": ["sale.example.com", "618.example.com"], "rules": [{"path": "/", "service": "pay"}]})
    eventually(lambda: len(sale.objects.read("HTTPRoute", sale.name)["spec"]["rules"]), 1)
    sale.edit(services=[PAY], route={"rules": None, "hostnames": None})
    eventually(lambda: "hostnames" in sale.objects.read("HTTPRoute", sale.name)["spec"], False)
    backends = sale.objects.read("HTTPRoute", sale.name)["spec"]["rules"][0]["backendRefs"]
    assert [each["name"] for each in backends] == [f"{sale.name}-pay"]

    sale.edit(route=None)
    eventually(lambda: sale.objects.get("HTTPRoute", sale.name), None)
    eventually(lambda: sale.condition("RouteReady"), {})


def test_a_route_goes_with_its_campaign(with_gateway_api: None, world: World) -> None:
    sale = given_live_campaign(world, *SERVICES, route=ROUTE)
    eventually(lambda: sale.objects.get("HTTPRoute", sale.name), lambda found: found is not None)
    sale.delete()
    eventually(lambda: (sale.exists, sale.objects.get("HTTPRoute", sale.name)), (False, None))


def test_the_gateway_api_may_be_taken_away_again(with_gateway_api: None, own_world: World) -> None:
    sale = given_live_campaign(own_world, *SERVICES, route=ROUTE)
    eventually(lambda: sale.objects.get("HTTPRoute", sale.name), lambda found: found is not None)
    gateway_api.remove(own_world.cluster)
    eventually(lambda: sale.said("RouteReady"), ("False", "GatewayAPIMissing"))
    eventually(lambda: sale.said("ServicesReady"), ("True", "AllReady"))
    sale.edit(services=[{**each, "image": "shop/other:2"} for each in SERVICES])
    eventually(
        lambda: sale.child("Deployment", "cart")["spec"]["template"]["spec"]["containers"][0]["image"], "shop/other:2"
    )
    sale.delete()
    eventually(lambda: sale.exists, False)
    assert own_world.operator.probe("/readyz").status_code == 200
