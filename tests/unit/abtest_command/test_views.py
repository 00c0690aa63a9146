"""What people see of tests: the board, once or followed, and the list."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.abtest_command.conftest import Called, Opened
from tests.unit.abtest_command.story import Story, abtest

from flywheel.commands.abtest_bars import AT, LEFT, PLANNED, RIGHT, ZERO, Span, axis_of, bar, scale

UNDECIDED = {"red": 0.08, "lime": 0.082}


@pytest.mark.parametrize("columns", ["80", "120", ""])
def test_a_test_that_runs_shows_who_is_ahead_and_how_surely(opened: Opened, called: Called, columns: str) -> None:
    story = Story(shares=UNDECIDED).run(2)
    opened(story)
    found = called("status", "button", **({"COLUMNS": columns} if columns else {}))
    assert found.exit_code == 0, found.output
    lime = story.manifest["status"]["variants"][1]
    for text in (
        "Running",
        "绿色按钮让更多人领取优惠券",
        "Too early to tell",
        "control",
        f"{lime['visitors']:,}",
        f"{lime['conversions']:,}",
        lime["value"],
        lime["estimate"],
        "to look at, decides nothing",
        "sample ratio  Holds",
        "errors",
        "progress",
        "more at this rate",
        "flywheel abtest preview button -n spring",
    ):
        assert text in found.output
    [line] = [line for line in found.output.splitlines() if AT in line]
    assert line.index(ZERO) < line.index(PLANNED)
    assert max(len(line.rstrip()) for line in found.output.splitlines()) <= int(columns or 160)


def test_a_verdict_comes_first_with_its_sentence_and_what_to_do(opened: Opened, called: Called) -> None:
    story = Story().run(14)
    opened(story)
    output = called("status", "button").output
    assert output.index("Ship lime: a variant is better") < output.index("visitors")
    assert 'lime is better than red: "Coupon Claimed"' in output.replace("\n", " ")
    assert "It waits for you" in output
    for verb in ("promote button", "report button --output button.html", "adopt button"):
        assert f"then  flywheel abtest {verb} -n spring" in output
    assert "days left" not in output


def test_figures_that_cannot_be_trusted_say_so(opened: Opened, called: Called) -> None:
    story = Story(split={"red": 0.6, "lime": 0.4}).run(3)
    story.manifest["status"]["checks"]["sampleRatio"]["hint"] = "Chrome has 3% fewer of lime"
    opened(story)
    output = called("status", "button").output
    assert "Invalid: the figures cannot be trusted" in output
    assert "sample ratio  Violated" in output
    assert "Chrome has 3% fewer of lime" in output


def test_a_broken_guardrail_and_what_became_of_the_variant_are_shown(opened: Opened, called: Called) -> None:
    opened(Story(leaving={"lime": 0.25}).run(3))
    output = called("status", "button").output
    assert "StoppedByGuardrail: stopped to protect visitors" in output
    assert "lime: it broke a guardrail: its visitors get the control" in output
    assert "Breached" in output


def test_a_test_that_waits_says_why(opened: Opened, called: Called) -> None:
    story = Story()
    story.manifest["status"] = {
        "state": "Waiting",
        "conditions": [{"type": "Ready", "status": "Unknown", "reason": "NotYet", "message": "the campaign is Warm"}],
    }
    opened(story)
    output = called("status", "button").output
    assert "the campaign is Warm" in output
    assert "The operator has not looked at the newest spec yet" in output


def test_json_is_what_the_status_says_without_what_the_operator_keeps(opened: Opened, called: Called) -> None:
    story = Story().run(2)
    opened(story)
    told = json.loads(called("status", "button", "-o", "json").output)
    assert told == {name: value for name, value in story.manifest["status"].items() if name != "record"}


def test_a_status_of_another_version_is_told(opened: Opened, called: Called) -> None:
    story = Story()
    story.manifest["status"] = {"variants": "many"}
    opened(story)
    found = called("status", "button")
    assert found.exit_code == 1
    assert "of the same version" in found.output


def test_what_pages_have_said_steers_no_terminal(opened: Opened, called: Called) -> None:
    story = Story().run(2)
    story.manifest["spec"]["hypothesis"] = "\x1b]0;owned\x07[red]领取[/red]\r"
    story.manifest["status"]["variants"][1]["message"] = "\x1b[2J"
    story.manifest["status"]["conditions"][0]["message"] = "\x1b[31m"
    opened(story)
    for verb in (("status", "button"), ("watch", "button", "--once"), ("list",)):
        output = called(*verb).output
        assert "\x1b" not in output
        assert "\x07" not in output
    assert "[red]领取[/red]" in called("status", "button").output


def test_a_watched_board_is_drawn_on_change_and_bears_an_outage(opened: Opened, called: Called) -> None:
    story = Story(shares=UNDECIDED).run(1)
    api = opened(story)
    answer, looks = api.answer, []

    def changing(method: str, target: str, body: dict[str, Any]) -> Any:
        looks.append(target)
        if len(looks) == 3:
            story.manifest["status"]["state"] = "Paused"
            story.manifest["metadata"]["resourceVersion"] = "8"
        if len(looks) == 5:
            api.broken = 8
        if len(looks) == 9:
            api.refuses["GET"] = 403
        return answer(method, target, body)

    api.answer = changing  # type: ignore[method-assign]
    found = called("watch", "button")
    assert found.exit_code == 1
    assert "You lack the right" in found.output
    assert found.output.count("progress") == 4, "at first, after the change, during the outage, and after it"
    assert "Paused" in found.output
    assert found.output.count("not renewed") == 1


def test_a_board_is_drawn_once_where_that_is_asked_for(opened: Opened, called: Called) -> None:
    api = opened(Story(shares=UNDECIDED).run(1))
    found = called("watch", "button", "--once")
    assert found.exit_code == 0, found.output
    assert found.output.count("progress") == 1
    assert sum(each.startswith("GET") for each in api.asked) == 1


def test_all_tests_are_listed_with_who_is_ahead(opened: Opened, called: Called) -> None:
    other = Story(
        abtest("page", metrics={"primary": {"event": "Left", "minimumEffect": "5%", "direction": "Decrease"}})
    )
    opened(Story().run(14), other)
    output = called("list").output
    button, page = (next(line for line in output.splitlines() if name in line) for name in ("button", "page"))
    assert "Ship lime" in button
    assert "lime +" in button
    assert "Waiting" in page
    assert "namespace" in called("list", "-A").output


def test_nothing_to_list_is_said(opened: Opened, called: Called) -> None:
    opened()
    assert "There is no ABTest in the namespace spring." in called("list").output


def test_a_bar_marks_what_it_shows_where_it_is() -> None:
    span = Span(-0.05, 0.1, 0.25)
    axis = axis_of([span], 0.15, 41)
    drawn = bar(span, axis, 0.15)
    assert len(drawn) == 41
    assert drawn.index("━") < drawn.index(ZERO) < drawn.index(AT) < drawn.index(PLANNED) < drawn.rindex("━")
    assert scale(axis, 0.15).split() == ["-6%", "0", "+15%", "+26%"]


def test_a_bar_that_is_longer_than_the_axis_says_so() -> None:
    span = Span(-float("inf"), 0.1, 25.0)
    axis = axis_of([span], 0.1, 41)
    assert bar(span, axis, 0.1)[0] == LEFT
    assert bar(span, axis, 0.1)[-1] == RIGHT


@given(
    st.lists(st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False), st.floats(allow_nan=False)), max_size=3),
    st.none() | st.floats(-9, 9),
)
def test_every_bar_fits(bounds: list[tuple[float, float, float]], planned: float | None) -> None:
    spans = [Span(*sorted(each)) for each in bounds]
    axis = axis_of(spans, planned, 41)
    assert all(len(bar(each, axis, planned)) == 41 for each in [*spans, None])
    assert len(scale(axis, planned)) <= 41
