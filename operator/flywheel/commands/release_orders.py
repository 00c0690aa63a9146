"""`flywheel release promote|abort|retry|rollback`: what a person commands, written to the Campaign and followed."""

import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from flywheel.commands.options import Duration
from flywheel.commands.release_options import campaign_argument, namespace_option, place_of, service_argument

if TYPE_CHECKING:
    from flywheel.commands.release_access import Reach
    from flywheel.commands.release_outcome import End, Goal
    from flywheel.commands.release_seen import Place, Seen
    from flywheel.commands.release_targets import Choice, Known
    from flywheel.plan import Manifest
    from flywheel.release.state import ReleaseState

    Chooser = Callable[[Seen], Choice]
    Command = Callable[..., None]

POLL = 0.5
"""Seconds between two looks at a release that is followed."""
CATCH_UP = 10.0
"""Seconds that the operator is given to look at a spec that was applied just before, without --wait."""
LONGEST_OUTAGE = 60.0
"""Seconds for which following bears with an API server that does not answer."""


def _about_a_service(function: "Command") -> "Command":
    return campaign_argument(service_argument(namespace_option(function)))


def _follow_it(function: "Command") -> "Command":
    wait = click.option("--wait", is_flag=True, help="Follow it until it has ended, well (exit 0) or not (exit 1).")
    timeout = click.option(
        "--timeout", type=Duration(), default="10m", show_default=True, help="How long, with --wait."
    )
    return wait(timeout(function))


_revision = click.option("--revision", default="", help="Only if this is the revision that comes into question.")


@click.command()
@_about_a_service
@_revision
@_follow_it
def promote(campaign: str, service: str, namespace: str, revision: str, *, wait: bool, timeout: float) -> None:
    """Let the revision of CAMPAIGN that waits for a person have the traffic; it skips no gate.

    SERVICE is needed where several wait.
    """
    from flywheel.commands.release_targets import promotion

    _carry_out("promote", place_of(campaign, namespace), lambda seen: promotion(seen, service, revision), wait, timeout)


@click.command()
@_about_a_service
@_revision
@_follow_it
def abort(campaign: str, service: str, namespace: str, revision: str, *, wait: bool, timeout: float) -> None:
    """Stop the release of CAMPAIGN that is on its way; after the switch, while its gates are at work, bring it back.

    SERVICE is needed where several are on their way.
    """
    from flywheel.commands.release_targets import abortion

    _carry_out("abort", place_of(campaign, namespace), lambda seen: abortion(seen, service, revision), wait, timeout)


@click.command()
@_about_a_service
@_revision
@_follow_it
def retry(campaign: str, service: str, namespace: str, revision: str, *, wait: bool, timeout: float) -> None:
    """Try the revision of CAMPAIGN again that failed, was aborted or gone back from, or whose gate could not look.

    SERVICE is needed where several stopped.
    """
    from flywheel.commands.release_targets import retrial

    _carry_out("retry", place_of(campaign, namespace), lambda seen: retrial(seen, service, revision), wait, timeout)


@click.command()
@_about_a_service
@click.option("--to", "revision", default="", help="The revision to go back to; the one before by default.")
@_follow_it
def rollback(campaign: str, service: str, namespace: str, revision: str, *, wait: bool, timeout: float) -> None:
    """Go back to the revision of CAMPAIGN before, at once while it is warm, or to an earlier one.

    SERVICE is needed where several can go back. The spec stays as it is; its revision is held until `retry`, or until
    the spec asks for another one.
    """
    place = place_of(campaign, namespace)

    def choose(known: "Known") -> "Chooser":
        from datetime import UTC, datetime

        from flywheel.commands.release_targets import going_back

        return lambda seen: going_back(seen, service, revision, known, datetime.now(UTC))

    _conclude(asyncio.run(_go_back(place, service, choose, wait=wait, timeout=timeout)))


async def _go_back(
    place: "Place",
    service: str,
    choose: Callable[["Known"], "Chooser"],
    *,
    wait: bool,
    timeout: float,  # noqa: ASYNC109 - of what a person waits for
) -> bool:
    from flywheel.commands.release_access import reach
    from flywheel.commands.release_past import returnable
    from flywheel.commands.release_seen import chosen, read_seen

    async with reach(place) as access:
        seen = read_seen(await access.campaign(), place)
        known = await returnable(access, chosen(seen, service))
        return await _order(access, "rollback", choose(known), wait=wait, timeout=timeout)


