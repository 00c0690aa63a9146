"""Events from a sidecar to the fraud workers, at once and without ever holding up those who send them.

What ingestion has taken in is noted in a bounded buffer, from which each worker gets it in its order. A worker that is
away or slow loses the oldest: what matters is who attacks now. A batch keeps its number over retries, so that a worker
counts it once. Nothing is written down here: the store has the events, the client's address is in none of its rows
unless the campaign wants it there.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path

import aiohttp

from flywheel.events.meters import Counter
from flywheel.events.rows import EventRow
from flywheel.fraud import naming
from flywheel.fraud.packing import Noted, Packing

log = logging.getLogger(__name__)

LINGER = 0.002
"""Seconds for which events gather."""
BATCH = 200
"""Events that go at once, without waiting for more."""
MOST_BATCH = 2_000
"""Events of one batch where more have gathered while the one before was on its way."""
ROOM = 20_000
"""Events that wait for a worker at most."""
TIMEOUT = aiohttp.ClientTimeout(total=10, connect=2)
FIRST_PAUSE, LONGEST_PAUSE = 0.05, 2.0
PATIENCE = 30.0
"""Seconds of failure before it is called a trouble."""
TOKEN_FOR = 30.0
"""Seconds after which the token is read anew, as the kubelet renews it."""
OK, BAD, TOO_LARGE = 200, 400, 413


class Meters:
    """What is counted, as the sidecar's other counters; see `flywheel.events.meters`."""

    def __init__(self) -> None:
        shard = ("worker",)
        self.sent = Counter("flywheel_fraud_events_sent_total", "Events that a fraud worker has taken.", shard)
        self.dropped = Counter(
            "flywheel_fraud_events_dropped_total", "Events that a fraud worker never gets.", (*shard, "reason")
        )
        self.failures = Counter(
            "flywheel_fraud_send_failures_total", "Batches that a fraud worker did not take.", shard
        )
        self.waiting = Counter("flywheel_fraud_events_waiting", "Events that wait.", shard, gauge=True)
        self.connected = Counter(
            "flywheel_fraud_connected", "1 while a fraud worker tells of its decisions.", shard, gauge=True
        )
        self.decisions = Counter("flywheel_fraud_edge_decisions", "Decisions that this pod carries out.", gauge=True)
        self.sources = [each for each in vars(self).values() if isinstance(each, Counter)]


