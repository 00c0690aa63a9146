"""One release after the other: what happens to the traffic, step by step."""

from datetime import timedelta

import pytest
from tests.unit.release.world import BAD, BLIND, EMPTY, GOOD, NOON, Service, World, http, release

from flywheel.release.facts import SlotFacts
from flywheel.workload.scaling import Size


def test_the_first_revision_serves_without_gates() -> None:
    world = World(Service("shop", release(before=[http("smoke")])))
    world.settle()
    assert (world.phase, world.serving, world.shop.asked) == ("Stable", "one", [])


def test_a_change_is_verified_and_then_takes_the_traffic() -> None:
    world = World.of(before=[http("smoke")], after=[http("errors")])
    world.shop.wanted = "two"
    world.settle()
    assert world.shop.asked == [("two", "before", "smoke", 0), ("two", "after", "errors", 0)]
    assert (world.phase, world.serving) == ("Stable", "two")
    assert world.state.active is not None
    assert world.state.active.slot == "green"


def test_the_old_slot_stays_warm_at_full_size_and_then_goes() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    assert world.shop.slots["blue"] == SlotFacts("one", 3, 3, settled=True)
    world.pass_time(59)
    assert "blue" in world.shop.slots
    world.pass_time(2)
    assert "blue" not in world.shop.slots


def test_a_failed_gate_keeps_the_traffic_where_it_is() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BAD]}
    world.settle()
    assert (world.phase, world.serving, world.state.reason) == ("Failed", "one", "GateFailed")
    assert "smoke" in world.state.message
    assert "500" in world.state.message
    world.pass_time(3600)
    assert world.serving == "one"
    assert "green" not in world.shop.slots
    assert world.shop.served == ["one"]


def test_a_failed_revision_is_tried_again_only_when_a_person_asks() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BAD]}
    world.settle()
    world.shop.answers = {}
    world.pass_time(600)
    assert world.serving == "one"
    world.command("retry", "two/1")
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "two")


def test_failures_are_borne_up_to_the_limit() -> None:
    world = World.of(before=[http("smoke", failureLimit=2, interval="5s")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BAD, BAD]}
    world.settle()
    world.pass_time(5)
    assert world.phase == "Verifying"
    world.shop.answers = {}
    world.pass_time(5)
    assert world.serving == "two"


def test_successes_must_be_in_a_row() -> None:
    world = World.of(before=[http("smoke", failureLimit=1, successes=2, interval="5s")])
    world.shop.wanted = "two"
    world.shop.answers = {"smoke": [EMPTY]}
    world.settle()
    world.shop.answers = {}
    world.pass_time(5)
    assert world.phase == "Verifying"
    world.pass_time(5)
    assert world.serving == "two"


@pytest.mark.parametrize(("meaning", "phase"), [("Fail", "Failed"), ("Pass", "Stable"), ("Wait", "Verifying")])
def test_no_data_means_what_the_gate_says(meaning: str, phase: str) -> None:
    world = World.of(before=[http("smoke", noData=meaning)])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [EMPTY]}
    world.settle()
    assert world.phase == phase


def test_a_gate_that_cannot_look_pauses_and_never_passes() -> None:
    world = World.of(before=[http("smoke", interval="5s")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BLIND]}
    world.settle()
    for _ in range(4):
        world.pass_time(5)
    assert (world.phase, world.state.reason) == ("Paused", "GateInconclusive")
    assert "no such metric" in world.state.message
    world.pass_time(3600)
    assert (world.phase, world.serving) == ("Paused", "one")
    world.shop.answers = {}
    world.command("retry", "shop=two")
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "two")


def test_errors_in_between_do_not_add_up() -> None:
    world = World.of(before=[http("smoke", interval="5s", successes=3)])
    world.shop.wanted = "two"
    for _ in range(3):
        world.shop.answers = {"smoke": [BLIND]}
        world.pass_time(5)
        world.shop.answers = {}
        world.pass_time(5)
    assert world.phase == "Verifying"


