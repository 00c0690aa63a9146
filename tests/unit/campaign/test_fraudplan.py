"""What becomes of a namespace's fraud worker, and what is told about its rules."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from flywheel.api.campaign import Campaign
from flywheel.api.fraudrule import FraudRule
from flywheel.api.load import load_campaign, load_fraudrule
from flywheel.campaign.fraudplan import FraudPlan, Held, is_judged, plan_fraud
from flywheel.campaign.fraudtold import Seen, WorkerState, read_state, status_of
from flywheel.fraud.rulings import RuleFigures
from flywheel.fraud.words import Verdict
from flywheel.plan import LiveObject, Manifest, ObjectKey

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
SHOP = "yougou-618"


def campaign(name: str = SHOP, *, edge: bool = True, **metadata: Any) -> Campaign:
    service = {"name": "web", "image": "shop/web:1", "port": 8080, "replicas": 3}
    routes = {"routes": [{"path": "/", "service": "web"}], "events": {"declared": [{"name": "Coupon Claimed"}]}}
    spec = {"services": [service], **({"edge": routes} if edge else {})}
    return load_campaign(
        {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": name, "namespace": "shop", "uid": f"uid-of-{name}", "generation": 1, **metadata},
            "spec": spec,
        }
    )


def manifest(name: str = "burst", generation: int = 1, **spec: Any) -> Manifest:
    asked: dict[str, Any] = {
        "campaign": SHOP,
        "match": {"event": "Coupon Claimed"},
        "key": ["address"],
        "window": "60s",
        "condition": {"count": {"moreThan": 20}},
        "action": {"block": {"for": "30m"}},
        **spec,
    }
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "FraudRule",
        "metadata": {"name": name, "namespace": "shop", "generation": generation},
        "spec": {field: value for field, value in asked.items() if value is not None},
    }


def rule(name: str = "burst", generation: int = 1, **spec: Any) -> FraudRule:
    return load_fraudrule(manifest(name, generation, **spec))


def planned(
    *rules: FraudRule,
    campaigns: tuple[Campaign, ...] | None = None,
    held: Held | None = None,
    opened: frozenset[str] | None = None,
    **more: Any,
) -> FraudPlan:
    shops = campaigns if campaigns is not None else (campaign(),)
    names = {each.name for each in shops} if opened is None else opened
    live = more.pop("live", {})
    return plan_fraud("shop", rules, shops, names, live, "image", held or {}, NOW, **more)


def document(plan: FraudPlan) -> dict[str, Any]:
    """What the worker reads."""
    [found] = [each for each in plan.apply if each["kind"] == "ConfigMap"]
    read: dict[str, Any] = json.loads(found["data"]["rules.json"])
    return {name: [each["rule"]["name"] for each in told["rules"]] for name, told in read.items()}


def test_a_rule_makes_a_worker_that_is_its_campaigns() -> None:
    plan = planned(rule())
    kinds = [each["kind"] for each in plan.apply]
    assert kinds[-1] == "StatefulSet"
    assert {"ServiceAccount", "ConfigMap", "NetworkPolicy", "Service", "PodDisruptionBudget"} <= set(kinds)
    assert [each["uid"] for each in plan.references] == [f"uid-of-{SHOP}"]
    assert document(plan) == {SHOP: ["burst"]}


def test_the_same_world_gives_the_same_plan() -> None:
    assert planned(rule("b"), rule("a")) == planned(rule("b"), rule("a"))
    assert document(planned(rule("b"), rule("a"))) == {SHOP: ["a", "b"]}


def test_without_rules_the_worker_goes_the_last_made_first() -> None:
    keys = [
        ObjectKey("", "Service", "shop", "flywheel-fraud"),
        ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud"),
    ]
    live = {key: made_for(key, f"uid-of-{SHOP}") for key in keys}
    plan = plan_fraud("shop", (), (campaign(),), {SHOP}, live, "image", {}, NOW)
    assert [each.key.kind for each in plan.delete] == ["StatefulSet", "Service"]
    assert plan.apply == ()


def made_for(key: ObjectKey, *campaigns: str) -> LiveObject:
    return LiveObject(key, f"uid-{key.kind}", 1, 1, "", "", "", "", False, sharers=campaigns)


def test_a_worker_that_was_left_behind_on_purpose_stays() -> None:
    """With --cascade=orphan its owners are gone, and its edge still sends."""
    key = ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud")
    for owners in ((), ("uid-of-one-that-is-gone",)):
        plan = plan_fraud("shop", (), (campaign(),), {SHOP}, {key: made_for(key, *owners)}, "image", {}, NOW)
        assert (plan.delete, plan.apply) == ((), ())


def test_for_a_campaign_that_goes_no_worker_is_made() -> None:
    going = campaign(deletionTimestamp="2027-06-16T11:59:00Z")
    assert planned(rule(), campaigns=(going,)).apply == ()


def test_before_and_after_the_campaign_nobody_judges_and_the_rule_says_so() -> None:
    plan = planned(rule(), opened=frozenset())
    assert plan.apply == ()
    [judged] = plan.judged
    ready = condition(status_of(judged, {}, Seen({}), NOW), "Ready")
    assert (ready["status"], ready["reason"]) == ("True", "Waiting")


def test_a_selector_means_every_campaign_with_its_labels() -> None:
    shops = (campaign("a", labels={"season": "sale"}), campaign("b", labels={"season": "sale"}), campaign("c"))
    plan = planned(rule(campaign=None, selector={"matchLabels": {"season": "sale"}}), campaigns=shops)
    assert document(plan) == {"a": ["burst"], "b": ["burst"]}


def test_a_rule_that_makes_no_sense_any_more_holds_on_as_it_was() -> None:
    [good] = planned(rule()).judged
    assert good.ruled is not None
    broken = rule(generation=2, match={"event": "Coupon Claimd"})
    plan = planned(broken, held={SHOP: (good.ruled,)})
    assert document(plan) == {SHOP: ["burst"]}
    [judged] = plan.judged
    told = status_of(judged, {}, Seen({}), NOW)
    [stalled] = [each for each in told["conditions"] if each["type"] == "Stalled"]
    assert (stalled["status"], stalled["reason"]) == ("True", "Invalid")
    assert "Coupon Claimd" in stalled["message"]
    assert planned(broken).apply == (), "and of one that never made sense there is nothing"


def test_events_go_to_the_worker_where_a_rule_is_about_them() -> None:
    shop = {"metadata": {"name": SHOP, "labels": {"season": "sale"}}}
    assert is_judged(shop, [manifest()])
    assert is_judged(shop, [manifest(campaign=None, selector={"matchLabels": {"season": "sale"}})])
    assert not is_judged(shop, [manifest(campaign="other")])
    assert not is_judged(shop, [manifest(campaign=None, selector={"matchLabels": {"season": "autumn"}})])
    assert not is_judged(shop, [manifest(mode="Off")])
    assert not is_judged(shop, [])


def figures(generation: int = 1, **more: Any) -> RuleFigures:
    given = {"evaluated": 30, "hits": 3, "acted": 1, "would": 2, "keys": 7, "warm": True, **more}
    return RuleFigures(rule="burst", version="abc", generation=generation, mode="Enforce", **given)


def seen(*told: RuleFigures, problem: str = "") -> Seen:
    states = tuple(WorkerState(f"flywheel-fraud-{n}", {"burst": each}, problem) for n, each in enumerate(told))
    return Seen({SHOP: states})


def condition(status: Manifest, type_: str) -> Manifest:
    found: Manifest = next(each for each in status["conditions"] if each["type"] == type_)
    return found


def test_the_figures_of_all_workers_are_added_up() -> None:
    [judged] = planned(rule()).judged
    status = status_of(judged, {}, seen(figures(), figures(hits=1)), NOW)
    assert (status["hits"], status["blocked"], status["wouldBlock"], status["evaluated"]) == (4, 2, 4, 60)
    assert condition(status, "Ready")["status"] == "True"
    assert [each["name"] for each in status["workers"]] == ["flywheel-fraud-0", "flywheel-fraud-1"]
    assert status["loadedGeneration"] == 1


def test_the_figures_say_when_they_were_made_and_stand_still_while_nothing_happens() -> None:
    [judged] = planned(rule()).judged
    later = NOW + timedelta(minutes=1)
    first = status_of(judged, {}, seen(figures()), NOW)
    assert first["updatedAt"] == "2027-06-16T12:00:00Z"
    assert status_of(judged, first, seen(figures()), later) == first
    assert status_of(judged, first, seen(figures(hits=9)), later)["updatedAt"] == "2027-06-16T12:01:00Z"


def test_what_the_workers_say_of_the_whole_campaign_is_told_with_each_rule() -> None:
    body = {
        "campaigns": {
            SHOP: {
                "active": {"burst": 3, "other": 5},
                "lost": 7,
                "latency": 0.0131,
                "rules": [msgspec.to_builtins(figures(duplicates=2))],
            }
        }
    }
    states = read_state("flywheel-fraud-0", msgspec.json.encode(body))
    [judged] = planned(rule()).judged
    status = status_of(judged, {}, Seen({SHOP: (states[SHOP],)}), NOW)
    told = {name: status[name] for name in ("active", "dropped", "latencyP99", "duplicates")}
    assert told == {"active": 3, "dropped": 7, "latencyP99": "20ms", "duplicates": 2}


def test_until_all_workers_have_the_latest_spec_it_is_loading() -> None:
    [judged] = planned(rule(generation=2)).judged
    status = status_of(judged, {}, seen(figures(2), figures(1)), NOW)
    assert condition(status, "Ready")["status"] == "Unknown"
    assert condition(status, "Reconciling")["status"] == "True"
    assert status["loadedGeneration"] == 1


def test_what_the_worker_cannot_take_is_told() -> None:
    [judged] = planned(rule(generation=2)).judged
    status = status_of(judged, {}, seen(figures(1), problem="burst: too much"), NOW)
    assert condition(status, "Stalled")["message"] == "burst: too much"


def test_figures_stay_while_the_worker_is_away() -> None:
    [judged] = planned(rule()).judged
    before = status_of(judged, {}, seen(figures()), NOW)
    status = status_of(judged, before, Seen({}, "the fraud worker is starting"), NOW)
    assert status["hits"] == before["hits"]
    assert "loadedGeneration" not in status
    assert condition(status, "Ready")["message"] == "the fraud worker is starting"


def test_a_status_shows_no_whole_address() -> None:
    verdict = Verdict(
        rule="burst", version="abc", event="m1", at=1_813_104_000_000, key=("203.0.113.7", "u1"), observed=21, limit=20,
        since=1_813_103_940_000, saturated=True,
    )  # fmt: skip
    [judged] = planned(rule()).judged
    [sample] = status_of(judged, {}, seen(figures(latest=(verdict,), outcomes=("Blocked",))), NOW)["samples"]
    assert sample["outcome"] == "Blocked"
    [of_older] = status_of(judged, {}, seen(figures(latest=(verdict,))), NOW)["samples"]
    assert "outcome" not in of_older
    assert sample["key"] == ["203.0.113.0/24", "u1"]
    assert (sample["observed"], sample["limit"]) == ("21 or more", "20")


def test_while_one_of_several_workers_is_away_no_sum_is_made_without_it() -> None:
    [judged] = planned(rule()).judged
    before = status_of(judged, {}, seen(figures(), figures()), NOW)
    half = Seen(seen(figures(hits=9)).workers, missing={"flywheel-fraud-1": "it is starting"})
    status = status_of(judged, before, half, NOW)
    assert (status["hits"], status["evaluated"]) == (6, 60), "what both said last"
    assert (condition(status, "Ready")["status"], condition(status, "Ready")["reason"]) == ("Unknown", "WorkerMissing")
    assert "flywheel-fraud-1: it is starting" in condition(status, "Ready")["message"]
    assert [(each["name"], each["generation"], each.get("message")) for each in status["workers"]] == [
        ("flywheel-fraud-0", 1, None),
        ("flywheel-fraud-1", 1, "it is starting"),
    ]
    assert status_of(judged, status, half, NOW) == status
    again = status_of(judged, status, seen(figures(hits=9), figures()), NOW)
    assert (again["hits"], condition(again, "Ready")["status"]) == (12, "True")
    assert "message" not in again["workers"][1]
    unknown = status_of(judged, {}, half, NOW)["workers"][1]
    assert unknown == {"name": "flywheel-fraud-1", "message": "it is starting"}


def test_what_each_worker_counts_of_every_event_is_not_added_up() -> None:
    [judged] = planned(rule()).judged
    states = tuple(
        WorkerState(f"flywheel-fraud-{n}", {"burst": figures(duplicates=4 + n)}, lost=7 - n, latency=0.003 + 0.01 * n)
        for n in range(2)
    )
    status = status_of(judged, {}, Seen({SHOP: states}), NOW)
    assert (status["duplicates"], status["dropped"], status["latencyP99"]) == (5, 7, "20ms")


def test_what_a_worker_says_is_read() -> None:
    said = {"ready": True, "campaigns": {SHOP: {"decisions": 2, "rules": [msgspec.to_builtins(figures())]}}}
    state = read_state("flywheel-fraud-0", json.dumps(said).encode())[SHOP]
    assert state.figures["burst"].hits == 3
    assert state.decisions == 2


def test_a_sample_of_a_list_names_it_and_before_the_worker_was_asked_lists_are_unknown() -> None:
    asked = rule(lists={"deny": [{"configMap": "fraud", "key": "proxies.txt"}]})
    verdict = Verdict(
        rule="burst", version="v", event="m-1", at=1, key=("192.0.2.7",), observed=1, limit=0, since=0,
        detail="configmap/fraud/proxies.txt", listed="Deny",
    )  # fmt: skip
    figures = RuleFigures(rule="burst", version="v", generation=1, mode="Shadow", warm=True, latest=(verdict,))
    seen = Seen({SHOP: (WorkerState("flywheel-fraud-0", {"burst": figures}),)})
    [judged] = planned(asked).judged
    told = status_of(judged, {}, seen, NOW)
    assert [each["observed"] for each in told["samples"]] == ["Deny list configmap/fraud/proxies.txt"]
    assert (condition(told, "Lists")["status"], condition(told, "Lists")["reason"]) == ("Unknown", "NotSeen")


def test_the_lists_of_all_rules_are_wanted_and_those_of_one_that_makes_no_sense_any_more_as_well() -> None:
    offices, proxies = {"configMap": "fraud", "key": "offices.txt"}, {"secret": "fraud", "key": "proxies"}
    one, two = rule("one", lists={"allow": [offices], "watch": [proxies]}), rule("two", lists={"deny": [proxies]})
    found = {of.source: denies for of, denies in planned(one, two).lists.items()}
    assert found == {"configmap/fraud/offices.txt": False, "secret/fraud/proxies": True}
    [judged] = planned(one).judged
    broken = rule("one", match={"event": "Coupon Claimd"})
    assert [of.source for of in planned(broken, held={SHOP: (judged.ruled,)}).lists] == list(found)
    assert planned(rule(), two, opened=frozenset()).lists == {}
