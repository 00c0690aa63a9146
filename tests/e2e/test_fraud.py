"""Bonus hunters through a real edge: judged, refused, remembered, and let in again."""

import json
from collections.abc import Iterator
from typing import Any

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
