"""Names, ports and paths of a namespace's fraud worker: its manifests, sidecars and services agree on them. Pure."""

WORKER = "flywheel-fraud"
"""Name of the StatefulSet, Service, ServiceAccount and ConfigMap of the worker; there is one per namespace."""
COMPONENT = "fraud"
PORT = 9105
"""`/v1/fraud/*`, `/healthz`, `/readyz`."""
METRICS_PORT = 9106
ADMIN_PORT = 9107
"""Verdicts, labels, decisions: on the pod's loopback only, so that the right to forward ports to pods guards it."""
DATA_DIRECTORY = "/var/lib/flywheel"
RULES_DIRECTORY = "/etc/flywheel/fraud"
"""The rules as a volume: the ConfigMap `WORKER`."""
RULES_KEY = "rules.json"
EVENTS = "/v1/fraud/events"
"""Where sidecars stream events to."""
DECISIONS = "/v1/fraud/decisions"
"""Where sidecars hear of decisions."""
CHECK = "/v1/fraud/check"
HELD = "/v1/fraud/held"
"""Where workers ask each other what they know of somebody."""
EXT_AUTHZ = "/v1/fraud/ext-authz"
PASSES = "/v1/fraud/passes"
STATE = "/v1/fraud/state"
RULES = "/v1/fraud/rules"
"""Where the operator hands over rules, ahead of the volume that brings them within a minute or two."""
LABELS = "/v1/fraud/labels"
"""Where services say who was dishonest."""
LISTS = "/v1/fraud/lists"
"""Where the operator hands over the lists that rules name."""
KIN = "/v1/fraud/kin"
"""Where workers get the secret that all of them share."""
LAYOUT = "/v1/fraud/layout"
"""Where workers ask each other how they share the keys."""
MOVED = "/v1/fraud/moved"
"""Where a worker gets the keys that move to it."""
WORKERS_HEADER = "X-Flywheel-Workers"
"""Of a batch: to how many workers its events and all later ones of its sender go."""
PAST = "/v1/fraud/past"
"""Where the operator hands over what the event store knows of the time before a rule."""
PASS_COOKIE = "fw_pass"  # noqa: S105 - a name
"""Of who has met a challenge: `<key>.<until>.<code>`, see `passes`."""


def worker_name(number: int) -> str:
    """Give the name of a worker's pod."""
    return f"{WORKER}-{number}"


def worker_urls(namespace: str, shards: int = 1) -> tuple[str, ...]:
    """Give the addresses of the workers of a namespace, one for each shard."""
    return tuple(f"http://{worker_name(each)}.{WORKER}.{namespace}.svc:{PORT}" for each in range(shards))
