"""One rule at work: which events it judges, by what state, and what it says of them. Needs the extra `fraud`."""

from collections.abc import Mapping, Sequence
from copy import copy
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from flywheel.fraud.columns import Columns
from flywheel.fraud.compiled import Flags, Numbers
from flywheel.fraud.conditions import WindowState, state_of
from flywheel.fraud.counters import RuleCounters
from flywheel.fraud.fields import key_reader
from flywheel.fraud.findings import Finding, State
from flywheel.fraud.kernels import choose
from flywheel.fraud.rule import Rule
from flywheel.fraud.scores import Scorer
from flywheel.fraud.sharding import Chooser, chooser
from flywheel.fraud.shares import Share
from flywheel.fraud.words import Verdict


def _every(hashes: Numbers) -> Flags:
    return np.ones(len(hashes), np.bool_)


class RunningRule:
    """A rule and the states of its conditions."""

    def __init__(
        self,
        rule: Rule,
        before: "RunningRule | None",
        *,
        share: Share,
        secret: NDArray[np.uint64],
        scorer: Scorer | None,
        born: int,
    ) -> None:
        self.rule, self._version = rule, rule.version
        self._secret = secret
        self.read_key = key_reader(rule.key, rule.prefix_ipv4, rule.prefix_ipv6)
        self.counted: RuleCounters = before.counted if before else RuleCounters()
        self.states: dict[str, State] = {}
        self.use(share)
        self._filling: list[State] = []
        for name, condition in zip(rule.windows(), rule.conditions, strict=True):
            kept = before.states.get(name) if before else None
            if kept is None:
                kept = state_of(rule, condition, scorer)
                kept.born = born
            self.states[name] = kept
        self._quick = all(isinstance(state, WindowState) for state in self.states.values())

    def use(self, share: Share) -> None:
        """Judge these keys from now on, and forget what is known of others: they may come back from elsewhere."""
        self._share = share
        self._owned: Chooser | None = None if share.is_all else chooser(self.rule, share, self._secret)
        if self._owned is not None:
            for state in self.states.values():
                state.keep(self._owned)

    def judge(self, columns: Columns, fresh: Flags) -> list[tuple[int, Verdict]]:
        """Take a batch in; give verdicts with the index of their event."""
        found = self._found(columns, fresh, list(self.states.values()))
        if not found:
            return []
        self.counted = self.counted.plus(hits=len(found))
        return self.verdicts(columns, dict(sorted(found.items())))

    def verdicts(self, columns: Columns, found: Mapping[int, Sequence[Finding]]) -> list[tuple[int, Verdict]]:
        """Give the verdicts on events that break the rule, by their index, with it."""
        told = columns.told(found, self.read_key, self.rule)
        times = columns.times[[*found]].tolist()
        return [
            (i, self.verdict(event, key, time, findings))
            for (i, findings), (event, key), time in zip(found.items(), told, times, strict=True)
        ]

    def begin(self, clock: int) -> None:
        """Note that nothing was seen before that time, where it was not known yet."""
        for state in self.states.values():
            state.born = state.born or clock

    def means(self, columns: Columns) -> Flags:
        """Say which events the rule means, of those that this shard is to judge by it."""
        matching = columns.matching(self.rule.match)
        if self._owned is not None:
            matching = matching & self._owned(columns.keys(self.rule))
        return matching

    def _found(self, columns: Columns, fresh: Flags, states: list[State]) -> dict[int, list[Finding]]:
        """Let states judge a batch; give, by event that breaks the rule, what was found."""
        rule = self.rule
        usable, keys = fresh, columns.keys(rule)
        if self._owned is not None:
            usable = usable & self._owned(keys)
        counts = np.zeros(3, np.int64)
        matching = columns.matching(rule.match)
        chosen = choose(matching, usable, keys, columns.times, columns.clocks, rule.lateness, counts)
        matched, missing, late = counts.tolist()
        self.counted = self.counted.plus(matched=matched, missing_key=missing, late=late)
        if not self._quick:
            usable = usable & (columns.times >= columns.clocks - rule.lateness)
        self.begin(int(columns.clocks[0]))
        findings = [state.judge(columns, keys, chosen, usable) for state in states]
        if len(findings) == 1:
            return {i: [finding] for i, finding in findings[0].items()}
        hit = set.union(*map(set, findings)) if rule.combine == "Any" else set.intersection(*map(set, findings))
        return {i: [each[i] for each in findings if i in each] for i in hit}

    def verdict(self, event: str, key: tuple[str, ...], time: int, findings: Sequence[Finding]) -> Verdict:
        """Say that an event breaks the rule, by what its conditions have found."""
        first, several = findings[0], len(findings) > 1
        return Verdict(
            rule=self.rule.name,
            version=self._version,
            event=event,
            at=time,
            key=key,
            observed=first.observed,
            limit=first.limit,
            since=first.since,
            saturated=first.saturated,
            warming=any(each.warming for each in findings) if several else first.warming,
            detail="; ".join(each.detail for each in findings if each.detail) if several else first.detail,
        )

    def warm(self, columns: Columns, fresh: Flags) -> None:
        """Take past events into the states that `anew` has emptied."""
        counted = self.counted
        self._found(columns, fresh, self._filling)
        self.counted = counted

    def counts_as(self, other: "RunningRule") -> None:
        """Have counted what another one has, where past events were taken in meanwhile."""
        self.counted = other.counted
        for name in self.states.keys() & other.states.keys():
            self.states[name].unusable = other.states[name].unusable

    def warmed(self, born: int) -> None:
        """Past events are over; from the time `born` on they were all."""
        for state in self._filling:
            state.born = born
        self._filling = []

    def anew(self, windows: frozenset[str], *, scorer: Scorer | None) -> "RunningRule":
        """Give the same rule with some of its states empty, and what was counted."""
        kept = copy(self)
        kept.states = {name: state for name, state in self.states.items() if name not in windows}
        made = RunningRule(self.rule, kept, share=self._share, secret=self._secret, scorer=scorer, born=0)
        made._filling = [state for name, state in made.states.items() if name in windows]
        return made

    def is_warming(self, clock: int) -> bool:
        """Say whether a state has not yet seen a whole window."""
        return any(state.span and clock - state.span < state.born for state in self.states.values())

    def advance(self, clock: int) -> None:
        """Forget a little of what is over."""
        for state in self.states.values():
            state.advance(clock)

    @property
    def counters(self) -> RuleCounters:
        """What the rule has met."""
        totals: list[Any] = [state.counters() for state in self.states.values()]
        keys, evicted, refused, truncated = (sum(each) for each in zip(*totals, strict=True))
        unusable = sum(state.unusable for state in self.states.values())
        return msgspec.structs.replace(
            self.counted, keys=keys, evicted=evicted, refused=refused, truncated=truncated, unusable=unusable
        )

    def part(self, share: Share) -> "RunningRule":
        """Give the rule with the keys of a share alone."""
        part = RunningRule(self.rule, None, share=share, secret=self._secret, scorer=None, born=0)
        choose = chooser(self.rule, share, self._secret)
        for name, state in part.states.items():
            state.adopt(self.states[name], choose)
            state.born = self.states[name].born
        return part

    def take_over(self, others: "Sequence[RunningRule]", *, begins: bool, born: int) -> None:
        """Take the keys of the same rule elsewhere over.

        Args:
            others: Each with keys that no other one has.
            begins: Whether there were no keys here before.
            born: Time from which on everything has been seen, at the earliest.
        """
        for name, state in self.states.items():
            theirs = [each.states[name] for each in others if name in each.states]
            for each in theirs:
                state.adopt(each, _every)
            if theirs:
                state.born = max([each.born for each in theirs] + ([] if begins else [state.born]))
            state.born = max(state.born, born)

    def dump(self) -> tuple[RuleCounters, dict[str, list[bytes]]]:
        """Write the state of the rule."""
        return self.counted, {name: state.dump() for name, state in self.states.items()}

    def load(self, counted: RuleCounters, parts: dict[str, list[bytes]]) -> None:
        """Read it back. ValueError where it is another rule's."""
        if parts.keys() != self.states.keys():
            raise ValueError(f"the snapshot has other conditions for {self.rule.name}")
        self.counted = counted
        for name, state in self.states.items():
            state.load(parts[name])