def test_a_gate_that_does_not_pass_in_time_has_failed() -> None:
    world = World.of(before=[http("smoke", timeout="30s", noData="Wait", interval="5s")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [EMPTY]}
    world.settle()
    world.pass_time(29)
    assert world.phase == "Verifying"
    world.pass_time(1)
    assert world.phase == "Failed"
    assert "30 s" in world.state.message


def test_a_gate_that_could_never_look_within_its_time_is_inconclusive() -> None:
    world = World.of(before=[http("smoke", timeout="10s", interval="5s")])
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BLIND]}
    world.settle()
    world.pass_time(5)
    world.pass_time(5)
    assert world.phase == "Paused"


def test_a_preview_that_never_starts_fails_at_its_deadline() -> None:
    world = World.of(deadline="90s")
    world.shop.wanted, world.shop.broken = "two", {"two"}
    world.settle()
    world.pass_time(89)
    assert world.phase == "Preparing"
    world.pass_time(1)
    assert (world.phase, world.state.reason, world.serving) == ("Failed", "PreviewNotReady", "one")


def test_a_preview_is_small_until_its_gates_have_passed_and_then_as_large_as_what_serves() -> None:
    world = World(Service("shop", release(preview=1, promotion="Manual"), size=Size(minimum=2, maximum=50)))
    world.settle()
    world.scale(20)
    world.shop.wanted = "two"
    world.settle()
    assert (world.phase, world.shop.slots["green"].desired) == ("AwaitingPromotion", 1)
    world.scale(31)
    world.command("promote", "two")
    world.reconcile()
    assert world.steps["shop"].state.phase == "Promoting"
    world.work()
    assert world.shop.slots["green"].desired == 31
    world.settle()
    assert (world.serving, world.shop.slots["green"].desired, world.shop.slots["blue"].desired) == ("two", 31, 31)


def test_a_preview_can_be_a_share_of_what_serves() -> None:
    world = World(Service("shop", release(preview="15%", promotion="Manual"), size=Size(replicas=10)))
    world.settle()
    world.shop.wanted = "two"
    world.settle()
    assert world.shop.slots["green"].desired == 2


def test_the_way_back_grows_with_what_serves() -> None:
    world = World(Service("shop", release(), size=Size(minimum=2, maximum=50)))
    world.settle()
    world.shop.wanted = "two"
    world.settle()
    world.scale(40)
    world.settle()
    assert world.shop.slots["blue"].desired == 40


def test_a_gate_that_fails_after_the_switch_brings_the_traffic_back() -> None:
    world = World.of(after=[http("errors")])
    world.shop.wanted, world.shop.answers = "two", {"errors": [BAD]}
    world.settle()
    assert (world.phase, world.serving) == ("RolledBack", "one")
    assert world.shop.served == ["one", "two", "one"]
    world.pass_time(3600)
    assert (world.phase, world.serving) == ("RolledBack", "one")


def test_pods_that_crash_after_the_switch_bring_the_traffic_back_though_they_are_not_there() -> None:
    world = World.of(after=[http("errors", successes=10)])
    world.shop.wanted = "two"
    world.settle()
    assert (world.phase, world.serving) == ("Confirming", "two")
    world.shop.broken.add("two")
    world.shop.slots["green"] = SlotFacts("two", 3, 0)
    world.settle()
    assert (world.phase, world.serving, world.state.reason) == ("RolledBack", "one", "PodsLost")


def test_pods_that_crash_while_the_old_slot_is_warm_bring_the_traffic_back() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    world.pass_time(30)
    world.shop.slots["green"] = SlotFacts("two", 3, 1)
    world.reconcile()
    assert world.serving == "one"


def test_one_lost_pod_is_no_reason_to_go_back() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    world.shop.slots["green"] = SlotFacts("two", 3, 2)
    world.reconcile()
    assert world.serving == "two"


