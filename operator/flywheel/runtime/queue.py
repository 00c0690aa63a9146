"""Which campaign is to be looked at next: each once, by one worker at a time, at the right moment."""

import asyncio
import heapq
import random
from collections.abc import Hashable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from flywheel.runtime.clock import Clock

Key = TypeVar("Key", bound=Hashable)

FIRST_RETRY = 0.2
LONGEST_RETRY = 300.0
LONGEST_SLEEP = 1.0
"""Seconds after which the clocks are read again while something waits: the wall clock may have been set meanwhile."""


class KeyedQueue(Generic[Key]):
    """A set of keys to work on, with wake-ups. Every method returns at once but `take`.

    A key that is added while a worker has it comes again when that worker is done. A wake-up by the wall clock holds
    until the key is taken the next time: whoever works on it says anew when to wake.
    """

    def __init__(self, clock: Clock, random_: random.Random | None = None, *, resync: float | None = 600.0) -> None:
        """Make an empty queue.

        Args:
            clock: Where the time comes from.
            random_: For the jitter.
            resync: Seconds after which a key that was worked on comes again, give or take a tenth; None for never.
        """
        self._clock = clock
        self._random = random_ or random.Random()  # noqa: S311 - spreads work, protects nothing
        self._resync = resync
        self._ready: dict[Key, float] = {}
        self._working: dict[Key, float | None] = {}
        self._failures: dict[Key, int] = {}
        self._later: dict[Key, float] = {}
        self._later_heap: list[tuple[float, int, Key]] = []
        self._at: dict[Key, datetime] = {}
        self._at_heap: list[tuple[datetime, int, Key]] = []
        self._sequence = 0
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """How many keys wait for a worker now."""
        return len(self._ready)

    @property
    def working(self) -> int:
        """How many keys are with a worker now."""
        return len(self._working)

    @property
    def oldest(self) -> float:
        """Seconds for which the first in line has waited for a worker; 0 if nothing waits."""
        return self._clock.elapsed() - next(iter(self._ready.values())) if self._ready else 0.0

    def add(self, key: Key) -> None:
        """Ask for a key to be worked on now, or again once the worker that has it is done."""
        if key in self._working:
            if self._working[key] is None:
                self._working[key] = self._clock.elapsed()
        elif key not in self._ready:
            self._later.pop(key, None)
            self._ready[key] = self._clock.elapsed()
        self._changed.set()

    def add_at(self, key: Key, moment: datetime) -> None:
        """Ask for a key to be worked on at a wall-clock moment (aware), however the clock gets there."""
        if key not in self._at or moment < self._at[key]:
            self._at[key] = moment
            self._sequence += 1
            heapq.heappush(self._at_heap, (moment, self._sequence, key))
            self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Ask for a key to be worked on after some seconds, unless it is sooner anyway."""
        due = self._clock.elapsed() + seconds
        if key not in self._ready and (key not in self._later or due < self._later[key]):
            self._later[key] = due
            self._sequence += 1
            heapq.heappush(self._later_heap, (due, self._sequence, key))
            self._changed.set()

    async def take(self) -> Key:
        """Wait for a key and hand it to the caller, who must end with `succeed`, `fail` or `drop`."""
        while True:
            self._changed.clear()
            key = self.take_now()
            if key is not None:
                if self._ready:
                    # One wake-up may have been for several keys; another worker goes on.
                    self._changed.set()
                return key
            try:
                async with asyncio.timeout(self.next_due()):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def take_now(self) -> Key | None:
        """Hand over the first key in line; None if there is none."""
        self._promote()
        for key in self._ready:
            del self._ready[key]
            self._working[key] = None
            self._at.pop(key, None)
            return key
        return None

    def next_due(self) -> float | None:
        """Seconds to sleep until it is worth looking again; None if nothing is waiting for the time."""
        waits = [LONGEST_SLEEP] if self._at or self._later else []
        if self._at_heap:
            waits.append((self._at_heap[0][0] - self._clock.now()) / timedelta(seconds=1))
        if self._later_heap:
            waits.append(self._later_heap[0][0] - self._clock.elapsed())
        return max(0.0, min(waits)) if waits else None

    def succeed(self, key: Key, wake_at: datetime | None = None) -> None:
        """Give a key back. It comes again at `wake_at`, at the resync, or when it is added."""
        self._failures.pop(key, None)
        self._release(key)
        if wake_at is not None:
            self.add_at(key, wake_at)
        if self._resync is not None:
            self.add_after(key, self._resync * self._random.uniform(0.9, 1.1))

    def fail(self, key: Key, retry_after: float | None = None) -> float:
        """Give a key back that failed. It comes again after a while, longer each time; give the seconds."""
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        backoff = min(LONGEST_RETRY, FIRST_RETRY * 2.0 ** min(failures - 1, 20)) * self._random.uniform(0.75, 1.25)
        wait = max(min(backoff, LONGEST_RETRY), retry_after or 0.0)
        self._release(key)
        self.add_after(key, wait)
        return wait

    def drop(self, key: Key) -> None:
        """Give a key back of which there is nothing left. It comes again only if it is added."""
        self._failures.pop(key, None)
        self._later.pop(key, None)
        self._at.pop(key, None)
        self._release(key)

    def _release(self, key: Key) -> None:
        asked_again = self._working.pop(key)
        if asked_again is not None and key not in self._ready:
            self._ready[key] = asked_again
            self._changed.set()

    def _promote(self) -> None:
        now, elapsed = self._clock.now(), self._clock.elapsed()
        while self._at_heap and (self._at_heap[0][0] <= now or self._is_stale_at()):
            moment, _, key = heapq.heappop(self._at_heap)
            if self._at.get(key) == moment:
                del self._at[key]
                self.add(key)
        while self._later_heap and (self._later_heap[0][0] <= elapsed or self._is_stale_later()):
            due, _, key = heapq.heappop(self._later_heap)
            if self._later.get(key) == due:
                del self._later[key]
                self.add(key)

    def _is_stale_at(self) -> bool:
        moment, _, key = self._at_heap[0]
        return self._at.get(key) != moment

    def _is_stale_later(self) -> bool:
        due, _, key = self._later_heap[0]
        return self._later.get(key) != due
