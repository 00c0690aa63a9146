"""Memory of one window: asked for at once, taken from the machine page by page as it is used. Needs the extra `fraud`.

So nothing is ever moved when a window grows: there is no pause to grow in.
"""

import mmap

import numpy as np

from flywheel.fraud.compiled import Numbers

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
CLEARED = 4 << 20
"""Bytes given back to the machine in one go: a few hundred microseconds."""


class Memory:
    """Some zeros."""

    def __init__(self, words: int) -> None:
        """Ask for so many words of eight bytes.

        Raises:
            OSError: There are not that many addresses.
        """
        self._bytes = -(-words * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self._bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        self.words: Numbers = np.frombuffer(self._map, np.int64)

    def shrink(self) -> bool:
        """Give a part of it back, the last one first; say whether there is more."""
        start = max(0, self._bytes - CLEARED)
        if start < self._bytes:
            self._map.madvise(mmap.MADV_DONTNEED, start, self._bytes - start)
        self._bytes = start
        return start > 0
