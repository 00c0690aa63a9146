"""The store, once on chDB and once through the client of ClickHouse: the same behaviour of both."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.ports import free_ports
from tests.unit.store.material import NOON, ROOT, dead_letter, delivery, event, eventually, lines, request

from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.clickhouse_engine import Address, ClickHouseEngine
from flywheel.events.commit import Outcome
from flywheel.events.engine import Engine, EngineDown, EngineError, Limits, StoreError
from flywheel.events.erasure import Erasures, NotErasable
from flywheel.events.retention import Retention
from flywheel.events.salts import SaltRows
from flywheel.events.store import Store, Unreadable

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Front:
    """ClickHouse's HTTP interface over chDB, in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        [self.port] = free_ports(1)
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}:{ROOT}"}
        command = [sys.executable, "-m", "tests.unit.store.clickhouse_front", str(self.directory), str(self.port)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def engine(self, database: str = "flywheel") -> ClickHouseEngine:
        return ClickHouseEngine(Address(f"http://127.0.0.1:{self.port}", database))


async def started(make: "Engine", owner: str = "test") -> Store:
    store = Store(make, owner=owner)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await store.start()
        except EngineDown:
            if time.monotonic() > deadline or not make.shared:
                raise
            await asyncio.sleep(0.1)
        else:
            return store


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def front(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Front]:
    made = Front(tmp_path_factory.mktemp("front") / "clickhouse")
    yield made
    made.kill()


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["chdb", "clickhouse"])
async def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, front: Front):
    engine: Engine = front.engine()
    if request.param == "chdb":
        engine = ChdbEngine(tmp_path_factory.mktemp("store") / "chdb")
    opened = await started(engine)
    yield opened
    await opened.close()


async def count(store: Store, campaign: str, table: str = "events") -> int:
    sql = f"SELECT count() AS n FROM {table} WHERE campaign = {{campaign:String}}"
    [row] = await store.query(sql, {"campaign": campaign})
    return int(str(row["n"]))


async def test_each_row_is_stored_once_for_each_campaign(store: Store) -> None:
    first = delivery("a", [event(i) for i in range(50)])
    second = delivery("b", [event(i) for i in range(20)])
    twice = delivery("a", [event(i) for i in range(40, 60)] * 2)
    assert await store.ingest("events", [first, second]) == [Outcome(stored=50), Outcome(stored=20)]
    assert await store.ingest("events", [twice]) == [Outcome(stored=10, duplicates=30)]
    assert await store.ingest("events", [first, second]) == [Outcome(duplicates=50), Outcome(duplicates=20)]
    assert (await count(store, "a"), await count(store, "b")) == (60, 20)


async def test_what_was_sent_is_what_is_found(store: Store) -> None:
    sent = event(1, bot=True, revenue=0.1, url="https://x/\\'\"\t", user_id="☃", currency="CNY")
    await store.ingest("events", [delivery("found", [sent])])
    [row] = await store.query("SELECT *, at FROM events WHERE campaign = 'found'")
    for name in sent.__struct_fields__:
        if name != "expires_at":
            assert row[name] == getattr(sent, name), name
    assert row["at"] == "2023-11-14 22:13:20.001"
    assert await store.query("SELECT count() AS n FROM events WHERE url = {url:String}", {"url": sent.url}) == [
        {"n": 1}
    ]


async def test_requests_and_dead_letters_are_counted_once_as_well(store: Store) -> None:
    for table, rows in (
        ("requests", [request(i) for i in range(9)]),
        ("dead_letters", [dead_letter(i) for i in range(9)]),
    ):
        assert await store.ingest(table, [delivery("kinds", rows)]) == [Outcome(stored=9)]
        assert await store.ingest(table, [delivery("kinds", rows)]) == [Outcome(duplicates=9)]
        assert await count(store, "kinds", table) == 9


async def test_a_bad_row_takes_no_good_one_with_it(store: Store) -> None:
    bad = [
        b"nonsense",
        b"{}",
        lines([event(1)])[:-20],
        lines([event(5)]).replace(b'"time":', b'"time":"soon","x":').strip(),
        lines([event(6, message_id="")]).strip(),
        lines([event(7, time=1)]).strip(),
        b'{"message_id":"\xff"}',
        b'["an array"]',
        lines([event(8)]).strip().replace(b"a-1", b"\\\\ud800"),
    ]
    body = lines([event(100)]) + b"\n".join(bad) + b"\n" + lines([event(101)])
    good = delivery("innocent", [event(i) for i in range(5)])
    first, second = await store.ingest("events", [good, delivery("guilty", body)])
    assert first == Outcome(stored=5)
    assert isinstance(second, Outcome)
    assert (second.stored, second.refused) == (3, 8), second
    assert await count(store, "guilty", "dead_letters") == 8
    [unreadable] = await store.ingest("events", [delivery("guilty", b"a\nb\n")])
    assert isinstance(unreadable, Unreadable)


