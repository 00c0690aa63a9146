"""Behaviour files: the example is one, and a wrong one is told what is wrong and where."""

import random
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.simulation.test_simulate_plan import EXAMPLE, SHOPPERS

from flywheel.simulation.behaviour import Extract
from flywheel.simulation.read import InvalidBehaviour, read_behaviour
from flywheel.simulation.texts import Missing, extract, fill, fill_all, sees

SMALLEST: dict[str, Any] = {
    "channels": [{"name": "direct"}],
    "agents": [{"agent": "Mozilla/5.0"}],
    "journeys": [{"name": "look", "start": "front"}],
    "steps": {"front": {"path": "{entry}"}},
}


def complaints(changes: dict[str, Any]) -> str:
    with pytest.raises(InvalidBehaviour) as caught:
        read_behaviour(yaml.safe_dump({**SMALLEST, **changes}))
    return str(caught.value)


def test_the_example_and_the_smallest_are_behaviours() -> None:
    assert read_behaviour(SHOPPERS.read_text("utf-8")).seed == 618
    assert read_behaviour(yaml.safe_dump(SMALLEST)).steps["front"].next == {"leave": 1.0}


STEP = SMALLEST["steps"]["front"]


@pytest.mark.parametrize(
    ("changes", "path", "words"),
    [
        ({"sede": 1}, "sede", "did you mean seed"),
        ({"steps": {"front": {**STEP, "paht": "/"}}}, "steps.front.paht", "did you mean path"),
        ({"steps": {"front": {}}}, "steps.front.path", "is required"),
        ({"steps": {"front": {"path": "browse"}}}, "steps.front.path", "/browse"),
        ({"steps": {"front": {"path": "//elsewhere"}}}, "steps.front.path", "/browse"),
        ({"steps": {"front": {**STEP, "next": {"nowhere": 1}}}}, "steps.front.next.nowhere", "there are: front"),
        ({"steps": {"front": {**STEP, "otherwise": "nowhere"}}}, "steps.front.otherwise", "no such step"),
        ({"steps": {"front": {"path": "/{sku}"}}}, "steps.front.path", "nothing gives {sku}"),
        (
            {"steps": {"front": {**STEP, "track": [{"event": "E", "properties": {"a": {"b": ["{x}"]}}}]}}},
            "steps.front.track[0].properties.a.b[0]",
            "nothing gives {x}",
        ),
        ({"steps": {"front": {**STEP, "form": {"a": "b"}}}}, "steps.front.method", "POST"),
        ({"steps": {"front": {**STEP, "extract": {"a": {"regex": "("}}}}}, "steps.front.extract.a.regex", "no regular"),
        ({"steps": {"front": {**STEP, "extract": {"a": {"regex": "a"}}}}}, "steps.front.extract.a.regex", "one group"),
        ({"steps": {"front": {**STEP, "extract": {"a": {}}}}}, "steps.front.extract.a", "exactly one"),
        ({"steps": {"front": {**STEP, "think": {"least": "5s", "most": "1s"}}}}, "steps.front.think.least", "swap"),
        (
            {"steps": {"front": {**STEP, "prefers": [{"name": "green", "sees": "(", "next": {"leave": 1}}]}}},
            "steps.front.prefers[0].sees",
            "no regular",
        ),
        (
            {"steps": {"front": {**STEP, "prefers": [{"name": "green", "sees": "{hue}", "next": {"leave": 1}}]}}},
            "steps.front.prefers[0].sees",
            "nothing gives {hue}",
        ),
        (
            {"steps": {"front": {**STEP, "prefers": [{"name": "green", "sees": "a", "next": {"nowhere": 1}}]}}},
            "steps.front.prefers[0].next.nowhere",
            "there are: front",
        ),
        (
            {"steps": {"front": {**STEP, "prefers": [{"name": "green", "sees": "a"}]}}},
            "steps.front.prefers[0].next",
            "is required",
        ),
        (
            {"steps": {"front": {**STEP, "prefers": [{"name": "g", "sees": s, "next": {"leave": 1}} for s in "ab"]}}},
            "steps.front.prefers[1].name",
            "duplicate",
        ),
        ({"journeys": [{"name": "look", "start": "back"}]}, "journeys[0].start", "no such step"),
        ({"agents": [{"agent": "B", "bot": True}]}, "agents[0].journey", "name a journey"),
        ({"agents": [{"agent": "B", "bot": True, "journey": "look"}]}, "agents", "add a browser"),
        ({"channels": [{"name": "a"}, {"name": "a"}]}, "channels[1].name", "duplicate"),
        ({"day": {"hours": [1] * 23}}, "day.hours", "24"),
        ({"day": {"hours": [0] * 24}}, "day.hours", "raise a weight"),
        ({"day": {"hours": [1] * 24, "timeZone": "Mars/Olympus"}}, "day.timeZone", "Asia/Shanghai"),
        ({"returning": {"share": "95%"}}, "returning.share", "new"),
        ({"floods": [{"at": "1s", "for": "1s", "factor": 2, "journeys": {"x": 1}}]}, "floods[0].journeys.x", "look"),
        ({"floods": [{"at": "1s", "for": "1s", "factor": 2, "channels": {"x": 1}}]}, "floods[0].channels.x", "direct"),
    ],
)
def test_what_is_wrong_is_told_with_its_path(changes: dict[str, Any], path: str, words: str) -> None:
    told = complaints(changes)
    assert path in told
    assert words in told


