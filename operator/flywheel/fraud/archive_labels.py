"""What an archive knows of those whom labels are about: what one rule did to them. Blocks; for the archive's thread."""

import sqlite3

from flywheel.fraud.known_labels import MOST_EVENTS, Fate

_FATES = """
WITH met AS (
  SELECT l.rowid AS label, v.version, v.key FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.event = l.value AND v.rule = :rule WHERE l.kind = 'event'
  UNION SELECT l.rowid, v.version, v.key FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.visitor = l.value AND v.visitor != '' AND v.rule = :rule
    WHERE l.kind = 'visitor'
  UNION SELECT l.rowid, v.version, v.key FROM labels l
    JOIN verdicts v ON v.campaign = :campaign AND v.user = l.value AND v.user != '' AND v.rule = :rule
    WHERE l.kind = 'user'
  UNION SELECT l.rowid, f.version, f.key FROM labels l
    JOIN found f ON f.campaign = :campaign AND f.rule = :rule AND f.key = l.value
    WHERE l.kind = 'key' AND l.rule = :rule)
SELECT m.label, max(f.stopped), min(f.chance) FROM met m
  JOIN found f ON f.campaign = :campaign AND f.rule = :rule AND f.version = m.version AND f.key = m.key
GROUP BY m.label
"""
_EVENTS = "SELECT event FROM verdicts WHERE campaign = ? AND key = ? AND rule = ? ORDER BY rowid DESC LIMIT ?"


def fates_of(base: sqlite3.Connection, campaign: str, rule: str) -> dict[int, Fate]:
    """Say what any version of a rule did to those whom the labels in the table `labels` are about.

    Args:
        base: The archive, with the labels noted.
        campaign: Whose.
        rule: By name.

    Returns:
        By number of the row of a label; those whom the rule never found are missing. Whether a key is left alone is
        decided by the key alone, so of several versions the smallest chance is that of all of them.

    Raises:
        sqlite3.Error: They cannot be read.
    """
    asked = {"campaign": campaign, "rule": rule}
    # A key that was left alone by no chance was stopped, whatever else is written.
    return {
        label: Fate(bool(stopped) or not chance > 0, chance if chance > 0 else 1.0)
        for label, stopped, chance in base.execute(_FATES, asked)
    }


def events_of(base: sqlite3.Connection, campaign: str, rule: str, unit: str) -> tuple[str, ...]:
    """Give some of the latest events that a rule found of a key. Errors as of `fates_of`.

    Args:
        base: The archive.
        campaign: Whose.
        rule: By name.
        unit: The key as one text.
    """
    return tuple(event for (event,) in base.execute(_EVENTS, (campaign, unit, rule, MOST_EVENTS)))
