"""The edge's orders: one JSON document that the operator writes and every edge pod carries out.

The operator puts it into the ConfigMap `<campaign>-edge` under `edge.json`. Everything but `live` is structure: a
change of it is rendered anew and HAProxy reloads. What is in `live` changes through HAProxy's runtime API, without one.
"""

from typing import Literal

import msgspec

from flywheel.plan import content_hash

DOCUMENT_KEY = "edge.json"
BUCKETS = 10_000
"""Buckets of visitors in an assignment; see `flywheel.edge.bucket`."""
LONGEST_DOCUMENT = 900_000
"""Bytes: what fits a ConfigMap with room to spare."""


class Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", omit_defaults=True):
    """Base of all parts: strict on decoding, frozen, camelCase on the wire."""


class Backend(Struct, frozen=True, kw_only=True):
    """One set of pods that can answer for a service: one of its slots, or a variant of it."""

    slot: str = ""
    """Name of the slot or variant; empty for a service that has only one."""
    service: str
    """Name of the Kubernetes Service whose EndpointSlices are followed."""
    port: str
    """Name of the port in those EndpointSlices."""
    capacity: int = 16
    """Pods to make room for; more than that costs a reload."""


class EdgeService(Struct, frozen=True, kw_only=True):
    """One service behind the edge."""

    name: str
    backends: tuple[Backend, ...]


class EdgeRoute(Struct, frozen=True, kw_only=True):
    """Which service answers for a host and below a path."""

    path: str
    service: str
    hosts: tuple[str, ...] = ()
    """Lower-case host names, `*.` in front for all below; empty for every host."""


class Consent(Struct, frozen=True, kw_only=True):
    """Without consent no visitor is known: no cookie, and events carry no identity."""

    cookie: str = "fw_consent"
    granted: tuple[str, ...] = ("granted",)
    """Values of the cookie that say yes."""


class Visitor(Struct, frozen=True, kw_only=True):
    """The first-party cookie `fw_vid`."""

    max_age: int = 365 * 86400
    """Seconds."""
    same_site: Literal["Lax", "Strict", "None"] = "Lax"
    domain: str = ""
    consent: Consent | None = None


class Tls(Struct, frozen=True, kw_only=True):
    """HTTPS on port 8443, with the certificate of a Secret mounted into the pod."""

    redirect: bool = True
    hsts_max_age: int = 31_536_000
    """Seconds; 0 sends no Strict-Transport-Security."""


class Limits(Struct, frozen=True, kw_only=True):
    """What one client, and all together, may take."""

    requests_per_second: int = 100
    """Of one address, on average over 10 s."""
    events_per_second: int = 50
    """Calls of the collecting API by one address, on average over 10 s."""
    connections_per_address: int = 200
    connections: int = 10_000
    """Of one edge pod."""
    body_bytes: int = 1 << 20
    header_bytes: int = 16_384
    client_timeout: float = 10.0
    """Seconds in which a request must arrive whole."""
    server_timeout: float = 30.0
    """Seconds in which a service must begin to answer."""


class ChannelRule(Struct, frozen=True, kw_only=True):
    """Where visitors come from; the first rule of which any part fits wins. All values are lower case."""

    name: str
    utm_source: tuple[str, ...] = ()
    utm_medium: tuple[str, ...] = ()
    utm_campaign: tuple[str, ...] = ()
    referrers: tuple[str, ...] = ()
    """Host names of referring pages; those below them fit as well."""
    parameters: tuple[str, ...] = ()
    """Query parameters whose presence is enough, such as gclid."""


class Property(Struct, frozen=True, kw_only=True):
    """One declared property of an event."""

    name: str
    type: Literal["string", "number", "integer", "boolean", "array", "object"] = "string"
    required: bool = False


class DeclaredEvent(Struct, frozen=True, kw_only=True):
    """One event that the campaign knows."""

    name: str
    properties: tuple[Property, ...] = ()


class Order(Struct, frozen=True, kw_only=True):
    """Which event is an order, and where its value is."""

    event: str = "Order Completed"
    identity: str = "order_id"
    revenue: str = "revenue"
    currency: str = "currency"


class Collect(Struct, frozen=True, kw_only=True):
    """How the sidecar takes in events."""

    write_keys: tuple[str, ...]
    origins: tuple[str, ...] = ()
    """Origins of other sites that may send; the edge's own always may."""
    events: tuple[DeclaredEvent, ...] = ()
    undeclared: Literal["Reject", "Accept"] = "Accept"
    page_views: Literal["Edge", "Script"] = "Edge"
    """Who counts page views: HTML answers seen by the edge, or `page` calls of the script."""
    addresses: Literal["Hash", "Store", "Drop"] = "Hash"
    currency: str = "USD"
    rates: dict[str, float] = {}
    """Value of one unit of another currency in `currency`."""
    order: Order = Order()
    retention: int = 90 * 86400
    """Seconds after which rows go."""
    session_timeout: int = 1800
    """Seconds."""


class VariantRange(Struct, frozen=True, kw_only=True):
    """The buckets of one variant: start <= bucket < end."""

    variant: str
    slot: str
    """Where its visitors go: its own pods, or the control's where it has none."""
    start: int
    end: int
    fallback: bool = False
    """Whether the slot is the control's for want of pods: the exposure then says so."""


class Segment(Struct, frozen=True, kw_only=True):
    """Buckets of a layer: start <= bucket < end."""

    start: int
    end: int


class TargetHeader(Struct, frozen=True, kw_only=True):
    """A header that a request must have with one of the values."""

    name: str
    values: tuple[str, ...]


