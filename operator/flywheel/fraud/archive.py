"""The verdicts of a worker on its volume, in SQLite: kept as long as the Campaign wants, found by whom they are about.

All of it blocks, and belongs to one thread at a time. A verdict that is filed twice, as after a kill, is there once.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from flywheel.fraud import archive_erasing
from flywheel.fraud.archive_labels import events_of, fates_of
from flywheel.fraud.erasing import Erasure, NamesOf
from flywheel.fraud.known_labels import KnownLabel
from flywheel.fraud.labels import Label
from flywheel.fraud.proof import Evidence, LabelledKey, Met, evidence_of
from flywheel.fraud.verdicts import JOINT, SPARED, Kept, is_masked

FORMAT = 1
MOST = 1_000_000
"""Verdicts that are kept of all campaigns: some 650 MB, a third of the volume."""
MOST_FOUND = 1_000
"""Verdicts in one answer."""
STEP = 5_000
"""Rows that are deleted at once."""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS verdicts (
  campaign TEXT NOT NULL, rule TEXT NOT NULL, version TEXT NOT NULL, event TEXT NOT NULL, key TEXT NOT NULL,
  visitor TEXT NOT NULL, user TEXT NOT NULL, address TEXT NOT NULL, at INTEGER NOT NULL, expires INTEGER NOT NULL,
  body BLOB NOT NULL, UNIQUE (campaign, event, rule, version));
CREATE INDEX IF NOT EXISTS by_key ON verdicts (campaign, key);
CREATE INDEX IF NOT EXISTS by_visitor ON verdicts (campaign, visitor) WHERE visitor != '';
CREATE INDEX IF NOT EXISTS by_user ON verdicts (campaign, user) WHERE user != '';
CREATE INDEX IF NOT EXISTS by_address ON verdicts (campaign, address) WHERE address != '';
CREATE INDEX IF NOT EXISTS by_time ON verdicts (campaign, at);
CREATE INDEX IF NOT EXISTS by_end ON verdicts (expires);
CREATE TABLE IF NOT EXISTS found (
  campaign TEXT NOT NULL, rule TEXT NOT NULL, version TEXT NOT NULL, key TEXT NOT NULL, at INTEGER NOT NULL,
  stopped INTEGER NOT NULL, chance REAL NOT NULL, expires INTEGER NOT NULL,
  PRIMARY KEY (campaign, rule, version, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS found_by_end ON found (expires);
"""
_ASK = """
SELECT body FROM (
  SELECT rowid, at, body FROM verdicts WHERE campaign = :campaign AND event = :value
  UNION SELECT rowid, at, body FROM verdicts WHERE campaign = :campaign AND key IN (:value, :masked)
  UNION SELECT rowid, at, body FROM verdicts WHERE campaign = :campaign AND visitor = :value AND visitor != ''
  UNION SELECT rowid, at, body FROM verdicts WHERE campaign = :campaign AND user = :value AND user != ''
  UNION SELECT rowid, at, body FROM verdicts
        WHERE campaign = :campaign AND address IN (:value, :masked) AND address != '')
ORDER BY at DESC, rowid DESC LIMIT :most
"""
_LABELLED = """
WITH met AS (
  SELECT v.rule, v.version, v.key, l.rank, l.dishonest FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.event = l.value WHERE l.kind = 'event'
  UNION ALL SELECT v.rule, v.version, v.key, l.rank, l.dishonest FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.visitor = l.value AND v.visitor != '' WHERE l.kind = 'visitor'
  UNION ALL SELECT v.rule, v.version, v.key, l.rank, l.dishonest FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.user = l.value AND v.user != '' WHERE l.kind = 'user'
  UNION ALL SELECT f.rule, f.version, f.key, l.rank, l.dishonest FROM labels l
    JOIN found f ON f.campaign = :campaign AND f.rule = l.rule AND f.key = l.value WHERE l.kind = 'key')
SELECT f.rule, f.version, coalesce(max(m.dishonest) FILTER (WHERE m.rank = 1), min(m.dishonest)), f.stopped, f.chance
FROM met m JOIN found f ON f.campaign = :campaign AND f.rule = m.rule AND f.version = m.version AND f.key = m.key
GROUP BY f.rule, f.version, f.key
"""
_PERSONS = """
WITH met AS (
  SELECT l.rowid AS label, l.at AS said, v.rule, v.version, v.key FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.visitor = l.value AND v.visitor != ''
    WHERE l.kind = 'visitor' AND l.dishonest
  UNION SELECT l.rowid, l.at, v.rule, v.version, v.key FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.user = l.value AND v.user != ''
    WHERE l.kind = 'user' AND l.dishonest)
SELECT f.rule, f.version, m.label, m.said, min(f.stopped), coalesce(max(f.chance) FILTER (WHERE NOT f.stopped), 1.0)
FROM met m JOIN found f ON f.campaign = :campaign AND f.rule = m.rule AND f.version = m.version AND f.key = m.key
GROUP BY f.rule, f.version, m.label, m.said
"""
_NAMED = {"verdicts": "rowid", "found": "campaign, rule, version, key"}
"""By what a row of a table is named."""
PERSONS = frozenset({"visitor", "user"})
"""What is labelled that stands for a person: recall is about persons."""
_decode = msgspec.msgpack.Decoder(Kept).decode
_encode = msgspec.msgpack.Encoder().encode


