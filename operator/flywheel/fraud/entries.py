"""What is kept of one key: its entries in the order of their time, in a ring that grows. Pure. Needs the extra `fraud`.

Entries are `stride` words: the time, and then the member or the value where there is one. What falls out of the window
is dropped as the key moves on, so what is left is what counts.
"""

from flywheel.fraud.compiled import Numbers, inlined
from flywheel.fraud.layout import (
    FILLED,
    FIRST,
    LOST,
    NEWEST,
    R_ENTRIES,
    R_FREE,
    R_HIGH,
    R_MOST,
    R_OFFSET,
    RING,
    RING_WORDS,
    RINGS,
    SIZE,
    SIZES,
    TOTAL,
    TRUNCATED,
    WINDOW,
)


@inlined
def take_ring(memory: Numbers, row: Numbers, size: int, stride: int) -> int:
    """Give a ring of that size, by its offset, or -1 where there are no more."""
    at = RINGS + RING_WORDS * size
    ring = row[at + R_FREE]
    if ring >= 0:
        row[at + R_FREE] = memory[ring]
        return ring
    if row[at + R_HIGH] >= row[at + R_MOST]:
        return -1
    ring = row[at + R_OFFSET] + row[at + R_HIGH] * row[at + R_ENTRIES] * stride
    row[at + R_HIGH] += 1
    return ring


@inlined
def give_ring(memory: Numbers, row: Numbers, size: int, ring: int) -> None:
    """Take a ring back."""
    at = RINGS + RING_WORDS * size
    memory[ring] = row[at + R_FREE]
    row[at + R_FREE] = ring


@inlined
def _place(memory: Numbers, row: Numbers, record: int, index: int, stride: int) -> int:
    """Give the offset of the entry `index`, counted from the oldest."""
    capacity = row[RINGS + RING_WORDS * memory[record + SIZE] + R_ENTRIES]
    at = memory[record + FIRST] + index
    if at >= capacity:
        at -= capacity
    return memory[record + RING] + at * stride


@inlined
def _grown(memory: Numbers, row: Numbers, record: int, stride: int) -> bool:
    """Move the entries of a full ring into one of the next size; say whether there was one."""
    size = memory[record + SIZE]
    if size + 1 >= row[SIZES]:
        return False
    wider = take_ring(memory, row, size + 1, stride)
    if wider < 0:
        row[TRUNCATED] += 1
        return False
    for i in range(memory[record + FILLED]):
        source, target = _place(memory, row, record, i, stride), wider + i * stride
        for word in range(stride):
            memory[target + word] = memory[source + word]
    give_ring(memory, row, size, memory[record + RING])
    memory[record + SIZE], memory[record + RING], memory[record + FIRST] = size + 1, wider, 0
    return True


@inlined
def _drop_first(memory: Numbers, row: Numbers, record: int) -> None:
    capacity = row[RINGS + RING_WORDS * memory[record + SIZE] + R_ENTRIES]
    first = memory[record + FIRST] + 1
    memory[record + FIRST] = 0 if first >= capacity else first
    memory[record + FILLED] -= 1


@inlined
def _room(memory: Numbers, row: Numbers, record: int, stride: int, time: int) -> bool:
    """Make room for one entry of that time; say whether it is to be kept: not if it is the oldest."""
    capacity = row[RINGS + RING_WORDS * memory[record + SIZE] + R_ENTRIES]
    if memory[record + FILLED] < capacity or _grown(memory, row, record, stride):
        return True
    oldest = memory[_place(memory, row, record, 0, stride)]
    memory[record + LOST] = max(memory[record + LOST], min(oldest, time))
    return time >= oldest


@inlined
def _opened(memory: Numbers, row: Numbers, record: int, index: int, stride: int) -> int:
    """Shift the entries from `index` on by one, and give the offset of the gap."""
    at = memory[record + FILLED]
    memory[record + FILLED] = at + 1
    while at > index:
        source, target = (
            _place(memory, row, record, at - 1, stride),
            _place(memory, row, record, at, stride),
        )
        for word in range(stride):
            memory[target + word] = memory[source + word]
        at -= 1
    return _place(memory, row, record, at, stride)


@inlined
def _index(memory: Numbers, row: Numbers, record: int, stride: int, time: int) -> int:
    """Tell where an entry of that time belongs: behind all that are not younger."""
    index = memory[record + FILLED]
    while index > 0 and memory[_place(memory, row, record, index - 1, stride)] > time:
        index -= 1
    return index


