import asyncio

import pytest
from tests.patience import PATIENCE

from flywheel.edge.counts import parse_counts
from flywheel.edge.runtime_api import RuntimeApiError
from flywheel.edge.supervise import Supervisor
from flywheel.events.losses import WorkerCount


async def test_a_task_that_fails_is_started_again_and_disturbs_no_other():
    supervisor = Supervisor(pause=0.001)
    tried, done = [], asyncio.Event()

    async def fails_twice() -> None:
        tried.append(1)
        if len(tried) < 3:
            raise ValueError("not yet")
        done.set()

    other = supervisor.start("other", asyncio.Event().wait)
    supervisor.start("first", fails_twice)
    await asyncio.wait_for(done.wait(), PATIENCE)
    assert not other.done()
    assert not supervisor.given_up.is_set()
    await supervisor.stop()
    assert other.cancelled()


async def test_a_task_that_cannot_be_revived_is_named():
    supervisor = Supervisor(most_failures=3, pause=0.001)

    async def fails() -> None:
        raise ValueError("the reason")

    supervisor.start("delivery", fails)
    await asyncio.wait_for(supervisor.given_up.wait(), PATIENCE)
    assert supervisor.reason == "the delivery failed 3 times in a row: the reason"


async def test_what_returns_is_not_started_again():
    supervisor = Supervisor()
    tried = []

    async def once() -> None:
        tried.append(1)

    await supervisor.start("once", once)
    assert tried == [1]


def test_counters_are_read_from_both_answers():
    text = "Name: HAProxy\nPid: 42\nUptime_sec: 7\n\n# pxname,svname,scur,req_tot,\n_edge,FRONTEND,3,100,\n\n"
    assert parse_counts(text) == {42: WorkerCount(100, 3)}


@pytest.mark.parametrize(
    "text", ["", "Pid: 42\n", "\n# pxname,scur,req_tot\na,1,2\n", "Pid: x\n\n# pxname,scur,req_tot\na,1,2\n"]
)
def test_what_are_no_counters_is_told(text):
    with pytest.raises(RuntimeApiError, match="cannot be understood"):
        parse_counts(text)