async def test_no_sender_can_write_for_another_campaign(store: Store) -> None:
    row = lines([event(500)]).strip()
    forged = row.replace(b"{", b'{"part":1,"campaign":"victim",', 1)
    body = row + b"," + forged.replace(b"m500", b"m501") + b"\n" + forged + b"\n"
    await store.ingest("events", [delivery("robber", body)])
    assert await count(store, "victim") == 0


async def test_rows_with_more_fields_than_we_know_are_taken(store: Store) -> None:
    body = lines([event(1)]).replace(b'{"', b'{"from_a_newer_version":[1,{"x":2}],"', 1)
    assert await store.ingest("events", [delivery("newer", body)]) == [Outcome(stored=1)]


async def test_queries_change_nothing_and_end_at_their_limits(store: Store) -> None:
    for sql in ("INSERT INTO events (campaign) VALUES ('x')", "DROP TABLE events", "SET readonly = 0"):
        with pytest.raises(EngineError):
            await store.query(sql)
    with pytest.raises(EngineError) as rows:
        await store.query("SELECT number FROM numbers(100)", limits=Limits(rows=10))
    assert rows.value.code == 396
    with pytest.raises(EngineError) as memory:
        await store.query("SELECT groupArray(number) FROM numbers(100000000)", limits=Limits(memory=50 << 20))
    assert memory.value.code == 241
    with pytest.raises(EngineError) as late:
        await store.query("SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", limits=Limits(seconds=0.3))
    assert late.value.code == 159


async def test_inserts_go_on_while_a_slow_query_runs_and_a_cancelled_one_ends(store: Store) -> None:
    slow = asyncio.create_task(
        store.query("SELECT sum(sipHash64(number)) AS slow FROM numbers(1000000000000)", limits=Limits(seconds=20))
    )
    assert await store.ingest("events", [delivery("meanwhile", [event(1)])]) == [Outcome(stored=1)]
    slow.cancel()
    with pytest.raises(asyncio.CancelledError):
        await slow
    if store.engine.shared:
        return  # The front does not take the ids that the server would.

    async def ended() -> bool:
        found = await store.query("SELECT count() AS n FROM system.processes WHERE query LIKE '%AS slow%'")
        return int(str(found[0]["n"])) <= 1

    await eventually(ended, "the cancelled query has ended")


async def test_a_user_is_erased_with_the_visitors_that_are_nobody_elses(store: Store) -> None:
    rows = [
        event(1, visitor="own", user_id="ann"),
        event(2, visitor="own", user_id=""),
        event(3, visitor="shared", user_id="ann"),
        event(4, visitor="shared", user_id="bob"),
        event(5, visitor="other", user_id="bob"),
    ]
    await store.ingest("events", [delivery("e", rows), delivery("f", rows)])
    await store.ingest("requests", [delivery("e", [request(1, visitor="own"), request(2, visitor="shared")])])
    erasures = Erasures(store)
    receipt = await erasures.request("e", user_id="ann")
    assert receipt.identities == 2
    open_receipt = await erasures.status(receipt.receipt)
    assert open_receipt is not None
    assert open_receipt.finished_at == 0
    # Another worker carries on: the request is in the store, not in memory.
    working = asyncio.create_task(Erasures(store).work())

    async def done() -> bool:
        found = await erasures.status(receipt.receipt)
        return bool(found and found.finished_at)

    await eventually(done, "the erasure is done")
    working.cancel()
    left = await store.query("SELECT message_id FROM events WHERE campaign = 'e' ORDER BY message_id")
    assert [row["message_id"] for row in left] == ["m4", "m5"]
    assert (await count(store, "f"), await count(store, "e", "requests")) == (5, 1)
    [again] = await store.ingest("events", [delivery("e", rows)])
    assert again == Outcome(duplicates=2, refused=3, reasons={"erased": 3})
    assert [each.get("visitor") or each["user_id"] for each in await erasures.listed("e", 0)] == ["own", "ann"]
    with pytest.raises(NotErasable):
        await erasures.request("e")
    with pytest.raises(NotErasable):
        await erasures.request("e", visitor="a", user_id="b")


async def test_rows_go_when_they_have_had_their_time(store: Store) -> None:
    soon = int(time.time()) + 100
    rows = [event(1, expires_at=soon), event(2), event(3, time=NOON - 86_400_000)]
    await store.ingest("events", [delivery("brief", rows)])
    retention = Retention(store, lambda: {"brief": 3600})

    async def left() -> list[object]:
        found = await store.query("SELECT message_id FROM events WHERE campaign = 'brief' ORDER BY message_id")
        return [row["message_id"] for row in found]

    await retention.clean(NOON / 1000 + 1800)
    await eventually(lambda: _equal(left(), ["m1", "m2"]), "the campaign's retention is kept")
    await Retention(store, dict).clean(soon + 1)
    await eventually(lambda: _equal(left(), ["m2"]), "the row's own end is kept")


async def _equal(found, wanted: list[str]) -> bool:
    return await found == wanted


