"""One commit in SQL: which of the rows that arrived are stored, and how a commit that was cut off is made whole.

The rows of many deliveries arrive in a table in memory. A second one holds the verdict on each. The rows to store go
into their table first, what follows from them into other tables (`flywheel.events.derived`) second, and their ids into
`seen` last, so an id in `seen` always has its row. Where a process died in between, what follows is derived once more
and `reconcile` adds the ids before anything else is written.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from flywheel.events.schema import BY_NAME, IDENTITY, REQUIRED, Column

EARLIEST, LATEST = 978_307_200_000, 4_102_444_800_000
"""2001 and 2100: moments outside are mistakes of units, and each day is a partition."""
STORED, DUPLICATE, INVALID, ERASED, FOREIGN = "stored", "duplicate", "invalid", "erased", "foreign"


@dataclass(frozen=True, slots=True)
class Delivery:
    """The rows that one campaign's sidecar sent in one call."""

    campaign: str
    rows: bytes
    """One JSON object a line, each line beginning with `{` and ended."""
    count: int


@dataclass(slots=True)
class Outcome:
    """What became of a delivery."""

    stored: int = 0
    duplicates: int = 0
    refused: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    """Why rows were refused, and how many."""

    def refuse(self, reason: str, count: int) -> None:
        """Count refused rows."""
        self.refused += count
        self.reasons[reason] = self.reasons.get(reason, 0) + count


def is_orderly(rows: bytes) -> bool:
    """Tell whether each line begins with an object and the last one is ended, all of it in UTF-8."""
    try:
        # The engine would store anything, and nobody could read it as JSON any more.
        rows.decode()
    except UnicodeDecodeError:
        return False
    return rows.startswith(b"{") and rows.endswith(b"\n") and rows.count(b"\n{") + 1 == rows.count(b"\n")


def addressed(delivery: Delivery, part: int) -> bytes:
    """Write the sender into each row.

    `part` is a number that nobody can guess. A second object on a line, which the engine would read as a row of its
    own, has no such number, or a wrong one, and so belongs to nobody.
    """
    begin = b'{"part":%d,"campaign":"%s",' % (part, delivery.campaign.encode())
    return begin + delivery.rows[1:].replace(b"\n{", b"\n" + begin)


def clear(table: str) -> Iterator[str]:
    """Give the statements that empty the tables in memory."""
    yield f"TRUNCATE TABLE arriving_{table}"
    yield f"TRUNCATE TABLE judged_{table}"


def _names(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)


def judge(table: str, parts: Collection[int], *, erasures: bool) -> str:
    """Give the statement that judges what has arrived."""
    columns = BY_NAME[table].row_columns
    names = _names(columns)
    known = f"SELECT id FROM seen WHERE id IN (SELECT id FROM arriving_{table})"  # noqa: S608 - our own names
    gone, joins = _erased(table) if erasures else ("0", "")
    order = "ingest_time" if any(column.name == "ingest_time" for column in columns) else "time"
    numbers = ", ".join(str(part) for part in parts)
    return (
        f"INSERT INTO judged_{table} (part, id, verdict, campaign, {names}) "  # noqa: S608 - our own names and numbers
        f"SELECT part, id, if(first_verdict = '{STORED}' AND "
        f"row_number() OVER (PARTITION BY id, first_verdict ORDER BY {order}) > 1, '{DUPLICATE}', first_verdict), "
        f"campaign, {names} FROM (SELECT part, id, campaign, {names}, multiIf("
        f"part NOT IN ({numbers}), '{FOREIGN}', "
        f"NOT ({REQUIRED[table]} AND time BETWEEN {EARLIEST} AND {LATEST}), '{INVALID}', "
        f"{gone}, '{ERASED}', id IN ({known}), '{DUPLICATE}', '{STORED}') AS first_verdict "
        f"FROM arriving_{table} AS arriving{joins})"
    )


