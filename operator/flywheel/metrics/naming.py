"""Names of the metrics by which services grow, and how the name of an event is written as a label."""

import hashlib
import re

GROUP = "external.metrics.k8s.io"
VERSION = "v1beta1"

EVENTS_PER_SECOND = "flywheel-events-per-second"
REQUESTS_PER_SECOND = "flywheel-requests-per-second"
CAMPAIGN = "campaign"
EVENT = "event"
SERVICE = "service"
SUBJECTS = {EVENTS_PER_SECOND: EVENT, REQUESTS_PER_SECOND: SERVICE}
"""Metric -> the label that says, beside the campaign, what is counted."""

EVENTS_TOTAL = "campaign_events_total"
REQUESTS_TOTAL = "campaign_requests_total"
"""The counters of the sidecar that the two are computed from."""

LONGEST_LABEL = 63
_DIGITS = 10
_READABLE = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_. -]*[A-Za-z0-9])?")
_AMBIGUOUS = re.compile(r"__| _|_ ")
_HASHED = re.compile(rf"(?:.*\.)?x[0-9a-f]{{{_DIGITS}}}")
_UNFIT = re.compile(r"[^A-Za-z0-9]+")


def event_label(name: str) -> str:
    """Write the name of an event as the value of a label of Kubernetes; two names never give the same.

    A space becomes `__`: `Order Completed` is `Order__Completed`. What cannot be written so, or is too long, becomes
    what can be kept of it and a hash: `下单 Done` is `Done.x1f0c...`.
    """
    if _READABLE.fullmatch(name) and not _AMBIGUOUS.search(name) and not _HASHED.fullmatch(name):
        label = name.replace(" ", "__")
        if len(label) <= LONGEST_LABEL:
            return label
    digest = "x" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    slug = _UNFIT.sub("-", name).strip("-")[: LONGEST_LABEL - len(digest) - 1].rstrip("-")
    return f"{slug}.{digest}" if slug else digest