async def test_a_table_is_exported_as_parquet(store: Store) -> None:
    import duckdb

    # In several parts, of which each is a block of its own when it is read
    for begin in range(0, 1000, 250):
        await store.ingest("events", [delivery("parquet", [event(i) for i in range(begin, begin + 250)])])
    limits = Limits(rows=0, result_bytes=0)
    sql = "SELECT * EXCEPT commit FROM events WHERE campaign = {campaign:String}"
    pieces = [piece async for piece in store.stream(sql, {"campaign": "parquet"}, limits, "Parquet")]
    path = Path("/tmp") / f"export-{os.getpid()}.parquet"
    path.write_bytes(b"".join(pieces))
    try:
        found = duckdb.sql(f"SELECT count(DISTINCT message_id), sum(revenue) FROM '{path}'").fetchall()
    finally:
        path.unlink()
    assert found == [(1000, 9500.0)]


async def test_salts_can_be_rows(store: Store) -> None:
    first, again = [await SaltRows(store).salt("618") for _ in range(2)]
    assert first == again != await SaltRows(store).salt("other")
    assert len(first) == 64


async def test_ids_that_a_cut_off_commit_did_not_come_to_remember_are_made_up_for(store: Store) -> None:
    await store.ingest("events", [delivery("cut", [event(i) for i in range(10)])])
    # As if killed between the two: the last commit has half of its ids.
    last = "(SELECT max(commit) FROM seen WHERE kind = 'events')"
    await store.run(f"ALTER TABLE seen DELETE WHERE commit = {last} AND id % 2 = 0 SETTINGS mutations_sync = 2")
    assert len(await store.query(f"SELECT 1 FROM seen WHERE commit = {last}")) < 10
    store._unsettled.add("events")
    [outcome] = await store.ingest("events", [delivery("cut", [event(i) for i in range(12)])])
    assert outcome == Outcome(stored=2, duplicates=10)
    assert await count(store, "cut") == 12


async def test_a_large_query_uses_two_threads(store: Store) -> None:
    plan = await store.query("EXPLAIN PIPELINE SELECT sum(number) FROM numbers_mt(100000000)")
    assert any("× 2" in str(row["explain"]) for row in plan), plan


async def test_a_window_and_an_event_are_found_without_reading_the_others(store: Store) -> None:
    rows = [event(i, event=f"e{i % 4}", time=NOON + i * 1000) for i in range(20_000)]
    await store.ingest("events", [delivery("pruned", rows)])
    await store.run("OPTIMIZE TABLE events FINAL")

    async def read(condition: str) -> int:
        found = await store.query(
            f"EXPLAIN ESTIMATE SELECT message_id FROM events WHERE campaign = 'pruned' AND bot = 0 AND {condition}"
        )
        return sum(int(str(row["rows"])) for row in found)

    whole = await read("1")
    assert await read("event = 'e1'") < whole
    assert await read(f"time >= {NOON + 19_000_000}") < whole


async def test_tables_of_before_the_first_release_are_not_used(front: Front) -> None:
    store = await started(front.engine("older"))
    await store.run("TRUNCATE TABLE schema_version")
    await store.run("INSERT INTO schema_version SELECT 1, 0")
    await store.close()
    with pytest.raises(StoreError, match="version 1, from before the first release"):
        await started(front.engine("older"))


async def test_tables_of_a_newer_version_are_left_alone(front: Front) -> None:
    store = await started(front.engine("newer"))
    await store.run("INSERT INTO schema_version SELECT 99, 0")
    await store.close()
    with pytest.raises(StoreError, match="version 99"):
        await started(front.engine("newer"))


async def test_of_two_workers_on_one_cluster_the_newer_one_writes(front: Front) -> None:
    old = await started(front.engine("two"), "old")
    assert await old.ingest("events", [delivery("x", [event(1)])]) == [Outcome(stored=1)]
    new = await started(front.engine("two"), "new")
    with pytest.raises(StoreError, match="Another worker"):
        await old.ingest("events", [delivery("x", [event(2)])])
    assert await new.ingest("events", [delivery("x", [event(1), event(2)])]) == [Outcome(stored=1, duplicates=1)]
    await old.close()
    await new.close()


async def test_a_cluster_that_goes_away_is_waited_for(tmp_path: Path) -> None:
    front = Front(tmp_path / "clickhouse")
    store = await started(front.engine())
    assert await store.ingest("events", [delivery("x", [event(1)])]) == [Outcome(stored=1)]
    front.process.send_signal(signal.SIGKILL)
    front.process.wait()
    with pytest.raises(EngineDown):
        await store.ingest("events", [delivery("x", [event(2)])])
    assert store.complaint()
    front.start()

    async def works() -> bool:
        return store.complaint() is None

    await eventually(works, "ClickHouse is back")
    assert await store.ingest("events", [delivery("x", [event(1), event(2)])]) == [Outcome(stored=1, duplicates=1)]
    await store.close()
    front.kill()