def test_an_autoscaler_that_shrinks_the_active_slot_is_no_reason_to_go_back() -> None:
    world = World(Service("shop", release(keepPrevious="10m"), size=Size(minimum=2, maximum=50)))
    world.settle()
    world.scale(20)
    world.shop.wanted = "two"
    world.settle()
    world.scale(4)
    world.settle()
    assert world.serving == "two"


def test_a_third_revision_before_the_switch_takes_the_place_of_the_second() -> None:
    world = World.of(before=[http("smoke", successes=2)])
    world.shop.wanted = "two"
    world.settle()
    assert world.phase == "Verifying"
    world.shop.wanted = "three"
    world.settle()
    world.pass_time(10)
    assert world.serving == "three"
    assert world.shop.served == ["one", "three"]
    assert ("Superseded", "two") in [(each.outcome, each.revision) for each in world.state.history]
    assert [each[0] for each in world.shop.asked].count("three") == 2


def test_a_third_revision_after_the_switch_waits_for_the_verdict_of_the_second() -> None:
    world = World.of(after=[http("errors", successes=3, interval="5s")])
    world.shop.wanted = "two"
    world.settle()
    world.shop.wanted = "three"
    world.settle()
    assert (world.serving, world.state.preview) == ("two", None)
    world.pass_time(5)
    world.pass_time(5)
    world.pass_time(5)
    world.pass_time(5)
    world.pass_time(5)
    assert world.serving == "three"


def test_a_third_revision_follows_a_second_that_was_gone_back_from() -> None:
    world = World.of(after=[http("errors")])
    world.shop.wanted, world.shop.answers = "two", {"errors": [BAD]}
    world.settle()
    world.shop.wanted, world.shop.answers = "three", {}
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "three")


def test_a_spec_that_goes_back_before_the_switch_ends_the_release() -> None:
    world = World.of(before=[http("smoke", successes=2)])
    world.shop.wanted = "two"
    world.settle()
    world.shop.wanted = "one"
    world.settle()
    assert (world.phase, world.serving, list(world.shop.slots)) == ("Stable", "one", ["blue"])


def test_a_spec_that_goes_back_while_the_old_slot_is_warm_needs_no_gates() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.wanted = "two"
    world.settle()
    asked = len(world.shop.asked)
    world.shop.wanted = "one"
    world.settle()
    assert (world.phase, world.serving, len(world.shop.asked)) == ("Stable", "one", asked)


def test_a_spec_that_goes_back_later_goes_through_the_gates() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.wanted = "two"
    world.settle()
    world.pass_time(120)
    world.shop.wanted = "one"
    world.settle()
    assert world.serving == "one"
    assert ("one", "before", "smoke", 0) in world.shop.asked


def test_after_a_way_back_the_same_spec_is_not_released_again() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    world.command("rollback", "shop")
    world.settle()
    assert (world.phase, world.serving) == ("RolledBack", "one")
    world.pass_time(3600)
    assert world.serving == "one"
    world.shop.wanted = "one"
    world.settle()
    assert world.phase == "Stable"
    world.shop.wanted = "two"
    world.settle()
    assert world.serving == "two"


def test_a_command_is_carried_out_once() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    world.command("rollback", "shop/1")
    world.settle()
    world.shop.wanted = "three"
    world.settle()
    assert world.serving == "three"
    world.command("rollback", "shop/2")
    world.settle()
    assert world.serving == "one"


def test_a_command_for_another_service_that_is_added_later_repeats_nothing() -> None:
    world = World.of()
    world.shop.wanted = "two"
    world.settle()
    world.command("rollback", "shop/1")
    world.settle()
    world.shop.wanted = "three"
    world.settle()
    world.command("rollback", "cart/2,shop/1")
    world.settle()
    assert world.serving == "three"


