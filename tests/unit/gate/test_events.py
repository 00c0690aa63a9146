"""The events gate: figures against demands, and the store of a real worker."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from tests.ports import free_port
from tests.unit.gate.measuring import NOW, read, serving, target
from tests.unit.store.material import NOON, Keys, client_of, event, lines, request, running

from flywheel.api.gate_measured import EventsGate
from flywheel.insight.slots import SlotFigures
from flywheel.kube.errors import ApiError, LoginError
from flywheel.release.gate.calls import Clients
from flywheel.release.gate.events import Seen, judge_events, measure_events
from flywheel.release.gate.measurement import LONGEST_MESSAGE, Outcome

KEYS = Keys()
BLUE = SlotFigures(requests=1000, errors=10, p50=0.1, p95=0.2, p99=0.5, visitors=100, events={"Order Completed": 10})
GREEN = replace(BLUE, errors=15, p95=0.3, events={"Order Completed": 8})
ORDERS = {"name": "Order Completed"}


@pytest.mark.parametrize(
    ("fields", "outcome", "says"),
    [
        ({"errorRate": {"max": "1.5%"}}, "Success", "The error rate of 1000 requests is 1.5% (at most 1.5%)"),
        ({"errorRate": {"max": "1.4%"}}, "Failure", "is 1.5%, wanted at most 1.4%"),
        ({"errorRate": {"maxIncrease": "0.5%"}}, "Success", "at most 0.5 points more than the active slot's 1%"),
        ({"errorRate": {"maxIncrease": "0.4%"}}, "Failure", "which is 1.4%"),
        ({"errorRate": {"max": "5%", "maxIncrease": "0.4%"}}, "Failure", "wanted at most 0.4 points more"),
        ({"latency": {"max": "300ms"}}, "Success", "The p95 latency of 1000 requests is 300 ms"),
        ({"latency": {"maxIncrease": "49%"}}, "Failure", "the active slot's 200 ms, which is 298 ms"),
        ({"latency": {"quantile": "p99", "maxIncrease": "0%"}}, "Success", "The p99 latency"),
        ({"event": {**ORDERS, "min": 0.08}}, "Success", "Order Completed per visitor, of 100, is 0.08"),
        ({"event": {**ORDERS, "min": 0.081}}, "Failure", "wanted at least 0.081"),
        ({"event": {**ORDERS, "minRatio": "80%"}}, "Success", "at least 80% of the active slot's 0.1"),
        ({"event": {**ORDERS, "minRatio": "90%"}}, "Failure", "which is 0.09"),
        ({"event": {**ORDERS, "per": "Request", "min": 0.008}}, "Success", "per request, of 1000, is 0.008"),
        (
            {"errorRate": {"max": "1.5%"}, "minimumRequests": 1001},
            "NoData",
            "1000 requests to this revision; with fewer",
        ),
    ],
)
def test_figures_are_held_against_what_is_wanted(fields: dict[str, Any], outcome: str, says: str) -> None:
    found = judge_events(read(EventsGate, **fields), Seen(GREEN, BLUE))
    assert (found.outcome.value, says in found.message) == (outcome, True), found.message


@pytest.mark.parametrize(
    ("fields", "seen", "says"),
    [
        ({"errorRate": {"maxIncrease": "1%"}}, Seen(GREEN), "no revision was active before"),
        ({"errorRate": {"maxIncrease": "1%"}}, Seen(GREEN, SlotFigures()), "0 requests to the active slot"),
        ({"errorRate": {"max": "1%"}}, Seen(SlotFigures()), "0 requests to this revision"),
        ({"latency": {"max": "1s"}}, Seen(replace(GREEN, p95=None)), "No request was answered"),
        ({"latency": {"maxIncrease": "1%"}}, Seen(GREEN, replace(BLUE, p95=None)), "No request was answered"),
        ({"event": {**ORDERS, "min": 0}}, Seen(replace(GREEN, visitors=0)), "No visitor was served"),
        (
            {"event": {**ORDERS, "per": "Request", "min": 0}},
            Seen(replace(GREEN, requests_of_bots=1000)),
            "No request was served",
        ),
        ({"event": {**ORDERS, "minRatio": "90%"}}, Seen(GREEN, replace(BLUE, events={})), "no Order Completed of 100"),
    ],
)
def test_where_there_is_nothing_to_see_it_is_said(fields: dict[str, Any], seen: Seen, says: str) -> None:
    found = judge_events(read(EventsGate, **fields), seen)
    assert (found.outcome, says in found.message) == (Outcome.NO_DATA, True), found.message


COUNTS = st.integers(0, 10**9)
FIGURES = st.builds(
    SlotFigures,
    requests=COUNTS,
    requests_of_bots=COUNTS,
    errors=COUNTS,
    p95=st.none() | st.floats(0, 1e6),
    visitors=COUNTS,
    events=st.dictionaries(st.just("Order Completed"), COUNTS),
)
CHECKS = st.sampled_from(
    [
        {"errorRate": {"max": "1%", "maxIncrease": "0.1%"}},
        {"latency": {"max": "1s", "maxIncrease": "0%"}},
        {"event": {**ORDERS, "min": 0.1, "minRatio": "99.9%"}},
        {"event": {**ORDERS, "per": "Request", "minRatio": "0%"}},
    ]
)


@given(CHECKS, FIGURES, st.none() | FIGURES)
def test_any_figures_give_a_verdict(fields: dict[str, Any], own: SlotFigures, active: SlotFigures | None) -> None:
    found = judge_events(read(EventsGate, minimumRequests=1, **fields), Seen(own, active))
    assert found.outcome is not Outcome.ERROR
    assert 0 < len(found.message) <= LONGEST_MESSAGE


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients(allow_loopback=True)
    yield made
    await made.close()


async def token_for(audience: str) -> str:
    return KEYS.token("flywheel", namespace="flywheel-system", aud=[audience])


async def test_a_real_store_is_asked_before_and_after_the_switch(clients: Clients, tmp_path: Any) -> None:
    """Until the switch, blue served well; since then green has failed one time in ten."""
    switch = datetime.fromtimestamp(NOON / 1000 + 100, UTC)
    blue = [request(each, time=NOON + each, service="pay", slot="blue") for each in range(100)]
    green = [
        request(
            1000 + each,
            time=NOON + 100_000 + each,
            service="pay",
            slot="green",
            status=500 if each % 10 == 0 else 200,
            visitor=f"g{each % 20}",
        )
        for each in range(100)
    ]
    orders = [event(each, time=NOON + 100_200, visitor=f"g{each}", order_id=f"o{each}") for each in range(4)]
    orders += [event(50 + each, time=NOON + 50_000, visitor=f"v{each}", order_id=f"p{each}") for each in range(10)]
    with running(tmp_path / "volume", KEYS) as worker:
        async with client_of(KEYS, "sale-edge") as edge:
            await worker.ready(edge)
            await edge.post(f"{worker.url}/v1/ingest/requests", content=lines([*blue, *green]))
            await edge.post(f"{worker.url}/v1/ingest/events", content=lines(orders))
        seen = target(since=switch, promoted=True)
        now = switch + timedelta(seconds=60)

        async def measured(**fields: Any) -> Any:
            gate = read(EventsGate, **fields)
            return await measure_events(
                gate, seen, clients.plain, token_for, now=now, address=lambda _namespace: worker.url
            )

        found = await measured(errorRate={"maxIncrease": "9%"})
        assert (found.outcome, found.value) == (Outcome.FAILURE, "10%"), found.message
        assert "the active slot's 0%" in found.message
        found = await measured(errorRate={"max": "10%"})
        assert found.outcome is Outcome.SUCCESS, found.message
        found = await measured(event={**ORDERS, "min": 0.2, "minRatio": "200%"})
        assert (found.outcome, found.value) == (Outcome.SUCCESS, "0.2"), found.message
        found = await measured(errorRate={"max": "10%"}, minimumRequests=101)
        assert found.outcome is Outcome.NO_DATA
        seen = target(since=switch, promoted=False)
        found = await measured(errorRate={"maxIncrease": "9%"})
        assert (found.outcome, "0 requests to the active slot" in found.message) == (Outcome.NO_DATA, True)


async def test_what_the_store_refuses_is_told(clients: Clients) -> None:
    gate = read(EventsGate, errorRate={"max": "1%"})
    answers: list[tuple[int, Any]] = [
        (403, {"error": "not_allowed", "message": "'x' is not the operator"}),
        (404, "404: Not Found"),
        (503, {"error": "engine_down", "message": "The store has not started yet."}),
        (200, "nonsense"),
        (200, {"slots": {"green": {"requests": "many"}}}),
        (302, ""),
    ]
    says = ["is not the operator", "older than the operator", "not started", "cannot be read", "cannot be read", "302"]

    async def answer(_request: web.Request) -> web.Response:
        status, body = answers[0]
        return (
            web.json_response(body, status=status) if isinstance(body, dict) else web.Response(status=status, text=body)
        )

    async with serving(answer) as address:
        for said in says:
            found = await measure_events(gate, target(), clients.plain, token_for, now=NOW, address=lambda _: address)
            assert (found.outcome, said in found.message) == (Outcome.ERROR, True), found.message
            answers.pop(0)
    gone = f"http://127.0.0.1:{free_port()}"
    found = await measure_events(gate, target(), clients.plain, token_for, now=NOW, address=lambda _: gone)
    assert (found.outcome, "no connection" in found.message) == (Outcome.ERROR, True)


@pytest.mark.parametrize("error", [ApiError(403, "Forbidden", "token is forbidden"), LoginError("no ServiceAccount")])
async def test_without_a_token_the_store_is_not_asked(clients: Clients, error: Exception) -> None:
    async def refuse(_audience: str) -> str:
        raise error

    gate = read(EventsGate, errorRate={"max": "1%"})
    found = await measure_events(gate, target(), clients.plain, refuse, now=NOW)
    assert (found.outcome, str(error) in found.message) == (Outcome.ERROR, True)
