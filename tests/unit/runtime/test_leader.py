"""Leader election: never two writers, whatever is stopped, cut off or slow."""

import asyncio
from dataclasses import replace
from datetime import datetime

import pytest
from tests.patience import PATIENCE
from tests.unit.runtime.clocks import FakeClock

from flywheel.kube.errors import ApiError, NotLeader
from flywheel.kube.leases import LeaseRecord
from flywheel.runtime.leader import LeaseElection, LeaseLost


class SharedLease:
    """The Lease as the API server keeps it: a write needs the version that it replaces."""

    def __init__(self, clock: FakeClock) -> None:
        self.record: LeaseRecord | None = None
        self.clock = clock
        self.version = 0
        self.unreachable = False
        self.answer_lost = False
        self.delay = 0.0

    async def read(self) -> LeaseRecord | None:
        self._reach()
        return self.record

    async def take(self, holder: str, duration: int, previous: LeaseRecord | None, now: datetime) -> LeaseRecord:
        self._reach()
        if (previous.version if previous else None) != (self.record.version if self.record else None):
            raise ApiError(409, "Conflict", "somebody was faster")
        self.version += 1
        self.record = LeaseRecord(holder, duration, str(now), str(now), 0, str(self.version))
        self.clock.pass_(self.delay)
        if self.answer_lost:
            raise ApiError(0, "Timeout", "no answer")
        return self.record

    async def release(self, record: LeaseRecord, now: datetime) -> None:
        self._reach()
        self.version += 1
        self.record = replace(record, holder="", duration=1, version=str(self.version))

    def _reach(self) -> None:
        if self.unreachable:
            raise ApiError(0, "Unreachable", "nobody there")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def lease(clock: FakeClock) -> SharedLease:
    return SharedLease(clock)


def elector(lease: SharedLease, name: str) -> LeaseElection:
    return LeaseElection(lease, name, lease.clock, duration=15)  # type: ignore[arg-type]


async def test_the_first_leads_and_the_second_stands_by(lease: SharedLease) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    await first.turn()
    await second.turn()
    first.fence()
    with pytest.raises(NotLeader):
        second.fence()


async def test_a_standby_knows_where_the_leader_is(lease: SharedLease) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    assert (first.elsewhere, second.elsewhere) == ("", "")
    await first.turn()
    assert lease.record is not None
    lease.record = replace(lease.record, address="10.0.0.7")
    await second.turn()
    assert (first.elsewhere, second.elsewhere) == (None, "10.0.0.7")


async def test_a_standby_waits_for_the_whole_duration_since_it_saw_a_renewal(
    lease: SharedLease, clock: FakeClock
) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    await first.turn()
    await second.turn()
    clock.pass_(14)
    await second.turn()
    assert not second.leading
    clock.pass_(1.1)
    assert not first.leading
    await second.turn()
    assert second.leading


async def test_never_two_at_the_same_time(lease: SharedLease, clock: FakeClock) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    await first.turn()
    for _ in range(60):
        await second.turn()
        assert not (first.leading and second.leading)
        clock.pass_(0.5)
    assert second.leading


async def test_the_frozen_leader_writes_nothing_when_it_wakes_and_ends(lease: SharedLease, clock: FakeClock) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    told: list[bool] = []
    first.on_change = told.append
    await first.turn()
    await second.turn()
    clock.pass_(20)
    await second.turn()
    assert second.leading
    with pytest.raises(NotLeader):
        first.fence()
    with pytest.raises(LeaseLost, match="second"):
        await first.turn()
    assert told == [True, False]


async def test_an_unreachable_api_server_suspends_and_ends_nothing(lease: SharedLease, clock: FakeClock) -> None:
    only = elector(lease, "only")
    told: list[bool] = []
    only.on_change = told.append
    await only.turn()
    lease.unreachable = True
    for _ in range(15):
        clock.pass_(2)
        await only.turn()
    assert not only.leading
    lease.unreachable = False
    await only.turn()
    assert only.leading
    assert told == [True, False, True]


async def test_a_lapse_that_nobody_noticed_is_told_all_the_same(lease: SharedLease, clock: FakeClock) -> None:
    only = elector(lease, "only")
    told: list[bool] = []
    only.on_change = told.append
    await only.turn()
    clock.pass_(30)
    assert not only.leading
    await only.turn()
    assert told == [True, True]


async def test_the_time_counts_from_before_the_renewal_was_sent(lease: SharedLease, clock: FakeClock) -> None:
    only = elector(lease, "only")
    lease.delay = 14.0
    await only.turn()
    assert not only.leading


async def test_a_renewal_whose_answer_was_lost_is_recognised_as_our_own(lease: SharedLease, clock: FakeClock) -> None:
    only = elector(lease, "only")
    await only.turn()
    lease.answer_lost = True
    await only.turn()
    lease.answer_lost = False
    clock.pass_(10)
    await only.turn()
    clock.pass_(10)
    assert only.leading


async def test_a_released_lease_is_taken_at_once(lease: SharedLease) -> None:
    first, second = elector(lease, "first"), elector(lease, "second")
    await first.turn()
    await second.turn()
    await first.release()
    with pytest.raises(NotLeader):
        first.fence()
    await second.turn()
    assert second.leading


async def test_a_lease_that_cannot_be_released_is_told_and_left_to_run_out(
    lease: SharedLease, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """As when the operator is uninstalled: its rights go before its pod."""
    first, second = elector(lease, "first"), elector(lease, "second")
    await first.turn()
    await second.turn()
    lease.unreachable = True
    await first.release()
    assert not first.leading
    assert "could not be released, so who comes next waits for up to 15 s: " in caplog.text
    lease.unreachable = False
    await second.turn()
    assert not second.leading
    clock.pass_(15.1)
    await second.turn()
    assert second.leading


async def test_a_lease_that_was_deleted_by_hand_is_made_again(lease: SharedLease) -> None:
    only = elector(lease, "only")
    await only.turn()
    lease.record = None
    await only.turn()
    assert lease.record is not None
    assert only.leading


async def test_waiting_ends_with_the_lease(lease: SharedLease) -> None:
    only = elector(lease, "only")
    waiting = asyncio.create_task(only.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    await only.turn()
    await asyncio.wait_for(waiting, PATIENCE)
