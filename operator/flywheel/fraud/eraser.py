"""Erases people from a worker's volume: asked for once, carried out whatever happens meanwhile.

The order is what makes it survive a kill at any instruction. First a record says who it is, and what holds in memory
goes; then verdicts go from the archive, and the archive is written anew; then a record says that the names are needed
no more. Two snapshots follow, at different positions and before which a segment of the journal began: after the second
one no snapshot and no segment is left that names anybody. Whoever starts in between does all of it again, since what
is replayed may bring verdicts back.
"""

import asyncio
import logging
import sqlite3

import msgspec

from flywheel.fraud.desk import Desk
from flywheel.fraud.erasing import Erasure
from flywheel.fraud.filing import Filing
from flywheel.fraud.judging import Full, Judging
from flywheel.fraud.records import Erased, ErasureStep

log = logging.getLogger(__name__)

RETRY = 5.0
"""Seconds until a disk that takes nothing is tried again."""


class Eraser:
    """The one who carries erasures out."""

    def __init__(self, judging: Judging, filing: Filing) -> None:
        self._judging, self._filing = judging, filing
        self._wake = asyncio.Event()

    async def ask(self, campaign: str, erasure: Erasure) -> None:
        """Write a request down; it is carried out from now on.

        Raises:
            Full: There is no room.
            OSError: The journal could not be written.
        """
        await self._judging.submit(Erased(campaign, erasure))
        self._wake.set()

    async def run(self) -> None:
        """Carry out requests until cancelled, those of earlier processes first."""
        while True:
            # Before the look: whoever asks during the work is seen by the next one.
            self._wake.clear()
            try:
                await self.work()
            except (Full, OSError, sqlite3.Error) as error:
                log.error("An erasure could not be carried out and is tried again: %s", error)  # noqa: TRY400
                await asyncio.sleep(RETRY)
                continue
            await self._wake.wait()

    async def work(self) -> None:
        """Carry out all that is asked for now.

        Raises:
            Full: Too much waits to be judged.
            OSError: The disk does not take it.
            sqlite3.Error: The same.
        """
        desks = list(self._judging.casebook.desks.values())
        again = [(desk, receipt) for desk in desks for receipt in desk.erasures.again]
        steps = {(desk.campaign, each.receipt) for desk in desks for each in desk.erasures.unfinished()}
        if not again and not steps:
            return
        for desk, receipt in again:
            await self._from_the_archive(desk, receipt)
        await self._filing.ask(lambda archive: archive.rewrite())
        for step in sorted(steps):
            await self._judging.submit(ErasureStep(*step))
        await self._judging.begin_anew()
        # A snapshot at the same position would be the same one, and the older of two would still name them.
        for step in sorted(steps):
            await self._judging.submit(ErasureStep(*step))
        await self._judging.begin_anew()
        for step in sorted(steps):
            await self._judging.submit(ErasureStep(*step, gone=True))
        for desk, receipt in again:
            desk.erasures.again.pop(receipt, None)
        log.info("%d erasures are carried out.", len(steps))

    async def _from_the_archive(self, desk: Desk, receipt: str) -> None:
        erasure = desk.erasures.again[receipt]
        theirs = await self._filing.sent_by(desk.campaign, erasure, desk.named_events())
        if not theirs <= set(erasure.events):
            # Before their verdicts go: nothing else tells whose events they are.
            erasure = msgspec.structs.replace(erasure, events=tuple(sorted(theirs.union(erasure.events))))
            await self._judging.submit(Erased(desk.campaign, erasure))
        count = await self._filing.erase(desk.campaign, erasure)
        log.info("Erasure %s of %s took %d verdicts.", receipt, desk.campaign, count)
