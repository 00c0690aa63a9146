"""What is kept beside the rows: each commit writes it, a cut-off one makes up for it, and it goes with the rows."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.unit.store.material import NOON, delivery, eventually, request
from tests.unit.store.test_store import Front, started

from flywheel.events import derived
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.commit import Outcome
from flywheel.events.engine import Engine, EngineError
from flywheel.events.erasure import Erasures
from flywheel.events.retention import Retention
from flywheel.events.rows import RequestRow
from flywheel.events.store import Store

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["chdb", "clickhouse"])
async def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Store]:
    folder = tmp_path_factory.mktemp("store")
    front = Front(folder / "clickhouse") if request.param == "clickhouse" else None
    engine: Engine = front.engine() if front else ChdbEngine(folder / "chdb")
    opened = await started(engine)
    yield opened
    await opened.close()
    if front:
        front.kill()


def served(number: int, visitor: str, variant: str, **fields: object) -> RequestRow:
    return request(number, visitor=visitor, test="button", variant=variant, **fields)


async def exposures(store: Store, campaign: str) -> list[tuple[str, int, str]]:
    rows = await store.query(
        "SELECT variant, min(time) AS at, min(first).2 AS channel FROM exposures WHERE campaign = {campaign:String} "
        "GROUP BY visitor_key, variant ORDER BY at, variant",
        {"campaign": campaign},
    )
    return [(str(row["variant"]), int(str(row["at"])) - NOON, str(row["channel"])) for row in rows]


async def test_the_first_request_to_each_arm_is_kept(store: Store) -> None:
    rows = [
        served(5, "a", "red", channel="email"),
        served(3, "a", "red", channel="social"),
        served(9, "a", "green"),
        served(4, "b", "green", channel="direct"),
        served(1, "", "red"),
        served(1, "c", "red", bot=True),
        served(2, "c", "red", refused="rate"),
        request(7, visitor="d"),
    ]
    for number, row in enumerate(rows):
        row.request_id = f"first-{number}"
    # In an order that is not that of time, and the one of them twice.
    for some in (rows[:1], rows[1:], rows[:2]):
        await store.ingest("requests", [delivery("first", some)])
    assert await exposures(store, "first") == [("red", 3, "social"), ("green", 4, "direct"), ("green", 9, "")]


async def test_a_commit_that_was_cut_off_is_made_up_for(store: Store) -> None:
    original, calls = store._step, []

    async def dying(statement: str, parameters: object = None) -> list[dict[str, object]]:
        calls.append(statement)
        if statement.startswith("INSERT INTO exposures"):
            raise EngineError(999, "killed")
        return await original(statement, parameters)  # type: ignore[arg-type]

    store._step = dying  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="killed"):
        await store.ingest("requests", [delivery("cut", [served(1, "a", "red")])])
    store._step = original  # type: ignore[method-assign]
    assert await exposures(store, "cut") == []
    # It comes again, and is known for stored; what it lacked is there before that is said.
    assert await store.ingest("requests", [delivery("cut", [served(1, "a", "red")])]) == [Outcome(duplicates=1)]
    assert await exposures(store, "cut") == [("red", 1, "")]


async def test_an_erased_visitor_is_gone_from_there_too(store: Store) -> None:
    await store.ingest("requests", [delivery("gone", [served(1, "a", "red"), served(2, "b", "green")])])
    await store.ingest("requests", [delivery("kept", [served(1, "a", "red")])])
    erasures = Erasures(store)
    receipt = await erasures.request("gone", visitor="a")
    working = asyncio.create_task(erasures.work())

    async def done() -> bool:
        found = await erasures.status(receipt.receipt)
        return bool(found and found.finished_at)

    await eventually(done, "the erasure is done")
    working.cancel()
    assert await exposures(store, "gone") == [("green", 2, "")]
    # Nor does it come back when what a commit may have lacked is derived once more.
    store._unsettled.add("requests")
    [again] = await store.ingest("requests", [delivery("gone", [served(3, "a", "red")])])
    assert again.reasons == {"erased": 1}
    assert await exposures(store, "gone") == [("green", 2, "")]
    assert await exposures(store, "kept") == [("red", 1, "")]


async def test_exposures_go_when_they_have_had_their_time(store: Store) -> None:
    await store.ingest("requests", [delivery("old", [served(1, "a", "red"), served(9_000_000, "b", "red")])])
    await Retention(store, lambda: {"old": 3600}).clean(NOON / 1000 + 7200)

    async def left() -> bool:
        return await exposures(store, "old") == [("red", 9_000_000, "")]

    await eventually(left, "the older one is gone")


async def test_a_store_of_an_older_version_is_brought_up_to_date(tmp_path: Path) -> None:
    store = await started(ChdbEngine(tmp_path / "chdb"))
    rows = [served(number, f"v{number % 7}", "red", time=NOON + number * 40_000_000) for number in range(20)]
    await store.ingest("requests", [delivery("older", rows)])
    expected = await exposures(store, "older")
    for statement in (
        "DROP TABLE exposures SYNC",
        "ALTER TABLE requests DROP COLUMN fallback, DROP COLUMN browser, DROP COLUMN device, DROP COLUMN pod",
        "TRUNCATE TABLE schema_version",
        "INSERT INTO schema_version SELECT 2, 0",
    ):
        await store.run(statement)
    await store.close()
    store = await started(ChdbEngine(tmp_path / "chdb"))
    try:
        assert len(expected) == 7
        assert await exposures(store, "older") == expected
        newer = served(99, "new", "green", browser="Chrome", pod="edge-1", fallback=1)
        assert await store.ingest("requests", [delivery("older", [newer])]) == [Outcome(stored=1)]
        [row] = await store.query("SELECT browser, pod, fallback FROM requests WHERE visitor = 'new'")
        assert row == {"browser": "Chrome", "pod": "edge-1", "fallback": 1}
    finally:
        await store.close()


async def test_each_column_is_derived_from_something() -> None:
    from flywheel.events.schema import BY_NAME

    for each in derived.ALL:
        columns = [column.name for column in BY_NAME[each.table].stored_columns]
        assert columns == list(each.values)
