"""The number of fraud workers changes step by step, and no key is ever without somebody who knows its window."""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.campaign.test_fraudplan import NOW, campaign, rule

from flywheel.campaign.fraudplan import plan_fraud
from flywheel.campaign.fraudshards import (
    Layout,
    Standing,
    counting,
    layout_of,
    next_layout,
    not_ready,
    standings_of,
    workers_of,
)
from flywheel.fraud.workforce import MOST, Workforce, read_numbers
from flywheel.plan import LiveObject, ObjectKey

KEYS = frozenset(range(48))


def own(number: int, shards: int) -> frozenset[int]:
    return frozenset(key for key in KEYS if owner(key, shards) == number)


@functools.cache
def owner(key: int, shards: int) -> int:
    """Give one key after the other to each worker that is added: from old workers to new ones, and nowhere else."""
    found = 0
    for number in range(1, shards):
        # Of all keys it takes one of so many, as it is the next of so many.
        if hashlib.blake2b(f"{key}/{number}".encode()).digest()[0] % (number + 1) == 0:
            found = number
    return found


@dataclass
class Pod:
    """A worker: what it was told, by what it judges, and whose windows it knows."""

    told: int
    judges_by: int = 0
    """0 while it has not taken anything over."""
    windows: frozenset[int] = frozenset()
    taking: bool = True


@dataclass
class Cluster:
    """A StatefulSet and its pods, which do what they do one step at a time."""

    layout: Layout | None = None
    pods: dict[int, Pod] = field(default_factory=dict)
    broken: frozenset[int] = frozenset()
    """Numbers of workers that never start."""

    def apply(self, layout: Layout) -> None:
        begins = self.layout is None
        self.layout = layout
        self.pods = {number: pod for number, pod in self.pods.items() if number < layout.workers}
        for number in range(layout.workers):
            self.pods.setdefault(number, Pod(layout.shards))
        if begins:
            self.pods = {n: Pod(layout.shards, layout.shards, own(n, layout.shards), taking=False) for n in self.pods}

    def go_on(self) -> None:
        """Let one pod take over, or be restarted, as a StatefulSet does: the highest first, all others being ready."""
        assert self.layout
        for number, pod in self.pods.items():
            if pod.taking and number not in self.broken:
                # Whatever it is to judge, somebody has to be there who knows it.
                pod.windows = own(number, pod.told)
                pod.judges_by, pod.taking = pod.told, False
                return
        if any(pod.taking for pod in self.pods.values()):
            return
        old = [number for number, pod in self.pods.items() if pod.told != self.layout.shards]
        if old:
            self._restart(max(old), self.layout.shards)

    def _restart(self, number: int, shards: int) -> None:
        pod = self.pods[number]
        pod.told = shards
        if number >= shards:
            return  # it goes on as it was, until nobody needs it
        if pod.judges_by > shards:
            pod.taking = True
        else:
            pod.judges_by, pod.windows = shards, own(number, shards)

    def standings(self) -> dict[int, Standing]:
        return {n: Standing(pod.judges_by) for n, pod in self.pods.items() if not pod.taking and n not in self.broken}

    def known(self) -> frozenset[int]:
        return frozenset().union(*(pod.windows for pod in self.pods.values()))


@given(st.lists(st.one_of(st.integers(1, 6), st.none()), max_size=60), st.integers(1, 6))
def test_whatever_is_wanted_meanwhile_each_window_is_known_to_somebody_and_the_end_is_what_is_wanted(
    steps: Sequence[int | None], last: int
) -> None:
    cluster, wanted = Cluster(), 1
    for step in [*steps, last, *[None] * 80]:
        if step is None:
            if cluster.layout:
                cluster.go_on()
        else:
            wanted = step
        cluster.apply(next_layout(wanted, cluster.layout, cluster.standings()))
        assert cluster.known() == KEYS
    assert cluster.layout == Layout(last, last)
    assert {pod.judges_by for pod in cluster.pods.values()} == {last}


def test_growth_is_one_step_and_shrinking_two() -> None:
    one, two = {0: Standing(1)}, {0: Standing(2), 1: Standing(2)}
    assert next_layout(4, None, {}) == (4, 4)
    assert next_layout(2, Layout(1, 1), one) == (2, 2)
    assert next_layout(2, Layout(2, 2), one) == (2, 2)
    assert next_layout(1, Layout(2, 2), two) == (2, 1)
    assert next_layout(1, Layout(2, 1), {1: Standing(2)}) == (2, 1), "the one who stays has not said anything yet"
    assert next_layout(1, Layout(2, 1), {0: Standing(1, taking=True), 1: Standing(2)}) == (2, 1)
    assert next_layout(1, Layout(2, 1), {0: Standing(1), 1: Standing(2)}) == (1, 1)


