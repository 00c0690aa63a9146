"""What the engine ought to say, in SQL: another way to the same, by joins over the whole log. DuckDB carries it out."""

from typing import Any

import duckdb

from flywheel.fraud.fields import key_reader, reader, text
from flywheel.fraud.rule import Changes, Count, Distinct, Rate, Rule, Sum
from flywheel.fraud.words import Event

TABLE = "CREATE TABLE log (seq INT, id TEXT, name TEXT, time BIGINT, arrived BIGINT, address TEXT, {columns})"
JUDGED = """
WITH RECURSIVE clocked AS (
    SELECT *, max(arrived) OVER (ORDER BY seq) AS clock, least(time, arrived) AS happened FROM log
), fresh AS (
    -- An id is new for good once its first event is in: no log of these tests is longer than the horizon.
    SELECT *, row_number() OVER (PARTITION BY CASE WHEN id = '' THEN seq::TEXT ELSE 'i' || id END ORDER BY seq) AS nth
    FROM clocked
), chosen AS (
    SELECT seq, id, happened, key, payload FROM fresh
    WHERE nth = 1 AND key IS NOT NULL AND payload IS NOT NULL AND happened >= clock - {lateness} AND {matches}
), ends AS (
    SELECT *, max(happened) OVER (PARTITION BY key ORDER BY seq) - {window} AS since FROM chosen
), inside AS (
    SELECT e.seq, e.id, e.key, e.since, p.payload, p.seq AS nth,
        row_number() OVER (PARTITION BY e.seq ORDER BY p.happened DESC, p.seq DESC) AS back,
        lag(p.payload) OVER (PARTITION BY e.seq ORDER BY p.happened, p.seq) AS previous
    FROM ends e JOIN chosen p ON p.key = e.key AND p.seq <= e.seq AND p.happened > e.since
)
SELECT id, key, ({observed})::DOUBLE AS observed, any_value(since) FROM inside
GROUP BY seq, id, key HAVING {observed} > {limit} ORDER BY seq
"""


class SqlOracle:
    """A log in a database, asked by rules of one condition."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events

    def told(self, rule: Rule, matches: str = "TRUE") -> list[tuple[Any, ...]]:
        """Give what is found, before any saturation: event, key, observed, since."""
        (condition,) = rule.conditions
        read_key = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)
        with duckdb.connect(":memory:", config={"threads": 1}) as database:
            database.execute(TABLE.format(columns="amount DOUBLE, key TEXT, payload " + _type(condition)))
            rows = []
            for i, event in enumerate(self._events):
                key, amount = read_key(event), event.fields.get("amount")
                amount = amount if isinstance(amount, float) else None
                joined = "\x1f".join(key) if all(key) else None
                payload = _payload(condition, event)
                rows.append(
                    (i, event.id, event.name, event.time, event.arrived, event.address, amount, joined, payload)
                )
            if rows:
                database.executemany(f"INSERT INTO log VALUES ({', '.join('?' * 9)})", rows)
            observed, limit = _observed(condition, rule)
            query = JUDGED.format(
                lateness=rule.lateness, window=rule.window, matches=matches, observed=observed, limit=limit
            )
            return database.execute(query).fetchall()


def _type(condition: object) -> str:
    return "DECIMAL(18, 4)" if isinstance(condition, Sum) else "TEXT"


def _payload(condition: object, event: Event) -> object:
    match condition:
        case Distinct(field=name) | Changes(field=name):
            return text(reader(name)(event)) or None
        case Sum(field=name):
            value = reader(name)(event)
            return value if isinstance(value, float) else None
        case _:
            return "x"


def _observed(condition: object, rule: Rule) -> tuple[str, float]:
    match condition:
        case Count(more_than=limit):
            return f"least(count(*), {limit + 1})", limit
        case Rate(more_than=limit, per=per):
            return f"least(count(*), {int(limit * rule.window / per) + 1}) * {per} / {rule.window}", limit
        case Distinct(more_than=limit):
            return f"least(count(DISTINCT payload), {limit + 1})", limit
        case Sum(more_than=limit, maximum_events=most):
            return f"sum(payload) FILTER (back <= {most})", limit
        case Changes(more_than=limit):
            return "count(*) FILTER (previous <> payload)", limit
        case _:
            raise AssertionError(condition)
