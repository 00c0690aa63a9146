"""Reading the sidecar's counters out of what it shows to Prometheus.

Anybody who may make pods in some namespace decides what is read here, and all campaigns share this process: a text
that is large or makes no sense must cost little, and be that pod's trouble alone.
"""

import re
from collections.abc import Iterator

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
LONGEST_LINE = 8192
MOST_COUNTED = 1e18
"""Beyond this a counter is none; so are its figures that are not numbers."""
_SOURCES = {EVENTS_TOTAL: (EVENTS_PER_SECOND, EVENT), REQUESTS_TOTAL: (REQUESTS_PER_SECOND, SERVICE)}
_STARTS = tuple(f"{name}{{" for name in _SOURCES)
_LABEL = r'[A-Za-z_]\w*="(?:[^"\\]|\\.)*+"'
_LINE = re.compile(rf"(\w+)\{{({_LABEL}(?:,{_LABEL})*+,?)?\}} (\S+)(?: -?\d+)?", re.ASCII)
_PAIR = re.compile(r'(\w+)="((?:[^"\\]|\\.)*+)"', re.ASCII)
_ESCAPED = re.compile(r"\\(.)")

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
    lines = [line for line in text.split("\n") if line.startswith(_STARTS)]
    if len(lines) > MOST_SERIES:
        raise ValueError(f"{len(lines)} series of events and requests are more than the {MOST_SERIES} that are read")
    for line in lines:
        found = _LINE.fullmatch(line) if len(line) <= LONGEST_LINE else None
        if found is None:
            raise ValueError(f"this is no line of Prometheus' format: {line[:200]!r}")
        value = float(found[3])
        if not 0 <= value <= MOST_COUNTED:
            raise ValueError(f"this is no counter: {line[:200]!r}")
        yield found[1], {name: _plain(text) for name, text in _PAIR.findall(found[2] or "")}, value


def _plain(text: str) -> str:
    return _ESCAPED.sub(lambda found: "\n" if found[1] == "n" else found[1], text) if "\\" in text else text
