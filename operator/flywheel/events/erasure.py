"""Erasing one visitor, or user: asked for once, carried out whatever happens meanwhile, with a receipt to ask after.

A user's erasure takes the rows that name the user, and all rows of the visitors that were ever this user and nobody
else's; a browser that several users share keeps the others' rows. Rows from before the erasure that arrive later are
refused, and the sidecars overwrite what waits in their spools. `seen` holds hashes only and stays.
"""

import asyncio
import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from flywheel.events.engine import EngineDown, EngineError, Limits, StoreError
from flywheel.events.identity_forms import forms_of
from flywheel.events.schema import BY_NAME, DELIVERED, DERIVED, quote
from flywheel.events.store import Store

log = logging.getLogger(__name__)

MOST_VISITORS = 10_000
"""Of one user."""
LIST = 500
LONGEST_IDENTITY = 500
LONGEST_CONDITION = 50_000
"""Characters of one statement."""
_HASHED = {"visitor_key": "visitor", "user_key": "user_id"}
"""Columns that hold the hash of an identity."""
_RETRY = 5.0
_DELETE_SECONDS = 0.25


class NotErasable(Exception):  # noqa: N818 - of a request
    """The request cannot be carried out as it is. The text says why."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """How an erasure stands."""

    receipt: str
    campaign: str
    requested_at: int
    """Milliseconds since 1970; rows up to this moment go."""
    finished_at: int
    """0 until every row is gone."""
    identities: int
    """Visitors and users that it is about."""


class Erasures:
    """The requests of one store, and the work on them."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._wake = asyncio.Event()
        self._requesting = asyncio.Lock()

    async def request(self, campaign: str, *, visitor: str = "", user_id: str = "") -> Receipt:
        """Write a request down; it is carried out from now on, however often the worker is killed.

        Raises:
            NotErasable: Neither or both of visitor and user are given, or a user has too many visitors.
            EngineDown: The store is not there.
        """
        if bool(visitor) == bool(user_id) or not campaign:
            raise NotErasable("Name the campaign, and either a visitor or a user.")
        if max(len(visitor), len(user_id), len(campaign)) > LONGEST_IDENTITY:
            raise NotErasable(f"An identity has at most {LONGEST_IDENTITY} characters.")
        async with self._requesting:
            visitors = [visitor] if visitor else await self._visitors_of(campaign, user_id)
            identities = [(each, "") for each in visitors] + ([("", user_id)] if user_id else [])
            now, receipt = time.time_ns() // 1_000_000, secrets.token_hex(8)
            rows = await self._store.run("SELECT max(id) AS last FROM erasures")
            first = int(str(rows[0]["last"])) + 1 if rows else 1
            await self._store.run(
                "INSERT INTO erasures (id, receipt, campaign, visitor, user_id, requested_at, finished_at, version) "
                "SELECT {first:UInt64} + row, {receipt:String}, {campaign:String}, visitor, user, {now:Int64}, 0, 1 "
                "FROM (SELECT arrayJoin(arrayZip(arrayEnumerate({visitors:Array(String)}), {visitors:Array(String)}, "
                "{users:Array(String)})) AS each, each.1 - 1 AS row, each.2 AS visitor, each.3 AS user)",
                {
                    "first": first,
                    "receipt": receipt,
                    "campaign": campaign,
                    "now": now,
                    "visitors": [each for each, _ in identities],
                    "users": [each for _, each in identities],
                },
            )
            self._store.has_erasures = True
        self._wake.set()
        return Receipt(receipt, campaign, now, 0, len(identities))

    async def _visitors_of(self, campaign: str, user_id: str) -> list[str]:
        rows = await self._store.query(
            "SELECT visitor, uniqExactIf(user_id, user_id != '') AS users FROM events "
            "WHERE campaign = {campaign:String} AND visitor IN (SELECT visitor FROM events "
            "WHERE campaign = {campaign:String} AND user_id = {user:String} AND visitor != '') "
            "GROUP BY visitor HAVING users = 1",
            {"campaign": campaign, "user": user_id},
            Limits(seconds=120, rows=MOST_VISITORS + 1),
        )
        if len(rows) > MOST_VISITORS:
            raise NotErasable(f"The user has more than {MOST_VISITORS} visitors; that is hardly one person.")
        return [str(row["visitor"]) for row in rows]

    async def status(self, receipt: str) -> Receipt | None:
        """Tell how a request stands; None for a receipt that was never given."""
        rows = await self._store.query(
            "SELECT receipt, any(campaign) AS campaign, any(requested_at) AS requested_at, "
            "if(min(finished_at) = 0, 0, max(finished_at)) AS finished_at, count() AS identities "
            "FROM erasures FINAL WHERE receipt = {receipt:String} GROUP BY receipt",
            {"receipt": receipt},
        )
        if not rows:
            return None
        row = rows[0]
        return Receipt(
            receipt,
            str(row["campaign"]),
            *(int(str(row[name])) for name in ("requested_at", "finished_at", "identities")),
        )

    async def listed(self, campaign: str, since: int) -> list[dict[str, object]]:
        """List a campaign's erasures with an id above `since`, oldest first, for its sidecars' spools."""
        rows = await self._store.query(
            "SELECT id, requested_at AS before, visitor, user_id FROM erasures FINAL "
            "WHERE campaign = {campaign:String} AND id > {since:UInt64} ORDER BY id LIMIT {most:UInt64}",
            {"campaign": campaign, "since": since, "most": LIST},
        )
        return [{name: value for name, value in row.items() if value != ""} for row in rows]

    async def work(self) -> None:
        """Carry out requests for ever, those of earlier workers first."""
        while True:
            # Before the look: whoever asks during the work is not seen by it, and must not be forgotten after it.
            self._wake.clear()
            try:
                again = await self._round()
            except (EngineDown, EngineError, StoreError) as error:
                log.warning("An erasure could not be carried out and is tried again: %s", error)
                again = True
            if again:
                await asyncio.sleep(_RETRY)
                continue
            await self._wake.wait()

    async def _round(self) -> bool:
        """Work on open requests; tell whether to look again soon."""
        rows = await self._store.query(
            "SELECT id FROM erasures FINAL WHERE finished_at = 0 ORDER BY id LIMIT {most:UInt64}", {"most": LIST}
        )
        if rows:
            await self._erase([int(str(row["id"])) for row in rows])
        return len(rows) == LIST

    async def _erase(self, ids: list[int]) -> None:
        for table in DELIVERED:
            # Started between two commits: no row that was judged before the request can come in after it.
            await self._store.run(_delete(table, ids))
        await self._erase_escaped(ids)
        for table in DELIVERED:
            await self._wait_for(table)
        # Only now: what follows from rows may be derived once more for as long as those are there.
        for table in DERIVED:
            await self._store.run(_delete(table, ids))
        for table in DERIVED:
            await self._wait_for(table)
        now = time.time_ns() // 1_000_000
        await self._store.run(
            "INSERT INTO erasures SELECT id, receipt, campaign, visitor, user_id, requested_at, {now:Int64}, 2 "
            "FROM erasures FINAL WHERE finished_at = 0 AND id IN {ids:Array(UInt64)}",
            {"now": now, "ids": list(ids)},
        )
        log.info("%d visitors and users are erased.", len(ids))

    async def _erase_escaped(self, ids: list[int]) -> None:
        """Delete dead letters whose payloads name somebody otherwise than the request does."""
        rows = await self._store.query(
            "SELECT campaign, if(visitor = '', user_id, visitor) AS who, requested_at AS until FROM erasures FINAL "
            "WHERE id IN {ids:Array(UInt64)}",
            {"ids": list(ids)},
        )
        conditions = (
            f"(campaign = {quote(str(row['campaign']))} AND time <= {int(str(row['until']))} "
            f"AND position(payload, {quote(form)}) > 0)"
            for row in rows
            for form in forms_of(str(row["who"]))[1:]
        )
        for some in _batched(conditions):
            await self._store.run(f"ALTER TABLE dead_letters DELETE WHERE {' OR '.join(some)}")

    async def _wait_for(self, table: str) -> None:
        while True:
            rows = await self._store.run(
                "SELECT count() AS open, any(latest_fail_reason) AS why FROM system.mutations "
                "WHERE database = currentDatabase() AND table = {table:String} AND NOT is_done",
                {"table": table},
            )
            if not rows or not int(str(rows[0]["open"])):
                return
            if rows[0]["why"]:
                raise EngineError(0, f"Deleting from {table} fails: {rows[0]['why']}")
            await asyncio.sleep(_DELETE_SECONDS)


