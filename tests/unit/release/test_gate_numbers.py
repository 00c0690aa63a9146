"""No measurement of a mended gate is mistaken for one of the gate as it was before."""

from typing import Any

from tests.unit.release.world import BAD, BLIND, GOOD, World, http, release


def job(image: str) -> dict[str, Any]:
    return {"name": "check", "job": {"podSpec": {"containers": [{"name": "script", "image": image}]}}}


def numbers(world: World) -> list[int]:
    """Numbers of the measurements of the second revision."""
    return [number for revision, *_, number in world.shop.asked if revision == "two"]


def test_a_job_that_is_mended_is_another_job() -> None:
    world = World.of(before=[job("of-no-registry")])
    world.shop.wanted, world.shop.answers = "two", {"check": [BLIND]}
    world.settle()
    assert world.phase == "Paused"
    world.shop.answers = {"check": [GOOD]}
    world.shop.spec = release(before=[job("of-a-registry")])
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "two")
    assert numbers(world) == [0, 1]


def test_what_was_measured_under_another_definition_is_left_aside() -> None:
    world = World.of(before=[http("check")])
    world.shop.wanted, world.shop.answers = "two", {"check": [BAD]}
    while not world.shop.results:
        world.reconcile()
        world.work()
    world.shop.spec, world.shop.answers = release(before=[http("check", interval="1s")]), {"check": [GOOD]}
    world.settle()
    assert (world.phase, world.serving) == ("Stable", "two")
    assert numbers(world) == [0, 1]
