"""Sequences of events, and the age of accounts. Needs the extra `fraud`."""

import numpy as np

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.findings import Finding, Kept
from flywheel.fraud.keeper import Entry, Keeper
from flywheel.fraud.moments import moment
from flywheel.fraud.rule import AccountAge, Match, Rule, Sequence

STEPS_KEPT = 64
"""Events kept of one step and key: the latest."""


class SequenceState(Kept):
    """The steps in their order, and then the event that is judged.

    An entry is the newest time, how many steps' events have come, and for each step their times and numbers. Of events
    of one time the first to come is the earlier; one event is at most one step of a sequence.
    """

    def __init__(self, rule: Rule, condition: Sequence) -> None:
        self._condition = condition
        self._keeper = Keeper(rule.maximum_keys, refuses=rule.when_full == "Refuse")
        super().__init__(self._keeper, span=condition.within, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell which events end a sequence."""
        usable = usable & (keys != 0)
        steps = [columns.matching(step) & usable for step in self._condition.steps]
        found = {}
        for i in np.flatnonzero(np.logical_or.reduce([chosen, *steps])).tolist():
            key, time, clock = int(keys[i]), int(columns.times[i]), int(columns.clocks[i])
            self._keeper.sweep(self.over(clock))
            entry = self._keeper.get(key)
            if chosen[i] and entry is not None:
                finding = self._judged(entry, time)
                if finding:
                    found[i] = finding
            taken = [n for n, step in enumerate(steps) if step[i]]
            if taken:
                self._take(key, entry, time, clock, taken)
        return found

    def _judged(self, entry: Entry, time: int) -> Finding | None:
        """Find the latest beginning of a sequence that ends now, going backwards from step to step."""
        limit: tuple[int, int] = (time, entry[1])
        for kept in reversed(entry[2:]):
            before = [(at, number) for at, number in kept if (at, number) < limit]
            if not before:
                return None
            limit = max(before)
        since = time - self.span
        if limit[0] <= since:
            return None
        return Finding(float(time - limit[0]), float(self.span), since, warming=since < self.born)

    def _take(self, key: int, entry: Entry | None, time: int, clock: int, taken: list[int]) -> None:
        if entry is None:
            entry = [time, 0, *([] for _ in self._condition.steps)]
            if not self._keeper.admit(key, entry):
                return
        entry[0], number = max(entry[0], time), entry[1]
        entry[1] = number + 1
        for n in taken:
            kept = sorted([*(each for each in entry[2 + n] if each[0] > self.over(clock)), [time, number]])
            self.truncated += len(kept) > STEPS_KEPT
            entry[2 + n] = kept[-STEPS_KEPT:]


class AccountSinceState(Kept):
    """The time since an account's beginning, told by an event of its user. An entry is the time of the last one."""

    def __init__(self, rule: Rule, condition: AccountAge, since: Match) -> None:
        self._since = since
        self._keeper = Keeper(rule.maximum_keys, refuses=rule.when_full == "Refuse")
        super().__init__(self._keeper, span=condition.less_than, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell which events come from accounts that are too young."""
        users = columns.hashes("user")
        self.unusable += int(np.count_nonzero(chosen & (users == 0)))
        begins = columns.matching(self._since) & usable & (users != 0)
        found = {}
        for i in np.flatnonzero((chosen | begins) & (users != 0)).tolist():
            user, time = int(users[i]), int(columns.times[i])
            self._keeper.sweep(self.over(int(columns.clocks[i])))
            entry = self._keeper.get(user)
            if begins[i]:
                if entry is None:
                    entry = [time]
                    self._keeper.admit(user, entry)
                entry[0] = max(entry[0], time)
            if chosen[i] and entry is not None and 0 <= time - entry[0] < self.span:
                found[i] = Finding(float(time - entry[0]), float(self.span), time - self.span)
        return found


class CreatedState(Kept):
    """The time since an account's beginning, told by the event itself."""

    def __init__(self, rule: Rule, condition: AccountAge) -> None:
        self._field, self._less_than = condition.created_at, condition.less_than
        super().__init__(span=0, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Tell which events come from accounts that are too young."""
        values, found = columns.values(self._field), {}
        for i in np.flatnonzero(chosen).tolist():
            created, time = moment(values[i]), int(columns.times[i])
            if created is None:
                self.unusable += 1
            elif time - created < self._less_than:
                age = max(0, time - created)
                found[i] = Finding(float(age), float(self._less_than), time - self._less_than)
        return found
