"""Names and ports of a namespace's analytics worker: what its manifests, the sidecars and the commands agree on."""

WORKER = "flywheel-analytics"
"""Name of the StatefulSet, Service, ServiceAccount, ConfigMap of the worker; there is one per namespace."""
COMPONENT = "analytics"
INGEST_PORT = 9102
"""`POST /v1/ingest/{events,requests,dead_letters}`, `POST /v1/{slots,arms,first-visitor,fraud/backtest}`, probes at
`/healthz`, `/readyz`."""
METRICS_PORT = 9104
ADMIN_PORT = 9103
"""Queries, erasure, export: on the pod's loopback only, so that the right to forward ports to pods guards it."""
AUDIENCE = "flywheel-analytics"
"""Audience of the ServiceAccount tokens with which sidecars prove who they are."""
OPERATOR_COMPONENT = "operator"
"""Value of the label app.kubernetes.io/component of the operator's own pods."""
FIRST_VISITOR = "/v1/first-visitor"
"""Path at which sidecars ask the worker who was the first visitor of a user."""
DATA_DIRECTORY = "/var/lib/flywheel"
SETTINGS_KEY = "campaigns.json"


def operator_audience(namespace: str) -> str:
    """Audience of the token with which the operator asks one worker.

    One for each namespace: whoever runs a worker could show the token that it is shown to another worker.
    """
    return f"{AUDIENCE}/{namespace}"


def worker_url(namespace: str) -> str:
    """Address at which sidecars deliver, and the operator asks."""
    return f"http://{WORKER}.{namespace}.svc:{INGEST_PORT}"
