"""Takes people out of the archive of verdicts: their rows, and then the bytes of these. All of it blocks.

Deleting a row leaves its bytes in free pages, in the gaps of pages and in the write-ahead log. SQLite's secure_delete
does not reach the gaps that are left when pages are balanced, so the file is written anew instead: what is not copied
is not there.
"""

import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

import msgspec

from flywheel.fraud.erasing import Erasure, NamesOf, People
from flywheel.fraud.verdicts import JOINT, LONGEST_VALUE, Kept

_decode = msgspec.msgpack.Decoder(Kept).decode
_FOUND = f"""
SELECT rowid, body FROM verdicts WHERE campaign = :campaign AND at <= :at AND (
  visitor IN (SELECT value FROM temp.people WHERE field = 'visitor')
  OR user IN (SELECT value FROM temp.people WHERE field = 'user')
  OR address IN (SELECT value FROM temp.people WHERE field = 'address')
  OR key IN (SELECT value FROM temp.people) OR instr(key, '{JOINT}'))
"""  # noqa: S608 - our own sign
_KEYS = f"""
SELECT rule, version, key FROM found
WHERE campaign = :campaign AND at <= :at AND (key IN (SELECT value FROM temp.people) OR instr(key, '{JOINT}'))
"""  # noqa: S608 - our own sign
_LEFT = """
DELETE FROM found WHERE (campaign, rule, version, key) IN (SELECT campaign, rule, version, key FROM temp.orphans)
AND NOT EXISTS (SELECT 1 FROM verdicts v WHERE v.campaign = found.campaign AND v.key = found.key
                AND v.rule = found.rule AND v.version = found.version)
"""


def sent_by(base: sqlite3.Connection, campaign: str, erasure: Erasure, events: Iterable[str]) -> set[str]:
    """Give those of some events that people have sent.

    Args:
        base: The archive.
        campaign: Whose.
        erasure: Who they are.
        events: Ids.
    """
    people = People(erasure)
    base.execute("CREATE TEMP TABLE IF NOT EXISTS asked (event TEXT PRIMARY KEY)")
    try:
        base.executemany("INSERT OR IGNORE INTO temp.asked VALUES (?)", ((each,) for each in events))
        rows = base.execute(
            "SELECT event, body FROM verdicts WHERE campaign = ? AND event IN (SELECT event FROM temp.asked)",
            (campaign,),
        )
        return {event for event, body in rows if people.are_in(_decode(body))}
    finally:
        base.execute("DELETE FROM temp.asked")


def erase(base: sqlite3.Connection, campaign: str, erasure: Erasure, names_of: NamesOf) -> int:
    """Delete the rows that are about people, within a transaction of the caller; give how many verdicts that were.

    Of the keys that rules have found those go that name them, and those that nobody else was found by.

    Args:
        base: The archive.
        campaign: Whose.
        erasure: Who they are, and up to when.
        names_of: Gives the fields of a rule's key.
    """
    people, asked = People(erasure), {"campaign": campaign, "at": erasure.at}
    _note(base, erasure)
    rows = [(rowid, each) for rowid, body in base.execute(_FOUND, asked) if people.are_in(each := _decode(body))]
    base.executemany("DELETE FROM verdicts WHERE rowid = ?", ((rowid,) for rowid, _ in rows))
    named = [
        (campaign, rule, version, key)
        for rule, version, key in base.execute(_KEYS, asked)
        if people.stand_in(names_of(rule), key.split(JOINT))
    ]
    base.executemany("DELETE FROM found WHERE campaign = ? AND rule = ? AND version = ? AND key = ?", named)
    base.executemany(
        "INSERT OR IGNORE INTO temp.orphans VALUES (?, ?, ?, ?)",
        ((each.campaign, each.rule, each.version, each.unit) for _, each in rows),
    )
    base.execute(_LEFT)
    for table in ("people", "orphans"):
        base.execute(f"DELETE FROM temp.{table}")  # noqa: S608 - our own names
    return len(rows)


def _note(base: sqlite3.Connection, erasure: Erasure) -> None:
    base.execute("CREATE TEMP TABLE IF NOT EXISTS people (field TEXT, value TEXT, PRIMARY KEY (field, value))")
    base.execute("CREATE INDEX IF NOT EXISTS temp.by_value ON people (value)")
    base.execute(
        "CREATE TEMP TABLE IF NOT EXISTS orphans (campaign TEXT, rule TEXT, version TEXT, key TEXT, "
        "PRIMARY KEY (campaign, rule, version, key))"
    )
    named = ((field, value[:LONGEST_VALUE]) for field, value in erasure.names)
    base.executemany("INSERT OR IGNORE INTO temp.people VALUES (?, ?)", named)


def copied(base: sqlite3.Connection, path: Path) -> Path:
    """Write all rows into a new file beside the archive, and leave nothing in the write-ahead log; give the file.

    Raises:
        sqlite3.Error: The disk does not take that, or somebody else reads the archive.
        OSError: The same.
    """
    copy = path.with_suffix(".new")
    copy.unlink(missing_ok=True)
    os.close(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, path.stat().st_mode & 0o777))
    base.execute("VACUUM INTO ?", (str(copy),))
    busy, *_ = base.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise sqlite3.OperationalError(f"{path} is read by another process, so its log cannot be emptied")
    _keep(copy)
    return copy


def put_in_place(copy: Path, path: Path) -> None:
    """Let a copy take the place of the archive, which nobody has open.

    Raises:
        OSError: It cannot; the archive is as it was.
    """
    for suffix in ("-wal", "-shm"):
        # It would be read into the new file.
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    copy.replace(path)
    _keep(path.parent)


def _keep(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
