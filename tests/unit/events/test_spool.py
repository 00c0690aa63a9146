import asyncio
import os
import resource
import threading

import pytest
from tests.patience import PATIENCE
from tests.unit.events.world import event_row, lines

from flywheel.events.segments import Segments
from flywheel.events.spool import Spool, SpoolFull

LIMIT = 1 << 20


@pytest.fixture
async def spool(tmp_path):
    made = Spool(tmp_path, LIMIT, segment_bytes=32 << 10)
    yield made
    await made.close()


async def delivered(spool: Spool, table: str = "events") -> bytes:
    found = b""
    while batch := await spool.next_batch(table):
        found += batch.lines
        await spool.commit(batch)
    return found


async def fill(spool: Spool, table: str, row: bytes) -> int:
    """Append rows until one is not taken; tell how many were."""
    taken = 0
    while True:
        try:
            await spool.append(table, row, 1)
        except (SpoolFull, OSError):
            return taken
        taken += 1


async def test_calls_at_the_same_time_share_a_write(spool, monkeypatch):
    writes = []
    append = Segments.append
    monkeypatch.setattr(Segments, "append", lambda self, data: (writes.append(len(data)), append(self, data)))
    rows = [lines([event_row(number)]) for number in range(200)]
    await asyncio.gather(*(spool.append("events", each, 1) for each in rows))
    assert len(writes) < 20
    assert sorted((await delivered(spool)).splitlines(keepends=True)) == sorted(rows)


async def test_what_returned_is_in_a_file(spool, tmp_path):
    await spool.append("events", lines([event_row(1)]), 1)
    assert b'"m-1"' in b"".join(path.read_bytes() for path in tmp_path.rglob("*.ndjson"))


async def test_a_full_spool_takes_no_event_and_goes_on_when_there_is_room(spool):
    row = lines([event_row(1, properties="x" * 20_000)])
    taken = await fill(spool, "events", row)
    with pytest.raises(SpoolFull):
        await spool.append("events", row, 1)
    assert LIMIT * 0.9 < taken * len(row) <= LIMIT
    assert sum(spool.usage().bytes.values()) <= LIMIT
    assert (await delivered(spool)).count(b"\n") == taken
    await spool.append("events", row, 1)


async def test_events_push_out_what_only_tells_about_requests(tmp_path):
    dropped = []
    spool = Spool(tmp_path, LIMIT, segment_bytes=32 << 10, on_dropped=lambda *each: dropped.append(each))
    row = lines([event_row(1, properties="x" * 4_000)])
    requests = await fill(spool, "requests", row)
    assert spool.usage().bytes["requests"] <= LIMIT / 2
    events = await fill(spool, "events", row)
    assert {each[:2] for each in dropped} == {("requests", "evicted")}
    assert sum(each[2] for each in dropped) == requests
    assert events * len(row) > LIMIT * 0.9
    await spool.close()


async def test_when_there_is_room_for_some_those_are_kept(spool):
    row = lines([event_row(1, properties="x" * 100_000)])
    results = await asyncio.gather(*(spool.append("events", row, 1) for _ in range(20)), return_exceptions=True)
    kept = sum(each is None for each in results)
    assert 5 < kept <= LIMIT // len(row)
    assert (await delivered(spool)).count(b"\n") == kept


async def test_a_disk_that_takes_no_more_is_told_and_nothing_torn_stays(spool):
    """The kernel's own limit on the size of a file stands for a full disk: the write fails in the middle."""
    row = lines([event_row(1, properties="x" * 5_000)])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (12_000, before[1]))
        kept = await fill(spool, "events", row)
        with pytest.raises(OSError, match="File too large"):
            await spool.append("events", row, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    await spool.append("events", row, 1)
    assert (await delivered(spool)) == row * (kept + 1)


async def test_a_repetition_waits_for_what_it_repeats(spool, monkeypatch):
    """The first call is still on its way to the disk, which then fails: the second one is not told that all is well."""
    go = threading.Event()

    def fail(_self: Segments, _data: bytes) -> None:
        go.wait(PATIENCE)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Segments, "append", fail)
    first = asyncio.create_task(spool.append("events", lines([event_row(1)]), 1))
    await asyncio.sleep(0)
    second = asyncio.create_task(spool.settled())
    await asyncio.sleep(0)
    assert not second.done()
    go.set()
    with pytest.raises(OSError, match="Input/output"):
        await first
    with pytest.raises(SpoolFull):
        await second
    monkeypatch.undo()
    await spool.settled()


async def test_who_goes_away_takes_nobody_elses_rows_along(spool):
    gone = asyncio.create_task(spool.append("events", lines([event_row(1)]), 1))
    stays = asyncio.create_task(spool.append("events", lines([event_row(2)]), 1))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert (await delivered(spool)).count(b"\n") == 2


async def test_what_is_set_aside_is_bounded_and_erased_too(tmp_path):
    dropped = []
    spool = Spool(tmp_path, LIMIT, on_dropped=lambda *each: dropped.append(each))
    for number in range(30):
        await spool.append("events", lines([event_row(number, properties="x" * 5_000)]), 1)
        await spool.set_aside(await spool.next_batch("events"))
    files = sorted((tmp_path / "rejected").glob("*"))
    assert 0 < sum(path.stat().st_size for path in files) <= LIMIT * 0.05
    assert b'"m-29"' in files[-1].read_bytes()
    assert dropped == [("events", "rejected", 1)] * 30
    assert await spool.erase((b"v-29",), lambda _: True) == 1
    assert b"v-29" not in files[-1].read_bytes()
    await spool.close()


async def test_a_new_process_goes_on_with_what_is_there(tmp_path):
    first = Spool(tmp_path, LIMIT)
    await first.append("events", lines([event_row(1)]), 1)
    await first.close()
    second = Spool(tmp_path, LIMIT)
    assert second.appended["events"].is_set()
    assert second.usage().oldest > 0
    assert await delivered(second) == lines([event_row(1)])
    await second.close()


def test_a_directory_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        Spool(tmp_path / "file" / "spool", LIMIT)
    assert os.access(tmp_path, os.W_OK)
