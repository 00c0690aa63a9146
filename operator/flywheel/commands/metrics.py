"""What lets services grow with events and requests."""

import sys
from typing import Literal

import click

from flywheel.commands.options import Duration, log_options, require_one_scope

_port = click.IntRange(1, 65535)


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    envvar="FLYWHEEL_NAMESPACES",
    help="Read the edges of this namespace; may be given several times.",
)
@click.option("--all-namespaces", "-A", is_flag=True, help="Read the edges of the whole cluster.")
@click.option("--service", required=True, help="Service that leads here, and that the APIService names.")
@click.option("--service-namespace", required=True, help="Its namespace; the certificate is kept there as well.")
@click.option("--secret", required=True, help="Secret in which all replicas keep the certificate.")
@click.option("--port", type=_port, default=6443, show_default=True, help="Where the API server asks.")
@click.option("--health-port", type=_port, default=8081, show_default=True, help="Probes and Prometheus.")
@click.option("--window", type=Duration(), default="30s", show_default=True, help="Rates are over this time.")
@click.option("--interval", type=Duration(), default="5s", show_default=True, help="Each pod is read this often.")
@log_options
def external_metrics(
    namespaces: tuple[str, ...],
    *,
    all_namespaces: bool,
    service: str,
    service_namespace: str,
    secret: str,
    port: int,
    health_port: int,
    window: float,
    interval: float,
    log_format: Literal["console", "json"],
    log_level: str,
) -> None:
    """Serve events and requests per second to autoscalers, as external.metrics.k8s.io.

    Each option can be given as an environment variable: FLYWHEEL_WINDOW=1m, FLYWHEEL_NAMESPACES="spring summer".
    """
    import asyncio

    from flywheel.metrics.process import Settings, run
    from flywheel.runtime.logs import configure

    require_one_scope(namespaces, all_namespaces=all_namespaces)
    if interval <= 0 or window < 2 * interval:
        raise click.BadParameter(
            "A rate takes at least two readings: at least twice the interval.", param_hint="--window"
        )
    configure(log_format, log_level)
    settings = Settings(
        service=service,
        service_namespace=service_namespace,
        secret=secret,
        namespaces=tuple(dict.fromkeys(namespaces)),
        port=port,
        health_port=health_port,
        window=window,
        interval=interval,
    )
    sys.exit(asyncio.run(run(settings)))
