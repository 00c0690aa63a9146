"""From ConfigMaps and Secrets to the worker, and what is told of it: a worker that is gone, lists that are wrong."""

import base64
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.campaign.test_fraudplan import SHOP, campaign, manifest
from tests.unit.fraud_worker.small_engine import SmallEngine

from flywheel.campaign.fraudasking import Asked, NotAnswered
from flywheel.campaign.fraudlistreader import ListReader
from flywheel.campaign.fraudlists import count_not_taken
from flywheel.campaign.fraudreconcile import LOOK_EVERY, FraudReconciler
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.lists_server import told
from flywheel.fraud.records import Record, Rules, read_record
from flywheel.fraud.rulings import ALONE
from flywheel.kube.errors import ApiError
from flywheel.plan import LiveObject, Manifest, ObjectKey, content_hash

NOW = datetime(2027, 6, 16, tzinfo=UTC)
WORKER = "http://flywheel-fraud-0.flywheel-fraud.shop.svc:9105"
LISTS = {
    "allow": [
        {"configMap": "fraud", "key": "offices.txt"},
        {"secret": "fraud", "key": "staff", "of": "User", "hashed": True},
    ],
    "deny": [{"configMap": "fraud", "key": "proxies.txt"}],
    "watch": [{"secret": "fraud", "key": "suspects", "of": "Device"}],
}


def list_manifest(kind: str, version: int = 1, type_: str = "Opaque", **data: str) -> Manifest:
    made: Manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"uid": kind, "resourceVersion": str(version)}}
    if kind == "ConfigMap":
        return made | {"data": data}
    return made | {
        "type": type_,
        "data": {name: base64.b64encode(text.encode()).decode() for name, text in data.items()},
    }


OFFICES, SUSPECTS = "192.0.2.0/24\n198.51.100.7\n", "d1\nd2\nd3"
CONFIG_MAP = list_manifest("ConfigMap", **{"offices.txt": OFFICES, "proxies.txt": "203.0.113.0/24"})
SECRET = list_manifest("Secret", staff=f"{'ab' * 32}\n", suspects=SUSPECTS)


