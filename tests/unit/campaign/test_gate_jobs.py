"""Jobs of gates that do not get on: what is waited for, how long, and what is said meanwhile."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.campaign.test_releasing import given, play, release, web
from tests.unit.campaign.world import World

from flywheel.plan import ObjectKey
from flywheel.release.jobs import JobPods
from flywheel.workload.state import Trouble

NOW = datetime(2027, 6, 16, 12, 0, tzinfo=UTC)
NO_NODE = JobPods(trouble=Trouble("Unschedulable", "0/3 nodes are available: 3 Insufficient cpu"))
NO_IMAGE = JobPods(trouble=Trouble("ImagePullBackOff", "there is no such image"))


def loaded(timeout: str, said: JobPods) -> World:
    """A second revision whose job gate is begun, and says something."""
    gate: dict[str, Any] = {
        "name": "load",
        "timeout": timeout,
        "job": {"podSpec": {"containers": [{"name": "k6", "image": "k6:1"}]}},
    }
    world = given()
    world.job_pods["load"] = said
    world.edit(services=[web(2, release={"strategy": "BlueGreen", "before": [gate]})])
    play(world, NOW)
    return world


def ends(world: World) -> None:
    key = next(key for key in world.children if key.kind == "Job")
    status = {"conditions": [{"type": "Complete", "status": "True"}]}
    world.children[key] = replace(world.children[key], status=status)
    world.job_pods["load"] = JobPods(exit_code=0)


@pytest.mark.parametrize(("timeout", "patience"), [("20m", 300), ("2m", 60)])
def test_a_job_waits_for_a_node_and_says_so_but_not_for_ever(timeout: str, patience: int) -> None:
    world = loaded(timeout, NO_NODE)
    for seconds in (0, patience - 1):
        play(world, NOW + timedelta(seconds=seconds))
        assert release(world)["phase"] == "Verifying"
        assert release(world)["message"] == ("gate load waits for a node: 0/3 nodes are available: 3 Insufficient cpu")
    play(world, NOW + timedelta(seconds=patience))
    assert (release(world)["phase"], release(world)["reason"]) == ("Paused", "GateInconclusive")
    assert "Insufficient cpu" in release(world)["message"]


def test_a_node_comes_and_the_gate_passes() -> None:
    world = loaded("20m", NO_NODE)
    world.job_pods["load"] = JobPods()
    play(world, NOW + timedelta(seconds=90))
    assert release(world)["message"] == "gate load is at work"
    ends(world)
    play(world, NOW + timedelta(seconds=120))
    assert release(world)["phase"] == "Stable"


def test_each_job_waits_from_its_own_start() -> None:
    world = loaded("60m", NO_NODE)
    key = next(key for key in world.children if key.kind == "Job")
    later = NOW + timedelta(minutes=20)
    world.children[key] = replace(world.children[key], status={"startTime": later.strftime("%Y-%m-%dT%H:%M:%SZ")})
    play(world, later)
    assert release(world)["phase"] == "Verifying"


def test_an_image_that_is_not_there_is_not_waited_for() -> None:
    world = loaded("20m", NO_IMAGE)
    assert (release(world)["phase"], release(world)["reason"]) == ("Paused", "GateInconclusive")
    assert ObjectKey("batch", "Job", "shop", "yougou-618-web-load-1-0") in world.children
