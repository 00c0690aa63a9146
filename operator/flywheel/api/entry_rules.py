"""Rules between the ways in (route, edge), the services that they lead to, and what is counted there."""

from typing import TYPE_CHECKING

from flywheel.api.analytics import OrderEvent
from flywheel.api.edge import EdgeRoute
from flywheel.api.model import Rule
from flywheel.api.route import RouteRule
from flywheel.api.service import CONTENT_PORT, Service

if TYPE_CHECKING:
    from flywheel.api.campaign import CampaignSpec


def _reached(spec: "CampaignSpec") -> list[Service]:
    return [service for service in spec.services if service.listening_ports]


def _service_of(spec: "CampaignSpec", rule: RouteRule) -> Service | None:
    return next((service for service in _reached(spec) if service.name == rule.service), None)


def _port_fits(spec: "CampaignSpec", rule: RouteRule) -> bool:
    service = _service_of(spec, rule)
    if service is None:
        return True  # said by the rule on services
    if rule.port is None:
        return len(service.listening_ports) == 1
    return any(rule.port == port.port for port in service.listening_ports)


def _route_rules(spec: "CampaignSpec") -> tuple[RouteRule, ...]:
    return spec.route.rules if spec.route else ()


def _edge_routes(spec: "CampaignSpec") -> tuple[EdgeRoute, ...]:
    return spec.edge.routes if spec.edge else ()


def _one_port_for_each(routes: tuple[EdgeRoute, ...]) -> bool:
    ports: dict[str, int | None] = {}
    return all(ports.setdefault(route.service, route.port) == route.port for route in routes)


def _service_entered(spec: "CampaignSpec", service: Service) -> bool:
    if spec.edge and spec.edge.routes:
        return any(route.service == service.name for route in spec.edge.routes)
    return bool(service.listening_ports)


def _requests_are_counted(spec: "CampaignSpec", service: Service) -> bool:
    metrics = service.autoscaling.metrics if service.autoscaling else ()
    return all(metric.requests is None for metric in metrics) or _service_entered(spec, service)


def _leads_to_tcp(spec: "CampaignSpec", rule: RouteRule) -> bool:
    service = _service_of(spec, rule)
    ports = service.listening_ports if service else ()
    asked = [port for port in ports if rule.port in (None, port.port)]
    return not asked or any(port.protocol == "TCP" for port in asked)


def _used_events(spec: "CampaignSpec") -> set[str]:
    """Events that a person named somewhere else than in edge.events."""
    metrics = [metric for each in spec.services if each.autoscaling for metric in each.autoscaling.metrics]
    used = {metric.event for metric in metrics if metric.event is not None}
    if spec.goal:
        used.add(spec.goal.event)
    if spec.analytics and "event" in spec.analytics.order.model_fields_set:
        used.add(spec.analytics.order.event)
    return used


def _counted_by_name(spec: "CampaignSpec") -> bool:
    """Events that nobody declared are counted together, so nothing can grow with one of them."""
    if spec.edge is None:
        return True  # said by the rule on metrics without an edge
    order = spec.analytics.order.event if spec.analytics else OrderEvent().event
    known = {event.name for event in spec.edge.events.declared} | {order}
    metrics = [metric for each in spec.services if each.autoscaling for metric in each.autoscaling.metrics]
    return all(metric.event is None or metric.event in known for metric in metrics)


def _used_are_declared(spec: "CampaignSpec") -> bool:
    if spec.edge is None or spec.edge.events.undeclared == "Accept":
        return True
    return _used_events(spec) <= {event.name for event in spec.edge.events.declared}


def _counts_at_the_edge(service: Service) -> bool:
    metrics = service.autoscaling.metrics if service.autoscaling else ()
    return any(metric.event is not None or metric.requests is not None for metric in metrics)


def _looks_through_the_edge(service: Service) -> bool:
    gates = (*service.release.before, *service.release.after)
    looking = [gate.http or gate.browser for gate in gates]
    through = any(each is not None and each.through == "Edge" for each in looking)
    return through or any(gate.events is not None for gate in gates) or bool(service.release.preview_hosts)


def _each_once(names: list[str]) -> bool:
    return len(set(names)) == len(names)


