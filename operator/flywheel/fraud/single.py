"""The compiled inner part of judging one event by all windows at once. Pure. Needs the extra `fraud`.

Windows lie in memory of their own, and how many there are changes with the rules. So the plan says their addresses, one
row for each window: whoever makes the plan keeps the memory.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray
from numba.core import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from flywheel.fraud.compiled import Numbers, compiled, hash_texts, inlined, mixed, viewed
from flywheel.fraud.kernels import fetch_entry, fetch_record, fetch_ring, first_time, step
from flywheel.fraud.layout import KIND, LATENESS, LIMIT, SUM, WORDS
from flywheel.fraud.rule import LARGEST_VALUE, UNIT

A_MEMORY, A_WORDS, A_ROW, A_RULE, A_PAYLOAD, A_KEYS = range(6)
"""A plan's row: address and words of the memory, address of the window's row, the rule, where the payload is, and from
here on where the texts of the key are; -1 ends them. The first row is of the window of ids."""
PLAN_WORDS = A_KEYS + 9
C_MATCHED, C_MISSING, C_LATE, C_UNUSABLE, C_HITS = range(5)
"""What is counted: by rule, and what is unusable by window."""
COUNTED = 5
(
    B_BUFFER, B_SECRET, B_PLAN, B_WINDOWS, B_VALUES, B_NUMBERS, B_HASHES, B_ENDS, B_TEXTS, B_KEYS, B_COUNTS, B_RULES,
    B_FOUND,
) = range(13)  # fmt: skip
"""The board: addresses of arrays, and how many windows, numbers, texts and rules there are."""
REPEATED = -1
UNUSABLE = -(1 << 62)
"""No amount is that."""
MOST = 60
"""Windows, and rules, that one plan may have: there is one bit for each."""


@intrinsic  # type: ignore[untyped-decorator]
def _pointer(_context: Any, address: Any) -> Any:
    """Make a pointer of an address."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.IntType(8).as_pointer())

    return types.voidptr(address), generate


@viewed
def memory_of(plan: Numbers, j: int) -> Numbers:
    """Give the memory of a window."""
    return carray(_pointer(plan[j, A_MEMORY]), (plan[j, A_WORDS],), np.int64)  # type: ignore[no-any-return]


@viewed
def row_of(plan: Numbers, j: int) -> Numbers:
    """Give the row of a window."""
    return carray(_pointer(plan[j, A_ROW]), (WORDS,), np.int64)  # type: ignore[no-any-return]


@inlined
def amount(value: float) -> int:
    """Give ten-thousandths, or UNUSABLE for what cannot be summed up."""
    return np.int64(np.rint(value * UNIT)) if abs(value) <= LARGEST_VALUE else np.int64(UNUSABLE)  # type: ignore[return-value]


@inlined
def _fetch(secret: NDArray[np.uint64], plan: Numbers, matched: int, hashes: Numbers, keys: Numbers) -> None:
    """Write the keys of all windows, and have fetched what will be looked at: of all windows at the same time."""
    keys[0] = hashes[0]
    for j in range(1, len(plan)):
        keys[j] = 0
        if (matched >> plan[j, A_RULE]) & 1 != 0:
            key = hashes[plan[j, A_KEYS]]
            at = A_KEYS + 1
            while plan[j, at] >= 0:
                key = mixed(key, hashes[plan[j, at]], secret[0], secret[1])
                at += 1
            keys[j] = key
    for j in range(len(plan)):
        if keys[j] != 0:
            fetch_entry(memory_of(plan, j), row_of(plan, j), keys[j])
    for j in range(len(plan)):
        if keys[j] != 0:
            fetch_record(memory_of(plan, j), row_of(plan, j), keys[j])
    for j in range(len(plan)):
        if keys[j] != 0:
            fetch_ring(memory_of(plan, j), row_of(plan, j), keys[j])


@compiled
def judge_one(board: Numbers, length: int, matched: int, time: int, clock: int) -> int:
    """Put one event into all windows that it matches; give a bit for each that went over its limit, or REPEATED.

    Args:
        board: Where everything is that stays from event to event: each array would take its time to be handed over.
        length: Bytes of the texts that keys and members are made of, the id first, with a NUL between each two.
        matched: A bit for each rule that means the event.
        time: Of the event.
        clock: The newest arrival.
    """
    buffer = carray(_pointer(board[B_BUFFER]), (length,), np.uint8)
    secret = carray(_pointer(board[B_SECRET]), (2,), np.uint64)
    plan = carray(_pointer(board[B_PLAN]), (board[B_WINDOWS], PLAN_WORDS), np.int64)
    values = carray(_pointer(board[B_VALUES]), (board[B_NUMBERS],), np.float64)
    hashes = carray(_pointer(board[B_HASHES]), (board[B_TEXTS],), np.int64)
    ends = carray(_pointer(board[B_ENDS]), (board[B_TEXTS],), np.int64)
    keys = carray(_pointer(board[B_KEYS]), (board[B_WINDOWS],), np.int64)
    counts = carray(_pointer(board[B_COUNTS]), (board[B_WINDOWS] + board[B_RULES], COUNTED), np.int64)
    found = carray(_pointer(board[B_FOUND]), (board[B_WINDOWS], 3), np.int64)
    hash_texts(buffer, secret, hashes, ends)
    _fetch(secret, plan, matched, hashes, keys)
    if hashes[0] != 0 and not first_time(memory_of(plan, 0), row_of(plan, 0), hashes[0], clock):
        return REPEATED
    hits, last = 0, -1
    for j in range(1, len(plan)):
        rule = plan[j, A_RULE]
        if (matched >> rule) & 1 == 0:
            continue
        counts[rule, C_MATCHED] += rule != last
        key, row = keys[j], row_of(plan, j)
        late = time < clock - row[LATENESS]
        counts[rule, C_MISSING] += rule != last and key == 0
        counts[rule, C_LATE] += rule != last and key != 0 and late
        last = rule
        if key == 0 or late:
            continue
        payload = key
        if row[KIND] == SUM:
            payload = amount(values[plan[j, A_PAYLOAD]])
        elif plan[j, A_PAYLOAD] >= 0:
            payload = hashes[plan[j, A_PAYLOAD]]
        if (row[KIND] == SUM and payload == UNUSABLE) or (payload == 0 and row[KIND] != SUM):
            counts[j, C_UNUSABLE] += 1
            continue
        step(memory_of(plan, j), row, key, time, clock, payload, found[j])
        if found[j, 0] > row[LIMIT]:
            hits |= 1 << j
    return hits
