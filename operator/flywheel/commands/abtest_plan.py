"""`flywheel abtest plan`: what a test costs before it starts, from the campaign's own traffic."""

import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flywheel.commands.abtest_options import namespace_option, place_of
from flywheel.commands.options import Duration

if TYPE_CHECKING:
    from datetime import datetime

    from flywheel.api.abtest import ABTest
    from flywheel.api.campaign import Campaign
    from flywheel.commands.abtest_planning import Plan
    from flywheel.commands.abtest_seen import Place
    from flywheel.experiment.planning import Baseline
    from flywheel.insight.past import Past
    from flywheel.plan import Manifest

CONNECT_TIMEOUT = 10.0
LONGEST_ANSWER = 120.0


@click.command()
@click.argument("test")
@namespace_option
@click.option("--url", help="Address of the worker's admin port, where it is forwarded already.")
@click.option("--since", type=Duration(), default="7d", show_default=True, help="How far back the past is looked at.")
@click.option("--baseline", help="What the primary metric is today, such as 5.2% or 48.20, instead of asking the past.")
@click.option("--deviation", type=float, help="With --baseline of a mean: standard deviation of one visitor's value.")
@click.option("--visitors-per-day", type=click.FloatRange(0), help="Of the service, instead of asking the past.")
def plan(
    test: str,
    namespace: str,
    url: str | None,
    *,
    since: float,
    baseline: str | None,
    deviation: float | None,
    visitors_per_day: float | None,
) -> None:
    """Say how many visitors and days TEST needs, a file or the name of an ABTest, and whether it has the time.

    Both come from what visitors of the service did in the last days. Without a past say --baseline and
    --visitors-per-day. Exit 1 if the test would end without knowing.
    """
    from datetime import UTC, datetime

    from flywheel.commands.abtest_planning import plan_of

    now = datetime.now(UTC)
    asked, campaign = _read(test, namespace)
    given = _given(asked, baseline, deviation)
    past = None
    if given is None or visitors_per_day is None:
        past = _past(asked, campaign, namespace if not Path(test).is_file() else asked.namespace, url, since, now)
    known, measured = _settled(asked, past, given, visitors_per_day)
    made = plan_of(asked, campaign, known, measured, now)
    _print(asked, made, past)
    sys.exit(1 if made.refusals else 0)


def _read(test: str, namespace: str) -> "tuple[ABTest, Campaign | None]":
    path = Path(test)
    if path.is_file():
        return _from_file(path, namespace)
    if path.suffix in (".yaml", ".yml", ".json"):
        raise click.ClickException(f"There is no file {test}.")
    return asyncio.run(_from_server(place_of(test, namespace), None))


def _from_file(path: Path, namespace: str) -> "tuple[ABTest, Campaign | None]":
    import yaml

    try:
        held = [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if isinstance(each, dict)]
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    tests = [each for each in held if each.get("kind") == "ABTest"]
    if len(tests) != 1:
        raise click.ClickException(f"{path} holds {len(tests)} ABTests: give a file with one.")
    tests[0].setdefault("metadata", {}).setdefault("namespace", namespace)
    asked = _abtest(tests[0], str(path))
    beside = [
        each
        for each in held
        if each.get("kind") == "Campaign" and (each.get("metadata") or {}).get("name") == asked.spec.campaign
    ]
    if beside:
        return asked, _campaign(beside[0])
    return asyncio.run(_from_server(place_of(asked.name, asked.namespace or namespace), asked))


async def _from_server(place: "Place", asked: "ABTest | None") -> "tuple[ABTest, Campaign | None]":
    from flywheel.commands.abtest_access import reach

    try:
        async with reach(place) as access:
            test = asked or _abtest(await access.test(), f"The ABTest {place.test}")
            held = await access.campaign(test.spec.campaign)
    except click.ClickException as error:
        if asked is None:
            raise
        click.echo(f"The Campaign {asked.spec.campaign} is not known, so its times are not: {error.message}", err=True)
        return asked, None
    if held is None:
        click.echo(
            f"There is no Campaign {test.spec.campaign} in the namespace {place.namespace} yet, so its times are not "
            "known.",
            err=True,
        )
        return test, None
    return test, _campaign(held)


def _abtest(manifest: "Manifest", what: str) -> "ABTest":
    from flywheel.api.load import InvalidResource, load_abtest

    try:
        return load_abtest(manifest)
    except InvalidResource as error:
        told = "\n".join(f"  {each}" for each in error.problems)
        raise click.ClickException(f"{what} is no valid ABTest:\n{told}") from error


