"""The volume of a worker: one process at a time, and files that only it may read."""

import asyncio
import contextlib
import fcntl
import os
import time
from pathlib import Path

from flywheel.durable import write_durably

LOCK_TIMEOUT = 15.0
"""Seconds to wait for a predecessor: its engine ends a moment after it was killed."""
_RETRY = 0.1


class VolumeBusy(Exception):  # noqa: N818 - a state
    """Another worker has the volume."""


async def lock(directory: Path, owner: str, *, seconds: float = LOCK_TIMEOUT) -> int:
    """Take the volume; give the file that holds the lock, for as long as it is open in any process.

    Raises:
        VolumeBusy: Another worker has it and does not let go; the message says which.
        OSError: The directory cannot be written.
    """
    handle = await asyncio.to_thread(_open, directory)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() < deadline:
                await asyncio.sleep(_RETRY)
                continue
            holder = os.pread(handle, 200, 0).decode(errors="replace").strip() or "of which no name is known"
            os.close(handle)
            raise VolumeBusy(
                f"The volume {directory} belongs to another worker ({holder}). One worker only may use it: stop the "
                "other one, or give this one a volume of its own."
            ) from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{owner}, process {os.getpid()}\n".encode(), 0)
        return handle


def claim(directory: Path, owner: str) -> int:
    """Take a spool at once, for one owner for ever; give the file that holds the lock, for as long as it is open.

    Raises:
        VolumeBusy: Another process has it, or it holds rows of another owner; the message says which.
        OSError: The directory cannot be written.
    """
    handle = _open(directory)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise VolumeBusy(f"{directory} belongs to another sidecar that runs: stop it first.") from None
    known = os.pread(handle, 1000, 0).decode(errors="replace").strip()
    if known not in ("", owner):
        os.close(handle)
        raise VolumeBusy(
            f"{directory} holds what {known} has not delivered; with {owner} it would be counted there. Give each its "
            "own directory, or empty this one."
        )
    if not known:
        # A full disk must not keep a pod from starting.
        with contextlib.suppress(OSError):
            os.pwrite(handle, owner.encode(), 0)
    return handle


def _open(directory: Path) -> int:
    directory.mkdir(parents=True, exist_ok=True)
    return os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all, and on the disk when this returns."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_durably(path, text.encode())
