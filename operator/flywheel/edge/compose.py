"""From a Campaign's spec to the orders of its edge."""

import math
from collections.abc import Mapping, Sequence

from flywheel.api.analytics import Analytics
from flywheel.api.campaign import Campaign
from flywheel.api.edge import Edge, EdgeRoute
from flywheel.api.edge_events import EventDeclaration
from flywheel.api.service import Service
from flywheel.edge import document as wire
from flywheel.edge.document import EdgeDocument
from flywheel.events.naming import worker_url
from flywheel.workload.naming import child_name

SURGE = 1.25
"""A rolling update adds up to a quarter more pods for a while; see the Deployments of services."""
LEAST_CAPACITY = 8
SLOTS = ("blue", "green")
SlotPorts = Mapping[str, str]
"""Slot -> name of the port in the revision that the slot has; a slot without one has the port's name of the spec."""


def compose(
    campaign: Campaign,
    edge: Edge,
    live: wire.Live | None = None,
    slots: Mapping[str, SlotPorts] | None = None,
    variants: Mapping[str, Sequence[Service]] | None = None,
    fraud: wire.Fraud | None = None,
    segments_key: str = "",
) -> EdgeDocument:
    """Write the orders for the edge of `campaign`, stamped with their generation.

    Args:
        campaign: What is wanted.
        edge: Its edge.
        live: What changes without a reload.
        slots: Released service -> its slots. Both are always there, so that no release costs a reload.
        variants: Tested service -> the services that its variants are.
        fraud: The workers that judge its events; None where no rule is for it.
        segments_key: Signs what services say of a visitor's segments; empty where no test asks for any.
    """
    released = slots or {}
    analytics = campaign.spec.analytics or Analytics()
    routes = routes_of(campaign, edge)
    services = {service.name: service for service in campaign.spec.services}
    routed = {route.service: route.port for route in routes}
    return EdgeDocument(
        namespace=campaign.namespace,
        campaign=campaign.name,
        services=tuple(
            _service(campaign.name, services[name], port, released.get(name), (variants or {}).get(name, ()))
            for name, port in sorted(routed.items())
        ),
        routes=tuple(wire.EdgeRoute(path=each.path, service=each.service, hosts=each.hostnames) for each in routes),
        visitor=_visitor(edge),
        tls=_tls(edge),
        trusted_proxies=edge.trusted_proxies,
        limits=_limits(edge),
        response_headers=dict(sorted(edge.response_headers.items())),
        region_header=edge.region_header or "",
        channels=tuple(
            wire.ChannelRule(
                name=each.name,
                utm_source=each.utm_source,
                utm_medium=each.utm_medium,
                utm_campaign=each.utm_campaign,
                referrers=each.referrers,
                parameters=each.parameters,
            )
            for each in analytics.channels
        ),
        collect=_collect(campaign, edge, analytics),
        store=worker_url(campaign.namespace),
        fraud=fraud,
        segments_key=segments_key,
        live=live or wire.Live(),
    ).stamped()


def routes_of(campaign: Campaign, edge: Edge) -> tuple[EdgeRoute, ...]:
    """Return the routes of the edge; without any, everything goes to the only service that has a port."""
    if edge.routes:
        return edge.routes
    return tuple(EdgeRoute(path="/", service=each.name) for each in campaign.spec.services if each.listening_ports)


def _service(
    campaign: str, service: Service, number: int | None, slots: SlotPorts | None, variants: Sequence[Service]
) -> wire.EdgeService:
    port = next((each for each in service.listening_ports if each.port == number), service.listening_ports[0])
    capacity = _capacity(service)
    child = child_name(campaign, service.name)
    backends = [wire.Backend(service=child, port=port.name, capacity=capacity)]
    if slots is not None:
        backends = [
            wire.Backend(slot=slot, service=f"{child}-{slot}", port=slots.get(slot) or port.name, capacity=capacity)
            for slot in SLOTS
        ]
    backends += [
        wire.Backend(
            slot=variant.name.removeprefix(f"{service.name}-"),
            service=child_name(campaign, variant.name),
            port=port.name,
            capacity=_capacity(variant),
        )
        for variant in variants
    ]
    return wire.EdgeService(name=service.name, backends=tuple(backends))


def _capacity(service: Service) -> int:
    most = service.autoscaling.max if service.autoscaling else service.base_replicas
    return max(LEAST_CAPACITY, math.ceil(most * SURGE) + 1)


def _visitor(edge: Edge) -> wire.Visitor:
    given = edge.visitor
    consent = given.consent
    return wire.Visitor(
        max_age=int(given.max_age.total_seconds()),
        same_site=given.same_site,
        domain=given.domain or "",
        consent=wire.Consent(cookie=consent.cookie, granted=consent.granted) if consent else None,
    )


def _tls(edge: Edge) -> wire.Tls | None:
    if edge.tls is None:
        return None
    return wire.Tls(redirect=edge.tls.redirect, hsts_max_age=int(edge.tls.hsts.total_seconds()))


def _limits(edge: Edge) -> wire.Limits:
    given = edge.limits
    return wire.Limits(
        requests_per_second=given.requests_per_second,
        events_per_second=given.events_per_second,
        connections_per_address=given.connections_per_address,
        connections=given.connections,
        body_bytes=given.body,
        header_bytes=given.headers,
        client_timeout=given.client_timeout.total_seconds(),
        server_timeout=given.server_timeout.total_seconds(),
    )


def _collect(campaign: Campaign, edge: Edge, analytics: Analytics) -> wire.Collect:
    events, order = edge.events, analytics.order
    return wire.Collect(
        write_keys=events.write_keys or (campaign.name,),
        origins=events.origins,
        events=_declared(campaign, events.declared),
        undeclared=events.undeclared,
        page_views=events.page_views,
        addresses=events.addresses,
        currency=analytics.currency,
        rates=_rates(analytics.rates),
        order=wire.Order(event=order.event, identity=order.identity, revenue=order.revenue, currency=order.currency),
        retention=int(analytics.retention.total_seconds()),
        session_timeout=int(analytics.session_timeout.total_seconds()),
    )


def _declared(campaign: Campaign, declared: tuple[EventDeclaration, ...]) -> tuple[wire.DeclaredEvent, ...]:
    """Return what is declared, and the event of the goal: whoever counts on it expects to see it counted."""
    known = tuple(
        wire.DeclaredEvent(
            name=event.name,
            properties=tuple(
                wire.Property(name=each.name, type=each.type, required=bool(each.required)) for each in event.properties
            ),
        )
        for event in declared
    )
    goal = campaign.spec.goal
    if goal is None or any(event.name == goal.event for event in known):
        return known
    return (*known, wire.DeclaredEvent(name=goal.event))


def _rates(rates: Mapping[str, float]) -> dict[str, float]:
    return dict(sorted(rates.items()))