def _outcome(text: str) -> object:
    """A behaviour, or its problems; nothing else ever comes out."""
    try:
        return read_behaviour(text)
    except InvalidBehaviour as error:
        return error.problems


@given(text=st.text(max_size=200) | st.just("a: &a [*a]"))
def test_any_text_is_a_behaviour_or_refused(text: str) -> None:
    assert _outcome(text)


@given(
    key=st.sampled_from(sorted(EXAMPLE)),
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_any_value_is_taken_or_refused(key: str, value: object) -> None:
    assert _outcome(yaml.safe_dump({**EXAMPLE, key: value}))


def test_placeholders_are_filled_and_stay_in_their_segment() -> None:
    values = {"sku": "a/b?c", "n": 2, "entry": "/?utm_source=x"}
    assert fill("/seckill/{sku}", values, in_path=True) == "/seckill/a%2Fb%3Fc"
    assert fill("{entry}", values, in_path=True) == "/?utm_source=x"
    assert fill_all({"q": "{n}", "t": ["{n} {sku}", {"deep": "{n}"}], "k": True}, values) == {
        "q": 2,
        "t": ["2 a/b?c", {"deep": 2}],
        "k": True,
    }
    with pytest.raises(Missing, match="price"):
        fill("{price}", values)


def test_values_are_found_in_bodies_addresses_and_json() -> None:
    rng = random.Random(1)
    sale = 'sku="a+" t=1 sku="b" t=2'
    assert extract(Extract(regex='sku="a+" t=(\\d{1})'), 'sku="aaa" t=3', "", {}, rng) == "3"
    assert extract(Extract(regex='sku="{sku}" t=(\\d)'), sale, "", {"sku": "a+"}, rng) == "1"
    assert {extract(Extract(regex="t=(.)"), sale, "", {}, rng) for _ in range(50)} == {"1", "2"}
    assert extract(Extract(url="/pay/(.+)"), "", "http://x/pay/7", {}, rng) == "7"
    assert (
        extract(
            Extract(json_path="purchase.lines.0.cents", number=True, scale=0.01),
            '{"purchase": {"lines": [{"cents": 1999}]}}',
            "",
            {},
            rng,
        )
        == 19.99
    )
    assert extract(Extract(regex="¥([0-9,.]+)", number=True), "¥1,299.50", "", {}, rng) == 1299.5
    assert extract(Extract(regex="(x)", number=True), "x", "", {}, rng) is None
    assert extract(Extract(json_path="a.b"), "[]", "", {}, rng) is None


def test_what_an_answer_shows_is_a_regex_with_values() -> None:
    page = '<style>:root{--claim:#0b7a3b}</style><b data-sku="a+b">'
    assert sees("--claim:#0b[0-9a-f]{4}", page, {})
    assert sees('data-sku="{sku}"', page, {"sku": "a+b"})
    assert not sees('data-sku="{sku}"', page, {"sku": "aab"})
    assert not sees("--claim:#d6123a", page, {})
