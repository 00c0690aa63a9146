"""Questions to a Prometheus that reads the edge pods."""

import json

from flywheel.metrics.naming import EVENTS_TOTAL, REQUESTS_TOTAL

WINDOW = "1m"
"""At least two readings, at the usual 15 or 30 s between them."""


def events_per_second(namespace: str, campaign: str, event: str) -> str:
    """Ask how often an event happens in a campaign."""
    return _rate(EVENTS_TOTAL, f"namespace={text(namespace)},campaign={text(campaign)},event={text(event)}")


def requests_per_second(namespace: str, campaign: str, service: str) -> str:
    """Ask how many requests a service of a campaign gets."""
    return _rate(REQUESTS_TOTAL, f"namespace={text(namespace)},campaign={text(campaign)},service={text(service)}")


def text(value: str) -> str:
    """Write a string of PromQL. Its escapes are those of JSON, as far as JSON writes any."""
    return json.dumps(value, ensure_ascii=False)


def _rate(counter: str, matchers: str) -> str:
    return f"sum(rate({counter}{{{matchers}}}[{WINDOW}]))"
