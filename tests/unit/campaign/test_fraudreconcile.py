"""What a reconcile of FraudRules leaves alone, and how it has them tried on the past."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.campaign.test_fraudplan import manifest
from tests.unit.campaign.world import answered

from flywheel.campaign.fraudasking import Asked
from flywheel.campaign.fraudreconcile import FraudReconciler
from flywheel.campaign.fraudshards import Layout, layout_of
from flywheel.campaign.fraudtrial import Order, Outcome, Trials, outcome_of
from flywheel.fraud.backtest_asking import Answer, LimitTold
from flywheel.fraud.workforce import Workforce
from flywheel.plan import LiveObject, Manifest, ObjectKey, content_hash

NOON = datetime(2027, 6, 16, 12, tzinfo=UTC)
WORKER = ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud")
REFERENCED = LiveObject(WORKER, "uid-of-worker", 1, 1, "", "", "", "", False, shared="fraud", sharers=("uid",))


class World:
    """A namespace with a worker and one rule; what is written is remembered."""

    def __init__(self, *rules: Manifest, campaigns: tuple[Manifest, ...] = ()) -> None:
        self.rules, self.campaigns = rules, campaigns
        self.deleted: list[ObjectKey] = []
        self.statuses: list[Manifest] = []

    def campaigns_in(self, _: str) -> tuple[Manifest, ...]:
        return self.campaigns

    def fraud_rules(self, _: str) -> tuple[Manifest, ...]:
        return self.rules

    def fraud_children(self, _: str) -> dict[ObjectKey, LiveObject]:
        return {WORKER: REFERENCED}

    def put_rule(self, rule: Manifest) -> None:
        self.statuses.append(rule["status"])
        self.rules = tuple(
            each | {"status": rule["status"]} if each["metadata"]["name"] == rule["metadata"]["name"] else each
            for each in self.rules
        )

    def put(self, live: LiveObject) -> None:
        """Children are of no interest here."""

    async def states(self, _: str, __: int) -> Asked:
        return Asked({}, {"http://flywheel-fraud-0.x": "the fraud worker is not there"})

    def remove(self, key: ObjectKey, _: str) -> None:
        self.deleted.append(key)

    async def get(self, _: ObjectKey) -> None:
        return None

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        assert subresource == "status" or body["kind"] != "FraudRule"
        return answered(body | {"metadata": {"uid": "uid", "resourceVersion": "1", **body["metadata"]}})

    async def delete(self, key: ObjectKey, *_: Any, **__: Any) -> None:
        self.deleted.append(key)


async def reconcile(world: World, trials: Trials | None = None, now: datetime = NOON) -> datetime | None:
    made = FraudReconciler(world, world, world, "image", trials=trials, clock=lambda: now)  # type: ignore[arg-type]
    return await made.reconcile("shop")


@pytest.mark.parametrize("whole", [True, False])
async def test_a_rule_that_cannot_be_read_takes_the_worker_from_nobody(whole: bool) -> None:
    rule = manifest()
    rule["metadata"] |= {"uid": "uid-of-rule"}
    if not whole:
        rule["spec"]["condition"] = {"unheard": {"of": 1}}
    other = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "other", "namespace": "shop", "uid": "uid"},
        "spec": {"services": [{"name": "web", "image": "shop/web:1", "port": 8080}]},
    }
    world = World(rule, campaigns=(other,))
    await reconcile(world)
    assert (WORKER in world.deleted) is whole, "without its campaign a rule that can be read needs no worker"
    [status] = world.statuses
    [stalled] = [each for each in status["conditions"] if each["type"] == "Stalled"]
    assert stalled["status"] == "True"


class Past:
    """Trials that end when they are told to."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.answer: Answer | str | None = None

    def look(self, namespace: str, orders: Sequence[Order]) -> Mapping[str, Outcome]:
        assert namespace == "shop"
        self.orders += orders
        if self.answer is None:
            return {}
        return {each.rule: self._outcome(each) for each in orders}

    def _outcome(self, order: Order) -> Outcome:
        return Outcome(order, failure=self.answer) if isinstance(self.answer, str) else outcome_of(order, [self.answer])  # type: ignore[list-item]


