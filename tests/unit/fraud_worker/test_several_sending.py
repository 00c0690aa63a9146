"""One sidecar and several workers: each gets each event, packed once, and is told from where on others have it, too."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from tests.unit.edge.stand import until
from tests.unit.events.world import event_row
from tests.unit.fraud_worker.test_sending import Stub

from flywheel.fraud.checking import read
from flywheel.fraud.feed import Line
from flywheel.fraud.link import Link
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.packing import KEPT, Packing
from flywheel.fraud.sending import Meters


class Listening(Stub):
    """A worker that notes what it is told of the others."""

    def __init__(self) -> None:
        super().__init__()
        self.workers: dict[str, int] = {}
        """By event: to how many workers it and all later ones go, as the batch said that it came with."""

    async def _take(self, request: web.Request) -> web.Response:
        answer = await super()._take(request)
        if answer.status == 200:
            told = int(request.headers["X-Flywheel-Workers"])
            self.workers |= {event.id: told for event in self.batches[-1][1]}
        return answer


@pytest.fixture
async def workers() -> AsyncIterator[list[Listening]]:
    made = [Listening() for _ in range(3)]
    for each in made:
        await each.start()
    yield made
    for each in made:
        await each.stop()


@pytest.fixture
async def link(tmp_path: Path) -> AsyncIterator[Link]:
    (tmp_path / "token").write_text("token")

    async def take(_worker: str, _line: Line) -> None:
        pass

    made = Link("edge-0", tmp_path / "token", take, Meters())
    task = asyncio.create_task(made.run())
    yield made
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def use(link: Link, *workers: Listening) -> None:
    link.use_workers([each.url for each in workers])
    await until(lambda: len(link._sending) == len(workers), "they are known", 60)


async def test_no_batch_says_more_than_is_true_of_all_its_events_and_of_those_after_them(
    link: Link, workers: list[Listening]
):
    one, two, three = workers
    await use(link, one)
    one.hold.clear()
    # What waits while others come was sent to this one alone, though it goes when all are known.
    link.note([event_row(each) for each in range(10)], "192.0.2.1")
    await until(lambda: not link._sending[one.url]._waiting, "they are under way", 60)
    link.note([event_row(each) for each in range(10, 20)], "192.0.2.1")
    await use(link, one, two, three)
    link.note([event_row(each) for each in range(20, 30)], "192.0.2.1")
    one.hold.set()
    await until(lambda: len(one.workers) == 30, "one has all", 60)
    assert {one.workers[f"m-{each}"] for each in range(20)} == {1}
    link.note([event_row(each) for each in range(30, 40)], "192.0.2.1")
    for each in (one, two, three):
        await until(lambda each=each: "m-39" in each.events(), "all have the last", 60)
    assert list(two.workers) == list(three.workers) == [f"m-{each}" for each in range(20, 40)]
    assert {each.workers["m-39"] for each in workers} == {3}
    for each in workers:
        for event, told in each.workers.items():
            later = [f"m-{number}" for number in range(int(event.removeprefix("m-")), 40)]
            got = sum(set(later) <= set(other.events()) for other in workers)
            assert got >= told, "all later ones are at so many workers"


async def test_a_batch_that_waits_while_workers_go_says_that_there_are_fewer(link: Link, workers: list[Listening]):
    one, two, _ = workers
    await use(link, one, two)
    one.hold.clear()
    link.note([event_row(0)], "192.0.2.1")
    await until(lambda: not link._sending[one.url]._waiting, "it is under way", 60)
    one.answers = [503]
    await use(link, one)
    one.hold.set()
    await until(lambda: one.workers == {"m-0": 1}, "it is tried once more", 60)


async def test_workers_that_keep_step_are_sent_what_was_packed_once(link: Link, workers: list[Listening]):
    await use(link, *workers)
    for each in range(20):
        link.note([event_row(each)], "192.0.2.1")
        for worker in workers:
            await until(lambda worker=worker, each=each: f"m-{each}" in worker.events(), "it is there", 60)
    assert link._packing.packed <= 20


def test_what_is_packed_is_what_was_noted_and_is_not_kept_for_ever():
    packing = Packing()
    alone = packing.note([event_row(0), event_row(1)], "192.0.2.1", 1)
    assert [each.id for each in Packed(Reading(read(packing.body(alone))))] == ["m-0", "m-1"]
    packing.body(alone)
    assert packing.packed == 2, "for one worker nothing is kept"
    shared = [packing.note([event_row(each)], "192.0.2.2", 2) for each in range(2, 4 + KEPT)]
    bodies = [packing.body(each) for each in shared]
    assert packing.packed == 2 + len(shared)
    assert packing.body(shared[-1]) is bodies[-1]
    assert packing.body(shared[0]) == bodies[0]
    assert packing.packed == 3 + len(shared), "what is too far behind is packed anew"
    [event] = Packed(Reading(read(packing.body(shared[1][:1]))))
    assert (event.id, event.address) == ("m-3", "192.0.2.2")
