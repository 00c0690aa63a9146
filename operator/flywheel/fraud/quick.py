"""The short way through rules whose conditions are all compiled windows: one call for all of them. Needs `fraud`.

A batch goes by its columns, one event without any: verdicts and state are the same.
"""

from collections.abc import Callable, Sequence
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.columns import NUL, REPLACED, Columns
from flywheel.fraud.compiled import Flags
from flywheel.fraud.conditions import WindowState
from flywheel.fraud.fields import ATTRIBUTES, PREFIX, network, text
from flywheel.fraud.findings import Finding
from flywheel.fraud.many import judge_many
from flywheel.fraud.rule import Match, Rule, Sum
from flywheel.fraud.running import RunningRule
from flywheel.fraud.single import (
    A_KEYS,
    B_BUFFER,
    B_COUNTS,
    B_ENDS,
    B_FOUND,
    B_HASHES,
    B_KEYS,
    B_NUMBERS,
    B_PLAN,
    B_RULES,
    B_SECRET,
    B_TEXTS,
    B_VALUES,
    B_WINDOWS,
    C_HITS,
    C_UNUSABLE,
    COUNTED,
    MOST,
    PLAN_WORDS,
    judge_one,
)
from flywheel.fraud.where import matcher
from flywheel.fraud.window import Window
from flywheel.fraud.words import Event, Value, Verdict

NAN = float("nan")
ROOM = 4096
"""Bytes of an event's texts, at first."""
Text = tuple[str, int, int]
"""Name of a field, and the lengths of prefixes where it is a network."""
ID: Text = ("messageId", 0, 0)