ANSWER = Answer(
    events=40,
    path="condition.count.moreThan",
    curve=(LimitTold(limit="20", hits=3, keys=1, visitors=2, customers=0),),
)


def opened(since: str = "24h") -> World:
    rule = manifest(backtest={"since": since})
    rule["metadata"] |= {"uid": "uid-of-rule"}
    spec = {
        "services": [{"name": "web", "image": "shop/web:1", "port": 8080}],
        "edge": {"routes": [{"path": "/", "service": "web"}], "events": {"declared": [{"name": "Coupon Claimed"}]}},
    }
    shop = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": "yougou-618", "namespace": "shop", "uid": "uid-of-campaign", "generation": 1},
        "spec": spec,
        "status": {"stage": "Live"},
    }
    return World(rule, campaigns=(shop,))


def told(world: World) -> tuple[str, str]:
    [found] = [each for each in world.rules[0]["status"]["conditions"] if each["type"] == "Backtested"]
    return found["status"], found["reason"]


async def test_a_rule_is_tried_and_nothing_waits_for_it() -> None:
    world, past = opened(), Past()
    assert await reconcile(world, past) is not None
    assert told(world) == ("Unknown", "NotTried")
    assert [each.identity for each in past.orders] == [("burst", "uid-of-rule", 1)]
    past.answer = ANSWER
    await reconcile(world, past, NOON + timedelta(seconds=9))
    assert told(world) == ("True", "Tried")
    backtest = world.rules[0]["status"]["backtest"]
    assert (backtest["generation"], backtest["hits"], backtest["recommended"]) == (1, 3, "20")


async def test_an_operator_that_comes_after_one_that_was_killed_goes_on_from_the_status() -> None:
    world, past = opened(), Past()
    await reconcile(world, past)
    successor = Past()
    await reconcile(world, successor)
    assert len(successor.orders) == 1, "what was under way is begun again"
    successor.answer = ANSWER
    await reconcile(world, successor)
    writes, third = len(world.statuses), Past()
    await reconcile(world, third, NOON + timedelta(hours=23))
    assert third.orders == [], "what was told is not asked again"
    assert len(world.statuses) == writes
    await reconcile(world, third, NOON + timedelta(hours=25))
    assert len(third.orders) == 1, "the next day the past is another one"
    assert told(world) == ("True", "Tried"), "what is known stays told meanwhile"


async def test_a_store_that_is_away_is_asked_again_with_pauses() -> None:
    world, past, now = opened(), Past(), NOON
    past.answer = "the event store could not be asked"
    asked = []
    while now < NOON + timedelta(minutes=10):
        before = len(past.orders)
        await reconcile(world, past, now)
        if len(past.orders) > before:
            asked.append((now - NOON).total_seconds())
        now += timedelta(seconds=15)
    assert asked == [0, 30, 90, 210, 450]
    assert told(world) == ("Unknown", "NotAnswered")
    past.answer = ANSWER
    await reconcile(world, past, now + timedelta(minutes=20))
    assert told(world) == ("True", "Tried")


async def test_each_change_of_the_rule_is_tried() -> None:
    world, past = opened(), Past()
    past.answer = ANSWER
    await reconcile(world, past)
    world.rules[0]["metadata"]["generation"] = 2
    past.answer = None
    await reconcile(world, past)
    assert told(world) == ("Unknown", "NotTried")
    assert [each.generation for each in past.orders] == [1, 2]
    past.answer = Answer(untried="the past does not tell")
    await reconcile(world, past)
    assert told(world) == ("False", "NotTriable")


async def test_a_rule_that_wants_no_trial_is_not_tried() -> None:
    world, past = opened(), Past()
    del world.rules[0]["spec"]["backtest"]
    await reconcile(world, past)
    assert past.orders == []
    assert "Backtested" not in {each["type"] for each in world.rules[0]["status"]["conditions"]}


