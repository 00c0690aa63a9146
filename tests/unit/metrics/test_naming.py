"""Names of events as labels of Kubernetes."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flywheel.metrics.naming import event_label

LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
NAMES = st.text(min_size=1, max_size=80) | st.text("aB_. -x0", min_size=1, max_size=70)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Order Completed", "Order__Completed"),
        ("order_completed", "order_completed"),
        ("checkout.paid", "checkout.paid"),
        ("a__b", "a-b.x41b7aa8d19"),
        ("下单", "x5fef40a61e"),
        ("Paid!", "Paid.x1ee1d4f3a5"),
    ],
)
def test_labels_can_be_read(name: str, label: str) -> None:
    shape = re.sub(r"x[0-9a-f]{10}$", "x##########", label)
    assert re.sub(r"x[0-9a-f]{10}$", "x##########", event_label(name)) == shape


@given(NAMES)
@example("x" * 63)
@example("a " * 40 + "a")
@example("A.x0123456789")
def test_every_name_becomes_a_valid_label(name: str) -> None:
    assert LABEL.fullmatch(event_label(name))


@given(NAMES, NAMES)
@example("a b", "a__b")
@example("a_ b", "a _b")
@example("a!", "a?")
@example("A! " * 30, "A! " * 31)
def test_two_names_never_share_a_label(one: str, other: str) -> None:
    assert (event_label(one) == event_label(other)) == (one == other)


def test_a_name_that_looks_like_a_hashed_one_does_not_take_its_place() -> None:
    hashed = event_label("Paid!")
    assert event_label(hashed) != hashed
