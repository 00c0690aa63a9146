"""New windows are filled from the event store beside all reconciles, and what goes wrong leaves them as they are."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.campaign.fraudpast import WantedPast
from flywheel.fraud.backtest_asking import NotAsked
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.past_asking import PastAsked, PastPage
from flywheel.fraud.records import Past
from flywheel.fraud.words import Event
from flywheel.runtime.fraud_pasts import FraudPasts, end_of

NOW = 1_800_000_000_000
WANTED = WantedPast("spring", "r", "v1", "flywheel-fraud-0", NOW - 60_000, 65_000, 5_000, ("Coupon Claimed",))
PATIENCE = 60.0


def page(*names: str, after: tuple[int, str] | None = None, start: int = 1) -> PastPage:
    events = [Event(id=name, time=NOW, arrived=NOW) for name in names]
    return PastPage(start=start, batch=base64.b64encode(encode(pack(events))).decode(), after=after)


class World:
    """A store with some pages and a worker that takes what it is given, or says why not."""

    def __init__(self, pages: Sequence[PastPage | Exception], refusal: Exception | None = None) -> None:
        self.pages, self.refusal = list(pages), refusal
        self.asked: list[PastAsked] = []
        self.taken: list[tuple[str, Past]] = []
        self.done: list[str] = []
        self.made = FraudPasts(self, self, self.done.append, clock=lambda: NOW / 1000)

    async def past(self, namespace: str, asked: PastAsked) -> PastPage:
        assert namespace == "shop"
        self.asked.append(asked)
        found = self.pages.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    async def hand_past(self, namespace: str, worker: str, past: Past) -> None:
        if self.refusal:
            raise self.refusal
        self.taken.append((worker, past))

    async def look(self, *wanted: WantedPast) -> None:
        self.made.look("shop", wanted)
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*self.made._tasks.values())
            await asyncio.sleep(0)


async def test_all_pages_are_handed_over_as_one_past() -> None:
    world = World([page("a", "b", after=(7, "b"), start=NOW - 75_000), page("c")])
    await world.look(WANTED)
    [(worker, past)] = world.taken
    until = NOW - 10_000
    assert (worker, past.campaign, past.rule, past.version) == ("flywheel-fraud-0", "spring", "r", "v1")
    assert (past.start, past.until) == (until - 65_000, until)
    assert [len(each) for each in past.batches] == [2, 1]
    assert [each.after for each in world.asked] == [None, (7, "b")]
    assert {each.names for each in world.asked} == {("Coupon Claimed",)}
    assert world.done == ["shop"]


async def test_where_the_store_gives_only_the_latest_it_is_said_from_when() -> None:
    world = World([page("a", after=(7, "a"), start=NOW - 20_000), page("b", start=NOW - 20_000)])
    await world.look(WANTED)
    assert world.taken[0][1].start == NOW - 20_000
    assert world.asked[1].start == NOW - 20_000


async def test_it_is_not_asked_for_too_early() -> None:
    world = World([])
    await world.look(replace(WANTED, since=NOW - 9_999))
    await world.look(replace(WANTED, since=NOW - 60_000, lateness=60_000))
    assert world.asked == []
    assert end_of(replace(WANTED, lateness=60_000), NOW) == NOW - 65_000


async def test_what_does_not_answer_or_refuses_is_tried_again_at_the_next_look() -> None:
    world = World([NotAsked("the store is away"), page("a"), page("b"), ValueError("ours"), page("c")])
    await world.look(WANTED)
    assert world.taken == []
    world.refusal = NotAnswered("409: the event store has not got 1 of the events yet")
    await world.look(WANTED)
    assert (world.taken, world.done) == ([], [])
    world.refusal = None
    await world.look(WANTED, replace(WANTED, rule="other"), replace(WANTED, rule="third"))
    assert [past.rule for _, past in world.taken] == ["r", "third"]
    assert world.done == ["shop", "shop"]


async def test_one_thing_at_a_time_in_a_namespace_and_nothing_is_left_at_the_end() -> None:
    begun, let = asyncio.Event(), asyncio.Event()

    class Slow(World):
        async def past(self, namespace: str, asked: PastAsked) -> Any:
            begun.set()
            await let.wait()
            return await super().past(namespace, asked)

    world = Slow([page("a")])
    world.made.look("shop", [WANTED])
    async with asyncio.timeout(PATIENCE):
        await begun.wait()
    world.made.look("shop", [WANTED])
    assert len(world.made._tasks) == 1
    await world.made.close()
    assert world.taken == []
