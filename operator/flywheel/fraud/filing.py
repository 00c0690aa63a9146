"""Brings verdicts to the archive beside what goes on, and asks it. Judging never waits for any of it."""

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from flywheel.fraud.archive import Archive, Version
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.erasing import Erasure, People
from flywheel.fraud.proof import Evidence
from flywheel.fraud.verdicts import Kept

log = logging.getLogger(__name__)

BATCH = 2_000
PAUSE = 0.2
"""Seconds between two looks for verdicts: those of a moment are written together."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 30.0
"""Seconds of waiting for a disk that takes nothing, doubled each time."""
FORGET = 600.0
"""Seconds between two looks for what has ended."""
RECKON = 10.0
"""Seconds between two looks at labels: each look reads all of a campaign's."""
_T = TypeVar("_T")


class Filing:
    """The one who writes the archive, and reads it for others."""

    def __init__(self, casebook: Casebook, archive: Archive, clock: Callable[[], float] = time.time) -> None:
        self._casebook, self._archive, self._clock = casebook, archive, clock
        self._thread = ThreadPoolExecutor(1, "archive")
        self._turn = asyncio.Lock()
        """Held by whoever takes from the queue."""
        self.filed = 0
        self.failures = 0
        """Writes and reads that the disk did not do."""
        self.evicted = 0
        """Verdicts that went before their time, for want of room."""
        self.evidence: dict[str, dict[Version, Evidence]] = {}
        """What labels say, by campaign."""
        self._reckoned: dict[str, tuple[object, ...]] = {}

    def relieve(self) -> None:
        """Make room at once, by whoever replays the journal. What the disk does not take stays in the queue."""
        waiting = self._casebook.unfiled.next(BATCH)
        try:
            self._archive.file(waiting)
        except sqlite3.Error as error:
            self._complain(error)
        else:
            self._casebook.unfiled.done(len(waiting))
            self.filed += len(waiting)

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._file())
            group.create_task(self._forget())
            group.create_task(self._reckon())

    async def ask(self, question: Callable[[Archive], _T]) -> _T:
        """Ask the archive, in its thread.

        Raises:
            sqlite3.Error: It cannot be read.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, question, self._archive)

    async def close(self) -> None:
        """File what waits, as far as the disk takes it, and end."""
        while self._casebook.unfiled and await self._file_some():
            pass
        await self.ask(Archive.close)
        self._thread.shutdown()

    async def _file(self) -> None:
        wait = FIRST_WAIT
        while True:
            if await self._file_some():
                wait = FIRST_WAIT
                # A full batch: there is more.
                await asyncio.sleep(0 if len(self._casebook.unfiled) >= BATCH else PAUSE)
            else:
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)

    async def _file_some(self) -> bool:
        async with self._turn:
            waiting = self._casebook.unfiled.next(BATCH)
            if not waiting:
                return True
            try:
                await self.ask(lambda archive: archive.file(waiting))
            except sqlite3.Error as error:
                self._complain(error)
                return False
            self._casebook.unfiled.done(len(waiting))
            self.filed += len(waiting)
            return True

    async def sent_by(self, campaign: str, erasure: Erasure, events: set[str]) -> set[str]:
        """Give those of some events that people have sent who are to be erased.

        Raises:
            sqlite3.Error: The archive cannot be read.
        """
        people = People(erasure)
        async with self._turn:
            waiting = self._casebook.unfiled.dump()
            found = await self.ask(lambda archive: archive.sent_by(campaign, erasure, events))
        meant = (each for each in waiting if each.campaign == campaign and each.event in events)
        return found.union(each.event for each in meant if people.are_in(each))

    async def erase(self, campaign: str, erasure: Erasure) -> int:
        """Delete the verdicts about people, those on their way included; give how many the archive had.

        Raises:
            sqlite3.Error: The disk does not take that.
        """
        desk, people = self._casebook.desk(campaign), People(erasure)

        def is_meant(each: Kept) -> bool:
            return each.campaign == campaign and each.at <= erasure.at and people.are_in(each)

        async with self._turn:
            self._casebook.unfiled.drop(is_meant)
            gone = await self.ask(lambda archive: archive.erase(campaign, erasure, desk.key_of))
        self._reckoned.pop(campaign, None)
        return gone

    async def _forget(self) -> None:
        while True:
            now = int(self._clock() * 1000)
            for desk in self._casebook.desks.values():
                # A worker that replays an older journal meets them again, and forgets them again.
                desk.labels.forget(now - desk.keeping.keep_for)
            try:
                gone = await self.ask(partial(Archive.forget, now=now))
            except sqlite3.Error as error:
                self._complain(error)
            else:
                self.evicted += gone
                if gone:
                    log.warning("%d verdicts went before their time: the archive is full.", gone)
            await asyncio.sleep(FORGET)

    async def _reckon(self) -> None:
        while True:
            await self.reckon_all()
            await asyncio.sleep(RECKON)

    async def reckon_all(self) -> None:
        """Reckon what labels say of all rules, where anything has changed and the disk lets us."""
        for name in list(self._casebook.desks):
            try:
                await self.reckon(name)
            except sqlite3.Error as error:
                self._complain(error)

    async def reckon(self, campaign: str) -> None:
        """Reckon what labels say of the rules of a campaign, where anything has changed.

        Raises:
            sqlite3.Error: The archive cannot be read.
        """
        desk = self._casebook.desk(campaign)
        versions = [Version(each.rule, each.version) for each in desk.engine.figures()]
        state = (desk.labels.version, desk.verdicts, *versions, len(self._casebook.unfiled))
        if self._reckoned.get(campaign) == state:
            return
        labels = desk.labels.dump()
        self.evidence[campaign] = await self.ask(lambda archive: archive.evidence(campaign, versions, labels))
        self._reckoned[campaign] = state

    def _complain(self, error: sqlite3.Error) -> None:
        self.failures += 1
        log.error("The archive of verdicts does not work: %s", error)


def evidence_of(filing: Filing, campaign: str, rule: str, version: str) -> Evidence:
    """Give what labels say of one version of a rule, as it was reckoned last."""
    return filing.evidence.get(campaign, {}).get(Version(rule, version), Evidence())
