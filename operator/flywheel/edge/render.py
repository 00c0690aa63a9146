"""The whole of HAProxy's configuration from the operator's document and the pods that are there. Pure.

A configuration lives in a directory of its own, named by its structure: the digest of everything that only a reload can
change. The live maps and the servers' addresses are not part of it. The name is also HAProxy's `description`, so that a
running HAProxy says which structure it has.

Valid for HAProxy 2.6 and later.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from flywheel.edge import fraudrules, rules
from flywheel.edge.channelrules import DIRECT, KNOWN_CHANNELS, known_channels
from flywheel.edge.document import EdgeDocument
from flywheel.edge.endpoints import Endpoints
from flywheel.edge.livemaps import LIVE_MAPS, Maps, live_maps
from flywheel.edge.naming import (
    COLLECT_PORT,
    HEALTH_PORT,
    HTTP_PORT,
    HTTPS_PORT,
    LOG_PORT,
    RUN_DIRECTORY,
)
from flywheel.edge.quoting import DocumentProblem, between, name_token, network, token
from flywheel.edge.routing import backend_name, route_tables
from flywheel.edge.servers import ServerState, Shape, backend_lines, is_variant, server_states

LOG_LENGTH = 16_384
EDGE_FRONTEND = "_edge"
NOBODY = "There is nobody to answer right now."
COLLECTED = r"'^/(?:v1/|fw\.js$)'"
"""Paths of the edge itself: see `naming.RESERVED_PATHS`."""


@dataclass(frozen=True)
class Layout:
    """What differs between a pod and a test: where things are."""

    run_directory: str = RUN_DIRECTORY
    http_port: int = HTTP_PORT
    https_port: int = HTTPS_PORT
    health_port: int = HEALTH_PORT
    collect_port: int = COLLECT_PORT
    log_port: int = LOG_PORT
    ipv6: bool = True
    threads: int = 2
    hard_stop_after: int = 60
    """Seconds after which a worker that was replaced or stopped ends its last requests by force."""

    @property
    def stats_socket(self) -> str:
        """Where the running HAProxy takes orders."""
        return f"{self.run_directory}/stats.sock"

    @property
    def master_socket(self) -> str:
        """Where the master process of HAProxy takes orders."""
        return f"{self.run_directory}/master.sock"

    @property
    def configuration(self) -> str:
        """The file that HAProxy starts with."""
        return f"{self.run_directory}/haproxy.cfg"

    @property
    def certificate(self) -> str:
        """Certificate and key of HTTPS in one file."""
        return f"{self.run_directory}/edge.pem"

    def directory(self, structure: str) -> str:
        """Where the files of one structure are."""
        return f"{self.run_directory}/structure-{structure}"


@dataclass(frozen=True)
class Rendered:
    """A configuration: what to write and what the running HAProxy must look like."""

    structure: str
    directory: str
    config: str
    files: Mapping[str, str]
    """Files of the structure by name."""
    maps: Maps
    """Live maps by name."""
    servers: Mapping[str, Mapping[str, ServerState]]
    """Backend -> server -> state."""
    generation: str = field(default="")
    decided: tuple[str, ...] = ()
    """Maps of the fraud worker's decisions, which are no part of the document."""

    def map_path(self, name: str) -> str:
        """Where a live map is: also its name in HAProxy."""
        return f"{self.directory}/{name}.map"


