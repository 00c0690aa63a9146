"""When a command that is followed has come to its end; played through with the operator's own rules."""

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.release.world import BAD, NOON, Service, World, http, release

from flywheel.commands.release_outcome import End, Goal, end_of
from flywheel.commands.release_seen import Place, Refusal, Seen
from flywheel.commands.release_targets import abortion, going_back, promotion, retrial
from flywheel.release.state import ReleaseState

PLACE = Place("campaign", "spring")
CHOOSE = {
    "promote": lambda seen: promotion(seen, "", ""),
    "abort": lambda seen: abortion(seen, "", ""),
    "retry": lambda seen: retrial(seen, "", ""),
    "rollback": lambda seen: going_back(seen, "", "", {}, NOON),
}
ACTS = ("two", "three", "one", "wait", "break", "mend", *CHOOSE)


def ended(command: str, state: ReleaseState, revision: str = "two") -> End | None:
    return end_of(Goal(command, "shop", revision, f"shop={revision}/n"), state, PLACE)


def give(world: World, command: str) -> Goal | None:
    """Command what the program would, without the operator looking at it."""
    assert world.shop.state
    seen = Seen(PLACE, {"shop": world.shop.state}, {"shop": {"after": [], "before": []}})
    try:
        choice = CHOOSE[command](seen)
    except Refusal:
        return None
    if not choice.targets:
        return None
    (revision,) = choice.targets.values()
    part = f"shop={revision}/{len(world.changes)}"
    world.changes.append(part)
    world.command(command, part)
    return Goal(command, "shop", revision, part)


@given(st.lists(st.sampled_from(ACTS), max_size=20), st.sampled_from(["Automatic", "Manual"]))
def test_what_is_chosen_is_taken_by_the_operator_and_comes_to_an_end(acts: list[str], way: str) -> None:
    world = World(Service("shop", release(promotion=way, before=[http("smoke")])))
    world.settle()
    for act in acts:
        if act in CHOOSE:
            before = world.state
            goal = give(world, act)
            if goal is None:
                continue
            assert end_of(goal, before, PLACE) is None, "the record is from before the command"
            world.settle()
            for _ in range(5):
                world.pass_time(700)
            assert world.shop.state
            assert world.state.handled.get(act) == goal.part
            assert _at_end(goal, world) or world.state.phase == "AwaitingPromotion"
        elif act in ("break", "mend"):
            world.shop.answers["smoke"] = [BAD] if act == "break" else []
        elif act == "wait":
            world.pass_time(61)
        else:
            world.shop.wanted = act
            world.settle()


def _at_end(goal: Goal, world: World) -> bool:
    end = end_of(goal, world.state, PLACE)
    if end is None:
        return False
    assert world.state.active
    serves = world.state.active.revision == goal.revision
    assert end.good == (serves != (goal.command == "abort")), end
    return True


def test_an_abort_that_comes_too_late_says_how_to_go_back() -> None:
    world = World.of(after=[])
    world.shop.wanted = "two"
    world.settle()
    end = ended("abort", world.state)
    assert end
    assert not end.good
    assert "too late, two serves. To go back: flywheel release rollback campaign shop -n spring" in end.sentence


def test_a_release_that_another_one_replaced_ends_the_waiting() -> None:
    world = World.of(promotion="Manual")
    for revision in ("two", "three"):
        world.shop.wanted = revision
        world.settle()
    end = ended("promote", world.state)
    assert end
    assert not end.good
    assert "not on its way any more (Superseded: another revision has come)" in end.sentence


def test_a_rollback_that_the_operator_cannot_carry_out_ends_with_its_words() -> None:
    world = World.of()
    world.command("rollback", "shop=two/n")
    world.settle()
    end = ended("rollback", world.state)
    assert end == End(good=False, sentence="shop: there is no revision 'two' to go back to.")


def test_a_service_that_is_gone_ends_the_waiting() -> None:
    end = end_of(Goal("promote", "shop", "two", ""), None, PLACE)
    assert end
    assert not end.good
