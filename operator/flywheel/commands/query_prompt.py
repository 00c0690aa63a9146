"""The prompt of `flywheel query`: statements of several lines, a history, and help on the tables."""

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

PROMPT = "flywheel> "
MORE = "      ... "
HISTORY = 1000
HELP = """\
A statement ends with `;` and may have several lines. What is not SQL here:
  tables            the tables and what they hold
  describe TABLE    its columns and what they mean
  format FORMAT     show answers as table, vertical, json or csv
  help              this
  quit              leave (or Ctrl-D)
Moments are milliseconds since 1970 in UTC; the columns `at` and `taken_in_at` give them as dates.
For example: SELECT event, count() FROM events WHERE at > now() - INTERVAL 1 HOUR GROUP BY event ORDER BY 2 DESC;"""

Ask = Callable[[str, str], str]
"""Gives the answer to a statement in a format; raises click.ClickException."""


def history_file() -> Path:
    """Give the file in which statements are kept, by the XDG rules."""
    state = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(state).expanduser() / "flywheel" / "query_history"


class Prompt:
    """One conversation."""

    def __init__(self, ask: Ask, tables: list[dict[str, Any]], output_format: str) -> None:
        self._ask = ask
        self._tables = {table["name"]: table for table in tables}
        self._format = output_format

    def run(self, read: Callable[[str], str] = input) -> None:
        """Talk until the person leaves."""
        click.echo("Read-only SQL on the event store. `help` tells more, `quit` leaves.")
        with _history(list(self._tables)):
            while (statement := self._statement(read)) is not None:
                try:
                    if statement and not self._word(statement.rstrip(";").strip()):
                        click.echo(self._ask(statement, self._format), nl=False)
                except click.ClickException as error:
                    click.secho(error.format_message(), fg="red", err=True)
                except KeyboardInterrupt:
                    click.secho("Cancelled.", err=True)

    def _statement(self, read: Callable[[str], str]) -> str | None:
        lines: list[str] = []
        while True:
            try:
                line = read(MORE if lines else PROMPT)
            except EOFError:
                click.echo()
                return None
            except KeyboardInterrupt:
                click.echo()
                return ""
            lines.append(line)
            text = "\n".join(lines).strip()
            first = text.split(maxsplit=1)[0].rstrip(";").lower() if text else ""
            if first in ("quit", "exit"):
                return None
            if (
                text.endswith(";")
                or not text
                or (len(lines) == 1 and first in ("help", "tables", "describe", "format"))
            ):
                return text

    def _word(self, text: str) -> bool:
        """Do what is not SQL; tell whether it was that."""
        word, _, rest = text.partition(" ")
        if word == "help":
            click.echo(HELP)
            self._list()
        elif word == "tables":
            self._list()
        elif word == "format" and rest:
            self._format = rest.strip()
        elif word.lower() == "describe" and rest.strip() in self._tables:
            for column in self._tables[rest.strip()]["columns"]:
                click.echo(f"  {column['name']:<16} {column['type']:<24} {column['comment']}")
        else:
            return False
        return True

    def _list(self) -> None:
        for table in self._tables.values():
            click.echo(f"  {table['name']:<14} {table['comment']}")


@contextlib.contextmanager
def _history(words: list[str]) -> Any:
    """Keep what is typed for the next time, where the terminal library is there."""
    try:
        import readline
    except ImportError:
        yield
        return
    path = history_file()
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(HISTORY)
    readline.parse_and_bind("tab: complete")
    known = [*words, "SELECT", "FROM", "WHERE", "GROUP BY", "ORDER BY", "LIMIT"]
    readline.set_completer(
        lambda text, state: dict(enumerate(each for each in known if each.lower().startswith(text.lower()))).get(state)
    )
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            readline.write_history_file(path)
            path.chmod(0o600)
