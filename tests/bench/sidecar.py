"""What an event costs the sidecar's processor: in a batch, alone, and as a record of the access log.

Per second of processor time, so that what else the machine does is not counted: what one core does in a second. The
baseline is Python's own json reading the same bytes, and nothing else.
"""

import asyncio
import itertools
import json
import os
import socket
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import msgspec
from tests.bench.rows import Row, median
from tests.unit.events.process import Sidecar
from tests.unit.events.test_access_log import record
from tests.unit.events.world import KEY, NOW, Store, as_json, document, sender, track

from flywheel.events.dedupe import Recent
from flywheel.events.incoming import read_envelope
from flywheel.events.intake import Intake
from flywheel.events.spool import Spool

BATCH = 500
BATCHES = 60
CONNECTIONS = 8
_numbers = itertools.count()
_encoder = msgspec.json.Encoder()


def measure() -> list[Row]:
    """Measure the path of an event without HTTP, then the whole process."""
    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "process").mkdir()
        rows = asyncio.run(_path(Path(directory) / "path"))
        return rows + asyncio.run(_process(Path(directory) / "process"))


def _batch(*, alike: bool) -> bytes:
    """Make the batch of a server's library: events of many visitors, of one page or of many."""
    events = [track(next(_numbers)) for _ in range(BATCH)]
    for number, event in enumerate(events):
        event["userId"] = f"user-{number}"
        event["properties"] |= {"products": [{"sku": "a-1", "quantity": 2}], "coupon": "618"}
        event["context"] = event["context"] | {"library": {"name": "analytics-node", "version": "2.1.0"}}
        if not alike:
            event["context"]["page"] = {"url": f"https://shop.example/coupon/{number % 50}", "title": f"{number}"}
    return as_json({"batch": events, "writeKey": KEY, "sentAt": "2026-11-23T17:00:00.000Z"})


async def _path(directory: Path) -> list[Row]:
    """Read, check, normalise, compare, encode and spool: everything but HTTP."""
    rows = []
    for alike in (True, False):
        spool = Spool(directory / str(alike), 1 << 30)
        intake, who = Intake(document(), Recent()), sender()
        bodies = [_batch(alike=alike) for _ in range(BATCHES)]
        rates, bare = [], []
        for body in bodies:
            began = time.process_time()
            taken = intake.batch(read_envelope(body), who)
            await spool.append("events", _encoder.encode_lines(taken.rows), len(taken.rows))
            rates.append(BATCH / (time.process_time() - began))
            assert len(taken.rows) == BATCH, taken.rejected[:3]
            began = time.process_time()
            json.loads(body)
            bare.append(BATCH / (time.process_time() - began))
        await spool.close()
        name = "of one context" if alike else "each with a context of its own"
        target = 100_000 if alike else None
        rows.append(
            Row(
                f"sidecar: batches of {BATCH} events {name}",
                median(rates),
                "events/s/core",
                target,
                "higher",
                median(bare),
            )
        )
    return rows


async def _process(directory: Path) -> list[Row]:
    """The process itself over HTTP and UDP; its own processor time, delivery included, is what counts."""
    store = Store()
    await store.start()
    sidecar = Sidecar(directory, store.url)
    await sidecar.start()
    try:
        await sidecar.listening()
        url = f"http://127.0.0.1:{sidecar.collect}/v1/"
        connector = aiohttp.TCPConnector(limit=CONNECTIONS)
        # The store of the bench is slow Python: while it is down, the sidecar compresses and is refused as ever.
        store.down = True
        async with aiohttp.ClientSession(connector=connector) as session:

            async def post(path: str, body: bytes) -> None:
                async with session.post(url + path, data=body) as response:
                    assert response.status == 200, await response.text()

            batches = iter([_batch(alike=True) for _ in range(4 * BATCHES)])
            whole = await _rate(sidecar, lambda: post("batch", next(batches)), BATCHES * 4, BATCH)
            singles = iter([as_json(track(next(_numbers), writeKey=KEY)) for _ in range(6_000)])
            single = await _rate(sidecar, lambda: post("track", next(singles)), 6_000, 1)
        records = await _records(sidecar)
        memory = _resident(sidecar)
    finally:
        await sidecar.kill()
        await store.stop()
    return [
        Row(f"sidecar: batches of {BATCH} over HTTP", whole, "events/s/core", better="higher"),
        Row("sidecar: single events over HTTP", single, "events/s/core", better="higher"),
        Row("sidecar: records of the access log", records, "records/s/core", better="higher"),
        Row("sidecar: memory after all of it", memory, "MiB"),
    ]


async def _rate(sidecar: Sidecar, call: Callable[[], Awaitable[None]], calls: int, events: int) -> float:
    began = _processor(sidecar)
    left = iter(range(calls))

    async def client() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return calls * events / (_processor(sidecar) - began)


async def _records(sidecar: Sidecar) -> float:
    """Send records no faster than they are read, so that none is lost."""
    datagrams = [as_json(record(number, page=int(number % 4 == 0), t=NOW)) for number in range(20_000)]
    began = _processor(sidecar)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sending:
        for number, datagram in enumerate(datagrams):
            sending.sendto(datagram, ("127.0.0.1", sidecar.log))
            if number % 100 == 0:
                await asyncio.sleep(0.01)
    await asyncio.sleep(0.5)
    return len(datagrams) / (_processor(sidecar) - began)


def _processor(sidecar: Sidecar) -> float:
    assert sidecar.process
    times = Path(f"/proc/{sidecar.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")


def _resident(sidecar: Sidecar) -> float:
    assert sidecar.process
    return int(Path(f"/proc/{sidecar.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
