"""Tickets of the flash sale."""

from hypothesis import given
from hypothesis import strategies as st

from shop import ticket

KEY = b"k" * 32
NOW = 1_800_000_000


@given(st.text(min_size=1), st.integers(-5, ticket.LIFETIME_SECONDS))
def test_a_ticket_is_good_for_its_visitor_and_time(visitor: str, age: int) -> None:
    issued = ticket.issue(KEY, visitor, "sku", NOW, rounds=1)
    assert ticket.valid(issued, KEY, visitor, "sku", NOW + age, rounds=1)


@given(st.integers())
def test_a_ticket_grows_old_and_does_not_come_from_the_future(age: int) -> None:
    issued = ticket.issue(KEY, "visitor", "sku", NOW, rounds=1)
    assert ticket.valid(issued, KEY, "visitor", "sku", NOW + age, rounds=1) == (-5 <= age <= ticket.LIFETIME_SECONDS)


def test_a_ticket_is_for_nobody_and_nothing_else() -> None:
    issued = ticket.issue(KEY, "visitor", "sku", NOW, rounds=1)
    assert not ticket.valid(issued, KEY, "another", "sku", NOW, rounds=1)
    assert not ticket.valid(issued, KEY, "visitor", "other", NOW, rounds=1)
    assert not ticket.valid(issued, b"x" * 32, "visitor", "sku", NOW, rounds=1)
    assert not ticket.valid(issued, KEY, "visitor", "sku", NOW, rounds=2)
    assert not ticket.valid(issued.replace(str(NOW), str(NOW + 1)), KEY, "visitor", "sku", NOW, rounds=1)


@given(st.text())
def test_invented_tickets_are_refused(text: str) -> None:
    assert not ticket.valid(text, KEY, "visitor", "sku", NOW, rounds=1)
    assert not ticket.valid(f"{NOW}.{text}", KEY, "visitor", "sku", NOW, rounds=1)
