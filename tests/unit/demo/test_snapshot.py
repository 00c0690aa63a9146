"""Reading one moment of a campaign, and telling what changed."""

from datetime import UTC, datetime
from typing import Any

from rehearsal.snapshot import Autoscaler, Snapshot, changes, snapshot

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


def deployment(service: str, wanted: int, ready: int) -> dict[str, Any]:
    status = {"readyReplicas": ready} if ready else {}
    labels = {"flywheel.dev/service": service}
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
