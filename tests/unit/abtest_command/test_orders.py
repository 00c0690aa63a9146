"""What people say about a test is written where the operator reads it, or refused with what to do instead."""

from datetime import timedelta

import pytest
from tests.unit.abtest_command.conftest import Called, Opened
from tests.unit.abtest_command.story import Story, abtest

from flywheel.api.quantities import read_duration
from flywheel.commands.abtest_decisions import written

UNDECIDED = {"red": 0.08, "lime": 0.081}


def running(**spec: object) -> Story:
    return Story(abtest(**spec), shares=UNDECIDED).run(1)


def won(**spec: object) -> Story:
    return Story(abtest(**spec)).run(14)


def test_a_pause_says_what_it_means_and_how_to_go_on(opened: Opened, called: Called) -> None:
    api = opened(running())
    found = called("pause", "button")
    assert found.exit_code == 0, found.output
    assert api.patches == [{"spec": {"suspend": True}}]
    assert api.managers == ["fieldManager=flywheel-command"]
    assert "everybody gets red" in found.output
    assert "flywheel abtest resume button -n spring" in found.output
    assert "paused already" in called("pause", "button").output
    found = called("resume", "button")
    assert found.exit_code == 0, found.output
    assert api.patches[1:] == [{"spec": {"suspend": False}}]
    assert "not paused by a person: it is Running" in called("resume", "button").output
    assert len(api.patches) == 2


def test_a_test_that_is_stopped_is_told_to_stop_once(opened: Opened, called: Called) -> None:
    api = opened(running())
    found = called("stop", "button")
    assert found.exit_code == 0, found.output
    [moment] = api.patches[0]["metadata"]["annotations"].values()
    assert api.patches == [{"metadata": {"annotations": {"flywheel.dev/stop": moment}}}]
    assert moment.endswith("Z")
    assert "no verdict yet" in found.output
    assert "told to stop already" in called("stop", "button").output
    assert len(api.patches) == 1


def test_the_winner_is_promoted(opened: Opened, called: Called) -> None:
    api = opened(won())
    found = called("promote", "button", program="kubectl-flywheel")
    assert found.exit_code == 0, found.output
    assert api.patches == [{"metadata": {"annotations": {"flywheel.dev/promote": "lime"}}}]
    assert "lime is released as landing of yougou-618" in found.output
    assert "kubectl flywheel abtest adopt button -n spring" in found.output
    assert "told to promote lime already" in called("promote", "button").output
    assert len(api.patches) == 1


def test_a_variant_that_did_not_win_is_promoted_only_by_name(opened: Opened, called: Called) -> None:
    lost = Story(shares={"red": 0.09, "lime": 0.08}).run(14)
    api = opened(lost)
    assert lost.state.decision is not None
    assert lost.state.decision.verdict == "KeepControl"
    found = called("promote", "button")
    assert found.exit_code == 1
    assert "has no winner (KeepControl)" in found.output
    assert "--variant: lime" in found.output
    assert "the control, which everybody gets anyhow" in called("promote", "button", "--variant", "red").output
    assert "There are: lime." in called("promote", "button", "--variant", "blue").output
    assert api.patches == []
    found = called("promote", "button", "--variant", "lime")
    assert found.exit_code == 0, found.output
    assert "has not found lime better: its verdict is KeepControl" in found.output


def test_nothing_is_promoted_before_the_verdict_or_where_nothing_ever_is(opened: Opened, called: Called) -> None:
    api = opened(running())
    found = called("promote", "button")
    assert found.exit_code == 1
    assert "may be chance" in found.output
    api.tests["button"] = won(decision={"promote": "Never"}).manifest
    found = called("promote", "button")
    assert found.exit_code == 1
    assert "flywheel abtest adopt button -n spring" in found.output
    assert api.patches == []


def test_a_winner_on_its_way_is_stopped_as_a_release(opened: Opened, called: Called) -> None:
    opened(won(decision={"promote": "Automatic"}))
    found = called("stop", "button")
    assert found.exit_code == 1
    assert "flywheel release abort yougou-618 landing -n spring" in found.output


