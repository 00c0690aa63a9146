"""What may happen to a worker: a full disk, a damaged table, a rival, a clock that jumps, more than it can take."""

import asyncio
import os
import shutil
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from tests.unit.store.material import (
    Keys,
    WorkerProcess,
    client_of,
    delivery,
    event,
    eventually,
    lines,
)

from flywheel.events import store as store_module
from flywheel.events.chdb_engine import ChdbEngine
from flywheel.events.commit import Outcome
from flywheel.events.engine import EngineDown
from flywheel.events.group_commit import Full, GroupCommit
from flywheel.events.http_answers import TooLarge, gunzip
from flywheel.events.store import Store
from flywheel.events.volume_lock import VolumeBusy, lock, write_secret

KEYS = Keys()
NAMESPACES = ("unshare", "--map-root-user", "--mount")


def can_mount() -> bool:
    tried = subprocess.run([*NAMESPACES, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False)
    return tried.returncode == 0


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 65536)


class OnSmallDisk(WorkerProcess):
    """A worker whose volume is a small file system of its own."""

    @property
    def volume(self) -> Path:
        assert self.process
        return Path(f"/proc/{self.process.pid}/root") / str(self.directory).lstrip("/")

    def command(self, command: list[str]) -> list[str]:
        mount = 'mount -t tmpfs -o size=48m none "$0" && exec "$@"'
        return [*NAMESPACES, "sh", "-c", mount, str(self.directory), *command]


@pytest.mark.skipif(not shutil.which("unshare") or not can_mount(), reason="needs a mount namespace")
async def test_on_a_full_disk_nothing_is_acknowledged_and_all_goes_on_afterwards(tmp_path: Path) -> None:
    worker = OnSmallDisk(tmp_path / "volume", KEYS)
    worker.directory.mkdir()
    worker.start()
    try:
        async with client_of(KEYS) as client:
            await worker.ready(client)
            filler = worker.volume / "filler"
            with pytest.raises(OSError, match="No space"):
                fill(filler)
            body = lines([event(i) for i in range(2000)])
            full = await client.post(f"{worker.url}/v1/ingest/events", content=body)
            assert full.status_code == 503, full.text
            assert "space" in full.json()["message"].lower()
            assert int(full.headers["Retry-After"]) > 0
            assert (await client.get(f"{worker.url}/healthz")).status_code == 200
            filler.unlink()

            async def stored() -> httpx.Response | None:
                answer = await client.post(f"{worker.url}/v1/ingest/events", content=body)
                return answer if answer.status_code == 200 else None

            answer = await eventually(stored, "rows are taken again")
            assert answer.json()["stored"] + answer.json()["duplicates"] == 2000
            found = await client.post(f"{worker.admin}/query", json={"sql": "SELECT count() AS n FROM events"})
            assert found.json() == {"n": 2000}
        assert worker.stop() == 0
    finally:
        if worker.process and worker.process.poll() is None:
            worker.kill()


async def test_a_volume_has_one_worker(tmp_path: Path) -> None:
    handle = await lock(tmp_path / "volume", "flywheel-analytics-0")
    with pytest.raises(VolumeBusy, match=r"flywheel-analytics-0, process \d+"):
        await lock(tmp_path / "volume", "another", seconds=0.05)
    os.close(handle)
    os.close(await lock(tmp_path / "volume", "another", seconds=0.05))


def test_a_secret_is_written_whole_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "salts" / "618"
    write_secret(path, "first")
    write_secret(path, "second")
    assert path.read_text() == "second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["618"]


async def test_a_damaged_table_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = Store(ChdbEngine(tmp_path / "chdb"))
    await store.start()
    await store.ingest("events", [delivery("618", [event(1)])])
    await store.close()
    for part in (tmp_path / "chdb").rglob("20231114_*/columns.txt"):
        part.write_text("broken")
    store = Store(ChdbEngine(tmp_path / "chdb"))
    await store.start()
    assert "parts of the table events are damaged" in caplog.text
    assert await store.ingest("events", [delivery("618", [event(2)])]) == [Outcome(stored=1)]
    await store.close()
    for definition in (tmp_path / "chdb").rglob("events.sql"):
        definition.write_text("broken")
    store = Store(ChdbEngine(tmp_path / "chdb"))
    with pytest.raises(EngineDown, match=r"a table in it is damaged"):
        await store.start()
    await store.close()


async def test_a_clock_that_jumps_makes_no_duplicates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = store_module.time.time()
    for jump in (0, -40 * 86400, 3600, -3600):
        monkeypatch.setattr(store_module.time, "time", lambda jump=jump: now + jump)
        store = Store(ChdbEngine(tmp_path / "chdb"))
        await store.start()
        [outcome] = await store.ingest("events", [delivery("618", [event(i) for i in range(10)])])
        assert (outcome.stored, outcome.duplicates) == ((10, 0) if jump == 0 else (0, 10))
        await store.run("OPTIMIZE TABLE seen FINAL")
        await store.close()


class Stuck:
    """A store that takes its time."""

    def __init__(self) -> None:
        self.go_on = asyncio.Event()

    def complaint(self) -> str | None:
        return None

    async def ingest(self, _table: str, deliveries: list) -> list[Outcome]:
        await self.go_on.wait()
        return [Outcome(stored=each.count) for each in deliveries]


async def test_what_waits_is_bounded() -> None:
    store = Stuck()
    queue = GroupCommit(store, "events")  # type: ignore[arg-type]
    queue.start()
    big = delivery("618", b"{" + b"x" * (50 << 20) + b"}\n")
    waiting = [asyncio.create_task(queue.submit(big)) for _ in range(3)]
    refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    [first] = refused
    assert isinstance(first.exception(), Full)
    store.go_on.set()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(each, Outcome) for each in done) == 2
    await queue.stop()


def test_a_small_body_does_not_become_a_large_one() -> None:
    import gzip
    import zlib

    with pytest.raises(TooLarge):
        gunzip(gzip.compress(b"x" * 2_000_000), 1_000_000)
    assert gunzip(gzip.compress(b"abc"), 3) == b"abc"
    for broken in (gzip.compress(b"abc")[:-3], gzip.compress(b"abc") + b"more", b"abc"):
        with pytest.raises(zlib.error):
            gunzip(broken, 100)


async def test_a_second_worker_on_the_volume_ends_with_a_clear_word(tmp_path: Path) -> None:
    handle = await lock(tmp_path / "volume", "flywheel-analytics-0")
    worker = WorkerProcess(tmp_path / "volume", KEYS)
    worker.lock_seconds = "0.2"
    worker.start()
    assert worker.process
    assert await asyncio.to_thread(worker.process.wait, 60) == 1
    assert "belongs to another worker (flywheel-analytics-0" in worker.log
    os.close(handle)


def test_the_operator_never_loads_the_engine() -> None:
    """Nor does a command that only asks over HTTP."""
    heavy = ("chdb", "clickhouse_connect", "pandas", "aiohttp")
    code = f"import sys, flywheel.cli; print([each for each in {heavy} if each in sys.modules])"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "[]"