def render(
    document: EdgeDocument, endpoints: Endpoints, *, certificate: bool = False, layout: Layout | None = None
) -> Rendered:
    """Make the configuration of a document.

    Args:
        document: What the operator wants.
        endpoints: The pods, in their places.
        certificate: Whether there is a certificate; HTTPS waits for it.
        layout: Where things are, in a pod by default.

    Raises:
        DocumentProblem: The document cannot be carried out; the text names the field.
    """
    place = layout or Layout()
    _check(document)
    maps = live_maps(document)
    servers = server_states(document, endpoints)
    tables = route_tables(document)
    files = {
        "routes.map": tables.routes,
        "wildcards.map": tables.wildcards,
        KNOWN_CHANNELS: map_text(known_channels(document)),
        "trusted.lst": "".join(
            f"{network(each, f'trustedProxies[{index}]')}\n" for index, each in enumerate(document.trusted_proxies)
        ),
    }
    shape: dict[str, Shape] = {name: dict.fromkeys(group) for name, group in servers.items()}
    fixed = "\n".join(_lines(document, place, "", "", certificate, shape))
    structure = hashlib.sha256(repr((fixed, sorted(files.items()))).encode()).hexdigest()[:16]
    directory = place.directory(structure)
    text = "\n".join(_lines(document, place, directory, structure, certificate, servers)) + "\n"
    decided = fraudrules.FRAUD_MAPS if document.fraud is not None else ()
    return Rendered(structure, directory, text, files, maps, servers, document.generation, decided)


def _check(document: EdgeDocument) -> None:
    if not document.services:
        raise DocumentProblem("services", "there is none; an edge needs one service at least")
    seen: set[str] = set()
    for index, service in enumerate(document.services):
        if not service.backends:
            raise DocumentProblem(f"services[{index}].backends", "there is none; a service needs one at least")
        name_token(service.name, f"services[{index}].name")
        for number, backend in enumerate(service.backends):
            name = backend_name(service.name, backend.slot)
            if name in seen:
                raise DocumentProblem(f"services[{index}].backends[{number}].slot", f"{name} is there twice")
            seen.add(name)
    _check_limits(document)


def _check_limits(document: EdgeDocument) -> None:
    limits = document.limits
    between(limits.requests_per_second, 1, 10_000_000, "limits.requestsPerSecond")
    between(limits.events_per_second, 1, 10_000_000, "limits.eventsPerSecond")
    between(limits.connections_per_address, 1, 1_000_000, "limits.connectionsPerAddress")
    between(limits.connections, 10, 1_000_000, "limits.connections")
    between(limits.body_bytes, 0, 1 << 40, "limits.bodyBytes")
    between(limits.header_bytes, 1024, 1 << 18, "limits.headerBytes")
    between(limits.client_timeout, 0.1, 3600, "limits.clientTimeout")
    between(limits.server_timeout, 0.1, 86_400, "limits.serverTimeout")
    between(document.visitor.max_age, 0, 1 << 40, "visitor.maxAge")
    if document.tls is not None:
        between(document.tls.hsts_max_age, 0, 1 << 40, "tls.hstsMaxAge")


def _lines(
    document: EdgeDocument,
    layout: Layout,
    directory: str,
    structure: str,
    certificate: bool,
    servers: Mapping[str, Shape],
) -> Iterator[str]:
    yield "# Written by flywheel from the operator's document; changes by hand do not last."
    yield from _section("global", _global(document, layout, structure, certificate))
    yield from _section("defaults", _defaults(document))
    yield from _section(f"frontend {EDGE_FRONTEND}", _edge(document, layout, directory, certificate))
    yield from _section("frontend _health", _health(layout, directory))
    yield from _section("backend _refused", _refused(document))
    yield from _section("backend _collect", _collect(document, layout))
    for name in ("_requests", "_events"):
        yield from _section(f"backend {name}", ["stick-table type ipv6 size 200k expire 30s store http_req_rate(10s)"])
    if document.fraud is not None:
        yield from _section(f"backend {fraudrules.THROTTLE_TABLE}", fraudrules.throttle_table())
    yield from _section("backend _connections", ["stick-table type ipv6 size 200k expire 30s store conn_cur"])
    for service in document.services:
        for backend in service.backends:
            name = backend_name(service.name, backend.slot)
            yield from _section(
                f"backend {name}", backend_lines(servers[name], directory, tested=is_variant(service, backend))
            )


def _section(head: str, lines: Iterator[str] | list[str]) -> Iterator[str]:
    yield ""
    yield head
    for line in lines:
        yield f"    {line}"


