"""Paths into JSON: each value of any document is found at its own path, and nothing else is."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flywheel.api.gate_values import JsonPath
from flywheel.release.gate.jsonpath import find, steps

KEYS = st.text(st.characters(exclude_characters="'", exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
DOCUMENTS = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=20
)


def places(value: Any, path: str = "$") -> Iterator[tuple[str, Any]]:
    """Every value of a document, and its path in its two spellings."""
    yield path, value
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from places(each, f"{path}[{index}]")
    if isinstance(value, dict):
        for key, each in value.items():
            if re.fullmatch("[A-Za-z_][A-Za-z0-9_-]*", key):
                yield from places(each, f"{path}.{key}")
            yield f"{path}['{key}']", each


@given(DOCUMENTS)
def test_every_value_is_found_at_its_path(document: Any) -> None:
    form = JsonPath.__metadata__[0]
    for path, value in places(document):
        assert find(document, path) == (True, value)
        assert len(path) > 256 or form.matches(path)


@given(DOCUMENTS, st.text("$.[]'ab01_-", max_size=12))
def test_no_text_brings_it_down(document: Any, path: str) -> None:
    if JsonPath.__metadata__[0].matches(path):
        exists, value = find(document, path)
        assert exists or value is None
    else:
        with pytest.raises(ValueError):
            steps(path)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("$", (True, {"a": [1, {"b-c": None}], "x y": False})),
        ("$.a[1].b-c", (True, None)),
        ("$.a[2]", (False, None)),
        ("$.a.b", (False, None)),
        ("$['x y']", (True, False)),
        ("$.a[0].b", (False, None)),
        ("$[0]", (False, None)),
    ],
)
def test_examples(path: str, expected: tuple[bool, Any]) -> None:
    assert find({"a": [1, {"b-c": None}], "x y": False}, path) == expected