class ArchiveBroken(Exception):  # noqa: N818 - a state
    """The archive cannot be used. The text says why."""


class Version(NamedTuple):
    """A rule by which is judged, as one text for all that it judges by."""

    rule: str
    version: str


class _Counted(NamedTuple):
    found: int
    alone: int
    since: int
    """When the first was found."""


class Archive:
    """One connection to the file."""

    def __init__(self, path: Path, most: int = MOST) -> None:
        """Open it, or make it.

        Raises:
            ArchiveBroken: It cannot be used, or a newer worker has written it.
        """
        self.path, self._most = path, most
        try:
            # Of a process that was killed while it wrote the file anew.
            path.with_suffix(".new").unlink(missing_ok=True)
            self._base = self._opened()
            found = self._base.execute("PRAGMA user_version").fetchone()[0]
            if found > FORMAT:
                raise ArchiveBroken(f"{path} has the format {found}; this version of the worker knows {FORMAT}.")
            self._base.executescript(_SCHEMA)
            self._base.execute(f"PRAGMA user_version = {FORMAT}")
        except sqlite3.Error as error:
            raise ArchiveBroken(f"the verdicts in {path} cannot be used: {error}") from error

    def _opened(self) -> sqlite3.Connection:
        base = sqlite3.connect(self.path, timeout=5.0, isolation_level=None, check_same_thread=False)
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = FULL")
        # What names people is in no file but this one.
        base.execute("PRAGMA temp_store = MEMORY")
        return base

    def file(self, verdicts: Sequence[Kept]) -> None:
        """Keep verdicts: all of them, or none.

        Raises:
            sqlite3.Error: The disk does not take them.
        """
        with _transaction(self._base):
            self._base.executemany(
                "INSERT OR IGNORE INTO verdicts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", map(_row, verdicts)
            )
            # By whom a key is met first, and so by what was done to it then.
            self._base.executemany(
                "INSERT INTO found VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "expires = max(expires, excluded.expires)",
                [
                    (*_place(each), each.unit, each.at, each.stopped, each.chance, each.expires)
                    for each in verdicts
                    if each.done not in SPARED and not each.by_list
                ],
            )

    def find(self, campaign: str, value: str, masked: str = "", most: int = MOST_FOUND) -> list[Kept]:
        """Give the verdicts about an event, key, visitor, user or address, the latest first.

        Args:
            campaign: Whose.
            value: The id; of a key with several values, all of them with `JOINT` between.
            masked: The name under which it is known where it is an address.
            most: How many at most.

        Raises:
            sqlite3.Error: They cannot be read.
        """
        asked = {"campaign": campaign, "value": value, "masked": masked or value, "most": most}
        return [_decode(body) for (body,) in self._base.execute(_ASK, asked)]

    def latest(self, campaign: str, most: int = MOST_FOUND) -> list[Kept]:
        """Give the latest verdicts of a campaign. Errors as of `find`."""
        asked = (campaign, most)
        rows = self._base.execute("SELECT body FROM verdicts WHERE campaign = ? ORDER BY at DESC LIMIT ?", asked)
        return [_decode(body) for (body,) in rows]

    def evidence(self, campaign: str, versions: Iterable[Version], labels: Iterable[Label]) -> dict[Version, Evidence]:
        """Reckon what labels say of the versions by which is judged now. Errors as of `find`."""
        wanted = list(versions)
        labels = list(labels)
        self._note(labels)
        persons = [each.at for each in labels if each.kind in PERSONS and each.said == "Dishonest"]
        keys: dict[Version, list[LabelledKey]] = {each: [] for each in wanted}
        met: dict[Version, list[Met]] = {each: [] for each in wanted}
        counted = {each: self._count(campaign, each) for each in wanted}
        asked = {"campaign": campaign}
        for rule, version, dishonest, stopped, chance in self._base.execute(_LABELLED, asked):
            if (at := Version(rule, version)) in keys:
                keys[at].append(LabelledKey(bool(dishonest), bool(stopped), chance))
        for rule, version, _, said, stopped, chance in self._base.execute(_PERSONS, asked):
            if (at := Version(rule, version)) in met and said >= counted[at].since:
                met[at].append(Met(found=True, stopped=bool(stopped), chance=chance))
        reckoned = {}
        for each, (found, alone, since) in counted.items():
            # Who was known before this version judged could not be found by it.
            missed = sum(at >= since for at in persons) - len(met[each]) if found else 0
            reckoned[each] = evidence_of(found, alone, keys[each], [*met[each], *[Met(found=False)] * missed])
        return reckoned

    def known(self, campaign: str, rule: str, labels: Sequence[Label], *, by_events: bool) -> tuple[KnownLabel, ...]:
        """Say of labels what one rule did to those whom they are about. Errors as of `find`.

        Args:
            campaign: Whose.
            rule: By name; any version of it.
            labels: Which.
            by_events: Whether keys with a hash in place of an address are to be told by events as well.
        """
        self._note(labels)
        fates = fates_of(self._base, campaign, rule)
        told = []
        for number, each in enumerate(labels, start=1):
            known = KnownLabel(kind=each.kind, value=each.value, dishonest=each.said == "Dishonest", at=each.at)
            if number in fates:
                known = msgspec.structs.replace(known, stopped=fates[number].stopped, chance=fates[number].chance)
            if by_events and each.kind == "key" and any(map(is_masked, each.value)):
                events = events_of(self._base, campaign, rule, JOINT.join(each.value))
                known = msgspec.structs.replace(known, events=events)
            told.append(known)
        return tuple(told)

    def forget(self, now: int) -> int:
        """Delete what nobody needs any more, and the oldest of what is too much; give how many of the latter.

        Raises:
            sqlite3.Error: The disk does not take that.
        """
        gone = 0
        for table, names in _NAMED.items():
            # In steps: whoever files must not wait long.
            ended = f"SELECT {names} FROM {table} WHERE expires <= ? LIMIT {STEP}"  # noqa: S608 - our own names
            delete = f"DELETE FROM {table} WHERE ({names}) IN"  # noqa: S608
            while self._base.execute(f"{delete} ({ended})", (now,)).rowcount == STEP:
                pass
            over = self._base.execute(f"SELECT count(*) FROM {table}").fetchone()[0] - self._most  # noqa: S608
            if over > 0:
                oldest = f"SELECT {names} FROM {table} ORDER BY expires LIMIT ?"  # noqa: S608
                self._base.execute(f"{delete} ({oldest})", (over,))
                gone += over if table == "verdicts" else 0
        return gone

    def sent_by(self, campaign: str, erasure: Erasure, events: Iterable[str]) -> set[str]:
        """Give those of some events that people have sent who are to be erased. Errors as of `find`."""
        return archive_erasing.sent_by(self._base, campaign, erasure, events)

    def erase(self, campaign: str, erasure: Erasure, names_of: NamesOf) -> int:
        """Delete what is about people; give how many verdicts that were. Bytes of them stay until `rewrite`.

        Args:
            campaign: Whose.
            erasure: Who they are, and up to when.
            names_of: Gives the fields of a rule's key.

        Raises:
            sqlite3.Error: The disk does not take that; all is as before.
        """
        with _transaction(self._base):
            return archive_erasing.erase(self._base, campaign, erasure, names_of)

    def rewrite(self) -> None:
        """Write the file anew, so that nothing of what was deleted is in it, nor beside it.

        Raises:
            sqlite3.Error: The disk does not take that; all is as before.
            OSError: The same.
        """
        copy = archive_erasing.copied(self._base, self.path)
        try:
            self._base.close()
            archive_erasing.put_in_place(copy, self.path)
        finally:
            self._base = self._opened()

    def count(self) -> int:
        """Give how many verdicts are kept. Errors as of `find`."""
        return int(self._base.execute("SELECT count(*) FROM verdicts").fetchone()[0])

    def close(self) -> None:
        """Close the file."""
        self._base.close()

    def _count(self, campaign: str, version: Version) -> _Counted:
        return _Counted(
            *self._base.execute(
                "SELECT count(*), count(*) FILTER (WHERE NOT stopped), coalesce(min(at), 0) FROM found "
                "WHERE campaign = ? AND rule = ? AND version = ?",
                (campaign, *version),
            ).fetchone()
        )

    def _note(self, labels: Iterable[Label]) -> None:
        """Put labels where they can be asked together with verdicts."""
        self._base.execute(
            "CREATE TEMP TABLE IF NOT EXISTS labels "
            "(kind TEXT, rule TEXT, value TEXT, rank INTEGER, dishonest INTEGER, at INTEGER)"
        )
        noted = [
            # What is said of the key itself goes before what is said of those behind it.
            (each.kind, each.rule, JOINT.join(each.value), each.kind == "key", each.said == "Dishonest", each.at)
            for each in labels
        ]
        with _transaction(self._base):
            self._base.execute("DELETE FROM temp.labels")
            self._base.executemany("INSERT INTO temp.labels VALUES (?, ?, ?, ?, ?, ?)", noted)


class _transaction:  # noqa: N801 - read as a word
    """All or nothing."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base

    def __enter__(self) -> None:
        self._base.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._base.execute("COMMIT" if kind is None else "ROLLBACK")


def _place(each: Kept) -> tuple[str, str, str]:
    return each.campaign, each.rule, each.version


def _row(each: Kept) -> tuple[str | int | bytes, ...]:
    who = (each.event, each.unit, each.visitor, each.user, each.address)
    return (*_place(each), *who, each.at, each.expires, _encode(each))
