"""Delivery over real HTTP to a store that fails in every way it can."""

import asyncio
import contextlib
import json
from collections import Counter
from pathlib import Path

import pytest
from tests.patience import PATIENCE
from tests.unit.events.world import Store, event_row, lines, seeded, until

from flywheel.events import deliver
from flywheel.events.deliver import Delivery
from flywheel.events.erasures import ErasedRows
from flywheel.events.meters import Meters
from flywheel.events.spool import Spool


class Bench:
    """A spool, a delivery and a store."""

    def __init__(self, directory: Path, store: Store) -> None:
        self.directory, self.store = directory, store
        self.meters = Meters("shop", "spring")
        self.spool = Spool(directory / "spool", 8 << 20, on_dropped=self.meters.dropped)
        self.token = directory / "token"
        self.token.write_text(f"{store.token}\n")
        self.salts: list[bytes] = []
        self.erased = ErasedRows(directory / "erased")
        self.delivery = Delivery(
            self.spool, self.meters, self.token, "pod-1", lambda: store.url, self.salts.append, self.erased,
            linger=0.01, pause=0.01,
        )  # fmt: skip
        self.task: asyncio.Task | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.delivery.run())

    async def put(self, *numbers: int, table: str = "events", **fields) -> None:
        rows = [event_row(number, **fields) for number in numbers]
        await self.spool.append(table, lines(rows), len(rows))

    async def finish(self) -> None:
        self.delivery.flush()
        async with asyncio.timeout(PATIENCE):
            await self.task

    async def close(self) -> None:
        if self.task:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task
        await self.spool.close()


@pytest.fixture
async def store():
    made = Store()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def bench(tmp_path, store):
    made = Bench(tmp_path, store)
    yield made
    await made.close()


async def test_rows_reach_the_store_and_leave_the_disk(bench, store):
    bench.start()
    await bench.put(1, 2, 3)
    await until(lambda: len(store.ids()) == 3, "three rows in the store")
    await until(lambda: bench.spool.is_empty("events"), "an empty spool")
    assert bench.meters.delivered.values == {("events",): 3.0}
    assert store.batches[0][0].startswith("pod-1-events-")
    await until(lambda: bench.salts == [b"\x00\xff"], "the salt")


async def test_a_store_that_is_away_gets_everything_once_when_it_is_back(bench, store):
    await store.stop()
    bench.start()
    for number in range(50):
        await bench.put(number)
    await until(lambda: bench.meters.delivery_failures.values.get(("unreachable",), 0) >= 2, "two failures")
    await store.start()
    store.down = True
    await until(lambda: bench.meters.delivery_failures.values.get(("unavailable",), 0) >= 2, "two refusals")
    store.down = False
    await bench.finish()
    assert sorted(store.ids()) == sorted(f"m-{number}" for number in range(50))


async def test_an_answer_that_got_lost_is_no_second_row(bench, store):
    store.forget_to_answer = [True, True]
    await bench.put(1, 2)
    bench.start()
    await bench.finish()
    assert store.ids() == ["m-1", "m-2"]
    assert store.duplicates == 4
    assert len({batch for batch, _ in store.batches}) == 1, "a retry has another id"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 502, 503, 504, 302, 404])
async def test_what_may_pass_is_tried_again(bench, store, status):
    store.answers = [status] * 2
    await bench.put(1)
    bench.start()
    await bench.finish()
    assert store.ids() == ["m-1"]
    assert sum(bench.meters.delivery_failures.values.values()) == 2


async def test_a_renewed_token_is_read(bench, store):
    store.token = "renewed"
    await bench.put(1)
    bench.start()
    await until(lambda: bench.meters.delivery_failures.values.get(("unauthorised",)), "a refusal")
    bench.token.write_text("renewed")
    await bench.finish()
    assert store.ids() == ["m-1"]


async def test_no_token_yet_is_no_end(bench, store):
    bench.token.unlink()
    await bench.put(1)
    bench.start()
    await until(lambda: bench.meters.delivery_failures.values.get(("unreachable",)), "a failure")
    bench.token.write_text("token")
    await bench.finish()
    assert store.ids() == ["m-1"]


async def test_a_batch_that_cannot_be_read_is_set_aside_and_the_next_goes_on(bench, store):
    store.answers = [400]
    await bench.put(1)
    bench.start()
    await until(lambda: bench.spool.is_empty("events"), "the batch to be set aside")
    await bench.put(2)
    await bench.finish()
    assert store.ids() == ["m-2"]
    assert bench.meters.spool_dropped.values == {("events", "rejected"): 1.0}
    assert [b'"m-1"' in path.read_bytes() for path in (bench.directory / "spool/rejected").iterdir()] == [True]


async def test_a_batch_that_is_too_large_is_halved_until_it_fits(bench, store):
    store.largest = 3
    await bench.put(*range(20))
    bench.start()
    await bench.finish()
    assert store.ids() == [f"m-{number}" for number in range(20)]
    assert bench.meters.delivered.values == {("events",): 20.0}
    assert len({batch for batch, _ in store.batches}) == len(store.batches)


