"""The key figures of a campaign of five million events and a million requests, asked of the real store."""

import asyncio
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.bench.fill import CAMPAIGN, UNTIL, fill_statements
from tests.bench.rows import Row, median

from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.store import Store
from flywheel.insight.kpi import Dimension
from flywheel.insight.measure import measure as measure_window
from flywheel.insight.settings import CampaignSettings

EVENTS, REQUESTS = 5_000_000, 1_000_000
TIMES = 7
TARGET = 0.25
"""Seconds for all figures of the whole campaign."""


def measure() -> list[Row]:
    """Fill a store, then measure windows of it."""
    with tempfile.TemporaryDirectory() as folder:
        return asyncio.run(_measure(Path(folder)))


async def _measure(folder: Path) -> list[Row]:
    store = Store(ChdbEngine(folder), fsync=False)
    await store.start()
    try:
        for statement in fill_statements(EVENTS, requests=REQUESTS):
            await store.run(statement)
        bare = await _median(
            lambda: store.query(
                "SELECT uniqExact(visitor) FROM events WHERE NOT bot AND campaign = {c:String}", {"c": CAMPAIGN}
            )
        )
        rows = []
        questions: tuple[tuple[str, Dimension | None, float | None], ...] = (
            ("campaign", None, TARGET),
            ("campaign", "channel", None),
            ("campaign", "service", None),
            ("1h", None, None),
            ("1h", "channel", None),
            ("1m", None, None),
        )
        for window, by, target in questions:
            name = f"kpi: all figures, {window}, {EVENTS // 1_000_000}M events" + (f", by {by}" if by else "")
            taken = await _median(lambda w=window, d=by: _ask(store, w, d))  # type: ignore[misc]
            rows.append(Row(name, taken, "s", target, baseline=bare if window == "campaign" else None))
        return rows
    finally:
        await store.close()


async def _ask(store: Store, window: str, by: Dimension | None) -> object:
    found = await measure_window(store, CAMPAIGN, CampaignSettings(), window, UNTIL, by)
    assert window != "campaign" or found.total.visitors > 200_000, found.total
    return found


async def _median(question: Callable[[], Awaitable[object]]) -> float:
    taken = []
    await question()
    gc.collect()
    for _ in range(TIMES):
        began = time.perf_counter()
        await question()
        taken.append(time.perf_counter() - began)
    return median(taken)