_WITHOUT_EDGE = (
    "!has(g.events) && (!has(g.http) || !has(g.http.through) || g.http.through != 'Edge') && "
    "(!has(g.browser) || !has(g.browser.through) || g.browser.through != 'Edge')"
)
_DECLARED = (
    "(has(self.edge.events) && has(self.edge.events.declared) && self.edge.events.declared.exists(d, d.name == {}))"
)
_ORDER = (
    "(has(self.analytics) && has(self.analytics.order) && has(self.analytics.order.event) ? "
    "self.analytics.order.event : 'Order Completed')"
)
_FITS = (
    "(has(r.port) ? (has(s.port) ? s.port == r.port : has(s.ports) ? s.ports.exists(p, p.port == r.port) : "
    f"r.port == {CONTENT_PORT}) : (has(s.port) || !has(s.ports) || s.ports.size() == 1))"
)
_TARGET = "s.name == r.service && (has(s.port) || has(s.ports) || has(s.content))"


EDGE_RULES: tuple[Rule, ...] = (
    Rule(
        cel="!has(self.edge) || !has(self.route) || !has(self.route.rules)",
        holds=lambda spec: spec.edge is None or not _route_rules(spec),
        message="with an edge everything enters through it: move route.rules to edge.routes",
        field="route.rules",
    ),
    Rule(
        cel="!has(self.edge) || has(self.edge.routes) || "
        "self.services.filter(s, has(s.port) || has(s.ports) || has(s.content)).size() == 1",
        holds=lambda spec: spec.edge is None or bool(spec.edge.routes) or len(_reached(spec)) == 1,
        message="edge.routes may be absent only when exactly one service has a port: add routes, or a port to the "
        "service to be reached",
        field="edge",
    ),
    Rule(
        cel=f"!has(self.edge) || !has(self.edge.routes) || self.edge.routes.all(r, self.services.exists(s, {_TARGET}))",
        holds=lambda spec: all(_service_of(spec, rule) for rule in _edge_routes(spec)),
        message="each of edge.routes must name a service of this campaign that has a port: correct service, or add "
        "the port",
        field="edge.routes",
    ),
    Rule(
        cel="!has(self.edge) || !has(self.edge.routes) || self.edge.routes.all(r, self.services.all(s, "
        f"!({_TARGET}) || {_FITS}))",
        holds=lambda spec: all(_port_fits(spec, rule) for rule in _edge_routes(spec)),
        message="each of edge.routes must lead to one port of its service: set port to one of the service's port "
        "numbers (it may be absent only when the service has a single port)",
        field="edge.routes",
    ),
    Rule(
        cel="!has(self.edge) || !has(self.edge.routes) || self.edge.routes.all(r, self.edge.routes.all(o, "
        "r.service != o.service || (has(r.port) ? r.port : 0) == (has(o.port) ? o.port : 0)))",
        holds=lambda spec: _one_port_for_each(_edge_routes(spec)),
        message="edge.routes to one service must all lead to the same port of it: give them the same port",
        field="edge.routes",
    ),
    Rule(
        cel="!has(self.edge) || self.services.all(s, s.name != 'edge')",
        holds=lambda spec: spec.edge is None or all(service.name != "edge" for service in spec.services),
        message="the name edge is taken by spec.edge: rename the service",
        field="services",
    ),
    Rule(
        cel="has(self.edge) || !has(self.analytics)",
        holds=lambda spec: spec.edge is not None or spec.analytics is None,
        message="what is measured enters through the edge: add edge, or take analytics out",
        field="analytics",
    ),
    Rule(
        cel="has(self.edge) || self.services.all(s, !has(s.autoscaling) || s.autoscaling.metrics.all(m, "
        "!has(m.event) && !has(m.requests)))",
        holds=lambda spec: spec.edge is not None or not any(_counts_at_the_edge(service) for service in spec.services),
        message="metrics of events and requests are counted at the edge: add edge, or scale on cpu or memory",
        field="services",
    ),
    Rule(
        cel="!has(self.edge) || self.services.all(s, !has(s.autoscaling) || s.autoscaling.metrics.all(m, "
        "!has(m.requests)) || (has(self.edge.routes) ? self.edge.routes.exists(r, r.service == s.name) : "
        "(has(s.port) || has(s.ports) || has(s.content))))",
        holds=lambda spec: spec.edge is None or all(_requests_are_counted(spec, service) for service in spec.services),
        message="requests are counted at the edge, so a service that scales on them must be in edge.routes: add it "
        "there, or scale on cpu, memory or an event",
        field="services",
    ),
    Rule(
        cel="!has(self.edge) || self.services.all(s, !has(s.autoscaling) || s.autoscaling.metrics.all(m, "
        f"!has(m.event) || m.event == {_ORDER} || {_DECLARED.format('m.event')}))",
        holds=_counted_by_name,
        message="events that are not declared are counted together, so no service can scale on one: add it to "
        "edge.events.declared",
        field="services",
    ),
    Rule(
        cel="!has(self.edge) || !has(self.edge.routes) || self.edge.routes.all(r, self.services.all(s, "
        "s.name != r.service || !has(s.ports) || s.ports.all(p, has(r.port) && p.port != r.port) || s.ports.exists(p, "
        "(!has(r.port) || p.port == r.port) && (!has(p.protocol) || p.protocol == 'TCP'))))",
        holds=lambda spec: all(_leads_to_tcp(spec, rule) for rule in _edge_routes(spec)),
        message="the edge speaks HTTP over TCP: let each of edge.routes lead to a port with protocol TCP",
        field="edge.routes",
    ),
    Rule(
        cel=f"!has(self.edge) || !has(self.edge.events) || !has(self.edge.events.undeclared) || "
        "self.edge.events.undeclared != 'Reject' || ("
        f"(!has(self.goal) || {_DECLARED.format('self.goal.event')}) && "
        "(!has(self.analytics) || !has(self.analytics.order) || !has(self.analytics.order.event) || "
        f"{_DECLARED.format('self.analytics.order.event')}) && "
        "self.services.all(s, !has(s.autoscaling) || s.autoscaling.metrics.all(m, !has(m.event) || "
        f"{_DECLARED.format('m.event')})))",
        holds=_used_are_declared,
        message="with undeclared: Reject the events of goal, analytics.order and autoscaling must be declared, or they "
        "would be refused: add them to edge.events.declared",
        field="edge.events",
    ),
)

