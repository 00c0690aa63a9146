"""The event store: its worker, and what people ask of it."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from flywheel.commands.forward import worker_address
from flywheel.commands.options import Duration, log_options
from flywheel.events import naming

if TYPE_CHECKING:
    import httpx

    from flywheel.events.clickhouse_engine import Address

SMALLEST_MEMORY = 256
CONNECT_TIMEOUT = 10.0
LONGEST_ANSWER = 330.0
MOST_NAMES = 100_000
"""Visitors and users of one erasure."""
TABLES = ("events", "requests", "dead_letters")
_port = click.IntRange(0, 65535)
_file = click.Path(dir_okay=False, path_type=Path)
_namespace = click.option("--namespace", "-n", default="default", show_default=True, help="Where the campaigns are.")
_url = click.option("--url", help="Address of the worker's admin port, where it is forwarded already.")
_formats = click.Choice(["table", "vertical", "json", "csv"])


@click.command(context_settings={"auto_envvar_prefix": "FLYWHEEL"})
@click.option("--namespace", "-n", required=True, help="Serve the campaigns of this namespace.")
@click.option(
    "--data-directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=naming.DATA_DIRECTORY,
    show_default=True,
    help="The volume.",
)
@click.option(
    "--memory",
    type=click.IntRange(SMALLEST_MEMORY),
    default=1536,
    show_default=True,
    help="MiB that queries and inserts may take together in the embedded engine.",
)
@click.option("--clickhouse-url", help="Keep the tables on this ClickHouse server instead: http(s)://host:port.")
@click.option("--clickhouse-database", default="flywheel", show_default=True, help="Its database; made if missing.")
@click.option("--clickhouse-user", default="default", show_default=True, help="Who we are there.")
@click.option("--clickhouse-password", default="", show_default=False, help="Better given in the environment.")
@click.option("--clickhouse-password-file", type=_file, help="File with the password.")
@click.option("--settings-file", type=_file, help="campaigns.json, for when the API server cannot be reached.")
@click.option("--operator-account", default="", help="ServiceAccount of the operator, namespace:name, which may ask.")
@click.option("--fsync/--no-fsync", default=True, show_default=True, help="Let acknowledged rows survive power cuts.")
@click.option("--ingest-port", type=_port, default=naming.INGEST_PORT, show_default=True, help="Rows from sidecars.")
@click.option("--admin-port", type=_port, default=naming.ADMIN_PORT, show_default=True, help="Queries, on loopback.")
@click.option("--metrics-port", type=_port, default=naming.METRICS_PORT, show_default=True, help="Prometheus.")
@log_options
def analytics(
    *,
    namespace: str,
    data_directory: Path,
    memory: int,
    clickhouse_url: str | None,
    clickhouse_database: str,
    clickhouse_user: str,
    clickhouse_password: str,
    clickhouse_password_file: Path | None,
    settings_file: Path | None,
    operator_account: str,
    fsync: bool,
    ingest_port: int,
    admin_port: int,
    metrics_port: int,
    log_format: Literal["console", "json"],
    log_level: str,
) -> None:
    """Run the event store of a namespace: one worker, which the edges deliver to.

    Each option can be given as an environment variable: FLYWHEEL_CLICKHOUSE_PASSWORD=...
    """
    import asyncio

    from flywheel.commands.companion import companion
    from flywheel.events.worker import Settings, Worker
    from flywheel.runtime.logs import configure

    configure(log_format, log_level)
    password = clickhouse_password
    if clickhouse_password_file:
        password = clickhouse_password_file.read_text(encoding="utf-8").rstrip("\n")
    address = _address(clickhouse_url, clickhouse_database, clickhouse_user, password)
    settings = Settings(
        namespace=namespace,
        data_directory=data_directory,
        memory=memory << 20,
        clickhouse=address,
        settings_file=settings_file,
        operator_account=operator_account,
        ingest_port=ingest_port,
        admin_port=admin_port,
        metrics_port=metrics_port,
        fsync=fsync,
    )

    async def run() -> int:
        return await Worker(settings, companion).run()

    sys.exit(asyncio.run(run()))


def _address(url: str | None, database: str, user: str, password: str) -> "Address | None":
    if not url:
        return None
    import re
    from urllib.parse import urlsplit

    from flywheel.events.clickhouse_engine import Address

    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise click.BadParameter("It has to be http://host:port or https://host:port.", param_hint="--clickhouse-url")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,62}", database):
        raise click.BadParameter("Letters, digits and _ only.", param_hint="--clickhouse-database")
    return Address(url, database, user, password)


@contextmanager
def _client(namespace: str, url: str | None) -> "Iterator[httpx.Client]":
    import httpx

    with worker_address(namespace, url) as address:
        timeout = httpx.Timeout(LONGEST_ANSWER, connect=CONNECT_TIMEOUT)
        with httpx.Client(base_url=address, timeout=timeout, trust_env=False) as client:
            try:
                yield client
            except httpx.HTTPError as error:
                raise click.ClickException(f"The event store at {address} does not answer: {error}") from error


def _checked(response: "httpx.Response") -> "httpx.Response":
    if response.is_error:
        response.read()
        try:
            message = response.json()["message"]
        except (ValueError, KeyError, TypeError):
            message = f"The event store answered {response.status_code}: {response.text[:500]}"
        raise click.ClickException(message)
    return response


@click.command()
@click.argument("sql", required=False)
@_namespace
@_url
@click.option("--format", "output_format", type=_formats, default="table", show_default=True)
@click.option("--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="Rows at most.")
@click.option("--timeout", type=Duration(), default="30s", show_default=True, help="How long it may take.")
@click.option("--output", "-o", type=_file, help="Write the answer to a file.")
def query(
    sql: str | None,
    namespace: str,
    url: str | None,
    *,
    output_format: str,
    limit: int,
    timeout: float,
    output: Path | None,
) -> None:
    """Ask the event store in SQL. Without a statement, at a prompt; nothing can be changed."""
    with _client(namespace, url) as client:

        def ask(statement: str, form: str) -> str:
            asked = {"sql": statement, "limit": limit, "format": form, "seconds": timeout}
            return _checked(client.post("/query", json=asked)).text

        if sql is None and sys.stdin.isatty():
            from flywheel.commands.query_prompt import Prompt

            Prompt(ask, _checked(client.get("/tables")).json(), output_format).run()
            return
        answer = ask(sys.stdin.read() if sql is None else sql, output_format)
    if output:
        output.write_text(answer, encoding="utf-8")
    else:
        click.echo(answer, nl=False)


@click.command()
@_namespace
@_url
@click.option("--campaign", required=True, help="Whose rows.")
@click.option("--visitor", default="", help="The visitor's id, from the cookie fw_vid.")
@click.option("--user", "user_id", default="", help="The user's id, as in `identify`.")
@click.option("--address", default="", help="A client's address, which the fraud workers alone are asked about.")
@click.option("--fraud-url", "fraud_urls", multiple=True, help="Admin port of a fraud worker, forwarded already.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait until every row is gone.")
@click.option("--timeout", type=Duration(), default="10m", show_default=True, help="How long to wait.")
def erase(
    namespace: str,
    url: str | None,
    *,
    campaign: str,
    visitor: str,
    user_id: str,
    address: str,
    fraud_urls: tuple[str, ...],
    wait: bool,
    timeout: float,
) -> None:
    """Erase one visitor, or user: in the store, in dead letters, in the edges' spools and at the fraud workers."""
    from flywheel.commands.fraud_erase import erase_at_workers

    if sum(map(bool, (visitor, user_id, address))) != 1:
        raise click.UsageError("Say who: exactly one of --visitor, --user and --address.")
    if address:
        erase_at_workers(namespace, fraud_urls, campaign, [("address", address)], wait=wait, timeout=timeout)
        return
    with _client(namespace, url) as client:
        if not _has_rows(client, campaign):
            click.echo(f"The store has no rows of a campaign {campaign!r} at all: is its name right?", err=True)
        asked = {"campaign": campaign, "visitor": visitor, "user_id": user_id}
        receipt = _checked(client.post("/erase", json=asked)).json()
        names = "1 identity" if receipt["identities"] == 1 else f"{receipt['identities']} identities"
        click.echo(f"Receipt {receipt['receipt']}: {names} of the campaign {campaign}.")
        if url and not fraud_urls:
            click.echo("No fraud worker is asked: its admin port can be given with --fraud-url.", err=True)
        else:
            erase_at_workers(
                namespace, fraud_urls, campaign, _names(client, receipt["receipt"]), wait=wait, timeout=timeout
            )
        if wait:
            _wait(client, receipt["receipt"], timeout)


