"""`flywheel fraud label`: saying who was dishonest and who was not, one by one or by file."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import click

from flywheel.commands.fraud_access import place_options, workers
from flywheel.commands.fraud_orders import myself
from flywheel.commands.release_options import Name

COLUMNS = ("event", "visitor", "user", "key", "rule", "label", "source", "at")
SUBJECTS = ("event", "visitor", "user", "key")
BETWEEN = "|"
"""Between the values of a key in a file."""
AT_ONCE = 1_000
MOST_LINES = 100_000
"""As many as a worker keeps of one campaign."""
LARGEST = 32 << 20
Word = Literal["Dishonest", "Honest"]


@click.command()
@place_options
@click.option("--event", default="", help="The id of an event that was judged.")
@click.option("--visitor", default="", help="The id in the cookie fw_vid.")
@click.option("--user", default="", help="The id under which they log in.")
@click.option("--key", multiple=True, help="A value of a rule's key; again for each of several, in their order.")
@click.option("--rule", type=Name(), default="", help="Whose key it is.")
@click.option("--as", "said", type=click.Choice(["Dishonest", "Honest"]), help="What they were.")
@click.option("--source", default="", help="How that is known: chargeback, appeal, confirmed, ...")
@click.option("--by", default="", help="Who says so; by default who you are on this machine.")
@click.option("--file", "-f", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Many, as CSV.")
def label(
    namespace: str,
    campaign: str,
    urls: tuple[str, ...],
    *,
    event: str,
    visitor: str,
    user: str,
    key: tuple[str, ...],
    rule: str,
    said: Word | None,
    source: str,
    by: str,
    file: Path | None,
) -> None:
    """Say who was dishonest and who was not: that tells how right the rules are. The latest word counts.

    A file has a header and the columns event, visitor, user, key, rule, label, source and at, of which each line names
    exactly one of the first four.
    """
    by = by or myself()
    named = {"event": event, "visitor": visitor, "user": user, "key": list(key)}
    if file is not None:
        if any(named.values()) or rule:
            raise click.UsageError("Who is meant stands either in the file or in options, not in both.")
        labels = [each | {"by": by} for each in read(file, said, source)]
    else:
        if sum(map(bool, named.values())) != 1:
            raise click.UsageError("Say who: exactly one of --event, --visitor, --user and --key, or a --file.")
        if said is None:
            raise click.UsageError("Say what they were: --as Dishonest or --as Honest.")
        if bool(key) != bool(rule):
            raise click.UsageError("A key is that of a rule: give --key and --rule together.")
        given = {name: value for name, value in named.items() if value}
        labels = [{**given, "rule": rule, "label": said, "source": source, "by": by}]
    known = 0
    with workers(namespace, urls) as asked:
        for start in range(0, len(labels), AT_ONCE):
            answers = asked.post("/labels", {"campaign": campaign, "labels": labels[start : start + AT_ONCE]})
            known = max(each["known"] for each in answers)
    click.echo(f"{len(labels)} label{'s' if len(labels) != 1 else ''} taken; {known} are known of the campaign.")


def read(file: Path, said: Word | None, source: str) -> list[dict[str, Any]]:
    """Read labels from a file: all of them, or none.

    Args:
        file: CSV with a header.
        said: What lines without a label say.
        source: How that is known, of lines without a source.

    Raises:
        click.ClickException: A line makes no sense; the message names the first few of them.
    """
    if file.stat().st_size > LARGEST:
        raise click.ClickException(f"{file} is larger than {LARGEST >> 20} MiB: cut it into several.")
    labels: list[dict[str, Any]] = []
    wrong: list[str] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            _check_header(file, reader.fieldnames or ())
            for row in reader:
                try:
                    labels.append(_label(row, said, source))
                except ValueError as error:
                    wrong.append(f"line {reader.line_num}: {error}")
                if len(labels) > MOST_LINES:
                    raise click.ClickException(f"{file} has more than {MOST_LINES} labels; a worker keeps no more.")
    except (UnicodeDecodeError, csv.Error) as error:
        raise click.ClickException(f"{file} is no CSV file in UTF-8: {error}") from error
    if wrong:
        more = f"\nand {len(wrong) - 5} more lines" if len(wrong) > 5 else ""
        raise click.ClickException(f"Nothing was sent, as {file} is wrong:\n" + "\n".join(wrong[:5]) + more)
    if not labels:
        raise click.ClickException(f"{file} has no labels.")
    return labels


def _check_header(file: Path, names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not set(names) & set(SUBJECTS):
        found = f"there is no column {unknown[0]!r}" if unknown else "its first line names nobody"
        raise click.ClickException(f"{file}: {found}; the header has to be of {', '.join(COLUMNS)}.")


def _label(row: dict[str | Any, str | Any], said: Word | None, source: str) -> dict[str, Any]:
    if None in row:
        raise ValueError("it has more values than the header has columns")
    given = {name: (value or "").strip() for name, value in row.items()}
    subjects = [name for name in SUBJECTS if given.get(name)]
    if len(subjects) != 1:
        raise ValueError(
            f"it names {' and '.join(subjects) or 'nobody'}; exactly one of {', '.join(SUBJECTS)} is wanted"
        )
    word = given.get("label") or said
    if word not in ("Dishonest", "Honest"):
        raise ValueError(
            f"the label is {word!r}; Dishonest or Honest is wanted" if word else "it has no label: add --as"
        )
    if bool(given.get("rule")) != (subjects[0] == "key"):
        raise ValueError("a key is that of a rule, and nothing else is: give both, or neither")
    made = dict(_subject(given, subjects[0]))
    return made | {"label": word, "source": given.get("source") or source} | _at(given.get("at", ""))


def _subject(given: dict[str, str], kind: str) -> Iterator[tuple[str, Any]]:
    if kind == "key":
        yield "key", given["key"].split(BETWEEN)
        yield "rule", given["rule"]
    else:
        yield kind, given[kind]


def _at(text: str) -> dict[str, int]:
    from datetime import UTC, datetime

    if not text:
        return {}
    if text.isdecimal() and len(text) <= 15:
        return {"at": int(text)}
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"at is {text!r}; RFC 3339 is wanted, or milliseconds since 1970") from None
    if read.tzinfo is None:
        raise ValueError(f"at is {text!r}, of which the offset is missing: add Z, or +08:00")
    return {"at": int(read.astimezone(UTC).timestamp() * 1000)}
