"""The snapshots of a worker on its volume: whole or not there, and the last two are kept. All of it blocks."""

import re
import zlib
from pathlib import Path

from flywheel.durable import UNFINISHED, write_durably

KEPT = 2
"""The last may be damaged by a disk that loses what it has confirmed."""
SUFFIX = ".snapshot"
_NAME = re.compile(r"\d{20}")
_CHECKSUM = 4


class Snapshots:
    """The directory of them, by position of the journal."""

    def __init__(self, directory: Path) -> None:
        """Find what is there.

        Raises:
            OSError: The directory cannot be used.
        """
        self._directory = directory
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for unfinished in directory.glob(f"*{UNFINISHED}"):
            unfinished.unlink()

    def positions(self) -> list[int]:
        """Name the snapshots, the newest first."""
        found = (each.stem for each in self._directory.glob(f"*{SUFFIX}"))
        return sorted((int(each) for each in found if _NAME.fullmatch(each)), reverse=True)

    def read(self, position: int) -> bytes | None:
        """Read a snapshot; None where it is damaged.

        Raises:
            OSError: It cannot be read.
        """
        data = self._path(position).read_bytes()
        checksum, content = data[:_CHECKSUM], data[_CHECKSUM:]
        return content if checksum == zlib.crc32(content).to_bytes(_CHECKSUM, "little") else None

    def write(self, position: int, content: bytes) -> None:
        """Write a snapshot.

        Raises:
            OSError: It could not be written; those before it are as they were.
        """
        write_durably(self._path(position), zlib.crc32(content).to_bytes(_CHECKSUM, "little"), content)

    def forget(self) -> int:
        """Forget all but the last ones; give the position from which on the journal is needed.

        Raises:
            OSError: They cannot be removed.
        """
        kept = self.positions()
        for each in [*map(self._path, kept[KEPT:]), *self._directory.glob("*.new")]:
            each.unlink(missing_ok=True)
        return kept[:KEPT][-1] if kept else 0

    def _path(self, position: int) -> Path:
        return self._directory / f"{position:020d}{SUFFIX}"
