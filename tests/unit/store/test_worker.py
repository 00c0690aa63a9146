"""A worker in a process of its own, spoken to as sidecars and people do."""

import asyncio
import gzip
import os
import random
import signal
from pathlib import Path

import httpx
import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.unit.store.material import (
    Keys,
    WorkerProcess,
    client_of,
    dead_letter,
    event,
    eventually,
    lines,
    request,
    running,
)

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
BATCH = 100
KILLS = int(os.environ.get("KILLS", "6"))
"""The pods of a real cluster are killed 20 times in tests/e2e; `KILLS=20` does as much here."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
        yield started


async def ask(worker: WorkerProcess, client: httpx.AsyncClient, sql: str) -> list[dict]:
    response = await client.post(f"{worker.admin}/query", json={"sql": sql})
    assert response.status_code == 200, response.text
    return [httpx.Response(200, text=line).json() for line in response.text.splitlines()]


async def test_rows_come_in_and_are_counted_once(worker: WorkerProcess) -> None:
    async with client_of(KEYS, "one-edge") as client:
        body = gzip.compress(lines([event(i) for i in range(100)]))
        headers = {"Content-Encoding": "gzip", "X-Flywheel-Batch": "b1"}
        for expected in (
            {"stored": 100, "duplicates": 0, "refused": 0},
            {"stored": 0, "duplicates": 100, "refused": 0},
        ):
            response = await client.post(f"{worker.url}/v1/ingest/events", content=body, headers=headers)
            assert (response.status_code, response.json()) == (200, expected)
        for table, rows in (("requests", [request(1)]), ("dead_letters", [dead_letter(1)])):
            response = await client.post(f"{worker.url}/v1/ingest/{table}", content=lines(rows))
            assert response.json()["stored"] == 1, response.text
        found = await ask(worker, client, "SELECT count() AS n, sum(revenue) AS r FROM events WHERE campaign = 'one'")
        assert found == [{"n": 100, "r": 950}]
        metrics = (await client.get(f"http://127.0.0.1:{worker.ports[2]}/metrics")).text
        assert (
            'flywheel_store_rows_total{campaign="one",namespace="spring",result="duplicate",table="events"} 100'
            in metrics
        )


async def test_who_is_no_sidecar_is_turned_away(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for token, status in ((None, 401), ("nonsense", 401), (KEYS.token("shopper"), 403), (KEYS.token(exp=1), 401)):
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            response = await client.post(f"{worker.url}/v1/ingest/events", content=lines([event(1)]), headers=headers)
            assert response.status_code == status
            assert response.json()["message"]


async def test_bodies_are_bounded(worker: WorkerProcess) -> None:
    async with client_of(KEYS) as client:
        headers = {"Content-Encoding": "gzip"}
        bomb = gzip.compress(b" " * (64 << 20))
        refused = await client.post(f"{worker.url}/v1/ingest/events", content=bomb, headers=headers)
        assert refused.status_code == 413
        broken = await client.post(f"{worker.url}/v1/ingest/events", content=b"\x1f\x8b broken", headers=headers)
        assert broken.status_code == 400
        many = await client.post(f"{worker.url}/v1/ingest/events", content=b'{"a":1}\n' * 50_001)
        assert many.status_code == 413
        nowhere = await client.post(f"{worker.url}/v1/ingest/seen", content=b"{}")
        assert nowhere.status_code == 404


async def test_a_body_without_any_row_is_refused_whole(worker: WorkerProcess) -> None:
    async with client_of(KEYS, "two-edge") as client:
        response = await client.post(f"{worker.url}/v1/ingest/events", content=b"what is this\nand this\n")
        assert response.status_code == 400
        assert "malformed" in response.json()["message"]


async def test_many_small_deliveries_share_commits(worker: WorkerProcess) -> None:
    async with client_of(KEYS, "three-edge") as client:
        calls = [
            client.post(f"{worker.url}/v1/ingest/events", content=lines([event(i), event(i + 1)])) for i in range(100)
        ]
        answers = [each.json() for each in await asyncio.gather(*calls)]
        assert sum(each["stored"] for each in answers) == 101
        assert sum(each["duplicates"] for each in answers) == 99
        commits = await ask(worker, client, "SELECT uniqExact(commit) AS n FROM events WHERE campaign = 'three'")
        assert commits[0]["n"] < 30


async def test_a_salt_is_made_once_for_each_campaign_and_kept_from_others(worker: WorkerProcess) -> None:
    async with client_of(KEYS) as client, client_of(KEYS, "other-edge") as other:
        first, again, third = [
            (await each.get(f"{worker.url}/v1/salt")).json()["salt"] for each in (client, client, other)
        ]
        assert first == again != third
        file = worker.directory / "salts" / "618"
        assert file.read_text() == first
        assert file.stat().st_mode & 0o777 == 0o600


async def test_the_admin_port_answers_people_and_no_web_pages(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        asked = {"sql": "SELECT 1 AS one, 'x' AS two", "format": "csv"}
        assert (await client.post(f"{worker.admin}/query", json=asked)).text == '"one","two"\n1,"x"\n'
        table = await client.post(f"{worker.admin}/query", json=asked | {"format": "table"})
        assert "one" in table.text
        for asking in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
            page = await client.get(f"{worker.admin}/export", headers=asking)
            assert (page.status_code, page.json()["error"]) == (403, "from_a_page")
        foreign = await client.post(f"{worker.admin}/query", json=asked, headers={"Host": "evil.example"})
        assert foreign.status_code == 403
        plain = await client.post(f"{worker.admin}/query", content='{"sql":"SELECT 1"}')
        assert plain.status_code == 415
        for sql in (
            "DROP TABLE events",
            "SELECT file('/etc/passwd')",
            "INSERT INTO events VALUES (1)",
            "SELECT 1; SELECT 2",
        ):
            response = await client.post(f"{worker.admin}/query", json={"sql": sql})
            assert (response.status_code, response.json()["error"]) == (400, "refused")
        wrong = await client.post(f"{worker.admin}/query", json={"sql": "SELECT nonsense FROM events"})
        assert (wrong.status_code, "nonsense" in wrong.json()["message"]) == (400, True)
        many = await client.post(f"{worker.admin}/query", json={"sql": "SELECT number FROM numbers(100)", "limit": 10})
        assert (many.status_code, many.json()["error"]) == (400, "too_many")
        slow = {"sql": "SELECT sum(sipHash64(number)) FROM numbers(1000000000000)", "seconds": 0.3}
        timed_out = await client.post(f"{worker.admin}/query", json=slow)
        assert (timed_out.status_code, "Timeout" in timed_out.json()["message"]) == (400, True)


async def test_a_query_ends_when_the_one_who_asked_goes_away(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        slow = {"sql": "SELECT sum(sipHash64(number)) AS deserted FROM numbers(1000000000000)", "seconds": 200}
        with pytest.raises(httpx.ReadTimeout):
            await client.post(f"{worker.admin}/query", json=slow, timeout=1)

        async def ended() -> bool:
            return not any("AS deserted" in each["query"] for each in await ask(worker, client, "SHOW PROCESSLIST"))

        await eventually(ended, "the deserted query has ended")


async def test_an_erased_visitor_is_gone_and_stays_gone(worker: WorkerProcess) -> None:
    async with client_of(KEYS, "four-edge") as client:
        old = lines([event(i, visitor="gone" if i % 2 else "stays") for i in range(10)])
        await client.post(f"{worker.url}/v1/ingest/events", content=old)
        await client.post(f"{worker.url}/v1/ingest/requests", content=lines([request(1, visitor="gone")]))
        letters = [dead_letter(1, visitor="gone"), dead_letter(2, payload='{"anonymousId":"gone"}'), dead_letter(3)]
        await client.post(f"{worker.url}/v1/ingest/dead_letters", content=lines(letters))
        asked = await client.post(f"{worker.admin}/erase", json={"campaign": "four", "visitor": "gone"})
        assert asked.status_code == 202, asked.text
        receipt = asked.json()["receipt"]

        async def done() -> bool:
            return bool((await client.get(f"{worker.admin}/erase/{receipt}")).json()["finished_at"])

        await eventually(done, "the erasure is done")
        for table, left in (("events", 5), ("requests", 0), ("dead_letters", 1)):
            found = await ask(worker, client, f"SELECT count() AS n FROM {table} WHERE campaign = 'four'")
            assert (table, found[0]["n"]) == (table, left)
        late = lines([event(1, visitor="gone"), event(100, visitor="gone"), event(101, visitor="new")])
        response = await client.post(f"{worker.url}/v1/ingest/events", content=late)
        assert response.json() == {"stored": 1, "duplicates": 0, "refused": 2, "reasons": {"erased": 2}}
        listed = (await client.get(f"{worker.url}/v1/erasures?since=0")).json()["erasures"]
        assert [(each["visitor"], each["before"]) for each in listed] == [("gone", asked.json()["requested_at"])]
        assert (await client.get(f"{worker.url}/v1/erasures?since={listed[0]['id']}")).json() == {"erasures": []}


class Senders:
    """Sidecars that send again and again until all is acknowledged."""

    def __init__(self, worker: WorkerProcess, client: httpx.AsyncClient, total: int, chance: random.Random) -> None:
        self.worker, self.client, self.chance, self.total = worker, client, chance, total
        self.pending = list(range(0, total, BATCH))
        self.go_on = True

    async def run(self) -> None:
        while self.pending:
            start = self.pending.pop(0)
            # The last ten are the next batch's as well.
            await self._deliver(lines([event(i) for i in range(start, start + BATCH + 10)]))
            if self.go_on and not self.pending:
                self.pending.append(self.chance.randrange(0, self.total - BATCH, BATCH))

    async def _deliver(self, body: bytes) -> None:
        while True:
            try:
                answer = await self.client.post(f"{self.worker.url}/v1/ingest/events", content=body, timeout=PATIENCE)
                if answer.status_code == 200:
                    return
                assert answer.status_code == 503, answer.text
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("seed", [618])
async def test_kills_of_engine_and_worker_lose_and_double_nothing(tmp_path: Path, seed: int) -> None:
    """Whatever dies while rows come in, each is there once in the end."""
    print(f"seed {seed}")
    chance = random.Random(seed)
    total = 6000
    with running(tmp_path / "volume", KEYS) as worker:
        async with client_of(KEYS) as client:
            await worker.ready(client)
            senders = Senders(worker, client, total, chance)
            sending = [asyncio.create_task(senders.run()) for _ in range(4)]
            for _ in range(KILLS):
                await asyncio.sleep(chance.uniform(0.0, 0.3))
                if chance.random() < 0.25:
                    worker.kill()
                    worker.start()
                elif (pid := worker.engine_pid()) is not None:
                    os.kill(pid, signal.SIGKILL)
                await worker.ready(client)
            senders.go_on = False
            await asyncio.gather(*sending)
            found = await ask(worker, client, "SELECT count() AS n, uniqExact(message_id) AS u FROM events")
            assert found == [{"n": total + 10, "u": total + 10}], worker.log[-3000:]
            seen = await ask(worker, client, "SELECT uniqExact(id) AS u FROM seen")
            assert seen[0]["u"] == total + 10
            assert worker.stop() == 0
