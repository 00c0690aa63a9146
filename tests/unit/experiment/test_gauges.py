"""What Prometheus is told of tests: what the status says, exactly where the look is known; nothing of what is gone."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from tests.unit.abtest_command.story import Story, abtest

from flywheel.experiment.gauges import MOST_TESTS, ABTestGauges
from flywheel.experiment.reading import figure
from flywheel.experiment.samples import FAMILIES, OF_TEST, samples
from flywheel.experiment.sentences import number, percent, signed


def told(manifest: dict[str, Any], look: Any = None) -> dict[tuple[str, ...], float]:
    found = samples(manifest, look)
    for each in found:
        assert len(each.labels) == len(OF_TEST) + len(FAMILIES[each.family][1])
        assert each.labels[:3] == ("spring", "yougou-618", "button")
    keys = [(each.family, *each.labels[3:]) for each in found]
    assert len(set(keys)) == len(keys)
    return {(each.family, *each.labels[3:]): each.value for each in found}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("+9.8%", 0.098),
        ("-0.317%", -0.00317),
        ("+0.5 points", 0.005),
        ("240 ms", 0.24),
        ("3.5 s", 3.5),
        ("1,250", 1250),
        ("1e-12", 1e-12),
        ("42%", 0.42),
        ("any", None),
        ("over +1,000%", None),
        ("", None),
        ("1e999", None),
        ("９%", None),
    ],
)
def test_figures_in_words_are_numbers_again(text: str, value: float | None) -> None:
    assert figure(text) == (None if value is None else pytest.approx(value))


@given(st.floats(-9, 9), st.sampled_from([percent, signed, number]))
def test_what_the_operator_writes_can_be_read(value: float, write: Any) -> None:
    assert figure(write(value)) == pytest.approx(value, rel=0.01, abs=1e-3)


@given(st.text())
def test_no_text_makes_the_reading_fail(text: str) -> None:
    figure(text)


def test_a_test_that_runs_tells_all_families_but_its_verdict() -> None:
    story = Story(shares={"red": 0.08, "lime": 0.082}).run(2)
    found = told(story.manifest)
    assert {each.family for each in samples(story.manifest)} == FAMILIES.keys() - {"verdict"}
    assert found["state", "Running"] == 1
    assert found["state", "Decided"] == 0
    assert found["waits_for_person",] == 0
    assert found["planned_lift",] == pytest.approx(0.1)
    assert found["visitors", "lime"] == story.numbers.arms["lime"].visitors
    assert found["guardrail_margin", "errors"] == pytest.approx(0.005)
    assert found["guardrail_breached", "lime", "Left"] == 0
    assert found["updated_timestamp_seconds",] == story.now.timestamp()


def test_the_newest_look_is_told_exactly_and_an_older_one_not_at_all() -> None:
    story = Story().run(2)
    rounded, exact = told(story.manifest), told(story.manifest, story.looks[-1])
    look = story.looks[-1].variants["lime"]
    assert exact["lift", "lime"] == look.lift
    assert exact["lift_lower", "lime"] == look.lift_lower
    assert rounded["lift", "lime"] == pytest.approx(look.lift, rel=0.01)
    assert rounded["lift", "lime"] != look.lift
    assert told(story.manifest, story.looks[0]) == rounded


def test_a_winner_that_waits_is_told_until_somebody_decides() -> None:
    story = Story().run(14)
    found = told(story.manifest)
    assert found["verdict", "Ship", "lime"] == 1
    assert found["waits_for_person",] == 1
    story.manifest["metadata"]["annotations"] = {"flywheel.dev/promote": "lime"}
    assert told(story.manifest)["waits_for_person",] == 0
    automatic = Story(abtest(decision={"promote": "Automatic"})).run(14)
    assert told(automatic.manifest)["waits_for_person",] == 0


def test_less_that_is_better_is_planned_below_zero() -> None:
    time_to = {"primary": {"timeTo": "Order Completed", "minimumEffect": "5%"}}
    assert told(abtest(metrics=time_to))["planned_lift",] == pytest.approx(-0.05)
    fewer = {"primary": {"count": "Left", "minimumEffect": "5%", "direction": "Decrease"}}
    assert told(abtest(metrics=fewer))["planned_lift",] == pytest.approx(-0.05)


def test_a_violated_ratio_and_a_broken_guardrail_are_told() -> None:
    skewed = Story(split={"red": 0.6, "lime": 0.4}).run(3)
    found = told(skewed.manifest)
    assert found["sample_ratio_violated",] == 1
    assert found["verdict", "Invalid", ""] == 1
    harmful = Story(leaving={"lime": 0.25}).run(3)
    assert told(harmful.manifest)["guardrail_breached", "lime", "Left"] == 1


def test_of_a_status_that_cannot_be_read_nothing_is_told() -> None:
    assert samples({**abtest(), "status": {"variants": "many"}}) == ()
    assert told(abtest())["state", "Waiting"] == 1


def exposed(gauges: ABTestGauges) -> str:
    registry = CollectorRegistry()
    registry.register(gauges)
    return generate_latest(registry).decode()


def test_a_test_that_is_gone_leaves_nothing_behind() -> None:
    story = Story().run(2)
    held = [story.manifest]
    gauges = ABTestGauges(lambda: held)
    gauges.put_look("spring", "button", story.looks[-1])
    line = 'flywheel_abtest_lift{campaign="yougou-618",namespace="spring",test="button",variant="lime"} '
    assert f"{line}{story.looks[-1].variants['lime'].lift}" in exposed(gauges)
    held.clear()
    assert "yougou" not in exposed(gauges)
    held.append(story.manifest)
    assert f"{line}0.1" in exposed(gauges)
    assert f"{line}{story.looks[-1].variants['lime'].lift}" not in exposed(gauges)


def test_of_too_many_tests_those_that_run_are_told() -> None:
    def made(number: int, state: str) -> dict[str, Any]:
        manifest = abtest(f"t{number:04d}")
        return {**manifest, "status": {"state": state}}

    held = [made(each, "Stopped") for each in range(MOST_TESTS)] + [made(9000, "Running")]
    lines = exposed(ABTestGauges(lambda: held)).splitlines()
    names = {line.split('test="')[1].split('"')[0] for line in lines if "test=" in line}
    assert len(names) == MOST_TESTS
    assert "t9000" in names
