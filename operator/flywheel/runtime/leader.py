"""Which of the replicas may write: the one that holds the Lease, and only for as long as it has provably held it.

All replicas watch and keep their stores warm; a standby only lacks the permission to write. Three things differ from
the usual elector:

- Time is measured by a clock that goes on while the process is stopped, and the permission is asked for as the bytes of
  each write leave. A process that was frozen past its time finds out before it writes anything.
- An unreachable API server is no loss: nobody else can take the Lease then either. Writing is suspended until the Lease
  can be renewed, and only a Lease that another has taken ends the process.
- A standby waits for the full duration as measured by its own clock since it last saw the Lease change; the two
  machines' wall clocks are never compared.
"""

import asyncio
import logging
import random
from collections.abc import Callable

from flywheel.kube.errors import ApiError, NotLeader
from flywheel.kube.leases import LeaseFile, LeaseRecord
from flywheel.runtime.clock import Clock

log = logging.getLogger(__name__)

MARGIN = 0.1
"""The share of the Lease's duration that is left unused, for bytes that are already on their way."""
RENEWALS = 7.5
"""How often the Lease is renewed within its duration: every 2 s of 15."""


class LeaseLost(Exception):  # noqa: N818 - it is a fact about this process, not a fault
    """Another replica holds the Lease. This process must end, as what it began may be continued elsewhere."""


class Leadership:
    """Permission to write. This class always grants it: an operator without leader election."""

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return True

    @property
    def elsewhere(self) -> str | None:
        """Where the replica that leads is reached; empty where that is not known, None where it is this one."""
        return None

    def fence(self) -> None:
        """Let a write pass, or raise `NotLeader`."""

    async def wait(self) -> None:
        """Wait until this process may write."""

    async def run(self) -> None:
        """Keep the permission for as long as possible.

        Raises:
            LeaseLost: When another replica has it.
        """
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Give it up."""


class LeaseElection(Leadership):
    """Permission by a Lease."""

    def __init__(self, lease: LeaseFile, identity: str, clock: Clock, *, duration: int = 15) -> None:
        """Stand for election.

        Args:
            lease: The Lease; reached by a gateway without a fence and with connections of its own.
            identity: Unique for this run of this process.
            clock: Where the time comes from.
            duration: Seconds for which a renewal holds.
        """
        self._lease = lease
        self._identity = identity
        self._clock = clock
        self._duration = duration
        self.on_change: Callable[[bool], None] | None = None
        """Told when the permission comes, and when it goes."""
        self._random = random.Random()  # noqa: S311 - spreads retries, protects nothing
        self._held: LeaseRecord | None = None
        self._valid_until = float("-inf")
        self._seen: LeaseRecord | None = None
        self._seen_at = 0.0
        self._leading = asyncio.Event()
        self._told = False
        self._in_trouble = False

    @property
    def leading(self) -> bool:
        """Whether this process may write now."""
        return self._clock.elapsed() < self._valid_until

    @property
    def elsewhere(self) -> str | None:
        """Where the replica that leads is reached; empty where that is not known, None where it is this one."""
        if self.leading:
            return None
        return self._seen.address if self._seen is not None and self._seen.holder else ""

    def fence(self) -> None:
        """Let a write pass while the Lease is ours.

        Raises:
            NotLeader: When it is not, or may not be any more.
        """
        if not self.leading:
            raise NotLeader(f"This replica does not hold {self._lease}.")

    async def wait(self) -> None:
        """Wait until this process may write."""
        while not self.leading:
            self._leading.clear()
            await self._leading.wait()

    async def run(self) -> None:
        """Stand for election, and once elected renew the Lease.

        Raises:
            LeaseLost: When another replica has taken it from us.
        """
        pause = self._duration / RENEWALS
        while True:
            await self.turn()
            await asyncio.sleep(pause * self._random.uniform(0.9, 1.1))

    async def turn(self) -> None:
        """Try once to take the Lease, or to renew it.

        Raises:
            LeaseLost: When another replica has taken it from us.
        """
        try:
            # Longer than this and the next attempt would come too late as well.
            async with asyncio.timeout(self._duration / 3):
                await self._renew() if self._held is not None else await self._try_to_take()
            self._in_trouble = False
        except (ApiError, TimeoutError) as error:
            level = logging.DEBUG if self._in_trouble else logging.WARNING
            self._in_trouble = True
            log.log(level, "%s is tried again, as it could not be reached: %s", self._lease, str(error) or "no answer")
        self._note_suspension()

    async def _try_to_take(self) -> None:
        record = await self._lease.read()
        now = self._clock.elapsed()
        if record != self._seen:
            first, self._seen, self._seen_at = self._seen is None, record, now
            if first and record is not None and record.holder:
                log.info("%s is held by %s: standing by.", self._lease, record.holder)
        if record is not None and record.holder and now - self._seen_at < record.duration:
            return
        await self._write(record)

    async def _renew(self) -> None:
        try:
            await self._write(self._held)
        except ApiError as error:
            if not (error.is_conflict or error.is_not_found):
                raise
            await self._look_who_wrote()

    async def _look_who_wrote(self) -> None:
        """Somebody else has written to our Lease, or our own last write arrived though its answer did not."""
        record = await self._lease.read()
        if record is None or record.holder == self._identity:
            await self._write(record)
            return
        self._stop()
        raise LeaseLost(f"{self._lease} has been taken by {record.holder or 'nobody, but was released by hand'}.")

    async def _write(self, previous: LeaseRecord | None) -> None:
        # Counted from before the write: however long its answer takes, nobody saw it earlier.
        began = self._clock.elapsed()
        try:
            record = await self._lease.take(self._identity, self._duration, previous, self._clock.now())
        except ApiError as error:
            if self._held is None and error.is_conflict:
                return
            raise
        self._held = record
        lapsed = not self.leading
        self._valid_until = began + self._duration * (1 - MARGIN)
        if lapsed and self.leading:
            # Told even where nobody noticed the lapse: what was refused meanwhile must be done now.
            log.info("This replica holds %s: it leads.", self._lease)
            self._leading.set()
            self._tell(leading=True)

    def _note_suspension(self) -> None:
        if self._told and not self.leading:
            log.warning("%s could not be renewed in time: no writes until it is.", self._lease)
            self._tell(leading=False)

    def _stop(self) -> None:
        self._valid_until = float("-inf")
        self._held = None
        if self._told:
            self._tell(leading=False)

    def _tell(self, *, leading: bool) -> None:
        self._told = leading
        if self.on_change is not None:
            self.on_change(leading)

    async def release(self) -> None:
        """Give the Lease up, so that a standby takes over at once. Call it when no more writes are under way."""
        held = self._held
        self._stop()
        if held is None:
            return
        try:
            async with asyncio.timeout(self._duration / 3):
                await self._lease.release(held, self._clock.now())
        except (ApiError, TimeoutError) as error:
            log.warning(
                "%s could not be released, so who comes next waits for up to %d s: %s",
                self._lease,
                self._duration,
                str(error) or "no answer",
            )
        else:
            log.info("%s is released.", self._lease)
