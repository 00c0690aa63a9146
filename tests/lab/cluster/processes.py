"""Processes that outlive the program that started them: recorded so that a later one finds the same process again."""

import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EXIT_SECONDS = 10


@dataclass(frozen=True)
class Process:
    """A process id with the moment the process started; the id alone may have been given to another since."""

    pid: int
    started: int

    @classmethod
    def of(cls, pid: int) -> "Process":
        """Identify the running process `pid`.

        Raises:
            ProcessLookupError: there is none.
        """
        started = _start_time(pid)
        if started is None:
            raise ProcessLookupError(f"process {pid} has ended")
        return cls(pid, started)

    def runs(self) -> bool:
        """Return whether the very same process is still there."""
        return _start_time(self.pid) == self.started

    def kill(self) -> None:
        """End the process at once and wait until it is gone.

        Raises:
            TimeoutError: it is still there after ten seconds.
        """
        if self.runs():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        deadline = time.monotonic() + EXIT_SECONDS
        while self.runs():
            if time.monotonic() > deadline:
                raise TimeoutError(f"process {self.pid} does not end although it was killed")
            time.sleep(0.01)


def _start_time(pid: int) -> int | None:
    """Return the clock ticks since boot at which `pid` started, None when it has ended (a zombie has)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
