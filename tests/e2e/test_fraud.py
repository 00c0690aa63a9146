"""Bonus hunters through a real edge: judged, refused, remembered, and let in again."""

import contextlib
import json
import threading
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.e2e.entry import MINUTES, NAME
from tests.e2e.judged import RULE, WORKER, JudgedShop, claims
from tests.e2e.steps import Manifest, eventually
from tests.lab.cluster.client import Cluster

LIMIT = 5


def rule(**spec: Any) -> Manifest:
    """More than five claims of one visitor in ten minutes: the catalogue is closed to them."""
    asked = {
        "campaign": NAME,
        "match": {"event": "Coupon Claimed"},
        "key": ["visitor"],
        "window": "10m",
        "condition": {"count": {"moreThan": LIMIT}},
        "action": {"block": {"for": "30m", "scope": ["/browse"]}},
        "mode": "Enforce",
        "holdout": "0%",
        "state": {"maximumKeys": 10_000},
        **spec,
    }
    return {"apiVersion": "flywheel.dev/v1alpha1", "kind": "FraudRule", "metadata": {"name": RULE}, "spec": asked}


@pytest.fixture
def judged(installed: Cluster, restricted: str) -> Iterator[JudgedShop]:
    shop = JudgedShop(installed, restricted)
    events = {"declared": [{"name": "Order Completed"}, {"name": "Coupon Claimed"}]}
    shop.becomes_ready(shop.apply(shop.campaign(events=events)))
    with shop.entered():
        yield shop


def test_a_hunter_is_refused_where_it_hurts_and_nobody_else(judged: JudgedShop) -> None:
    shop = judged
    # Given a rule that is judged by, and only looks
    shop.write(rule(mode="Shadow"))
    with shop.visitor() as hunter, shop.visitor() as honest:
        # When somebody claims more often than people do
        claims(hunter, LIMIT + 2)
        claims(honest, 2)
        # Then it is counted, explained, and nobody is stopped
        eventually(lambda: shop.told().get("wouldBlock", 0) >= 2, "hits are told", MINUTES, shop.describe_rule)
        assert shop.told()["blocked"] == 0
        [sample, *_] = shop.told()["samples"]
        assert (sample["observed"], sample["limit"]) == (str(LIMIT + 1), str(LIMIT))
        assert hunter.get("/browse").status_code == 200

        # When the rule is enforced, which moves no window, and the hunter goes on
        shop.write(rule())
        claims(hunter, 1)
        # Then the catalogue is closed to the hunter, the front page is not, and the other one sees no difference
        eventually(lambda: hunter.get("/browse").status_code == 403, "the hunter is out", MINUTES, shop.describe_rule)
        assert hunter.get("/").status_code == 200
        assert honest.get("/browse").status_code == 200

        # When the worker is killed
        shop.cluster.kubectl("delete", "pod", WORKER, "-n", shop.namespace, "--grace-period=0", "--force")
        # Then the edge keeps what was decided, and the worker goes on where it was
        assert hunter.get("/browse").status_code == 403
        eventually(shop.is_loaded, "the worker is back", 2 * MINUTES, shop.describe_rule)
        eventually(lambda: shop.told().get("blocked", 0) >= 1, "it remembers", MINUTES, shop.describe_rule)
        assert hunter.get("/browse").status_code == 403
        assert honest.get("/browse").status_code == 200

        # When a person lets the hunter go, then the hunter is served, until the rule is broken again
        known = hunter.cookies["fw_vid"]
        assert RULE in shop.fraud("explain", known)
        shop.fraud("unblock", known, "--of", "visitor")
        eventually(lambda: hunter.get("/browse").status_code == 200, "the hunter is free", MINUTES, shop.describe_rule)
        claims(hunter, 1)
        eventually(lambda: hunter.get("/browse").status_code == 403, "and caught again", MINUTES, shop.describe_rule)

        # When a list of friends has the hunter, then the block ends, and none follows
        shop.friends(known)
        shop.write(rule(lists={"allow": [{"configMap": "friends", "key": "visitors", "of": "Visitor"}]}))
        eventually(lambda: hunter.get("/browse").status_code == 200, "a friend", MINUTES, shop.describe_rule)
        claims(hunter, 2)
        assert hunter.get("/browse").status_code == 200
        # And when the list has somebody else, the hunter is none any more
        shop.friends("somebody-else")

        def is_caught() -> bool:
            claims(hunter, 1)
            return hunter.get("/browse").status_code == 403

        eventually(is_caught, "the list is taken up", MINUTES, shop.describe_rule)

        # When the rule is taken back, then everybody is welcome, and nothing of it is left
        shop.cluster.kubectl("delete", "fraudrule", RULE, "-n", shop.namespace)
        eventually(lambda: hunter.get("/browse").status_code == 200, "the block ends", MINUTES, shop.describe)

        def gone() -> bool:
            return not shop.cluster.kubectl(
                "get", "statefulset,pvc", "-l", "flywheel.dev/shared=fraud", "-n", shop.namespace, "-o", "name"
            ).strip()

        eventually(gone, "the worker is removed", MINUTES, shop.describe)


