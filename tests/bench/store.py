"""Rows into the event store as sidecars bring them: over HTTP, gzipped, acknowledged when they survive a kill.

One worker in a process of its own, its engine in another, a token checked with each call. Senders wait for each answer,
as sidecars do. The peer is what the engine takes when asked directly, with no HTTP, duplicates or durability looked
after: what all of that costs is the difference.
"""

import asyncio
import gzip
import tempfile
import time
from pathlib import Path

import httpx
from tests.bench.rows import Row, percentile
from tests.unit.store.material import Keys, WorkerProcess, client_of, event, lines, running

BATCH = 5000
BATCHES = 24
SENDERS = 4
SINGLE_SENDERS = 64
SINGLES = 2000


def measure() -> list[Row]:
    """Measure; give the figures."""
    with tempfile.TemporaryDirectory() as directory:
        return asyncio.run(_measure(Path(directory)))


async def _measure(directory: Path) -> list[Row]:
    keys = Keys()
    bare = await asyncio.to_thread(_bare, directory)
    with running(directory / "volume", keys) as worker:
        async with client_of(keys) as client:
            await worker.ready(client)
            resting = _memory(worker)
            rate, batch_p99 = await _batches(worker, client)
            single_rate, single_p99 = await _singles(worker, client)
            again, _ = await _batches(worker, client)
            found = await client.post(f"{worker.admin}/query", json={"sql": "SELECT count() AS n FROM events"})
            stored = found.json()["n"]
            if stored != BATCH * BATCHES + SINGLES:
                raise AssertionError(f"{stored} rows are stored instead of {BATCH * BATCHES + SINGLES}")
            busy = _memory(worker)
        worker.stop()
    return [
        Row(f"store: rows taken in, batches of {BATCH}", rate, "rows/s", 20_000, "higher", bare),
        Row(f"store: p99 of a batch of {BATCH}", batch_p99, "ms"),
        Row("store: duplicates recognised", again, "rows/s", better="higher"),
        Row(f"store: rows taken in singly, {SINGLE_SENDERS} senders", single_rate, "rows/s", 100, "higher"),
        Row("store: p99 of a single row", single_p99, "ms", 1500),
        Row("store: memory of the worker, at rest", resting[0], "MiB"),
        Row("store: memory of the worker, after the rows", busy[0], "MiB", 300),
        Row("store: memory of the engine, at rest", resting[1], "MiB"),
        Row("store: memory of the engine, after the rows", busy[1], "MiB", 1536),
    ]


async def _batches(worker: WorkerProcess, client: httpx.AsyncClient) -> tuple[float, float]:
    bodies = [
        gzip.compress(lines([event(i) for i in range(start, start + BATCH)]), 1)
        for start in range(0, BATCH * BATCHES, BATCH)
    ]
    began = time.perf_counter()
    took = await _send(worker, client, bodies, SENDERS)
    return BATCH * BATCHES / (time.perf_counter() - began), percentile(took, 0.99) * 1000


async def _singles(worker: WorkerProcess, client: httpx.AsyncClient) -> tuple[float, float]:
    first = BATCH * BATCHES
    bodies = [gzip.compress(lines([event(i)]), 1) for i in range(first, first + SINGLES)]
    began = time.perf_counter()
    took = await _send(worker, client, bodies, SINGLE_SENDERS)
    return SINGLES / (time.perf_counter() - began), percentile(took, 0.99) * 1000


async def _send(worker: WorkerProcess, client: httpx.AsyncClient, bodies: list[bytes], senders: int) -> list[float]:
    waiting = list(reversed(bodies))
    took: list[float] = []

    async def send() -> None:
        while waiting:
            body = waiting.pop()
            began = time.perf_counter()
            answer = await client.post(
                f"{worker.url}/v1/ingest/events", content=body, headers={"Content-Encoding": "gzip"}
            )
            answer.raise_for_status()
            took.append(time.perf_counter() - began)

    await asyncio.gather(*(send() for _ in range(senders)))
    return took


def _bare(directory: Path) -> float:
    """Rows a second that chDB takes into the same table when asked in its own process."""
    import subprocess
    import sys

    code = (
        "import sys, time; from chdb.session import Session; from flywheel.events.schema import create_statements; "
        "from tests.unit.store.material import event, lines\n"
        f"s = Session({str(directory / 'bare')!r}); s.query('CREATE DATABASE b'); s.query('USE b')\n"
        "for statement in create_statements(fsync=False): s.query(statement)\n"
        f"starts = range(0, {BATCH * BATCHES}, {BATCH})\n"
        f"bodies = [lines([event(i) for i in range(start, start + {BATCH})]) for start in starts]\n"
        "began = time.perf_counter()\n"
        "for body in bodies:\n"
        "    with s.send_insert('INSERT INTO events', 'JSONEachRow') as insert: insert.append(body); insert.finish()\n"
        f"print({BATCH * BATCHES} / (time.perf_counter() - began))"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(path for path in sys.path if path), "PATH": "/usr/bin:/bin"},
    )
    return float(ended.stdout)


def _memory(worker: WorkerProcess) -> tuple[float, float]:
    pids = (worker.process.pid if worker.process else 0, worker.engine_pid() or 0)
    own, engine = (_resident(pid) for pid in pids)
    return own, engine


def _resident(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
