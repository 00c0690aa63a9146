"""The journal and the snapshots on disk: torn ends, rolled segments, damaged files."""

import asyncio
from pathlib import Path

import msgspec
import pytest
from tests.unit.events.world import seeded
from tests.unit.fraud_worker.small_engine import SmallEngine, rule

from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.journal import Journal, JournalBroken
from flywheel.fraud.judging import Judging
from flywheel.fraud.records import Events, Rules, encode
from flywheel.fraud.rulings import ALONE
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event


def records(count: int) -> list[bytes]:
    return [f"record {each}".encode() * (1 + each % 7) for each in range(count)]


def test_what_was_appended_is_read_from_any_position_across_segments(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes=100)
    given = records(40)
    for start in range(0, 40, 5):
        assert journal.append(given[start : start + 5]) == start
    assert len(list(tmp_path.glob("*.journal"))) > 4
    for position in (0, 7, 39, 40):
        assert [record for _, record in journal.read(position)] == given[position:]
    journal.close()
    again = Journal(tmp_path, segment_bytes=100)
    assert again.position == 40
    assert again.append([b"x"]) == 40
    assert [at for at, _ in again.read(38)] == [38, 39, 40]


def test_a_torn_end_is_cut_off_and_counted_wherever_it_was_torn(tmp_path: Path):
    chance = seeded(7)
    for turn in range(60):
        directory = tmp_path / str(turn)
        journal = Journal(directory)
        given = records(6)
        journal.append(given)
        journal.close()
        (file,) = directory.glob("*.journal")
        data = file.read_bytes()
        cut = chance.randrange(len(data))
        file.write_bytes(data[:cut] + bytes(chance.randrange(3)))
        found = Journal(directory)
        whole = [record for _, record in found.read(0)]
        assert whole == given[: len(whole)]
        assert found.torn > 0 or cut == sum(8 + len(each) for each in whole)
        found.append([b"next"])
        assert [record for _, record in found.read(0)] == [*whole, b"next"]


def test_segments_go_once_nobody_needs_them_and_what_is_gone_is_not_made_up(tmp_path: Path):
    journal = Journal(tmp_path, segment_bytes=50)
    for each in records(20):
        journal.append([each])
    assert journal.forget(12) > 0
    assert journal.first <= 12
    assert [at for at, _ in journal.read(12)] == list(range(12, 20))
    with pytest.raises(JournalBroken, match="wanted"):
        list(journal.read(0))
    sorted(tmp_path.glob("*.journal"))[1].unlink()
    with pytest.raises(JournalBroken, match="should go on"):
        list(Journal(tmp_path).read(12))


def test_the_last_two_snapshots_are_kept_and_a_damaged_one_is_told(tmp_path: Path):
    snapshots = Snapshots(tmp_path)
    needed = []
    for position in (3, 9, 20):
        snapshots.write(position, b"%d" % position)
        needed.append(snapshots.forget())
    assert needed == [3, 3, 9]
    assert snapshots.positions() == [20, 9]
    path = tmp_path / f"{20:020d}.snapshot"
    path.write_bytes(path.read_bytes()[:-1])
    assert (snapshots.read(20), snapshots.read(9)) == (None, b"9")


def batch(number: int, sender: str = "edge-0-a") -> Events:
    events = tuple(
        Event(id=f"{sender}-{number}-{each}", name="Coupon Claimed", time=number, arrived=number, address="192.0.2.1")
        for each in range(10)
    )
    return Events("spring", sender, number, pack(events))


def judging(directory: Path) -> Judging:
    casebook = Casebook(SmallEngine, ALONE)
    made = Judging(casebook, Journal(directory / "journal", 500), Snapshots(directory / "snapshots"), lambda _: None)
    made.recover()
    return made


async def test_a_batch_that_comes_twice_is_judged_once_also_after_a_restart(tmp_path: Path):
    first = judging(tmp_path)
    task = asyncio.create_task(first.run())
    rules = b'{"spring": ' + str([rule()]).replace("'", '"').encode() + b"}"
    assert await first.submit(Rules(rules))
    answers = await asyncio.gather(*(first.submit(batch(number)) for number in (1, 2, 2, 3, 3)))
    assert answers == [True, True, False, True, False]
    await first.take_snapshot()
    assert await first.submit(batch(4))
    task.cancel()
    digest = first.casebook.desks["spring"].digest
    second = judging(tmp_path)
    assert second.replayed == 1
    assert second.casebook.desks["spring"].digest == digest
    task = asyncio.create_task(second.run())
    assert not await second.submit(batch(4))
    assert await second.submit(batch(1, "edge-0-b"))
    assert second.casebook.desks["spring"].events == 50
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_damaged_snapshot_costs_time_and_nothing_else(tmp_path: Path):
    first = judging(tmp_path)
    task = asyncio.create_task(first.run())
    await first.submit(Rules(b'{"spring": []}'))
    for number in range(1, 9):
        await first.submit(batch(number))
        if number in (3, 6):
            await first.take_snapshot()
    task.cancel()
    newest = max((tmp_path / "snapshots").glob("*.snapshot"))
    newest.write_bytes(b"rubbish")
    second = judging(tmp_path)
    assert (second.casebook.desks["spring"].events, second.replayed) == (80, 5)


async def test_a_disk_that_is_full_is_told_to_the_sender_and_leaves_the_journal_whole(tmp_path: Path):
    made = judging(tmp_path)
    task = asyncio.create_task(made.run())
    append, fails = made.journal.append, [True]

    def failing(given):
        if fails.pop():
            raise OSError(28, "No space left on device")
        return append(given)

    made.journal.append = failing
    with pytest.raises(OSError, match="No space"):
        await made.submit(batch(1))
    fails.append(False)
    assert await made.submit(batch(1))
    assert made.casebook.desks["spring"].events == 10
    task.cancel()


def test_a_journal_of_another_version_is_refused_and_not_guessed_at(tmp_path: Path):
    for number, record in enumerate(
        (msgspec.msgpack.encode(["events", "spring", "a", 1, []]), encode(batch_of(2))), start=1
    ):
        folder = tmp_path / str(number)
        journal = Journal(folder / "journal", 500)
        journal.append([record])
        journal.close()
        with pytest.raises(ValueError, match="a record of the journal"):
            judging(folder)


def batch_of(version: int) -> Events:
    return Events("spring", "a", 1, msgspec.structs.replace(pack([]), format=version))
