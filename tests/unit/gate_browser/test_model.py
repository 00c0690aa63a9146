"""What may be written as a browser gate, and with which words the rest is refused."""

from typing import Any

import pytest
from pydantic import ValidationError

from flywheel.api.gate_browser import STEPS, BrowserGate, BrowserStep
from flywheel.release.gate.browser.reading import InvalidStepsError, read_steps

OPEN = {"open": "/"}


def refused(**fields: Any) -> str:
    with pytest.raises(ValidationError) as error:
        BrowserGate.model_validate({"steps": [OPEN], **fields})
    return str(error.value)


def test_every_kind_of_step_is_listed_once() -> None:
    assert set(STEPS.values()) == set(BrowserStep.model_fields)
    assert list(STEPS) == [field.alias for field in BrowserStep.model_fields.values()]


@pytest.mark.parametrize(
    "step",
    [
        {"open": "/领取?x=1#top"},
        {"click": "#claim"},
        {"clickRole": {"role": "button"}},
        {"expectText": "领取成功"},
        {"url": "*/orders/*?x=1"},
        {"press": "Control+A"},
        {"waitFor": "60s"},
        {"screenshot": "a-1"},
        {"noConsoleErrors": True},
    ],
)
def test_the_short_forms_that_people_expect_are_taken(step: dict[str, Any]) -> None:
    assert BrowserGate.model_validate({"steps": [OPEN, step]}).steps[1] is not None


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ({}, "a step must have exactly one of open, click"),
        ({"click": "a", "press": "Enter"}, "a step must have exactly one of open, click"),
        ({"open": "shop"}, "must be a path on the address"),
        ({"open": "//evil.example"}, "must be a path on the address"),
        ({"open": "/\\evil.example"}, "must be a path on the address"),
        ({"open": "http://evil.example/"}, "must be a path on the address"),
        ({"open": "/a b"}, "must be a path on the address"),
        ({"open": "/" + "a" * 1024}, "must be a path on the address"),
        ({"click": " "}, "must be a CSS selector"),
        ({"click": "a\nb"}, "must be a CSS selector"),
        ({"expectText": "x" * 257}, "must be a text of the page"),
        ({"fill": {"value": "x"}}, "a fill step must have exactly one of selector, label"),
        ({"fill": {"selector": "a", "label": "b", "value": "x"}}, "a fill step must have exactly one of"),
        ({"select": {"value": "x"}}, "a select step must have exactly one of selector, label"),
        ({"clickRole": {"role": "thing"}}, "Input should be 'alert', 'button'"),
        ({"url": "orders"}, "must be path and query"),
        ({"status": 99}, "greater than or equal to 100"),
        ({"status": "200"}, "valid integer"),
        ({"waitFor": "61s"}, "must be whole seconds from 1s to 60s"),
        ({"waitFor": "1m"}, "must be whole seconds from 1s to 60s"),
        ({"screenshot": "../x"}, "must be lowercase letters"),
        ({"noConsoleErrors": False}, "noConsoleErrors can only be true"),
        ({"evaluate": "1"}, "Extra inputs are not permitted"),
    ],
)
def test_a_step_that_makes_no_sense_is_refused(step: dict[str, Any], says: str) -> None:
    assert says in refused(steps=[OPEN, step])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"steps": []}, "at least 1 item"),
        ({"steps": [{"open": "/"}] * 51}, "at most 50 items"),
        ({"steps": [{"click": "a"}]}, "make `open` the first step"),
        ({"steps": [OPEN, *[{"screenshot": "a"}] * 6]}, "at most 5 steps can be `screenshot`"),
        ({"stepTimeout": "0s"}, "stepTimeout must be between 1s and 2m"),
        ({"stepTimeout": "3m"}, "stepTimeout must be between 1s and 2m"),
        ({"headers": [{"name": "x-fw-preview", "value": "r"}]}, "this header is set by the browser or the gate itself"),
        ({"headers": [{"name": "Host", "value": "x"}]}, "this header is set by the browser or the gate itself"),
        ({"headers": [{"name": "X-A\r\nB", "value": "x"}]}, "must be the name of a header"),
        ({"headers": [{"name": "X-A", "value": "x\r\ny"}]}, "must be printable ASCII"),
        ({"headers": [{"name": "X-A", "value": "1"}] * 2}, "remove one of the two headers"),
        ({"headers": [{"name": f"X-{number}", "value": "1"} for number in range(17)]}, "at most 16 items"),
        ({"allowHosts": ["http://cdn.example"]}, "must be a host name"),
        ({"allowHosts": ["a.example", "a.example"]}, "duplicate of a.example"),
        ({"host": "Shop.example:80"}, "must be a host name"),
        ({"viewport": {"width": 4000, "height": 800}}, "less than or equal to 1920"),
        ({"through": "Internet"}, "Input should be 'Preview' or 'Edge'"),
        ({"locale": "zh_CN"}, "must be a language"),
        ({"resources": {"limit": {}}}, "Extra inputs are not permitted"),
    ],
)
def test_a_gate_that_makes_no_sense_is_refused(fields: dict[str, Any], says: str) -> None:
    assert says in refused(**fields)


@pytest.mark.parametrize("text", ["[{open: /}]", "steps: [{open: /}]", "browser:\n  steps: [{open: /}]"])
def test_a_file_holds_steps_with_or_without_what_is_around_them(text: str) -> None:
    assert read_steps(text).steps[0].open == "/"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "should be a valid dictionary"),
        ("[{open: /}, {klick: a}]", "steps[1].klick: unknown field"),
        ("[{open: /, click: a}]", "steps[0]: a step must have exactly one of"),
        ("[{click: a}]", "steps: a visit begins with a page"),
        ("{open: [", "it is no YAML"),
        ("x" * 300_000, "longer than 256 KiB"),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_place(text: str, says: str) -> None:
    with pytest.raises(InvalidStepsError) as error:
        read_steps(text)
    assert says in str(error.value)
