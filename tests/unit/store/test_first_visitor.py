"""Who was the first visitor of a user, asked of a real worker as sidecars ask."""

from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.unit.store.material import Keys, WorkerProcess, client_of, event, eventually, lines, running

from flywheel.events.first_visitor import FirstVisitors
from flywheel.events.naming import FIRST_VISITOR

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
PHONE, LAPTOP, THIRD = (f"{each}c2f3a1e-6d0f-4f0e-9d7c-0b1c2d3e4f50" for each in "789")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
            seen = [
                event(5, visitor=LAPTOP, user_id="ann ☃'"),
                event(3, visitor=PHONE, user_id="ann ☃'"),
                event(1, visitor="of a library", user_id="ann ☃'"),
                event(2, visitor=THIRD, user_id="ann ☃'", bot=True),
                event(4, visitor=THIRD, user_id="bob"),
            ]
            for each in seen:
                assert (await client.post(f"{started.url}/v1/ingest/events", content=lines([each]))).status_code == 200
        yield started


async def first(worker: WorkerProcess, user: str, account: str = "618-edge") -> object:
    async with client_of(KEYS, account) as client:
        answer = await client.post(f"{worker.url}{FIRST_VISITOR}", json={"user": user})
        assert answer.status_code == 200, answer.text
        assert answer.headers["Cache-Control"] == "no-store"
        return answer.json()


async def test_it_is_the_earliest_that_the_edge_made(worker: WorkerProcess) -> None:
    assert await first(worker, "ann ☃'") == {"visitor": PHONE}
    assert await first(worker, "bob") == {"visitor": THIRD}
    assert await first(worker, "nobody") == {"visitor": None}
    assert await first(worker, "bob", "other-edge") == {"visitor": None}


async def test_a_sidecar_asks_in_time(worker: WorkerProcess, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(KEYS.token())
    finder = FirstVisitors(lambda: worker.url, token, timeout=PATIENCE)
    try:
        assert await finder.find("ann ☃'", LAPTOP) == PHONE
        assert await finder.find("new", LAPTOP) == LAPTOP
    finally:
        await finder.close()


async def test_nobody_else_is_told_and_nonsense_is_refused(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.post(f"{worker.url}{FIRST_VISITOR}", json={"user": "bob"})).status_code == 401
    async with client_of(KEYS) as client:
        for body in ({}, {"user": ""}, {"user": "x" * 300}, {"user": "a", "more": 1}, ["a"]):
            assert (await client.post(f"{worker.url}{FIRST_VISITOR}", json=body)).status_code == 400, body
        assert (await client.post(f"{worker.url}{FIRST_VISITOR}", content=b"x" * 9_000)).status_code == 413


async def test_an_erased_visitor_is_nobodys_first(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        for wanted in ({"visitor": PHONE}, {"user_id": "bob"}):
            answer = await client.post(f"{worker.admin}/erase", json={"campaign": "618", **wanted})
            assert answer.status_code < 300, answer.text

    async def gone() -> bool:
        ann, bob = [await first(worker, user) for user in ("ann ☃'", "bob")]
        # Of the others it is known by then or not, as rows were put together: the next call says it again.
        return ann in ({"visitor": None}, {"visitor": LAPTOP}) and bob == {"visitor": None}

    await eventually(gone, "both are forgotten")
