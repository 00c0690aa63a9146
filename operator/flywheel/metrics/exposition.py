"""Reading the sidecar's counters out of what it shows to Prometheus."""

from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from flywheel.metrics.naming import (
    EVENT,
    EVENTS_PER_SECOND,
    EVENTS_TOTAL,
    REQUESTS_PER_SECOND,
    REQUESTS_TOTAL,
    SERVICE,
    event_label,
)

MOST_SERIES = 5000
_SOURCES = {EVENTS_TOTAL: (EVENTS_PER_SECOND, EVENT), REQUESTS_TOTAL: (REQUESTS_PER_SECOND, SERVICE)}
_STARTS = tuple(f"{name}{{" for name in _SOURCES)

Subject = tuple[str, str]
"""Metric, and the label of the event or name of the service that it is about."""


def read_counters(text: str) -> dict[Subject, float]:
    """Add up the counters of each event and of each service, over channels, slots, variants and codes.

    Raises:
        ValueError: A line is not of Prometheus' format, or there are far too many.
    """
    counters: dict[Subject, float] = {}
    for name, labels, value in _samples(text):
        metric, label = _SOURCES[name]
        said = labels.get(label, "")
        subject = (metric, event_label(said) if label == EVENT else said)
        counters[subject] = counters.get(subject, 0.0) + value
    return counters


def _samples(text: str) -> Iterator[tuple[str, dict[str, str], float]]:
    # The rest, mostly buckets of histograms, is many times as long.
    lines = [line for line in text.splitlines() if line.startswith(_STARTS)]
    if len(lines) > MOST_SERIES:
        raise ValueError(f"{len(lines)} series of events and requests are more than the {MOST_SERIES} that are read")
    for family in text_string_to_metric_families("\n".join(lines) + "\n"):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