class World:
    """A namespace with an open Campaign, a worker that is at work, and what is in the API server."""

    def __init__(self, **lists: Any) -> None:
        rule = manifest(lists=lists or LISTS)
        rule["metadata"] |= {"uid": "uid-of-rule"}
        self.rules = {"burst": rule}
        self.objects: dict[tuple[str, str], Manifest | ApiError] = {
            ("ConfigMap", "fraud"): CONFIG_MAP,
            ("Secret", "fraud"): SECRET,
        }
        self.children: dict[ObjectKey, LiveObject] = {}
        self.casebook = Casebook(SmallEngine, ALONE)
        self.refuses = ""
        self.handed: list[Record] = []
        self.made = FraudReconciler(self, self, self, "image", clock=lambda: NOW)  # type: ignore[arg-type]

    def campaigns_in(self, _: str) -> tuple[Manifest, ...]:
        shop = campaign()
        spec = {"services": [{"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3}]}
        spec |= {
            "edge": {"routes": [{"path": "/", "service": "web"}], "events": {"declared": [{"name": "Coupon Claimed"}]}}
        }
        metadata = {"name": SHOP, "namespace": "shop", "uid": shop.metadata.uid, "generation": 1}
        kinds = {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign"}
        return ({**kinds, "metadata": metadata, "spec": spec, "status": {"stage": "Live"}},)

    def fraud_rules(self, _: str) -> tuple[Manifest, ...]:
        return tuple(self.rules.values())

    def fraud_children(self, _: str) -> dict[ObjectKey, LiveObject]:
        return self.children

    def put(self, live: LiveObject) -> None:
        self.children[live.key] = live

    def put_rule(self, rule: Manifest) -> None:
        self.rules[rule["metadata"]["name"]]["status"] = rule["status"]

    async def get(self, key: ObjectKey) -> Manifest | None:
        found = self.objects.get((key.kind, key.name))
        if isinstance(found, ApiError):
            raise found
        return found

    async def apply(self, body: Manifest, *, subresource: str = "") -> Manifest:
        if subresource:
            return body
        made = {"observedGeneration": 1, "updatedReplicas": 1, "readyReplicas": 1}
        metadata = {**body["metadata"], "uid": "uid", "resourceVersion": "1", "generation": 1, "managedFields": []}
        return {**body, "metadata": metadata, "status": made}

    def _state(self) -> bytes:
        state = {"generation": self.casebook.generation, "campaigns": {}, "lists": told(self.casebook)}
        return json.dumps(state).encode()

    def do(self, record: Record) -> bytes:
        for _ in self.casebook.apply(record):
            pass
        return self._state()

    async def states(self, _: str, __: int) -> Asked:
        return Asked({WORKER: self._state()})

    async def hand_over(self, _: str, __: str, rules: bytes) -> bytes:
        found = {name: [] for name in json.loads(rules)}
        self.do(Rules(json.dumps(found).encode()))
        self.casebook.generation = content_hash(rules.decode())
        return self._state()

    async def hand_lists(self, _: str, __: str, lists: bytes) -> bytes:
        if self.refuses:
            raise NotAnswered(self.refuses)
        self.handed.append(read_record(lists))
        return self.do(self.handed[-1])

    async def reconcile(self) -> tuple[str, str, str]:
        """Bring it a step further; give status, reason and message of the condition Lists."""
        assert await self.made.reconcile("shop") == NOW + LOOK_EVERY or self.children
        conditions = self.rules["burst"]["status"]["conditions"]
        [found] = [each for each in conditions if each["type"] == "Lists"]
        return found["status"], found["reason"], found["message"]

    def entries(self) -> dict[str, int]:
        return {of.source: each.count for of, each in self.casebook.entries.items()}

    def change(self, version: int = 2, **data: str) -> None:
        self.objects["ConfigMap", "fraud"] = list_manifest("ConfigMap", version, **CONFIG_MAP["data"] | data)


ALL = {
    "configmap/fraud/offices.txt": 2,
    "secret/fraud/staff": 1,
    "configmap/fraud/proxies.txt": 1,
    "secret/fraud/suspects": 3,
}


async def taken(**lists: Any) -> World:
    world = World(**lists)
    await world.reconcile()
    world.handed.clear()
    return world


async def test_all_lists_are_handed_over_once_and_told_without_what_is_in_them() -> None:
    world = World()
    status, reason, message = await world.reconcile()
    assert (status, reason) == ("True", "Taken")
    assert message == "; ".join(f"{each}: {'1 entry' if n == 1 else f'{n} entries'}" for each, n in ALL.items())
    assert world.entries() == ALL
    assert [len(each.put) for each in world.handed] == [1, 1, 1, 1]
    await world.reconcile()
    assert len(world.handed) == 4, "nothing is handed over twice"


async def test_neither_status_nor_rules_have_a_word_of_a_secret() -> None:
    world = await taken()
    world.objects["Secret", "fraud"] = list_manifest("Secret", 2, staff="ab" * 32, suspects="d1\nsecret\x01device\n")
    _, _, message = await world.reconcile()
    assert message.endswith("secret/fraud/suspects: 1 entry, and without line 2, which cannot be read")
    for text in (json.dumps(world.rules), *(str(each) for each in world.handed)):
        assert "secret\x01device" not in text
        assert "abab" not in text


async def test_a_change_is_handed_over_alone() -> None:
    world = await taken()
    world.change(**{"offices.txt": "192.0.2.0/24"})
    assert (await world.reconcile())[1] == "Taken"
    assert [[each.of.source for each in record.put] for record in world.handed] == [["configmap/fraud/offices.txt"]]
    assert world.entries() == ALL | {"configmap/fraud/offices.txt": 1}


async def test_a_worker_that_has_lost_its_volume_and_an_operator_that_starts_anew() -> None:
    world = await taken()
    world.casebook = Casebook(SmallEngine, ALONE)
    await world.reconcile()
    assert world.entries() == ALL
    world.handed.clear()
    world.made = FraudReconciler(world, world, world, "image", clock=lambda: NOW)  # type: ignore[arg-type]
    assert (await world.reconcile())[1] == "Taken"
    assert world.handed == [], "the worker has them already"


def forbidden(status: int = 403) -> ApiError:
    return ApiError(status, "Forbidden", "no")


@pytest.mark.parametrize(
    ("key", "becomes", "says"),
    [
        ("ConfigMap", None, "there is no ConfigMap fraud"),
        ("ConfigMap", list_manifest("ConfigMap", 2, other="x"), "ConfigMap fraud has no key offices.txt"),
        ("ConfigMap", forbidden(), "must not be read by the operator: see rbac.secrets"),
        ("ConfigMap", forbidden(500), "could not be read: no"),
        (
            "Secret",
            list_manifest("Secret", 2, "kubernetes.io/tls", staff="x"),
            "of type kubernetes.io/tls, which holds",
        ),
        ("Secret", {**SECRET, "data": {"staff": "=", "suspects": "!"}}, "no readable data under staff"),
    ],
)
async def test_of_a_list_that_is_gone_the_last_good_one_stays(key: str, becomes: Any, says: str) -> None:
    world = await taken()
    world.objects[key, "fraud"] = becomes
    status, reason, message = await world.reconcile()
    assert (status, reason) == ("False", "NotTaken")
    assert says in message
    assert "it holds as it was taken last, with " in message
    assert world.entries() == ALL
    assert count_not_taken(world.rules.values()) == 1
    world.objects[key, "fraud"] = CONFIG_MAP if key == "ConfigMap" else SECRET
    assert (await world.reconcile())[1] == "Taken"
    assert count_not_taken(world.rules.values()) == 0


async def test_a_poisoned_list_is_refused_and_the_last_good_one_stays() -> None:
    world = await taken()
    world.change(**{"proxies.txt": "203.0.113.0/24\n0.0.0.0/0", "offices.txt": "0.0.0.0/0\noffice\n"})
    status, reason, message = await world.reconcile()
    assert (status, reason) == ("False", "NotTaken")
    assert message.startswith("configmap/fraud/proxies.txt: line 2 is a range wider than /8")
    assert "offices.txt: 1 entry, and without line 2, which cannot be read" in message
    assert world.entries() == ALL | {"configmap/fraud/offices.txt": 1}
    await world.reconcile()
    world.change(3, **{"offices.txt": OFFICES + "office\n" * 12})
    status, reason, message = await world.reconcile()
    assert (status, reason) == ("False", "LinesLeftOut")
    assert "2 entries, and without lines 3, 4, 5, 6, 7, 8, 9, 10 and 4 more" in message


async def test_what_becomes_of_a_list_that_was_never_there_is_said() -> None:
    world = World()
    world.objects.clear()
    _, _, message = await world.reconcile()
    assert "offices.txt: there is no ConfigMap fraud; until it is there the rule stops nobody" in message
    assert "proxies.txt: there is no ConfigMap fraud; until it is there the rule does without it" in message
    assert world.entries() == {}


async def test_lists_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flywheel.campaign.fraudlistreader.MOST_TOGETHER", 3)
    world = World()
    _, reason, message = await world.reconcile()
    assert reason == "NotTaken"
    assert "secret/fraud/staff: all lists of the namespace together have more than 3 entries" in message
    assert world.entries() == {"configmap/fraud/offices.txt": 2, "configmap/fraud/proxies.txt": 1}


async def test_a_worker_that_does_not_take_them_is_told_of_and_asked_again() -> None:
    world = World()
    world.refuses = "the fraud worker answered 503"
    status, reason, message = await world.reconcile()
    assert (status, reason) == ("False", "NotTaken")
    assert "could not be handed over: the fraud worker answered 503" in message
    world.refuses = ""
    assert (await world.reconcile())[1] == "Taken"


async def test_lists_that_no_rule_names_any_more_are_taken_back() -> None:
    world = await taken()
    world.rules["burst"]["spec"]["lists"] = {"deny": LISTS["deny"]}
    world.rules["burst"]["metadata"]["generation"] = 2
    assert (await world.reconcile())[1] == "Taken"
    assert world.entries() == {"configmap/fraud/proxies.txt": 1}


async def test_a_rule_without_lists_says_nothing_of_them() -> None:
    world = World()
    del world.rules["burst"]["spec"]["lists"]
    world.objects = {key: forbidden() for key in world.objects}
    await world.made.reconcile("shop")
    assert "Lists" not in {each["type"] for each in world.rules["burst"]["status"]["conditions"]}


async def test_each_of_several_workers_gets_what_it_lacks() -> None:
    one, two = World(), World()
    books = {"http://a": one, "http://b": two}

    async def hand_lists(_: str, address: str, lists: bytes) -> bytes:
        return await books[address].hand_lists(_, address, lists)

    await one.reconcile()
    one.handed.clear()
    reader = ListReader(one, SimpleNamespace(hand_lists=hand_lists))  # type: ignore[arg-type]
    wanted = dict.fromkeys(one.casebook.entries, False)
    bodies = {address: (await world.states("", 1)).bodies[WORKER] for address, world in books.items()}
    states = await reader.bring("shop", wanted, bodies)
    assert one.handed == [], "it has them all"
    assert two.entries() == ALL
    assert {of.source: each.entries for of, each in states.items()} == ALL
