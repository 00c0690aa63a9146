"""The operator's own client hands a real model to a real worker, and a reconcile tells what came of it."""

import base64
import dataclasses
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.campaign.test_fraudplan import SHOP, manifest
from tests.unit.edge.stand import free_port
from tests.unit.fraud import trained
from tests.unit.fraud_worker.world import NAMESPACE, RunningWorker, operator

from flywheel.campaign.fraudmodels import Refused
from flywheel.campaign.fraudreconcile import FraudReconciler, NotAnswered
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.model import LoadedModel
from flywheel.fraud.models import digest_of
from flywheel.plan import LiveObject, Manifest, ObjectKey
from flywheel.runtime.fraud_workers import FraudWorkers

FOREST = trained.file("forest")
WORKER = ObjectKey("apps", "StatefulSet", NAMESPACE, "flywheel-fraud")
READY = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}
SERVING = LiveObject(WORKER, "uid", 1, 1, "", "", "", "", False, status=READY, shared="fraud", sharers=("uid",))


async def token(audience: str) -> str:
    assert audience == f"flywheel-analytics/{NAMESPACE}"
    return operator()["Authorization"].removeprefix("Bearer ")


class World:
    """A namespace with one Campaign, one rule and a ConfigMap; what is applied or told is remembered."""

    def __init__(self, rule: Manifest, files: dict[str, bytes], serving: LiveObject) -> None:
        self.rule, self.serving = rule, serving
        held = {name: base64.b64encode(data).decode() for name, data in files.items()}
        self.maps: dict[str, Manifest] = {"fraud": {"binaryData": held}}

    def campaigns_in(self, _: str) -> tuple[Manifest, ...]:
        service = {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3}
        metadata = {"name": SHOP, "namespace": NAMESPACE, "uid": "uid", "generation": 1}
        spec = {"services": [service], "edge": {"routes": [{"path": "/", "service": "web"}]}}
        kind = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "status": {"stage": "Live"}}
        return ({**kind, "metadata": metadata, "spec": spec},)

    def fraud_rules(self, _: str) -> tuple[Manifest, ...]:
        return (self.rule,)

    def fraud_children(self, _: str) -> dict[ObjectKey, LiveObject]:
        return {WORKER: self.serving}

    def put(self, live: LiveObject) -> None:
        pass

    def put_rule(self, rule: Manifest) -> None:
        self.rule = {**self.rule, "status": rule["status"]}

    async def get(self, key: ObjectKey) -> Manifest | None:
        return self.maps.get(key.name)

    async def apply(self, body: Manifest, **_: Any) -> Manifest:
        known = {"uid": "uid", "resourceVersion": "1", "generation": 1}
        made = {**body, "metadata": {**body["metadata"], **known}}
        if body["kind"] == "ConfigMap":
            self.maps[body["metadata"]["name"]] = made
        return made

    def condition(self, name: str) -> tuple[str, str]:
        [found] = [each for each in self.rule["status"]["conditions"] if each["type"] == name]
        return found["status"], found["message"]


def scoring(data: bytes, generation: int = 1, key: str = "model.skops", **more: Any) -> Manifest:
    model = {"configMap": "fraud", "key": key, "digest": digest_of(data)}
    score = {"model": model, "features": list(trained.FEATURES), "moreThan": 0.9, **more}
    found = manifest("burst", generation, condition={"score": score}, window=None)
    return {**found, "metadata": {**found["metadata"], "uid": "uid-of-rule", "namespace": NAMESPACE}}


@pytest.fixture
async def worker(tmp_path: Path):
    made = RunningWorker(tmp_path / "worker", make_engine)
    (made.directory / "rules.json").write_bytes(b"{ }")
    await made.start()
    yield made
    await made.stop()


async def test_a_model_gets_from_its_config_map_to_the_rule_that_asks_it(worker: RunningWorker):
    bad = trained.with_schema(trained.file("bayes"), lambda schema: schema.update(__class__="Evil"))
    world = World(scoring(FOREST), {"model.skops": FOREST, "bad.skops": bad}, SERVING)
    async with httpx.AsyncClient() as client:
        workers = FraudWorkers(client, token, lambda *_: (worker.url,))
        made = FraudReconciler(world, world, workers, "image", clock=lambda: datetime(2027, 6, 16, tzinfo=UTC))  # type: ignore[arg-type]
        await made.reconcile(NAMESPACE)
        assert world.condition("Ready")[0] == "True", world.rule["status"]
        state = await worker.state()
        assert list(state["models"]) == [digest_of(FOREST)]
        [told] = state["campaigns"][SHOP]["rules"]
        assert (told["rule"], told["mode"]) == ("burst", "Shadow")
        assert list(world.rule["status"]["record"]["models"]) == [digest_of(FOREST)]
        before = world.rule["status"]

        world.rule = {**scoring(bad, 2, key="bad.skops"), "status": before}
        await made.reconcile(NAMESPACE)
        status, message = world.condition("Stalled")
        assert status == "True"
        assert message.startswith("spec.condition.score.model: the worker does not use it: it holds what is not let")
        [told] = (await worker.state())["campaigns"][SHOP]["rules"]
        assert told["generation"] == 1, "what was judged by goes on"

        world.rule = {**scoring(FOREST, 3, features=["revenue"]), "status": before}
        await made.reconcile(NAMESPACE)
        assert world.condition("Stalled")[1].startswith("spec.condition.score.features: the model was trained with 3")
        world.serving = dataclasses.replace(SERVING, status={})
        world.rule = {**scoring(FOREST, 4), "status": before}
        await made.reconcile(NAMESPACE)
        assert world.condition("Ready")[1] == "the fraud worker is starting"


async def test_what_a_worker_answers_is_told_apart(worker: RunningWorker):
    async with httpx.AsyncClient() as client:
        workers = FraudWorkers(client, token, lambda *_: (worker.url,))
        facts = await workers.hand_over_model(NAMESPACE, worker.url, digest_of(FOREST), FOREST)
        assert facts == LoadedModel(FOREST).facts
        with pytest.raises(Refused, match="no file of skops"):
            await workers.hand_over_model(NAMESPACE, worker.url, digest_of(b"x"), b"x")
        with pytest.raises(Refused, match="another digest"):
            await workers.hand_over_model(NAMESPACE, worker.url, digest_of(b"y"), b"x")
        with pytest.raises(NotAnswered, match="could not be asked"):
            await workers.hand_over_model(NAMESPACE, f"http://127.0.0.1:{free_port()}", digest_of(b"x"), b"x")


async def test_of_several_workers_each_is_asked_and_who_says_nothing_is_named(worker: RunningWorker):
    away = f"http://127.0.0.1:{free_port()}"
    async with httpx.AsyncClient() as client:
        asked = await FraudWorkers(client, token, lambda _, count: (worker.url, away)[:count]).states(NAMESPACE, 2)
        assert list(asked.bodies) == [worker.url]
        assert list(asked.missing) == [away]
        assert "could not be asked" in asked.missing[away]
        alone = await FraudWorkers(client, token, lambda _, count: (worker.url, away)[:count]).states(NAMESPACE, 1)
        assert (list(alone.bodies), alone.missing) == ([worker.url], {})
