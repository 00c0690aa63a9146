"""Figures against demands."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.release.gate.compare import (
    MILLISECONDS,
    PERCENT,
    PLAIN,
    at_least,
    at_least_share,
    at_most,
    at_most_above,
    at_most_more,
    judge,
)
from flywheel.release.gate.measurement import LONGEST_MESSAGE, LONGEST_VALUE, Outcome

FIGURES = st.floats(-1e12, 1e12)
SHARES = st.floats(0, 100)


@given(FIGURES, FIGURES)
def test_a_figure_keeps_a_bound_or_the_one_on_the_other_side(value: float, limit: float) -> None:
    assert at_most(limit).holds(value) or at_least(limit).holds(value)
    assert at_most(value).holds(value)
    assert at_least(value).holds(value)


@given(FIGURES, SHARES)
def test_what_has_not_grown_is_always_within_an_increase(active: float, increase: float) -> None:
    assert at_most_above(active, increase).holds(active)
    assert at_most_more(active, increase).holds(active)


@given(st.floats(0, 1e12), st.floats(0, 1))
def test_what_has_not_shrunk_is_always_a_share(active: float, share: float) -> None:
    assert at_least_share(active, share).holds(active)


@given(st.floats() | FIGURES, FIGURES, FIGURES)
def test_every_verdict_is_short_and_says_something(value: float, low: float, high: float) -> None:
    found = judge("The result", value, [at_least(low), at_most(high)], PERCENT)
    assert (found.outcome is Outcome.SUCCESS) == (at_least(low).holds(value) and at_most(high).holds(value))
    assert 0 < len(found.message) <= LONGEST_MESSAGE
    assert len(found.value) <= LONGEST_VALUE


@pytest.mark.parametrize("bound", [at_most(1), at_least(1), at_most(math.inf), at_least(-math.inf)])
def test_not_a_number_keeps_no_bound(bound) -> None:
    assert not bound.holds(math.nan)


@pytest.mark.parametrize(
    ("found", "outcome", "message", "value"),
    [
        (judge("The result", 0.1 + 0.2, [at_most(0.3)]), "Success", "The result is 0.3 (at most 0.3)", "0.3"),
        (
            judge("The result", math.inf, [at_most(1)]),
            "Failure",
            "The result is infinite, wanted at most 1",
            "infinite",
        ),
        (
            judge("The error rate", 0.05, [at_most(0.01, PERCENT)], PERCENT),
            "Failure",
            "The error rate is 5%, wanted at most 1%",
            "5%",
        ),
        (
            judge(
                "The p95 latency", 0.4, [at_most(1, MILLISECONDS), at_most_above(0.3, 0.2, MILLISECONDS)], MILLISECONDS
            ),
            "Failure",
            "The p95 latency is 400 ms, wanted at most 20% above the active slot's 300 ms, which is 360 ms",
            "400 ms",
        ),
        (
            judge("Orders", 0.05, [at_least_share(0.1, 0.9)]),
            "Failure",
            "Orders is 0.05, wanted at least 90% of the active slot's 0.1, which is 0.09",
            "0.05",
        ),
        (
            judge("The result", -9.0, [at_most_above(-10.0, 0.2)]),
            "Success",
            "The result is -9 (at most 20% above the active slot's -10, which is -8)",
            "-9",
        ),
    ],
)
def test_verdicts_in_words(found, outcome: str, message: str, value: str) -> None:
    assert (found.outcome.value, found.message, found.value) == (outcome, message, value)


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (123456.0, "123500"), (1e300, "1e+300"), (0.00001234, "1.234e-05"), (-0.5, "-0.5")]
)
def test_figures_are_short(value: float, shown: str) -> None:
    assert PLAIN.write(value) == shown
