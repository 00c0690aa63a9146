"""Files that are on the disk when their writer says so: whole or as they were before, also after a power cut."""

import os
from pathlib import Path

UNFINISHED = ".new"
"""Ends the name under which a file is written. One that is found was not finished, and is worth nothing."""


def write_durably(path: Path, *parts: bytes) -> None:
    """Replace a file, which only we may read, by what these parts are together.

    Raises:
        OSError: It could not be written; the file is as it was.
    """
    temporary = path.with_name(path.name + UNFINISHED)
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)
    temporary.replace(path)
    sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Have the disk keep which files a directory has.

    Raises:
        OSError: It does not.
    """
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
