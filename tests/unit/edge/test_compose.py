"""From a spec to the orders of an edge."""

from collections.abc import Mapping
from typing import Any

from flywheel.api.load import load_campaign
from flywheel.edge.compose import SlotPorts, compose
from flywheel.edge.document import EdgeDocument, decode, encode
from flywheel.edge.render import render


def orders(*, slots: Mapping[str, SlotPorts] | None = None, **spec: Any) -> EdgeDocument:
    services = [{"name": "web", "image": "registry.example/web:1", "port": 8080}]
    campaign = load_campaign(
        {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": "shop", "namespace": "sale"},
            "spec": {"services": services, "edge": {}, **spec},
        }
    )
    assert campaign.spec.edge
    return compose(campaign, campaign.spec.edge, slots=slots)


def test_an_empty_edge_sends_everything_to_the_only_service_with_a_port() -> None:
    made = orders()
    assert [(route.path, route.service) for route in made.routes] == [("/", "web")]
    assert made.collect.write_keys == ("shop",)
    assert made.store == "http://flywheel-analytics.sale.svc:9102"


def test_orders_survive_the_wire_and_keep_their_generation() -> None:
    made = orders(title="a title is not the edge's business")
    assert decode(encode(made)) == made
    assert made.generation == orders().generation == made.stamped().generation


def test_the_event_of_the_goal_is_known_though_nobody_declared_it() -> None:
    goal = {"event": "Coupon Claimed", "count": 10}
    assert [event.name for event in orders(goal=goal).collect.events] == ["Coupon Claimed"]
    declared = {"name": "Coupon Claimed", "properties": [{"name": "coupon", "required": True}]}
    made = orders(goal=goal, edge={"events": {"declared": [declared]}}).collect.events
    assert [(event.name, len(event.properties)) for event in made] == [("Coupon Claimed", 1)]


def test_there_is_room_for_the_most_pods_and_their_surge() -> None:
    scaling = {"min": 10, "max": 100, "metrics": [{"requests": 200}]}
    services = [{"name": "web", "image": "registry.example/web:1", "port": 8080, "autoscaling": scaling}]
    assert orders(services=services).services[0].backends[0].capacity >= 125


def test_a_released_service_has_both_slots_from_the_first_day_on() -> None:
    services = [{"name": name, "image": "registry.example/web:1", "port": 8080} for name in ("web", "pay")]
    routes = [{"path": "/", "service": "web"}, {"path": "/pay", "service": "pay"}]
    made = orders(services=services, edge={"routes": routes}, slots={"web": {"green": "www"}})
    pay, web = made.services
    assert [(each.slot, each.service, each.port) for each in pay.backends] == [("", "shop-pay", "http")]
    assert [(each.slot, each.service, each.port) for each in web.backends] == [
        ("blue", "shop-web-blue", "http"),
        ("green", "shop-web-green", "www"),
    ]
    assert {each.capacity for each in web.backends} == {each.capacity for each in pay.backends}
    render(made, {})


def test_without_releases_the_orders_are_what_they_were() -> None:
    assert orders(slots={}) == orders()
    assert orders(slots={"elsewhere": {"blue": "http"}}) == orders()
