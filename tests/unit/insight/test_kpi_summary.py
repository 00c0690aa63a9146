"""What the status says: rounded, never more than there is, and always in the form that the resource declares."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.api.status import KeyFigureStatus
from flywheel.insight import summary
from flywheel.insight.kpi import Figures, WindowFigures
from flywheel.insight.summary import Goal

COUNT = st.integers(0, 10**12)
SECONDS = st.none() | st.floats(0, 1e4)


@given(
    figures=st.builds(
        Figures,
        page_views=COUNT,
        visitors=COUNT,
        sessions=COUNT,
        orders=COUNT,
        unpriced_orders=COUNT,
        buyers=COUNT,
        revenue=st.floats(0, 1e12),
        requests=COUNT,
        errors=COUNT,
        latency_p50=SECONDS,
        latency_p95=SECONDS,
        latency_p99=SECONDS,
    ),
    goal=st.none() | st.builds(Goal, st.just("Order Completed"), st.integers(1, 10**9), COUNT),
)
def test_every_summary_has_the_form_of_the_status(figures: Figures, goal: Goal | None) -> None:
    windows = {name: WindowFigures(name, 0, 1, figures) for name in summary.ORDER_OF_WINDOWS}
    told = summary.summary(windows, "CNY", goal)
    KeyFigureStatus.model_validate({"updatedAt": "2027-06-16T00:00:00Z", **told}, by_alias=True, by_name=False)
    assert not summary.differs({"updatedAt": "x", **told}, told)
    assert summary.differs(None, told)


@given(count=COUNT)
def test_rounding_keeps_four_digits(count: int) -> None:
    assert abs(summary.rounded(count) - count) <= count / 1000
    assert summary.floored(count) <= count
    if count < 10_000:
        assert summary.rounded(count) == summary.floored(count) == count


@given(count=st.integers(1, 10**9), missing=st.integers(1, 10**6))
def test_a_goal_that_is_not_reached_never_looks_so(count: int, missing: int) -> None:
    told = summary.summary({}, "CNY", Goal("Order Completed", count, max(0, count - missing)))["goal"]
    assert float(told["progress"][:-1]) < 100
    assert told["reached"] < count


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (summary.money, 12.3, "12.30"),
        (summary.money, 1234.56, "1235"),
        (summary.money, 1234567.0, "1235000"),
        (summary.percent, 0.0, "0%"),
        (summary.percent, 0.0001, "<0.1%"),
        (summary.percent, 0.0324, "3.2%"),
        (summary.percent, 1.0, "100%"),
        (summary.latency, 0.00083, "0.83ms"),
        (summary.latency, 0.0351, "35ms"),
        (summary.latency, 0.9996, "1s"),
        (summary.latency, 12.34, "12s"),
        (summary.latency, 0.0, "0ms"),
    ],
)
def test_figures_are_written_for_people(write: object, value: float, text: str) -> None:
    assert write(value) == text  # type: ignore[operator]
