"""The key figures a third time, in DuckDB's SQL, formulated with windows and joins instead of arrays and bits."""

import contextlib
from collections.abc import Iterator
from typing import Any

import duckdb
import msgspec
import xxhash
from tests.unit.insight.stream import Stream

from flywheel.events.rows import EventRow, RequestRow
from flywheel.insight.kpi import Figures, Scope

_SQL = """
WITH
e AS (SELECT * FROM events WHERE time >= $start AND time < $end AND NOT bot),
r AS (SELECT * FROM requests WHERE time >= $start AND time < $end AND NOT bot),
records AS (
  SELECT visitor, time FROM e WHERE visitor <> '' UNION ALL SELECT visitor, time FROM r WHERE visitor <> '' AND page),
gaps AS (SELECT time - lag(time) OVER (PARTITION BY visitor ORDER BY time) AS gap FROM records),
ranked AS (
  SELECT *, row_number() OVER (
    PARTITION BY CASE WHEN order_id = '' THEN 'm' || message_id ELSE 'o' || order_id END
    ORDER BY revenue_unknown, time, tie) AS place
  FROM e WHERE type = 'track' AND event = $order),
orders AS (SELECT * FROM ranked WHERE place = 1),
served AS (SELECT * FROM r WHERE refused = '' AND service <> '' AND NOT starts_with(termination, 'L')),
latencies AS (
  SELECT duration_ms / 1000 AS seconds, row_number() OVER (ORDER BY duration_ms) AS place, count(*) OVER () AS n
  FROM served WHERE server_ms >= 0)
SELECT
  CASE WHEN $script THEN (SELECT count(*) FROM e WHERE type = 'page' AND source IN ('script', 'library'))
       ELSE (SELECT count(*) FROM r WHERE page) END AS page_views,
  (SELECT count(DISTINCT visitor) FROM records) AS visitors,
  (SELECT count(*) FROM gaps WHERE gap IS NULL OR gap > $timeout) AS sessions,
  (SELECT count(*) FROM orders) AS orders,
  (SELECT count(*) FROM orders WHERE revenue_unknown) AS unpriced_orders,
  (SELECT count(DISTINCT visitor) FROM orders WHERE visitor <> '') AS buyers,
  (SELECT coalesce(fsum(revenue), 0) FROM orders WHERE NOT revenue_unknown) AS revenue,
  (SELECT count(*) FROM served) AS requests,
  (SELECT count(*) FROM served
    WHERE status >= 500 OR (server_ms < 0 AND NOT starts_with(termination, 'C'))) AS errors,
  (SELECT min(seconds) FROM latencies WHERE place >= n * 50 / 100.0) AS latency_p50,
  (SELECT min(seconds) FROM latencies WHERE place >= n * 95 / 100.0) AS latency_p95,
  (SELECT min(seconds) FROM latencies WHERE place >= n * 99 / 100.0) AS latency_p99
"""


def _tie(row: EventRow | RequestRow) -> int:
    """Which of two orders of one millisecond counts; DuckDB lacks the hash."""
    return xxhash.xxh64_intdigest(row.message_id.encode()) if isinstance(row, EventRow) else 0


@contextlib.contextmanager
def loaded(stream: Stream) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an engine that holds the rows of a stream."""
    with duckdb.connect() as engine:
        for table, rows in (("events", stream.events), ("requests", stream.requests)):
            plain: list[dict[str, Any]] = [msgspec.to_builtins(row) | {"tie": _tie(row)} for row in rows]
            names = list(plain[0])
            types = {str: "VARCHAR", int: "HUGEINT", bool: "BOOLEAN", float: "DOUBLE"}
            columns = ", ".join(f"{name} {types[type(plain[0][name])]}" for name in names)
            engine.execute(f"CREATE TABLE {table} ({columns})")
            marks = ", ".join("?" for _ in names)
            engine.executemany(f"INSERT INTO {table} VALUES ({marks})", [list(row.values()) for row in plain])
        yield engine


def measure(stream: Stream, scope: Scope) -> Figures:
    """Measure the totals of one window of the rows that the store keeps."""
    with loaded(stream) as engine:
        values = {
            "start": scope.start,
            "end": scope.end,
            "order": scope.order_event,
            "script": scope.page_views == "Script",
            "timeout": scope.session_timeout * 1000,
        }
        answer = engine.execute(_SQL, values)
        names = [column[0] for column in answer.description or ()]
        row = dict(zip(names, answer.fetchone() or (), strict=True))
    latencies = {name: row[name] if row[name] is None else round(row[name], 6) for name in row if "latency" in name}
    return Figures(**{**row, **latencies, "revenue": round(row["revenue"], 4)})