class Quick:
    """The way of single events through some rules."""

    def __init__(self, ids: Window, rules: Sequence[RunningRule], secret: NDArray[np.uint64]) -> None:
        """Lay the way out. It holds until the rules change."""
        self.rules = list(rules)
        self._secret = secret
        self.owners = [(i, state) for i, running in enumerate(self.rules) for state in _states(running)]
        self._texts = {each: i for i, each in enumerate(_texts_of(self.rules))}
        sums = [state.field for _, state in self.owners if isinstance(state.condition, Sum)]
        self._numbers = {name: i for i, name in enumerate(dict.fromkeys(sums))}
        rows = [[*_addresses(ids), -1, -1, 0]]
        for i, state in self.owners:
            key = [self._texts[_text_of(self.rules[i].rule, name)] for name in self.rules[i].rule.key]
            rows.append([*_addresses(state.window), i, self._payload(state), *key])
        self._plan = np.array([row + [-1] * (PLAN_WORDS - len(row)) for row in rows], np.int64)
        self._values = np.full(max(1, len(self._numbers)), NAN)
        self._hashes, self._ends, self._keys = (np.zeros(len(self._texts) + len(rows), np.int64) for _ in range(3))
        self._counts = np.zeros((len(rows) + len(self.rules), COUNTED), np.int64)
        self.found = np.zeros((len(rows), 3), np.int64)
        self._buffer = np.zeros(ROOM, np.uint8)
        self._bytes, self._board = self._buffer.data, self._laid_out()
        self._matching = Matching([running.rule.match for running in self.rules])
        self._read = _texts_reader(list(self._texts))

    def _laid_out(self) -> NDArray[np.int64]:
        """Say where everything is. Nothing of it may be replaced without saying so again."""
        board = np.zeros(B_FOUND + 1, np.int64)
        board[[B_BUFFER, B_SECRET, B_PLAN, B_VALUES, B_HASHES, B_ENDS, B_KEYS, B_COUNTS, B_FOUND]] = [
            each.ctypes.data
            for each in (
                self._buffer,
                self._secret,
                self._plan,
                self._values,
                self._hashes,
                self._ends,
                self._keys,
                self._counts,
                self.found,
            )
        ]
        board[[B_WINDOWS, B_NUMBERS, B_TEXTS, B_RULES]] = [
            len(self._plan), len(self._values), len(self._texts), len(self.rules)
        ]  # fmt: skip
        return board

    def _write(self, texts: bytes) -> int:
        """Put the texts of an event where they are looked for; give their length."""
        length = len(texts)
        if length > len(self._bytes):
            self._buffer = np.zeros(2 * length, np.uint8)
            self._bytes, self._board = self._buffer.data, self._laid_out()
        self._bytes[:length] = texts
        return length

    def _payload(self, state: WindowState) -> int:
        if isinstance(state.condition, Sum):
            return self._numbers[state.field]
        return self._texts[(state.field, 0, 0)] if state.field else -1

    def judge(self, event: Event, time: int, clock: int, owned: int) -> int:
        """Put an event into the windows; give a bit for each that went over its limit, or REPEATED.

        Args:
            event: The event.
            time: When it happened, not after its arrival.
            clock: The newest arrival.
            owned: A bit for each rule by which this shard judges it.
        """
        joined = self._read(event)
        for name, i in self._numbers.items():
            value = event.fields.get(name)
            self._values[i] = value if isinstance(value, float | int) and not isinstance(value, bool) else NAN
        length = self._write(joined.encode("utf-8", "surrogatepass"))
        return judge_one(self._board, length, self._matching.bits(event) & owned, time, clock)

    def judge_many(self, columns: Columns, fresh: Flags) -> list[tuple[int, Verdict]]:
        """Put a batch into the windows; give verdicts with the place of their event.

        Args:
            columns: The batch.
            fresh: Written: which events have not been seen lately.
        """
        count = len(columns.times)
        values = [columns.numbers(name) for name in self._numbers] or [np.empty(count)]
        matched = [running.means(columns) for running in self.rules] or [np.empty(count, np.bool_)]
        hits = judge_many(
            self._secret,
            self._plan,
            np.array([columns.texts(*each) for each in self._texts]),
            np.array(values),
            np.array(matched),
            columns.times,
            columns.clocks,
            fresh,
            self._counts,
        )
        found: dict[int, dict[int, list[Finding]]] = {}
        for at, j, seen, end, lost in hits.tolist():
            i, state = self.owners[j - 1]
            found.setdefault(i, {}).setdefault(at, []).append(state.finding(seen, end, lost))
        return [verdict for i, findings in found.items() for verdict in self._verdicts(i, columns, findings)]

    def _breaks(self, i: int, findings: Sequence[Finding]) -> bool:
        return self._needs_one(i) or len(findings) == len(self.rules[i].states)

    def _verdicts(self, i: int, columns: Columns, found: dict[int, list[Finding]]) -> list[tuple[int, Verdict]]:
        if not self._needs_one(i):
            found = {at: findings for at, findings in found.items() if self._breaks(i, findings)}
        self._counts[i, C_HITS] += len(found)
        return self.rules[i].verdicts(columns, found)

    def _needs_one(self, i: int) -> bool:
        return self.rules[i].rule.combine == "Any" or len(self.rules[i].states) == 1

    def _verdict(self, i: int, event: Event, time: int, findings: Sequence[Finding]) -> Verdict:
        self._counts[i, C_HITS] += 1
        return self.rules[i].verdict(event.id, self.rules[i].read_key(event), time, findings)

    def verdicts(self, event: Event, time: int, hits: int) -> list[Verdict]:
        """Give the verdicts on an event by the bits that `judge` has given."""
        found: dict[int, list[Finding]] = {}
        for j, (i, state) in enumerate(self.owners, start=1):
            if hits >> j & 1:
                found.setdefault(i, []).append(state.finding(*self.found[j].tolist()))
        return [self._verdict(i, event, time, each) for i, each in found.items() if self._breaks(i, each)]

    def flush(self) -> None:
        """Add what was counted on the way to the rules' own counters."""
        if not self._counts.any():
            return
        for i, running in enumerate(self.rules):
            matched, missing, late, _, hits = self._counts[i].tolist()
            running.counted = running.counted.plus(matched=matched, missing_key=missing, late=late, hits=hits)
        for j, (_, state) in enumerate(self.owners, start=1):
            state.unusable += int(self._counts[j, C_UNUSABLE])
        self._counts[:] = 0