def _global(document: EdgeDocument, layout: Layout, structure: str, certificate: bool) -> Iterator[str]:
    limits = document.limits
    headers = sum(len(name) + len(value.encode()) + 8 for name, value in document.response_headers.items())
    # What is added to a request or an answer takes about 1,300 bytes at most. A request that may have to be sent again
    # is copied with its whole buffer: what is too large takes time.
    rewrite = 2048 + headers
    yield f"description {structure or 'none'}"
    # Beside the visitors: health, metrics, and orders over the socket.
    yield f"maxconn {limits.connections + 100}"
    yield "no strict-limits"
    yield f"nbthread {layout.threads}"
    yield f"stats socket {layout.stats_socket} mode 600 level admin expose-fd listeners"
    yield "stats timeout 30s"
    yield f"hard-stop-after {layout.hard_stop_after}s"
    yield f"tune.bufsize {limits.header_bytes + rules.UNSIZED_BODY + 2048 + rewrite}"
    yield f"tune.maxrewrite {rewrite}"
    yield "tune.http.maxhdr 128"
    if certificate:
        yield "ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets"
        yield (
            "ssl-default-bind-ciphers ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
            "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
            "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
        )


def _defaults(document: EdgeDocument) -> Iterator[str]:
    limits = document.limits
    client = max(1, round(limits.client_timeout * 1000))
    yield "mode http"
    yield "option dontlognull"
    yield "option idle-close-on-response"
    yield "timeout connect 1s"
    yield "timeout queue 5s"
    yield f"timeout http-request {client}ms"
    yield f"timeout client {client}ms"
    yield "timeout client-fin 5s"
    yield "timeout http-keep-alive 30s"
    yield f"timeout server {max(1, round(limits.server_timeout * 1000))}ms"
    yield "timeout tunnel 1h"
    yield f"http-error status 503 content-type text/plain string '{NOBODY}' hdr Retry-After 5"


def _edge(document: EdgeDocument, layout: Layout, directory: str, certificate: bool) -> Iterator[str]:
    families = ("ipv4@", "ipv6@") if layout.ipv6 else ("ipv4@",)
    for family in families:
        only = " v6only" if family == "ipv6@" else ""
        yield f"bind {family}:{layout.http_port}{only}"
        if certificate and document.tls is not None:
            yield f"bind {family}:{layout.https_port}{only} ssl crt {layout.certificate} alpn h2,http/1.1"
    yield f"maxconn {document.limits.connections}"
    # Here and not for all: HAProxy's own messages, of servers and proxies that come and go, are no requests.
    yield f"log 127.0.0.1:{layout.log_port} len {LOG_LENGTH} format raw local0 info"
    yield f"log-format '{log_format(document)}'"
    has_certificate = certificate and document.tls is not None
    yield f"acl has_certificate always_{'true' if has_certificate else 'false'}"
    yield f"acl collect path -m reg {COLLECTED}"
    yield "acl refused var(txn.rf) -m found"
    if not document.trusted_proxies:
        # Cheaper than a rule that does the same. What the client says of it is taken off before.
        yield "option forwardfor"
    yield "tcp-request connection track-sc2 src table _connections"
    exempt = f" !{{ src -f {directory}/trusted.lst }}" if document.trusted_proxies else ""
    yield f"tcp-request connection reject if {{ sc2_conn_cur gt {document.limits.connections_per_address} }}{exempt}"
    yield from rules.request_rules(document, directory)
    yield from rules.answer_rules(document, directory)
    # Whoever is refused has no destination.
    yield "use_backend %[var(txn.pick),field(1,|)] if { var(txn.pick) -m found }"
    yield "use_backend _refused if refused"
    yield "use_backend _collect if collect"
    yield "default_backend _refused"