@pytest.mark.parametrize(
    ("given", "more", "wanted"),
    [({}, "7d", "21d"), ({"maximumDuration": "36h", "minimumDuration": "1h"}, "90m", "1d13h30m")],
)
def test_more_time_is_added_to_what_there_was(opened: Opened, called: Called, given, more: str, wanted: str) -> None:
    api = opened(running(decision=given))
    found = called("extend", "button", "--for", more)
    assert found.exit_code == 0, found.output
    assert api.patches == [{"spec": {"decision": {"maximumDuration": wanted}}}]
    assert f"may run for {wanted} instead of" in found.output
    assert "schedule.endsAt" not in found.output


def test_half_a_year_is_the_most(opened: Opened, called: Called) -> None:
    api = opened(running(decision={"maximumDuration": "170d"}))
    found = called("extend", "button", "--for", "11d")
    assert found.exit_code == 1
    assert "extend it by at most 10d" in found.output
    assert "such as --for 7d" in called("extend", "button", "--for", "0s").output
    assert api.patches == []
    assert called("extend", "button", "--for", "10d").exit_code == 0
    assert "the most there is" in called("extend", "button", "--for", "1d").output


def test_an_end_by_the_calendar_is_told(opened: Opened, called: Called) -> None:
    opened(running(schedule={"endsAt": "2027-06-20T00:00:00Z"}))
    assert "schedule.endsAt ends it all the same" in called("extend", "button", "--for", "1d").output


@pytest.mark.parametrize("seconds", [0, 1, 59, 60, 3600, 86400, 90061, 180 * 86400])
def test_written_durations_are_read_as_they_were_meant(seconds: int) -> None:
    assert read_duration(written(timedelta(seconds=seconds))) == timedelta(seconds=seconds)


@pytest.mark.parametrize("order", [("pause",), ("resume",), ("stop",), ("promote",), ("extend", "--for", "1d")])
def test_a_test_that_is_over_takes_no_orders(opened: Opened, called: Called, order: tuple[str, ...]) -> None:
    story = running()
    story.manifest["status"]["state"] = "Stopped"
    api = opened(story)
    found = called(order[0], "button", *order[1:])
    assert found.exit_code == 1
    assert f"is Stopped, so there is nothing to {order[0]}" in found.output
    assert api.patches == []


@pytest.mark.parametrize("order", [("pause",), ("extend", "--for", "1d")])
def test_a_verdict_is_not_put_off(opened: Opened, called: Called, order: tuple[str, ...]) -> None:
    api = opened(won())
    found = called(order[0], "button", *order[1:])
    assert found.exit_code == 1
    assert "has its verdict" in found.output
    assert api.patches == []


def test_a_write_by_somebody_else_in_the_same_moment_loses_nothing(opened: Opened, called: Called) -> None:
    api = opened(running())
    api.conflicts = 3
    assert called("pause", "button").exit_code == 0
    assert len(api.patches) == 1


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ({"PATCH": 403}, "You lack the right `patch` on abtests.flywheel.dev in the namespace spring"),
        ({"GET": 403}, "You lack the right `get` on abtests.flywheel.dev in the namespace spring"),
        ({"GET": 401}, "does not accept your credentials"),
        ({"GET": 404}, "There is no ABTest button in the namespace spring"),
        ({"PATCH": 422}, "refuses to patch abtests.flywheel.dev"),
    ],
)
def test_what_the_server_refuses_is_told_with_what_is_missing(opened: Opened, called: Called, refuses, said) -> None:
    api = opened(running())
    api.refuses = refuses
    found = called("pause", "button")
    assert found.exit_code == 1
    assert said in found.output


def test_a_test_that_is_being_deleted_takes_no_orders(opened: Opened, called: Called) -> None:
    story = running()
    story.manifest["metadata"]["deletionTimestamp"] = "2027-06-18T00:00:00Z"
    api = opened(story)
    assert "is being deleted" in called("pause", "button").output
    assert api.patches == []


@pytest.mark.parametrize("name", ["../secrets", "Button", "a/b", "."])
def test_what_is_no_name_never_becomes_part_of_an_address(opened: Opened, called: Called, name: str) -> None:
    api = opened(running())
    assert called("pause", name).exit_code == 2
    assert api.asked == []