class Refused(threading.Thread):
    """Hunters who try again and again, and note each answer but a refusal."""

    def __init__(self, hunters: list[httpx.Client]) -> None:
        super().__init__(daemon=True)
        self.hunters, self.asked = hunters, 0
        self.others: list[str] = []
        self.ended = threading.Event()

    def run(self) -> None:
        while not self.ended.wait(0.1):
            for number, hunter in enumerate(self.hunters):
                try:
                    status = str(hunter.get("/browse").status_code)
                except httpx.HTTPError as error:
                    status = repr(error)
                self.asked += 1
                if status != "403":
                    self.others.append(f"hunter {number}, request {self.asked}: {status}")


@contextlib.contextmanager
def refused_all_the_time(hunters: list[httpx.Client]) -> Iterator[None]:
    """Fail where one of the hunters is let in meanwhile."""
    watch = Refused(hunters)
    watch.start()
    try:
        yield
    finally:
        watch.ended.set()
        watch.join(MINUTES)
    assert watch.asked
    assert not watch.others


def test_workers_come_and_go_under_attack_and_no_hunter_gains_by_it(judged: JudgedShop) -> None:
    shop = judged
    with contextlib.ExitStack() as stack:
        caught, at_the_limit, later = ([stack.enter_context(shop.visitor()) for _ in range(5)] for _ in range(3))
        honest = stack.enter_context(shop.visitor())

        def all_refused(hunters: list[httpx.Client]) -> bool:
            return all(each.get("/browse").status_code == 403 for each in hunters)

        # Given one worker, hunters whom it has caught, and others who have claimed as often as they may
        shop.write(rule(window="2h", action={"block": {"for": "2h", "scope": ["/browse"]}}))
        assert shop.has_workers(1)
        claims(honest, 1)
        for hunter in caught:
            claims(hunter, LIMIT + 1)
        for hunter in (*at_the_limit, *later):
            claims(hunter, LIMIT)
        eventually(lambda: all_refused(caught), "the hunters are refused", MINUTES, shop.describe_rule)
        evaluated = 1 + 5 * (LIMIT + 1) + 10 * LIMIT
        eventually(lambda: shop.told().get("evaluated") == evaluated, "all is judged", 2 * MINUTES, shop.describe_rule)

        # When a second worker comes, then nobody who is refused is let in for a moment
        with refused_all_the_time(caught):
            shop.use_workers(2)
            assert honest.get("/browse").status_code == 200
        # And what was counted is still known, by whomever it is judged now
        for hunter in at_the_limit:
            claims(hunter, 1)
        eventually(lambda: all_refused(at_the_limit), "windows have moved", MINUTES, shop.describe_rule)
        assert {each["name"] for each in shop.told()["workers"]} == {WORKER, "flywheel-fraud-1"}
        known = caught[0].cookies["fw_vid"]
        found = at_the_limit[0].cookies["fw_vid"]
        eventually(lambda: RULE in shop.fraud("explain", found), "it is told why", MINUTES, shop.describe_rule)
        assert all(each.cookies["fw_vid"] in shop.fraud("list", "-o", "json") for each in caught)

        # When it goes again, then the one that stays has taken over what it knew
        with refused_all_the_time([*caught, *at_the_limit]):
            shop.use_workers(1)
        for hunter in later:
            claims(hunter, 1)
        eventually(lambda: all_refused(later), "windows have moved back", MINUTES, shop.describe_rule)
        assert honest.get("/browse").status_code == 200
        # And it alone can let go whoever was caught by whomever
        for hunter in (caught[0], at_the_limit[0]):
            shop.fraud("unblock", hunter.cookies["fw_vid"], "--of", "visitor")
            eventually(
                lambda hunter=hunter: hunter.get("/browse").status_code == 200, "let go", MINUTES, shop.describe_rule
            )
        assert known not in shop.fraud("list", "-o", "json")

        def has_no_volume() -> bool:
            return "flywheel-fraud-1" not in shop.cluster.kubectl("get", "pvc", "-n", shop.namespace, "-o", "name")

        eventually(has_no_volume, "its volume is gone", MINUTES, shop.describe_rule)


def test_a_rule_about_nobody_says_so(judged: JudgedShop) -> None:
    shop = judged
    text = json.dumps(rule(match={"event": "Coupon Claimd"}))
    shop.cluster.kubectl("apply", "-f", "-", "-n", shop.namespace, input=text)

    def stalled() -> bool:
        return any(each["type"] == "Stalled" and each["status"] == "True" for each in shop.told().get("conditions", []))

    eventually(stalled, "the rule says what is wrong", MINUTES, shop.describe_rule)
    [said] = [each["message"] for each in shop.told()["conditions"] if each["type"] == "Stalled"]
    assert "Coupon Claimd" in said
    assert "did you mean" in said.lower() or "Coupon Claimed" in said
