"""Figures of slots on the real engine, against plain Python and against DuckDB, both from the definitions alone."""

import math
import random

import pytest
from tests.unit.insight.conftest import Bench
from tests.unit.insight.duck import loaded
from tests.unit.insight.stream import HOUR, LATER, NOW, Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.insight.slots import SlotFigures, SlotScope, events_statement, requests_statement, shape

SLOTS = ("blue", "green", "")
SERVICE = "pay"
EVENTS = ("Order Completed", "Coupon Claimed", 'it\'s "odd" \\ 券')


def a_stream(seed: int, size: int = 400) -> Stream:
    """Requests and events whose moments often coincide."""
    rng = random.Random(seed)
    moments = [NOW - HOUR + rng.randrange(0, 2 * HOUR) for _ in range(size // 4)] + [NOW - HOUR, NOW - 1, NOW]
    stream = Stream()
    for number in range(size):
        who = {"visitor": rng.choice((*(f"v{each}" for each in range(20)), "")), "bot": rng.random() < 0.15}
        stream.requests.append(
            RequestRow(
                request_id=f"r{number}",
                time=rng.choice(moments),
                ingest_time=NOW,
                service=rng.choice((SERVICE, SERVICE, "landing")),
                slot=rng.choice(SLOTS),
                status=rng.choice((200, 200, 302, 404, 500, 503)),
                duration_ms=float(rng.randrange(1, 4000)) / 2,
                server_ms=rng.choice((3.0, 8.0, -1.0)),
                termination=rng.choice(("--", "--", "CD", "LR", "SC")),
                refused=rng.choice(("", "", "", "rate")),
                expires_at=LATER,
                **who,
            )
        )
        moment = rng.choice(moments) + rng.choice((0, 0, 1, 5_000))
        stream.events.append(
            EventRow(
                message_id=f"m{number}",
                type=rng.choice(("track", "track", "page")),
                event=rng.choice((*EVENTS, "Other")),
                time=moment,
                original_time=moment,
                ingest_time=NOW,
                order_id=rng.choice(("", "", f"o{rng.randrange(12)}")),
                expires_at=LATER,
                **who,
            )
        )
    return stream


def served(stream: Stream, scope: SlotScope) -> list[RequestRow]:
    return [
        row
        for row in stream.requests
        if scope.start <= row.time < scope.end
        and row.service == scope.service
        and row.slot
        and not row.refused
        and not row.termination.startswith("L")
    ]


def in_python(stream: Stream, scope: SlotScope) -> dict[str, SlotFigures]:
    requests = served(stream, scope)
    people = [row for row in requests if row.visitor and not row.bot]
    happened: dict[tuple[str, str], set[str]] = {}
    for event in stream.events:
        if event.bot or not event.visitor or event.type != "track" or event.event not in scope.events:
            continue
        if not scope.start <= event.time < scope.end:
            continue
        before = [row for row in people if row.visitor == event.visitor and row.time <= event.time]
        if before:
            last = max(before, key=lambda row: (row.time, row.slot))
            identity = f"o{event.order_id}" if event.order_id else f"m{event.message_id}"
            happened.setdefault((last.slot, event.event), set()).add(identity)
    figures = {}
    for slot in {row.slot for row in requests}:
        own = [row for row in requests if row.slot == slot]
        times = sorted(row.duration_ms for row in own if row.server_ms >= 0)
        figures[slot] = SlotFigures(
            requests=len(own),
            requests_of_bots=sum(row.bot for row in own),
            errors=sum(row.status >= 500 or (row.server_ms < 0 and row.termination[0] != "C") for row in own),
            **{f"p{share}": _percentile(times, share) for share in (50, 95, 99)},
            visitors=len({row.visitor for row in people if row.slot == slot}),
            events={name: len(happened.get((slot, name), ())) for name in scope.events},
        )
    return figures


def _percentile(ordered: list[float], share: int) -> float | None:
    """The nearest rank."""
    return round(ordered[math.ceil(share * len(ordered) / 100) - 1] / 1000, 6) if ordered else None


IN_SQL = """
WITH served AS (
  SELECT * FROM requests WHERE time >= $start AND time < $end AND service = $service AND slot <> '' AND refused = ''
  AND NOT starts_with(termination, 'L')),
people AS (SELECT visitor, time, slot FROM served WHERE NOT bot AND visitor <> ''),
told AS (SELECT * FROM events WHERE time >= $start AND time < $end AND NOT bot AND visitor <> '' AND type = 'track'),
placed AS (
  SELECT e.event, CASE WHEN e.order_id = '' THEN 'm' || e.message_id ELSE 'o' || e.order_id END AS identity,
    (SELECT p.slot FROM people p WHERE p.visitor = e.visitor AND p.time <= e.time
     ORDER BY p.time DESC, p.slot DESC LIMIT 1) AS slot
  FROM told e)
SELECT s.slot, count(*) AS requests, count(*) FILTER (bot) AS bots,
  count(*) FILTER (status >= 500 OR (server_ms < 0 AND NOT starts_with(termination, 'C'))) AS errors,
  (SELECT count(DISTINCT visitor) FROM people p WHERE p.slot = s.slot) AS visitors,
  (SELECT count(DISTINCT identity) FROM placed WHERE placed.slot = s.slot AND event = $event) AS happened
FROM served s GROUP BY s.slot
"""


def in_duckdb(stream: Stream, scope: SlotScope) -> dict[str, tuple[int, ...]]:
    with loaded(stream) as engine:
        values = {"start": scope.start, "end": scope.end, "service": scope.service, "event": scope.events[0]}
        return {row[0]: tuple(row[1:]) for row in engine.execute(IN_SQL, values).fetchall()}


def measured(bench: Bench, scope: SlotScope) -> dict[str, SlotFigures]:
    statements = (requests_statement(scope), events_statement(scope))
    return shape(scope, *(bench.run(bench.store.query(each.sql, each.parameters)) for each in statements))


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_what_the_definitions_say(bench: Bench, seed: int) -> None:
    stream = a_stream(seed)
    scope = SlotScope(bench.keep(stream), SERVICE, NOW - HOUR, NOW, EVENTS)
    found = measured(bench, scope)
    assert found == in_python(stream, scope)
    assert set(found) == {"blue", "green"}
    first = {
        slot: (each.requests, each.requests_of_bots, each.errors, each.visitors, each.events[EVENTS[0]])
        for slot, each in found.items()
    }
    assert first == in_duckdb(stream, scope)
    assert all(sum(each.events.values()) > 0 for each in found.values())


def test_where_nothing_was_served_there_are_no_slots(bench: Bench) -> None:
    campaign = bench.keep(a_stream(1, 40))
    for scope in (
        SlotScope(campaign, "none", NOW - HOUR, NOW, EVENTS),
        SlotScope(campaign, SERVICE, NOW + 9 * HOUR, NOW + 10 * HOUR, EVENTS),
        SlotScope("another", SERVICE, NOW - HOUR, NOW, EVENTS),
    ):
        assert measured(bench, scope) == {}


@pytest.mark.parametrize("text", ["' OR 1 = 1 --", "{campaign:String}", "\\' OR 1=1 --", '"', "pay') OR (1=1"])
def test_what_is_asked_for_is_never_read_as_sql(bench: Bench, text: str) -> None:
    campaign = bench.keep(a_stream(2, 40))
    for scope in (
        SlotScope(campaign, text, NOW - HOUR, NOW, EVENTS),
        SlotScope(text, SERVICE, NOW - HOUR, NOW, EVENTS),
    ):
        assert measured(bench, scope) == {}
    found = measured(bench, SlotScope(campaign, SERVICE, NOW - HOUR, NOW, (text,)))
    assert {each.events[text] for each in found.values()} == {0}
