"""Options that several subcommands share."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """A duration like `90s`, `10m`, `1h30m`; seconds as a number."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read a duration."""
        if isinstance(value, int | float):
            return float(value)
        from flywheel.api.quantities import read_duration

        try:
            return read_duration(str(value)).total_seconds()
        except ValueError as error:
            self.fail(str(error), param, ctx)


def require_one_scope(namespaces: tuple[str, ...], *, all_namespaces: bool) -> None:
    """Refuse a command that does not say where, or says it twice.

    Raises:
        click.UsageError: Neither or both were given.
    """
    if bool(namespaces) == all_namespaces:
        raise click.UsageError("Say where: either --all-namespaces, or --namespace once or more.")


def log_options(command: Command) -> Command:
    """Add the options that say how to log."""
    levels = click.Choice(["debug", "info", "warning", "error"])
    command = click.option("--log-level", type=levels, default="info", show_default=True)(command)
    return click.option("--log-format", type=click.Choice(["console", "json"]), default="json", show_default=True)(
        command
    )