def test_the_way_back_to_what_is_no_longer_warm_starts_its_pods_first() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.wanted = "two"
    world.settle()
    world.pass_time(120)
    world.command("rollback", "shop=one")
    world.settle()
    assert (world.phase, world.serving) == ("RolledBack", "one")
    assert ("one", "before", "smoke", 0) not in world.shop.asked
    world.pass_time(600)
    assert world.serving == "one"


def test_the_way_back_to_nothing_is_refused_in_words() -> None:
    world = World.of()
    world.command("rollback", "shop=unheard-of")
    world.settle()
    assert (world.serving, world.state.reason) == ("one", "NothingToGoBackTo")


def test_a_spec_that_goes_back_while_gates_after_the_switch_are_at_work_is_followed_at_once() -> None:
    world = World.of(after=[http("errors", successes=5)])
    world.shop.wanted = "two"
    world.settle()
    world.shop.wanted = "one"
    world.settle()
    assert (world.phase, world.serving, world.state.held) == ("Stable", "one", "")


def test_a_gate_that_fails_after_a_suspension_starts_what_was_good() -> None:
    world = World.of(after=[http("errors", successes=5)])
    world.shop.wanted = "two"
    world.settle()
    size, world.running, world.shop.size = world.shop.size, False, Size(replicas=0)
    world.settle()
    world.running, world.shop.size = True, size
    world.shop.answers = {"errors": [BAD, GOOD]}
    world.pass_time(10)
    for _ in range(5):
        world.pass_time(10)
    assert (world.phase, world.serving, world.state.held) == ("RolledBack", "one", "two")


def test_an_abort_ends_the_release_and_a_third_revision_follows() -> None:
    world = World.of(before=[http("smoke", successes=5)])
    world.shop.wanted = "two"
    world.settle()
    world.command("abort", "two")
    world.settle()
    assert (world.phase, world.serving) == ("Aborted", "one")
    world.shop.wanted = "three"
    world.settle()
    for _ in range(5):
        world.pass_time(10)
    assert world.serving == "three"


def test_an_abort_after_the_switch_brings_the_traffic_back() -> None:
    world = World.of(after=[http("errors", successes=5)])
    world.shop.wanted = "two"
    world.settle()
    world.command("abort", "two")
    world.settle()
    assert (world.phase, world.serving) == ("Aborted", "one")


def test_manual_promotion_waits_for_the_revision_to_be_named() -> None:
    world = World.of(before=[http("smoke")], promotion="Manual")
    world.shop.wanted = "two"
    world.settle()
    world.pass_time(86_400)
    assert (world.phase, world.serving) == ("AwaitingPromotion", "one")
    world.command("promote", "three")
    world.settle()
    assert world.serving == "one"
    world.command("promote", "two")
    world.settle()
    assert world.serving == "two"


def test_a_promotion_given_early_skips_no_gate() -> None:
    world = World.of(before=[http("smoke")], promotion="Manual")
    world.shop.wanted, world.shop.answers = "two", {"smoke": [BAD]}
    world.command("promote", "two")
    world.settle()
    assert (world.phase, world.serving) == ("Failed", "one")
    world.shop.answers = {}
    world.command("retry", "two/1")
    world.settle()
    assert world.phase == "AwaitingPromotion", "the promotion was for the attempt that failed"


def test_a_manual_gate_waits_for_a_person() -> None:
    world = World.of(before=[{"name": "look", "manual": True}])
    world.shop.wanted = "two"
    world.settle()
    world.pass_time(86_400)
    assert world.phase == "Verifying"
    world.command("promote", "two")
    world.settle()
    assert world.serving == "two"


def test_promotion_waits_for_its_timer() -> None:
    world = World.of(promoteAfter="5m")
    world.shop.wanted = "two"
    world.settle()
    assert world.steps["shop"].wake_at == NOON + timedelta(minutes=5)
    world.pass_time(299)
    assert world.serving == "one"
    world.pass_time(1)
    assert world.serving == "two"


