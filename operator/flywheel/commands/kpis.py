"""`flywheel kpis`: the key figures of campaigns as a table that renews itself."""

import json
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

import click

from flywheel.commands.forward import worker_address

if TYPE_CHECKING:
    import httpx
    from rich.console import Console, Group
    from rich.table import Table

Columns = tuple[tuple[str, Callable[[dict[str, Any]], str]], ...]
WINDOWS = ("1m", "15m", "1h", "campaign")
DIMENSIONS = ("channel", "service", "variant", "region")
CONNECT_TIMEOUT = 10.0
LONGEST_ANSWER = 330.0
WIDTH_OF_FILES = 200
"""Columns where the answer goes into a file or another program, which knows no width."""
LONGEST_OUTAGE = 60.0
"""Seconds for which a watched table bears with a worker that does not answer, as while it is started anew."""


@click.command()
@click.argument("campaign", default="")
@click.option("--namespace", "-n", default="default", show_default=True, help="Where the campaigns are.")
@click.option("--url", help="Address of the worker's admin port, where it is forwarded already.")
@click.option("--by", type=click.Choice(DIMENSIONS), help="Tell the figures apart; of one window, the campaign's own.")
@click.option("--window", type=click.Choice(WINDOWS), help="Only this one; all by default.")
@click.option("--watch", "-w", is_flag=True, help="Renew the table until interrupted.")
@click.option(
    "--every", type=click.FloatRange(1, 3600), default=5.0, show_default=True, help="Seconds between two looks."
)
@click.option("--output", "-o", type=click.Choice(["table", "json"]), default="table", show_default=True)
def kpis(
    campaign: str,
    namespace: str,
    url: str | None,
    *,
    by: str | None,
    window: str | None,
    watch: bool,
    every: float,
    output: Literal["table", "json"],
) -> None:
    """Show page views, visitors, orders, revenue, conversion, errors and latency of CAMPAIGN, or of all campaigns.

    The figures are measured at this moment, over windows that end now.
    """
    import httpx

    if watch and output == "json":
        raise click.UsageError("--watch renews a table: leave out -o json, or ask now and then.")
    asked = {"campaign": campaign, "window": window or ("campaign" if by else "")} | ({"by": by} if by else {})
    with worker_address(namespace, url) as address:
        timeout = httpx.Timeout(LONGEST_ANSWER, connect=CONNECT_TIMEOUT)
        with httpx.Client(base_url=address, timeout=timeout, trust_env=False) as client:
            if watch:
                _watch(lambda: _ask(client, asked), every)
                return
            answer = _ask(client, asked)
    if output == "json":
        click.echo(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _print(answer)


class Unanswered(click.ClickException):
    """The worker does not answer at present."""


def _ask(client: "httpx.Client", asked: dict[str, str]) -> dict[str, Any]:
    import httpx

    try:
        response = client.post("/kpis", json=asked)
    except httpx.HTTPError as error:
        raise Unanswered(f"The event store does not answer: {error or type(error).__name__}") from error
    if response.status_code == 503:
        raise Unanswered(_message(response))
    if response.is_error:
        raise click.ClickException(_message(response))
    found: dict[str, Any] = response.json()
    return found


def _message(response: "httpx.Response") -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"The event store answered {response.status_code}: {response.text[:500]}"


def _print(answer: dict[str, Any]) -> None:
    console = _console()
    if not answer["campaigns"]:
        console.print("There is no campaign with an edge in this namespace.")
        return
    console.print(drawn(answer, console))


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH_OF_FILES)
    return console


def _watch(ask: Callable[[], dict[str, Any]], every: float) -> None:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    console = _console()
    answered = time.monotonic()
    shown = drawn(ask(), console)
    with Live(shown, console=console, refresh_per_second=4) as live:
        while True:
            try:
                time.sleep(every)
                shown = drawn(ask(), console)
                answered = time.monotonic()
                live.update(shown)
            except Unanswered as error:
                if time.monotonic() - answered > LONGEST_OUTAGE:
                    raise
                live.update(Group(shown, Text(f"not renewed: {error.message}", style="yellow")))
            except KeyboardInterrupt:
                return


def drawn(answer: dict[str, Any], console: "Console") -> "Group":
    """Make one table of each campaign; two where the columns of one would not fit the console."""
    from rich.console import Group

    made = []
    for each in answer["campaigns"]:
        table = _table(each, COLUMNS)
        wanted = console.measure(table, options=console.options.update(max_width=10 * WIDTH_OF_FILES)).maximum
        made += [table] if wanted <= console.width else [_table(each, columns) for columns in HALVES]
    return Group(*made)


def _table(campaign: dict[str, Any], columns: Columns) -> "Table":
    from rich import box
    from rich.table import Table

    windows = campaign["windows"]
    by = windows[0]["by"] if windows else None
    at = datetime.fromtimestamp(windows[0]["end"] / 1000, UTC).strftime("%H:%M:%S UTC") if windows else ""
    bots = sum(each["bot_events"] + each["bot_requests"] for each in windows[-1:])
    made = Table(
        title=f"{campaign['campaign']}  {at}",
        caption=f"{bots:,} records of bots are left out." if bots else None,
        box=box.SIMPLE_HEAD,
        collapse_padding=True,
        title_justify="left",
        caption_justify="left",
    )
    made.add_column(by or "window", no_wrap=True)
    for name, _ in columns:
        made.add_column(name.format(currency=campaign["currency"]), justify="right")
    for window in windows:
        for value, figures in window["parts"].items():
            made.add_row(value or "(none)", *_cells(figures, columns))
        made.add_row(
            f"all, {window['window']}" if by else window["window"], *_cells(window["total"], columns), style="bold"
        )
    return made


def _count(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: f"{figures[name]:,}"


def _amount(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: "–" if figures[name] is None else f"{figures[name]:,.2f}"


def _share(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: "–" if figures[name] is None else f"{figures[name]:.2%}"


def _milliseconds(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda figures: "–" if figures[name] is None else f"{figures[name] * 1000:,.0f}"


COLUMNS: Columns = (
    ("page views", _count("page_views")),
    ("visitors", _count("visitors")),
    ("sessions", _count("sessions")),
    ("orders", _count("orders")),
    ("revenue {currency}", _amount("revenue")),
    ("per order", _amount("average_order_value")),
    ("conversion", _share("conversion")),
    ("requests", _count("requests")),
    ("errors", _share("error_rate")),
    ("p50 ms", _milliseconds("latency_p50")),
    ("p95 ms", _milliseconds("latency_p95")),
    ("p99 ms", _milliseconds("latency_p99")),
)


HALVES = (COLUMNS[:5], COLUMNS[5:])


def _cells(figures: dict[str, Any], columns: Columns) -> list[str]:
    return [write(figures) for _, write in columns]
