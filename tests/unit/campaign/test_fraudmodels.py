"""How models get from ConfigMaps to workers, and what is told where they do not; and Shadow first."""

import base64
import hashlib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.campaign.test_fraudplan import NOW, SHOP, campaign, condition, figures, rule

from flywheel.api.fraudrule import FraudRule
from flywheel.campaign.fraudmodels import Offer, Refused, models_in, offer
from flywheel.campaign.fraudplan import FraudPlan, plan_fraud
from flywheel.campaign.fraudshadow import ENOUGH, remembered, watched
from flywheel.campaign.fraudtold import Seen, WorkerState, status_of
from flywheel.fraud.modelfacts import LARGEST, MOST_MODELS, ModelFacts
from flywheel.plan import Manifest, ObjectKey

FILE = b"the file of a model"
DIGEST = f"sha256:{hashlib.sha256(FILE).hexdigest()}"
FACTS = ModelFacts(features=2, names=("revenue", "properties.value"))


def scoring(name: str = "burst", generation: int = 1, mode: str = "Shadow", **score: Any) -> FraudRule:
    model = {"configMap": "fraud", "key": "model.skops", "digest": DIGEST, **score.pop("model", {})}
    asked = {"model": model, "features": ["revenue", "properties.value"], "moreThan": 0.9, **score}
    more = {"minimumPrecision": "95%"} if mode == "Enforce" else {}
    return rule(name, generation, window=None, condition={"score": asked}, mode=mode, **more)


class World:
    """ConfigMaps, and a worker that takes what is handed over."""

    def __init__(self, data: bytes | None = FILE, refuses: str = "", **other: Any) -> None:
        held = {} if data is None else {"binaryData": {"model.skops": base64.b64encode(data).decode()}}
        self.maps: dict[str, Manifest] = {"fraud": held | other}
        self.refuses = refuses
        self.handed: list[tuple[str, str, bytes]] = []

    async def get(self, key: ObjectKey) -> Manifest | None:
        assert (key.kind, key.namespace) == ("ConfigMap", "shop")
        return self.maps.get(key.name)

    async def hand_over_model(self, namespace: str, address: str, digest: str, file: bytes) -> ModelFacts:
        self.handed.append((address, digest, file))
        if self.refuses:
            raise Refused(self.refuses)
        return FACTS


def state(**models: ModelFacts) -> bytes:
    return msgspec.json.encode({"models": {f"sha256:{name}": facts for name, facts in models.items()}})


async def offered(world: World, *rules: FraudRule, states: Mapping[str, bytes] | None = None) -> FraudPlan:
    found = await offer("shop", rules, world, world, {"http://one": state()} if states is None else states)
    return replanned(rules, found)


def replanned(rules: Any, offers: Any, statuses: Any = None, now: Any = NOW) -> FraudPlan:
    return plan_fraud("shop", rules, (campaign(),), {SHOP}, {}, "image", {}, now, offers=offers, statuses=statuses)


async def test_a_model_is_handed_over_once_and_then_compared() -> None:
    world = World()
    plan = await offered(world, scoring("a"), scoring("b"))
    assert world.handed == [("http://one", DIGEST, FILE)]
    assert [each.problems for each in plan.judged] == [(), ()]
    known = {"http://one": state(**{DIGEST.removeprefix("sha256:"): FACTS}), "http://two": state()}
    await offered(world, scoring("a"), states=known)
    assert world.handed[1:] == [("http://two", DIGEST, FILE)], "only to whom lacks it"
    await offered(world, scoring("a"), states={})
    assert len(world.handed) == 2, "nobody is there yet"


