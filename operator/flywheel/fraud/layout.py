"""Where the windows of one condition lie in memory: numbers that the kernels and their owner share. Pure.

A window owns a table from hashes to keys, a record for each key, and rings for the entries of keys. Rings come in
sizes: a key starts with the smallest and moves to the next when it is full, so a key seen once costs
little.
"""

import numpy as np

COUNT, DISTINCT, SUM, CHANGES, IDS = range(5)
"""Kinds of windows. IDS remembers which events have been seen; it has no rings."""
STRIDES = {COUNT: 1, DISTINCT: 2, SUM: 2, CHANGES: 2, IDS: 0}
"""Words of one entry: its time, and the member or the value."""

# What is fixed of a window.
KIND, WINDOW, LIMIT, LATENESS, MAXIMUM, REFUSES, SIZES = range(7)
TABLE_BITS, RECORDS = 7, 8
"""The table is at the beginning. Offsets are in words."""
# What changes with each event.
KEYS, HIGH, FREE, HAND, EVICTED, REFUSED, TRUNCATED = range(10, 17)
CHANGING = (KEYS, HIGH, FREE, HAND, EVICTED, REFUSED, TRUNCATED)
RINGS = 20
"""From here on, six words for each size: offset, entries, most rings, used so far, first free one, unused."""
R_OFFSET, R_ENTRIES, R_MOST, R_HIGH, R_FREE = range(5)
RING_WORDS = 6
MOST_SIZES = 10
WORDS = RINGS + RING_WORDS * MOST_SIZES

# One record.
HASH, NEWEST, FILLED, FIRST, SIZE, RING, TOTAL, LOST = range(8)
"""LOST is the time of the newest entry that had to be left out; of a free record, the next free one."""
RECORD = 8

SWEPT = 1
"""Records looked at for each event, to forget those whose time is over: an event adds one at most."""
SAMPLED = 64
"""Records looked at to find the oldest, where there is room for no more."""
RING_BUDGET = 1 << 29
"""Words of all rings of one size, at most: 4 GiB, taken from the machine only as they are used."""


def sizes(entries: int) -> list[int]:
    """Give the sizes of rings up to the one that holds `entries`."""
    found, size = [], 4
    while size < entries:
        found.append(size)
        size *= 4
    return [*found, entries]


def plan(kind: int, entries: int, maximum: int) -> tuple[np.ndarray[tuple[int], np.dtype[np.int64]], int]:
    """Lay a window out; give its row and the words that it takes."""
    row = np.zeros(WORDS, np.int64)
    bits = max(4, (2 * maximum - 1).bit_length())
    row[KIND], row[MAXIMUM], row[FREE] = kind, maximum, -1
    row[TABLE_BITS] = bits
    at = row[RECORDS] = 1 << bits
    at += maximum * RECORD
    for i, size in enumerate(sizes(entries) if STRIDES[kind] else []):
        words = size * STRIDES[kind]
        most = max(1024, min(maximum, RING_BUDGET // words)) if maximum > 1024 else maximum
        start = RINGS + RING_WORDS * i
        row[start + R_OFFSET : start + RING_WORDS] = at, size, most, 0, -1, 0
        row[SIZES] = i + 1
        at += most * words
    return row, int(at)
