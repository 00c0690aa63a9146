"""Reading one moment of a campaign, and telling what changed."""

from datetime import UTC, datetime
from typing import Any

from rehearsal.releases import releases
from rehearsal.snapshot import Autoscaler, KeyFigures, Load, Snapshot, changes, key_figures, snapshot

EARLIER, LATER = "2026-11-23T14:08:00Z", "2026-11-23T14:09:00Z"
CAMPAIGN: dict[str, Any] = {
    "spec": {"services": [{"name": "landing"}, {"name": "seckill"}]},
    "status": {
        "stage": "Live",
        "nextTransition": {"stage": "Draining", "at": "2026-11-23T14:10:00Z"},
        "transitions": [
            {"stage": "Warm", "at": "2026-11-23T14:08:00Z"},
            {"stage": "Live", "at": "2026-11-23T14:09:00Z"},
        ],
        "conditions": [{"type": "Ready", "status": "True", "reason": "Running", "message": "all is well"}],
    },
}


def deployment(service: str, wanted: int, ready: int, slot: str = "") -> dict[str, Any]:
    status = {"readyReplicas": ready} if ready else {}
    labels = {"flywheel.dev/service": service} | ({"flywheel.dev/slot": slot} if slot else {})
    return {"metadata": {"name": f"sale-{service}", "labels": labels}, "spec": {"replicas": wanted}, "status": status}


def autoscaler(service: str, cpu: int | None, floor: int = 1) -> dict[str, Any]:
    def metric(side: str, use: int) -> dict[str, Any]:
        return {"type": "Resource", "resource": {"name": "cpu", side: {"averageUtilization": use}}}

    return {
        "metadata": {"name": f"sale-{service}"},
        "spec": {"minReplicas": floor, "maxReplicas": 5, "metrics": [metric("target", 60)]},
        "status": {"currentMetrics": [] if cpu is None else [metric("current", cpu)]},
    }


def event(uid: str, reason: str, note: str, at: str, kind: str = "Campaign") -> dict[str, Any]:
    return {
        "metadata": {"uid": uid}, "eventTime": at, "reason": reason, "note": note,
        "regarding": {"kind": kind, "name": "sale"},
    }  # fmt: skip


def test_a_moment_is_read_in_the_order_of_the_campaign() -> None:
    shown = snapshot(
        CAMPAIGN,
        [deployment("seckill", 3, 2), deployment("landing", 1, 0)],
        [autoscaler("seckill", 140, floor=3)],
        [
            event("b", "Live", "Warm -> Live", "2026-11-23T14:09:00Z"),
            event("a", "Warm", "warm", "2026-11-23T14:08:00Z"),
        ],
    )
    assert (shown.stage, shown.next_stage, shown.next_at) == (
        "Live",
        "Draining",
        datetime(2026, 11, 23, 14, 10, tzinfo=UTC),
    )
    assert [(each.name, each.wanted, each.ready) for each in shown.services] == [("landing", 1, 0), ("seckill", 3, 2)]
    assert shown.service("seckill").autoscaler == Autoscaler(floor=3, ceiling=5, target=60, cpu=140)
    assert [each.uid for each in shown.events] == ["a", "b"]
    assert shown.transitions == ("Warm", "Live")


def test_of_two_slots_that_which_serves_has_the_services_name() -> None:
    release = {"service": "landing", "phase": "Verifying", "active": {"slot": "green", "revision": "0a1b"}}
    status = {**CAMPAIGN["status"], "releases": [release]}
    found = [deployment("seckill", 1, 1), deployment("landing", 1, 0, "blue"), deployment("landing", 2, 2, "green")]
    shown = snapshot({**CAMPAIGN, "status": status}, found, [], [])
    assert [(each.name, each.ready) for each in shown.services] == [("landing", 2), ("landing blue", 0), ("seckill", 1)]
    untold = snapshot(CAMPAIGN, [deployment("landing", 1, 1, "blue")], [], [])
    assert untold.service("landing").ready == 1, "before anything is told of slots there is one"


def test_releases_are_read_from_the_status() -> None:
    gates = [{"name": "smoke", "verdict": "Passed"}, {"name": "rules", "verdict": "Failed", "message": "is 30000"}]
    active = {"slot": "blue", "revision": "0a1b"}
    told = {"service": "coupon", "phase": "Failed", "number": 2, "active": active, "gates": gates}
    release = releases({"releases": [told]})["coupon"]
    assert (release.active, release.slot, release.number) == ("0a1b", "blue", 2)
    assert (release.stopper.name, release.stopper.message, release.passed) == ("rules", "is 30000", False)
    passed = releases({"releases": [{**told, "phase": "Stable", "gates": gates[:1]}]})["coupon"]
    assert passed.passed
    assert releases({}) == {}


def test_a_campaign_that_nobody_has_looked_at_yet_is_empty() -> None:
    assert snapshot({"spec": CAMPAIGN["spec"]}, [], [], []) == Snapshot()


def test_changes_are_told_once() -> None:
    before = snapshot(CAMPAIGN, [deployment("seckill", 3, 3)], [autoscaler("seckill", 20)], [])
    after = snapshot(
        CAMPAIGN,
        [deployment("seckill", 5, 3), deployment("landing", 1, 1)],
        [autoscaler("seckill", 140)],
        [event("a", "SuccessfulRescale", "New size: 5", "2026-11-23T14:09:30Z", "HorizontalPodAutoscaler")],
    )
    assert set(changes(before, after)) == {
        "cpu       seckill: 140% of its request, target 60%",
        "replicas  seckill: 3 of 5 ready",
        "replicas  landing: 1 of 1 ready",
        "event     SuccessfulRescale: HorizontalPodAutoscaler sale: New size: 5",
    }
    assert changes(after, after) == []


