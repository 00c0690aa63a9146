"""What breaks around the edge: nobody in front of it may notice, and nothing that was promised may be lost."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from tests.e2e.entry import NAME, EntryShop, dice, order, tell
from tests.e2e.steps import eventually
from tests.lab.cluster.client import Cluster, chosen_cluster
from tests.lab.cluster.victims import Victim, processes_of

SEED = 618
KILLS = 20
KINDS = ("haproxy", "flywheel sidecar", "flywheel analytics", "engine_process")


class Teller(threading.Thread):
    """Tells of one order after the other, each until it is promised, and remembers which were."""

    def __init__(self, shop: EntryShop, name: str) -> None:
        super().__init__(daemon=True)
        self.shop, self.label = shop, name
        self.promised = self.tries = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            event = order(f"{self.label}-{self.promised}", 1.0, anonymousId=f"{self.label}-{self.promised % 7}")
            while not self._told(event):
                time.sleep(0.05)
            self.promised += 1

    def _told(self, event: dict[str, object]) -> bool:
        self.tries += 1
        try:
            with self.shop.visitor() as client:
                return tell(client, event).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def shop(installed: Cluster) -> Iterator[EntryShop]:
    """One shop for all faults of this file, open; each fault leaves it well."""
    namespace = "e2e-faults"
    installed.kubectl("create", "namespace", namespace)
    shop = EntryShop(installed, namespace)
    try:
        shop.becomes_ready(shop.apply(shop.campaign()))
        shop.condition_becomes("AnalyticsReady", "True")
        with shop.entered():
            yield shop
    finally:
        installed.kubectl("delete", "campaigns", "--all", "-n", namespace, "--timeout=120s", check=False)
        installed.kubectl("delete", "namespace", namespace, "--wait=false", check=False)


@contextmanager
def telling(shop: EntryShop, *names: str) -> Iterator[list[Teller]]:
    tellers = [Teller(shop, name) for name in names]
    for each in tellers:
        each.start()
    try:
        yield tellers
    finally:
        for each in tellers:
            each.over.set()
        for each in tellers:
            each.join(120)
            assert not each.is_alive(), "an order could not be told within 120 s"


def victims(shop: EntryShop, kind: str) -> list[Victim]:
    pods = json.loads(shop.cluster.kubectl("get", "pods", "-n", shop.namespace, "-o", "json"))["items"]
    ours = [
        pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/component") in ("edge", "analytics")
    ]
    return [each for pod in ours for each in processes_of(pod["metadata"]["uid"]) if kind in each.command]


def orders_become(shop: EntryShop, count: int) -> None:
    revenue = f"{count}.00"
    told = lambda: json.dumps(shop.figures()) + shop.describe()  # noqa: E731
    eventually(lambda: shop.figures().get("orders") == count, f"{count} orders", 180, told)
    assert shop.figures()["revenue"] == revenue


@pytest.mark.skipif(chosen_cluster().lab is None, reason="kills processes of pods, which are here only in the lab")
def test_no_promise_is_broken_and_none_kept_twice_when_everything_dies_again_and_again(shop: EntryShop) -> None:
    chance = dice(SEED)
    before = shop.figures().get("orders", 0)
    with telling(shop, "a", "b", "c") as tellers:
        for number in range(KILLS):
            kind = KINDS[number % len(KINDS)]
            eventually(lambda kind=kind: bool(victims(shop, kind)), f"a {kind} to kill", 60, shop.describe)
            chance.choice(victims(shop, kind)).kill()
            time.sleep(chance.uniform(0.2, 1.5))
    promised = sum(each.promised for each in tellers)
    print(f"{promised} orders promised in {sum(each.tries for each in tellers)} tries, {KILLS} kills")
    assert promised >= KILLS
    orders_become(shop, before + promised)
    shop.condition_becomes("EdgeReady", "True")
    shop.condition_becomes("AnalyticsReady", "True")


def test_the_store_is_away_and_the_shop_serves_and_promises_on(shop: EntryShop) -> None:
    before = shop.figures().get("orders", 0)
    node = shop.cluster.kubectl("get", "nodes", "-o", "name").split()[0]
    shop.cluster.kubectl("cordon", node)
    try:
        shop.cluster.kubectl("delete", "pod", "flywheel-analytics-0", "-n", shop.namespace, "--grace-period=1")
        with telling(shop, "while-away") as tellers:
            said = shop.condition_becomes("AnalyticsReady", "False")
            assert said["message"]
            with shop.visitor() as person:
                assert [person.get("/").status_code for _ in range(20)] == [200] * 20
        assert shop.condition("Ready")["status"] == "True"
    finally:
        shop.cluster.kubectl("uncordon", node)
    shop.condition_becomes("AnalyticsReady", "True")
    orders_become(shop, before + tellers[0].promised)


def test_orders_broken_by_hand_are_put_right_and_nobody_notices(shop: EntryShop) -> None:
    good = shop.get("configmap", f"{NAME}-edge")["data"]["edge.json"]
    with shop.visitor() as person:
        for broken in ("{", json.dumps({"services": []}), good.replace('"/browse"', '"/browse\\nbackend evil"')):
            patch = json.dumps({"data": {"edge.json": broken}})
            shop.cluster.kubectl(
                "patch", "configmap", f"{NAME}-edge", "-n", shop.namespace, "--type=merge", "-p", patch
            )
            assert person.get("/browse").status_code == 200
            eventually(
                lambda: shop.get("configmap", f"{NAME}-edge")["data"]["edge.json"] == good, "the orders as they were"
            )
            assert person.get("/browse").status_code == 200
    shop.condition_becomes("EdgeReady", "True")


def test_edge_pods_go_one_after_the_other_without_a_failed_request(shop: EntryShop) -> None:
    def pods() -> set[str]:
        found = json.loads(
            shop.cluster.kubectl(
                "get", "pods", "-n", shop.namespace, "-l", "app.kubernetes.io/component=edge", "-o", "json"
            )
        )["items"]
        return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}

    before = pods()
    orders = shop.figures().get("orders", 0)
    failed, served, over = [], [0], threading.Event()

    def shopping() -> None:
        while not over.is_set():
            with shop.visitor() as person:
                for _ in range(10):
                    try:
                        answer = person.get("/browse")
                        served[0] += answer.status_code == 200
                        if answer.status_code != 200:
                            failed.append(str(answer.status_code))
                    except httpx.TransportError as error:
                        failed.append(repr(error))

    shoppers = [threading.Thread(target=shopping, daemon=True) for _ in range(3)]
    for each in shoppers:
        each.start()
    with telling(shop, "rollout") as tellers:
        shop.cluster.kubectl("rollout", "restart", f"deployment/{NAME}-edge", "-n", shop.namespace)
        shop.cluster.kubectl("rollout", "status", f"deployment/{NAME}-edge", "-n", shop.namespace, "--timeout=180s")
        eventually(lambda: not pods() & before, "new edge pods only", 120, shop.describe)
    over.set()
    for each in shoppers:
        each.join(60)
    assert not failed, f"{len(failed)} of {len(failed) + served[0]}: {failed[:5]}"
    assert served[0] > 100
    orders_become(shop, orders + tellers[0].promised)
