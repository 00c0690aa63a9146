"""What people command reaches the operator's rules and is followed to its end, over HTTP."""

import re

import pytest
from tests.unit.release.world import BAD, BLIND, GOOD, http
from tests.unit.release_command.api import Api, keep_record
from tests.unit.release_command.conftest import Called, Opened

MANUAL = {"promotion": "Manual"}
GATED = {"before": [http("smoke")]}


def wants(api: Api, service: str, revision: str) -> None:
    api.world.services[service].wanted = revision
    api.world.settle()


def serving(api: Api, service: str) -> str:
    return api.world.services[service].state.active.revision


def test_the_revision_that_waits_is_promoted_and_followed_until_it_serves(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    found = called("promote", "--wait")
    assert found.exit_code == 0, found.output
    assert re.fullmatch(r"web=two/[0-9a-z]{8}", api.written[0])
    assert serving(api, "web") == "two"
    assert "web: two serves." in found.output


def test_a_status_from_before_the_command_ends_nothing(opened: Opened, called: Called) -> None:
    api = opened(web=GATED)
    api.world.services["web"].answers["smoke"] = [BAD, GOOD]
    wants(api, "web", "two")
    assert api.world.services["web"].state.phase == "Failed"
    api.lag = 6
    found = called("retry", "--wait")
    assert found.exit_code == 0, found.output
    assert serving(api, "web") == "two"
    assert found.output.index("web: Failed") < found.output.index("web: two serves.")


def test_a_release_that_fails_ends_the_waiting_with_its_reason(opened: Opened, called: Called) -> None:
    api = opened(web={**MANUAL, "after": [http("errors")]})
    api.world.services["web"].answers["errors"] = [BAD]
    wants(api, "web", "two")
    found = called("promote", "--wait")
    assert found.exit_code == 1
    assert "web: two: RolledBack: gate errors: answered 500" in found.output
    assert serving(api, "web") == "one"


def test_a_gate_that_cannot_look_ends_the_waiting_with_the_way_on(opened: Opened, called: Called) -> None:
    api = opened(web={**MANUAL, "after": [http("errors")]})
    wants(api, "web", "two")
    api.world.services["web"].answers["errors"] = [BLIND]
    found = called("promote", "--wait", "--timeout", "0s")
    assert found.exit_code == 1
    assert "Not at its end after 0 s: web." in found.output
    for _ in range(6):
        api.world.pass_time(11)
    assert api.world.services["web"].state.phase == "Paused"
    api.world.services["web"].answers["errors"] = [GOOD]
    assert "flywheel release retry shop web -n spring" in called("status").output
    found = called("retry", "--wait")
    assert found.exit_code == 0, found.output


def test_a_promotion_ahead_of_the_gates_counts_when_they_have_passed(opened: Opened, called: Called) -> None:
    api = opened(web={**MANUAL, **GATED})
    api.world.services["web"].broken.add("two")
    wants(api, "web", "two")
    found = called("promote", "web")
    assert found.exit_code == 0, found.output
    assert "as soon as its gates have passed" in found.output
    api.world.services["web"].broken.clear()
    api.world.settle()
    assert serving(api, "web") == "two"


def test_what_was_applied_just_before_is_promoted(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    api.metadata["generation"], api.status["observedGeneration"] = 2, 1
    answer = api.answer

    def looks_late(method, path, body):
        if len(api.asked) == 5:
            api.status["observedGeneration"] = 2
            wants(api, "web", "two")
        return answer(method, path, body)

    api.answer = looks_late
    found = called("promote", "web", "--wait")
    assert found.exit_code == 0, found.output
    assert serving(api, "web") == "two"


def test_an_operator_that_does_not_look_is_not_waited_for_for_ever(opened: Opened, called: Called, monkeypatch) -> None:
    api = opened(web=MANUAL)
    monkeypatch.setattr("flywheel.commands.release_orders.CATCH_UP", 0.05)
    api.metadata["generation"], api.status["observedGeneration"] = 2, 1
    found = called("promote", "web")
    assert found.exit_code == 1
    assert "has not looked at the newest spec yet" in found.output
    assert "nothing to promote" in found.output


def test_nothing_to_promote_is_said(opened: Opened, called: Called) -> None:
    opened(web=MANUAL)
    found = called("promote")
    assert found.exit_code == 1
    assert "There is nothing to promote: web is Stable, one serves." in found.output


def test_a_revision_that_serves_already_is_no_failure(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    found = called("promote", "--revision", "one", "--wait")
    assert found.exit_code == 0, found.output
    assert api.written == []


def test_a_revision_that_is_not_there_is_refused(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    found = called("promote", "--revision", "three")
    assert found.exit_code == 1
    assert "There is no revision 'three' to promote" in found.output
    assert "preview two" in found.output
    assert api.written == []


def test_several_that_wait_are_listed_with_their_commands(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL, pay=MANUAL)
    wants(api, "web", "two")
    wants(api, "pay", "zwei")
    found = called("promote", program="kubectl-flywheel")
    assert found.exit_code == 1
    assert "kubectl flywheel release promote shop web -n spring    (two)" in found.output
    assert "kubectl flywheel release promote shop pay -n spring    (zwei)" in found.output
    assert called("promote", "pay").exit_code == 0
    api.world.settle()
    assert (serving(api, "web"), serving(api, "pay")) == ("one", "zwei")


def test_a_release_group_is_promoted_together(opened: Opened, called: Called) -> None:
    api = opened(web={**MANUAL, "releaseGroup": "checkout"}, pay={**MANUAL, "releaseGroup": "checkout"})
    wants(api, "web", "two")
    wants(api, "pay", "zwei")
    assert "switches together with pay" in called("promote", "web").output
    found = called("promote", "--wait")
    assert found.exit_code == 0, found.output
    assert (serving(api, "web"), serving(api, "pay")) == ("two", "zwei")


def test_two_commands_in_quick_succession_are_both_carried_out(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL, pay=MANUAL)
    wants(api, "web", "two")
    wants(api, "pay", "zwei")
    api.lag = 100
    called("promote", "web")
    called("promote", "pay")
    assert [len(each.split(",")) for each in api.written] == [1, 2]
    api.world.settle()
    assert (serving(api, "web"), serving(api, "pay")) == ("two", "zwei")


def test_a_write_by_somebody_else_in_the_same_moment_loses_nothing(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    api.conflicts = 3
    assert called("promote", "--wait").exit_code == 0
    assert len(api.written) == 1
    assert sum(each.startswith("PATCH") for each in api.asked) == 4


def test_an_abort_stops_what_is_on_its_way(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    found = called("abort", "--wait")
    assert found.exit_code == 0, found.output
    assert "web: two is stopped (Aborted); one serves." in found.output
    assert "nothing to abort" in called("abort").output


def test_an_abort_after_the_switch_brings_the_traffic_back(opened: Opened, called: Called) -> None:
    api = opened(web={"after": [{"name": "look", "manual": True}]})
    wants(api, "web", "two")
    assert serving(api, "web") == "two"
    assert "flywheel release promote shop web -n spring" in called("status").output
    assert called("abort", "--wait").exit_code == 0
    assert serving(api, "web") == "one"


def test_a_manual_gate_after_the_switch_is_promoted(opened: Opened, called: Called) -> None:
    api = opened(web={"after": [{"name": "look", "manual": True}]})
    wants(api, "web", "two")
    found = called("promote", "--wait")
    assert found.exit_code == 0, found.output
    assert api.world.services["web"].state.phase == "Stable"


def test_a_rollback_goes_back_at_once_while_the_revision_before_is_warm(opened: Opened, called: Called) -> None:
    api = opened(web={})
    wants(api, "web", "two")
    found = called("rollback", "--wait")
    assert found.exit_code == 0, found.output
    assert "from two back to one, at once" in found.output
    assert serving(api, "web") == "one"
    assert api.world.services["web"].state.held == "two"


def with_three_past(api: Api) -> None:
    for name in ("two", "three", "four"):
        wants(api, "web", name)
        api.world.pass_time(120)
    for name in ("two", "three", "four"):
        keep_record(api, "web", name)


def test_a_rollback_to_an_earlier_revision_starts_its_pods_first(opened: Opened, called: Called) -> None:
    api = opened(web={})
    with_three_past(api)
    found = called("rollback", "--to", "two", "--wait")
    assert found.exit_code == 0, found.output
    assert "from four back to two, as soon as its pods are ready" in found.output
    assert serving(api, "web") == "two"


def test_a_rollback_without_a_target_goes_where_it_says(opened: Opened, called: Called) -> None:
    api = opened(web={})
    with_three_past(api)
    found = called("rollback", "web", "--wait")
    assert found.exit_code == 0, found.output
    assert "back to three" in found.output
    assert serving(api, "web") == "three"


def test_a_rollback_to_what_is_not_kept_is_refused(opened: Opened, called: Called) -> None:
    api = opened(web={})
    with_three_past(api)
    del api.config_maps["shop-web-two"]
    found = called("rollback", "web", "--to", "two")
    assert found.exit_code == 1
    assert "there is no revision 'two' to go back to" in found.output
    assert "flywheel release history shop web -n spring" in found.output
    assert "four serves already" in called("rollback", "--to", "four").output
    assert api.written == []


def test_who_may_not_read_records_can_go_back_all_the_same(opened: Opened, called: Called) -> None:
    api = opened(web={})
    with_three_past(api)
    api.refuses["GET /api/v1/namespaces/spring/configmaps/shop-web-three"] = 403
    assert called("rollback", "--wait").exit_code == 0
    assert serving(api, "web") == "three"


def test_a_warm_rollback_tells_which_services_go_along(opened: Opened, called: Called) -> None:
    api = opened(web={"releaseGroup": "checkout"}, pay={"releaseGroup": "checkout"})
    wants(api, "pay", "zwei")
    wants(api, "web", "two")
    api.world.pass_time(90)
    api.world.services["web"].wanted, api.world.services["pay"].wanted = "three", "drei"
    api.world.settle()
    found = called("rollback", "web", "--wait")
    assert found.exit_code == 0, found.output
    assert "The release group goes together: pay goes back, too." in found.output
    assert (serving(api, "web"), serving(api, "pay")) == ("two", "zwei")


def test_a_retry_takes_the_release_group_along(opened: Opened, called: Called) -> None:
    group = {"releaseGroup": "checkout"}
    api = opened(web={**GATED, **group}, pay=group)
    api.world.services["web"].answers["smoke"] = [BAD, GOOD]
    api.world.services["web"].wanted, api.world.services["pay"].wanted = "two", "zwei"
    api.world.settle()
    assert [each.state.phase for each in api.world.services.values()] == ["Failed", "Failed"]
    found = called("retry", "pay", "--wait")
    assert found.exit_code == 0, found.output
    assert "two of web is tried again, too" in found.output
    assert (serving(api, "web"), serving(api, "pay")) == ("two", "zwei")


def test_a_campaign_at_zero_says_that_nothing_happens_now(opened: Opened, called: Called) -> None:
    api = opened(web={})
    wants(api, "web", "two")
    api.spec["schedule"] = {"suspend": True}
    assert "runs no pods at present" in called("rollback").output


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ({"PATCH": 403}, "You lack the right `patch` on campaigns.flywheel.dev in the namespace spring"),
        ({"GET": 403}, "You lack the right `get` on campaigns.flywheel.dev in the namespace spring"),
        ({"GET": 401}, "does not accept your credentials"),
        ({"GET": 404}, "There is no Campaign shop in the namespace spring"),
        ({"PATCH": 422}, "refuses to patch campaigns.flywheel.dev"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_is_missing(opened: Opened, called: Called, refuses, said) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    api.refuses = refuses
    found = called("promote")
    assert found.exit_code == 1
    assert said in found.output


def test_a_campaign_that_is_being_deleted_takes_no_commands(opened: Opened, called: Called) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    api.metadata["deletionTimestamp"] = "2027-06-18T00:00:00Z"
    assert "is being deleted" in called("promote").output
    assert api.written == []


def test_no_server_and_no_credentials_are_told(opened: Opened, called: Called, monkeypatch, tmp_path) -> None:
    api = opened(web=MANUAL)
    api.broken = 100
    assert "cannot be reached" in called("promote").output
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    found = called("promote")
    assert found.exit_code == 1
    assert "Set KUBECONFIG" in found.output


def test_an_outage_while_it_is_followed_is_borne(opened: Opened, called: Called, monkeypatch) -> None:
    api = opened(web=MANUAL)
    wants(api, "web", "two")
    patch = api._patch

    def fails_afterwards(body):
        api.broken = 3
        return patch(body)

    monkeypatch.setattr(api, "_patch", fails_afterwards)
    found = called("promote", "--wait")
    assert found.exit_code == 0, found.output


@pytest.mark.parametrize("name", ["../secrets", "Web", "a/b", "."])
def test_what_is_no_name_never_becomes_part_of_an_address(opened: Opened, called: Called, name: str) -> None:
    api = opened(web=MANUAL)
    assert called("promote", name).exit_code == 2
    assert api.asked == []