class Token:
    """The pod's token, read now and then."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._text = ""
        self._read_at = float("-inf")

    async def headers(self) -> dict[str, str]:
        """Give the header that proves who sends.

        Raises:
            OSError: The token cannot be read.
        """
        if time.monotonic() - self._read_at > TOKEN_FOR:
            self._text = (await asyncio.to_thread(self._path.read_text, "utf-8")).strip()
            self._read_at = time.monotonic()
        return {"Authorization": f"Bearer {self._text}"}

    def forget(self) -> None:
        """Read it anew next time: somebody did not believe it."""
        self._read_at = float("-inf")


class Sending:
    """One worker's events."""

    def __init__(
        self,
        worker: str,
        pod: str,
        token: Token,
        session: aiohttp.ClientSession,
        meters: Meters,
        *,
        room: int = ROOM,
        packing: Packing | None = None,
    ) -> None:
        """Make it.

        Args:
            worker: Its address.
            pod: Name of this pod.
            token: Proves who sends.
            session: Carries what is sent.
            meters: Where it is counted.
            room: Events that wait at most.
            packing: Shared by those who send the same events; else nobody does.
        """
        self.worker = worker
        self.workers = 1
        """How many workers get the events that come now."""
        self._packing = packing or Packing()
        self._session, self._token, self._meters, self._room = session, token, meters, room
        # A process that starts anew begins with number 1 under another name.
        self._sender = f"{pod}-{secrets.token_hex(6)}"
        self._number = 0
        self._lost = 0
        """Events that went for want of room since the worker was last told."""
        self._waiting: deque[Noted] = deque()
        self._arrived, self._enough = asyncio.Event(), asyncio.Event()
        self._failing_since: float | None = None
        self._last_failure = ""
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing

    def note(self, rows: Sequence[EventRow], address: str) -> None:
        """Take events in that nobody else sends."""
        self.take(self._packing.note(rows, address, 1))

    def take(self, noted: Sequence[Noted]) -> None:
        """Take events in."""
        self._waiting.extend(noted)
        beyond = len(self._waiting) - self._room
        if beyond > 0:
            for _ in range(beyond):
                self._waiting.popleft()
            self._lost += beyond
            self._meters.dropped.add((self.worker, "full"), beyond)
        self._meters.waiting.values[(self.worker,)] = len(self._waiting)
        self._arrived.set()
        if len(self._waiting) >= BATCH:
            self._enough.set()

    def trouble(self) -> str | None:
        """Say why the worker gets nothing; None while it does, or has not failed for long."""
        if self._failing_since is None or time.monotonic() - self._failing_since < PATIENCE:
            return None
        return self._last_failure

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            await self._arrived.wait()
            if len(self._waiting) < BATCH:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), LINGER)
            taken = [self._waiting.popleft() for _ in range(min(MOST_BATCH, len(self._waiting)))]
            self._meters.waiting.values[(self.worker,)] = len(self._waiting)
            if not self._waiting:
                self._arrived.clear()
            if len(self._waiting) < BATCH:
                self._enough.clear()
            if taken:
                await self._deliver(taken)

    async def _deliver(self, noted: Sequence[Noted]) -> None:
        """Bring a batch to the worker, however often that has to be tried."""
        body, count, workers = self._packing.body(noted), len(noted), min(each.workers for each in noted)
        self._number += 1
        # A batch stays as it is over its tries: one of them may have been taken and its answer lost.
        pause, lost = FIRST_PAUSE, self._lost
        while True:
            status = await self._post(body, lost, workers)
            if status == OK:
                self._lost -= lost
                self._meters.sent.add((self.worker,), count)
                self._worked()
                return
            self._meters.failures.add((self.worker,))
            if status in (BAD, TOO_LARGE):
                self._lost += count
                self._meters.dropped.add((self.worker, "rejected"), count)
                log.error("%s cannot read %d events: %s", self.worker, count, self._last_failure)
                return
            await asyncio.sleep(self._random.uniform(pause / 2, pause))
            pause = min(LONGEST_PAUSE, pause * 2)

    async def _post(self, body: bytes, lost: int, workers: int) -> int:
        """Send a batch; give the status, 0 without an answer."""
        try:
            headers = {
                "Content-Type": "application/msgpack",
                "X-Flywheel-Batch": f"{self._sender}/{self._number}",
                "X-Flywheel-Lost": str(lost),
                # True of these and all that follow: by it a worker knows from where on another one has them itself.
                "X-Flywheel-Workers": str(min(workers, self.workers)),
                **await self._token.headers(),
            }
            url = self.worker + naming.EVENTS
            sent = self._session.post(url, data=body, headers=headers, timeout=TIMEOUT, allow_redirects=False)
            async with sent as response:
                said = (await response.content.read(65_536)).decode("utf-8", "replace")
                if response.status != OK:
                    self._note_failure(f"HTTP {response.status}: {said[:300]}")
                if response.status in (401, 403):
                    self._token.forget()
                return response.status
        except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
            self._note_failure(f"{type(error).__name__}: {error}"[:300])
            return 0

    def _note_failure(self, said: str) -> None:
        self._last_failure = f"The fraud worker {self.worker} takes no events. It says: {said}"
        if self._failing_since is None:
            self._failing_since = time.monotonic()
            log.warning("%s", self._last_failure)

    def _worked(self) -> None:
        if self._failing_since is not None:
            log.info("%s takes events again, after %.1f s.", self.worker, time.monotonic() - self._failing_since)
            self._failing_since = None
