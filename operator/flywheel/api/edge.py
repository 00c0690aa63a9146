"""The edge: where visitors enter, are known again, limited, routed and counted."""

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field

from flywheel.api.durations import between
from flywheel.api.edge_events import EdgeEvents
from flywheel.api.kubernetes import Annotations, ResourcesManifest, well_formed_keys
from flywheel.api.model import Distinct, Model, Rule
from flywheel.api.pod_template import RESERVED_PREFIX
from flywheel.api.quantities import (
    ByteSize,
    Duration,
    Flag,
    ImageReference,
    Integer,
    Name,
    Percentage,
    Text,
    cel_text,
    read_bytes,
)
from flywheel.api.route import RouteRule
from flywheel.api.web import (
    HEADER_NAME,
    AddressRange,
    CookieName,
    CookieValue,
    Domain,
    HeaderName,
    HeaderValue,
    Hostname,
)

HeadSize = Annotated[
    int,
    Text(
        "^([4-9]|[1-9][0-9]|1[0-9][0-9]|2[0-4][0-9]|25[0-6])Ki$", "4Ki to 256Ki, such as 16Ki", 5, 3, read_bytes, True
    ),
]
_RESERVED = "^/(v1(/.*)?|fw[.]js)$"
# What the edge needs itself, what frames an answer on the wire, and what every answer needs another value of.
_OWN_HEADERS = frozenset(
    [
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "keep-alive",
        "location",
        "proxy-connection",
        "server",
        "set-cookie",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-request-id",
    ]
)
_UNSETTABLE = f"^(?i)({'|'.join(sorted(_OWN_HEADERS))}|x-fw-.*)$"
_NO_REGIONS = frozenset(
    [
        "authorization",
        "connection",
        "content-length",
        "cookie",
        "forwarded",
        "host",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
        "x-forwarded-for",
        "x-request-id",
    ]
)
_NO_REGION = f"^(?i)({'|'.join(sorted(_NO_REGIONS))}|x-fw-.*)$"
# %41 is A, %2e is '.', %2f is '/', %5c is '\\', and so on: two spellings of one path lead past a route.
_NEEDLESSLY_ENCODED = "%([01][0-9a-fA-F]|2[dDeEfF]|3[0-9]|4[1-9a-fA-F]|5[0-9aAcCfF]|6[1-9a-fA-F]|7[0-9aAeEfF])"
_COOKIES = ("fw_vid", "fw_ch")


def _is_reserved(path: str) -> bool:
    return path in {"/v1", "/fw.js"} or path.startswith("/v1/")


class EdgeRoute(RouteRule):
    """Which service answers below one path."""

    constraints = (
        *RouteRule.constraints,
        Rule(
            cel=f"!self.path.matches('{_RESERVED}')",
            holds=lambda model: not _is_reserved(model.path),
            message="/v1 and /fw.js are the edge's own, where events are taken in: choose another path",
            field="path",
        ),
        Rule(
            cel="self.path == '/' || !self.path.endsWith('/')",
            holds=lambda model: model.path == "/" or not model.path.endswith("/"),
            message="leave out the '/' at the end of a path: /coupon already means everything below it",
            field="path",
        ),
        Rule(
            cel=f"!self.path.matches({cel_text(_NEEDLESSLY_ENCODED)})",
            holds=lambda model: not re.search(_NEEDLESSLY_ENCODED, model.path),
            message="a path must not hide letters, digits, dots, slashes or control characters behind %: write them as "
            "they are",
            field="path",
        ),
    )

    hostnames: Annotated[tuple[Hostname, ...], Field(max_length=16), Distinct("remove one of the two")] = Field(
        default=(), description="Only under these host names. Default: under every host name."
    )


class EdgeScaling(Model):
    """How far the edge grows."""

    max: Annotated[Integer, Field(ge=1, le=200)] = Field(
        default=10, description="Most edge pods, at least edge.replicas; 1 to 200. Default 10, or edge.replicas."
    )
    cpu: Percentage = Field(default=70, description="CPU use to hold, in percent of the requests. Default 70%.")


class EdgeService(Model):
    """How the edge is reached."""

    constraints = (
        well_formed_keys("annotations"),
        Rule(
            cel=f"!has(self.annotations) || self.annotations.all(k, !k.startsWith('{RESERVED_PREFIX}'))",
            holds=lambda model: not any(key.startswith(RESERVED_PREFIX) for key in model.annotations or ()),
            message="annotations flywheel.dev/* are reserved for the operator: remove them",
            field="annotations",
        ),
    )

    type: Literal["ClusterIP", "NodePort", "LoadBalancer"] = Field(
        default="ClusterIP", description="Type of the edge's Service. Default ClusterIP: a Gateway is in front of it."
    )
    annotations: Annotations | None = Field(default=None, description="Annotations of the Service, for load balancers.")


