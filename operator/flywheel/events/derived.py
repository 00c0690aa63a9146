"""Tables that follow from others, kept beside them so that questions need not read millions of rows.

They are written in the commit that stores the rows, after those and before their ids. What is kept is the least of
something, so rows that are derived twice change nothing: after a commit that was cut off it is simply done again.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from flywheel.edge.livemaps import VISITOR_PATTERN
from flywheel.events.schema import BY_NAME
from flywheel.insight import exposures


@dataclass(frozen=True, slots=True)
class Derived:
    """How one table follows from another."""

    table: str
    source: str
    values: Mapping[str, str]
    """What each column is made of."""
    where: str
    """Which rows of the source matter."""
    keys: str
    """What the rows of the table are told apart by."""


EXPOSURES = Derived(
    "exposures", "requests", exposures.KEPT, exposures.KEPT_WHERE, "campaign, test, visitor_key, variant"
)
FIRST_VISITORS = Derived(
    "first_visitors",
    "events",
    {
        "campaign": "campaign",
        "user_key": "cityHash64(user_id)",
        "time": "min(time)",
        "first": "min((time, visitor))",
        "expires_at": "min(expires_at)",
    },
    # Of such visitors only as the edge makes: what is kept goes into a cookie.
    f"user_id != '' AND NOT bot AND match(visitor, '^{VISITOR_PATTERN}$')",
    "campaign, user_key",
)
ALL = (EXPOSURES, FIRST_VISITORS)


def of(source: str) -> tuple[Derived, ...]:
    """Give the tables that follow from one."""
    return tuple(each for each in ALL if each.source == source)


def from_judged(derived: Derived) -> str:
    """Give the statement that derives from the rows that a commit is storing."""
    moments = (column.name for column in BY_NAME[derived.source].row_columns if column.type.startswith("DateTime"))
    as_stored = ", ".join(f"toDateTime(least(greatest({name}, 0), 4294967295), 'UTC') AS {name}" for name in moments)
    return _derive(
        derived,
        f"(SELECT * REPLACE ({as_stored}) FROM judged_{derived.source} WHERE verdict = 'stored')",  # noqa: S608
        "1",
    )


def days_since(derived: Derived, commit: int) -> str:
    """Give the question for the days of the rows that are of a commit, or of a later one."""
    return f"SELECT DISTINCT _partition_id AS day FROM {derived.source} WHERE commit >= {commit}"  # noqa: S608


def from_stored(derived: Derived, commit: int, day: str) -> str:
    """Give the statement that derives from the rows of one day, so that no more than those are in memory at once."""
    return _derive(derived, derived.source, f"commit >= {commit} AND _partition_id = '{day}'")


def _derive(derived: Derived, rows: str, which: str) -> str:
    values = ", ".join(derived.values.values())
    return (
        f"INSERT INTO {derived.table} ({', '.join(derived.values)}) SELECT {values} FROM {rows} "  # noqa: S608
        f"WHERE {which} AND {derived.where} GROUP BY {_grouped(derived)}"
    )


def _grouped(derived: Derived) -> str:
    return ", ".join(derived.values[key] for key in derived.keys.split(", "))
