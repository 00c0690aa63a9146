"""How a fraud worker runs."""

from dataclasses import dataclass
from pathlib import Path

from flywheel.edge.naming import TOKEN_FILE
from flywheel.events.volume_lock import LOCK_TIMEOUT
from flywheel.fraud import naming
from flywheel.fraud.journal import SEGMENT_BYTES
from flywheel.fraud.judging import SNAPSHOT
from flywheel.fraud.kafka import DIRECTORY, Kafka
from flywheel.fraud.rulings import ALONE, Shard

TAKE_OVER = 600.0
"""Seconds for which keys are waited for that other workers do not give."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How the worker runs; see `flywheel fraud-worker --help`."""

    namespace: str
    data_directory: Path
    rules_file: Path
    shard: Shard = ALONE
    operator_account: str = ""
    port: int = naming.PORT
    metrics_port: int = naming.METRICS_PORT
    admin_port: int = naming.ADMIN_PORT
    snapshot_every: float = SNAPSHOT
    segment_bytes: int = SEGMENT_BYTES
    lock_seconds: float = LOCK_TIMEOUT
    token_file: Path = Path(TOKEN_FILE)
    """Proves to the other workers who this is."""
    take_over_seconds: float = TAKE_OVER
    peers: tuple[str, ...] = ()
    """Addresses of all workers, by their shards; empty for those that their names give."""
    kafka: Kafka | None = None
    """By which Flink judges; None: it judges by no rule."""
    kafka_credentials: Path = Path(DIRECTORY)
    kafka_partitions: int = 1