class Matching:
    """Which of some matches mean an event, as bits: names and types by a table, filters only where these agree."""

    def __init__(self, matches: Sequence[Match]) -> None:
        """Prepare the tables."""
        self._names, self._any_name = _table([match.events for match in matches])
        self._types, self._any_type = _table([match.types for match in matches])
        self._filters = [(1 << i, matcher(Match(where=match.where))) for i, match in enumerate(matches) if match.where]

    def bits(self, event: Event) -> int:
        """Give a bit for each match that means the event."""
        found = self._names.get(event.name, self._any_name) & self._types.get(event.type, self._any_type)
        for bit, means in self._filters:
            if found & bit and not means(event):
                found &= ~bit
        return found


def _table(wanted: Sequence[Sequence[str]]) -> tuple[dict[str, int], int]:
    """Give the bits of those that want a text, for each that is wanted; and of those that want any."""
    anything = sum(1 << i for i, texts in enumerate(wanted) if not texts)
    every = {text for texts in wanted for text in texts}
    return {each: anything | sum(1 << i for i, texts in enumerate(wanted) if each in texts) for each in every}, anything


def _states(running: RunningRule) -> list[WindowState]:
    return [state for state in running.states.values() if isinstance(state, WindowState)]


def _addresses(window: Window) -> list[int]:
    words = window.memory.words
    return [words.ctypes.data, len(words), window.row.ctypes.data]


def _text_of(rule: Rule, name: str) -> Text:
    return (name, rule.prefix_ipv4, rule.prefix_ipv6) if name == PREFIX else (name, 0, 0)


def _texts_of(rules: Sequence[RunningRule]) -> list[Text]:
    """Give all texts that some rules look at: the id, what each event has, other fields, and networks."""
    keys = [_text_of(running.rule, name) for running in rules for name in running.rule.key]
    members = [
        (state.field, 0, 0)
        for running in rules
        for state in _states(running)
        if state.field and not isinstance(state.condition, Sum)
    ]
    wanted = dict.fromkeys([ID, *keys, *members])
    return sorted(wanted, key=lambda each: (each != ID, each[0] not in ATTRIBUTES, each[0] == PREFIX))


def _texts_reader(texts: Sequence[Text]) -> Callable[[Event], str]:
    """Give the function that writes texts of an event, as `_texts_of` has put them, with a NUL between each two."""
    read = attrgetter("id", "id", *(ATTRIBUTES[name] for name, *_ in texts[1:] if name in ATTRIBUTES))
    others = [name for name, *_ in texts if name not in ATTRIBUTES and name != PREFIX]
    prefixes = [(ipv4, ipv6) for name, ipv4, ipv6 in texts if name == PREFIX]
    between = len(texts) - 1

    def joined(event: Event) -> str:
        fields = event.fields
        found: list[Value] = [*read(event)[1:], *[fields.get(name, "") for name in others]]
        if prefixes:
            found += [network(event.address, *each) for each in prefixes]
        try:
            written = NUL.join(found)  # type: ignore[arg-type]
        except TypeError:
            found = [*map(text, found)]
            written = NUL.join(found)  # type: ignore[arg-type]
        if written.count(NUL) != between:
            written = NUL.join(each.replace(NUL, REPLACED) for each in found)  # type: ignore[union-attr]
        return written

    return joined


def is_quick(running: RunningRule) -> bool:
    """Say whether a rule can be judged this way."""
    return len(running.rule.key) <= PLAN_WORDS - A_KEYS - 1 and all(
        isinstance(state, WindowState) for state in running.states.values()
    )


def fitting(rules: Sequence[RunningRule]) -> list[RunningRule]:
    """Give those of some rules that go this way: as many as there are bits for."""
    found: list[RunningRule] = []
    windows = 1
    for running in rules:
        if is_quick(running) and windows + len(running.states) <= MOST:
            windows += len(running.states)
            found.append(running)
    return found
