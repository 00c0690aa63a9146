"""`python -m tests.unit.fraud_kafka.worker_process DIRECTORY PORT METRICS_PORT`: a worker that Kafka is given to."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from flywheel.fraud.embedded import make_engine
from flywheel.fraud.kafka import Kafka
from flywheel.fraud.worker import Worker
from flywheel.fraud.worker_settings import Settings
from flywheel.runtime.logs import configure


async def run() -> int:
    directory = Path(sys.argv[1])
    documents: dict[str, dict[str, Any]] = json.loads((directory / "keys.json").read_bytes())

    async def fetch(path: str) -> dict[str, Any]:
        return documents[path]

    settings = Settings(
        "shop",
        directory / "volume",
        directory / "rules.json",
        operator_account="flywheel-system:flywheel",
        port=int(sys.argv[2]),
        metrics_port=int(sys.argv[3]),
        admin_port=0,
        snapshot_every=0.3,
        segment_bytes=20_000,
        lock_seconds=5,
        kafka=Kafka(**json.loads((directory / "kafka.json").read_bytes())),
        kafka_credentials=directory / "credentials",
        kafka_partitions=2,
    )
    return await Worker(settings, make_engine, fetch).run()


if __name__ == "__main__":
    configure("console", "info")
    sys.exit(asyncio.run(run()))
