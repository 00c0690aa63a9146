"""`python -m tests.unit.fraud_worker.worker_process DIRECTORY PORT [ENGINE]`: a worker as a process.

Its engine is the small one, or the one that is named.
"""

import asyncio
import json
import os
import sys
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from tests.unit.fraud_worker.small_engine import SmallEngine

from flywheel.fraud import serving, takeover
from flywheel.fraud.rulings import Shard
from flywheel.fraud.worker import Worker
from flywheel.fraud.worker_settings import Settings
from flywheel.runtime.logs import configure

# No test is about how long a machine takes for something.
serving.HEARD = takeover.MEETING = float(os.environ.get("PATIENCE", "30"))


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
        shard=Shard(int(os.environ.get("SHARD", "0")), int(os.environ.get("SHARDS", "1"))),
        token_file=directory / "worker-token",
        take_over_seconds=float(os.environ.get("TAKE_OVER_SECONDS", "600")),
        peers=tuple(filter(None, os.environ.get("PEERS", "").split(","))),
    )
    make_engine = resolve_name(sys.argv[3]) if len(sys.argv) > 3 else SmallEngine
    return await Worker(settings, make_engine, fetch).run()


if __name__ == "__main__":
    configure("console", "info")
    sys.exit(asyncio.run(run()))
