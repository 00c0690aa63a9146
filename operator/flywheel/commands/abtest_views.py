"""`flywheel abtest list|status|watch`: how tests stand."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import click

from flywheel.commands.abtest_options import namespace_option, place_of, test_argument

if TYPE_CHECKING:
    from rich.console import Console, Group

    from flywheel.commands.abtest_access import Reach
    from flywheel.commands.abtest_seen import Place
    from flywheel.plan import Manifest

    Drawer = Callable[[Group], None]

WIDTH_OF_FILES = 160
"""Columns where the answer goes into a file or another program, which knows no width."""
LONGEST_OUTAGE = 60.0
"""Seconds for which a watched board bears with an API server that does not answer."""
EVERY = 2.0


@click.command("list")
@namespace_option
@click.option("--all-namespaces", "-A", is_flag=True, help="Of the whole cluster.")
def list_tests(namespace: str, *, all_namespaces: bool) -> None:
    """Show all tests: where each stands, who is ahead, and what was decided."""
    asyncio.run(_list(place_of("", namespace), everywhere=all_namespaces))


async def _list(place: "Place", *, everywhere: bool) -> None:
    from flywheel.commands.abtest_access import reach
    from flywheel.commands.abtest_board import listed

    async with reach(place) as access:
        found = await access.tests(everywhere=everywhere)
    if found:
        _console().print(listed(found, everywhere=everywhere))
    else:
        where = "in the cluster" if everywhere else f"in the namespace {place.namespace}"
        click.echo(f"There is no ABTest {where}.")


@click.command()
@test_argument
@namespace_option
@click.option("--output", "-o", type=click.Choice(["board", "json"]), default="board", show_default=True)
def status(name: str, namespace: str, output: Literal["board", "json"]) -> None:
    """Show how the test NAME stands, and what can be done next."""
    asyncio.run(_status(place_of(name, namespace), output))


async def _status(place: "Place", output: str) -> None:
    from flywheel.commands.abtest_access import reach

    async with reach(place) as access:
        manifest = await access.test()
        if output == "json":
            # What the operator keeps for itself is nobody's interface.
            told = {key: value for key, value in (manifest.get("status") or {}).items() if key != "record"}
            click.echo(json.dumps(told, indent=2, ensure_ascii=False))
            return
        console = _console()
        console.print(_drawn(manifest, place, console))


@click.command()
@test_argument
@namespace_option
@click.option("--once", is_flag=True, help="Draw it once and end.")
def watch(name: str, namespace: str, *, once: bool) -> None:
    """Follow the test NAME on a board that is drawn anew whenever something changes, until interrupted."""
    try:
        asyncio.run(_watch(place_of(name, namespace), once=once))
    except KeyboardInterrupt:
        if once:
            raise


async def _watch(place: "Place", *, once: bool) -> None:
    from rich.live import Live

    from flywheel.commands.abtest_access import reach

    async with reach(place) as access:
        console = _console()
        manifest = await access.test()
        shown = _drawn(manifest, place, console)
        if once:
            console.print(shown)
        elif console.is_terminal:
            with Live(shown, console=console, auto_refresh=False, vertical_overflow="visible") as live:
                await _follow(access, console, manifest, lambda board: live.update(board, refresh=True))
        else:
            console.print(shown)
            await _follow(access, console, manifest, lambda board: console.print("", board))


async def _follow(access: "Reach", console: "Console", manifest: "Manifest", draw: "Drawer") -> None:
    """Draw whenever the test is another one than the one that was drawn last."""
    from rich.console import Group
    from rich.text import Text

    from flywheel.commands.abtest_access import Unanswered

    answered = time.monotonic()
    is_late = False
    while True:
        await asyncio.sleep(EVERY)
        try:
            newest = await access.test()
        except Unanswered as error:
            if time.monotonic() - answered > LONGEST_OUTAGE:
                raise
            if not is_late:
                told = Text(f"not renewed: {error.message}", style="yellow")
                draw(Group(_drawn(manifest, access.place, console), told))
            is_late = True
            continue
        answered = time.monotonic()
        version = newest["metadata"].get("resourceVersion")
        if is_late or version != manifest["metadata"].get("resourceVersion"):
            manifest, is_late = newest, False
            draw(_drawn(manifest, access.place, console))


def _drawn(manifest: "Manifest", place: "Place", console: "Console") -> "Group":
    from datetime import UTC, datetime

    from flywheel.commands.abtest_board import drawn
    from flywheel.commands.abtest_seen import read_seen

    return drawn(read_seen(manifest, place), datetime.now(UTC), console.width)


def _console() -> "Console":
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH_OF_FILES, highlight=False)
    return console
