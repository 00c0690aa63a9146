"""What breaks around the edge: nobody in front of it may notice, and nothing that was promised may be lost."""

import json
import threading
import time

import httpx
import pytest
from tests.e2e.entry import NAME, EntryShop, dice, telling
from tests.e2e.steps import eventually
from tests.lab.cluster.client import chosen_cluster
from tests.lab.cluster.victims import Victim, processes_of

SEED = 618
KILLS = 20
KINDS = ("haproxy", "flywheel sidecar", "flywheel analytics", "engine_process")


def victims(shop: EntryShop, kind: str) -> list[Victim]:
    pods = json.loads(shop.cluster.kubectl("get", "pods", "-n", shop.namespace, "-o", "json"))["items"]
    ours = [
        pod for pod in pods if pod["metadata"]["labels"].get("app.kubernetes.io/component") in ("edge", "analytics")
    ]
    return [each for pod in ours for each in processes_of(pod["metadata"]["uid"]) if kind in each.command]


@pytest.mark.skipif(chosen_cluster().lab is None, reason="kills processes of pods, which are here only in the lab")
def test_no_promise_is_broken_and_none_kept_twice_when_everything_dies_again_and_again(open_shop: EntryShop) -> None:
    shop = open_shop
    chance = dice(SEED)
    before = shop.orders()
    with telling(shop, "a", "b", "c") as tellers:
        for number in range(KILLS):
            kind = KINDS[number % len(KINDS)]
            eventually(lambda kind=kind: bool(victims(shop, kind)), f"a {kind} to kill", 60, shop.describe)
            chance.choice(victims(shop, kind)).kill()
            time.sleep(chance.uniform(0.2, 1.5))
    promised = sum(each.promised for each in tellers)
    print(f"{promised} orders promised in {sum(each.tries for each in tellers)} tries, {KILLS} kills")
    assert promised >= KILLS
    shop.orders_become(before + promised)
    shop.condition_becomes("EdgeReady", "True")
    shop.condition_becomes("AnalyticsReady", "True")


def test_the_store_is_away_and_the_shop_serves_and_promises_on(open_shop: EntryShop) -> None:
    shop = open_shop
    before = shop.orders()
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
    shop.orders_become(before + tellers[0].promised)


def test_orders_broken_by_hand_are_put_right_and_nobody_notices(open_shop: EntryShop) -> None:
    shop = open_shop
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


def test_edge_pods_go_one_after_the_other_without_a_failed_request(open_shop: EntryShop) -> None:
    shop = open_shop

    def pods() -> set[str]:
        found = json.loads(
            shop.cluster.kubectl(
                "get", "pods", "-n", shop.namespace, "-l", "app.kubernetes.io/component=edge", "-o", "json"
            )
        )["items"]
        return {each["metadata"]["name"] for each in found if "deletionTimestamp" not in each["metadata"]}

    before = pods()
    orders = shop.orders()
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
    shop.orders_become(orders + tellers[0].promised)
