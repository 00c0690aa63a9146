"""Sums of the arms of a test on the real engine, against plain Python and against DuckDB, both from the definitions."""

import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.insight.arm_oracle import CLAIMED, ODD, ORDERED, OUTCOMES, TEST, WITHIN, a_stream, in_python, scope_of
from tests.unit.insight.conftest import Bench
from tests.unit.insight.duck import loaded
from tests.unit.insight.stream import HOUR, NOW

from flywheel.insight.arm_sums import cuts_of, cuts_statement, sums_statement
from flywheel.insight.arms import (
    Amount,
    ArmFigures,
    ArmScope,
    Outcome,
    Sums,
    latencies_statement,
    requests_statement,
    shape,
)
from flywheel.insight.kpi import Rows, Statement


def ask(bench: Bench, statement: Statement) -> Rows:
    return bench.run(bench.store.query(statement.sql, statement.parameters))


def measured(bench: Bench, scope: ArmScope) -> dict[str, ArmFigures]:
    cut = cuts_statement(scope)
    cuts = cuts_of(ask(bench, cut)) if cut else {}
    statements = (sums_statement(scope, cuts), requests_statement(scope), latencies_statement(scope))
    return shape(scope, *(ask(bench, each) for each in statements))


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
            sums_statement(scope_of("any", outcomes=outcomes))
    with pytest.raises(ValueError, match="no history"):
        Outcome(Amount(CLAIMED), over=Amount(ORDERED, "Count"), history=1)
    with pytest.raises(ValueError, match="not cut"):
        Outcome(Amount(CLAIMED), over=Amount(ORDERED, "Count"), winsorise=0.9)
    with pytest.raises(ValueError, match="not of times"):
        Outcome(Amount(CLAIMED, "TimeTo"), over=Amount(ORDERED, "Count"))
    with pytest.raises(ValueError, match="between 0 and 1"):
        Outcome(Amount(CLAIMED), winsorise=1.0)


def test_where_nobody_was_exposed_nothing_is_cut(bench: Bench) -> None:
    statement = cuts_statement(scope_of("another"))
    assert statement is not None
    assert all(each == 0 for each in cuts_of(ask(bench, statement)).values())
    assert cuts_statement(scope_of("another", outcomes=OUTCOMES[:1])) is None


def test_a_test_that_is_made_anew_under_its_name_begins_anew(bench: Bench) -> None:
    stream = a_stream(11)
    campaign = bench.keep(stream)
    # What lies before the start belongs to an earlier one: whoever was in it comes in by a later request.
    for start in (NOW - HOUR // 2, NOW - HOUR // 5):
        scope = scope_of(campaign, start=start)
        found, expected = measured(bench, scope), in_python(stream, scope)
        assert {arm: (each.visitors, each.crossed) for arm, each in found.items()} == {
            arm: (each.visitors, each.crossed) for arm, each in expected.items()
        }
        for arm, each in found.items():
            assert [rounded(one) for one in each.outcomes] == [rounded(one) for one in expected[arm].outcomes]


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    seed=st.integers(0, 1 << 32),
    size=st.integers(1, 60),
    of=st.sampled_from(("Any", "Count", "Revenue", "TimeTo")),
    cap=st.sampled_from((math.inf, 1.0, 40.0)),
    history=st.sampled_from((0, HOUR // 3, HOUR)),
    winsorise=st.none() | st.floats(0.5, 0.9999),
)
def test_any_outcome_is_what_the_definition_says(
    bench: Bench, seed: int, size: int, of: Any, cap: float, history: int, winsorise: float | None
) -> None:
    stream = a_stream(seed, size)
    scope = scope_of(bench.keep(stream), outcomes=(Outcome(Amount(ORDERED, of, cap=cap), None, history, winsorise),))
    found, expected = measured(bench, scope), in_python(stream, scope)
    assert {arm: rounded(each.outcomes[0]) for arm, each in found.items()} == {
        arm: rounded(each.outcomes[0]) for arm, each in expected.items()
    }
