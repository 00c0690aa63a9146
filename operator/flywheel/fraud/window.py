"""The owner of one window's memory: lays it out, writes it out and reads it back."""

import numpy as np

from flywheel.fraud import layout
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.kernels import adopt, enter_all, keep, lacking
from flywheel.fraud.memory import Memory


class Window:
    """The keys of one condition and what is kept of them."""

    def __init__(
        self, kind: int, *, window: int, kept: int, limit: int, lateness: int, maximum: int, refuses: bool
    ) -> None:
        self.row, words = layout.plan(kind, kept, maximum)
        self.memory = Memory(words, used=int(self.row[layout.RECORDS]))
        self.row[layout.WINDOW], self.row[layout.LIMIT], self.row[layout.LATENESS] = window, limit, lateness
        self.row[layout.REFUSES] = int(refuses)
        self.born = 0
        """Time from which on everything has been seen; 0 before the first event."""

    @property
    def keys(self) -> int:
        """How many keys are kept."""
        return int(self.row[layout.KEYS])

    def counters(self) -> tuple[int, int, int]:
        """Give how many keys were evicted, how many events refused, and how often there was no wider ring."""
        return int(self.row[layout.EVICTED]), int(self.row[layout.REFUSED]), int(self.row[layout.TRUNCATED])

    @property
    def hashes(self) -> Numbers:
        """The key of each record; 0 of a free one."""
        start, size = int(self.row[layout.RECORDS]), int(self.row[layout.HIGH]) * layout.RECORD
        return self.memory.words[start + layout.HASH : start + size : layout.RECORD]

    def adopt(self, other: "Window", chosen: Flags) -> None:
        """Take records of a window of the same shape over, those that are chosen by their places."""
        adopt(self.memory.words, self.row, other.memory.words, other.row, chosen)

    def keep(self, chosen: Flags) -> None:
        """Forget all records but those that are chosen by their places."""
        keep(self.memory.words, self.row, chosen)

    def lacks(self, other: "Window", after: int) -> bool:
        """Say whether another window has keys that are newer than a moment and not in this one."""
        return lacking(self.memory.words, self.row, other.memory.words, other.row, after) > 0

    def dump(self) -> list[bytes]:
        """Write everything that changes: a few numbers, the records, and the rings of each size."""
        numbers = [self.born, *self.row[list(layout.CHANGING)]]
        for at in self._ring_rows():
            numbers += [self.row[at + layout.R_HIGH], self.row[at + layout.R_FREE]]
        words = self.memory.words
        stretches = [words[start : start + size].tobytes() for start, size in self._stretches()]
        return [np.array(numbers, np.int64).tobytes(), *stretches]

    def load(self, parts: list[bytes]) -> None:
        """Read what `dump` of a window of the same shape has written into this one, which is empty.

        Raises:
            ValueError: It does not fit.
        """
        numbers = np.frombuffer(parts[0], np.int64)
        changing, rings = len(layout.CHANGING), self._ring_rows()
        if len(numbers) != 1 + changing + 2 * len(rings):
            raise ValueError("a window in the snapshot has another shape")
        self.born = int(numbers[0])
        self.row[list(layout.CHANGING)] = numbers[1 : 1 + changing]
        for at, (high, free) in zip(rings, numbers[1 + changing :].reshape(-1, 2), strict=True):
            self.row[at + layout.R_HIGH], self.row[at + layout.R_FREE] = high, free
        stretches = self._stretches()
        if [len(part) for part in parts[1:]] != [size * 8 for _, size in stretches]:
            raise ValueError("a window in the snapshot is cut off")
        for (start, size), part in zip(stretches, parts[1:], strict=True):
            self.memory.words[start : start + size] = np.frombuffer(part, np.int64)
        enter_all(self.memory.words, self.row)

    def _ring_rows(self) -> list[int]:
        return [layout.RINGS + layout.RING_WORDS * i for i in range(int(self.row[layout.SIZES]))]

    def _stretches(self) -> list[tuple[int, int]]:
        """Give offset and words of what has been used of the records, and of the rings of each size."""
        found = [(int(self.row[layout.RECORDS]), int(self.row[layout.HIGH]) * layout.RECORD)]
        stride = layout.STRIDES[int(self.row[layout.KIND])]
        for at in self._ring_rows():
            used = int(self.row[at + layout.R_HIGH] * self.row[at + layout.R_ENTRIES]) * stride
            found.append((int(self.row[at + layout.R_OFFSET]), used))
        return found
