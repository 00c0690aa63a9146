"""Values that are put into PromQL stay values, whatever is in them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gate.measuring import NOW, target

from flywheel.api.gate_values import PLACEHOLDERS
from flywheel.release.gate.placeholders import escaped, filled, query_of, query_of_active, window_of

ANY_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=30)


def read_as_prometheus_does(text: str) -> str:
    """What a text between quotes means to Go, as far as we write it."""
    found, position = [], 0
    while position < len(text):
        letter = text[position]
        assert letter not in "\"'`\n", "this ends the text, or may not be in it"
        if letter != "\\":
            found.append(letter)
            position += 1
            continue
        length = {"u": 4, "U": 8}[text[position + 1]]
        found.append(chr(int(text[position + 2 : position + 2 + length], 16)))
        position += 2 + length
    return "".join(found)


@given(ANY_TEXT)
def test_a_value_means_itself_and_ends_no_text(value: str) -> None:
    assert read_as_prometheus_does(escaped(value)) == value


@given(st.dictionaries(st.sampled_from(PLACEHOLDERS), ANY_TEXT | st.just("{{slot}}"), min_size=len(PLACEHOLDERS)))
def test_what_was_put_in_is_not_filled_again(values: dict[str, str]) -> None:
    query = " ".join(f"{{{{{name}}}}}" for name in PLACEHOLDERS)
    parts = [escaped(values[name]) for name in PLACEHOLDERS]
    assert filled(query, values) == " ".join(parts)
    assert "{{" not in filled(query, values)


def test_names_and_durations_stay_as_people_know_them() -> None:
    query = 'rate(x{slot="{{slot}}",on="{{activeSlot}}",rev=~"{{revision}}|{{activeRevision}}"}[{{window}}])'
    assert query_of(query, target(), timedelta(seconds=90)) == (
        'rate(x{slot="green",on="blue",rev=~"7f3a9c|1b2c3d"}[90s])'
    )
    assert query_of_active(query, target(), timedelta(minutes=5)) == (
        'rate(x{slot="blue",on="blue",rev=~"1b2c3d|1b2c3d"}[300s])'
    )
    assert query_of("{{namespace}}/{{campaign}}/{{service}}", target(), timedelta()) == "spring/sale/pay"


@pytest.mark.parametrize(("age", "expected"), [(0, 1), (30, 30), (300, 300), (4000, 300), (-5, 1)])
def test_a_young_revision_is_looked_at_for_as_long_as_it_is_there(age: int, expected: int) -> None:
    found = window_of(timedelta(minutes=5), NOW - timedelta(seconds=age), NOW)
    assert found == timedelta(seconds=expected)
