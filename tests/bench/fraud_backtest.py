"""What fraud rules would have found: five of them, each on five million events of the real store."""

import asyncio
import gc
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.bench.fill import CAMPAIGN, UNTIL, fill_statements
from tests.bench.rows import Row, median

from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_fraudrule
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.store import Store
from flywheel.fraud.backtest import Past, Trial, counts_statement, found_statement
from flywheel.fraud.backtest_found import Found, found_of

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
        five = await _median(store, [_rule(name, spec) for name, spec in RULES.items()])
        one = await _median(store, [_rule("everything", ALL)])
        return [
            Row(f"fraud_backtest: five rules, {size}", five, "s", TARGET),
            Row(f"fraud_backtest: one rule that matches 2M of {size}", one, "s", None),
        ]
    finally:
        await store.close()


def _rule(name: str, spec: dict[str, Any]) -> FraudRule:
    whole = {"campaign": CAMPAIGN, "action": {"tag": {"name": name}}, **spec}
    manifest = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "FraudRule", "metadata": {"name": name}, "spec": whole}
    return load_fraudrule(manifest)


async def _median(store: Store, rules: list[FraudRule]) -> float:
    taken = []
    for number in range(TIMES + 1):
        gc.collect()
        began = time.perf_counter()
        found = [await _try(store, rule) for rule in rules]
        if number:
            taken.append(time.perf_counter() - began)
        else:
            assert all(each.own.hits for each in found), found
    return median(taken)


async def _try(store: Store, rule: FraudRule) -> Found:
    trial = Trial(rule, PAST)
    counts, found = counts_statement(trial), found_statement(trial)
    counted = await store.query(counts.sql, counts.parameters)
    return found_of(trial, counted, await store.query(found.sql, found.parameters))


async def _settle(store: Store) -> None:
    """Wait until the store has merged what came all at once: visitors bring it over weeks."""
    until = time.monotonic() + MOST_SETTLING
    while any(int(row["merges"]) for row in await store.query("SELECT count() AS merges FROM system.merges", {})):
        assert time.monotonic() < until, "the store still merges"
        await asyncio.sleep(1)