RELEASE_RULES: tuple[Rule, ...] = (
    Rule(
        cel="has(self.edge) || self.services.all(s, !has(s.release) || ((!has(s.release.before) || "
        f"s.release.before.all(g, {_WITHOUT_EDGE})) && (!has(s.release.after) || s.release.after.all(g, "
        f"{_WITHOUT_EDGE})) && !has(s.release.previewHosts)))",
        holds=lambda spec: spec.edge is not None or not any(_looks_through_the_edge(each) for each in spec.services),
        message="gates of events, gates with through: Edge, and previewHosts need spec.edge: add it, or take them out",
        field="services",
    ),
    Rule(
        cel="!has(self.edge) || self.services.all(s, !has(s.release) || !has(s.release.previewHosts) || "
        "s.release.previewHosts.all(h, self.services.exists_one(o, has(o.release) && has(o.release.previewHosts) && "
        "h in o.release.previewHosts)))",
        holds=lambda spec: _each_once([host for each in spec.services for host in each.release.preview_hosts]),
        message="a host name shows the preview of one service: take it out of the previewHosts of the others",
        field="services",
    ),
)

PREVIEW_RULES: tuple[Rule, ...] = (
    Rule(
        cel="!has(self.edge) || !has(self.edge.routes) || self.services.all(s, !has(s.release) || "
        "!has(s.release.previewHosts) || s.release.previewHosts.all(h, self.edge.routes.all(r, !has(r.hostnames) || "
        "!(h in r.hostnames))))",
        holds=lambda spec: (
            not (
                {host for each in spec.services for host in each.release.preview_hosts}
                & {host for route in _edge_routes(spec) for host in route.hostnames}
            )
        ),
        message="a host name of a preview shows nothing else: take it out of edge.routes, or out of previewHosts",
        field="services",
    ),
)

ROUTE_RULES: tuple[Rule, ...] = (
    Rule(
        cel="!has(self.route) || has(self.edge) || has(self.route.rules) || "
        "self.services.filter(s, has(s.port) || has(s.ports) || has(s.content)).size() == 1",
        holds=lambda spec: (
            spec.route is None or spec.edge is not None or bool(spec.route.rules) or len(_reached(spec)) == 1
        ),
        message="route.rules may be absent only when exactly one service has a port: add rules, or a port to the "
        "service to be reached",
        field="route",
    ),
    Rule(
        cel=f"!has(self.route) || !has(self.route.rules) || self.route.rules.all(r, "
        f"self.services.exists(s, {_TARGET}))",
        holds=lambda spec: all(_service_of(spec, rule) for rule in _route_rules(spec)),
        message="each of route.rules must name a service of this campaign that has a port: correct service, or add "
        "the port",
        field="route.rules",
    ),
    Rule(
        cel="!has(self.route) || !has(self.route.rules) || self.route.rules.all(r, self.services.all(s, "
        f"!({_TARGET}) || {_FITS}))",
        holds=lambda spec: all(_port_fits(spec, rule) for rule in _route_rules(spec)),
        message="each of route.rules must lead to one port of its service: set port to one of the service's port "
        "numbers (it may be absent only when the service has a single port)",
        field="route.rules",
    ),
)
