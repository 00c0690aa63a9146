"""What a pod of a gate leaves behind, and how it is read."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.release.gate.browser.verdict import LONGEST_RESULT, Result, encode, one_line, read_result
from flywheel.release.gate.measurement import LONGEST_MESSAGE, LONGEST_VALUE, Outcome

FAILED: dict[str, Any] = {
    "outcome": "Failure",
    "step": 3,
    "steps": 7,
    "what": "click #claim",
    "message": "there is no such element within 10 s",
    "seconds": 12.345,
    "pictures": ["03-failed.jpg"],
    "address": "http://a",
    "evidence": "configmap/spring-landing-coupon",
}


def test_a_failure_says_where_and_what_was_wanted() -> None:
    read = read_result(json.dumps(FAILED), 1)
    assert read.outcome is Outcome.FAILURE
    assert read.message == "step 3 of 7, click #claim: there is no such element within 10 s"
    assert read.value == "2/7 steps in 12.3 s"
    assert read.evidence == "configmap/spring-landing-coupon"


def test_a_success_needs_both_the_word_and_the_code() -> None:
    passed = json.dumps({**FAILED, "outcome": "Success", "step": 7, "message": "all 7 steps hold"})
    assert read_result(passed, 0).outcome is Outcome.SUCCESS
    assert read_result(passed, 0).value == "7/7 steps in 12.3 s"
    assert read_result(passed, 137).outcome is Outcome.ERROR
    assert read_result(json.dumps(FAILED), 0).outcome is Outcome.ERROR
    assert read_result("", 0).outcome is Outcome.ERROR


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (137, "for lack of memory: raise browser.resources"),
        (143, "ended from outside"),
        (127, "correct --browser-image"),
        (1, "look at the pod's log"),
    ],
)
def test_an_end_without_words_is_an_error_with_a_remedy(code: int, says: str) -> None:
    read = read_result("", code)
    assert read.outcome is Outcome.ERROR
    assert says in read.message


@given(
    st.one_of(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(FAILED)), inner),
        ).map(json.dumps),
        st.dictionaries(
            st.sampled_from(list(FAILED)), st.none() | st.integers() | st.floats() | st.text() | st.lists(st.text())
        ).map(lambda changed: json.dumps(FAILED | changed)),
    ),
    st.integers(),
)
def test_reading_is_total_and_bounded(message: str, code: int) -> None:
    read = read_result(message, code)
    assert len(read.message) <= LONGEST_MESSAGE
    assert len(read.value) <= LONGEST_VALUE
    assert len(read.evidence) <= 300
    assert read.message.isprintable()
    assert read.evidence.isprintable()
    if code not in (0, 1):
        assert read.outcome is Outcome.ERROR


@given(st.text(max_size=5000), st.text(max_size=300), st.lists(st.text(max_size=60), max_size=6))
def test_a_result_fits_a_termination_message_and_is_read_again(message: str, what: str, pictures: list[str]) -> None:
    result = Result(
        outcome="Failure",
        step=1,
        steps=2,
        what=what,
        message=message,
        seconds=1,
        pictures=tuple(pictures),
        address="http://a",
    )
    written = encode(result)
    assert len(written.encode()) <= LONGEST_RESULT
    assert "\n" not in written
    assert msgspec.json.decode(written, type=Result).outcome == "Failure"
    assert read_result(written, 1).outcome is Outcome.FAILURE


def test_a_text_of_a_page_becomes_one_line() -> None:
    assert one_line("a\n\t b\x1b[31m\u202e c", 100) == "a b [31m c"
    assert one_line("x" * 200, 10) == "x" * 9 + "…"
