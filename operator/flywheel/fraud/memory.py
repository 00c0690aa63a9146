"""Memory of one window: asked for at once, taken from the machine page by page as it is used. Needs the extra `fraud`.

So nothing is ever moved when a window grows: there is no pause to grow in.
"""

import contextlib
import mmap

import numpy as np

from flywheel.fraud.compiled import Numbers

NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
POPULATE_WRITE = 23
"""What Linux calls MADV_POPULATE_WRITE, from 5.14 on."""
TAKEN_AT_ONCE = 16 << 20
"""Bytes."""
CLEARED = 4 << 20
"""Bytes given back to the machine in one go: a few hundred microseconds."""


class Memory:
    """Some zeros."""

    def __init__(self, words: int, used: int) -> None:
        """Ask for so many words of eight bytes.

        Args:
            words: How many.
            used: How many of them, from the first on, are used here and there soon. Their pages are taken from the
                machine now, as far as that is a matter of milliseconds: one by one they would hold many events up.

        Raises:
            OSError: There are not that many addresses.
        """
        self._bytes = -(-words * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        self._map = mmap.mmap(-1, self._bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        self.words: Numbers = np.frombuffer(self._map, np.int64)
        with contextlib.suppress(OSError):
            # Who looks here and there finds the place of a large page sooner. All of it is used: none is wasted.
            self._map.madvise(mmap.MADV_HUGEPAGE, 0, used * 8 // mmap.PAGESIZE * mmap.PAGESIZE)
        with contextlib.suppress(OSError):
            soon = min(used * 8, TAKEN_AT_ONCE) // mmap.PAGESIZE * mmap.PAGESIZE
            self._map.madvise(POPULATE_WRITE, 0, soon)

    def shrink(self) -> bool:
        """Give a part of it back, the last one first; say whether there is more."""
        start = max(0, self._bytes - CLEARED)
        if start < self._bytes:
            self._map.madvise(mmap.MADV_DONTNEED, start, self._bytes - start)
        self._bytes = start
        return start > 0
