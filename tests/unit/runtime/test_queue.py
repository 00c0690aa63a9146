"""The queue: each key once, by one worker at a time, at the right moment, whatever the clocks do."""

import asyncio
import itertools
import random
from datetime import datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.patience import PATIENCE
from tests.unit.runtime.clocks import START, FakeClock

from flywheel.runtime.queue import FIRST_RETRY, LONGEST_RETRY, KeyedQueue


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def queue(clock: FakeClock) -> KeyedQueue[str]:
    return KeyedQueue(clock, random.Random(1), resync=None)


def test_a_key_that_is_added_often_comes_once(queue: KeyedQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    assert queue.take_now() == "a"
    assert queue.take_now() is None


def test_the_first_added_comes_first(queue: KeyedQueue[str]) -> None:
    for key in "abc":
        queue.add(key)
    queue.add("a")
    assert [queue.take_now() for _ in range(3)] == ["a", "b", "c"]


def test_what_is_added_during_work_comes_again_after_it(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    assert queue.take_now() == "a"
    queue.add("a")
    assert queue.take_now() is None
    queue.succeed("a")
    assert queue.take_now() == "a"


def test_a_failing_key_comes_again_ever_later(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    waits = []
    for _ in range(20):
        assert queue.take_now() == "a"
        waits.append(queue.fail("a"))
        clock.pass_(waits[-1] * 0.99)
        assert queue.take_now() is None
        clock.pass_(waits[-1] * 0.02)
    assert FIRST_RETRY * 0.75 <= waits[0] <= FIRST_RETRY * 1.25
    assert all(later > earlier for earlier, later in itertools.pairwise(waits[:9]))
    assert max(waits) <= LONGEST_RETRY
    assert waits[-1] >= LONGEST_RETRY * 0.75


def test_success_forgets_the_failures(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    for _ in range(5):
        queue.take_now()
        clock.pass_(queue.fail("a"))
    assert queue.take_now() == "a"
    queue.succeed("a")
    queue.add("a")
    queue.take_now()
    assert queue.fail("a") <= FIRST_RETRY * 1.25


def test_the_server_may_ask_for_a_longer_wait(queue: KeyedQueue[str]) -> None:
    queue.add("a")
    queue.take_now()
    assert queue.fail("a", retry_after=7.0) == 7.0


def test_a_wake_up_by_the_wall_clock(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add_at("a", START + timedelta(hours=1))
    clock.pass_(3599)
    assert queue.take_now() is None
    clock.pass_(1)
    assert queue.take_now() == "a"


def test_a_clock_set_forward_wakes_and_one_set_back_does_not(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add_at("a", START + timedelta(hours=1))
    clock.wall -= timedelta(hours=2)
    clock.pass_(3600)
    assert queue.take_now() is None
    clock.wall = START + timedelta(hours=1)
    assert queue.take_now() == "a"


def test_the_clocks_are_read_again_soon_while_something_waits_for_them(queue: KeyedQueue[str]) -> None:
    assert queue.next_due() is None
    queue.add_at("a", START + timedelta(days=300))
    due = queue.next_due()
    assert due is not None
    assert due <= 1


def test_the_earliest_of_several_wake_ups_wins(queue: KeyedQueue[str], clock: FakeClock) -> None:
    for minutes in (30, 10, 20):
        queue.add_at("a", START + timedelta(minutes=minutes))
    clock.pass_(600)
    assert queue.take_now() == "a"
    queue.succeed("a")
    clock.pass_(3600)
    assert queue.take_now() is None


def test_who_works_on_a_key_says_anew_when_to_wake(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add_at("a", START + timedelta(minutes=10))
    queue.add("a")
    assert queue.take_now() == "a"
    queue.succeed("a", wake_at=START + timedelta(minutes=30))
    clock.pass_(1700)
    assert queue.take_now() is None
    clock.pass_(100)
    assert queue.take_now() == "a"


def test_every_key_comes_again_at_the_resync(clock: FakeClock) -> None:
    queue: KeyedQueue[str] = KeyedQueue(clock, random.Random(1), resync=600)
    queue.add("a")
    queue.take_now()
    queue.succeed("a")
    clock.pass_(539)
    assert queue.take_now() is None
    clock.pass_(122)
    assert queue.take_now() == "a"


def test_a_dropped_key_is_forgotten(queue: KeyedQueue[str], clock: FakeClock) -> None:
    queue.add("a")
    queue.take_now()
    queue.add_at("a", START + timedelta(minutes=1))
    queue.drop("a")
    clock.pass_(10_000)
    assert queue.take_now() is None


def test_its_figures(queue: KeyedQueue[str], clock: FakeClock) -> None:
    assert (queue.depth, queue.oldest, queue.working) == (0, 0.0, 0)
    queue.add("a")
    clock.pass_(2)
    queue.add("b")
    clock.pass_(1)
    assert (queue.depth, queue.oldest) == (2, 3.0)
    queue.take_now()
    assert (queue.depth, queue.oldest, queue.working) == (1, 1.0, 1)


async def test_all_waiting_workers_are_woken(queue: KeyedQueue[str]) -> None:
    workers = [asyncio.create_task(queue.take()) for _ in range(3)]
    await asyncio.sleep(0)
    for key in "abc":
        queue.add(key)
    assert sorted(await asyncio.wait_for(asyncio.gather(*workers), PATIENCE)) == ["a", "b", "c"]


KEYS = st.sampled_from("abcd")
SECONDS = st.floats(0, 1000)


class QueueMachine(RuleBasedStateMachine):
    """Against a simple model: what was asked for is owed until a worker begins on it after it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = FakeClock()
        self.queue: KeyedQueue[str] = KeyedQueue(self.clock, random.Random(0), resync=None)
        self.owed: set[str] = set()
        self.working: set[str] = set()
        self.wakes: dict[str, datetime] = {}
        self.later: dict[str, float] = {}

    @rule(key=KEYS)
    def add(self, key: str) -> None:
        self.queue.add(key)
        self.owed.add(key)

    @rule(key=KEYS, seconds=SECONDS)
    def add_at(self, key: str, seconds: float) -> None:
        moment = self.clock.wall + timedelta(seconds=seconds)
        self.queue.add_at(key, moment)
        self.wakes[key] = min(moment, self.wakes.get(key, moment))

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.clock.pass_(seconds)

    @rule(seconds=st.floats(-500, 500))
    def the_clock_is_set(self, seconds: float) -> None:
        self.clock.wall += timedelta(seconds=seconds)

    @rule()
    def take(self) -> None:
        for key, moment in list(self.wakes.items()):
            if moment <= self.clock.wall:
                del self.wakes[key]
                self.owed.add(key)
        for key, due in list(self.later.items()):
            if due <= self.clock.seconds:
                del self.later[key]
                self.owed.add(key)
        key = self.queue.take_now()
        if key is None:
            assert self.owed <= self.working, "a key was lost"
            return
        assert key not in self.working, "two workers have one key"
        assert key in self.owed, "nobody asked for this"
        self.owed.discard(key)
        self.wakes.pop(key, None)
        self.later.pop(key, None)
        self.working.add(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def succeed(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        self.queue.succeed(key)
        self.working.discard(key)

    @precondition(lambda self: self.working)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        key = data.draw(st.sampled_from(sorted(self.working)))
        wait = self.queue.fail(key)
        self.working.discard(key)
        if key not in self.owed:
            self.later[key] = self.clock.seconds + wait

    @invariant()
    def the_count_is_right(self) -> None:
        assert self.queue.working == len(self.working)

    def teardown(self) -> None:
        for key in sorted(self.working):
            self.queue.succeed(key)
        self.working.clear()
        self.clock.pass_(100_000)
        owed = self.owed | set(self.wakes) | set(self.later)
        taken: set[str] = set()
        while (key := self.queue.take_now()) is not None:
            assert key not in taken, "a key came twice"
            taken.add(key)
        assert taken == owed


TestQueueMachine = QueueMachine.TestCase
