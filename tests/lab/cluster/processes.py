"""Processes that outlive the program that started them: recorded so that a later one finds the same process again."""

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tests.lab.cluster import cgroups
from tools.bootstrap.steps import REPOSITORY

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
        # A child of this very program would stay as a zombie.
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)


def spawn(command: Sequence[str], log: Path, cgroup: str, descriptors: Sequence[int] = ()) -> Process:
    """Start `command` in the cgroup trees `cgroup`, to go on when this program has ended."""
    # A third of what the API server does on a small machine is to look for memory that is free: GOGC asks for it less
    # often, and costs a few hundred megabytes.
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1", "GOGC": "300"}
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            cwd=log.parent,
            env=environment,
            pass_fds=descriptors,
            preexec_fn=lambda: cgroups.enter(cgroup),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    started = Process.of(process.pid)
    # Python would complain that nobody waited for it; `kill` does, when the process was started by the same program.
    process.returncode = 0
    return started


def _start_time(pid: int) -> int | None:
    """Return the clock ticks since boot at which `pid` started, None when it has ended (a zombie has)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])
