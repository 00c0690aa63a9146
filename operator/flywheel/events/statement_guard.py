"""What a person may ask the store: one SELECT, or a look at what there is, that reads nothing but the tables.

The engine is read-only for such a query anyway. This refuses what read-only lets pass: functions that read files or
go to other machines, answers that are written to files, and the table of secrets.
"""

import re

ALLOWED = frozenset({"select", "with", "show", "describe", "desc", "explain", "exists"})
FUNCTIONS = frozenset(
    {
        "arrowflight",
        "azureblobstorage",
        "azureblobstoragecluster",
        "catboostevaluate",
        "cluster",
        "clusterallreplicas",
        "cosn",
        "deltalake",
        "deltalakecluster",
        "deltalakelocal",
        "dictionary",
        "executable",
        "executablepool",
        "file",
        "filecluster",
        "filesystem",
        "gcs",
        "generaterandom",
        "hdfs",
        "hdfscluster",
        "hudi",
        "hudicluster",
        "iceberg",
        "icebergazure",
        "icebergcluster",
        "iceberghdfs",
        "iceberglocal",
        "icebergs3",
        "input",
        "jdbc",
        "loop",
        "merge",
        "mergetreeindex",
        "mergetreeparts",
        "mergetreeprojection",
        "mongodb",
        "mysql",
        "odbc",
        "oss",
        "paimon",
        "postgresql",
        "python",
        "redis",
        "remote",
        "remotesecure",
        "s3",
        "s3cluster",
        "sqlite",
        "timeseriesdata",
        "timeseriesmetrics",
        "timeseriestags",
        "url",
        "urlcluster",
        "ytsaurus",
    }
)
"""Functions, also of tables, that reach out of the tables; in lower case."""
TABLES = frozenset({"salts"})
LONGEST = 100_000
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.|'')*') | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<comment>--[^\n]*|\#[ !][^\n]*|/\*.*?\*/) | (?P<heredoc>\$\w*\$) | (?P<word>[A-Za-z_]\w*) | (?P<open>\()
    | (?P<semicolon>;) | (?P<space>\s+) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)


class Refused(Exception):  # noqa: N818 - of a statement
    """A statement that may not be asked. The text says why and what to do."""


def check(sql: str) -> str:
    """Give the statement to run, without its end mark.

    Raises:
        Refused: It may not be asked.
    """
    if len(sql) > LONGEST:
        raise Refused(f"The statement has {len(sql)} characters; at most {LONGEST} are read.")
    matches = [match for match in _TOKEN.finditer(sql) if match.lastgroup not in ("space", "comment")]
    while matches and matches[-1].lastgroup == "semicolon":
        matches.pop()
    tokens = [(match.lastgroup or "", match.group()) for match in matches]
    if not tokens:
        raise Refused("There is no statement.")
    if any(kind == "semicolon" for kind, _ in tokens):
        raise Refused("One statement at a time: there is a `;` in the middle.")
    first = next((text.lower() for kind, text in tokens if kind == "word"), "")
    if first not in ALLOWED:
        raise Refused(
            f"`{first or tokens[0][1]}` may not be asked: the store is read here, with SELECT, WITH, SHOW, "
            "DESCRIBE, EXPLAIN or EXISTS."
        )
    _check_words(tokens)
    return sql[: matches[-1].end()].strip()


def _check_words(tokens: list[tuple[str, str]]) -> None:
    for index, (kind, text) in enumerate(tokens):
        following = tokens[index + 1][0] if index + 1 < len(tokens) else ""
        if kind == "word":
            _check_word(text, following)
        if kind in ("word", "quoted"):
            _check_name(text, following)
        elif kind == "heredoc":
            raise Refused("Texts are written in single quotes here, not between `$`.")
        elif text in ("'", '"', "`"):
            raise Refused(f"A quotation that begins with {text} is not ended.")
        elif text == "/" and tokens[index + 1 : index + 2] == [("other", "*")]:
            raise Refused("A comment that begins with /* is not ended.")


def _check_word(text: str, following: str) -> None:
    word = text.lower()
    if word == "outfile":
        raise Refused("`INTO OUTFILE` is not allowed here; `flywheel query --output` writes files.")
    if word == "settings":
        raise Refused("`SETTINGS` is not allowed here; limits are options of `flywheel query`.")
    if word == "format" and following != "open":
        raise Refused("`FORMAT` is not allowed here; use `flywheel query --format`.")


def _check_name(text: str, following: str) -> None:
    if "\\" in text:
        raise Refused(f"The name {text} has a backslash in it; write the name as it is.")
    name = text.strip('`"').lower()
    if name in TABLES:
        raise Refused(f"The table `{name}` holds secrets and is not shown.")
    if name in FUNCTIONS and following == "open":
        raise Refused(f"`{name}` reaches beyond the tables of the store and is not allowed here.")