@inlined
def _is_full(memory: Numbers, row: Numbers, record: int) -> bool:
    return memory[record + FILLED] >= row[RINGS + RING_WORDS * memory[record + SIZE] + R_ENTRIES]


@inlined
def add_stamp(memory: Numbers, row: Numbers, record: int, time: int) -> int:
    """Keep the time of an event; give how many are in the window, at most one more than the limit."""
    since = memory[record + NEWEST] - row[WINDOW]
    while memory[record + FILLED] > 0 and memory[_place(memory, row, record, 0, 1)] <= since:
        _drop_first(memory, row, record)
    if _room(memory, row, record, 1, time):
        if _is_full(memory, row, record):
            _drop_first(memory, row, record)
        index = _index(memory, row, record, 1, time)
        memory[_opened(memory, row, record, index, 1)] = time
    return memory[record + FILLED]


@inlined
def add_value(memory: Numbers, row: Numbers, record: int, time: int, value: int) -> int:
    """Keep a value; give what those in the window add up to."""
    since = memory[record + NEWEST] - row[WINDOW]
    while memory[record + FILLED] > 0 and memory[_place(memory, row, record, 0, 2)] <= since:
        memory[record + TOTAL] -= memory[_place(memory, row, record, 0, 2) + 1]
        _drop_first(memory, row, record)
    if _room(memory, row, record, 2, time):
        if _is_full(memory, row, record):
            memory[record + TOTAL] -= memory[_place(memory, row, record, 0, 2) + 1]
            _drop_first(memory, row, record)
        at = _opened(memory, row, record, _index(memory, row, record, 2, time), 2)
        memory[at], memory[at + 1] = time, value
        memory[record + TOTAL] += value
    return memory[record + TOTAL]


@inlined
def _changes(memory: Numbers, row: Numbers, record: int, index: int) -> int:
    """Tell 1 where the entry `index` differs from the one before, and 0 where not or there is none."""
    if index <= 0 or index >= memory[record + FILLED]:
        return 0
    before = memory[_place(memory, row, record, index - 1, 2) + 1]
    return 1 if memory[_place(memory, row, record, index, 2) + 1] != before else 0


@inlined
def _drop_change(memory: Numbers, row: Numbers, record: int) -> None:
    memory[record + TOTAL] -= _changes(memory, row, record, 1)
    _drop_first(memory, row, record)


@inlined
def add_change(memory: Numbers, row: Numbers, record: int, time: int, member: int) -> int:
    """Keep what a field was; give how often it has changed within the window."""
    since = memory[record + NEWEST] - row[WINDOW]
    while memory[record + FILLED] > 0 and memory[_place(memory, row, record, 0, 2)] <= since:
        _drop_change(memory, row, record)
    if _room(memory, row, record, 2, time):
        if _is_full(memory, row, record):
            _drop_change(memory, row, record)
        index = _index(memory, row, record, 2, time)
        memory[record + TOTAL] -= _changes(memory, row, record, index)
        at = _opened(memory, row, record, index, 2)
        memory[at], memory[at + 1] = time, member
        memory[record + TOTAL] += _changes(memory, row, record, index) + _changes(memory, row, record, index + 1)
    return memory[record + TOTAL]


@inlined
def _close(memory: Numbers, row: Numbers, record: int, index: int) -> None:
    """Remove the entry `index`."""
    last = memory[record + FILLED] - 1
    for i in range(index, last):
        source, target = _place(memory, row, record, i + 1, 2), _place(memory, row, record, i, 2)
        memory[target], memory[target + 1] = memory[source], memory[source + 1]
    memory[record + FILLED] = last


@inlined
def add_member(memory: Numbers, row: Numbers, record: int, time: int, member: int) -> int:
    """Keep when a member was last seen; give how many are in the window, at most one more than the limit."""
    since = memory[record + NEWEST] - row[WINDOW]
    while memory[record + FILLED] > 0 and memory[_place(memory, row, record, 0, 2)] <= since:
        _drop_first(memory, row, record)
    filled = memory[record + FILLED]
    known = filled - 1
    while known >= 0 and memory[_place(memory, row, record, known, 2) + 1] != member:
        known -= 1
    if known >= 0:
        if memory[_place(memory, row, record, known, 2)] >= time:
            return filled
        _close(memory, row, record, known)
    elif not _room(memory, row, record, 2, time):
        return filled
    elif _is_full(memory, row, record):
        _drop_first(memory, row, record)
    at = _opened(memory, row, record, _index(memory, row, record, 2, time), 2)
    memory[at], memory[at + 1] = time, member
    return memory[record + FILLED]
