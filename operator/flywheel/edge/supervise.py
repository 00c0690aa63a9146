"""Tasks of one process that must not take each other down: one that fails is started again, ever more slowly."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

log = logging.getLogger(__name__)

PAUSE = 0.2
LONGEST_PAUSE = 10.0
MOST_FAILURES = 8
"""In a row; after that the process as a whole is started anew by the kubelet."""
STEADY = 60.0
"""Seconds of work after which earlier failures are forgotten."""


class Supervisor:
    """Runs tasks until they return or the process ends."""

    def __init__(self, *, most_failures: int = MOST_FAILURES, pause: float = PAUSE) -> None:
        self._most_failures, self._pause = most_failures, pause
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.given_up = asyncio.Event()
        self.reason: str | None = None
        """Which task could not be revived, and why."""

    def start(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `work`, and again whenever it fails."""
        task = asyncio.create_task(self._run(name, work), name=name)
        self._tasks[name] = task
        return task

    async def stop(self, *names: str) -> None:
        """Cancel tasks, all without names, and wait for their end."""
        chosen = [self._tasks.pop(name) for name in names or list(self._tasks) if name in self._tasks]
        for task in chosen:
            task.cancel()
        await asyncio.gather(*chosen, return_exceptions=True)

    async def _run(self, name: str, work: Callable[[], Awaitable[None]]) -> None:
        failures = 0
        while True:
            began = time.monotonic()
            try:
                await work()
            except Exception as error:
                failures = 1 if time.monotonic() - began > STEADY else failures + 1
                log.exception("The %s failed, and is started again.", name)
                if failures >= self._most_failures:
                    self.reason = f"the {name} failed {failures} times in a row: {error}"
                    self.given_up.set()
                    return
                await asyncio.sleep(min(LONGEST_PAUSE, self._pause * 2.0**failures))
            else:
                return
