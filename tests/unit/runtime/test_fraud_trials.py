"""Rules are tried beside all reconciles: one at a time, bounded in time, and forgotten when nobody wants them."""

import asyncio
from collections.abc import Awaitable, Callable

from tests.patience import PATIENCE

from flywheel.campaign.fraudtrial import Order, Outcome
from flywheel.fraud.backtest_asking import Answer, Asked, LimitTold, NotAsked
from flywheel.runtime.fraud_trials import FraudTrials

POINT = LimitTold(limit="1", hits=1, keys=1, visitors=1, customers=0)
ANSWER = Answer(events=1, path="condition.count.moreThan", curve=(POINT,))


def order(rule: str = "burst", generation: int = 1, namespace: str = "shop") -> Order:
    asked = Asked(campaign="yougou-618", since=0, until=1, rule={"metadata": {"name": rule}})
    return Order(namespace, rule, f"uid-of-{rule}", generation, (asked,))


class Past:
    """A store that answers when it is let."""

    def __init__(self, answer: Callable[[Asked], Awaitable[Answer]] | None = None) -> None:
        self.asked: list[str] = []
        self.begun = asyncio.Semaphore(0)
        self.let = asyncio.Event()
        self.left = 0
        self.at_once, self.most_at_once = 0, 0
        self._answer = answer

    async def ask(self, namespace: str, asked: Asked) -> Answer:
        self.asked.append(f"{namespace}/{asked.rule['metadata']['name']}")
        self.begun.release()
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self._answer:
                return await self._answer(asked)
            await self.let.wait()
        except asyncio.CancelledError:
            self.left += 1
            raise
        finally:
            self.at_once -= 1
        return ANSWER


class Told:
    """Who is told that something ended."""

    def __init__(self) -> None:
        self.namespaces: asyncio.Queue[str] = asyncio.Queue()

    def __call__(self, namespace: str) -> None:
        self.namespaces.put_nowait(namespace)

    async def next(self) -> str:
        return await asyncio.wait_for(self.namespaces.get(), PATIENCE)


async def begun(past: Past, more: int = 1) -> None:
    async with asyncio.timeout(PATIENCE):
        for _ in range(more):
            await past.begun.acquire()


async def test_a_look_begins_and_never_waits() -> None:
    past, told = Past(), Told()
    trials = FraudTrials(past, told)
    assert trials.look("shop", [order("a"), order("b")]) == {}
    await begun(past)
    assert trials.look("shop", [order("a"), order("b")]) == {}
    assert past.asked == ["shop/a"], "the store of a namespace is asked one thing at a time"
    past.let.set()
    assert await told.next() == "shop"
    assert trials.look("shop", [order("a"), order("b")]) == {"a": Outcome(order("a"), (ANSWER,))}
    await told.next()
    assert set(trials.look("shop", [order("a"), order("b")])) == {"a", "b"}
    assert past.asked == ["shop/a", "shop/b"], "what is done is not begun again while it is ordered"
    await trials.close()


async def test_what_is_not_ordered_any_more_is_forgotten() -> None:
    past, told = Past(), Told()
    trials = FraudTrials(past, told)
    past.let.set()
    trials.look("shop", [order()])
    await told.next()
    assert trials.look("shop", []) == {}
    assert trials.look("shop", [order()]) == {}, "a later order is a new one"
    await told.next()
    assert past.asked == ["shop/burst"] * 2


async def test_a_change_of_the_rule_ends_the_trial_of_what_it_was() -> None:
    past, told = Past(), Told()
    trials = FraudTrials(past, told)
    trials.look("shop", [order()])
    await begun(past)
    trials.look("shop", [order(generation=2)])
    await begun(past)
    past.let.set()
    await told.next()
    assert past.left == 1
    assert trials.look("shop", [order(generation=2)])["burst"].order.generation == 2


async def test_a_store_that_does_not_answer_ends_in_time_and_keeps_no_other_namespace_waiting() -> None:
    async def never(asked: Asked) -> Answer:
        if asked.rule["metadata"]["name"] == "stuck":
            await asyncio.Event().wait()
        return ANSWER

    told = Told()
    trials = FraudTrials(Past(never), told, longest=0.2)
    trials.look("stuck", [order("stuck", namespace="stuck")])
    trials.look("shop", [order()])
    assert await told.next() == "shop"
    assert await told.next() == "stuck"
    assert "longer than 0.2 s" in trials.look("stuck", [order("stuck", namespace="stuck")])["stuck"].failure


async def test_why_there_is_no_answer_is_told() -> None:
    async def away(_: Asked) -> Answer:
        raise NotAsked("the event store is away")

    async def broken(_: Asked) -> Answer:
        raise KeyError("?")

    for answer, said in ((away, "the event store is away"), (broken, "a mistake in the operator")):
        told = Told()
        trials = FraudTrials(Past(answer), told)
        trials.look("shop", [order()])
        await told.next()
        assert said in trials.look("shop", [order()])["burst"].failure


async def test_not_all_namespaces_are_asked_at_once() -> None:
    past, told = Past(), Told()
    trials = FraudTrials(past, told)
    for number in range(10):
        trials.look(f"shop-{number}", [order(namespace=f"shop-{number}")])
    await begun(past, 4)
    past.let.set()
    assert {await told.next() for _ in range(10)} == {f"shop-{number}" for number in range(10)}
    assert past.most_at_once == 4


async def test_nothing_is_left_behind() -> None:
    past = Past()
    trials = FraudTrials(past, Told())
    trials.look("shop", [order()])
    await begun(past)
    await trials.close()
    assert past.left == 1
