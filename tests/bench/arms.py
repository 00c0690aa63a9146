"""What the arms of a test did: half a million visitors, five million events, asked of the real store."""

import asyncio
import gc
import tempfile
import time
from pathlib import Path

from tests.bench.fill import CAMPAIGN, UNTIL, fill_statements
from tests.bench.rows import Row, median

from flywheel.events import derived
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.store import Store
from flywheel.insight.arm_sums import sums_statement
from flywheel.insight.arms import Amount, ArmScope, Outcome, latencies_statement, requests_statement, shape
from flywheel.insight.kpi import Statement

EVENTS, REQUESTS, VISITORS = 5_000_000, 12_000_000, 1_000_000
"""Half of the visitors come into the test."""
DAY = 86_400_000
TIMES = 7
TARGET = 0.5
"""Seconds for the sums of three metrics."""
MOST_SETTLING = 300
"""Seconds."""
OUTCOMES = (
    Outcome(Amount("Coupon Claimed")),
    Outcome(Amount("Order Completed", "Revenue")),
    Outcome(Amount("Order Completed", "Revenue"), over=Amount("Order Completed", "Count")),
)
SCOPE = ArmScope(CAMPAIGN, "button", UNTIL - 30 * DAY, UNTIL, 7 * DAY, OUTCOMES)


def measure() -> list[Row]:
    """Fill a store, then ask."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Row]:
    store = Store(ChdbEngine(folder, memory=2 << 30), fsync=False)
    await store.start()
    try:
        for statement in fill_statements(EVENTS, requests=REQUESTS, visitors=VISITORS):
            await store.run(statement)
        await _expose(store)
        size = f"{EVENTS // 1_000_000}M events"
        merging = await _median(store, sums_statement(SCOPE))
        await _settle(store)
        sums = await _median(store, sums_statement(SCOPE))
        guarded = await _median(store, requests_statement(SCOPE), latencies_statement(SCOPE))
        return [
            Row(f"arms: exposures and three metrics, {size}", sums, "s", TARGET),
            Row("arms: the same, while the store still merges 17M rows that came in half a minute", merging, "s", None),
            Row(f"arms: errors and latency, {REQUESTS // 1_000_000}M requests", guarded, "s", None),
        ]
    finally:
        await store.close()


async def _expose(store: Store) -> None:
    """Keep exposures as the commits would have."""
    for each in derived.of("requests"):
        for row in await store.run(derived.days_since(each, 0)):
            await store.run(derived.from_stored(each, 0, str(row["day"])))


async def _settle(store: Store) -> None:
    """Wait until the store has merged what came all at once: visitors bring it over weeks."""
    until = time.monotonic() + MOST_SETTLING
    while any(int(row["merges"]) for row in await store.query("SELECT count() AS merges FROM system.merges", {})):
        assert time.monotonic() < until, "the store still merges"
        await asyncio.sleep(1)


async def _median(store: Store, *statements: Statement) -> float:
    taken = []
    for number in range(TIMES + 1):
        gc.collect()
        began = time.perf_counter()
        answers = [await store.query(each.sql, each.parameters) for each in statements]
        if number:
            taken.append(time.perf_counter() - began)
        elif "visitors" in answers[0][0]:
            visitors = sum(each.visitors for each in shape(SCOPE, *answers).values())
            assert 0.4 * VISITORS < visitors < 0.6 * VISITORS, visitors
    return median(taken)
