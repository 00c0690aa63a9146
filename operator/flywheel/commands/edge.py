"""What runs in a pod of the edge."""

import sys
from pathlib import Path
from typing import Literal

import click

from flywheel.commands.options import Duration, log_options
from flywheel.edge import naming

SMALLEST_SPOOL = 1 << 20
_directory = click.Path(file_okay=False, path_type=Path)
_port = click.IntRange(0, 65535)


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option("--namespace", "-n", required=True, help="Where the campaign is.")
@click.option("--campaign", required=True, help="Its name.")
@click.option("--pod", required=True, help="Name of this pod.")
@click.option(
    "--run-directory", type=_directory, default=naming.RUN_DIRECTORY, show_default=True, help="HAProxy's files."
)
@click.option(
    "--spool-directory",
    type=_directory,
    default=naming.SPOOL_DIRECTORY,
    show_default=True,
    help="Events that the store does not have yet.",
)
@click.option(
    "--spool-limit", type=click.IntRange(SMALLEST_SPOOL), default=1 << 30, show_default=True, help="Bytes it may take."
)
@click.option(
    "--document-directory",
    type=_directory,
    default=naming.DOCUMENT_DIRECTORY,
    show_default=True,
    help="The edge's orders, for when the API server cannot be reached.",
)
@click.option("--tls-directory", type=_directory, help="Certificate and key; none without TLS.")
@click.option(
    "--token-file",
    type=click.Path(dir_okay=False, path_type=Path),
    default=naming.TOKEN_FILE,
    show_default=True,
    help="What proves to the store who sends.",
)
@click.option(
    "--flush-for", type=Duration(), default="300s", show_default=True, help="How long to deliver on when told to end."
)
@click.option("--collect-port", type=_port, default=naming.COLLECT_PORT, show_default=True, help="Events, on loopback.")
@click.option("--log-port", type=_port, default=naming.LOG_PORT, show_default=True, help="Access log, UDP on loopback.")
@click.option("--sidecar-port", type=_port, default=naming.SIDECAR_PORT, show_default=True, help="Probes and metrics.")
@log_options
def sidecar(log_format: Literal["console", "json"], log_level: str, **options: object) -> None:
    """Keep HAProxy as the operator says, and collect events. Runs beside HAProxy in each pod of the edge.

    Each option can be given as an environment variable: FLYWHEEL_POD=..., FLYWHEEL_SPOOL_LIMIT=...
    """
    import asyncio

    from flywheel.edge.sidecar import Settings, run
    from flywheel.runtime.logs import configure

    configure(log_format, log_level)
    sys.exit(asyncio.run(run(Settings(**options))))  # type: ignore[arg-type]


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option(
    "--run-directory", type=_directory, default=naming.RUN_DIRECTORY, show_default=True, help="HAProxy's files."
)
@click.option("--for", "seconds", type=Duration(), default="15s", show_default=True, help="How long to wait.")
def edge_drain(run_directory: Path, seconds: float) -> None:
    """Take this pod out of service, and return when no new visitors come: what stops HAProxy without loss."""
    from flywheel.edge.drain import drain

    drain(str(run_directory), seconds)