def _erased(table: str) -> tuple[str, str]:
    names = {column.name for column in BY_NAME[table].row_columns}
    taken = "least(time, ingest_time)" if "ingest_time" in names else "time"
    kinds = [kind for kind in ("visitor", "user_id") if kind in names]
    joins = "".join(
        f" LEFT ANY JOIN (SELECT campaign AS {kind}_campaign, {kind} AS {kind}_gone, "  # noqa: S608 - our own names
        f"max(requested_at) AS {kind}_until FROM erasures WHERE {kind} != '' GROUP BY campaign, {kind}) AS by_{kind} "
        f"ON arriving.campaign = by_{kind}.{kind}_campaign AND arriving.{kind} = by_{kind}.{kind}_gone"
        for kind in kinds
    )
    return " OR ".join(f"{taken} <= {kind}_until" for kind in kinds), joins


def tally(table: str) -> str:
    """Give the query that counts the verdicts on each delivery."""
    return f"SELECT part, verdict, count() AS rows FROM judged_{table} GROUP BY part, verdict"  # noqa: S608


def store(table: str, commit: int, epoch: int | None) -> str:
    """Give the statement that stores what is to be stored, unless a newer worker than `epoch` has taken over."""
    columns = BY_NAME[table].row_columns
    values = ", ".join(
        f"toDateTime(least(greatest({column.name}, 0), 4294967295), 'UTC')"
        if column.type.startswith("DateTime")
        else column.name
        for column in columns
    )
    return (
        f"INSERT INTO {table} (campaign, {_names(columns)}, commit) "  # noqa: S608 - our own names and numbers
        f"SELECT campaign, {values}, {commit} FROM judged_{table} WHERE verdict = '{STORED}'{_fence(epoch)}"
    )


def remember(table: str, commit: int, now: int) -> str:
    """Give the statement that makes the stored rows known; `now` in seconds since 1970."""
    return (
        f"INSERT INTO seen (id, kind, commit, seen_at) SELECT id, '{table}', {commit}, {now} "  # noqa: S608
        f"FROM judged_{table} WHERE verdict = '{STORED}'"
    )


def keep_invalid(table: str, commit: int, now: int, expires_at: int, epoch: int | None) -> str:
    """Give the statement that makes dead letters of invalid rows; `now` in milliseconds."""
    columns = BY_NAME[table].row_columns
    names = ", ".join(f"'{column.name}', toString({column.name})" for column in columns)
    present = {column.name for column in columns}
    visitor, user = (name if name in present else "''" for name in ("visitor", "user_id"))
    return (
        "INSERT INTO dead_letters (campaign, time, reason, detail, message_id, type, event, visitor, user_id, payload, "  # noqa: S608
        f"expires_at, commit) SELECT campaign, {now}, 'invalid_row', "
        f"'The store refused a row of {table}: its id, type, time or a number is not as it has to be.', "
        f"{IDENTITY[table]}, '{table}', '', {visitor}, {user}, "
        f"substring(toJSONString(map({names})), 1, 32768), {expires_at}, {commit} "
        f"FROM judged_{table} WHERE verdict = '{INVALID}'{_fence(epoch)}"
    )


def _fence(epoch: int | None) -> str:
    return "" if epoch is None else f" AND {epoch} = (SELECT max(epoch) FROM writers)"  # noqa: S608 - a number


def last_commit(table: str) -> str:
    """Give the query for the number of the last commit of a table."""
    return f"SELECT max(commit) AS last FROM {table}"  # noqa: S608 - our own name


def reconcile(table: str, now: int) -> str:
    """Give the statement that adds to `seen` what the last commit stored and did not come to remember."""
    identity = f"reinterpretAsUInt128(sipHash128('{table}', toString(campaign), {_plain_identity(table)}))"
    last = f"(SELECT max(commit) FROM seen WHERE kind = '{table}')"  # noqa: S608 - our own name
    return (
        f"INSERT INTO seen (id, kind, commit, seen_at) SELECT {identity} AS id, '{table}', commit, {now} "  # noqa: S608
        f"FROM {table} WHERE commit >= {last} AND id NOT IN "
        f"(SELECT id FROM seen WHERE kind = '{table}' AND commit >= {last})"
    )


def _plain_identity(table: str) -> str:
    """The hash of a stored row has to be that of the arriving one, whose words are plain strings."""
    types = {column.name: column.type for column in BY_NAME[table].columns}
    names = [name.strip() for name in IDENTITY[table].split(",")]
    return ", ".join(f"toString({name})" if types[name].startswith("Low") else name for name in names)
