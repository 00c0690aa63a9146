"""The sidecar as a process of its own: killed at any moment, stopped as Kubernetes does, refused what it needs."""

import asyncio
import os
import signal
from collections import Counter

import aiohttp
import pytest
from tests.patience import PATIENCE
from tests.unit.events.process import Sidecar
from tests.unit.events.world import KEY, Store, as_json, seeded, track, until

KILLS = int(os.environ.get("KILLS", "5"))


@pytest.fixture
async def store():
    made = Store()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def sidecar(tmp_path, store):
    made = Sidecar(tmp_path, store.url)
    yield made
    if made.process and made.process.returncode is None:
        await made.kill()


class Client:
    """Sends batches for ever, each until it is acknowledged, as client libraries do."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}/v1/batch"
        self.acknowledged: list[str] = []
        self.number = 0

    async def run(self) -> None:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE)) as session:
            while True:
                events = [track(self.number + each) for each in range(20)]
                self.number += len(events)
                while not await self._is_taken(session, as_json({"batch": events, "writeKey": KEY})):  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                self.acknowledged += [event["messageId"] for event in events]
                # The store of this test is slower than the sidecar.
                await asyncio.sleep(0.01)

    async def _is_taken(self, session: aiohttp.ClientSession, body: bytes) -> bool:
        try:
            async with session.post(self.url, data=body) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False


async def test_what_was_acknowledged_arrives_once_however_often_the_process_is_killed(sidecar, store):
    """The store fails and forgets to answer meanwhile. It is an in-memory one; the real one has tests of its own."""
    chance = seeded(618)
    store.forget_to_answer = [chance.random() < 0.2 for _ in range(100)]
    client = Client(sidecar.collect)
    sending = asyncio.create_task(client.run())
    for turn in range(KILLS):
        await sidecar.start()
        await sidecar.listening()
        before = len(client.acknowledged)
        await until(lambda before=before: len(client.acknowledged) >= before + 200, "ten more batches")
        store.down = turn % 3 == 1
        await asyncio.sleep(chance.uniform(0, 1.2))
        await sidecar.kill()
    store.down = False
    await sidecar.start()
    await sidecar.listening()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    assert await sidecar.stop() == 0, sidecar.said()
    counted = Counter(store.ids())
    assert set(client.acknowledged) <= set(counted), "an acknowledged event is lost"
    assert set(counted.values()) == {1}
    assert len(client.acknowledged) > KILLS * 200
    assert not list((sidecar.directory / "spool/events").glob("*.ndjson"))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGUSR1])
async def test_a_stop_delivers_what_is_left(sidecar, store, sent):
    store.down = True
    await sidecar.start()
    await sidecar.listening()
    async with aiohttp.ClientSession() as session:
        body = as_json({**track(1), "writeKey": KEY})
        async with session.post(f"http://127.0.0.1:{sidecar.collect}/v1/track", data=body) as response:
            assert response.status == 200
        stopping = asyncio.create_task(sidecar.stop(sent))
        async with session.get(f"http://127.0.0.1:{sidecar.own}/metrics") as response:
            assert 'flywheel_spool_bytes{campaign="spring",namespace="shop",table="events"}' in await response.text()
    store.down = False
    assert await stopping == 0
    assert store.ids() == ["m-1"]


async def test_a_stop_leaves_on_disk_what_the_store_does_not_take_in_time(sidecar, store):
    store.down = True
    await sidecar.start(flush_for="1s")
    await sidecar.listening()
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"http://127.0.0.1:{sidecar.collect}/v1/t?writeKey={KEY}", data=as_json(track(1))) as response,
    ):
        assert response.status == 200
    assert await sidecar.stop() == 0
    assert "stay in" in sidecar.said()
    assert len(list((sidecar.directory / "spool/events").glob("*.ndjson"))) == 1


async def test_a_spool_has_one_sidecar_and_one_campaign(sidecar, store, tmp_path):
    await sidecar.start()
    await sidecar.listening()
    own = sidecar.process
    for options, said in (({}, "belongs to another sidecar"), ({"campaign": "autumn"}, "shop/spring")):
        if options:
            await sidecar.kill()
        await sidecar.start(**options)
        assert await sidecar.process.wait() == 2
        assert said in sidecar.said()
        assert "Traceback" not in sidecar.said()
        sidecar.process = own


async def test_it_tells_why_it_cannot_start(sidecar):
    (sidecar.directory / "spool").mkdir()
    (sidecar.directory / "spool" / "events").write_text("a file in the way")
    await sidecar.start()
    assert await sidecar.process.wait() == 2
    assert "cannot start" in sidecar.said()
    assert "Traceback" not in sidecar.said()