def test_one_move_ends_before_the_next_begins() -> None:
    assert next_layout(8, Layout(4, 2), {}) == (4, 2)
    assert next_layout(8, Layout(4, 2), {0: Standing(2), 1: Standing(2)}) == (2, 2)
    assert next_layout(8, Layout(2, 2), {0: Standing(2)}) == (2, 2)


def test_workers_that_never_start_can_be_given_up() -> None:
    cluster = Cluster(broken=frozenset({2, 3}))
    cluster.apply(Layout(2, 2))
    for wanted, expected in ((4, (4, 4)), (4, (4, 4)), (2, (2, 2)), (3, (3, 3)), (1, (2, 2)), (1, (2, 1))):
        cluster.go_on()
        cluster.apply(next_layout(wanted, cluster.layout, cluster.standings()))
        assert cluster.layout == expected
        assert cluster.known() == KEYS


def test_a_worker_that_is_lost_can_be_given_up_by_those_who_stay() -> None:
    assert next_layout(1, Layout(3, 3), {0: Standing(3)}) == (3, 1)
    assert next_layout(2, Layout(3, 3), {0: Standing(3)}) == (3, 3)


def test_while_windows_move_only_those_who_have_all_of_them_count() -> None:
    assert counting({0: Standing(1), 1: Standing(2)}, 2) == 1
    assert counting({0: Standing(2), 1: Standing(2), 2: Standing(4)}, 4) == 2
    assert counting({0: Standing(2)}, 2) == 2
    assert counting({1: Standing(2)}, 2) == 2


def test_what_a_stateful_set_and_its_workers_say_is_read() -> None:
    [made] = [each for each in plan(Layout(3, 2)).apply if each["kind"] == "StatefulSet"]
    assert layout_of(made) == Layout(3, 2)
    assert layout_of({"spec": {"replicas": 2}}) == Layout(2, 1), "one of before there were several"
    assert layout_of(None) is None
    assert layout_of({"spec": {"replicas": 0}}) is None
    bodies = {
        0: {"ready": True, "shards": 2, "shard": 0, "takingOver": True},
        1: {"ready": False, "shards": 2, "takingOver": True},
        2: {},
    }
    said = {number: json.dumps(body).encode() for number, body in bodies.items()}
    assert standings_of(said | {3: b"rubbish"}) == {0: Standing(2, taking=True), 2: Standing(1)}
    assert not_ready(said[0]) == ""
    assert not_ready(said[1]) == "it takes over windows of the others"
    assert not_ready(b'{"ready": false}') == "it is starting"
    with pytest.raises(ValueError, match="cannot be read"):
        not_ready(b"rubbish")


def plan(layout: Layout) -> Any:
    shop = campaign()
    return plan_fraud("shop", (rule(),), (shop,), {shop.name}, {}, "image", {}, NOW, layout=layout)


def test_edges_send_to_all_workers_that_there_are() -> None:
    key = ObjectKey("apps", "StatefulSet", "shop", "flywheel-fraud")
    live = LiveObject(key, "uid", 1, 1, "", "", "", "", False, replicas=3, shared="fraud")
    assert workers_of({key: live}, 1) == 3, "those who are to go have to be told as well"
    assert workers_of({}, 2) == 2


def test_how_many_workers_a_namespace_has_is_said_by_whoever_runs_the_operator() -> None:
    workforce = Workforce(2, read_numbers(["shop=4", "mall=1", "shop=4"]))
    assert [workforce.of(each) for each in ("shop", "mall", "other")] == [4, 1, 2]
    for wrong in ("shop", "=2", "Shop=2", "shop=0", "shop=17", "shop=two", "shop=-1", "shop=", "shop=²"):
        with pytest.raises(ValueError, match=r"shop=4|1 to 16"):
            read_numbers([wrong])
    with pytest.raises(ValueError, match="both 2 and 3"):
        read_numbers(["shop=2", "shop=3"])
    assert read_numbers([f"shop={MOST}"]) == {"shop": MOST}
