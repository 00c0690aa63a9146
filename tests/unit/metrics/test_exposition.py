"""Counters as the sidecar shows them are read as Prometheus reads them, and anything else is told to be none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.exposition import generate_latest

from flywheel.metrics.exposition import MOST_SERIES, read_counters
from flywheel.metrics.naming import EVENTS_PER_SECOND, REQUESTS_PER_SECOND, event_label


@given(st.dictionaries(st.text(max_size=12), st.integers(0, 10**9), max_size=6))
def test_what_the_sidecar_shows_is_read_whatever_events_are_called(counted: dict[str, int]) -> None:
    registry = CollectorRegistry()
    events = Counter("campaign_events", "Events.", ["event", "channel"], registry=registry)
    requests = Counter("campaign_requests", "Requests.", ["service"], registry=registry)
    for name, count in counted.items():
        events.labels(name, "a").inc(count)
        events.labels(name, "b").inc(1)
        requests.labels(name).inc(count)
    wanted = {(EVENTS_PER_SECOND, event_label(name)): count + 1 for name, count in counted.items()}
    wanted |= {(REQUESTS_PER_SECOND, name): count for name, count in counted.items()}
    assert read_counters(generate_latest(registry).decode()) == wanted


@pytest.mark.parametrize(
    "line",
    [
        'campaign_events_total{event="a"} NaN',
        'campaign_events_total{event="a"} +Inf',
        'campaign_events_total{event="a"} -1',
        'campaign_events_total{event="a"} 1e308',
        'campaign_events_total{event="a"}',
        'campaign_events_total{event="a',
        'campaign_events_total{event="a"\t,\t=_nel="b"} 1.0',
        'campaign_events_total{event="' + "\\" * 4_000_000 + '"} 1',
        "\n".join(f'campaign_events_total{{event="{number}"}} 1' for number in range(MOST_SERIES + 1)),
    ],
    ids=range(9),
)
def test_what_is_no_counter_is_told(line: str) -> None:
    with pytest.raises(ValueError, match=r"no line|no counter|could not convert|more than"):
        read_counters(line + "\n")


@given(st.text(alphabet='{}"\\,= \n#1e+-Naf_\x00\té', max_size=60))
def test_no_text_is_more_than_a_pods_own_trouble(text: str) -> None:
    with contextlib.suppress(ValueError):
        read_counters(f'campaign_events_total{{event="a"{text}}} 1.0\n')
