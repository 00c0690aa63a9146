"""What holds whatever happens: random changes, crashes, commands, gates and times."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.release.world import BAD, BLIND, EMPTY, GOOD, Service, World, http, release

from flywheel.release.groups import advance_all
from flywheel.release.state import ReleaseState, read_releases, write_release
from flywheel.workload.scaling import Size

REVISIONS = ("one", "two", "three", "four")
EVENTS = st.one_of(
    st.tuples(st.just("want"), st.sampled_from(REVISIONS)),
    st.tuples(st.just("break"), st.sampled_from(REVISIONS)),
    st.tuples(st.just("mend"), st.sampled_from(REVISIONS)),
    st.tuples(st.just("gates find"), st.sampled_from((GOOD, BAD, BLIND, EMPTY))),
    st.tuples(st.just("time passes"), st.sampled_from((1, 10, 61, 700))),
    st.tuples(st.just("scale"), st.sampled_from((2, 5, 40))),
    st.tuples(st.sampled_from(("promote", "abort", "retry")), st.sampled_from(REVISIONS)),
    st.tuples(st.just("rollback"), st.sampled_from(("shop", "shop=one", "shop=two"))),
    st.tuples(st.just("edge follows"), st.booleans()),
    st.tuples(st.just("campaign runs"), st.booleans()),
)
RULES = st.fixed_dictionaries(
    {},
    optional={
        "before": st.just([http("smoke", interval="5s", failureLimit=1), http("deep", successes=2, interval="5s")]),
        "after": st.just([http("errors", interval="5s")]),
        "preview": st.sampled_from((1, "50%", "100%")),
        "promotion": st.just("Manual"),
        "promoteAfter": st.just("10s"),
    },
)


def happen(world: World, kind: str, value: object, number: int) -> None:
    shop = world.shop
    match kind:
        case "want":
            shop.wanted = str(value)
        case "break":
            shop.broken.add(str(value))
        case "mend":
            shop.broken.discard(str(value))
        case "gates find":
            shop.answers = {name: [value] for name in ("smoke", "deep", "errors")}  # type: ignore[list-item]
        case "time passes":
            world.pass_time(float(str(value)))
        case "scale":
            shop.scaled = int(str(value))
        case "edge follows":
            world.followed = bool(value)
        case "campaign runs":
            world.running = bool(value)
            shop.size = Size(minimum=2, maximum=50) if value else Size(replicas=0)
        case _:
            world.command(kind, f"{value}/{number}")
    world.settle(rounds=60)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules=RULES, events=st.lists(EVENTS, max_size=25))
def test_whatever_happens(rules: dict[str, object], events: list[tuple[str, object]]) -> None:
    world = World(Service("shop", release(**rules), size=Size(minimum=2, maximum=50)))
    world.settle()
    for number, (kind, value) in enumerate(events):
        before = world.state.active
        happen(world, kind, value, number)
        state, shop = world.state, world.shop
        assert state.active is not None
        places = [each for each in (state.preview, state.previous, state.failed) if each]
        assert len(places) <= 1, "the other slot holds one thing"
        assert all(each.slot != state.active.slot for each in places)
        if world.running and before is not None and state.active.revision != before.revision:
            _took_the_traffic_rightly(world, before.revision)
        if world.running and shop.slots.get(state.active.slot):
            assert shop.slots[state.active.slot].revision == state.active.revision
        if state.previous and world.running:
            assert shop.slots[state.previous.slot].desired >= shop.slots[state.active.slot].desired
        assert len(state.history) <= 20


def _took_the_traffic_rightly(world: World, before: str) -> None:
    """Whoever took the traffic was ready, or was gone back to."""
    state = world.state
    assert state.active is not None
    active = world.shop.slots[state.active.slot]
    gone_back = state.phase in ("RolledBack", "Aborted") or before in [
        each.revision for each in state.history if each.outcome == "RolledBack"
    ]
    assert active.ready > 0 or gone_back, f"{state}"


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(rules=RULES, events=st.lists(EVENTS, max_size=12))
def test_a_second_look_at_the_same_world_changes_nothing(
    rules: dict[str, object], events: list[tuple[str, object]]
) -> None:
    world = World(Service("shop", release(**rules), size=Size(minimum=2, maximum=50)))
    world.settle()
    for number, (kind, value) in enumerate(events):
        happen(world, kind, value, number)
        facts = {"shop": world.facts(world.shop)}
        once = advance_all({"shop": world.state}, facts, world.now)["shop"].state
        assert once == world.state
        written = write_release(once)
        assert json.loads(json.dumps(written)) == written, "what comes back is what was written"
        assert read_releases({"releases": [written]}) == {"shop": once}


@settings(max_examples=200, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
        max_leaves=12,
    )
)
def test_any_status_can_be_read(garbage: object) -> None:
    read_releases({"releases": garbage})
    read_releases({"releases": [garbage, {"service": "shop", "phase": garbage, "active": garbage}]})


def test_a_record_survives_the_status() -> None:
    state = ReleaseState(service="shop")
    assert read_releases({"releases": [write_release(state)]}) == {"shop": state}
