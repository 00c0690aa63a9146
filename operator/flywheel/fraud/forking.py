"""Work on a copy of this process: it sees everything as it was at one moment, and holds nobody up.

Meant for what only reads memory and writes files: threads of this process are not in the copy.
"""

import asyncio
import contextlib
import gc
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

CHILD_NICENESS = 5
DONE, FAILED = 0, 1


def fork(work: Callable[[], object]) -> int:
    """Do work in a copy of this process; give its process id at once.

    Raises:
        OSError: There is no room for another process.
    """
    child = os.fork()
    if child:
        return child
    status = FAILED
    try:
        # What is told to the copy is no business of the original's loop, whose ears it shares.
        signal.set_wakeup_fd(-1)
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        _close_sockets()
        gc.disable()
        os.nice(CHILD_NICENESS)
        work()
        status = DONE
    finally:
        # Neither exceptions nor handlers of the end: they are the original's.
        os._exit(status)


def _close_sockets() -> None:
    """Let go of connections and ports: else they would outlive the original where that is killed."""
    for handle in [int(each.name) for each in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError):
            if stat.S_ISSOCK(os.fstat(handle).st_mode):
                os.close(handle)


async def finished(child: int) -> bool:
    """Wait for a copy's end; tell whether it has done its work."""
    _, status = await asyncio.to_thread(os.waitpid, child, 0)
    return os.waitstatus_to_exitcode(status) == DONE
