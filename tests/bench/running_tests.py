"""What running A/B tests cost the operator: everything but the calls to the API server and to the store.

Processor time, not time on the wall. Each look reads the test and its rivals, decides on what the store has counted,
and writes a status; as often as tests are looked at, that makes a share of one core.
"""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.bench.rows import Row

from flywheel.campaign.testing import LOOK_AT_LEAST_EVERY, LOOK_EVERY
from flywheel.campaign.testreconcile import ABTestReconciler
from flywheel.experiment.asking import Answers, Question
from flywheel.insight.arms import ArmFigures, Sums
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.runtime.store import Store

TESTS = 2000
PER_CAMPAIGN = 4
LOOKS = 3
NOON = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)


class _World:
    """The operator's memory, the API server, the store and the clock."""

    def __init__(self) -> None:
        self.now = NOON
        self.version = 10
        self.visitors = 0
        self.memory = Store(lambda _: None)
        for number in range(TESTS // PER_CAMPAIGN):
            self.memory.put_campaign(_campaign(f"campaign-{number}"))
        for number in range(TESTS):
            self.memory.put_test(_abtest(number))

    def test(self, namespace: str, name: str) -> Manifest | None:
        return self.memory.test(namespace, name)

    def tests_of(self, namespace: str, campaign: str) -> tuple[Manifest, ...]:
        return self.memory.tests_of(namespace, campaign)

    def campaign(self, namespace: str, name: str) -> Manifest | None:
        return self.memory.campaign(namespace, name)

    def children(self, namespace: str, name: str) -> dict[ObjectKey, LiveObject]:
        keys = [ObjectKey("apps", "Deployment", "shop", f"{name}-web-v{number}") for number in range(PER_CAMPAIGN)]
        status = {"availableReplicas": 1}
        return {key: LiveObject(key, "uid", 1, 1, name, "", "", "", False, status=status) for key in keys}

    def put_test(self, manifest: Manifest) -> None:
        self.memory.put_test(manifest)

    async def get(self, _: ObjectKey) -> Manifest | None:
        return None

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        if not subresource:
            return body
        held = self.memory.test(body["metadata"]["namespace"], body["metadata"]["name"]) or {}
        self.version += 1
        metadata = {**held["metadata"], "resourceVersion": str(self.version)}
        return {**held, "metadata": metadata, "status": body["status"]}

    async def record_event(self, *_: object) -> None:
        pass

    async def ask(self, _: Question) -> Answers:
        def arm(rate: float) -> ArmFigures:
            converted = float(round(self.visitors * rate))
            spent = Sums(y=converted * 50, yy=converted * 3000)
            return ArmFigures(
                visitors=self.visitors,
                outcomes=(Sums(y=converted, yy=converted), spent),
                requests=Sums(y=2.0, yy=2.0, x=self.visitors * 5.0, xx=self.visitors * 30.0, xy=10.0),
                requesters=self.visitors,
            )

        return Answers({"red": arm(0.05), **{f"v{number}": arm(0.0502) for number in range(PER_CAMPAIGN)}})


def measure() -> list[Row]:
    """Bring 2,000 tests to Running, and look at each of them a few times."""
    world = _World()
    reconciler = ABTestReconciler(world, world, world, clock=lambda: world.now)  # type: ignore[arg-type]

    async def all_tests() -> None:
        for number in range(TESTS):
            await reconciler.reconcile("shop", f"test-{number}")

    async def run() -> float:
        await all_tests()
        taken = []
        for look in range(LOOKS):
            world.now += timedelta(hours=1)
            world.visitors = 2000 + 500 * look
            began = time.process_time()
            await all_tests()
            taken.append(time.process_time() - began)
        states = [(world.test("shop", f"test-{number}") or {})["status"]["state"] for number in range(TESTS)]
        assert states.count("Running") == TESTS, "not all tests of this benchmark run"
        return sorted(taken)[len(taken) // 2]

    seconds = asyncio.run(run())
    return [
        Row(f"running tests: one look, {PER_CAMPAIGN} tests a campaign", seconds / TESTS * 1e6, "µs"),
        Row(
            f"running tests: {TESTS} long ones, share of a core", seconds / LOOK_AT_LEAST_EVERY.total_seconds(), "cores"
        ),
        Row(f"running tests: {TESTS} young ones, share of a core", seconds / LOOK_EVERY.total_seconds(), "cores"),
    ]


def _campaign(name: str) -> Manifest:
    service = {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3}
    events = {"declared": [{"name": "Coupon Claimed"}, {"name": "Order Completed"}]}
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": _metadata(name),
        "spec": {"services": [service], "edge": {"events": events}},
        "status": {"stage": "Live"},
    }


def _abtest(number: int) -> Manifest:
    variant = f"v{number % PER_CAMPAIGN}"
    spec: dict[str, Any] = {
        "campaign": f"campaign-{number // PER_CAMPAIGN}",
        "service": "web",
        "traffic": f"{100 // PER_CAMPAIGN}%",
        "variants": [
            {"name": "red", "control": True, "weight": "50%"},
            {"name": variant, "weight": "50%", "override": {"env": [{"name": "BUTTON", "value": variant}]}},
        ],
        "metrics": {
            "primary": {"event": "Coupon Claimed", "minimumEffect": "5%"},
            "secondary": [{"sum": "Order Completed.revenue"}],
            "guardrails": [{"errors": True, "maxIncrease": "1%"}],
        },
    }
    metadata = _metadata(f"test-{number}")
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "ABTest", "metadata": metadata, "spec": spec, "status": {}}


def _metadata(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": "shop",
        "uid": f"uid-of-{name}",
        "resourceVersion": "1",
        "generation": 1,
        "creationTimestamp": "2027-06-16T11:00:00Z",
    }
