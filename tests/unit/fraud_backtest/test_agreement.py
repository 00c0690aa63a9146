"""The back-test and the engine share no code: of the same past they say the same."""

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from tests.unit.fraud_backtest.conftest import Bench
from tests.unit.fraud_backtest.streams import RULES, START, pasts
from tests.unit.insight.stream import Stream

from flywheel.api.fraudrule import FraudRule
from flywheel.events.rows import EventRow
from flywheel.fraud.backtest import Past, Trial, hits_statement
from flywheel.fraud.compiling import ruled_of
from flywheel.fraud.decisions import decide
from flywheel.fraud.engine import Engine
from flywheel.fraud.from_row import event_of

NOW = datetime.fromtimestamp(START / 1000, UTC)
BEFORE, AFTER = START - 20_000, START + 200_000
CROWDED = (0, 0, 0, 0, 1, 7, 50, 120, 400, 1000)
LATEST = 1000
"""Milliseconds that any of the rules waits for an event."""
BOUNDED = settings(
    max_examples=12,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def agreed() -> Counter[str]:
    """Hits by rule, of all pasts together."""
    return Counter()


@st.composite
def in_order(draw: st.DrawFn) -> list[EventRow]:
    """A past in which each event came at once, or later than any rule waits; with ties and with repeated events."""
    rows = draw(pasts(120, 80, CROWDED))
    return [replace(row, time=row.ingest_time) if _behind(row) <= LATEST else row for row in rows]


@seed(618)
@given(rows=in_order())
@BOUNDED
def test_they_find_the_same_in_the_order_of_arrival(bench: Bench, agreed: Counter[str], rows: list[EventRow]) -> None:
    campaign = bench.keep(Stream(events=rows))
    found = hits_of_engine(RULES.values(), rows)
    for name, rule in RULES.items():
        assert hits_of_store(bench, campaign, rule) == sorted(found[name]), name
        agreed[name] += len(found[name])


@seed(7)
@given(rows=pasts(120, 80, CROWDED))
@BOUNDED
def test_what_comes_late_is_put_where_an_engine_in_order_would_have_it(bench: Bench, rows: list[EventRow]) -> None:
    campaign = bench.keep(Stream(events=rows))
    by_time = sorted(rows, key=lambda row: (row.time, row.ingest_time, row.message_id))
    for lateness in {rule.spec.lateness for rule in RULES.values()}:
        rules = {name: rule for name, rule in RULES.items() if rule.spec.lateness == lateness}
        soon = (row for row in by_time if _behind(row) <= lateness.total_seconds() * 1000)
        found = hits_of_engine(rules.values(), [replace(row, ingest_time=row.time) for row in soon])
        for name, rule in rules.items():
            assert hits_of_store(bench, campaign, rule) == sorted(found[name]), name


def test_each_of_the_rules_has_found_something(agreed: Counter[str]) -> None:
    # An agreement on nothing would say nothing. It is about the first test, which fills the counter.
    assert sorted(RULES.keys() - {name for name, hits in agreed.items() if hits}) == []


def hits_of_engine(rules: Iterable[FraudRule], rows: list[EventRow]) -> dict[str, list[str]]:
    """Give, by rule, the ids of the events that break it and about which something may be done."""
    ruled = {rule.name: ruled_of(rule, NOW) for rule in rules}
    events = {row.message_id: event_of(row, row.address) for row in reversed(rows)}
    found: dict[str, list[str]] = {name: [] for name in ruled}
    for verdict in Engine([each.rule for each in ruled.values()]).judge([event_of(row, row.address) for row in rows]):
        if decide(ruled[verdict.rule], verdict, events[verdict.event], START, {}).done != "Exempt":
            found[verdict.rule].append(verdict.event)
    return found


def hits_of_store(bench: Bench, campaign: str, rule: FraudRule) -> list[str]:
    """Give the same by SQL."""
    statement = hits_statement(Trial(rule, Past(campaign, BEFORE, AFTER)), 1000)
    return sorted(str(row["id"]) for row in bench.run(bench.store.query(statement.sql, statement.parameters)))


def _behind(row: EventRow) -> int:
    return row.ingest_time - row.time