def test_promotion_waits_for_its_window() -> None:
    world = World.of(promotion="Window", windows=[{"opens": "13:00", "closes": "14:00"}])
    world.shop.wanted = "two"
    world.settle()
    assert world.phase == "AwaitingPromotion"
    assert "13:00" in world.state.message
    world.pass_time(3600)
    assert world.serving == "two"


def test_an_edge_pod_that_does_not_follow_keeps_the_old_slot_there() -> None:
    world = World.of(after=[http("errors")])
    world.shop.wanted = "two"
    for _ in range(8):
        world.reconcile()
        if world.serving == "two":
            world.followed = False
        world.work()
    assert (world.phase, world.state.reason) == ("Confirming", "EdgeFollowing")
    assert "edge-1" in world.state.message
    world.pass_time(86_400)
    assert world.shop.slots["blue"].ready == 3
    assert ("two", "after", "errors", 0) not in world.shop.asked
    world.followed = True
    world.settle()
    assert world.phase == "Stable"


def test_a_changed_gate_is_looked_at_anew_and_others_are_not() -> None:
    world = World.of(before=[http("smoke"), http("deep", successes=3)], promotion="Manual")
    world.shop.wanted = "two"
    world.settle()
    world.shop.spec = release(before=[http("smoke"), http("deep", successes=1)], promotion="Manual")
    world.settle()
    assert world.phase == "AwaitingPromotion"
    assert [each[2] for each in world.shop.asked].count("smoke") == 1


def test_a_campaign_that_ends_begins_nothing_and_concludes_what_has_switched() -> None:
    world = World.of(before=[http("smoke", successes=2)])
    world.shop.wanted = "two"
    world.settle()
    world.releasing = False
    world.settle()
    assert (world.phase, world.serving, world.state.preview) == ("Stable", "one", None)


def test_a_suspended_campaign_lets_go_of_the_second_slot_and_takes_it_up_again() -> None:
    world = World.of(before=[http("smoke", successes=2)])
    world.shop.wanted = "two"
    world.settle()
    size, world.running, world.shop.size = world.shop.size, False, Size(replicas=0)
    world.settle()
    assert list(world.shop.slots) == ["blue"]
    world.running, world.shop.size = True, size
    world.settle()
    world.pass_time(10)
    world.pass_time(10)
    assert world.serving == "two"


def test_a_revision_that_cannot_be_told_changes_nothing() -> None:
    world = World.of()
    world.shop.wanted = None
    world.pass_time(600)
    assert (world.phase, world.serving) == ("Stable", "one")


def test_a_service_that_had_no_slots_keeps_its_pods_until_the_first_slot_serves() -> None:
    service = Service("shop", release(), standing_in=SlotFacts("", 5, 5, settled=True), broken={"one"})
    world = World(service)
    world.settle()
    assert (world.phase, world.shop.slots["blue"].desired) == ("Adopting", 5)
    service.broken = set()
    world.settle()
    assert world.phase == "Stable"


def test_good_bad_good() -> None:
    world = World.of(before=[http("smoke")])
    for revision, answer, serving in (("two", [], "two"), ("three", [BAD], "two"), ("four", [], "four")):
        world.shop.wanted, world.shop.answers = revision, {"smoke": answer}
        world.settle()
        assert world.serving == serving


def test_bad_bad() -> None:
    world = World.of(before=[http("smoke")])
    world.shop.answers = {"smoke": [BAD]}
    for revision in ("two", "three"):
        world.shop.wanted = revision
        world.settle()
        assert (world.phase, world.serving, world.state.held) == ("Failed", "one", revision)


def test_the_record_stays_small() -> None:
    world = World.of(before=[http("smoke")])
    for number in range(40):
        world.shop.wanted = f"revision-{number}"
        world.settle()
    assert len(world.state.history) == 20
