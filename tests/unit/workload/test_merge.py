"""Strategic merge, by its laws and by examples; the oracle test against kubectl itself is in tests/lab."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from flywheel.workload.merge import strategic_merge

BASE = {
    "metadata": {"labels": {"app": "shop"}},
    "spec": {
        "containers": [{"name": "cart", "image": "shop:1", "env": [{"name": "A", "value": "1"}], "args": ["x", "y"]}],
        "volumes": [{"name": "tmp", "emptyDir": {}}],
        "tolerations": [{"key": "old"}],
    },
}


def test_named_items_merge_and_new_ones_are_added() -> None:
    patch = {
        "spec": {
            "containers": [
                {"name": "cart", "env": [{"name": "B", "value": "2"}]},
                {"name": "proxy", "image": "proxy:1"},
            ]
        }
    }
    containers = strategic_merge(BASE, patch)["spec"]["containers"]
    assert {each["name"] for each in containers} == {"cart", "proxy"}
    cart = next(each for each in containers if each["name"] == "cart")
    assert cart["image"] == "shop:1"
    assert {each["name"]: each["value"] for each in cart["env"]} == {"A": "1", "B": "2"}


def test_other_lists_are_replaced() -> None:
    merged = strategic_merge(
        BASE, {"spec": {"tolerations": [{"key": "new"}], "containers": [{"name": "cart", "args": ["z"]}]}}
    )
    assert merged["spec"]["tolerations"] == [{"key": "new"}]
    assert merged["spec"]["containers"][0]["args"] == ["z"]


def test_null_and_directives_remove() -> None:
    assert "labels" not in strategic_merge(BASE, {"metadata": {"labels": None}})["metadata"]
    merged = strategic_merge(BASE, {"spec": {"volumes": [{"name": "tmp", "$patch": "delete"}]}})
    assert merged["spec"]["volumes"] == []
    merged = strategic_merge(BASE, {"spec": {"volumes": [{"$patch": "replace"}, {"name": "data", "emptyDir": {}}]}})
    assert merged["spec"]["volumes"] == [{"name": "data", "emptyDir": {}}]
    merged = strategic_merge(BASE, {"metadata": {"labels": {"$patch": "replace", "only": "this"}}})
    assert merged["metadata"]["labels"] == {"only": "this"}


names = st.sampled_from(["containers", "volumes", "env", "labels", "spec", "args", "$patch"])
scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
values: st.SearchStrategy[Any] = st.recursive(
    scalars | st.fixed_dictionaries({"name": st.sampled_from("abc")}),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.just("name"), inner, max_size=3),
    max_leaves=12,
)
documents = st.dictionaries(names, values, max_size=4)


@given(base=documents, patch=documents)
def test_merging_is_total_and_changes_neither_side(base: dict[str, Any], patch: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    strategic_merge(base, patch)
    assert (base, patch) == before


@given(base=documents)
def test_an_empty_patch_changes_nothing(base: dict[str, Any]) -> None:
    assert strategic_merge(base, {}) == base


def test_merging_twice_is_merging_once() -> None:
    patch = {"spec": {"containers": [{"name": "cart", "image": "shop:2"}, {"name": "proxy", "image": "p"}]}}
    once = strategic_merge(BASE, patch)
    assert strategic_merge(once, patch) == once
