"""One stretch of memory for all windows: asked for at once, taken from the machine page by page as it is used.

So nothing is ever moved when windows grow: there is no pause to grow in.
"""

import mmap

import numpy as np

from flywheel.fraud.compiled import Numbers

RESERVED = 1 << 40
"""Bytes of addresses, not of memory."""
NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0x4000)
PAGE = mmap.PAGESIZE // 8
CLEARED = 1 << 20
"""Words given back to the machine in one go: a few hundred microseconds."""


class Arena:
    """Gives stretches of zeros out, and takes them back."""

    def __init__(self, reserved: int = RESERVED) -> None:
        self._map = mmap.mmap(-1, reserved, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE)
        self.words: Numbers = np.frombuffer(self._map, np.int64)
        self._end = 0
        self._free: list[tuple[int, int]] = []
        self._dirty: list[tuple[int, int]] = []

    def take(self, words: int) -> int:
        """Give the offset of so many zeros.

        Raises:
            MemoryError: There are not that many addresses left.
        """
        words = -(-words // PAGE) * PAGE
        for i, (start, size) in enumerate(self._free):
            if size >= words:
                self._free[i : i + 1] = [(start + words, size - words)] if size > words else []
                return start
        if self._end + words > len(self.words):
            raise MemoryError(f"{words * 8} bytes for a window are more than what is left of {len(self.words) * 8}")
        self._end += words
        return self._end - words

    def give(self, start: int, words: int) -> None:
        """Take a stretch back. It is cleared bit by bit, by `clear`."""
        self._dirty.append((start, -(-words // PAGE) * PAGE))

    def clear(self) -> None:
        """Give a part of what was taken back to the machine."""
        if not self._dirty:
            return
        start, words = self._dirty.pop()
        part = min(words, CLEARED)
        self._map.madvise(mmap.MADV_DONTNEED, start * 8, part * 8)
        self._free.append((start, part))
        if words > part:
            self._dirty.append((start + part, words - part))
