"""Delivery of the spool to the store: oldest first, again and again until the store has it.

Each table has its own loop and one batch on its way. A batch keeps its id over retries and restarts; the store knows
by it, and by the message ids of its rows, what it has already.
"""

import asyncio
import contextlib
import gzip
import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import msgspec

from flywheel.events.erasures import ErasedRows
from flywheel.events.meters import Meters
from flywheel.events.segments import Batch
from flywheel.events.spool import TABLES, Spool, Table

log = logging.getLogger(__name__)

LINGER = 1.0
"""Seconds for which rows gather before they go, so that the store gets few large batches."""
TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0
LONGEST_LAST_PAUSE = 2.0
"""Seconds between tries when the process is about to end."""
PATIENCE = 30.0
"""Seconds of failure before it is called a trouble."""
ASK_ERASURES = 5.0
ASK_SALT = 3.0
_MOST_ANSWER = 1 << 20
_LEVEL = 1
OK, UNAUTHORISED, FORBIDDEN, BAD, TOO_LARGE = 200, 401, 403, 400, 413


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store said."""

    status: int
    """0 where it did not answer."""
    text: str = ""
    retry_after: float = 0.0

    @property
    def reason(self) -> str:
        """One word for the counter."""
        named = {0: "unreachable", 400: "unreadable", 401: "unauthorised", 403: "forbidden", 413: "too_large"}
        named |= {429: "busy", 503: "unavailable"}
        return named.get(self.status, "error")


class Delivery:
    """Brings rows to the store, and fetches from there what this pod has to know."""

    def __init__(
        self,
        spool: Spool,
        meters: Meters,
        token_file: Path,
        sender: str,
        store: Callable[[], str | None],
        on_salt: Callable[[bytes], None] = lambda _: None,
        erased: ErasedRows | None = None,
        *,
        linger: float = LINGER,
        pause: float = FIRST_PAUSE,
    ) -> None:
        """Make a delivery.

        Args:
            spool: What is to be delivered.
            meters: Where it is counted.
            token_file: The token that proves who this is; read anew for every call, as the kubelet renews it.
            sender: Name of this pod, the first part of the ids of its batches.
            store: Gives the address of the store; None while it is not known.
            on_salt: Told the campaign's salt when the store has said it.
            erased: Told of visitors whose rows go.
            linger: Seconds for which rows gather.
            pause: Seconds before the first retry.
        """
        self._spool, self._meters, self._token_file, self._sender = spool, meters, token_file, sender
        self._store, self._on_salt, self._erased = store, on_salt, erased
        self._linger, self._pause = linger, pause
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._session: aiohttp.ClientSession | None = None
        self._hurry = asyncio.Event()
        self._failing_since: float | None = None
        self._last_failure = ""

    def trouble(self) -> str | None:
        """Say why the store gets nothing; None while it does, or has not failed for long."""
        if self._failing_since is None or time.monotonic() - self._failing_since < PATIENCE:
            return None
        return self._last_failure

    async def run(self) -> None:
        """Deliver until `flush` was called and nothing is left."""
        async with aiohttp.ClientSession(timeout=TIMEOUT, auto_decompress=True) as self._session:
            helpers = [asyncio.create_task(self._fetch_salt()), asyncio.create_task(self._fetch_erasures())]
            try:
                async with asyncio.TaskGroup() as group:
                    for table in TABLES:
                        group.create_task(self._deliver(table), name=f"deliver {table}")
            finally:
                for each in helpers:
                    each.cancel()
                await asyncio.gather(*helpers, return_exceptions=True)

    def flush(self) -> None:
        """Let nothing gather any more; end when all is delivered."""
        self._hurry.set()

    async def _deliver(self, table: Table) -> None:
        failures = 0
        while True:
            if not await self._has_rows(table):
                return
            try:
                batch = await self._spool.next_batch(table)
            except OSError as error:
                log.error("The spool cannot be read: %s", error)  # noqa: TRY400
                failures += 1
                await self._wait(failures, 0.0)
                continue
            if batch is None:
                self._spool.appended[table].clear()
                continue
            answer = await self._send(batch)
            if answer.status == OK:
                failures = 0
                self._worked()
                self._meters.delivered.add((table,), batch.rows)
                self._note_refused(batch, answer)
                await self._spool.commit(batch)
            elif await self._is_hopeless(batch, answer):
                failures = 0
            else:
                failures += 1
                self._note(answer)
                await self._wait(failures, answer.retry_after)

    async def _has_rows(self, table: Table) -> bool:
        """Wait for rows, and for more of them; say no when there are none and none will come."""
        appended = self._spool.appended[table]
        while not self._hurry.is_set():
            if appended.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._linger)
                return True
            waits = [asyncio.ensure_future(appended.wait()), asyncio.ensure_future(self._hurry.wait())]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        return not self._spool.is_empty(table)

    async def _is_hopeless(self, batch: Batch, answer: Answer) -> bool:
        """Deal with a batch that no retry will bring in: halve one that is too large, set aside one that is broken."""
        if answer.status == TOO_LARGE and batch.rows > 1:
            self._meters.delivery_failures.add((answer.reason,))
            return await self._send_halves(batch)
        if answer.status in (BAD, TOO_LARGE):
            self._meters.delivery_failures.add((answer.reason,))
            log.error(
                "The store cannot read %d rows of %s; they are set aside: %s", batch.rows, batch.table, answer.text
            )
            await self._spool.set_aside(batch)
            return True
        return False

    async def _send_halves(self, batch: Batch) -> bool:
        """Send a batch in ever smaller parts; tell whether the store has all that it takes of it."""
        lines = batch.lines.splitlines(keepends=True)
        size, answer = len(lines), Answer(TOO_LARGE)
        while answer.status == TOO_LARGE:
            size = (size + 1) // 2
            answer = await self._send_parts(batch, lines, size)
        if answer.status == OK:
            await self._spool.commit(batch)
        return answer.status == OK

    async def _send_parts(self, batch: Batch, lines: list[bytes], size: int) -> Answer:
        """Send a batch in parts of `size` rows, each under an id that is the same at every try."""
        taken = given_up = 0
        for start in range(0, len(lines), size):
            part = lines[start : start + size]
            made = replace(batch, id=f"{batch.id}-{start}-{size}", lines=b"".join(part), rows=len(part))
            answer = await self._send(made)
            if answer.status == OK:
                taken += len(part)
                self._note_refused(made, answer)
            elif answer.status == BAD or (answer.status == TOO_LARGE and size == 1):
                log.error("The store does not take %d rows of %s: %s", len(part), batch.table, answer.text)
                given_up += len(part)
            else:
                return answer
        self._meters.delivered.add((batch.table,), taken)
        if given_up:
            self._meters.dropped(batch.table, "rejected", given_up)
        return Answer(OK)

    async def _send(self, batch: Batch) -> Answer:
        store = self._store()
        if store is None:
            return Answer(0, "the edge's document is not known yet")
        body = await asyncio.to_thread(gzip.compress, batch.lines, _LEVEL, mtime=0)
        headers = {
            "Content-Type": "application/x-ndjson",
            "Content-Encoding": "gzip",
            "X-Flywheel-Batch": f"{self._sender}-{batch.table}-{batch.id}",
        }
        return await self._call("POST", f"{store}/v1/ingest/{batch.table}", headers, body)

    async def _call(self, method: str, url: str, headers: dict[str, str] | None = None, body: bytes = b"") -> Answer:
        session = self._session
        if session is None:
            raise RuntimeError("The delivery does not run.")
        try:
            token = (await asyncio.to_thread(self._token_file.read_text, "utf-8")).strip()
            sent = {**(headers or {}), "Authorization": f"Bearer {token}"}
            async with session.request(method, url, data=body or None, headers=sent, allow_redirects=False) as response:
                text = (await response.content.read(_MOST_ANSWER)).decode("utf-8", "replace")
                return Answer(response.status, text, _seconds(response.headers.get("Retry-After")))
        except OSError as error:
            return Answer(0, f"{type(error).__name__}: {error}")
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            return Answer(0, f"{type(error).__name__}: {error}"[:300])

    def _note(self, answer: Answer) -> None:
        self._meters.delivery_failures.add((answer.reason,))
        said = f"HTTP {answer.status}: {answer.text[:300]}" if answer.status else answer.text
        self._last_failure = f"The event store takes no rows; they are kept in the pod and tried again. It says: {said}"
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            log.warning("%s", self._last_failure)

    def _worked(self) -> None:
        if self._failing_since is not None:
            log.info("The event store takes rows again, after %.0f s.", time.monotonic() - self._failing_since)
            self._failing_since = None

    def _note_refused(self, batch: Batch, answer: Answer) -> None:
        """Tell of rows that the store has read and does not keep, of erased visitors or too old; it counts them."""
        said = _decoded(answer.text)
        refused = said.get("refused") if said else None
        if isinstance(refused, int) and refused > 0:
            log.warning("The store refused %d rows of %s: %s", refused, batch.table, answer.text[:300])

    async def _wait(self, failures: int, retry_after: float) -> None:
        """Leave the store in peace for a while; a shorter one when the process is about to end."""
        longest = min(LONGEST_PAUSE, self._pause * 2.0 ** min(failures - 1, 10))
        pause = min(LONGEST_PAUSE, max(self._random.uniform(longest / 2, longest), retry_after))
        if not self._hurry.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), pause)
            return
        await asyncio.sleep(min(pause, LONGEST_LAST_PAUSE))

    async def _fetch_salt(self) -> None:
        while True:
            answer = await self._ask("/v1/salt")
            salt = (answer or {}).get("salt")
            if isinstance(salt, str):
                with contextlib.suppress(ValueError):
                    self._on_salt(bytes.fromhex(salt))
                    return
            await asyncio.sleep(self._random.uniform(ASK_SALT / 2, ASK_SALT))

    async def _fetch_erasures(self) -> None:
        while self._erased is not None:
            answer = await self._ask(f"/v1/erasures?since={self._erased.since}")
            if answer is not None:
                try:
                    await self._erased.apply(answer.get("erasures"), self._spool)
                except OSError as error:
                    log.error("Rows of an erased visitor are still in the spool: %s", error)  # noqa: TRY400
            await asyncio.sleep(self._random.uniform(ASK_ERASURES / 2, ASK_ERASURES))

    async def _ask(self, path: str) -> dict[str, object] | None:
        store = self._store()
        if store is None:
            return None
        answer = await self._call("GET", f"{store}{path}")
        return _decoded(answer.text) if answer.status == OK else None


def _decoded(text: str) -> dict[str, object] | None:
    try:
        found = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return None
    return found if isinstance(found, dict) else None


def _seconds(header: str | None) -> float:
    """Read Retry-After; the form with a date is not used between our own."""
    try:
        return max(0.0, float(header or 0))
    except ValueError:
        return 0.0
