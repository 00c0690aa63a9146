"""Exact sliding windows, event by event, in flat memory: the compiled inner loops. Pure. Needs the extra `fraud`.

`memory` holds one window, and `row` says where what lies in it (see `layout`). A window ends at the
newest time of its key, included, and begins `WINDOW` milliseconds before, excluded.
"""

import numpy as np

from flywheel.fraud.compiled import Flags, Numbers, compiled, inlined, prefetch
from flywheel.fraud.entries import add_change, add_member, add_stamp, add_value, give_ring, take_ring
from flywheel.fraud.layout import (
    COUNT,
    DISTINCT,
    EVICTED,
    FILLED,
    FIRST,
    FREE,
    HAND,
    HASH,
    HIGH,
    IDS,
    KEYS,
    KIND,
    LATENESS,
    LIMIT,
    LOST,
    MAXIMUM,
    NEWEST,
    R_ENTRIES,
    RECORD,
    RECORDS,
    REFUSED,
    REFUSES,
    RING,
    RING_WORDS,
    RINGS,
    SAMPLED,
    SIZE,
    SIZES,
    SUM,
    SWEPT,
    TABLE_BITS,
    TOTAL,
    TRUNCATED,
    WINDOW,
)

_TAG = np.int64(-(1 << 32))
_SLOT = np.int64((1 << 32) - 1)
"""An entry of the table: the upper half of the key, which tells its home too, and the number of its record plus 1."""
_NEVER = -(1 << 62)


@inlined
def _home(row: Numbers, key: int) -> int:
    """Tell where a key, or an entry of the table, belongs in it."""
    return (key >> 32) & ((1 << row[TABLE_BITS]) - 1)


@inlined
def find(memory: Numbers, row: Numbers, key: int) -> int:
    """Give the record of a key, or -1."""
    mask = (1 << row[TABLE_BITS]) - 1
    at = _home(row, key)
    while True:
        entry = memory[at]
        if entry == 0:
            return -1
        if (entry & _TAG) == (key & _TAG):
            slot = (entry & _SLOT) - 1
            if memory[row[RECORDS] + slot * RECORD + HASH] == key:
                return slot
        at = (at + 1) & mask


@inlined
def enter(memory: Numbers, row: Numbers, key: int, slot: int) -> None:
    """Write a key that is not in the table into it."""
    mask = (1 << row[TABLE_BITS]) - 1
    at = _home(row, key)
    while memory[at] != 0:
        at = (at + 1) & mask
    memory[at] = (key & _TAG) | (slot + 1)


@inlined
def _leave(memory: Numbers, row: Numbers, slot: int) -> None:
    """Take a record's key out of the table, and close the gap."""
    mask = (1 << row[TABLE_BITS]) - 1
    gap = _home(row, memory[row[RECORDS] + slot * RECORD + HASH])
    while (memory[gap] & _SLOT) - 1 != slot:
        gap = (gap + 1) & mask
    at = gap
    while True:
        at = (at + 1) & mask
        entry = memory[at]
        if entry == 0:
            break
        if ((at - _home(row, entry)) & mask) >= ((at - gap) & mask):
            memory[gap] = entry
            gap = at
    memory[gap] = 0


@inlined
def _forget(memory: Numbers, row: Numbers, slot: int) -> None:
    """Free a key's record and ring."""
    _leave(memory, row, slot)
    record = row[RECORDS] + slot * RECORD
    if row[SIZES] > 0:
        give_ring(memory, row, memory[record + SIZE], memory[record + RING])
    for i in range(RECORD):
        memory[record + i] = 0
    memory[record + LOST] = row[FREE]
    row[FREE] = slot
    row[KEYS] -= 1


@inlined
def _sweep(memory: Numbers, row: Numbers, steps: int, over: int) -> None:
    """Look at the next few records, and forget those that no event can need any more."""
    for _ in range(min(steps, row[HIGH])):
        slot = row[HAND]
        row[HAND] = slot + 1 if slot + 1 < row[HIGH] else 0
        record = row[RECORDS] + slot * RECORD
        if memory[record + HASH] != 0 and memory[record + NEWEST] <= over:
            _forget(memory, row, slot)


@inlined
def _make_room(memory: Numbers, row: Numbers) -> None:
    """Forget the oldest of the next records."""
    oldest = -1
    for _ in range(min(SAMPLED, row[HIGH])):
        slot = row[HAND]
        row[HAND] = slot + 1 if slot + 1 < row[HIGH] else 0
        record = row[RECORDS] + slot * RECORD
        if memory[record + HASH] == 0:
            continue
        if oldest < 0 or memory[record + NEWEST] < memory[row[RECORDS] + oldest * RECORD + NEWEST]:
            oldest = slot
    if oldest >= 0:
        _forget(memory, row, oldest)
        row[EVICTED] += 1


