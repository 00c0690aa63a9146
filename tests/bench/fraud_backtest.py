"""What fraud rules would have found: five of them, each on five million events of the real store."""

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
from tests.bench.fill import CAMPAIGN, UNTIL, fill_statements
from tests.bench.rows import Row, median

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.events.backtest_questions import find
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.engine import Limits
from flywheel.events.store import Store
from flywheel.fraud.backtest import Past, Trial

EVENTS = 5_000_000
DAY = 86_400_000
TIMES = 5
TARGET = 3.0
"""Seconds for five rules, one after the other."""
MOST_SETTLING = 300
"""Seconds."""
PAST = Past(CAMPAIGN, UNTIL - 30 * DAY, UNTIL)
RULES: dict[str, dict[str, Any]] = {
    "burst": {
        "match": {"event": "Coupon Claimed"},
        "key": ["visitor"],
        "window": "1h",
        "condition": {"count": {"moreThan": 2}},
    },
    "crowd": {
        "match": {"event": "Product Viewed"},
        "key": ["path"],
        "state": {"maximumKeys": 100_000},
        "window": "10m",
        "condition": {"distinct": {"field": "user", "moreThan": 3}},
    },
    "spender": {
        "match": {"event": "Order Completed"},
        "key": ["visitor"],
        "window": "1h",
        "condition": {"sum": {"field": "revenue", "moreThan": 500}},
    },
    "haste": {
        "match": {"event": "Coupon Claimed"},
        "key": ["visitor"],
        "condition": {"sequence": {"steps": [{"event": "Product Added"}], "within": "1m"}},
    },
    "young": {
        "match": {"event": "Coupon Claimed"},
        "key": ["user"],
        "condition": {"accountAge": {"lessThan": "10m", "since": "Product Added"}},
    },
}
"""By name: the parts of the spec. They match 4 % to 20 % of the events, as rules do."""
_HITS = "SELECT count(*) FROM (SELECT {} AS value FROM events WHERE event = '{}') WHERE value > {}"
_WITHIN = "OVER (PARTITION BY {} ORDER BY time RANGE BETWEEN {} PRECEDING AND CURRENT ROW)"
_SOON = (
    "SELECT count(*) FROM (SELECT * FROM events WHERE event = 'Coupon Claimed' AND {0} != '') claim "
    "ASOF JOIN (SELECT {0}, time FROM events WHERE event = 'Product Added') added "
    "ON claim.{0} = added.{0} AND claim.time >= added.time WHERE claim.time - added.time < {1}"
)
QUERIES = {
    "burst": _HITS.format(f"count(*) {_WITHIN.format('visitor', 3_599_999)}", "Coupon Claimed", 2),
    "crowd": _HITS.format(f"count(DISTINCT user_id) {_WITHIN.format('path', 599_999)}", "Product Viewed", 3).replace(
        "') WHERE", "' AND user_id != '') WHERE"
    ),
    "spender": _HITS.format(f"sum(revenue) {_WITHIN.format('visitor', 3_599_999)}", "Order Completed", 500),
    "haste": _SOON.format("visitor", 60_000),
    "young": _SOON.format("user_id", 600_000),
}
"""The hits of the same rules, as DuckDB finds them; without other limits, visitors and customers."""
ALL: dict[str, Any] = {
    "match": {"type": "Track"},
    "key": ["visitor"],
    "window": "10m",
    "condition": {"count": {"moreThan": 6}},
}
"""One that matches 40 %, by type alone."""


def measure() -> list[Row]:
    """Fill a store, then ask."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Row]:
    store = Store(ChdbEngine(folder, memory=2 << 30), fsync=False)
    await store.start()
    try:
        for statement in fill_statements(EVENTS):
            await store.run(statement)
        await _settle(store)
        size = f"{EVENTS // 1_000_000}M events"
        five, hits = await _median(store, [_rule(name, spec) for name, spec in RULES.items()])
        one, _ = await _median(store, [_rule("everything", ALL)])
        peer = await _duckdb(store, folder / "events.parquet", hits)
        return [
            Row(f"fraud_backtest: five rules, {size}", five, "s", TARGET, baseline=peer),
            Row(f"fraud_backtest: one rule that matches 2M of {size}", one, "s", None),
        ]
    finally:
        await store.close()


def _rule(name: str, spec: dict[str, Any]) -> FraudRule:
    whole = {"campaign": CAMPAIGN, "action": {"tag": {"name": name}}, **spec}
    manifest = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "FraudRule", "metadata": {"name": name}, "spec": whole}
    return load_fraudrule(manifest)


async def _median(store: Store, rules: list[FraudRule]) -> tuple[float, dict[str, int]]:
    taken = []
    for number in range(TIMES + 1):
        gc.collect()
        began = time.perf_counter()
        found = [await find(store, Trial(rule, PAST)) for rule in rules]
        if number:
            taken.append(time.perf_counter() - began)
    assert all(each.own.hits for each in found), found
    return median(taken), {rule.name: each.own.hits for rule, each in zip(rules, found, strict=True)}


async def _duckdb(store: Store, path: Path, expected: dict[str, int]) -> float:
    """Ask DuckDB for the hits of the same rules, the table in its memory; give the median of the seconds."""
    columns = "event, time, visitor, user_id, path, revenue"
    limits = Limits(seconds=600, rows=0, result_bytes=0)
    with path.open("wb") as file:
        async for piece in store.stream(f"SELECT {columns} FROM events", {}, limits, "Parquet"):
            file.write(piece)
    taken = []
    with duckdb.connect(":memory:", config={"threads": 2}) as database:
        database.execute("CREATE TABLE events AS SELECT * FROM read_parquet(?)", [str(path)])
        for _ in range(TIMES):
            began = time.perf_counter()
            found = {name: database.execute(query).fetchone()[0] for name, query in QUERIES.items()}
            taken.append(time.perf_counter() - began)
            assert found == expected, (found, expected)
    return median(taken)


async def _settle(store: Store) -> None:
    """Wait until the store has merged what came all at once: visitors bring it over weeks."""
    until = time.monotonic() + MOST_SETTLING
    while any(int(row["merges"]) for row in await store.query("SELECT count() AS merges FROM system.merges", {})):
        assert time.monotonic() < until, "the store still merges"
        await asyncio.sleep(1)
