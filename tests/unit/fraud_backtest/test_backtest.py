"""The back-test on the real engine, against plain Python from the definitions."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.fraud_backtest.conftest import Bench
from tests.unit.fraud_backtest.oracle import Oracle, breaks, is_exempt, matches, value_of
from tests.unit.fraud_backtest.streams import RULES, START, pasts
from tests.unit.insight.stream import Stream

from flywheel.events.rows import EventRow
from flywheel.fraud.backtest import Past, Trial, counts_statement, found_statement, hits_statement
from flywheel.fraud.backtest_found import Found, Point, found_of
from flywheel.insight.kpi import Statement

ON_A_STORE = settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def asked(bench: Bench, statement: Statement) -> list[dict[str, object]]:
    return bench.run(bench.store.query(statement.sql, statement.parameters))  # type: ignore[no-any-return]


def found_in(bench: Bench, trial: Trial) -> Found:
    return found_of(trial, asked(bench, counts_statement(trial)), asked(bench, found_statement(trial)))


def expected_curve(oracle: Oracle, rows: list[EventRow], trial: Trial) -> tuple[Point, ...]:
    judged = list(oracle.judged())
    paid = {row.visitor for row in rows if row.event == "Order Completed" and row.type == "track" and row.visitor}
    points = []
    for limit in trial.limits.given:
        acted_on = (each for each in judged if not is_exempt(trial.rule, each.row))
        hits = [each for each in acted_on if breaks(trial.rule, each, trial.limits.index, limit)]
        keys = {each.key for each in hits}
        visitors = {each.row.visitor for each in judged if each.key in keys and each.row.visitor}
        points.append(Point(limit, len(hits), len(keys), len(visitors), len(visitors & paid)))
    return tuple(points)


@pytest.mark.parametrize("name", RULES)
@given(rows=pasts(), start=st.sampled_from([START - 10_000, START + 1000, START + 3000]))
@ON_A_STORE
def test_it_finds_what_the_definitions_say(bench: Bench, name: str, rows: list[EventRow], start: int) -> None:
    rule = RULES[name]
    end = START + 12_000
    trial = Trial(rule, Past(bench.keep(Stream(events=rows)), start, end))
    oracle = Oracle(rule, rows, start, end)
    judged = list(oracle.judged())
    own = trial.limits.given[trial.limits.current]
    broken = [each.row for each in judged if breaks(rule, each, trial.limits.index, own)]
    hits = [row for row in broken if not is_exempt(rule, row)]
    ids = [str(row["id"]) for row in asked(bench, hits_statement(trial, 1000))]
    assert ids == [row.message_id for row in sorted(hits, key=lambda row: (row.time, row.message_id))]
    found = found_in(bench, trial)
    assert found.curve == expected_curve(oracle, rows, trial)
    assert found.own == found.curve[trial.limits.current]
    assert found.nameless == sum(not row.visitor for row in hits)
    assert found.exempt == len(broken) - len(hits)
    matched = [row for row in oracle.all if row.time >= start and matches(rule, row)]
    lateness = rule.spec.lateness.total_seconds() * 1000
    assert found.events == len(matched)
    assert found.late == sum(row.ingest_time - row.time > lateness for row in matched)
    for field, count in found.lacking.items():
        if field != "addressPrefix":
            assert count == sum(value_of(row, field) is None for row in matched), field
