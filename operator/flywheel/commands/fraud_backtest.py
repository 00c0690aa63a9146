"""`flywheel fraud backtest`: whom a rule would have found, from the campaign's own past."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from flywheel.commands.options import Duration
from flywheel.commands.release_options import Name

if TYPE_CHECKING:
    from flywheel.api.campaign import Campaign
    from flywheel.api.fraudrule import FraudRule
    from flywheel.commands.fraud_access import Workers
    from flywheel.commands.fraud_backtest_asking import Store
    from flywheel.commands.fraud_backtest_labels import Precision
    from flywheel.fraud.backtest import Past, Trial
    from flywheel.fraud.backtest_found import Found


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--namespace", "-n", type=Name(), help="Where the Campaign is; that of the rule by default.")
@click.option("--campaign", type=Name(), help="Which one, for a rule with a selector.")
@click.option("--url", help="Address of the worker's admin port, where it is forwarded already.")
@click.option(
    "--worker-url",
    "worker_urls",
    multiple=True,
    help="The same of the fraud worker, which knows the labels; again for each of several workers.",
)
@click.option("--since", type=Duration(), default="24h", show_default=True, help="How far back is looked.")
@click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For whom it is."
)
def backtest(
    file: Path,
    namespace: str | None,
    campaign: str | None,
    url: str | None,
    worker_urls: Sequence[str],
    *,
    since: float,
    output: Literal["text", "json"],
) -> None:
    """Say whom the FraudRules in FILE would have found in the last day, and how many paying customers among them.

    Also what other limits would have found, and which of them finds most and hits no customer; and where people have
    been labelled, how many of those whom it would have found are dishonest. Nothing is changed, and nobody is stopped.
    Exit 1 if a rule cannot be tried on the past.
    """
    from datetime import UTC, datetime

    from flywheel.commands.fraud_backtest_asking import beside, rules_in
    from flywheel.fraud.backtest_fields import Untried

    now = int(datetime.now(UTC).timestamp() * 1000)
    held = rules_in(file)
    told, failed = [], []
    with ExitStack() as stack:
        reached: dict[str, tuple[Store, Workers | str]] = {}
        for rule in held.rules:
            where = namespace or rule.namespace or "default"
            asked = _campaign_of(rule, campaign)
            past = _past(asked, beside(held, asked, where), now, since)
            try:
                if where not in reached:
                    reached[where] = stack.enter_context(_place(where, url, worker_urls))
                told.append(_tried(rule, past, *reached[where]))
            except Untried as error:
                failed.append(f"{rule.name} cannot be tried on the past: {error}.")
    _print(told, output)
    for each in failed:
        click.echo(each, err=True)
    sys.exit(1 if failed else 0)


@contextmanager
def _place(namespace: str, url: str | None, worker_urls: Sequence[str]) -> "Iterator[tuple[Store, Workers | str]]":
    """Reach whoever is asked about the rules of a namespace."""
    from flywheel.commands.forward import worker_address
    from flywheel.commands.fraud_backtest_asking import Store
    from flywheel.commands.fraud_backtest_labels import judge

    with (
        worker_address(namespace, url) as address,
        Store(address) as store,
        judge(namespace, worker_urls, url) as asked_for_labels,
    ):
        yield store, asked_for_labels


def _campaign_of(rule: "FraudRule", given: str | None) -> str:
    name = rule.spec.campaign or given
    if name is None:
        raise click.UsageError(f"{rule.name} is about several Campaigns: say with --campaign on whose past to try it.")
    if given not in (None, name):
        raise click.UsageError(f"{rule.name} is about the Campaign {name}, not {given}.")
    return name


def _past(name: str, campaign: "Campaign | None", now: int, since: float) -> "Past":
    from flywheel.api.analytics import Analytics
    from flywheel.fraud.backtest import Past

    analytics = (campaign.spec.analytics if campaign else None) or Analytics()
    edge = campaign.spec.edge if campaign else None
    kept = analytics.retention.total_seconds()
    if campaign and since > kept:
        click.echo(f"Note: the Campaign keeps events for {kept / 86_400:g} days, so the rest is not there.", err=True)
    return Past(
        campaign=name,
        start=now - int(since * 1000),
        end=now,
        order_event=analytics.order.event,
        addresses=edge.events.addresses if edge else None,
    )


def _tried(rule: "FraudRule", past: "Past", store: "Store", judge: "Workers | str") -> "tuple[Trial, Found, Precision]":
    from flywheel.commands.fraud_backtest_labels import precision_of
    from flywheel.fraud.backtest import Trial, counts_statement, found_statement, samples_statement
    from flywheel.fraud.backtest_found import found_of, sampled

    trial = Trial(rule, past)
    found = found_of(trial, store.ask(counts_statement(trial)), store.ask(found_statement(trial)))
    if found.samples:
        places = [(each.happened, each.number) for each in found.samples]
        found = sampled(found, store.ask(samples_statement(trial, places)))
    return trial, found, precision_of(trial, found, judge, store)


def _print(told: "list[tuple[Trial, Found, Precision]]", output: Literal["text", "json"]) -> None:
    from flywheel.fraud.backtest_told import document

    if output == "json":
        documents = [document(trial, found, known.shares, known.lacks) for trial, found, known in told]
        click.echo(json.dumps(documents, ensure_ascii=False, indent=2))
        return
    from rich.console import Console

    from flywheel.commands.fraud_backtest_drawn import drawn

    console = Console(highlight=False)
    for number, (trial, found, known) in enumerate(told):
        if number:
            console.print()
        console.print(drawn(trial, found, known.shares, known.lacks), soft_wrap=not console.is_terminal)