@inlined
def _admit(memory: Numbers, row: Numbers, key: int, time: int, over: int) -> int:
    """Make a record for a new key; give it, or -1 where there is no room."""
    if row[KEYS] >= row[MAXIMUM]:
        _sweep(memory, row, SAMPLED, over)
    if row[KEYS] >= row[MAXIMUM]:
        if row[REFUSES] == 0:
            _make_room(memory, row)
        if row[KEYS] >= row[MAXIMUM]:
            row[REFUSED] += 1
            return -1
    slot = row[FREE]
    if slot >= 0:
        row[FREE] = memory[row[RECORDS] + slot * RECORD + LOST]
    else:
        slot = row[HIGH]
        row[HIGH] += 1
    row[KEYS] += 1
    record = row[RECORDS] + slot * RECORD
    for i in range(RECORD):
        memory[record + i] = 0
    memory[record + HASH], memory[record + NEWEST] = key, time
    if row[SIZES] > 0:
        memory[record + RING] = take_ring(memory, row, 0, 1 if row[KIND] == COUNT else 2)
    enter(memory, row, key, slot)
    return slot


@inlined
def fetch_entry(memory: Numbers, row: Numbers, key: int) -> None:
    """Have fetched where a key stands in the table."""
    prefetch(memory, _home(row, key))


@inlined
def fetch_record(memory: Numbers, row: Numbers, key: int) -> None:
    """Have the record of a key fetched, whose entry has been."""
    entry = memory[_home(row, key)]
    if entry != 0:
        prefetch(memory, row[RECORDS] + ((entry & _SLOT) - 1) * RECORD)


@inlined
def fetch_ring(memory: Numbers, row: Numbers, key: int) -> None:
    """Have the ring of a key fetched, whose record has been."""
    entry = memory[_home(row, key)]
    if entry != 0 and row[SIZES] > 0:
        prefetch(memory, memory[row[RECORDS] + ((entry & _SLOT) - 1) * RECORD + RING])


@inlined
def _fetch_ahead(memory: Numbers, row: Numbers, keys: Numbers, count: int, i: int) -> None:
    """Have fetched what events soon to come will look at: first the table, then the record, then the ring."""
    last = count - 1
    fetch_entry(memory, row, keys[min(i + 18, last)])
    fetch_record(memory, row, keys[min(i + 12, last)])
    fetch_ring(memory, row, keys[min(i + 6, last)])
    behind = row[RECORDS] + (row[HAND] + 12) * RECORD
    if row[HAND] + 12 < row[HIGH] and memory[behind + HASH] != 0:
        fetch_entry(memory, row, memory[behind + HASH])
        prefetch(memory, memory[behind + RING])


@inlined
def first_time(memory: Numbers, row: Numbers, key: int, clock: int) -> bool:
    """Say whether an event's id has not been seen within the window, and remember it."""
    over = clock - row[WINDOW]
    _sweep(memory, row, SWEPT, over)
    slot = find(memory, row, key)
    if slot < 0:
        _admit(memory, row, key, clock, over)
        return True
    record = row[RECORDS] + slot * RECORD
    if memory[record + NEWEST] > over:
        return False
    memory[record + NEWEST] = clock
    return True


@inlined
def step(memory: Numbers, row: Numbers, key: int, time: int, clock: int, payload: int, out: Numbers) -> None:
    """Put one event into the window of its key; write what is in it, its end, and whether more was left out."""
    over = clock - row[LATENESS] - row[WINDOW]
    _sweep(memory, row, SWEPT, over)
    slot = find(memory, row, key)
    if slot < 0:
        slot = _admit(memory, row, key, time, over)
        if slot < 0:
            out[0], out[1], out[2] = 0, time, 0
            return
    record = row[RECORDS] + slot * RECORD
    memory[record + NEWEST] = max(memory[record + NEWEST], time)
    kind = row[KIND]
    if kind == COUNT:
        seen = add_stamp(memory, row, record, time)
    elif kind == DISTINCT:
        seen = add_member(memory, row, record, time, payload)
    elif kind == SUM:
        seen = add_value(memory, row, record, time, payload)
    else:
        seen = add_change(memory, row, record, time, payload)
    newest = memory[record + NEWEST]
    out[0], out[1] = seen, newest
    out[2] = 1 if memory[record + LOST] > newest - row[WINDOW] else 0


@compiled
def enter_all(memory: Numbers, row: Numbers) -> None:
    """Fill an empty table from the records."""
    for slot in range(row[HIGH]):
        key = memory[row[RECORDS] + slot * RECORD + HASH]
        if key != 0:
            enter(memory, row, key, slot)


@compiled
def sweep(memory: Numbers, row: Numbers, steps: int, clock: int) -> None:
    """Look at the next few records, and forget those that no event can need any more."""
    _sweep(memory, row, steps, clock - row[LATENESS] - row[WINDOW])


