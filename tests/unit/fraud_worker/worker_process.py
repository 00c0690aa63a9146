"""`python -m tests.unit.fraud_worker.worker_process DIRECTORY PORT`: a worker as a process, with the small engine."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

from tests.unit.fraud_worker.small_engine import SmallEngine

from flywheel.fraud.rulings import MakeEngine
from flywheel.fraud.worker import Settings, Worker
from flywheel.runtime.logs import configure


async def run() -> int:
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    documents: dict[str, dict[str, Any]] = json.loads((directory / "keys.json").read_bytes())

    async def fetch(path: str) -> dict[str, Any]:
        return documents[path]

    settings = Settings(
        "shop",
        directory / "volume",
        directory / "rules.json",
        operator_account="flywheel-system:flywheel",
        port=port,
        metrics_port=0,
        admin_port=int(os.environ.get("ADMIN_PORT", "0")),
        snapshot_every=float(os.environ.get("SNAPSHOT_EVERY", "0.15")),
        segment_bytes=int(os.environ.get("SEGMENT_BYTES", "50000")),
        lock_seconds=0.5,
    )
    return await Worker(settings, _engine(), fetch).run()


def _engine() -> MakeEngine:
    if not os.environ.get("EMBEDDED"):
        return SmallEngine
    # It takes a while, and is not wanted where a worker is killed again and again.
    from flywheel.fraud.embedded import make_engine

    return make_engine


if __name__ == "__main__":
    configure("console", "info")
    sys.exit(asyncio.run(run()))
