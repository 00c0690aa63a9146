"""Measured gates as people write them: what is read, and what is refused with which words."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.gate.measuring import read

from flywheel.api.gate_measured import EventsGate, HttpGate, PrometheusGate
from flywheel.api.gate_values import DecimalNumber, Latency, Share, read_latency, read_share
from flywheel.api.patterns import is_found
from flywheel.api.quantities import Text
from flywheel.api.schema import structural_schema

PROMETHEUS = {"address": "http://prometheus.monitoring:9090", "query": "up", "max": 0.01}


def form_of(kind: Any) -> Text:
    return kind.__metadata__[0]


def refusal(kind: Any, **fields: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        read(kind, **fields)
    return str(caught.value)


def test_the_shortest_gates() -> None:
    http = read(HttpGate)
    assert (http.path, http.method, http.statuses, http.through) == ("/", "GET", (200,), "Preview")
    assert read(HttpGate, path="/healthz", status=204).statuses == (204,)
    assert read(HttpGate, statusIn=[200, 302]).statuses == (200, 302)
    prometheus = read(PrometheusGate, **PROMETHEUS)
    assert (prometheus.max, prometheus.compares, prometheus.window) == (0.01, False, timedelta(minutes=5))
    events = read(EventsGate, errorRate={"max": "1%"})
    assert (events.minimum_requests, events.window, events.compares) == (50, timedelta(minutes=15), False)
    assert read(EventsGate, event={"name": "Order Completed", "minRatio": "90%"}).compares


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"path": "healthz"}, "a path that starts with '/'"),
        ({"path": "/a#b"}, "a path that starts with '/'"),
        ({"path": "/a b"}, "a path that starts with '/'"),
        ({"status": "200"}, "status"),
        ({"status": 99}, "greater than or equal to 100"),
        ({"status": 200, "statusIn": [200]}, "exclude each other"),
        ({"body": "x"}, "only a POST has a body"),
        ({"method": "HEAD", "contains": "ok"}, "the answer to HEAD has no body"),
        ({"method": "DELETE"}, "'GET', 'HEAD' or 'POST'"),
        ({"port": 80, "through": "Edge"}, "the edge decides by the path"),
        ({"headers": [{"name": "content-LENGTH", "value": "3"}]}, "set by the gate itself"),
        ({"headers": [{"name": "X-FW-Preview", "value": "3"}]}, "set by the gate itself"),
        ({"headers": [{"name": "A", "value": "x\r\nB: y"}]}, "printable ASCII"),
        ({"headers": [{"name": "A", "value": "x"}, {"name": "A", "value": "y"}]}, "keep one of the two"),
        ({"matches": "(?=a)"}, "RE2 kind"),
        ({"matches": "("}, "RE2 kind"),
        ({"matches": ""}, "RE2 kind"),
        ({"matches": "((a{1000}){1000}){1000}"}, "RE2 kind"),
        ({"json": [{"path": "status", "equals": "ok"}]}, "a path such as $.status"),
        ({"json": [{"path": "$..a", "equals": "ok"}]}, "a path such as $.status"),
        ({"json": [{"path": "$.a"}]}, "must ask for something"),
        ({"json": [{"path": "$.a", "exists": False, "equals": "x"}]}, "has no value"),
        ({"json": [{"path": "$.a", "min": 2, "max": 1}]}, "must not be above"),
        ({"json": [{"path": "$.a", "equals": True}]}, "in quotes"),
        ({"json": [{"path": "$.a", "equals": 0.5}]}, "in quotes"),
        ({"json": [{"path": "$.a", "min": "1"}]}, "must be a number"),
        ({"json": [{"path": "$.a", "min": True}]}, "must be a number"),
        ({"json": []}, "at least 1 item"),
        ({"maxLatency": "0.25s"}, "such as 250ms or 2s"),
        ({"maxLatency": 250}, "such as 250ms or 2s"),
        ({"requestTimeout": "31s"}, "between 1s and 30s"),
        ({"contains": ""}, "at least 1 character"),
    ],
)
def test_a_bad_http_gate_is_refused(fields: dict[str, Any], says: str) -> None:
    assert says in refusal(HttpGate, **fields)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"address": "prometheus:9090"}, "an address such as"),
        ({"address": "http://user:pw@prometheus:9090"}, "without user"),
        ({"pathPrefix": "/prometheus/"}, "without '/' at its end"),
        ({"query": 'up{slot="{{slots}}"}'}, "in double braces may stand"),
        ({"query": "up{{"}, "in double braces may stand"),
        ({"query": 'up{slot="{{ slot }}"}'}, "in double braces may stand"),
        ({"query": ""}, "a PromQL query"),
        ({"max": None}, "must ask for something"),
        ({"min": 2}, "must not be above"),
        ({"max": "0.01"}, "must be a number"),
        ({"max": float("nan")}, "must be a number"),
        ({"max": 10**400}, "must be a number"),
        ({"maxDifference": -1}, "of at least 0"),
        ({"maxIncrease": "20%"}, "write {{slot}} or {{revision}}"),
        ({"query": "up{{activeSlot}}", "maxIncrease": "20%"}, "write {{slot}} or {{revision}}"),
        ({"headers": [{"name": "authorization", "value": "Bearer x"}]}, "belong into the Secret"),
        ({"window": "1s"}, "between 5s and 7d"),
    ],
)
def test_a_bad_prometheus_gate_is_refused(fields: dict[str, Any], says: str) -> None:
    given_fields = {key: value for key, value in (PROMETHEUS | fields).items() if value is not None}
    assert says in refusal(PrometheusGate, **given_fields)


@pytest.mark.parametrize(
    "query",
    [
        "up",
        'sum(rate(errors{slot="{{slot}}"}[{{window}}])) / sum(rate(all{slot="{{slot}}"}[{{window}}]))',
        '{__name__="up",revision="{{revision}}"}',
        "{{slot}}{{slot}}",
        "sum by (x) ({a='b'})",
    ],
)
def test_a_good_query_is_taken(query: str) -> None:
    assert read(PrometheusGate, **PROMETHEUS | {"query": query}).query == query


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({}, "exactly one of errorRate, latency, event"),
        ({"errorRate": {"max": "1%"}, "latency": {"max": "1s"}}, "exactly one of"),
        ({"errorRate": {}}, "must ask for something"),
        ({"errorRate": {"max": "101%"}}, 'a share with the sign, "0%" to "100%"'),
        ({"errorRate": {"max": 0.01}}, "a share with the sign"),
        ({"errorRate": {"max": "-1%"}}, "a share with the sign"),
        ({"latency": {"quantile": "p90", "max": "1s"}}, "'p50', 'p95' or 'p99'"),
        ({"latency": {"maxIncrease": "20"}}, "a percentage with the sign"),
        ({"event": {"min": 0.1}}, "name"),
        ({"event": {"name": "Order Completed"}}, "must ask for something"),
        ({"event": {"name": "Order Completed", "min": -0.1}}, "of at least 0"),
        ({"errorRate": {"max": "1%"}, "minimumRequests": 0}, "greater than or equal to 1"),
        ({"errorRate": {"max": "1%"}, "window": "2d"}, "between 10s and 24h"),
    ],
)
def test_a_bad_events_gate_is_refused(fields: dict[str, Any], says: str) -> None:
    assert says in refusal(EventsGate, **fields)


@given(st.integers(1, 999_999))
def test_latencies_are_read_as_written(number: int) -> None:
    assert form_of(Latency).check(f"{number}ms") == timedelta(milliseconds=number)
    assert read_latency(f"{number}s") == timedelta(seconds=number)


@given(st.decimals(0, 100, places=4))
def test_shares_are_read_as_written(number: Any) -> None:
    text = f"{number}%"
    assert form_of(Share).check(text) == pytest.approx(float(number) / 100, rel=1e-12)
    assert 0 <= read_share(text) <= 1


@given(st.text(max_size=12))
def test_what_the_forms_let_through_can_be_read(text: str) -> None:
    for kind in (Latency, Share):
        form = form_of(kind)
        if form.matches(text):
            form.read(text)


@given(st.floats() | st.integers() | st.booleans() | st.text(max_size=3))
def test_numbers_are_finite(value: Any) -> None:
    try:
        found = DecimalNumber(0).check(value)
    except ValueError:
        return
    assert 0 <= found <= 1e15


def test_a_pattern_takes_time_that_grows_with_the_text_only() -> None:
    assert not is_found("^(a+)+$", "a" * 1_000_000 + "b")


@pytest.mark.parametrize("kind", [HttpGate, PrometheusGate, EventsGate])
def test_the_schema_is_structural_and_the_model_has_a_digest(kind: Any) -> None:
    schema = structural_schema(kind)
    assert schema["properties"]
    gate = {
        HttpGate: {"json": [{"path": "$.a", "min": 1, "matches": "x"}], "maxLatency": "250ms"},
        PrometheusGate: PROMETHEUS,
        EventsGate: {"latency": {"max": "300ms"}},
    }[kind]
    written = read(kind, **gate).model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert json.loads(json.dumps(written)) == written
    assert set(written) == set(gate)