@compiled
def choose(
    matching: Flags, usable: Flags, keys: Numbers, times: Numbers, clocks: Numbers, lateness: int, counts: Numbers
) -> Flags:
    """Say which events a rule judges: usable ones that match, have a key and are not too late.

    In `counts` are then how many match, how many of these lack the key, and how many others are too late.
    """
    chosen = np.zeros(len(keys), np.bool_)
    for i in range(len(keys)):
        if matching[i] and usable[i]:
            late = times[i] < clocks[i] - lateness
            counts[0] += 1
            counts[1] += keys[i] == 0
            counts[2] += keys[i] != 0 and late
            chosen[i] = keys[i] != 0 and not late
    return chosen


@compiled
def remember(memory: Numbers, row: Numbers, ids: Numbers, clocks: Numbers, fresh: Flags) -> int:
    """Mark the events whose id has not been seen lately; give how many have been. An event without an id is new."""
    repeated = 0
    for i in range(len(ids)):
        _fetch_ahead(memory, row, ids, len(ids), i)
        fresh[i] = ids[i] == 0 or first_time(memory, row, ids[i], clocks[i])
        repeated += not fresh[i]
    return repeated


@compiled
def put(
    memory: Numbers, row: Numbers, keys: Numbers, times: Numbers, clocks: Numbers, payloads: Numbers, count: int
) -> Numbers:
    """Put events into a window one after the other; give those that went over its limit.

    Args:
        memory: The window's.
        row: Its layout and counters.
        keys: Hash of each event's key.
        times: Of each event, not in its future.
        clocks: The newest arrival when each event came.
        payloads: Hash of the member, or the value in ten-thousandths.
        count: How many events there are: all have all that is needed, and are not too late.

    Returns:
        Four numbers for each event that went over: which one it is, what was seen, the window's end, and whether
        something had been left out.
    """
    found = np.empty((16, 4), np.int64)
    hits = 0
    out = np.zeros(3, np.int64)
    for i in range(count):
        _fetch_ahead(memory, row, keys, count, i)
        step(memory, row, keys[i], times[i], clocks[i], payloads[i], out)
        if out[0] > row[LIMIT]:
            if hits == len(found):
                wider = np.empty((4 * hits, 4), np.int64)
                wider[:hits] = found
                found = wider
            found[hits, 0], found[hits, 1], found[hits, 2], found[hits, 3] = i, out[0], out[1], out[2]
            hits += 1
    return found[:hits]


@inlined
def _copy_entries(memory: Numbers, row: Numbers, record: int, theirs: Numbers, source: int) -> bool:
    """Copy a key's entries into a new record with the smallest ring; say whether there was a ring for them."""
    size, stride = theirs[source + SIZE], 1 if row[KIND] == COUNT else 2
    if size > 0:
        wider = take_ring(memory, row, size, stride)
        if wider < 0:
            return False
        give_ring(memory, row, 0, memory[record + RING])
        memory[record + RING] = wider
    for i in range(row[RINGS + RING_WORDS * size + R_ENTRIES] * stride):
        memory[memory[record + RING] + i] = theirs[theirs[source + RING] + i]
    return True


@compiled
def adopt(memory: Numbers, row: Numbers, theirs: Numbers, their_row: Numbers, chosen: Flags) -> None:
    """Take the chosen records of another window of the same shape over. Keys that are here already stay as they are.

    Of ids that are in both the later moment counts.
    """
    for slot in range(their_row[HIGH]):
        source = their_row[RECORDS] + slot * RECORD
        key = theirs[source + HASH]
        if key == 0 or not chosen[slot]:
            continue
        newest = theirs[source + NEWEST]
        known = find(memory, row, key)
        if known >= 0:
            if row[KIND] == IDS:
                record = row[RECORDS] + known * RECORD
                memory[record + NEWEST] = max(memory[record + NEWEST], newest)
            continue
        taken = _admit(memory, row, key, newest, _NEVER)
        if taken < 0:
            continue
        record = row[RECORDS] + taken * RECORD
        if row[SIZES] > 0 and not _copy_entries(memory, row, record, theirs, source):
            row[TRUNCATED] += 1
            _forget(memory, row, taken)
            continue
        for field in (FILLED, FIRST, SIZE, TOTAL, LOST):
            memory[record + field] = theirs[source + field]


@compiled
def keep(memory: Numbers, row: Numbers, chosen: Flags) -> None:
    """Forget all records but the chosen ones."""
    for slot in range(row[HIGH]):
        if memory[row[RECORDS] + slot * RECORD + HASH] != 0 and not chosen[slot]:
            _forget(memory, row, slot)


@compiled
def lacking(memory: Numbers, row: Numbers, theirs: Numbers, their_row: Numbers, after: int) -> int:
    """Count the keys of another window whose newest time is after a moment and that are not in this one."""
    count = 0
    for slot in range(their_row[HIGH]):
        source = their_row[RECORDS] + slot * RECORD
        if theirs[source + HASH] != 0 and theirs[source + NEWEST] > after:
            count += find(memory, row, theirs[source + HASH]) < 0
    return count