def _campaign(manifest: "Manifest") -> "Campaign | None":
    from flywheel.api.load import InvalidResource, load_campaign

    try:
        return load_campaign(manifest)
    except InvalidResource as error:
        click.echo(f"The Campaign is not valid, so its times are not known: {error}", err=True)
        return None


def _given(test: "ABTest", baseline: str | None, deviation: float | None) -> "Baseline | None":
    from flywheel.experiment.planning import Baseline
    from flywheel.experiment.reading import figure

    if baseline is None:
        return None
    value = figure(baseline)
    if value is None:
        raise click.BadParameter("A share such as 5.2%, or a number such as 48.20.", param_hint="--baseline")
    if test.spec.metrics.primary.event is not None:
        if not 0 < value < 1:
            raise click.BadParameter("A share between 0% and 100%, with the sign.", param_hint="--baseline")
        return Baseline(value, value * (1 - value))
    if deviation is None or deviation <= 0:
        raise click.BadParameter(
            "How much visitors differ decides how many are needed: say the standard deviation of one visitor's value.",
            param_hint="--deviation",
        )
    return Baseline(value, deviation * deviation)


def _past(
    test: "ABTest", campaign: "Campaign | None", namespace: str, url: str | None, since: float, now: "datetime"
) -> "Past":
    from flywheel.api.analytics import Analytics
    from flywheel.experiment.plan import questions_of
    from flywheel.insight.past import PastScope, past_of, past_statement

    analytics = (campaign.spec.analytics if campaign else None) or Analytics()
    outcome = questions_of(test, analytics.order.event).outcomes[0]
    end = int(now.timestamp() * 1000)
    targeting = test.spec.targeting
    scope = PastScope(
        campaign=test.spec.campaign,
        service=test.spec.service,
        start=end - int(since * 1000),
        end=end,
        within=int(test.spec.metrics.window.total_seconds() * 1000),
        paths=targeting.paths if targeting else (),
        devices=targeting.devices if targeting else (),
        regions=targeting.regions if targeting else (),
    )
    return past_of(scope, _ask(past_statement(scope, outcome), namespace, url))


def _ask(sql: str, namespace: str, url: str | None) -> list[dict[str, Any]]:
    import httpx

    from flywheel.commands.forward import worker_address

    instead = "Without it say --baseline and --visitors-per-day."
    try:
        with worker_address(namespace, url) as address:
            timeout = httpx.Timeout(LONGEST_ANSWER, connect=CONNECT_TIMEOUT)
            with httpx.Client(base_url=address, timeout=timeout, trust_env=False) as client:
                asked = {"sql": sql, "limit": 10, "format": "json", "seconds": LONGEST_ANSWER}
                response = client.post("/query", json=asked)
    except httpx.HTTPError as error:
        why = str(error) or type(error).__name__
        raise click.ClickException(f"The event store does not answer: {why}. {instead}") from error
    except click.ClickException as error:
        raise click.ClickException(f"{error.message}\n{instead}") from error
    if response.is_error:
        raise click.ClickException(f"The event store answered {response.status_code}: {response.text[:500]} {instead}")
    # One object on each line, as `flywheel query --format json` gives them.
    return [json.loads(line) for line in response.text.splitlines() if line.strip()]


def _settled(
    test: "ABTest", past: "Past | None", given: "Baseline | None", visitors_per_day: float | None
) -> "tuple[Past, Baseline]":
    """Put together what was measured and what was said instead."""
    from dataclasses import replace

    from flywheel.experiment.planning import Baseline, baseline_of
    from flywheel.insight.past import Past

    known = past or Past()
    if visitors_per_day is None and not known.visitors:
        raise click.ClickException(
            f"The event store knows no visitor of the service {test.spec.service} of {test.spec.campaign} in that "
            "time. Look further back with --since, or say --visitors-per-day and --baseline."
        )
    measured = given or baseline_of(test, known)
    if given is None and (measured is None or measured.value == 0):
        raise click.ClickException(
            f"Nobody of {known.visitors:,} visitors did {test.spec.metrics.primary.label!r} in that time. Is it the "
            "name of the event? If it is new, say --baseline."
        )
    if visitors_per_day is not None:
        known = replace(known, visitors=round(visitors_per_day * 1000), days=1000.0)
    return known, measured or Baseline(0.0)


def _print(test: "ABTest", made: "Plan", past: "Past | None") -> None:
    from rich.console import Console

    from flywheel.commands.abtest_plan_drawn import drawn

    console = Console(highlight=False)
    console.print(drawn(test, made, past), soft_wrap=not console.is_terminal)
    for warning in made.warnings:
        click.echo(f"Note: {warning}.")
    for refusal in made.refusals:
        click.echo(f"Not enough: {refusal}.", err=True)
