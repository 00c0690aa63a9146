"""Sums of the arms of a test on the real engine, against plain Python and against DuckDB, both from the definitions."""

import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from tests.unit.insight.conftest import Bench
from tests.unit.insight.duck import loaded
from tests.unit.insight.stream import HOUR, LATER, NOW, Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.insight.arms import (
    GROWTH,
    QUICK,
    Amount,
    ArmFigures,
    ArmScope,
    Outcome,
    Sums,
    exposures_statement,
    latencies_statement,
    outcomes_statement,
    requests_statement,
    shape,
)

TEST = "button"
CLAIMED, ORDERED, ODD = "Coupon Claimed", "Order Completed", 'it\'s "odd" \\ 券'
WITHIN = HOUR // 2
OUTCOMES = (
    Outcome(Amount(CLAIMED)),
    Outcome(Amount(ORDERED, "Revenue", cap=90.0), history=HOUR // 3),
    Outcome(Amount(ORDERED, "Revenue"), over=Amount(ORDERED, "Count")),
    Outcome(Amount(ODD, "Property", 'a "b" 券')),
    Outcome(Amount(CLAIMED, "Count", cap=2.0), history=HOUR),
)


def a_stream(seed: int, size: int = 500) -> Stream:
    """Requests to arms of two tests and to none, and events whose moments often coincide with the edges of windows."""
    rng = random.Random(seed)
    moments = [NOW - HOUR + rng.randrange(0, 2 * HOUR) for _ in range(size // 4)] + [NOW - HOUR, NOW - 1, NOW]
    stream = Stream()
    visitors = (*(f"v{each}" for each in range(40)), "")
    for number in range(size):
        who = {"visitor": rng.choice(visitors), "bot": rng.random() < 0.1}
        own = Counter(who["visitor"].encode()).total() % 3 > 0
        moment = rng.choice(moments)
        stream.requests.append(
            RequestRow(
                request_id=f"r{number}",
                time=moment,
                ingest_time=NOW,
                test=rng.choice((TEST, TEST, "other", "")),
                # Most visitors keep their arm; some are served another one.
                variant=rng.choice(("red", "green")) if rng.random() < 0.1 else ("red" if own else "green"),
                status=rng.choice((200, 200, 302, 404, 500, 503)),
                duration_ms=rng.choice((0.0, 0.5, 3.0, float(rng.randrange(1, 4000)) / 2)),
                server_ms=rng.choice((3.0, 8.0, -1.0)),
                termination=rng.choice(("--", "--", "CD", "LR", "SC")),
                refused=rng.choice(("", "", "", "rate")),
                expires_at=LATER,
                **who,
            )
        )
        moments.append(moment + rng.choice((-1, 0, 0, 1, WITHIN - 1, WITHIN, -(HOUR // 3), -(HOUR // 3) - 1)))
        at = rng.choice(moments)
        stream.events.append(
            EventRow(
                message_id=f"m{number}",
                type=rng.choice(("track", "track", "track", "page")),
                event=rng.choice((CLAIMED, ORDERED, ODD, "Other")),
                time=at,
                original_time=at,
                ingest_time=NOW,
                order_id=rng.choice(("", "", f"o{rng.randrange(12)}")),
                revenue=float(rng.randrange(0, 20_000)) / 100,
                properties=json.dumps(rng.choice(({'a "b" 券': rng.randrange(9)}, {'a "b" 券': "x"}, {}))),
                expires_at=LATER,
                **who,
            )
        )
    return stream


def scope_of(campaign: str, **fields: Any) -> ArmScope:
    return ArmScope(
        campaign, **{"test": TEST, "start": NOW - HOUR, "end": NOW, "within": WITHIN, "outcomes": OUTCOMES, **fields}
    )


def in_python(stream: Stream, scope: ArmScope) -> dict[str, ArmFigures]:
    served = [
        row
        for row in stream.requests
        if scope.start <= row.time < scope.end
        and row.test == scope.test
        and not row.refused
        and not row.termination.startswith("L")
        and row.visitor
        and not row.bot
    ]
    of_visitor: dict[str, list[RequestRow]] = {}
    for row in served:
        of_visitor.setdefault(row.visitor, []).append(row)
    first = {who: min((row.time, row.variant) for row in rows) for who, rows in of_visitor.items()}
    durations = sorted(row.duration_ms for row in served if row.server_ms >= 0)
    # The engine takes the rank that lies below, from 0.
    limit = durations[min(len(durations) - 1, int(QUICK * len(durations)))] if durations else 0.0
    figures = {}
    for arm in {arm for _, arm in first.values()}:
        members = {who: since for who, (since, name) in first.items() if name == arm}
        own = [row for row in served if row.variant == arm]
        by_visitor = Counter(row.visitor for row in own)
        answered = Counter(row.visitor for row in own if row.server_ms >= 0)
        quick = Counter(row.visitor for row in own if row.server_ms >= 0 and row.duration_ms <= limit)
        errors = Counter(
            row.visitor for row in own if row.status >= 500 or (row.server_ms < 0 and row.termination[0] != "C")
        )
        figures[arm] = ArmFigures(
            visitors=len(members),
            crossed=sum(len({row.variant for row in of_visitor[who]}) > 1 for who in members),
            outcomes=tuple(
                summed([pair(stream, scope, each, who, since) for who, since in members.items()])
                for each in scope.outcomes
            ),
            requests=summed([(float(errors[who]), float(count)) for who, count in by_visitor.items()]),
            requesters=len(by_visitor),
            quick=summed([(float(quick[who]), float(count)) for who, count in answered.items()]),
            answered=len(answered),
            latencies=Counter(
                math.floor(math.log(max(row.duration_ms, 0.001)) / math.log(GROWTH))
                for row in own
                if row.server_ms >= 0
            ),
        )
    return figures


def pair(stream: Stream, scope: ArmScope, outcome: Outcome, who: str, since: int) -> tuple[float, float]:
    after = (since, min(since + scope.within, scope.end))
    y = amount(stream, scope, outcome.amount, who, after)
    if outcome.over is not None:
        return y, amount(stream, scope, outcome.over, who, after)
    return y, amount(stream, scope, outcome.amount, who, (since - outcome.history, since)) if outcome.history else 0.0


def amount(stream: Stream, scope: ArmScope, wanted: Amount, who: str, when: tuple[int, int]) -> float:
    longest = max(each.history for each in scope.outcomes)
    told = [
        row
        for row in sorted(stream.events, key=lambda row: (row.time, row.message_id))
        if row.visitor == who
        and not row.bot
        and row.type == "track"
        and row.event == wanted.event
        and scope.start - longest <= row.time < scope.end
    ]
    once: dict[str, EventRow] = {}
    for row in told:
        once.setdefault(f"o{row.order_id}" if row.order_id else f"m{row.message_id}", row)
    counted = [row for row in once.values() if when[0] <= row.time < when[1]]
    match wanted.of:
        case "Any":
            return float(bool(counted))
        case "Count":
            value = float(len(counted))
        case "Revenue":
            value = sum(row.revenue for row in counted)
        case "Property":
            found = [json.loads(row.properties).get(wanted.name, 0) for row in counted]
            value = float(sum(each for each in found if not isinstance(each, str)))
    return min(value, wanted.cap)


def summed(pairs: list[tuple[float, float]]) -> Sums:
    return Sums(
        math.fsum(y for y, _ in pairs),
        math.fsum(y * y for y, _ in pairs),
        math.fsum(x for _, x in pairs),
        math.fsum(x * x for _, x in pairs),
        math.fsum(x * y for y, x in pairs),
    )


def measured(bench: Bench, scope: ArmScope) -> dict[str, ArmFigures]:
    statements = (
        exposures_statement(scope),
        outcomes_statement(scope),
        requests_statement(scope),
        latencies_statement(scope),
    )
    return shape(scope, *(bench.run(bench.store.query(each.sql, each.parameters)) for each in statements))


def rounded(sums: Sums) -> tuple[float, ...]:
    return tuple(round(each, 6) for each in (sums.y, sums.yy, sums.x, sums.xx, sums.xy))


@pytest.mark.parametrize("seed", range(6))
def test_sums_are_what_the_definitions_say(bench: Bench, seed: int) -> None:
    stream = a_stream(seed)
    scope = scope_of(bench.keep(stream))
    found, expected = measured(bench, scope), in_python(stream, scope)
    assert set(found) == {"red", "green"}
    for arm, figures in found.items():
        own = expected[arm]
        assert (figures.visitors, figures.crossed, figures.requesters) == (own.visitors, own.crossed, own.requesters)
        assert figures.latencies == own.latencies
        assert rounded(figures.requests) == rounded(own.requests)
        assert (figures.answered, rounded(figures.quick)) == (own.answered, rounded(own.quick))
        assert [rounded(each) for each in figures.outcomes] == [rounded(each) for each in own.outcomes]
    assert sum(each.crossed for each in found.values()) > 0
    assert any(each.outcomes[number].x for each in found.values() for number in (1, 4)), "nobody has a history"


IN_SQL = """
WITH served AS (
  SELECT * FROM requests WHERE time >= $start AND time < $end AND test = $test AND refused = ''
  AND NOT starts_with(termination, 'L') AND NOT bot AND visitor <> ''),
exposed AS (
  SELECT visitor, min(time) AS since, arg_min(variant, time * 2 + CASE WHEN variant = 'red' THEN 1 ELSE 0 END) AS arm
  FROM served GROUP BY visitor),
converted AS (
  SELECT x.visitor, x.arm, max(CASE WHEN e.visitor IS NULL THEN 0 ELSE 1 END) AS y FROM exposed x
  LEFT JOIN events e ON e.visitor = x.visitor AND NOT e.bot AND e.type = 'track' AND e.event = $event
    AND e.time >= x.since AND e.time < x.since + $within AND e.time < $end
  GROUP BY x.visitor, x.arm)
SELECT arm, count(*), sum(y) FROM converted GROUP BY arm
"""


@pytest.mark.parametrize("seed", range(3))
def test_visitors_and_conversions_agree_with_another_engine(bench: Bench, seed: int) -> None:
    stream = a_stream(100 + seed)
    # An order is a thing of its own; here each event counts for itself.
    stream.events = [each for each in stream.events if not each.order_id]
    scope = scope_of(bench.keep(stream))
    values = {"start": scope.start, "end": scope.end, "test": TEST, "event": CLAIMED, "within": WITHIN}
    with loaded(stream) as engine:
        expected = {row[0]: (row[1], float(row[2])) for row in engine.execute(IN_SQL, values).fetchall()}
    found = {arm: (each.visitors, each.outcomes[0].y) for arm, each in measured(bench, scope).items()}
    assert found == expected


def test_a_share_is_told_by_ones_and_noughts(bench: Bench) -> None:
    for figures in measured(bench, scope_of(bench.keep(a_stream(9)))).values():
        share = figures.outcomes[0]
        assert share.y == share.yy <= figures.visitors
        assert (share.x, share.xx, share.xy) == (0, 0, 0)


def test_where_nobody_was_exposed_there_are_no_arms(bench: Bench) -> None:
    campaign = bench.keep(a_stream(1, 40))
    for scope in (
        scope_of(campaign, test="none"),
        scope_of(campaign, start=NOW + 9 * HOUR, end=NOW + 10 * HOUR),
        scope_of("another"),
    ):
        assert measured(bench, scope) == {}


@pytest.mark.parametrize("text", ["' OR 1 = 1 --", "{campaign:String}", "\\' OR 1=1 --", '"', "pay') OR (1=1"])
def test_what_is_asked_for_is_never_read_as_sql(bench: Bench, text: str) -> None:
    campaign = bench.keep(a_stream(2, 40))
    for scope in (scope_of(campaign, test=text), scope_of(text)):
        assert measured(bench, scope) == {}
    odd = (Outcome(Amount(text)), Outcome(Amount(ODD, "Property", text)))
    assert all(each.outcomes == (Sums(), Sums()) for each in measured(bench, scope_of(campaign, outcomes=odd)).values())


def test_too_many_outcomes_or_a_ratio_with_a_history_cannot_be_asked_for() -> None:
    for outcomes in ((), (Outcome(Amount(CLAIMED)),) * 17):
        with pytest.raises(ValueError, match="1 to 16"):
            outcomes_statement(scope_of("any", outcomes=outcomes))
    with pytest.raises(ValueError, match="no history"):
        Outcome(Amount(CLAIMED), over=Amount(ORDERED, "Count"), history=1)