async def test_a_row_that_is_too_large_alone_is_given_up(bench, store):
    store.largest = 0
    await bench.put(1, 2)
    bench.start()
    await until(lambda: bench.spool.is_empty("events"), "both rows to be given up")
    store.largest = 10
    await bench.put(3)
    await bench.finish()
    assert store.ids() == ["m-3"]
    assert sum(bench.meters.spool_dropped.values.values()) == 2


async def test_each_table_goes_its_own_way(bench, store):
    await bench.put(1)
    letter = b'{"time":1,"reason":"too_large","detail":"","message_id":"","type":"","event":"","visitor":"",'
    letter += b'"user_id":"","payload":"","expires_at":1}\n'
    await bench.spool.append("dead_letters", letter, 1)
    bench.start()
    await bench.finish()
    assert store.ids() == ["m-1"]
    assert len(store.rows["dead_letters"]) == 1


async def test_erased_visitors_leave_the_spool(bench, store, monkeypatch):
    monkeypatch.setattr(deliver, "ASK_ERASURES", 0.05)
    store.answers = [503] * 1_000_000
    early, late = 1_000, 2_000
    await bench.put(1, visitor="me", time=early, ingest_time=early)
    await bench.put(2, visitor="you", time=early, ingest_time=early)
    await bench.put(3, visitor="me", time=late, ingest_time=late)
    await bench.put(4, visitor="", user_id="me-too", time=late, ingest_time=early)
    await bench.put(5, visitor="meander", time=early, ingest_time=early)
    bench.start()
    store.erasures = [
        {"id": 1, "visitor": "me", "user_id": None, "before": 1_500},
        {"id": 2, "visitor": None, "user_id": "me-too", "before": 1_500},
    ]
    await until(lambda: bench.erased.since == 2, "both erasures")
    left = b"".join(path.read_bytes() for path in (bench.directory / "spool/events").glob("*.ndjson"))
    assert b'"m-1"' not in left
    assert b"me-too" not in left
    store.answers = []
    await bench.finish()
    assert store.ids() == ["m-2", "m-3", "m-5"]
    assert ErasedRows(bench.directory / "erased").since == 2


async def test_letters_and_what_they_quote_are_erased(bench):
    bad = b'{"time":1,"reason":"invalid_json","payload":"{\\"userId\\": \\"me-too\\", broken"}\n'
    other = bad.replace(b"me-too", b"another")
    await bench.spool.append("dead_letters", bad + other, 2)
    await bench.erased.apply([{"id": 7, "user_id": "me-too", "before": 5}], bench.spool)
    assert (await bench.spool.next_batch("dead_letters")).lines == other


@pytest.mark.parametrize("who", ["王伟", 'a"b', "x\\y", "a/b", "😀"])
@pytest.mark.parametrize("ascii_only", [True, False])
async def test_however_a_client_writes_an_id_it_is_erased(bench, who, ascii_only):
    payload = json.dumps({"userId": who}, ensure_ascii=ascii_only) + "broken"
    letter = {"time": 1, "reason": "invalid_json", "payload": payload}
    await bench.spool.append("dead_letters", lines([letter]), 1)
    await bench.erased.apply([{"id": 7, "user_id": who, "before": 5}], bench.spool)
    assert await bench.spool.next_batch("dead_letters") is None


async def test_a_list_of_erasures_that_makes_no_sense_is_no_harm(bench):
    await bench.erased.apply("nonsense", bench.spool)
    await bench.erased.apply([{"id": "x"}], bench.spool)
    await bench.erased.apply([{"id": 1, "before": 5}], bench.spool)
    assert bench.erased.since == 1


async def test_a_trouble_is_told_when_it_lasts(bench, store, monkeypatch):
    monkeypatch.setattr(deliver, "PATIENCE", 0.0)
    store.answers = [503] * 3
    await bench.put(1)
    bench.start()
    await until(lambda: bench.delivery.trouble(), "a trouble")
    assert "HTTP 503" in bench.delivery.trouble()
    await until(lambda: bench.delivery.trouble() is None, "its end")


async def test_a_stop_delivers_what_is_left_and_then_ends(bench, store):
    bench.start()
    await bench.put(*range(100))
    await bench.finish()
    assert len(store.ids()) == 100


@pytest.mark.parametrize("seed", range(5))
async def test_restarts_and_failures_lose_nothing_and_count_once(tmp_path, store, seed):
    """The delivery is cut off at any moment and started anew, while the store fails and forgets to answer."""
    chance = seeded(seed)
    store.answers = [chance.choice([200, 503, 500, 401]) for _ in range(10)]
    store.answers = [each for each in store.answers if each != 200]
    store.forget_to_answer = [chance.random() < 0.5 for _ in range(10)]
    number = 0
    for _ in range(8):
        bench = Bench(tmp_path, store)
        bench.start()
        for _ in range(chance.randint(1, 5)):
            await bench.put(*range(number, number + 20))
            number += 20
            await asyncio.sleep(chance.uniform(0, 0.02))
        await bench.close()
    bench = Bench(tmp_path, store)
    bench.start()
    await bench.finish()
    await bench.close()
    assert Counter(store.ids()) == Counter(f"m-{each}" for each in range(number))