def _names(client: "httpx.Client", receipt: str) -> list[tuple[str, str]]:
    """Ask the store who is meant: it knows the visitors of a user."""
    from flywheel.events.schema import quote

    sql = f"SELECT visitor, user_id FROM erasures FINAL WHERE receipt = {quote(receipt)}"  # noqa: S608 - quoted
    rows = _checked(client.post("/query", json={"sql": sql, "limit": MOST_NAMES, "format": "json"})).text
    return [
        ("visitor", each["visitor"]) if each["visitor"] else ("user", each["user_id"])
        for each in map(json.loads, rows.splitlines())
    ]


def _has_rows(client: "httpx.Client", campaign: str) -> bool:
    from flywheel.events.schema import quote

    of_campaign = f"WHERE campaign = {quote(campaign)} LIMIT 1"
    each = [f"SELECT 1 AS there FROM {table} {of_campaign}" for table in TABLES]  # noqa: S608 - quoted
    asked = {"sql": f"SELECT count() AS n FROM ({' UNION ALL '.join(each)})", "limit": 1, "format": "json"}  # noqa: S608
    answer = client.post("/query", json=asked)
    # An erasure is never held up by this.
    return answer.is_error or bool(json.loads(answer.text)["n"])


def _wait(client: "httpx.Client", receipt: str, timeout: float) -> None:
    import time

    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        found = _checked(client.get(f"/erase/{receipt}")).json()
        if found["finished_at"]:
            click.echo("Every row is gone.")
            return
        time.sleep(0.5)
    raise click.ClickException(f"Not done after {timeout:g} s. It goes on; ask again with the receipt {receipt}.")


@click.command()
@_namespace
@_url
@click.option("--table", type=click.Choice(TABLES), default="events", show_default=True)
@click.option("--campaign", default="", help="Of one campaign only.")
@click.option("--since", type=Duration(), help="Only what happened in this last time, such as 7d.")
@click.option("--output", "-o", type=_file, required=True, help="The Parquet file to write.")
def export(namespace: str, url: str | None, *, table: str, campaign: str, since: float | None, output: Path) -> None:
    """Export a table to a Parquet file."""
    import time

    moment = int((time.time() - since) * 1000) if since else 0
    parameters: dict[str, Any] = {"table": table, "campaign": campaign, "since": moment}
    unfinished = output.with_name(f".{output.name}.part")
    size = 0
    try:
        with _client(namespace, url) as client, client.stream("GET", "/export", params=parameters) as response:
            _checked(response)
            with unfinished.open("wb") as file:
                for piece in response.iter_bytes():
                    size += file.write(piece)
        unfinished.replace(output)
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{output}: {size} bytes.")
