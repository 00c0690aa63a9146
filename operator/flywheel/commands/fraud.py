"""The worker that judges events for fraud."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flywheel.commands.options import Duration, log_options
from flywheel.commands.outgrown_options import kafka_options
from flywheel.edge.naming import TOKEN_FILE
from flywheel.fraud import naming
from flywheel.fraud.kafka import DIRECTORY
from flywheel.fraud.shares import MOST

if TYPE_CHECKING:
    from flywheel.fraud.kafka import Kafka
    from flywheel.fraud.rulings import MakeEngine

EMBEDDED = "flywheel.fraud.embedded:make_engine"
_port = click.IntRange(0, 65535)


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option("--namespace", "-n", required=True, help="Judge the events of this namespace's campaigns.")
@click.option(
    "--data-directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=naming.DATA_DIRECTORY,
    show_default=True,
    help="The volume.",
)
@click.option(
    "--rules-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=f"{naming.RULES_DIRECTORY}/{naming.RULES_KEY}",
    show_default=True,
    help="The rules of all campaigns; looked at again and again.",
)
@click.option("--pod", default="", help="Name of this pod; the number at its end is that of its shard.")
@click.option(
    "--shards", type=click.IntRange(1, MOST), default=1, show_default=True, help="Workers that share the keys."
)
@click.option(
    "--take-over-seconds",
    type=click.FloatRange(min=0, max=86_400),
    default=600,
    show_default=True,
    help="How long keys are waited for that other workers do not give.",
)
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=TOKEN_FILE,
    show_default=True,
    help="The token that proves to other workers who this is.",
)
@click.option("--operator-account", default="", help="ServiceAccount of the operator, namespace:name, which may ask.")
@click.option("--snapshot-every", type=Duration(), default="60s", show_default=True, help="How often all is written.")
@click.option("--engine", default=EMBEDDED, show_default=True, help="What makes the engine of a campaign: module:name.")
@click.option("--port", type=_port, default=naming.PORT, show_default=True, help="Events, decisions and questions.")
@click.option("--metrics-port", type=_port, default=naming.METRICS_PORT, show_default=True, help="Prometheus.")
@click.option("--admin-port", type=_port, default=naming.ADMIN_PORT, show_default=True, help="People, on loopback.")
@kafka_options()
@click.option(
    "--kafka-credentials",
    type=click.Path(file_okay=False, path_type=Path),
    default=DIRECTORY,
    show_default=True,
    help="The Secret's files.",
)
@click.option(
    "--kafka-partitions", type=click.IntRange(1, 128), default=1, show_default=True, help="Of topics that are made."
)
@log_options
def fraud_worker(
    *,
    namespace: str,
    data_directory: Path,
    rules_file: Path,
    pod: str,
    shards: int,
    take_over_seconds: float,
    token_file: Path,
    operator_account: str,
    snapshot_every: float,
    engine: str,
    port: int,
    metrics_port: int,
    admin_port: int,
    kafka: "Kafka | None",
    kafka_credentials: Path,
    kafka_partitions: int,
    log_format: Literal["console", "json"],
    log_level: str,
) -> None:
    """Judge events as they come, and tell the edges whom to refuse.

    Each option can be given as an environment variable: FLYWHEEL_SHARDS=...
    """
    import asyncio

    from flywheel.fraud.rulings import Shard
    from flywheel.fraud.worker import Worker
    from flywheel.fraud.worker_settings import Settings
    from flywheel.runtime.logs import configure

    configure(log_format, log_level)
    settings = Settings(
        namespace=namespace,
        data_directory=data_directory,
        rules_file=rules_file,
        shard=Shard(_number(pod), shards),
        take_over_seconds=take_over_seconds,
        token_file=token_file,
        operator_account=operator_account,
        port=port,
        metrics_port=metrics_port,
        admin_port=admin_port,
        snapshot_every=snapshot_every,
        kafka=kafka,
        kafka_credentials=kafka_credentials,
        kafka_partitions=kafka_partitions,
    )

    async def run() -> int:
        return await Worker(settings, _made_by(engine)).run()

    sys.exit(asyncio.run(run()))


def _made_by(engine: str) -> "MakeEngine":
    import importlib

    module, _, name = engine.partition(":")
    try:
        made: MakeEngine = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise click.BadParameter(f"There is no such engine: {error}", param_hint="--engine") from error
    return made


def _number(pod: str) -> int:
    """Read the shard from the name of a StatefulSet's pod. One beyond the number of shards is about to go."""
    ordinal = pod.rpartition("-")[2]
    number = int(ordinal) if ordinal.isascii() and ordinal.isdigit() and len(ordinal) <= 4 else 0
    if number >= MOST:
        raise click.BadParameter(f"{pod!r} would be the shard {number}; at most {MOST} are known.", param_hint="--pod")
    return number