class EdgeTls(Model):
    """HTTPS."""

    secret_name: Name = Field(
        description="Secret of type kubernetes.io/tls with tls.crt and tls.key; a change of it is taken up by itself."
    )
    redirect: Flag = Field(default=True, description="Send visitors of plain HTTP to HTTPS. Default true.")
    hsts: Duration = Field(
        default=timedelta(days=365),
        description="How long browsers shall insist on HTTPS (Strict-Transport-Security). Default 365d; 0s sends none.",
    )


class VisitorConsent(Model):
    """Visitors are known only when they agreed."""

    constraints = (
        Rule(
            cel=f"!has(self.cookie) || !(self.cookie in {list(_COOKIES)})",
            holds=lambda model: model.cookie not in _COOKIES,
            message="fw_vid and fw_ch are set by the edge itself and say nothing of consent: name the cookie of your "
            "consent banner",
            field="cookie",
        ),
    )

    cookie: CookieName = Field(default="fw_consent", description="Cookie that holds the answer. Default fw_consent.")
    granted: Annotated[tuple[CookieValue, ...], Field(min_length=1, max_length=16), Distinct("remove one")] = Field(
        default=("granted",), description="Values of the cookie that say yes. Default [granted]."
    )


class EdgeVisitor(Model):
    """How visitors are known again: the first-party cookie fw_vid."""

    constraints = (between("maxAge", "max_age", "1m", "9999d", "a cookie of no time knows nobody again"),)

    max_age: Duration = Field(
        default=timedelta(days=365), description="How long a visitor is known after the last visit. Default 365d."
    )
    same_site: Literal["Lax", "Strict", "None"] = Field(
        default="Lax", description="SameSite of the cookie: Lax (default), Strict, or None, which needs edge.tls."
    )
    domain: Domain | None = Field(
        default=None, description="Domain of the cookie, for several hosts. Default: the host that was asked."
    )
    consent: VisitorConsent | None = Field(
        default=None,
        description="Ask for consent: without it no cookie is set and events carry no identity. Default: not asked.",
    )


class EdgeLimits(Model):
    """What one visitor, and all together, may take."""

    constraints = (
        between(
            "clientTimeout", "client_timeout", "1s", "1h", "slow clients must neither be cut off nor stay for ever"
        ),
        between("serverTimeout", "server_timeout", "1s", "1h", "visitors must neither be cut off nor wait for ever"),
    )

    requests_per_second: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        default=100, description="Requests of one address, on average over 10 s; more get 429. Default 100."
    )
    events_per_second: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        default=50, description="Calls of the event API by one address, on average over 10 s. Default 50."
    )
    connections_per_address: Annotated[Integer, Field(ge=1, le=1_000_000)] = Field(
        default=200, description="Open connections of one address to one edge pod. Default 200."
    )
    connections: Annotated[Integer, Field(ge=100, le=1_000_000)] = Field(
        default=10_000, description="Open connections of one edge pod. Default 10000."
    )
    body: ByteSize = Field(default=1 << 20, description="Largest body of a request, such as 1Mi (default).")
    headers: HeadSize = Field(
        default=16_384, description="Largest head of a request, such as 16Ki (default); 4Ki to 256Ki."
    )
    client_timeout: Duration = Field(
        default=timedelta(seconds=10), description="In this time a request must have arrived. Default 10s."
    )
    server_timeout: Duration = Field(
        default=timedelta(seconds=30), description="In this time a service must begin to answer. Default 30s."
    )


