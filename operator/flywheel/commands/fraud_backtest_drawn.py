"""A back-test as people read it. Pure."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flywheel.fraud.backtest import Trial
from flywheel.fraud.backtest_found import Found
from flywheel.fraud.backtest_told import advice, limit_text, notes, precision_text, shown
from flywheel.fraud.proof import Share

WIDEST = 22
"""Characters of a key or a visitor that are shown."""


def drawn(trial: Trial, found: Found, shares: Sequence[Share | None] = (), lacks: Sequence[str] = ()) -> Group:
    """Draw what was found.

    Args:
        trial: The rule and the past.
        found: Whom it would have found.
        shares: How right each of the limits would have been; empty where there are no labels.
        lacks: What is not known of that.
    """
    rule, own = trial.rule, found.own
    made: list[RenderableType] = [
        Text(f"{rule.name}  {trial.past.campaign}", style="bold"),
        Text(f"{_moment(trial.past.start)} to {_moment(trial.past.end)} UTC: {found.events:,} events match."),
    ]
    if own.hits:
        keys = f"{own.keys:,} keys ({', '.join(rule.spec.key)}) with {own.visitors:,} visitors"
        made.append(Text(f"{own.hits:,} would have broken the rule, of {keys}."))
        customers = f"{own.customers:,} of these visitors have paid for an order."
        made.append(Text(customers, style="yellow" if own.customers else "green"))
    else:
        made.append(Text("None would have broken the rule."))
    if any(each.hits for each in found.curve):
        made.append(_curve(trial, found, shares))
    if own.hits and shares and (share := shares[found.current]):
        labels = "1 label" if share.labels == 1 else f"{share.labels:,} labels"
        made.append(Text(f"By {labels} {precision_text(share)}."))
    if found.events:
        made.append(Text(advice(trial, found)))
    if found.samples:
        made.append(_samples(trial, found))
    made += [Text(f"Note: {note}.") for note in (*notes(trial, found), *(lacks if own.hits else ()))]
    return Group(*made)


def _curve(trial: Trial, found: Found, shares: Sequence[Share | None]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    table.add_column(trial.limits.path.removeprefix("condition."), justify="right", no_wrap=True)
    for name in ("hits", "keys", "visitors", "customers"):
        table.add_column(name, justify="right")
    if any(shares):
        table.add_column("precision", justify="right")
    table.add_column("")
    for number, point in enumerate(shown(found)):
        said = [
            *(["as in the rule"] if point == found.own else []),
            *(["recommended"] if point == found.recommended else []),
        ]
        numbers = [f"{each:,}" for each in (point.hits, point.keys, point.visitors, point.customers)]
        if any(shares):
            share = shares[number]
            numbers.append(f"{share.value:.1%} of {share.labels:,}" if share else "–")
        style = "bold" if said else "yellow" if point.customers else ""
        table.add_row(limit_text(trial.limits, point.limit), *numbers, ", ".join(said), style=style)
    return table


def _samples(trial: Trial, found: Found) -> Table:
    table = Table(box=box.SIMPLE_HEAD, collapse_padding=True)
    for name in ("for example, at", ", ".join(trial.rule.spec.key)):
        table.add_column(name, no_wrap=True)
    table.add_column("found", justify="right", no_wrap=True)
    table.add_column("visitor", no_wrap=True)
    for each in found.samples:
        observed = "–" if math.isinf(each.observed) else limit_text(trial.limits, each.observed)
        key, visitor = (Text(_cut(text)) for text in (", ".join(each.key), each.visitor))
        table.add_row(_moment(each.happened, "%m-%d %H:%M:%S"), key, observed, visitor)
    return table


def _cut(text: str) -> str:
    printable = "".join(character if character.isprintable() else "?" for character in text)
    return printable if len(printable) <= WIDEST else f"{printable[: WIDEST - 1]}…"


def _moment(milliseconds: int, form: str = "%Y-%m-%d %H:%M") -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime(form)
