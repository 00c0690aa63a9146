"""`python -m tests.unit.store.worker_process DIRECTORY KEYS INGEST ADMIN METRICS [CLICKHOUSE_URL]`: a worker."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from flywheel.events.clickhouse_engine import Address
from flywheel.events.worker import Settings, Worker
from flywheel.runtime.logs import configure


async def run() -> int:
    directory, keys, ingest, admin, metrics, *rest = sys.argv[1:]

    documents: dict[str, dict[str, Any]] = json.loads(Path(keys).read_bytes())  # noqa: ASYNC240 - before all else

    async def fetch(path: str) -> dict[str, Any]:
        return documents[path]

    settings = Settings(
        namespace="spring",
        operator_account="flywheel-system:flywheel",
        data_directory=Path(directory),
        ingest_port=int(ingest),
        admin_port=int(admin),
        metrics_port=int(metrics),
        settings_file=Path(directory).with_suffix(".campaigns.json"),
        lock_seconds=float(os.environ["LOCK_SECONDS"]),
        clickhouse=Address(rest[0]) if rest else None,
    )
    return await Worker(settings, fetch=fetch).run()


if __name__ == "__main__":
    configure("console", "info")
    sys.exit(asyncio.run(run()))