def _carry_out(command: str, place: "Place", choose: "Chooser", wait: bool, timeout: float) -> None:
    from flywheel.commands.release_access import reach

    async def run() -> bool:
        async with reach(place) as access:
            return await _order(access, command, choose, wait=wait, timeout=timeout)

    _conclude(asyncio.run(run()))


def _conclude(good: bool) -> None:
    if not good:
        sys.exit(1)


async def _order(
    access: "Reach",
    command: str,
    choose: "Chooser",
    *,
    wait: bool,
    timeout: float,  # noqa: ASYNC109 - of what a person waits for
) -> bool:
    from flywheel.commands.release_annotation import annotation_of, merged, nonce_at, part_of
    from flywheel.commands.release_outcome import Goal
    from flywheel.commands.release_seen import read_seen
    from flywheel.commands.release_targets import Choice

    await _catch_up(access, timeout if wait else CATCH_UP)
    nonce = nonce_at(time.time())
    made = Choice()

    def write(manifest: "Manifest") -> str | None:
        nonlocal made
        seen = read_seen(manifest, access.place)
        made = choose(seen)
        own = {service: part_of(service, revision, nonce) for service, revision in made.targets.items()}
        name = annotation_of(command)
        return merged(command, seen.annotations.get(name, ""), own, seen.states) if own else None

    manifest = await access.annotate(annotation_of(command), write)
    for note in made.notes:
        click.echo(note)
    for service, revision in made.targets.items():
        click.echo(f"{service}: {command} {revision}: the operator is told.")
    if read_seen(manifest, access.place).at_zero:
        click.echo("The Campaign runs no pods at present: nothing is carried out until it does.")
    if wait:
        goals = [Goal(command, name, found, part_of(name, found, nonce)) for name, found in made.targets.items()]
        goals += [Goal("promote", name, found, "") for name, found in made.follow.items()]
        return await _follow(access, goals, timeout)
    if made.targets:
        click.echo(f"See how it goes on: {access.place.command('status', '--watch')}")
    return True


async def _catch_up(access: "Reach", longest: float) -> None:
    """Wait until the status is about the newest spec, as in a pipeline that applies it and promotes it at once."""
    from flywheel.commands.release_seen import read_seen

    begun = time.monotonic()
    while not read_seen(await access.campaign(), access.place).current:
        if time.monotonic() - begun >= longest:
            click.echo("The operator has not looked at the newest spec yet: is it running?", err=True)
            return
        await asyncio.sleep(min(POLL, longest))


async def _follow(access: "Reach", goals: list["Goal"], timeout: float) -> bool:  # noqa: ASYNC109
    """Follow until every goal has its end; say what happens meanwhile, each thing once; tell whether all went well."""
    from flywheel.commands.release_access import Unanswered
    from flywheel.commands.release_outcome import end_of
    from flywheel.commands.release_seen import read_seen

    ends: dict[str, End] = {}
    said: dict[str, str] = {}
    heard = begun = time.monotonic()
    while True:
        try:
            states = read_seen(await access.campaign(), access.place).states
            heard = time.monotonic()
        except Unanswered:
            if time.monotonic() - heard > LONGEST_OUTAGE:
                raise
        else:
            for goal in [each for each in goals if each.service not in ends]:
                end = end_of(goal, states.get(goal.service), access.place)
                if end is not None:
                    ends[goal.service] = end
                    click.echo(end.sentence, err=not end.good)
                    continue
                _say(said, goal.service, _stands(goal, states))
        if len(ends) == len(goals):
            return all(each.good for each in ends.values())
        if time.monotonic() - begun >= timeout:
            late = ", ".join(each.service for each in goals if each.service not in ends)
            raise click.ClickException(
                f"Not at its end after {timeout:.0f} s: {late}. It goes on without you. If nothing happens at all: is "
                "the operator running?"
            )
        await asyncio.sleep(min(POLL, max(0.0, timeout)))


def _stands(goal: "Goal", states: "Mapping[str, ReleaseState]") -> str:
    from flywheel.commands.release_seen import clean

    state = states[goal.service]
    return f"{goal.service}: {state.phase}" + (f": {clean(state.message)}" if state.message else "")


def _say(said: dict[str, str], service: str, text: str) -> None:
    if said.get(service) != text:
        said[service] = text
        click.echo(text)