WRONG: dict[str, tuple[World, dict[str, Any], str, str]] = {
    "no ConfigMap": (World(), {"model": {"configMap": "frau"}}, ".model.configMap", "kubectl create configmap frau"),
    "no such key": (World(), {"model": {"key": "other.skops"}}, ".model.key", "has model.skops in binaryData"),
    "text": (World(None), {}, ".model.key", "has nothing in binaryData"),
    "no base64": (World(None, binaryData={"model.skops": "?"}), {}, ".model.key", "no base64"),
    "another file": (World(b"another"), {}, ".model.digest", "holds another file there, sha256:"),
    "a large file": (World(bytes(LARGEST + 1)), {}, ".model.key", "train a smaller one"),
    "refused": (World(refuses="it holds os.system"), {}, ".model", "the worker does not use it: it holds os.system"),
    "too few features": (World(), {"features": ["revenue"]}, ".features", "trained with 2 features (revenue,"),
    "another order": (
        World(), {"features": ["properties.value", "revenue"]}, ".features", "the feature at 0 is properties.value",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_with_a_model_is_told_at_its_field(name: str) -> None:
    world, given, path, message = WRONG[name]
    plan = await offered(world, scoring(**given), rule("other"))
    [judged] = [each for each in plan.judged if each.rule.name == "burst"]
    [problem] = judged.problems
    assert str(problem).startswith(f"spec.condition.score{path}:"), problem
    assert message in str(problem)
    assert judged.ruled is None, "and what the worker judged by before goes on"
    status = status_of(judged, {}, Seen({}), NOW)
    assert condition(status, "Stalled")["status"] == "True"


async def test_names_that_mean_the_same_are_the_same() -> None:
    world = World()
    found = await offer("shop", [scoring()], world, world, {})
    renamed = {each: Offer(facts=ModelFacts(features=2, names=("context.ip", "userId"))) for each in found}
    plan = replanned((scoring(features=["address", "user"]),), renamed)
    assert plan.judged[0].problems == ()


async def test_a_namespace_asks_a_bounded_number_of_models() -> None:
    rules = [scoring(f"r{n}", model={"digest": f"sha256:{n:064}"}) for n in range(MOST_MODELS + 1)]
    found = await offer("shop", rules, World(), World(), {})
    assert sum("share some" in each.problem for each in found.values()) == 1
    assert len(models_in(rules)) == MOST_MODELS + 1


def seen(evaluated: int, models: frozenset[str] = frozenset({DIGEST}), generation: int = 1) -> Seen:
    told = figures(generation, evaluated=evaluated)
    return Seen({SHOP: (WorkerState("flywheel-fraud-0", {"burst": told}, models=models),)})


def test_a_new_model_is_in_shadow_until_it_was_seen_at_work() -> None:
    enforced, status, now = scoring(mode="Enforce"), dict[str, Any](), NOW

    def step(evaluated: int, after: timedelta = timedelta(), models: frozenset[str] = frozenset({DIGEST})) -> str:
        nonlocal status, now
        now += after
        [judged] = replanned((enforced,), {}, {"burst": status}, now).judged
        status = status_of(judged, status, seen(evaluated, models), now)
        assert judged.ruled
        assert status["mode"] == judged.ruled.policy.mode
        told: str = condition(status, "Shadowed")["status"]
        assert (told == "True") is (status["mode"] == "Shadow")
        return str(status["mode"])

    assert step(0, models=frozenset()) == "Shadow"
    assert condition(status, "Ready")["status"] == "Unknown", "the worker has not got it"
    assert step(50, timedelta(hours=3)) == "Shadow", "the time begins with the model at the worker"
    assert step(5000, timedelta(minutes=59)) == "Shadow"
    assert step(5000, timedelta(minutes=1)) == "Enforce"
    assert step(0, timedelta(seconds=15)) == "Enforce", "a worker that lost its volume takes nothing back"
    enforced = scoring(mode="Enforce", model={"digest": "sha256:" + "1" * 64})
    assert step(9000, timedelta(seconds=15)) == "Shadow", "another file begins anew"


@given(st.integers(0, 3000), st.integers(0, 5000), st.floats(0, 48))
def test_it_takes_time_and_events(begun: int, judged: int, hours: float) -> None:
    enforced, now = scoring(mode="Enforce"), NOW + timedelta(hours=hours)
    record = remembered(enforced, {}, begun, NOW)
    status = {"record": {"models": record}, "evaluated": begun + judged}
    wanted = (hours >= 1 and judged >= 1000) or (hours >= 24 and judged >= 100)
    assert (watched(enforced, status, now) == "") is wanted
    assert remembered(enforced, status, begun + judged, now)[DIGEST].get("enough", False) is wanted
    assert len(ENOUGH) == 2


@pytest.mark.parametrize("edited", [{}, {"since": "never", "from": 1}, {"since": "2027-01-01"}, 7, None])
def test_a_record_that_somebody_has_edited_begins_anew(edited: Any) -> None:
    status = {"record": {"models": {DIGEST: edited}}, "evaluated": 10**6}
    assert "has not judged anything yet" in watched(scoring(mode="Enforce"), status, NOW)


def test_what_a_rule_has_done_in_shadow_counts_when_it_is_enforced() -> None:
    status = {"record": {"models": remembered(scoring(), {}, 0, NOW - timedelta(hours=2))}, "evaluated": 1500}
    assert watched(scoring(mode="Enforce"), status, NOW) == ""
    assert watched(scoring(), {}, NOW) == "", "Shadow is Shadow anyhow"
    assert remembered(scoring(mode="Off"), status, 1500, NOW) == {}