class Edge(Model):
    """The campaign's entry."""

    constraints = (
        Rule(
            cel="!has(self.autoscaling) || (has(self.autoscaling.max) ? self.autoscaling.max : 200) >= "
            "(has(self.replicas) ? self.replicas : 2)",
            holds=lambda model: (
                model.autoscaling.max >= model.replicas or "max" not in model.autoscaling.model_fields_set
            ),
            message="edge.autoscaling.max must be at least edge.replicas: raise max or lower replicas",
            field="autoscaling",
        ),
        Rule(
            cel="!has(self.visitor) || !has(self.visitor.sameSite) || self.visitor.sameSite != 'None' || has(self.tls)",
            holds=lambda model: model.visitor.same_site != "None" or model.tls is not None,
            message="browsers take SameSite=None only over HTTPS: add edge.tls or use Lax",
            field="visitor",
        ),
        Rule(
            cel="!has(self.routes) || self.routes.all(r, self.routes.exists_one(o, o.path == r.path && "
            "((!has(r.hostnames) || r.hostnames.size() == 0) ? (!has(o.hostnames) || o.hostnames.size() == 0) : "
            "(has(o.hostnames) && o.hostnames.exists(h, h in r.hostnames)))))",
            holds=lambda model: _each_place_once(model.routes),
            message="a path of one host name leads to one service: remove one of the two routes",
            field="routes",
        ),
        Rule(
            cel=f"!has(self.responseHeaders) || self.responseHeaders.all(k, size(k) <= 64 && "
            f"k.matches('^[A-Za-z0-9-]+$') && !k.matches('{_UNSETTABLE}') && "
            "self.responseHeaders.exists_one(o, o.lowerAscii() == k.lowerAscii()))",
            holds=lambda model: _may_be_set(list(model.response_headers)),
            message="each of responseHeaders must be the name of a header that may be set, and be there once, such as "
            "Content-Security-Policy: cookies, lengths, Location and X-FW headers are not for every answer",
            field="responseHeaders",
        ),
        Rule(
            cel=f"!has(self.regionHeader) || !self.regionHeader.matches('{_NO_REGION}')",
            holds=lambda model: not _is_one_of(model.region_header or "", _NO_REGIONS),
            message="this header holds no region, and it would be kept with every request: name the header in which "
            "your CDN or gateway tells the region, such as X-Region",
            field="regionHeader",
        ),
        Rule(
            cel="!has(self.regionHeader) || (has(self.trustedProxies) && self.trustedProxies.size() > 0)",
            holds=lambda model: model.region_header is None or bool(model.trusted_proxies),
            message="regionHeader is believed only when a trusted proxy sends it: add trustedProxies",
            field="regionHeader",
        ),
        between("drainFor", "drain_for", "1s", "1h", "a pod must be left by every client, and must go in the end"),
    )

    replicas: Annotated[Integer, Field(ge=1, le=200)] = Field(
        default=2, description="Fewest edge pods; 1 to 200. Default 2."
    )
    autoscaling: EdgeScaling = Field(default=EdgeScaling(), description="How far the edge grows. Default: to 10 pods.")
    image: ImageReference | None = Field(
        default=None, description="Image with HAProxy and the sidecar. Default: the operator's own choice."
    )
    resources: ResourcesManifest | None = Field(
        default=None, description="CPU and memory of HAProxy. Default: requests of 200m and 128Mi."
    )
    sidecar_resources: ResourcesManifest | None = Field(
        default=None, description="CPU and memory of the sidecar. Default: requests of 100m and 128Mi, limit of 512Mi."
    )
    service: EdgeService = Field(default=EdgeService(), description="How the edge is reached.")
    routes: Annotated[tuple[EdgeRoute, ...], Field(min_length=1, max_length=64)] = Field(
        default=(),
        description="Which path leads to which service; the longest path wins. May be absent when exactly one service "
        "has a port: it gets everything.",
    )
    tls: EdgeTls | None = Field(default=None, description="HTTPS at the edge. Default: plain HTTP, behind a Gateway.")
    visitor: EdgeVisitor = Field(default=EdgeVisitor(), description="How visitors are known again.")
    trusted_proxies: Annotated[tuple[AddressRange, ...], Field(max_length=64), Distinct("remove one")] = Field(
        default=(),
        description="Addresses of gateways and CDNs in front of the edge, whose X-Forwarded-For is believed. "
        "Default: nobody's.",
    )
    region_header: HeaderName | None = Field(
        default=None, description="Header in which a trusted proxy names the visitor's region, such as X-Region."
    )
    limits: EdgeLimits = Field(default=EdgeLimits(), description="What visitors may take.")
    response_headers: Annotated[dict[str, HeaderValue], Field(max_length=32)] = Field(
        default_factory=dict,
        description="Headers that every answer carries, beside or instead of the usual security headers.",
    )
    drain_for: Duration = Field(
        default=timedelta(seconds=15),
        description="How long a pod that goes still serves, so that every client has left it. Default 15s.",
    )
    events: EdgeEvents = Field(default=EdgeEvents(), description="How events are taken in.")


def _each_place_once(routes: tuple[EdgeRoute, ...]) -> bool:
    places = [(route.path, host) for route in routes for host in route.hostnames or ("",)]
    return len(set(places)) == len(places)


def _is_one_of(name: str, headers: frozenset[str]) -> bool:
    lowered = name.lower()
    return lowered in headers or lowered.startswith("x-fw-")


def _may_be_set(names: list[str]) -> bool:
    return len({name.lower() for name in names}) == len(names) and all(
        HEADER_NAME.matches(name) and not _is_one_of(name, _OWN_HEADERS) for name in names
    )