class Shards(World):
    """A namespace whose workers say what the test wants; what is written of the StatefulSet is remembered."""

    def __init__(self) -> None:
        opened_world = opened()
        super().__init__(*opened_world.rules, campaigns=opened_world.campaigns)
        del self.rules[0]["spec"]["backtest"]
        self.worker: Manifest | None = None
        self.said: dict[int, Manifest | str] = {}
        self.rules_of: dict[str, bytes] = {}

    def fraud_children(self, _: str) -> dict[ObjectKey, LiveObject]:
        if self.worker is None:
            return {}
        serving = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}
        workers = self.worker["spec"]["replicas"]
        return {WORKER: replace(REFERENCED, replicas=workers, status=serving)}

    async def get(self, key: ObjectKey) -> Manifest | None:  # type: ignore[override]
        return self.worker if key == WORKER else None

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        if body["kind"] == "StatefulSet":
            self.worker = body
        return await super().apply(body, subresource=subresource)

    async def states(self, _: str, workers: int) -> Asked:
        asked = Asked({})
        for number in range(workers):
            address, said = (
                f"http://flywheel-fraud-{number}.flywheel-fraud.shop.svc:9105",
                self.said.get(number, "away"),
            )
            if isinstance(said, str):
                asked.missing[address] = said
            else:
                asked.bodies[address] = json.dumps({"generation": self._generation(address), **said}).encode()
        return asked

    def _generation(self, address: str) -> str:
        return content_hash(self.rules_of[address].decode()) if address in self.rules_of else ""

    async def hand_over(self, _: str, address: str, rules: bytes) -> bytes:
        self.rules_of[address] = rules
        asked = await self.states("", 9)
        return asked.bodies[address]

    def layout(self) -> Layout | None:
        return layout_of(self.worker)

    def ready(self) -> tuple[str, str]:
        conditions = self.rules[0]["status"]["conditions"]
        [found] = [each for each in conditions if each["type"] == "Ready"]
        return found["status"], found["reason"]


async def test_more_workers_come_at_once_and_fewer_when_those_who_stay_have_taken_over() -> None:
    world = Shards()

    async def look(wanted: int, **said: Manifest | str) -> Layout | None:
        world.said |= {int(number.removeprefix("w")): each for number, each in said.items()}
        workforce = Workforce(5, {"shop": wanted})
        made = FraudReconciler(world, world, world, "image", workforce=workforce, clock=lambda: NOON)  # type: ignore[arg-type]
        await made.reconcile("shop")
        return world.layout()

    assert await look(1) == (1, 1)
    assert await look(2, w0={"shards": 1}) == (2, 2)
    assert await look(2, w1={"ready": False, "shards": 2, "takingOver": True}) == (2, 2)
    assert len(world.rules_of) == 2, "who takes over has the rules before it begins"
    assert world.ready()[1] != "WorkerMissing", "and is not missed, as the other one has all keys"
    assert await look(2, w0={"shards": 2}, w1={"shards": 2}) == (2, 2)
    assert await look(1) == (2, 1)
    assert await look(1, w0="it restarts") == (2, 1)
    assert world.ready() == ("Unknown", "WorkerMissing")
    assert await look(1, w0={"shards": 1, "takingOver": True}) == (2, 1)
    assert await look(1, w0={"shards": 1}) == (1, 1)


async def test_an_operator_that_comes_after_one_that_was_killed_ends_the_move_that_has_begun() -> None:
    world = Shards()
    world.said = {number: {"shards": 4} for number in range(4)}
    for wanted in (4, 2):
        made = FraudReconciler(world, world, world, "image", workforce=Workforce(wanted), clock=lambda: NOON)  # type: ignore[arg-type]
        await made.reconcile("shop")
    assert world.layout() == (4, 2)
    other = FraudReconciler(world, world, world, "image", workforce=Workforce(4), clock=lambda: NOON)  # type: ignore[arg-type]
    await other.reconcile("shop")
    assert world.layout() == (4, 2), "whoever is under way comes to an end first"
    world.said |= {number: {"shards": 2} for number in range(2)}
    for expected in ((2, 2), (4, 4)):
        await other.reconcile("shop")
        assert world.layout() == expected
