"""No gate looks before what it looks at can be seen by it."""

from typing import Any

import pytest
from tests.unit.release.world import World, http

JOB = {"name": "check", "job": {"podSpec": {"containers": [{"name": "script", "image": "newman"}]}}}
PAGE = {"name": "check", "browser": {"through": "Edge", "steps": [{"open": "/"}]}}


@pytest.mark.parametrize("gate", [http("check") | {"http": {"through": "Edge"}}, PAGE, JOB])
def test_gates_through_the_edge_wait_until_it_shows_the_preview(gate: dict[str, Any]) -> None:
    world = World.of(before=[gate])
    world.followed, world.shop.wanted = False, "two"
    world.settle()
    assert (world.phase, world.shop.asked) == ("Preparing", [])
    assert "edge pod edge-1" in world.state.message
    world.followed = True
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "two")


def test_an_edge_that_never_shows_it_fails_the_release_in_the_end() -> None:
    world = World.of(before=[PAGE], deadline="60s")
    world.followed, world.shop.wanted = False, "two"
    world.settle()
    world.pass_time(61)
    assert (world.phase, world.serving, world.shop.asked) == ("Failed", "one", [])
    assert "edge pod edge-1" in world.state.message


def test_other_gates_do_not_wait_for_the_edge() -> None:
    world = World.of(before=[http("check")], promotion="Manual")
    world.followed, world.shop.wanted = False, "two"
    world.settle()
    assert world.phase == "AwaitingPromotion"
