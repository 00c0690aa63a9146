"""What a person may ask the store: one SELECT, or a look at what there is, that reads nothing but the tables.

The engine is read-only for such a query anyway. This refuses what read-only lets pass: functions that read files or
go to other machines, answers that are written to files, and the table of secrets.
"""

import re


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ALLOWED = frozenset({"select", "with", "show", "describe", "desc", "explain", "exists"})
FUNCTIONS = _words(
    """
    catboostevaluate file fuzzquery getclienthttpheader getserversetting joinget joingetornull modelevaluate
    reversednsquery trap
    """
)
"""Functions that reach out of the tables; in lower case. They are refused wherever their names stand: other functions
take them by name, as in arrayMap(file, ...) and APPLY(file)."""
FAMILIES = ("dict", "ai")
"""How names begin, before a capital letter, of functions that ask dictionaries and other machines."""
TABLE_FUNCTIONS = _words(
    """
    arrowflight arrowstream azureblobstorage azureblobstoragecluster bigquery cluster clusterallreplicas cosn deltalake
    deltalakeazure deltalakeazurecluster deltalakecluster deltalakelocal deltalakes3 deltalakes3cluster dictionary eval
    executable executablepool file filecluster filesystem fuzzjson fuzzquery gcs generaterandom hdfs hdfscluster hive
    hudi hudicluster iceberg icebergazure icebergazurecluster icebergcluster iceberghdfs iceberghdfscluster
    iceberglocal iceberglocalcluster icebergs3 icebergs3cluster input jdbc loop meilisearch merge
    mergetreeanalyzeindexes mergetreeanalyzeindexesuuid mergetreecodecblockcounts mergetreeindex mergetreeparts
    mergetreeprojection mergetreetextindex mongodb mysql odbc oss paimon paimonazure paimonazurecluster paimoncluster
    paimonhdfs paimonhdfscluster paimonlocal paimons3 paimons3cluster postgresql prometheusquery prometheusqueryrange
    python redis remote remotesecure s3 s3cluster sqlite timeseriesdata timeseriesmetricfamilies timeseriesmetrics
    timeseriessamples timeseriesselector timeseriestags url urlcluster viewexplain viewifpermitted ytsaurus
    """
)
"""Tables that are read from elsewhere; in lower case. Some are names of our columns too, as long as no `(` follows."""
HARMLESS_TABLE_FUNCTIONS = _words(
    "format generate_series generateseries null numbers numbers_mt primes sqlstandardvalues values view zeros zeros_mt"
)
"""Tables that are made up on the spot."""
TABLES = frozenset({"salts"})
DATABASES = frozenset({"system", "information_schema"})
"""What the engine says of itself, such as other people's statements and where its files are."""
LONGEST = 100_000
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\\]|\\.|'')*') | (?P<quoted>"(?:[^"\\]|\\.|"")*"|`(?:[^`\\]|\\.|``)*`)
    | (?P<comment>--[^\n]*|\#[ !][^\n]*|/\*.*?\*/) | (?P<word>[A-Za-z_]\w*) | (?P<open>\()
    | (?P<semicolon>;) | (?P<space>[ \t\r\n]+) | (?P<other>.)""",
    re.VERBOSE | re.DOTALL | re.ASCII,
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
    every = list(_TOKEN.finditer(sql))
    _check_signs(every)
    matches = [match for match in every if match.lastgroup not in ("space", "comment")]
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


def _check_signs(matches: list[re.Match[str]]) -> None:
    """Refuse what the engine may cut into words otherwise than we do: then it would run what we took for a text."""
    for match in matches:
        kind, text = match.lastgroup, match.group()
        if kind == "comment" and "/*" in text[2:]:
            raise Refused("A comment within a comment is not allowed here.")
        if kind != "other":
            continue
        if not " " < text <= "~":
            raise Refused(
                f"The character {text!r} (U+{ord(text):04X}) may stand within quotes only: '' for texts, `` for names."
            )
        if text == "$":
            raise Refused("Texts are written in single quotes here, not between `$`.")


def _check_words(tokens: list[tuple[str, str]]) -> None:
    for index, (kind, text) in enumerate(tokens):
        kind_after, after = tokens[index + 1] if index + 1 < len(tokens) else ("", "")
        if kind == "word":
            _check_word(text, kind_after)
        if kind in ("word", "quoted"):
            _check_name(text, after)
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


def _check_name(text: str, after: str) -> None:
    if "\\" in text:
        raise Refused(f"The name {text} has a backslash in it; write the name as it is.")
    name = text.strip('`"')
    if name.lower() in TABLES:
        raise Refused(f"The table `{name}` holds secrets and is not shown.")
    if name.lower() in DATABASES and after == ".":
        raise Refused(f"`{name}` is about the engine, not about the campaigns; SHOW TABLES lists what there is.")
    if _reaches_out(name) or (name.lower() in TABLE_FUNCTIONS and after == "("):
        raise Refused(f"`{name}` reaches beyond the tables of the store and is not allowed here.")


def _reaches_out(name: str) -> bool:
    if name.lower() in FUNCTIONS:
        return True
    family = next((each for each in FAMILIES if name.lower().startswith(each)), None)
    return family is not None and name[len(family) : len(family) + 1].isupper()
