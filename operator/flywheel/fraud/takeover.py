"""Brings a worker from the keys that it has to those that it is to have, while events go on coming.

One that begins, or that stays when others go, takes keys over: it asks each worker that has had them, goes through its
own journal with what it gets, and has them once nothing is missing any more. One that others take keys from waits until
they have them. Whoever is killed meanwhile begins again: nobody lets go of keys before they are on the other's volume.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from flywheel.fraud.judging import Full, Judging
from flywheel.fraud.moving import Moved, Taken, exhaust, have_met, read_moved, sources, takers
from flywheel.fraud.peers import Layout, Peers, Unanswered
from flywheel.fraud.records import Labelled, Lists, Pardoned, Record, Rules, Snapshot, read_record
from flywheel.fraud.rulings import Shard

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds between two questions to a worker."""
MEETING = 30.0
"""Seconds for which events that some have seen and others not are waited for: a buffer may have lost them."""
LOOK = 0.2
"""Seconds between two looks whether they are there."""
AT_ONCE = 8 << 20
"""Bytes of the journal that are read at once."""
LABELS = 1_000
"""Labels in one record."""


class TakeOver:
    """The change of one worker's keys; it is done once for each process, at the beginning."""

    def __init__(
        self,
        judging: Judging,
        peers: Peers,
        wanted: tuple[int, int],
        directory: Path,
        on_change: Callable[[str], None],
        *,
        seconds: float,
    ) -> None:
        """Look what there is to do. The journal has been read.

        Args:
            judging: Has the keys.
            peers: The other workers.
            wanted: The worker's shard, and of how many it is to be one.
            directory: Where keys lie while they are taken over.
            on_change: Told the campaigns whose decisions have changed.
            seconds: For which workers are asked that do not answer.
        """
        self._judging, self._peers, self._on_change, self._seconds = judging, peers, on_change, seconds
        self._path = directory / "taken.part"
        self._number, self._of = wanted
        before = judging.casebook.shard.of
        self._begins = before == 0
        self.missing: tuple[int, ...] = sources(self._number, before, self._of)
        """Workers whose keys have not come; once the change is done, those whose keys are lost."""
        self._takers = takers(self._number, before, self._of)
        self.is_going = self._number < self._of and (bool(self.missing) or self._begins)
        self._taken: dict[int, Taken] = {}
        self._read: dict[int, int] = {}

    def layout(self) -> Layout:
        """Say how this worker shares the keys."""
        shard = self._judging.casebook.shard
        return Layout(shard.number, shard.of, self.is_going)

    @property
    def complaint(self) -> str | None:
        """Why nobody can be told yet what holds; None where that is known, as the own keys are here."""
        if not (self.is_going and self._begins):
            return None
        return f"The worker takes keys over from {', '.join(map(str, self.missing)) or 'others'}."

    async def run(self) -> None:
        """Do what there is to do.

        Raises:
            JournalBroken: The journal cannot be read.
        """
        if self.is_going:
            log.info("Keys are taken over from the workers %s.", self.missing)
            self._judging.holds_journal = True
            try:
                await self._take_over()
            finally:
                self._judging.holds_journal = False
        elif self._takers:
            await self._wait_for_takers()

    async def _take_over(self) -> None:
        deadline, said = time.monotonic() + self._seconds, dict[int, str]()
        while self.missing:
            for number in self.missing:
                try:
                    await self._ask(number)
                except (Unanswered, OSError, ValueError, Full) as error:
                    if said.get(number) != str(error):
                        said[number] = str(error)
                        log.info("The keys of worker %d have not come yet: %s", number, said[number])
            if not self.missing or time.monotonic() > deadline:
                break
            await asyncio.sleep(PAUSE)
        if self.missing:
            log.error(
                "The workers %s have not given their keys within %g s. Their windows are lost, and all are warming.",
                self.missing, self._seconds,
            )  # fmt: skip
        patience = time.monotonic() + MEETING
        while True:
            if await self._met(patient=time.monotonic() < patience):
                break
            await asyncio.sleep(LOOK)
        await self._keep()
        self.is_going = False
        log.info("The keys of shard %d of %d are here.", self._number, self._of)

    async def _ask(self, number: int) -> None:
        """Get the keys of one worker.

        Raises:
            Unanswered: It does not give them, or not yet.
            OSError: The disk does not take them.
            ValueError: They cannot be read.
            Full: Too much waits to be judged.
        """
        try:
            if await self._peers.moved(number, self._number, self._of, self._path):
                sent = await asyncio.to_thread(lambda: read_moved(self._path.read_bytes()))
                if self._begins:
                    await self._learn(sent.part)
                await self._begin(number, sent)
        finally:
            self._path.unlink(missing_ok=True)
        self.missing = tuple(each for each in self.missing if each != number)

    async def _learn(self, part: Snapshot) -> None:
        """Take over what is not about keys; records that stand in the journal already change nothing."""
        book = self._judging.casebook
        if part.rules != b"{}" and not book.generation:
            await self._judging.submit(Rules(part.rules))
        if part.lists and not book.lists:
            await self._judging.submit(Lists(tuple(each.of for each in part.lists), part.lists))
        for record in _said(part):
            await self._judging.submit(record)

    async def _begin(self, number: int, sent: Moved) -> None:
        # A record that is being judged right now is taken in once more, which changes nothing of rules or lists.
        taken = Taken(self._judging.casebook, sent, self._number, self._of, self._judging.judged)
        await asyncio.to_thread(taken.restore)
        self._taken[number], self._read[number] = taken, 0

    async def _met(self, *, patient: bool) -> bool:
        """Make the keys our own if nothing is missing, or nobody waits for it any more; tell whether they are."""
        await self._catch_up()
        judging, others = self._judging, [each.book for each in self._taken.values()]
        shard = Shard(self._number, self._of, judging.casebook.shard.secret)
        async with judging.standstill():
            await self._catch_up()
            if patient and not await asyncio.to_thread(have_met, judging.casebook, [*self._taken.values()]):
                return False
            complete = not self.missing
            await asyncio.to_thread(lambda: judging.casebook.take_over(others, shard, complete=complete))
            changed = judging.casebook.take_decisions(others)
        self._taken.clear()
        for campaign in changed:
            self._on_change(campaign)
        return True

    async def _catch_up(self) -> None:
        """Go through what has been judged with the keys that were sent."""
        for number, taken in self._taken.items():
            while records := await self._judging.read(self._read[number], AT_ONCE):
                await asyncio.to_thread(_apply, taken, records)
                self._read[number] = records[-1][0] + 1

    async def _wait_for_takers(self) -> None:
        waited = list(self._takers)
        while waited:
            for number in list(waited):
                try:
                    told = await self._peers.layout(number)
                except Unanswered:
                    continue
                if told.shards == self._of and not told.taking_over:
                    waited.remove(number)
            if waited:
                await asyncio.sleep(PAUSE)
        book = self._judging.casebook
        async with self._judging.standstill():
            shard = Shard(self._number, self._of, book.shard.secret)
            await asyncio.to_thread(book.use_shard, shard)
        await self._keep()
        log.info("The keys that have moved to the workers %s are theirs.", self._takers)

    async def _keep(self) -> None:
        """Write a snapshot: from then on no end of this process brings back what was before."""
        while True:
            try:
                await self._judging.take_snapshot()
            except OSError as error:
                log.error("The keys that were taken over cannot be written down: %s", error)  # noqa: TRY400
                await asyncio.sleep(PAUSE)
            else:
                return


def _apply(taken: Taken, records: Iterable[tuple[int, bytes]]) -> None:
    for position, data in records:
        exhaust(taken.apply(position, read_record(data)))


def _said(part: Snapshot) -> list[Record]:
    """Give what people have said at a worker as records."""
    found = list[Record]()
    for campaign, state in part.campaigns.items():
        starts = range(0, len(state.labels), LABELS)
        found += [Labelled(campaign, state.labels[start : start + LABELS]) for start in starts]
        found += [Pardoned(campaign, pardon, 0) for pardon in state.pardons]
    return found
