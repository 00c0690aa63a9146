"""Accounts that hang together because they have used the same things. Needs the extra `fraud`."""

import numpy as np

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.fields import text
from flywheel.fraud.findings import Finding, Kept
from flywheel.fraud.keeper import Keeper
from flywheel.fraud.rule import Linked, Rule
from flywheel.fraud.sharding import Chooser

NAMED = 10
"""Accounts that a verdict names."""


class LinkedState(Kept):
    """A graph of accounts and things. An entry is the newest time, the name, and when each neighbour was last met.

    The window ends at the newest time of all of the rule's events, for there is no one key to ask.
    """

    def __init__(self, rule: Rule, condition: Linked) -> None:
        self._condition, refuses = condition, rule.when_full == "Refuse"
        self._accounts = Keeper(rule.maximum_keys, refuses=refuses)
        self._things = Keeper(rule.maximum_keys, refuses=refuses)
        self.newest = 0
        super().__init__(self._accounts, self._things, span=rule.window, lateness=rule.lateness)

    def judge(self, columns: Columns, keys: Numbers, chosen: Flags, usable: Flags) -> dict[int, Finding]:
        """Take a batch in; tell which events come from accounts that hang together with too many."""
        accounts, things = columns.hashes(self._condition.accounts), columns.hashes(self._condition.through)
        names = columns.values(self._condition.accounts)
        present = (accounts != 0) & (things != 0)
        self.unusable += int(np.count_nonzero(chosen & ~present))
        found = {}
        for i in np.flatnonzero(chosen & present).tolist():
            account, time = int(accounts[i]), int(columns.times[i])
            over = self.over(int(columns.clocks[i]))
            self._accounts.sweep(over)
            self._things.sweep(over)
            self.newest = max(self.newest, time)
            self._join(self._accounts, account, text(names[i]), int(things[i]), time)
            self._join(self._things, int(things[i]), "", account, time)
            linked = self._linked(account)
            if len(linked) > self._condition.more_than:
                found[i] = self._finding(linked)
        return found

    def _join(self, keeper: Keeper, node: int, name: str, other: int, time: int) -> None:
        entry = keeper.get(node)
        if entry is None:
            keeper.admit(node, [time, name, [[other, time]]])
            return
        last = max([time, *(at for known, at in entry[2] if known == other)])
        met = [each for each in entry[2] if each[0] != other and each[1] > self.newest - self.span - self._lateness]
        met.append([other, last])
        if len(met) > self._condition.maximum_degree:
            met.remove(min(met, key=lambda each: each[1]))
            self.truncated += 1
        entry[0], entry[2] = max(entry[0], time), met

    def _linked(self, account: int) -> list[int]:
        """Give the accounts that hang together with one, itself included: no more than one above the limit."""
        found, edge = {account: None}, [account]
        for _ in range(self._condition.depth):
            reached = []
            for thing in dict.fromkeys(thing for each in edge for thing in self._met(self._accounts, each)):
                for other in self._met(self._things, thing):
                    if other not in found:
                        found[other] = None
                        reached.append(other)
                        if len(found) > self._condition.more_than:
                            return list(found)
            edge = reached
        return list(found)

    def _met(self, keeper: Keeper, node: int) -> list[int]:
        entry = keeper.get(node)
        return [other for other, at in entry[2] if at > self.newest - self.span] if entry else []

    def _finding(self, linked: list[int]) -> Finding:
        entries = [self._accounts.get(each) for each in linked[:NAMED]]
        names = ", ".join(entry[1] for entry in entries if entry)
        since, limit = self.newest - self.span, float(self._condition.more_than)
        return Finding(float(len(linked)), limit, since, True, since < self.born, f"linked: {names}")

    def adopt(self, other: "LinkedState", choose: Chooser) -> None:  # type: ignore[override]
        """Take the graph over, where it is chosen: it is one shard's as a whole."""
        super().adopt(other, choose)
        self.newest = max(self.newest, other.newest)

    def extra(self) -> list[int]:
        """Give the numbers that are to be kept beside the keepers' entries."""
        return [self.newest, *super().extra()]

    def set_extra(self, numbers: list[int]) -> None:
        """Take them back."""
        self.newest = numbers[0]
        super().set_extra(numbers[1:])
