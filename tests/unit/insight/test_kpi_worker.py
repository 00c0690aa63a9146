"""The whole way: rows in the worker's store, its loop, its admin port, and the command that people call."""

import asyncio
import json
import socket
import time
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner, Result
from prometheus_client.parser import text_string_to_metric_families
from tests.patience import PATIENCE
from tests.unit.insight.stream import make_stream
from tests.unit.insight.test_kpi_service import ENTRY

from flywheel.commands.companion import companion
from flywheel.commands.kpis import kpis
from flywheel.events.worker import Settings, Worker
from flywheel.insight import service


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def _kpis(*arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner(env={"COLUMNS": "220"}).invoke, kpis, arguments)


async def _gauge(address: str, name: str) -> float | None:
    async with httpx.AsyncClient(trust_env=False) as client:
        text = (await client.get(f"{address}/metrics")).text
    samples = [each for family in text_string_to_metric_families(text) for each in family.samples if each.name == name]
    return samples[0].value if samples else None


async def test_people_and_prometheus_are_told_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # No cluster: the settings come from the file, and there is no status to write.
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setattr(service, "INTERVAL", 1.0)
    file = tmp_path / "campaigns.json"
    file.write_text(json.dumps({"spring": {**ENTRY, "from": 0}}), "utf-8")
    settings = Settings(
        namespace="shop",
        data_directory=tmp_path,
        memory=512 << 20,
        settings_file=file,
        ingest_port=0,
        admin_port=0,
        # Where it listens on all addresses, port 0 is one port of IPv4 and another of IPv6.
        metrics_port=_free_port(),
        fsync=False,
    )
    made: list[object] = []

    def keeping(surroundings: object) -> object:
        made.append(surroundings)
        return companion(surroundings)  # type: ignore[arg-type]

    worker = Worker(settings, keeping)  # type: ignore[arg-type]
    running = asyncio.create_task(worker.run())
    try:
        async with asyncio.timeout(PATIENCE):
            await worker.started.wait()
            await _deliver(made[0].store)  # type: ignore[attr-defined]
            admin = f"http://127.0.0.1:{worker.ports['admin']}"
            metrics = f"http://127.0.0.1:{settings.metrics_port}"
            while not await _gauge(metrics, "campaign_unique_visitors"):  # noqa: ASYNC110 - a figure tells nobody
                await asyncio.sleep(0.2)
            told = await _kpis("spring", "--url", admin, "-o", "json")
            assert told.exit_code == 0, told.output
            windows = json.loads(told.output)["campaigns"][0]["windows"]
            assert [each["window"] for each in windows] == ["1m", "15m", "1h", "campaign"]
            assert windows[3]["total"]["visitors"] > 0
            table = await _kpis("--url", admin, "--by", "channel")
            assert "paid-search" in table.output
            refused = await _kpis("sprnig", "--url", admin)
            assert refused.exit_code == 1
            assert "spring" in refused.output
    finally:
        worker.stop()
        await running


async def _deliver(store: object) -> None:
    from flywheel.events.commit import Delivery

    now = int(time.time() * 1000)
    stream = make_stream(4, 100)
    # Moved to the present, with the edges of windows that it was made around.
    moved = now - max(row.time for row in stream.events)
    for rows in (stream.events, stream.requests):
        for row in {id(row): row for row in rows}.values():
            row.time += moved  # type: ignore[attr-defined]
    for table, count in (("events", len(stream.events)), ("requests", len(stream.requests))):
        await store.ingest(table, [Delivery("spring", stream.delivered(table), count)])  # type: ignore[attr-defined]