class Target(Struct, frozen=True, kw_only=True):
    """Who may enter a test: all that is given must hold."""

    paths: tuple[str, ...] = ()
    """A `*` at the end stands for anything."""
    headers: tuple[TargetHeader, ...] = ()
    devices: tuple[Literal["Phone", "Tablet", "Desktop"], ...] = ()
    regions: tuple[str, ...] = ()
    visitors: Literal["All", "New", "Returning"] = "All"
    segments: tuple[str, ...] = ()
    """The visitor is in one of them at least."""


class ForcedVariant(Struct, frozen=True, kw_only=True):
    """A variant that whoever knows the token sees, without being counted."""

    token: str
    """16 to 64 letters and digits that nobody can guess."""
    variant: str
    slot: str


class Test(Struct, frozen=True, kw_only=True):
    """Visitors of a service shared out over variants.

    The bucket in the layer says whether a visitor is in the test, the one under its own salt which variant they see:
    `bucket.assigned`.
    """

    name: str
    service: str
    salt: str
    layer_salt: str
    """The same for all tests of a service."""
    segments: tuple[Segment, ...]
    """The test's buckets of the layer."""
    ranges: tuple[VariantRange, ...]
    holdout: int = 0
    """Basis points of all visitors, the same ones for every test, who do not take part."""
    target: Target | None = None
    """Whoever is in stays in, whatever it says later on."""
    sticky: bool = False
    """Whoever is in keeps the variant, also when ranges change."""
    forced: tuple[ForcedVariant, ...] = ()

    @property
    def remembers(self) -> bool:
        """Whether a cookie keeps who is in, and with which variant."""
        return self.sticky or self.target is not None


class Block(Struct, frozen=True, kw_only=True):
    """One client that is refused until a moment."""

    kind: Literal["address", "visitor"]
    value: str
    """An address or CIDR, or a visitor's id."""
    until: int
    """Seconds since 1970."""


class Share(Struct, frozen=True, kw_only=True):
    """A share of the visitors of a service that goes to another slot than the active one."""

    service: str
    slot: str
    basis_points: int
    """Of 10,000 visitors."""


class Weight(Struct, frozen=True, kw_only=True):
    """How much of a backend's load each of its pods takes."""

    service: str
    slot: str = ""
    weight: int
    """0 to 256; 0 lets open requests end and gives no new ones."""


class Preview(Struct, frozen=True, kw_only=True):
    """A slot that may be seen before it is the active one, by whoever names the revision in it."""

    service: str
    slot: str
    revision: str
    """8 to 64 letters and digits that nobody can guess: there is no other secret."""
    hosts: tuple[str, ...] = ()
    """Lower-case host names under which it is seen without being named."""


class Live(Struct, frozen=True, kw_only=True):
    """What changes without a reload."""

    active: dict[str, str] = {}
    """The active slot of each service that has several; the first one otherwise."""
    fallbacks: dict[str, str] = {}
    """The slot of a service that answers where its active one has nobody left."""
    shares: tuple[Share, ...] = ()
    weights: tuple[Weight, ...] = ()
    tests: tuple[Test, ...] = ()
    holdout_salt: str = ""
    """Under which visitors are chosen who are in no test that has a holdout."""
    blocks: tuple[Block, ...] = ()
    previews: tuple[Preview, ...] = ()


class Fraud(Struct, frozen=True, kw_only=True):
    """Where events are judged as they come, and where decisions come from."""

    workers: tuple[str, ...]
    """Addresses of the fraud workers, http://host:port. Each gets every event, and judges its share of the keys."""
    generation: str = ""
    """Of the rules that the workers shall have."""


class EdgeDocument(Struct, frozen=True, kw_only=True):
    """Everything that an edge pod has to know."""

    version: Literal[1] = 1
    namespace: str
    campaign: str
    generation: str = ""
    """Digest of the rest of the document: what a pod says when it has applied it."""
    services: tuple[EdgeService, ...]
    routes: tuple[EdgeRoute, ...]
    visitor: Visitor = Visitor()
    tls: Tls | None = None
    trusted_proxies: tuple[str, ...] = ()
    limits: Limits = Limits()
    response_headers: dict[str, str] = {}
    region_header: str = ""
    channels: tuple[ChannelRule, ...] = ()
    collect: Collect
    store: str
    """Address of the store's worker: http://host:port."""
    fraud: Fraud | None = None
    segments_key: str = ""
    """Signs what services say of a visitor's segments: 64 hexadecimal digits; empty where no test asks for any."""
    live: Live = Live()

    def stamped(self) -> "EdgeDocument":
        """The same document with its own generation."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, generation=""))
        return msgspec.structs.replace(self, generation=content_hash(plain))


class Trouble(Struct, frozen=True, kw_only=True):
    """Why an edge pod is not as it should be."""

    reason: str
    """One CamelCase word: InvalidDocument, ConfigurationRefused, HAProxyUnreachable, StoreUnreachable, SpoolFull ..."""
    message: str


class Applied(Struct, frozen=True, kw_only=True):
    """What one edge pod says of itself, in the ConfigMap `<campaign>-edge-applied` under its own name."""

    generation: str = ""
    at: str = ""
    """When it was applied, RFC 3339 in UTC."""
    trouble: Trouble | None = None


def encode(document: EdgeDocument) -> str:
    """Write a document as the JSON of the ConfigMap; equal documents give equal text."""
    return msgspec.json.encode(document, order="deterministic").decode()


def decode(text: str | bytes) -> EdgeDocument:
    """Read a document.

    Raises:
        msgspec.ValidationError: It is not one; the message names the path.
        msgspec.DecodeError: It is not JSON.
    """
    return msgspec.json.decode(text, type=EdgeDocument)
