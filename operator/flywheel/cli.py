"""The `flywheel` command. A subcommand imports what it needs when it runs: no process loads another's parts."""

import importlib.metadata
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flywheel.commands import (
    abtest,
    analytics,
    browser_gate,
    content,
    edge,
    fraud,
    fraud_group,
    kpis,
    metrics,
    release,
    simulate,
)
from flywheel.commands.options import Duration, log_options, require_one_scope
from flywheel.commands.outgrown_options import outgrown_options

if TYPE_CHECKING:
    from flywheel.fraud.outgrown import Outgrown

SHORTEST_LEASE = 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Marketing campaigns as code on Kubernetes."""


main.add_command(edge.sidecar)
main.add_command(edge.edge_drain)
main.add_command(analytics.analytics)
main.add_command(fraud.fraud_worker)
main.add_command(analytics.query)
main.add_command(analytics.erase)
main.add_command(analytics.export)
main.add_command(metrics.external_metrics)
main.add_command(kpis.kpis)
main.add_command(simulate.simulate)
main.add_command(browser_gate.browser_gate)
main.add_command(content.content_fetch)
main.add_command(content.content_serve)
main.add_command(release.release)
main.add_command(abtest.abtest)
main.add_command(fraud_group.fraud)


@main.command()
def version() -> None:
    """Print the version."""
    click.echo(importlib.metadata.version("flywheel"))


@main.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option(
    "--namespace", "-n", "namespaces", multiple=True, help="Look in this namespace; may be given several times."
)
@click.option("--all-namespaces", "-A", is_flag=True, help="Look in the whole cluster.")
def check_uninstall(namespaces: tuple[str, ...], *, all_namespaces: bool) -> None:
    """Tell whether the operator can go: 0 when no Campaign needs it any more, 1 and their names otherwise."""
    import asyncio

    from flywheel.runtime.checks import uninstall_obstacle

    require_one_scope(namespaces, all_namespaces=all_namespaces)
    _conclude(asyncio.run(uninstall_obstacle(namespaces or (None,))), "No Campaign needs the operator any more.")


@main.command()
@click.option("--namespace", "-n", required=True, help="Where to try a Campaign; it is not stored.")
@click.option("--ready-url", required=True, help="The operator's readiness probe.")
@click.option("--timeout", type=Duration(), default="60s", show_default=True, help="How long it may take to be ready.")
def check_install(namespace: str, ready_url: str, timeout: float) -> None:
    """Tell whether the operator works: it is ready, and the API server accepts a Campaign and refuses a bad one."""
    import asyncio

    from flywheel.runtime.checks import install_obstacle

    _conclude(asyncio.run(install_obstacle(namespace, ready_url, timeout)), "The operator is ready for Campaigns.")


def _own_image(name: str) -> str:
    return f"ghcr.io/flywheel-dev/{name}:{importlib.metadata.version('flywheel')}"


def _conclude(obstacle: str | None, otherwise: str) -> None:
    click.echo(obstacle or otherwise, err=obstacle is not None)
    sys.exit(1 if obstacle else 0)


@main.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option(
    "--namespace",
    "-n",
    "namespaces",
    multiple=True,
    envvar="FLYWHEEL_NAMESPACES",
    help="Serve this namespace; may be given several times.",
)
@click.option("--all-namespaces", "-A", is_flag=True, help="Serve the whole cluster.")
@click.option("--leader-election/--no-leader-election", default=True, show_default=True, help="Stand for election.")
@click.option("--lease-namespace", help="Where the Lease is; the operator's own namespace by default.")
@click.option("--lease-duration", type=Duration(), default="15s", show_default=True, help="How long a renewal holds.")
@click.option(
    "--workers", type=click.IntRange(1, 100), default=8, show_default=True, help="Campaigns worked on at once."
)
@click.option("--resync", type=Duration(), default="10m", show_default=True, help="Look at each campaign this often.")
@click.option("--edge-image", default=lambda: _own_image("flywheel-edge"), help="Image with HAProxy and the sidecar.")
@click.option("--analytics-image", default=lambda: _own_image("flywheel-analytics"), help="Image of the event store.")
@click.option("--browser-image", default=lambda: _own_image("flywheel-browser"), help="Image of browser gates.")
@click.option("--content-image", default=lambda: _own_image("flywheel-content"), help="Image of pages from Git.")
@click.option(
    "--metrics-adapter",
    type=click.Choice(["None", "KEDA", "PrometheusAdapter"]),
    default="None",
    show_default=True,
    help="What serves events and requests per second to autoscalers, if not flywheel external-metrics.",
)
@click.option("--prometheus", default="", help="With KEDA: address of a Prometheus that reads the edge pods.")
@click.option(
    "--webhook-secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="File with the secret of Git servers that tell of pushes; without it nothing listens for them.",
)
@click.option("--webhook-port", type=click.IntRange(0, 65535), default=8082, show_default=True, help="Git servers.")
@click.option(
    "--fraud-workers",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Workers of each namespace that share the keys of its fraud rules.",
)
@click.option(
    "--fraud-workers-in",
    multiple=True,
    help="Another number for one namespace, as namespace=number; may be given several times.",
)
@click.option("--health-port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="Probes.")
@click.option("--metrics-port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="Prometheus.")
@outgrown_options
@log_options
def operator(
    namespaces: tuple[str, ...],
    *,
    all_namespaces: bool,
    leader_election: bool,
    lease_namespace: str | None,
    lease_duration: float,
    workers: int,
    resync: float,
    edge_image: str,
    analytics_image: str,
    browser_image: str,
    content_image: str,
    metrics_adapter: Literal["None", "KEDA", "PrometheusAdapter"],
    prometheus: str,
    webhook_secret_file: Path | None,
    webhook_port: int,
    fraud_workers: int,
    fraud_workers_in: tuple[str, ...],
    health_port: int,
    metrics_port: int,
    outgrown: "Outgrown",
    log_format: Literal["console", "json"],
    log_level: str,
) -> None:
    """Run the operator.

    Each option can be given as an environment variable: FLYWHEEL_WORKERS=4, FLYWHEEL_NAMESPACES="spring summer".
    """
    import asyncio

    from flywheel.fraud.workforce import Workforce
    from flywheel.plan import Images
    from flywheel.release.process import Receiver
    from flywheel.runtime.logs import configure
    from flywheel.runtime.operator import Settings, run
    from flywheel.workload.provider import Provider

    require_one_scope(namespaces, all_namespaces=all_namespaces)
    if lease_duration < SHORTEST_LEASE:
        raise click.BadParameter(
            f"A lease shorter than {SHORTEST_LEASE} s cannot be held.", param_hint="--lease-duration"
        )
    if metrics_adapter == "KEDA" and not prometheus:
        raise click.UsageError("KEDA asks a Prometheus for events and requests: name it with --prometheus.")
    configure(log_format, log_level)
    settings = Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        leader_election=leader_election,
        lease_namespace=lease_namespace,
        lease_duration=int(lease_duration),
        workers=workers,
        resync=resync,
        images=Images(edge_image, analytics_image, browser_image, content_image),
        provider=Provider(metrics_adapter, prometheus),
        webhook=Receiver(webhook_secret_file, webhook_port) if webhook_secret_file else None,
        workforce=Workforce(fraud_workers, _numbers(fraud_workers_in, namespaces)),
        health_port=health_port,
        metrics_port=metrics_port,
        outgrown=outgrown,
    )
    sys.exit(asyncio.run(run(settings)))


def _numbers(told: tuple[str, ...], namespaces: tuple[str, ...]) -> dict[str, int]:
    """Read the numbers of fraud workers of single namespaces."""
    from flywheel.fraud.workforce import read_numbers

    try:
        found = read_numbers(told)
    except ValueError as error:
        raise click.BadParameter(f"{error}.", param_hint="--fraud-workers-in") from error
    others = sorted(found.keys() - set(namespaces)) if namespaces else []
    if others:
        raise click.BadParameter(
            f"{', '.join(others)} is not served: add it with --namespace, or take the number out.",
            param_hint="--fraud-workers-in",
        )
    return found
