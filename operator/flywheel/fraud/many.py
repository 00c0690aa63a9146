"""The compiled inner part of judging a batch by all windows at once. Pure. Needs the extra `fraud`.

Events go into one window after the other, not event by event: what the next events will look at is fetched meanwhile.
"""

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.compiled import Flags, Numbers, compiled, inlined, mixed
from flywheel.fraud.kernels import put, remember
from flywheel.fraud.layout import KIND, LATENESS, SUM
from flywheel.fraud.single import (
    A_KEYS,
    A_PAYLOAD,
    A_RULE,
    C_LATE,
    C_MATCHED,
    C_MISSING,
    C_UNUSABLE,
    UNUSABLE,
    amount,
    memory_of,
    row_of,
)


@inlined
def _choose(
    secret: NDArray[np.uint64],
    plan: Numbers,
    j: int,
    hashes: Numbers,
    meant: Flags,
    times: Numbers,
    clocks: Numbers,
    counts: Numbers,
    picked: Numbers,
    keys: Numbers,
) -> int:
    """Write which events a rule judges, and the hashes of their keys; give how many there are."""
    rule, first, lateness = plan[j, A_RULE], plan[j, A_KEYS], row_of(plan, j)[LATENESS]
    ready = 0
    for i in range(len(times)):
        if not meant[i]:
            continue
        key = hashes[first, i]
        at = A_KEYS + 1
        while plan[j, at] >= 0:
            key = mixed(key, hashes[plan[j, at], i], secret[0], secret[1])
            at += 1
        late = times[i] < clocks[i] - lateness
        counts[rule, C_MATCHED] += 1
        counts[rule, C_MISSING] += key == 0
        counts[rule, C_LATE] += key != 0 and late
        if key != 0 and not late:
            picked[ready], keys[ready] = i, key
            ready += 1
    return ready


@inlined
def _payload(plan: Numbers, j: int, kind: int, hashes: Numbers, values: NDArray[np.float64], i: int, key: int) -> int:
    """Give what an event brings into a window, or UNUSABLE."""
    payload = plan[j, A_PAYLOAD]
    if kind == SUM:
        return amount(values[payload, i])
    if payload < 0:
        return key
    member = hashes[payload, i]
    return member if member != 0 else UNUSABLE


@compiled
def _wider(rows: Numbers, filled: int, wanted: int) -> Numbers:
    """Give rows with room for as many as are wanted."""
    if wanted <= len(rows):
        return rows
    wider = np.empty((2 * wanted, rows.shape[1]), np.int64)
    wider[:filled] = rows[:filled]
    return wider


@compiled
def judge_many(
    secret: NDArray[np.uint64],
    plan: Numbers,
    hashes: Numbers,
    values: NDArray[np.float64],
    matched: Flags,
    times: Numbers,
    clocks: Numbers,
    fresh: Flags,
    counts: Numbers,
) -> Numbers:
    """Put events into all windows that they match; give those that went over a limit.

    Args:
        secret: The key of hashes.
        plan: Where the windows are, and what of the events they look at; see `single`.
        hashes: Hashes of the texts that keys and members are made of, the ids first: one row for each text.
        values: Numbers that are summed up, one row for each field; NaN for what is none.
        matched: Which events each rule means.
        times: Of the events, not in their future.
        clocks: The newest arrival when each event came.
        fresh: Which events have not been seen lately. It is written.
        counts: What is counted, by rule or window.

    Returns:
        Five numbers for each time that an event went over a limit, by window: its place, the window, what was seen,
        the window's end, and whether something had been left out.
    """
    remember(memory_of(plan, 0), row_of(plan, 0), hashes[0], clocks, fresh)
    every = len(times)
    picked, keys = np.empty(every, np.int64), np.empty(every, np.int64)
    # Of the events that one window takes.
    places, its_keys, payloads = np.empty(every, np.int64), np.empty(every, np.int64), np.empty(every, np.int64)
    its_times, its_clocks = np.empty(every, np.int64), np.empty(every, np.int64)
    hits = np.empty((64, 5), np.int64)
    filled, ready, last = 0, 0, -1
    for j in range(1, len(plan)):
        rule, row = plan[j, A_RULE], row_of(plan, j)
        if rule != last:
            ready = _choose(secret, plan, j, hashes, fresh & matched[rule], times, clocks, counts, picked, keys)
            last = rule
        fit = 0
        for at in range(ready):
            i = picked[at]
            payload = _payload(plan, j, row[KIND], hashes, values, i, keys[at])
            if payload == UNUSABLE:
                counts[j, C_UNUSABLE] += 1
                continue
            places[fit], its_keys[fit], payloads[fit] = i, keys[at], payload
            its_times[fit], its_clocks[fit] = times[i], clocks[i]
            fit += 1
        over = put(memory_of(plan, j), row, its_keys, its_times, its_clocks, payloads, fit)
        hits = _wider(hits, filled, filled + len(over))
        for k in range(len(over)):
            hits[filled, 0], hits[filled, 1] = places[over[k, 0]], j
            hits[filled, 2:] = over[k, 1:]
            filled += 1
    return hits[:filled]
