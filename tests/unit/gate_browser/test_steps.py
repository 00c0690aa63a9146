"""From a gate's spec to a plan."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.gate_browser.looking import gate, plan

from flywheel.release.gate.browser.steps import (
    NoEdgeError,
    decode,
    encode,
    host_and_port,
    origin_of,
    plan_for,
    url_matches,
)
from flywheel.release.gate.measurement import Target

TARGET = Target(
    namespace="shop",
    campaign="spring",
    service="landing",
    revision="landing-7f",
    slot="green",
    active_slot="blue",
    active_revision="landing-6e",
    address="http://spring-landing-green.shop.svc:8080",
    edge="http://spring-edge.shop.svc:80",
    since=datetime(2027, 6, 1, tzinfo=UTC),
    promoted=False,
)


def test_a_preview_is_the_address_of_the_revision_alone() -> None:
    made = plan_for(gate("[{open: /}]", headers=[{"name": "X-Test", "value": "1"}]), TARGET)
    assert (made.origin, made.dial, made.headers) == (TARGET.address, TARGET.address, {"X-Test": "1"})


def test_through_the_edge_every_request_asks_for_the_revision() -> None:
    made = plan_for(gate("[{open: /}]", through="Edge", host="618.shop.example"), TARGET)
    assert made.origin == "http://618.shop.example"
    assert made.dial == "http://spring-edge.shop.svc"
    assert made.headers == {"X-FW-Preview": "landing-7f"}


def test_without_an_edge_there_is_nothing_to_go_through() -> None:
    with pytest.raises(NoEdgeError, match=r"add spec\.edge or use Preview"):
        plan_for(gate("[{open: /}]", through="Edge"), replace(TARGET, edge=""))


def test_what_is_filled_in_is_not_in_the_words_for_people() -> None:
    made = plan(TARGET.address, '[{open: /}, {fill: {selector: "#code", value: s3cret}}]')
    assert made.steps[1].text == "s3cret"
    assert made.steps[1].what == "fill #code"


def test_a_plan_survives_the_environment_of_a_pod() -> None:
    made = plan(TARGET.address, "[{open: /}, {expectText: '$(HOME) $$(X) 领取'}]", device="Phone", locale="zh-CN")
    assert "$" not in encode(made)
    assert decode(encode(made)) == made
    assert json.loads(encode(made))["steps"][1]["text"] == "$(HOME) $$(X) 领取"


@given(st.text(max_size=200))
def test_what_is_no_plan_is_refused(text: str) -> None:
    try:
        decode(text)
    except (msgspec.MsgspecError, UnicodeError):
        return
    pytest.fail("taken")


@pytest.mark.parametrize(
    ("address", "origin", "to"),
    [
        ("http://localhost:8080/", "http://localhost:8080", ("localhost", 8080)),
        ("http://Shop.example:80", "http://shop.example", ("shop.example", 80)),
        ("https://shop.example:443", "https://shop.example", ("shop.example", 443)),
        ("http://[::1]:8080", "http://[::1]:8080", ("::1", 8080)),
    ],
)
def test_an_address_is_written_as_browsers_do(address: str, origin: str, to: tuple[str, int]) -> None:
    assert origin_of(address) == origin
    assert host_and_port(origin) == to


@pytest.mark.parametrize(
    "address",
    ["", "localhost:8080", "ftp://x", "http://", "http://u:p@x", "http://x/a", "http://x:99999", "http://x?q"],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError):
        origin_of(address)


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("/orders/*", "/orders/42?from=shop", True),
        ("/orders/*", "/orders/", True),
        ("/orders/*", "/order", False),
        ("/orders", "/orders/42", False),
        ("/a?b=1", "/a?b=1", True),
        ("/a?b=1", "/ab=1", False),
        ("/a", "/a#top", True),
        ("/a#*", "/a#top", True),
        ("*/done", "/x/y/done", True),
        ("/a.c", "/abc", False),
    ],
)
def test_a_glob_is_about_path_and_query(glob: str, path: str, matches: bool) -> None:
    assert url_matches(glob, f"http://shop.example{path}", "http://shop.example") is matches


def test_a_glob_that_begins_with_a_path_does_not_match_another_host() -> None:
    assert not url_matches("/*", "http://shop.example.evil/", "http://shop.example")
    assert url_matches("*evil/*", "http://shop.example.evil/", "http://shop.example")
