"""The event store: rows in, each once; queries out. The same on chDB and on ClickHouse."""

import asyncio
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence

from flywheel.events import commit, derived
from flywheel.events.commit import Delivery, Outcome
from flywheel.events.engine import Engine, EngineDown, EngineError, Limits, Parameters, StoreError
from flywheel.events.schema import CREATE_VERSION, DELIVERED, OLDEST, TABLES, VERSION, add_statements, create_statements
from flywheel.events.sift import BadRow, dead_letters, sift
from flywheel.events.statement_guard import check

log = logging.getLogger(__name__)

DEAD_LETTER_DAYS = 7
"""How long rows are kept that the store itself refused."""
COMMIT_SECONDS = 60.0
REPEATED_READS = 200
"""Rows of one delivery that may be unreadable for the engine alone before all of it is refused."""


class Unreadable(Exception):  # noqa: N818 - of a delivery
    """No row of a delivery can be read. The text says why."""


class Store:
    """Tables in one engine. All methods may raise `EngineDown`: nothing was acknowledged, try again later."""

    def __init__(self, engine: Engine, *, owner: str = "", fsync: bool = True) -> None:
        """Make a store.

        Args:
            engine: Where the tables are.
            owner: Name of this worker, for people.
            fsync: Have acknowledged rows survive a power cut as well; chDB only.
        """
        self.engine = engine
        self._owner = owner
        self._fsync = fsync and not engine.shared
        self._writing = asyncio.Lock()
        self._commit = 0
        self._latest = 0
        self._epoch: int | None = None
        self._generation = -1
        self._unsettled: set[str] = set()
        self.has_erasures = False

    async def start(self) -> None:
        """Start the engine, make or check the tables, and make whole what an earlier worker left.

        Raises:
            StoreError: The tables cannot be used by this version.
        """
        await self.engine.start(self._prepare)

    async def close(self) -> None:
        """End the engine after what is under way."""
        async with self._writing:
            await self.engine.close()

    def complaint(self) -> str | None:
        """Say why the store cannot be used at present, or None."""
        return self.engine.complaint()

    async def _prepare(self) -> None:
        async with self._writing:
            self._generation = self.engine.generation
            await self._migrate()
            if self.engine.shared and self._epoch is None:
                self._epoch = await self._claim()
            numbers = [
                await self._number(commit.last_commit(table.name))
                for table in TABLES
                if any(column.name == "commit" for column in table.columns)
            ]
            self._commit = max([self._commit, *numbers])
            self._latest = max(
                self._latest, await self._number("SELECT toUnixTimestamp(max(seen_at)) AS last FROM seen")
            )
            self._unsettled = set(DELIVERED)
            for table in DELIVERED:
                await self._settle(table)
            self.has_erasures = await self._number("SELECT count() AS last FROM erasures") > 0
            await self._tell_of_damage()

    async def _tell_of_damage(self) -> None:
        for row in await self._step(
            "SELECT table, count() AS parts FROM system.detached_parts WHERE database = currentDatabase() "
            "AND startsWith(reason, 'broken') GROUP BY table"
        ):
            log.error(
                "%s parts of the table %s are damaged and were set aside, with the rows in them: see its folder "
                "`detached` on the volume. The disk may be failing; restore a copy if the rows matter.",
                row["parts"],
                row["table"],
            )

    async def _migrate(self) -> None:
        await self._step(CREATE_VERSION)
        found = await self._number("SELECT max(version) AS last FROM schema_version")
        if found > VERSION:
            raise StoreError(
                f"The tables of this store have version {found}, and this worker knows {VERSION}: a newer one has used "
                "it. Run that version, or restore a copy from before."
            )
        if 0 < found < OLDEST:
            raise StoreError(
                f"The tables of this store have version {found}, from before the first release, and this worker knows "
                f"{OLDEST} to {VERSION}. Give it an empty volume or database; the version that made the tables exports "
                "them."
            )
        await self._make_tables()
        if found < VERSION:
            for each in derived.ALL:
                await self._derive_again(each, 0)
            await self._step(
                "INSERT INTO schema_version SELECT {version:UInt32}, {now:Int64}",
                {"version": VERSION, "now": int(time.time())},
            )

    async def _make_tables(self) -> None:
        for statement in create_statements(fsync=self._fsync):
            await self._step(statement)
        columns = await self._step("SELECT table, name FROM system.columns WHERE database = currentDatabase()")
        for statement in add_statements({(str(row["table"]), str(row["name"])) for row in columns}):
            await self._step(statement)

    async def _derive_again(self, each: derived.Derived, since: int) -> None:
        for row in await self._step(derived.days_since(each, since)):
            await self._step(derived.from_stored(each, since, str(row["day"])))

    async def _claim(self) -> int:
        epoch = await self._number("SELECT max(epoch) AS last FROM writers") + 1
        await self._step(
            "INSERT INTO writers SELECT {epoch:UInt64}, {owner:String}, {now:Int64}",
            {"epoch": epoch, "owner": self._owner, "now": _now()},
        )
        return epoch

    async def _number(self, sql: str) -> int:
        rows = await self._step(sql)
        return int(str(rows[0]["last"])) if rows else 0

    async def _step(self, statement: str, parameters: Parameters | None = None) -> list[dict[str, object]]:
        """Carry out one statement on the very engine that we have prepared."""
        if self.engine.generation != self._generation:
            raise EngineDown("The engine was started anew in the middle of a commit; nothing of it counts.")
        return await self.engine.run(statement, parameters, seconds=COMMIT_SECONDS)

    async def _settle(self, table: str) -> None:
        if table in self._unsettled:
            # Of all commits before the last one everything is there: each begins with this.
            last = await self._number(commit.last_commit(table))
            for each in derived.of(table):
                await self._derive_again(each, last)
            await self._step(commit.reconcile(table, self._seen_at()))
            self._unsettled.discard(table)

    async def ingest(self, table: str, deliveries: Sequence[Delivery]) -> list[Outcome | Unreadable]:
        """Store rows, each once. When this returns, they survive the death of any process.

        Raises:
            EngineDown: Nothing is known of these rows: they have to be sent again.
            EngineError: So does this, such as with a full disk.
            StoreError: Another worker has taken over.
        """
        async with self._writing:
            self._require_engine()
            try:
                return list(await self._commit_all(table, deliveries))
            except EngineError as error:
                if not error.is_about_data:
                    raise
                log.info("A commit into %s holds rows that cannot be read and is sifted: %s", table, error)
            return [await self._commit_sifted(table, delivery) for delivery in deliveries]

    def _require_engine(self) -> None:
        if complaint := self.engine.complaint():
            raise EngineDown(complaint)

    async def _commit_sifted(self, table: str, delivery: Delivery) -> Outcome | Unreadable:
        good, bad = await asyncio.to_thread(sift, table, delivery)
        try:
            if good.count:
                try:
                    [outcome] = await self._commit_all(table, [good])
                except EngineError as error:
                    if not error.is_about_data:
                        raise
                    good, worse = await self._halve(table, good)
                    bad += worse
                    [outcome] = await self._commit_all(table, [good]) if good.count else [Outcome()]
            else:
                outcome = Outcome()
        except Unreadable as error:
            return error
        if not good.count and bad:
            return Unreadable(f"None of the {len(bad)} rows can be read; the first one: {bad[0].why}")
        await self._bury(delivery.campaign, bad)
        if bad:
            outcome.refuse("unreadable_row", len(bad))
        return outcome

    async def _halve(self, table: str, delivery: Delivery) -> tuple[Delivery, list[BadRow]]:
        """Find the rows that we can read and the engine cannot, by halves."""
        good: list[bytes] = []
        bad: list[BadRow] = []
        heaps = [delivery.rows.splitlines(keepends=True)]
        while heaps:
            heap = heaps.pop()
            try:
                await self._arrive(table, [Delivery(delivery.campaign, b"".join(heap), len(heap))])
                good += heap
            except EngineError as error:
                if not error.is_about_data:
                    raise
                if len(heap) == 1:
                    bad.append(BadRow(heap[0], error.message))
                    if len(bad) > REPEATED_READS:
                        raise Unreadable(f"More than {REPEATED_READS} rows cannot be read: {error.message}") from error
                else:
                    middle = len(heap) // 2
                    heaps += [heap[middle:], heap[:middle]]
        return Delivery(delivery.campaign, b"".join(good), len(good)), bad

    async def _arrive(self, table: str, deliveries: Sequence[Delivery]) -> list[int]:
        """Bring rows into memory of the engine; give the secret numbers of the deliveries."""
        for statement in commit.clear(table):
            await self._step(statement)
        parts = [secrets.randbits(62) + 1 for _ in deliveries]
        rows = b"".join(commit.addressed(delivery, part) for delivery, part in zip(deliveries, parts, strict=True))
        if self.engine.generation != self._generation:
            raise EngineDown("The engine was started anew in the middle of a commit; nothing of it counts.")
        await self.engine.insert(f"arriving_{table}", rows, seconds=COMMIT_SECONDS)
        return parts

    async def _commit_all(self, table: str, deliveries: Sequence[Delivery]) -> list[Outcome]:
        if not all(commit.is_orderly(delivery.rows) for delivery in deliveries):
            raise EngineError(117, "Not every line begins with an object.")
        await self._settle(table)
        parts = await self._arrive(table, deliveries)
        await self._step(commit.judge(table, parts, erasures=self.has_erasures))
        verdicts: dict[int, dict[str, int]] = {}
        for row in await self._step(commit.tally(table)):
            verdicts.setdefault(int(str(row["part"])), {})[str(row["verdict"])] = int(str(row["rows"]))
        outcomes = [
            _outcome(verdicts.get(part, {}), delivery.count) for part, delivery in zip(parts, deliveries, strict=True)
        ]
        if any(outcome.stored for outcome in outcomes):
            await self._write(table)
        if table != "dead_letters" and any(commit.INVALID in outcome.reasons for outcome in outcomes):
            now = _now()
            await self._step(
                commit.keep_invalid(table, self._next(), now, now // 1000 + DEAD_LETTER_DAYS * 86400, self._epoch)
            )
        for statement in commit.clear(table):
            await self._step(statement)
        return outcomes

    async def _write(self, table: str) -> None:
        # From here to the end of `remember` the tables may differ, whatever happens to us.
        self._unsettled.add(table)
        number = self._next()
        await self._step(commit.store(table, number, self._epoch))
        await self._check_epoch()
        for each in derived.of(table):
            await self._step(derived.from_judged(each))
        await self._step(commit.remember(table, number, self._seen_at()))
        self._unsettled.discard(table)

    async def _check_epoch(self) -> None:
        if self._epoch is None:
            return
        newest = await self._number("SELECT max(epoch) AS last FROM writers")
        if newest != self._epoch:
            raise StoreError("Another worker has opened this store since and writes to it now; this one stops.")

    def _seen_at(self) -> int:
        """Give the moment for what is seen now. It never goes back: a clock that does must not let ids expire early."""
        self._latest = max(self._latest, int(time.time()))
        return self._latest

    def _next(self) -> int:
        self._commit += 1
        return self._commit

    async def _bury(self, campaign: str, bad: Sequence[BadRow]) -> None:
        if bad:
            rows = dead_letters(bad, _now(), DEAD_LETTER_DAYS * 86400)
            await self._commit_all("dead_letters", [Delivery(campaign, rows, len(bad))])

    async def run(self, statement: str, parameters: Parameters | None = None) -> list[dict[str, object]]:
        """Carry out a statement of our own that changes something, between two commits."""
        async with self._writing:
            self._require_engine()
            return await self._step(statement, parameters)

    async def query(
        self, sql: str, parameters: Parameters | None = None, limits: Limits | None = None
    ) -> list[dict[str, object]]:
        """Answer a query of our own with its rows. It can change nothing, and ends at its limits.

        Raises:
            EngineError: The query is wrong or took too much.
        """
        from flywheel.events.chdb_engine import rows_of

        self._require_engine()
        return rows_of(await self.engine.query(sql, parameters, limits or Limits(), "JSONEachRow"))

    async def answer(self, sql: str, limits: Limits, output_format: str) -> bytes:
        """Answer a query that a person wrote.

        Raises:
            flywheel.events.statement_guard.Refused: It is not one that may be asked.
            EngineError: It is wrong or took too much.
        """
        checked = check(sql)
        self._require_engine()
        return await self.engine.query(checked, None, limits, output_format)

    def stream(self, sql: str, parameters: Parameters, limits: Limits, output_format: str) -> AsyncIterator[bytes]:
        """Answer a query of our own piece by piece."""
        self._require_engine()
        return self.engine.stream(sql, parameters, limits, output_format)


def _outcome(verdicts: dict[str, int], count: int) -> Outcome:
    outcome = Outcome(stored=verdicts.get(commit.STORED, 0), duplicates=verdicts.get(commit.DUPLICATE, 0))
    for reason in (commit.INVALID, commit.ERASED):
        if found := verdicts.get(reason):
            outcome.refuse(reason, found)
    if (rest := count - sum(verdicts.values())) > 0:
        outcome.refuse(commit.FOREIGN, rest)
    return outcome


def _now() -> int:
    return time.time_ns() // 1_000_000