def test_the_first_look_and_the_end_are_changes_too() -> None:
    shown = snapshot(CAMPAIGN, [deployment("seckill", 3, 3)], [], [])
    assert list(changes(Snapshot(), shown)) == [
        "stage     (none) -> Live",
        "replicas  seckill: 3 of 3 ready",
        "condition Ready=True Running: all is well",
    ]
    assert list(changes(shown, Snapshot())) == ["stage     Live -> (gone)", "replicas  seckill: 0 of 0 ready"]


def test_small_moves_of_the_cpu_are_no_news_but_a_raised_floor_is() -> None:
    def at(cpu: int | None, floor: int) -> Snapshot:
        return snapshot(CAMPAIGN, [deployment("seckill", 3, 3)], [autoscaler("seckill", cpu, floor)], [])

    assert changes(at(20, 1), at(30, 1)) == []
    assert changes(at(None, 1), at(20, 1)) == ["cpu       seckill: 20% of its request, target 60%"]
    assert changes(at(20, 1), at(20, 3)) == ["floor     seckill: 1 -> 3"]


KPIS: dict[str, Any] = {
    "currency": "CNY",
    "goal": {"event": "Order Completed", "count": 60, "reached": 31, "progress": "51.6%"},
    "windows": [
        {
            "window": "campaign", "pageViews": 412, "visitors": 120, "orders": 31, "revenue": "8123",
            "conversion": "22.1%", "errorRate": "0%", "latencyP95": "35ms",
        },
        {"window": "1m", "pageViews": 12, "visitors": 7, "orders": 0, "revenue": "0.00"},
    ],
}  # fmt: skip


def test_key_figures_are_those_of_the_whole_campaign() -> None:
    assert key_figures(KPIS) == KeyFigures(
        412, 120, 31, "8123", "CNY", conversion="22.1%", latency="35ms", error_rate="0%",
        goal=60, reached=31, progress="51.6%",
    )  # fmt: skip
    assert key_figures(None) is None
    assert key_figures({"currency": "CNY", "windows": []}) is None
    assert key_figures({"currency": "CNY", "windows": [{"window": "campaign", "orders": 0}]}) is None


def test_new_key_figures_are_told_once() -> None:
    without = snapshot(CAMPAIGN, [], [], [])
    told = snapshot({**CAMPAIGN, "status": {**CAMPAIGN["status"], "kpis": KPIS}}, [], [], [])
    assert changes(without, told) == [
        "kpis      PV 412, UV 120, 31 orders, 8123 CNY, conversion 22.1%, errors 0%, p95 35ms; goal 51.6%"
    ]
    assert changes(told, told) == []


def external(name: str, side: str, value: str) -> dict[str, Any]:
    return {"type": "External", "external": {"metric": {"name": name}, side: {"averageValue": value}}}


def grown(orders: str | None) -> dict[str, Any]:
    made = autoscaler("seckill", 20)
    names = ("flywheel-events-per-second", "flywheel-requests-per-second")
    made["spec"]["metrics"] += [
        external(name, "target", value) for name, value in zip(names, ("300m", "2"), strict=True)
    ]
    # What is not known yet has an entry without a type.
    made["status"]["currentMetrics"] += [{"type": ""}] if orders is None else [external(names[0], "current", orders)]
    return made


def test_loads_are_read_as_the_autoscaler_has_them() -> None:
    def loads(orders: str | None) -> tuple[Load, ...]:
        scaler = snapshot(CAMPAIGN, [deployment("seckill", 3, 3)], [grown(orders)], []).service("seckill").autoscaler
        assert scaler
        return scaler.loads

    assert loads(None) == (Load("orders/s", 0.3), Load("requests/s", 2.0))
    assert loads("457m") == (Load("orders/s", 0.3, 0.457), Load("requests/s", 2.0))
    assert [each.is_high for each in loads("457m")] == [True, False]
    assert not loads("330m")[0].is_high, "the autoscaler lets a tenth pass"


def test_a_load_is_news_when_it_crosses_its_target() -> None:
    def at(orders: str | None) -> Snapshot:
        return snapshot(CAMPAIGN, [deployment("seckill", 3, 3)], [grown(orders)], [])

    assert changes(at("100m"), at("200m")) == []
    assert changes(at(None), at("600m")) == ["load      seckill: 0.6 orders/s for each replica, target 0.3"]
    assert changes(at("600m"), at("100m")) == ["load      seckill: 0.1 orders/s for each replica, target 0.3"]


def test_what_the_autoscaler_says_is_told_without_gos_words() -> None:
    reason = "external metric flywheel-events-per-second(&LabelSelector{MatchLabels:map[string]string{campaign: sale,"
    reason += "event: Order__Completed,},MatchExpressions:[]LabelSelectorRequirement{},}) above target"
    happened = event("a", "SuccessfulRescale", f"New size: 5; reason: {reason}", LATER, "HorizontalPodAutoscaler")
    (told,) = snapshot(CAMPAIGN, [], [], [happened]).events
    assert told.message.endswith("flywheel-events-per-second{campaign: sale,event: Order__Completed} above target")
