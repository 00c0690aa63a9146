"""`flywheel release status|history|pictures`: how releases stand, what became of them, what gates have seen."""

import asyncio
import dataclasses
import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flywheel.commands.release_options import Name, campaign_argument, namespace_option, place_of, service_argument

if TYPE_CHECKING:
    from rich.console import Console, Group

    from flywheel.commands.release_access import Reach
    from flywheel.commands.release_seen import Place
    from flywheel.plan import Manifest

WIDTH_OF_FILES = 200
"""Columns where the answer goes into a file or another program, which knows no width."""
LONGEST_OUTAGE = 60.0
"""Seconds for which a watched status bears with an API server that does not answer."""
EVERY = 1.0


@click.command()
@campaign_argument
@namespace_option
@click.option("--service", type=Name(), default="", help="Only this one; all by default.")
@click.option("--watch", "-w", is_flag=True, help="Renew it until interrupted.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["table", "wide", "json"]),
    default="table",
    show_default=True,
    help="wide: with every measurement that is kept; json: status.releases as it is.",
)
def status(
    campaign: str, namespace: str, service: str, *, watch: bool, output: Literal["table", "wide", "json"]
) -> None:
    """Show how the releases of CAMPAIGN stand, how to look at what is on its way, and what can be done next."""
    place = place_of(campaign, namespace)
    if watch and output == "json":
        raise click.UsageError("--watch renews a table: leave out -o json, or ask now and then.")
    try:
        asyncio.run(_status(place, service, output, watch=watch))
    except KeyboardInterrupt:
        if not watch:
            raise


async def _status(place: "Place", service: str, output: str, *, watch: bool) -> None:
    from flywheel.commands.release_access import reach

    async with reach(place) as access:
        manifest = await access.campaign()
        if output == "json":
            click.echo(json.dumps(_as_json(manifest, place, service), indent=2, ensure_ascii=False))
            return
        console = _console()
        wide = output == "wide"
        shown = _drawn(manifest, place, service, wide=wide)
        if watch:
            await _watch(access, console, shown, service, wide=wide)
        else:
            console.print(shown)


def _as_json(manifest: "Manifest", place: "Place", service: str) -> dict[str, Any]:
    from flywheel.commands.release_seen import chosen, read_seen

    wanted = chosen(read_seen(manifest, place), service)
    releases = [each for each in manifest["status"]["releases"] if each.get("service") in wanted]
    return {"campaign": place.campaign, "namespace": place.namespace, "releases": releases}


def _drawn(manifest: "Manifest", place: "Place", service: str, *, wide: bool) -> "Group":
    from datetime import UTC, datetime

    from flywheel.commands.release_seen import chosen, read_seen
    from flywheel.commands.release_show import drawn

    seen = read_seen(manifest, place)
    return drawn(seen, chosen(seen, service), datetime.now(UTC), wide=wide)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH_OF_FILES, highlight=False)
    return console


async def _watch(access: "Reach", console: "Console", shown: "Group", service: str, *, wide: bool) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from flywheel.commands.release_access import Unanswered

    answered = time.monotonic()
    with Live(shown, console=console, refresh_per_second=4, vertical_overflow="visible") as live:
        while True:
            await asyncio.sleep(EVERY)
            try:
                shown = _drawn(await access.campaign(), access.place, service, wide=wide)
                answered = time.monotonic()
                live.update(shown)
            except Unanswered as error:
                if time.monotonic() - answered > LONGEST_OUTAGE:
                    raise
                live.update(Group(shown, Text(f"not renewed: {error.message}", style="yellow")))


@click.command()
@campaign_argument
@service_argument
@namespace_option
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def history(campaign: str, service: str, namespace: str, *, output: Literal["table", "json"]) -> None:
    """Show what became of the last revisions of CAMPAIGN, oldest first, and which can be gone back to.

    `back` says of a revision: serves; warm (a rollback is immediate); yes (its pods are started first); no.
    """
    asyncio.run(_history(place_of(campaign, namespace), service, output))


async def _history(place: "Place", service: str, output: str) -> None:
    from flywheel.commands.release_access import reach
    from flywheel.commands.release_past import records, rows
    from flywheel.commands.release_seen import chosen, read_seen
    from flywheel.commands.release_show import history_table

    async with reach(place) as access:
        states = chosen(read_seen(await access.campaign(), place), service)
        read = await records(access, states)
    lines = [each for name, state in states.items() for each in rows(state, read[name] if read else None)]
    if output == "json":
        told = [{**dataclasses.asdict(each), "at": each.at.isoformat() if each.at else None} for each in lines]
        click.echo(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        _console().print(history_table(lines, place, services=len(states)))
    if read is None:
        click.echo(
            f"Sources, and what can be gone back to, are in ConfigMaps: the right `get` on configmaps in the namespace "
            f"{place.namespace} is missing.",
            err=True,
        )


@click.command()
@campaign_argument
@click.argument("service", type=Name())
@click.argument("gate", type=Name(), default="")
@namespace_option
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The files go into a directory of each gate below this one.",
)
def pictures(campaign: str, service: str, gate: str, namespace: str, *, into: Path) -> None:
    """Fetch the pictures and reports that the browser gates of SERVICE have kept of the last release; or one GATE's."""
    asyncio.run(_pictures(place_of(campaign, namespace), service, gate, into))


async def _pictures(place: "Place", service: str, gate: str, into: Path) -> None:
    from flywheel.commands.release_access import reach
    from flywheel.commands.release_pictures import evidence_of, files_of, write_files
    from flywheel.commands.release_seen import read_seen

    async with reach(place) as access:
        evidence = evidence_of(read_seen(await access.campaign(), place), service, gate)
        found = {name: await access.config_map(config_map) for name, config_map in evidence.items()}
    for name, manifest in found.items():
        files = files_of(manifest) if manifest else {}
        if not files:
            raise click.ClickException(f"The ConfigMap {evidence[name]} of the gate {name} holds no pictures any more.")
        try:
            written = write_files(into / name, files)
        except OSError as error:
            raise click.ClickException(f"{into / name} cannot be written: {error.strerror}") from error
        for path in written:
            click.echo(str(path))