def _batched(conditions: Iterable[str]) -> Iterator[list[str]]:
    """Share conditions out over statements, as the engine reads so much of one and no more."""
    some: list[str] = []
    for condition in conditions:
        if some and sum(map(len, some)) + len(condition) > LONGEST_CONDITION:
            yield some
            some = []
        some.append(condition)
    if some:
        yield some


def _delete(table: str, ids: list[int]) -> str:
    """Give the statement that deletes the rows of some erasures from a table.

    Each row goes if it is from before the last of these erasures: a moment that is past for all of them.
    """
    names = {column.name for column in BY_NAME[table].row_columns}
    taken = "least(time, ingest_time)" if "ingest_time" in names else "time"
    these = f"erasures WHERE id IN ({', '.join(map(str, ids))})"
    clauses = [
        f"(campaign, {kind}) IN (SELECT campaign, {kind} FROM {these} AND {kind} != '')"  # noqa: S608 - our own names
        for kind in ("visitor", "user_id")
        if kind in names
    ]
    for column, about in _HASHED.items():
        if column in names:
            hashes = f"SELECT campaign, cityHash64({about}) FROM {these} AND {about} != ''"  # noqa: S608 - our own names
            clauses.append(f"(campaign, {column}) IN ({hashes})")
    if table == "first_visitors":
        visitors = f"SELECT campaign, visitor FROM {these} AND visitor != ''"  # noqa: S608 - our own names
        clauses.append(f"(campaign, first.visitor) IN ({visitors})")
    if table == "dead_letters":
        # A payload that could not be understood may name the visitor all the same.
        who = "groupArray((toString(campaign), if(visitor = '', user_id, visitor)))"
        needles = f"(SELECT {who} FROM {these})"  # noqa: S608 - our own names
        clauses.append(f"arrayExists(each -> campaign = each.1 AND position(payload, each.2) > 0, {needles})")
    until = f"(SELECT max(requested_at) FROM {these})"  # noqa: S608 - numbers
    return f"ALTER TABLE {table} DELETE WHERE {taken} <= {until} AND ({' OR '.join(clauses)})"
