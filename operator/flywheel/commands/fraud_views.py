"""`flywheel fraud explain|list`: whom the rules have found and why, and what holds now."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import click

from flywheel.commands import fraud_added
from flywheel.commands.fraud_access import place_options, workers
from flywheel.commands.release_options import Name

SHOWN = 40
"""Characters of an id in a table."""
_formats = click.option(
    "--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True, help="For whom it is."
)


@click.command()
@click.argument("who", nargs=-1, required=True)
@place_options
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Verdicts at most.")
@_formats
def explain(
    who: tuple[str, ...],
    namespace: str,
    campaign: str,
    urls: tuple[str, ...],
    *,
    limit: int,
    output: Literal["text", "json"],
) -> None:
    """Say why WHO was found: every verdict about an event, visitor, user, address or key, the latest first.

    Of a key with several values, give all of them in the order of the rule's key.
    """
    with workers(namespace, urls) as asked:
        found = fraud_added.verdicts(asked.get("/verdicts", campaign=campaign, of=list(who), limit=limit), limit)
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
        return
    if not found:
        named = " and ".join(who)
        click.echo(f"No verdict is kept about {named}: no rule has found it, or it was too long ago.")
    for each in found:
        click.echo(f"{moment(each['at'])}  {each['rule']}  {each['done']}")
        click.echo(f"  {plain(each.get('said') or _said(each))}")
        senders = [f"{kind} {plain(each[kind])}" for kind in ("visitor", "user", "address") if each.get(kind)]
        click.echo(f"  event {plain(each['event'])}" + "".join(f", {sender}" for sender in senders))
    if len(found) == limit:
        click.echo(f"There may be more: only the latest {limit} are shown, --limit shows up to 1000.", err=True)


@click.command("list")
@place_options
@click.option("--rule", type=Name(), default="", help="Only what this rule decided.")
@click.option("--allowed", is_flag=True, help="Show who is left alone by hand instead.")
@_formats
def list_decisions(
    namespace: str, campaign: str, urls: tuple[str, ...], *, rule: str, allowed: bool, output: Literal["text", "json"]
) -> None:
    """Show what holds now: who is blocked, challenged, slowed down, reviewed or tagged, by which rule, until when."""
    with workers(namespace, urls) as asked:
        if allowed:
            found: Any = fraud_added.allowed(asked.get("/allowed", campaign=campaign))
        else:
            found = fraud_added.decisions(asked.get("/decisions", campaign=campaign, rule=rule))
    if output == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif allowed:
        _print_allowed([each for each in found if rule in ("", each["rule"])])
    else:
        _print_decisions(found)


def _print_decisions(found: dict[str, Any]) -> None:
    if not found["decisions"]:
        click.echo("Nothing holds now.")
        return
    rows = [
        (
            each["campaign"], each.get("rule", ""), each.get("action", "Block"), f"{each['kind']} {each['value']}",
            " ".join(each.get("scope", ["/"])), moment(each["until"]), each.get("event", ""),
        )
        for each in found["decisions"]
    ]  # fmt: skip
    _table(("campaign", "rule", "action", "who", "scope", "until", "event"), rows)
    if found["total"] > len(rows):
        click.echo(f"{found['total']} hold; the first {len(rows)} are shown. Name a --rule to see fewer.", err=True)


def _print_allowed(found: list[dict[str, Any]]) -> None:
    if not found:
        click.echo("Nobody is left alone by hand.")
        return
    rows = [
        (
            each["campaign"], each["rule"] or "(all)", f"{each['kind']} {each['value']}", moment(each["until"]),
            each["by"], each["reason"],
        )
        for each in found
    ]  # fmt: skip
    _table(("campaign", "rule", "who", "until", "by", "reason"), rows)


def _table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    shown = [titles, *(tuple(_short(each) for each in row) for row in rows)]
    widths = [max(len(row[column]) for row in shown) for column in range(len(titles))]
    for row in shown:
        click.echo("  ".join(each.ljust(width) for each, width in zip(row, widths, strict=True)).rstrip())


def _short(value: str) -> str:
    value = plain(value)
    return value if len(value) <= SHOWN else f"{value[: SHOWN - 1]}…"


def plain(value: str) -> str:
    """Write what a client may have made up, without what a terminal would obey."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in value)


def moment(milliseconds: int) -> str:
    """Write a moment for people, in UTC."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _said(verdict: dict[str, Any]) -> str:
    return f"{verdict['observed']:g} where the limit is {verdict['limit']:g}, from {moment(verdict['since'])} on"
