"""`flywheel simulate`: shoppers for a campaign's site."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flywheel.commands.options import Duration

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

    from flywheel.simulation.behaviour import Behaviour
    from flywheel.simulation.crowd import Crowd
    from flywheel.simulation.plan import Pace

RENEWED = 0.25
LOGGED = 5.0
"""Seconds between two lines where there is no terminal."""


@click.command()
@click.argument("behaviour", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--url", required=True, help="Address of the site: the campaign's edge, such as http://127.0.0.1:8080.")
@click.option("--host", default="", help="The host name to ask for, where it is another one than the address.")
@click.option("--duration", type=Duration(), default="60s", show_default=True, help="For how long shoppers come.")
@click.option(
    "--rate", type=click.FloatRange(0.01, 10_000), help="Shoppers a second in an average hour; as the file says."
)
@click.option(
    "--speed",
    type=click.FloatRange(0.01, 100_000),
    default=1.0,
    show_default=True,
    help="How much faster the shoppers' time passes: hours, floods, and how long they look at a page.",
)
@click.option("--seed", type=click.IntRange(0), help="Another crowd than the file's.")
@click.option(
    "--concurrency", type=click.IntRange(1, 20_000), default=500, show_default=True, help="Visits at once, at most."
)
@click.option("--insecure", is_flag=True, help="Do not check the site's certificate.")
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path, allow_dash=True),
    help="Write the report as JSON; - prints it.",
)
@click.option(
    "--labels",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write who was honest and who was not, as CSV: a visitor or a user, label and source.",
)
def simulate(
    behaviour: Path,
    *,
    url: str,
    host: str,
    duration: float,
    rate: float | None,
    speed: float,
    seed: int | None,
    concurrency: int,
    insecure: bool,
    output: Path | None,
    labels: Path | None,
) -> None:
    """Let shoppers come to a site as the file BEHAVIOUR says, and tell how they fared.

    Who comes when, from where and for what depends on the seed alone. An interrupt ends it at once, with a report.
    The exit code is 1 where requests failed.
    """
    import asyncio

    from flywheel.simulation.crowd import Crowd, Place

    loaded = _load(behaviour, seed)
    pace = _pace(loaded, rate, speed)
    crowd = Crowd(loaded, pace, Place(_origin(url), concurrency, verify=not insecure, host=host))
    seconds = asyncio.run(_run(crowd, duration))
    report = crowd.tally.report(seconds, loaded.seed)
    if labels:
        labels.write_text(crowd.tally.fates.labels(), encoding="utf-8")
    text = json.dumps(report, indent=2, ensure_ascii=False)
    if output and str(output) != "-":
        output.write_text(text + "\n", encoding="utf-8")
        _print(report)
    elif output:
        click.echo(text)
    else:
        _print(report)
    sys.exit(1 if report["failed"] or not report["requests"] else 0)


def _load(file: Path, seed: int | None) -> "Behaviour":
    from flywheel.simulation.read import InvalidBehaviour, read_behaviour

    try:
        loaded = read_behaviour(file.read_text("utf-8"))
    except (InvalidBehaviour, UnicodeError) as error:
        raise click.ClickException(f"{file} is no behaviour:\n{error}") from error
    return loaded if seed is None else loaded.model_copy(update={"seed": seed})


def _pace(behaviour: "Behaviour", rate: float | None, speed: float) -> "Pace":
    from datetime import datetime

    from flywheel.simulation.plan import Pace

    begin = 0.0
    if behaviour.day and behaviour.day.begin:
        hours, minutes = behaviour.day.begin.split(":")
        begin = int(hours) * 3600.0 + int(minutes) * 60
    elif behaviour.day:
        now = datetime.now(behaviour.day.zone())
        begin = now.hour * 3600.0 + now.minute * 60 + now.second
    return Pace(rate or behaviour.rate, speed, begin)


def _origin(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise click.BadParameter("It has to be http://host:port or https://host:port.", param_hint="--url")
    return f"{parts.scheme}://{parts.netloc}"


async def _run(crowd: "Crowd", duration: float) -> float:
    """Run the crowd with a progress bar; give the seconds that it took."""
    import asyncio
    import signal
    import time

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    began = time.monotonic()
    running = asyncio.create_task(crowd.run(duration, stop))
    progress = _progress()
    with progress:
        bar = progress.add_task("", total=duration, counts="")
        told = began
        while not running.done():
            await asyncio.wait([running], timeout=RENEWED)
            now = time.monotonic()
            _renew(progress, bar, crowd, min(duration, now - began))
            if not progress.console.is_terminal and now - told >= LOGGED:
                told = now
                click.echo(f"{now - began:.0f} s: {_counts(crowd)}", err=True)
    await running
    return time.monotonic() - began


def _progress() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (BarColumn(bar_width=24), TimeElapsedColumn(), TextColumn("{task.fields[counts]}"))
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _renew(progress: "Progress", bar: "TaskID", crowd: "Crowd", done: float) -> None:
    progress.update(bar, completed=done, counts=_counts(crowd))


def _counts(crowd: "Crowd") -> str:
    tally = crowd.tally
    sights = ", ".join(f"{len(each.visitors):,} saw {name}" for name, each in sorted(tally.sights.items()))
    return (
        f"{crowd.present} here, {tally.started:,} came, {tally.requests:,} requests, {tally.failed:,} failed, "
        f"{tally.orders:,} orders, {tally.revenue:,.2f}"
        + (f"; {sights}" if sights else "")
        + (f"; {_stopped(crowd)}" if tally.fates.has_groups else "")
    )


def _stopped(crowd: "Crowd") -> str:
    told = crowd.tally.fates.report()
    return ", ".join(
        f"{told[truth]['blocked'] + told[truth]['challenged']:,} of {told[truth]['visits']:,} {truth} visits stopped"
        for truth in ("dishonest", "honest")
    )


def _print(report: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    made = Table(title=f"seed {report['seed']}, {report['seconds']:g} s", title_justify="left")
    for name in ("channel", "visits", "visitors", "page views", "requests", "orders", "revenue", "conversion"):
        made.add_column(name, justify="left" if name == "channel" else "right")
    visits = sum(each["visits"] for each in report["channels"].values())
    for name, figures in [*report["channels"].items(), ("all", {**report, "visits": visits})]:
        conversion = figures["conversion"]
        made.add_row(
            name,
            *(f"{figures[each]:,}" for each in ("visits", "visitors", "page_views", "requests", "orders")),
            f"{figures['revenue']:,.2f}",
            "–" if conversion is None else f"{conversion:.2%}",
            style="bold" if name == "all" else None,
        )
    console.print(made)
    latencies = ", ".join(f"{name[:-3]} {report[name]} ms" for name in ("p50_ms", "p95_ms", "p99_ms"))
    console.print(f"{latencies}; {report['failed']:,} requests failed; {report['visits']['bots']:,} visits were bots'")
    for name, seen in report["sights"].items():
        ways = ", ".join(f"{step} ({count:,})" for step, count in seen["next"].items())
        console.print(f"{seen['visitors']:,} visitors saw {name}; then: {ways}", markup=False, highlight=False)
    _print_fates(console, report["fates"])
    for title in ("failures", "refusals", "event_failures"):
        if report[title]:
            told = ", ".join(f"{kind} ({count:,})" for kind, count in list(report[title].items())[:8])
            console.print(f"{title.replace('_', ' ')}: {told}", markup=False, highlight=False)
    if missed := report["visits"]["turned_away"] + report["visits"]["cut_off"]:
        console.print(f"{missed:,} visits were turned away for lack of places, or cut off at the end")


def _print_fates(console: "Console", fates: dict[str, Any]) -> None:
    from rich.table import Table

    if fates["groups"].keys() <= {"shoppers"}:
        return
    made = Table(title="how the edge met them", title_justify="left")
    for name in ("group", "truth", "visits", "served", "blocked", "challenged", "stopped"):
        made.add_column(name, justify="left" if name in ("group", "truth") else "right", no_wrap=name == "group")
    rows = [*fates["groups"].items(), ("all", fates["honest"]), ("all", fates["dishonest"])]
    for name, told in rows:
        share = told["stopped_share"]
        made.add_row(
            name,
            told["truth"].lower(),
            *(f"{told[each]:,}" for each in ("visits", "served", "blocked", "challenged")),
            "–" if share is None else f"{share:.2%}",
            style="bold" if name == "all" else None,
        )
    console.print(made)
