"""What a reconcile of FraudRules leaves alone."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests.unit.campaign.test_fraudplan import manifest

from flywheel.campaign.fraudreconcile import FraudReconciler
from flywheel.plan import LiveObject, Manifest, ObjectKey

WORKER = ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud")
REFERENCED = LiveObject(WORKER, "uid-of-worker", 1, 1, "", "", "", "", False, shared="fraud", sharers=("uid",))


class World:
    """A namespace with a worker and one rule; what is written is remembered."""

    def __init__(self, *rules: Manifest) -> None:
        self.rules = rules
        self.deleted: list[ObjectKey] = []
        self.statuses: list[Manifest] = []

    def campaigns_in(self, _: str) -> tuple[Manifest, ...]:
        return ()

    def fraud_rules(self, _: str) -> tuple[Manifest, ...]:
        return self.rules

    def fraud_children(self, _: str) -> dict[ObjectKey, LiveObject]:
        return {WORKER: REFERENCED}

    def put_rule(self, rule: Manifest) -> None:
        self.statuses.append(rule["status"])

    def remove(self, key: ObjectKey, _: str) -> None:
        self.deleted.append(key)

    async def get(self, _: ObjectKey) -> None:
        return None

    async def apply(self, body: Manifest, *, subresource: str) -> Manifest:
        assert subresource == "status"
        return body

    async def delete(self, key: ObjectKey, *_: Any, **__: Any) -> None:
        self.deleted.append(key)


async def reconcile(world: World) -> None:
    made = FraudReconciler(world, world, world, "image", clock=lambda: datetime(2027, 6, 16, tzinfo=UTC))  # type: ignore[arg-type]
    await made.reconcile("shop")


@pytest.mark.parametrize("whole", [True, False])
async def test_a_rule_that_cannot_be_read_takes_the_worker_from_nobody(whole: bool) -> None:
    rule = manifest()
    rule["metadata"] |= {"uid": "uid-of-rule"}
    if not whole:
        rule["spec"]["condition"] = {"unheard": {"of": 1}}
    world = World(rule)
    await reconcile(world)
    assert (WORKER in world.deleted) is whole, "without a campaign a rule that can be read needs no worker"
    [status] = world.statuses
    [stalled] = [each for each in status["conditions"] if each["type"] == "Stalled"]
    assert stalled["status"] == "True"