def log_format(document: EdgeDocument) -> str:
    """Give the access log: one JSON object a request; every text escaped, every number there whatever happened.

    Keys of what seldom happens are not there when it has not: see `rules.seldom_logged`.
    """
    # What is of our own making needs neither a limit nor an escape.
    own = {"id": "var(txn.id)", "svc": "var(txn.svc)", "slot": "var(txn.pick),field(2,|)"}
    own |= {"ch": f"var(txn.ch,{DIRECT})", "vid": "var(txn.vid)", "rf": "var(txn.rf)"}
    given = {"host": ("host", 255), "p": ("path", 1024), "ua": ("ua", 512), "ref": ("ref", 255)}
    # Quoted by HAProxy: it prints "-" for what is empty, but not within quotes of its own.
    parts = [f'"{key}":%{{+Q}}[{fetch}]' for key, fetch in own.items()]
    parts += [
        f'"{key}":%{{+Q}}[var(txn.{name}),bytes(0,{length}),json(utf8s)]' for key, (name, length) in given.items()
    ]
    parts += ['"ip":%{+Q}[var(txn.ip)]' if document.trusted_proxies else '"ip":"%ci"']
    parts += ['"reg":%{+Q}[var(txn.reg)]' if document.trusted_proxies and document.region_header else '"reg":""']
    parts += ['"cns":%[var(txn.cns)]0' if document.visitor.consent is not None else '"cns":1']
    parts += ['"page":%[var(txn.page)]0', '"nv":%[var(txn.more)]0']
    parts += [
        '"t":%Ts%ms',
        '"m":"%HM"',
        '"st":%ST',
        '"d":%Ta',
        # Tenths of microseconds, as `rules.yes` has it. Odd: 00 would be no number of JSON.
        '"du":%[date(0,us),sub(txn.began),or(1)]0',
        '"sd":%Tr',
        '"bi":%U',
        '"bo":%B',
        '"ts":"%ts"',
        '"pid":%pid',
    ]
    return "{" + ",".join(parts) + "}"


def _health(layout: Layout, directory: str) -> Iterator[str]:
    for family in ("ipv4@", "ipv6@") if layout.ipv6 else ("ipv4@",):
        yield f"bind {family}:{layout.health_port}{' v6only' if family == 'ipv6@' else ''}"
    yield "maxconn 50"
    yield "http-request return status 200 content-type text/plain string alive if { path /healthz }"
    yield (
        "http-request return status 503 content-type text/plain string draining "
        f"if {{ path /readyz }} {rules.draining(directory)}"
    )
    yield "http-request return status 200 content-type text/plain string ready if { path /readyz }"
    yield "http-request use-service prometheus-exporter if { path /metrics }"
    yield "http-request return status 404 content-type text/plain string 'There is nothing at this address.'"


def _refused(document: EdgeDocument) -> Iterator[str]:
    if document.fraud is not None:
        yield from fraudrules.answers()
    for reason, (status, text, retry) in rules.REFUSALS.items():
        after = f" hdr Retry-After {retry}" if retry else ""
        yield (
            f"http-request return status {status} content-type text/plain string '{text}'{after} "
            f"if {{ var(txn.rf) -m str {reason} }}"
        )
    yield f"http-request return status 503 content-type text/plain string '{NOBODY}' hdr Retry-After 5"


def _collect(document: EdgeDocument, layout: Layout) -> Iterator[str]:
    yield "retries 0"
    yield "timeout queue 2s"
    yield "http-request del-header cookie"
    headers = {"Visitor": "vid", "Region": "reg"}
    for header, variable in headers.items():
        yield f"http-request set-header X-FW-{header} %[var(txn.{variable})] if {{ var(txn.{variable}) -m found }}"
    yield f"http-request set-header X-FW-Channel %[var(txn.ch,{DIRECT})]"
    yield f"http-request set-header X-FW-Address %[{rules.address(document)}]"
    if document.visitor.consent is None:
        yield "http-request set-header X-FW-Consent 1"
    else:
        yield "http-request set-header X-FW-Consent 0 if !{ var(txn.cns) -m found }"
        yield "http-request set-header X-FW-Consent 1 if { var(txn.cns) -m found }"
    yield f"server sidecar 127.0.0.1:{layout.collect_port} maxconn 1000"


def map_text(entries: Mapping[str, str]) -> str:
    """Write the entries of a map as its file."""
    return "".join(f"{key} {value}\n" for key, value in entries.items())


__all__ = ["LIVE_MAPS", "DocumentProblem", "Layout", "Rendered", "map_text", "render", "token"]
