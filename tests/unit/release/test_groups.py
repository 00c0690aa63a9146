"""Services that switch together, and go back together."""

from tests.unit.release.world import BAD, Service, World, http, release


def group(**gates: object) -> World:
    world = World(
        Service("cart", release(releaseGroup="checkout", **gates)),
        Service("shop", release(releaseGroup="checkout", promotion="Manual")),
        Service("alone", release()),
    )
    world.settle()
    return world


def change(world: World, revision: str = "two") -> None:
    for service in world.services.values():
        service.wanted = revision
    world.settle()


def serving(world: World) -> list[str]:
    found = []
    for service in world.services.values():
        assert service.state
        assert service.state.active
        found.append(service.state.active.revision)
    return found


def test_all_wait_for_the_last_one_and_switch_at_once() -> None:
    world = group()
    change(world)
    assert serving(world) == ["one", "one", "two"]
    assert world.services["cart"].state.reason == "WaitingForGroup"
    world.command("promote", "two")
    world.settle()
    assert serving(world) == ["two", "two", "two"]
    cart, shop = world.services["cart"].state, world.services["shop"].state
    assert cart.promoted_at == shop.promoted_at


def test_one_that_fails_stops_the_others() -> None:
    world = group(before=[http("smoke")])
    world.services["cart"].answers = {"smoke": [BAD]}
    change(world)
    world.command("promote", "two")
    world.settle()
    assert serving(world) == ["one", "one", "two"]
    assert world.services["shop"].state.phase == "Failed"
    assert "cart" in world.services["shop"].state.message


def test_one_that_goes_back_takes_the_others_along() -> None:
    world = group(after=[http("errors", successes=2)])
    change(world)
    world.command("promote", "two")
    world.settle()
    assert serving(world) == ["two", "two", "two"]
    world.services["cart"].answers = {"errors": [BAD]}
    world.pass_time(10)
    assert serving(world) == ["one", "one", "two"]
    assert world.services["shop"].state.phase == "RolledBack"
    assert "cart" in world.services["shop"].state.message


def test_one_that_changes_alone_waits_for_nobody() -> None:
    world = group()
    world.services["cart"].wanted = "two"
    world.settle()
    assert serving(world) == ["two", "one", "one"]
