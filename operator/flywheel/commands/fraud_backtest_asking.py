"""What `flywheel fraud backtest` reads and asks: the file, the Campaign, the event store."""

import asyncio
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import click

if TYPE_CHECKING:
    from types import TracebackType

    from flywheel.api.campaign import Campaign
    from flywheel.api.fraudrule import FraudRule
    from flywheel.insight.kpi import Statement
    from flywheel.plan import Manifest

CONNECT_TIMEOUT = 10.0
LONGEST_ANSWER = 300.0
"""Seconds; the worker allows a query no more."""
_PLACEHOLDER = re.compile(r"\{(\w+):\w+\}")


@dataclass(frozen=True)
class Held:
    """What a file holds."""

    rules: "tuple[FraudRule, ...]"
    campaigns: "tuple[Manifest, ...]"


def rules_in(path: Path) -> Held:
    """Read the FraudRules of a file, and the Campaigns beside them.

    Raises:
        click.ClickException: It cannot be read, a rule is not valid, or there is none.
    """
    import yaml

    try:
        held = [each for each in yaml.safe_load_all(path.read_text(encoding="utf-8")) if isinstance(each, dict)]
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise click.ClickException(f"{path} cannot be read: {error}") from error
    rules = tuple(_rule(each, path) for each in held if each.get("kind") == "FraudRule")
    if not rules:
        raise click.ClickException(f"{path} holds no FraudRule.")
    return Held(rules, tuple(each for each in held if each.get("kind") == "Campaign"))


def _rule(manifest: "Manifest", path: Path) -> "FraudRule":
    from flywheel.api.load import InvalidResource, load_fraudrule

    try:
        return load_fraudrule(manifest)
    except InvalidResource as error:
        told = "\n".join(f"  {each}" for each in error.problems)
        name = (manifest.get("metadata") or {}).get("name") or "a rule without name"
        raise click.ClickException(f"{name} in {path} is no valid FraudRule:\n{told}") from error


def beside(held: Held, name: str, namespace: str) -> "Campaign | None":
    """Give the Campaign of a rule, from the file or the cluster; None where it is not known, which is told."""
    from flywheel.api.load import InvalidResource, load_campaign

    found = next((each for each in held.campaigns if (each.get("metadata") or {}).get("name") == name), None)
    unknown = "so its order event is taken to be Order Completed"
    try:
        manifest = found or asyncio.run(_from_server(name, namespace))
        if manifest is not None:
            return load_campaign(manifest)
        click.echo(f"There is no Campaign {name} in the namespace {namespace}, {unknown}.", err=True)
    except click.ClickException as error:
        click.echo(f"The Campaign {name} is not known, {unknown}: {error.message}", err=True)
    except InvalidResource as error:
        click.echo(f"The Campaign {name} is not valid, {unknown}: {error}", err=True)
    return None


async def _from_server(name: str, namespace: str) -> "Manifest | None":
    from flywheel.commands.abtest_access import reach
    from flywheel.commands.abtest_options import place_of

    async with reach(place_of(name, namespace)) as access:
        return await access.campaign(name)


def written_out(statement: "Statement") -> str:
    """Write a statement with its parameters in their places, for a port that takes none.

    Texts from outside are hexadecimal digits in it, so nothing in them can be SQL; the campaign's name is quoted.
    """
    from flywheel.events.schema import quote

    def literal(found: re.Match[str]) -> str:
        value = statement.parameters[found[1]]
        return quote(value) if isinstance(value, str) else repr(float(str(value)))

    return _PLACEHOLDER.sub(literal, statement.sql)


class Store:
    """The event store of a namespace, by the worker's admin port."""

    def __init__(self, address: str) -> None:
        import httpx

        timeout = httpx.Timeout(LONGEST_ANSWER + CONNECT_TIMEOUT, connect=CONNECT_TIMEOUT)
        self._client = httpx.Client(base_url=address, timeout=timeout, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        self._client.close()

    def ask(self, statement: "Statement") -> list[dict[str, Any]]:
        """Ask one question.

        Raises:
            click.ClickException: There is no answer, or not a good one.
        """
        import httpx

        asked = {"sql": written_out(statement), "limit": 100, "format": "json", "seconds": LONGEST_ANSWER}
        try:
            response = self._client.post("/query", json=asked)
        except httpx.HTTPError as error:
            raise click.ClickException(f"The event store does not answer: {error or type(error).__name__}.") from error
        if response.is_error:
            raise click.ClickException(
                f"The event store answered {response.status_code}: {response.text[:500]}\n"
                "If it is too much for it at once, look less far back with --since."
            )
        # One object on each line, as `flywheel query --format json` gives them.
        return [json.loads(line) for line in response.text.splitlines() if line.strip()]
