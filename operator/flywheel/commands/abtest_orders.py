"""`flywheel abtest pause|resume|stop|promote|extend`: what a person says about a test."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from flywheel.commands.abtest_options import namespace_option, place_of, test_argument
from flywheel.commands.options import Duration
from flywheel.commands.release_options import Name

if TYPE_CHECKING:
    from flywheel.commands.abtest_decisions import Order
    from flywheel.commands.abtest_seen import Place, SeenTest
    from flywheel.plan import Manifest


@click.command()
@test_argument
@namespace_option
def pause(name: str, namespace: str) -> None:
    """Pause the test NAME: everybody gets the control, nothing is counted, the clock stands still."""
    from flywheel.commands import abtest_decisions

    _carry_out(place_of(name, namespace), abtest_decisions.pause)


@click.command()
@test_argument
@namespace_option
def resume(name: str, namespace: str) -> None:
    """Let the paused test NAME go on; each visitor has the variant from before."""
    from flywheel.commands import abtest_decisions

    _carry_out(place_of(name, namespace), abtest_decisions.resume)


@click.command()
@test_argument
@namespace_option
def stop(name: str, namespace: str) -> None:
    """End the test NAME for good: everybody gets the control, and its report stays."""
    from datetime import UTC, datetime

    from flywheel.commands import abtest_decisions

    _carry_out(place_of(name, namespace), lambda seen: abtest_decisions.stop(seen, datetime.now(UTC)))


@click.command()
@test_argument
@namespace_option
@click.option("--variant", type=Name(), default="", help="Another one than the winner.")
def promote(name: str, namespace: str, variant: str) -> None:
    """Release the winner of the test NAME to everybody, through the gates of the service's release."""
    from flywheel.commands import abtest_decisions

    _carry_out(place_of(name, namespace), lambda seen: abtest_decisions.promote(seen, variant))


@click.command()
@test_argument
@namespace_option
@click.option("--for", "more", type=Duration(), required=True, help="How much more time, such as 7d.")
def extend(name: str, namespace: str, more: float) -> None:
    """Give the test NAME more time. The visitors that it needs stay as planned, so this is no way to fish."""
    from datetime import timedelta

    from flywheel.commands import abtest_decisions

    _carry_out(place_of(name, namespace), lambda seen: abtest_decisions.extend(seen, timedelta(seconds=more)))


def _carry_out(place: "Place", decide: "Callable[[SeenTest], Order]") -> None:
    from flywheel.commands.abtest_access import reach

    said: tuple[str, ...] = ()

    def write(seen: "SeenTest") -> "Manifest | None":
        nonlocal said
        order = decide(seen)
        said = order.notes
        return order.patch

    async def run() -> None:
        async with reach(place) as access:
            await access.change(write)

    asyncio.run(run())
    for note in said:
        click.echo(note)
