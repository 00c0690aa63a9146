"""`flywheel abtest preview|adopt|report`: looking at variants, and what stays of a test."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flywheel.commands.abtest_options import namespace_option, place_of, test_argument
from flywheel.commands.release_options import Name

if TYPE_CHECKING:
    from flywheel.commands.abtest_access import Reach
    from flywheel.commands.abtest_seen import Place, SeenTest
    from flywheel.plan import Manifest


@click.command()
@test_argument
@namespace_option
def preview(name: str, namespace: str) -> None:
    """Print links that show each variant of the test NAME to whoever opens them; such visits are not counted."""
    asyncio.run(_preview(place_of(name, namespace)))


async def _preview(place: "Place") -> None:
    from flywheel.commands.abtest_access import reach
    from flywheel.commands.abtest_previewing import hosts_of, links_of
    from flywheel.edge.naming import edge_name

    async with reach(place) as access:
        seen = await access.seen()
        campaign = await _campaign(access, seen)
    width = max(len(each) for each in (seen.control, *seen.challengers))
    for link in links_of(seen, campaign):
        click.echo(f"{link.variant:<{width}}  {link.address}")
    if hosts_of(campaign)[0].startswith("http://"):
        click.echo(f"first: kubectl port-forward{place.scope} service/{edge_name(seen.campaign)} 8080:http", err=True)
    click.echo("Whoever has a link sees the variant: give it to those who may.", err=True)


@click.command()
@test_argument
@namespace_option
@click.option("--variant", type=Name(), default="", help="Another one than the winner.")
@click.option(
    "--output",
    "-o",
    type=click.Choice(["text", "yaml", "patch"]),
    default="text",
    show_default=True,
    help="yaml: only the lines to commit; patch: only the JSON patch.",
)
def adopt(name: str, namespace: str, variant: str, output: Literal["text", "yaml", "patch"]) -> None:
    """Print what to commit so that the Campaign's Git says what runs since the test NAME was won."""
    asyncio.run(_adopt(place_of(name, namespace), variant, output))


async def _adopt(place: "Place", variant: str, output: str) -> None:
    from flywheel.commands import abtest_adopting
    from flywheel.commands.abtest_access import reach

    async with reach(place) as access:
        seen = await access.seen()
        name = abtest_adopting.chosen(seen, variant)
        found = abtest_adopting.adoption_of(seen, await _campaign(access, seen), name)
    if not found.changes:
        click.echo(f"The Campaign {seen.campaign} says already what {name} makes of {seen.service}.", err=True)
        return
    if output == "yaml":
        click.echo(abtest_adopting.lines_of(found), nl=False)
        return
    if output == "patch":
        click.echo(abtest_adopting.patch_of(found))
        return
    click.echo(f"# Into the file of the Campaign {seen.campaign}: what {name} makes of {seen.service}.")
    click.echo(abtest_adopting.lines_of(found))
    click.echo("# Where the Campaign does not come from Git:")
    click.echo(abtest_adopting.command_of(found))
    click.echo(f"\n# As soon as the Campaign says so, the ABTest is not needed any more:\n{_delete(place)}")


def _delete(place: "Place") -> str:
    return f"kubectl delete abtest {place.test}{place.scope}"


@click.command()
@test_argument
@namespace_option
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file; NAME.html by default, - for none.",
)
def report(name: str, namespace: str, output: Path | None) -> None:
    """Write the report of the test NAME as one HTML file that can be sent, printed and kept."""
    place = place_of(name, namespace)
    text = asyncio.run(_report(place))
    if output is not None and str(output) == "-":
        click.echo(text)
        return
    path = output or Path(f"{name}.html")
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"{path} cannot be written: {error.strerror}") from error
    click.echo(f"{path}: {len(text.encode()) / 1024:.0f} KiB. Open it in a browser, or send it.")


async def _report(place: "Place") -> str:
    from flywheel.commands.abtest_access import reach
    from flywheel.experiment.report_model import KEY, UnreadableReport, read_report, report_name
    from flywheel.experiment.report_page import page

    async with reach(place) as access:
        # The report outlives its test.
        held = await access.config_map(report_name(place.test))
        text = ((held or {}).get("data") or {}).get(KEY)
        if not text:
            # A name that is mistyped is told as such.
            seen = await access.seen()
            raise click.ClickException(_no_report(seen))
    try:
        return page(read_report(text))
    except UnreadableReport as error:
        raise click.ClickException(f"The ABTest {place.test}: {error}.") from error


def _no_report(seen: "SeenTest") -> str:
    begun = "has not begun" if seen.told.started_at is None else "has not been looked at"
    return f"There is no report of the test {seen.place.test} yet: it is {seen.told.state} and {begun}."


async def _campaign(access: "Reach", seen: "SeenTest") -> "Manifest":
    found = await access.campaign(seen.campaign)
    if found is None:
        raise click.ClickException(
            f"There is no Campaign {seen.campaign} in the namespace {seen.place.namespace} any more."
        )
    return found
