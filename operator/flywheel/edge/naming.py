"""Names, ports and paths of an edge pod: what the manifests, HAProxy's configuration and the sidecar agree on."""

COMPONENT = "edge"
ENTRY_PORT = 80
"""Of the edge's Service: plain HTTP, for gateways in front of it."""
HTTP_PORT = 8080
HTTPS_PORT = 8443
HEALTH_PORT = 8404
"""HAProxy's own: `/healthz` (alive), `/readyz` (may get visitors), `/metrics` (its Prometheus exporter)."""
COLLECT_PORT = 9100
"""The sidecar's collecting API, on loopback only: HAProxy is in front of it."""
SIDECAR_PORT = 9101
"""The sidecar's `/metrics`, `/healthz`, `/readyz`."""
LOG_PORT = 9514
"""Access log of HAProxy, UDP on loopback."""

RUN_DIRECTORY = "/run/flywheel"
"""Memory volume that both containers share: configuration, maps, certificate, sockets."""
DOCUMENT_DIRECTORY = "/etc/flywheel/edge"
"""The ConfigMap as a volume: what the sidecar starts with where the API server cannot be reached."""
TLS_DIRECTORY = "/etc/flywheel/tls"
"""The Secret with tls.crt and tls.key, in the sidecar only."""
SPOOL_DIRECTORY = "/var/spool/flywheel"
"""Events that the store does not have yet."""
TOKEN_FILE = "/var/run/secrets/flywheel/token"  # noqa: S105 - a path
"""Projected token of the pod's ServiceAccount for the audience of the store."""

VISITOR_COOKIE = "fw_vid"
CHANNEL_COOKIE = "fw_ch"
SAME_PERSON_COOKIE = "fw_as"
"""The visitor by whom a person is assigned to variants: the first one that was known of them, on whatever device."""
NEW_COOKIE = "fw_new"
"""Until the browser is closed: the visitor was new when this visit began."""
SEGMENTS_COOKIE = "fw_seg"
"""The segments that a service has said the visitor is in, signed by the edge."""
FORCED_COOKIE = "fw_forced"
FORCED_PARAMETER = "fw_variant"
"""Of a link for testers: the token of a variant, or `off`."""
CHANNELS_BUILT_IN = ("direct", "referral", "other")
"""direct: no referrer and no UTM; referral: a referrer that no rule knows; other: UTM that no rule knows."""
PREVIEW_CHANNEL = "_preview"
"""Of requests that look at a revision before it serves: no visits, so that no figure counts them."""
RESERVED_PATHS = ("/v1/", "/fw.js")
"""Paths of the edge itself; no service gets them."""


def edge_name(campaign: str) -> str:
    """Name of the edge's Deployment, Service, ConfigMap and so on."""
    return f"{campaign}-edge"


def applied_name(campaign: str) -> str:
    """Name of the ConfigMap in which edge pods say what they have applied."""
    return f"{campaign}-edge-applied"
