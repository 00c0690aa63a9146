"""The engine: events in, verdicts out, by exact windows. Same log, same rules: same verdicts. Needs the extra `fraud`.

What is exact, and of what
    Events are judged one by one in the order of the log. Of the key's events so far, those in (T - window, T] count,
    where T is the newest time of that key. In a log in order of time T is the event's own time. An event that comes
    late goes in at its own time, and the key is judged as it then stands; verdicts given before are not revised.
What is not judged
    An event whose id came before, within `remember`; one whose time is further behind the newest arrival than the
    rule's lateness; one that lacks a field of the key. Each is counted. A time after the arrival is the arrival.
What is bounded
    Keys by the rule's maximumKeys, entries of a key by the limit that they are counted for. What falls out of all
    windows is forgotten a little with each event, never all at once.
"""

from collections.abc import Callable, Sequence
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from flywheel.fraud import layout
from flywheel.fraud.columns import Columns, columns_of
from flywheel.fraud.counters import Counters, RuleCounters
from flywheel.fraud.kernels import sweep
from flywheel.fraud.memory import Memory
from flywheel.fraud.quick import Quick, fitting
from flywheel.fraud.rule import Rule, problems, read_again
from flywheel.fraud.running import RunningRule
from flywheel.fraud.scores import Scorer
from flywheel.fraud.sharding import has, is_whole, owner
from flywheel.fraud.shares import Share
from flywheel.fraud.single import REPEATED
from flywheel.fraud.snapshot import Snapshot, fingerprint, key_of_secret, read_snapshot, write_snapshot
from flywheel.fraud.where import unfit
from flywheel.fraud.window import Window
from flywheel.fraud.words import Event, Verdict

BATCH = 4096
"""Events taken in at a time: a longer list is cut."""
_NONE, _FIRST, _AGAIN = np.ones(0, np.bool_), np.ones(1, np.bool_), np.zeros(1, np.bool_)


_by_place: Callable[[tuple[int, Verdict]], int] = itemgetter(0)
"""The order of what the quick way gives, whose rules come by name."""


def _by_place_and_rule(found: tuple[int, Verdict]) -> tuple[int, str]:
    return found[0], found[1].rule


class Engine:
    """Judges events by some rules."""

    def __init__(
        self,
        rules: Sequence[Rule],
        *,
        secret: bytes = b"",
        shard: int = 0,
        of: int = 1,
        scorer: Scorer | None = None,
        remember: int = 600_000,
        maximum_ids: int = 1_000_000,
        now: int = 0,
    ) -> None:
        """Begin with empty windows.

        Args:
            rules: Of different names.
            secret: Keys the hashes that windows are found by: who knows it can make two keys share a window.
            shard: Which of the shards this is.
            of: How many there are; 0 is for one that has no keys yet.
            scorer: Gives the score of a model, by its digest, for values of its features.
            remember: Milliseconds for which ids of events are kept.
            maximum_ids: How many of them at most.
            now: When this begins: windows are warming from then on. 0 says with the first event.

        Raises:
            ValueError: Rules cannot be carried out, or two have one name.
        """
        self._share, self._scorer = Share(shard, of), scorer
        self._secret = key_of_secret(secret)
        self._remember, self._maximum_ids = remember, maximum_ids
        self._leaving: list[Memory] = []
        self.clock = 0
        """The newest arrival seen, in milliseconds since 1970."""
        self.fresh: NDArray[np.bool_] = _NONE
        """Of the events that were judged last: which did not come before."""
        self._events = self._duplicates = self._clamped = 0
        self._ids = Window(layout.IDS, window=remember, kept=0, limit=0, lateness=0, maximum=maximum_ids, refuses=False)
        self._running: tuple[RunningRule, ...] = ()
        self._quick = Quick(self._ids, (), self._secret)
        self.replace(rules, now)

    @property
    def shard(self) -> tuple[int, int]:
        """Which of the shards this is, and of how many."""
        return self._share.number, self._share.of

    @property
    def rules(self) -> tuple[Rule, ...]:
        """The rules that are carried out, by name."""
        return tuple(each.rule for each in self._running)

    @property
    def is_quick(self) -> bool:
        """Say whether all rules are judged by compiled windows alone."""
        return not self._slow

    def judge(self, events: Sequence[Event]) -> list[Verdict]:
        """Take events in; give the verdicts in the order of the events, and of the rules' names for one event."""
        return [verdict for _, verdict in self.judge_by_place(events)]

    def judge_by_place(self, events: Sequence[Event]) -> list[tuple[int, Verdict]]:
        """Take events in; give the verdicts in the same order, each with the place of its event."""
        if len(events) == 1:
            return [(0, verdict) for verdict in self.judge_one(events[0])]
        if 0 < len(events) <= BATCH:
            return self._judge(events)
        found, fresh = list[tuple[int, Verdict]](), [_NONE]
        for start in range(0, len(events), BATCH):
            found += [(start + i, verdict) for i, verdict in self._judge(events[start : start + BATCH])]
            fresh.append(self.fresh)
        self.fresh = np.concatenate(fresh)
        return found

    def _judge(self, events: Sequence[Event]) -> list[tuple[int, Verdict]]:
        self._shrink()
        columns = columns_of(events, self._secret, self.clock)
        if not self.clock:
            for each in self._running:
                each.begin(int(columns.clocks[0]))
        self.clock = int(columns.clocks[-1])
        fresh = self.fresh = np.empty(len(events), np.bool_)
        found = self._quick.judge_many(columns, fresh)
        self._count(len(events), len(events) - int(np.count_nonzero(fresh)), columns.clamped)
        for running in self._slow:
            found += running.judge(columns, fresh)
        found.sort(key=_by_place_and_rule if self._slow else _by_place)
        return found

    def judge_one(self, event: Event) -> list[Verdict]:
        """Take one event in; give its verdicts, in the order of the rules' names."""
        arrived, time = event.arrived, event.time
        if self._leaving:
            self._shrink()
        if not self.clock:
            return [verdict for _, verdict in self._judge((event,))]
        self.clock = clock = max(self.clock, arrived)
        clamped = time > arrived
        hits = self._quick.judge(event, arrived if clamped else time, clock, self._owned(event))
        self._count(1, hits == REPEATED, clamped)
        self.fresh = _AGAIN if hits == REPEATED else _FIRST
        if hits == REPEATED or not (hits or self._slow):
            return []
        found = self._quick.verdicts(event, arrived if clamped else time, hits) if hits else []
        if self._slow:
            columns = Columns((event,), self._secret, clock)
            for running in self._slow:
                found += [verdict for _, verdict in running.judge(columns, np.ones(1, np.bool_))]
            found.sort(key=lambda verdict: verdict.rule)
        return found

    def _owned(self, event: Event) -> int:
        """Give a bit for each rule on the quick way by which this shard judges an event."""
        if self._share.is_all:
            return -1
        return sum(1 << i for i, owns in enumerate(self._owners) if owns(event))

    def _count(self, events: int, duplicates: int, clamped: int) -> None:
        self._events += events
        self._duplicates += duplicates
        self._clamped += clamped

    @property
    def counters(self) -> Counters:
        """What was met."""
        return Counters(events=self._events, duplicates=self._duplicates, clamped=self._clamped)

    def advance(self, now: int) -> None:
        """Let the clock go on without events, and forget a little of what is over."""
        self.clock = max(self.clock, now)
        self._shrink()
        sweep(self._ids.memory.words, self._ids.row, 1000, self.clock)
        for each in self._running:
            each.advance(self.clock)

    def _shrink(self) -> None:
        """Give a part of what left windows have held back to the machine: all at once would take long."""
        if self._leaving and not self._leaving[-1].shrink():
            self._leaving.pop()

    def replace(self, rules: Sequence[Rule], now: int) -> None:
        """Go on with other rules. Conditions whose windows are defined as before keep them; new ones are warming.

        Args:
            rules: All that are to be carried out from now on.
            now: The time; no event before it has been seen by new windows, until `refilled` gives them what was.

        Raises:
            ValueError: Rules cannot be carried out, or two have one name. Nothing has changed then.
            OSError: There are no addresses for a window. Nothing has changed then either.
        """
        wrong = [f"{rule.name}: {problem}" for rule in rules for problem in [*problems(rule), *unfit(rule)]]
        if len({rule.name for rule in rules}) != len(rules):
            wrong.append("two rules have one name")
        if wrong:
            raise ValueError("; ".join(wrong))
        self._quick.flush()
        before = {each.rule.name: each for each in self._running}
        self._running = tuple(
            RunningRule(
                rule,
                before.get(rule.name),
                share=self._share,
                secret=self._secret,
                scorer=self._scorer,
                born=max(self.clock, now),
            )
            for rule in sorted(map(read_again, rules), key=lambda rule: rule.name)
        )
        kept = {id(state) for each in self._running for state in each.states.values()}
        left = [state for each in before.values() for state in each.states.values() if id(state) not in kept]
        self._leaving += [memory for state in left for memory in state.leave()]
        self._lay_out()

    def use_share(self, share: Share) -> None:
        """Judge these keys from now on, and forget what is known of others."""
        self._quick.flush()
        self._share = share
        for each in self._running:
            each.use(share)
        self._owners = [owner(each.rule, share, self._secret) for each in self._quick.rules]

    def owns(self, share: Share, rule: Rule, key: Sequence[str]) -> bool:
        """Say whether a key of a rule is in a share."""
        return has(share, (rule.name,) if is_whole(rule) else key, self._secret)

    def part(self, share: Share) -> bytes:
        """Write a snapshot of an engine that has the keys of a share alone, and has seen the same events."""
        part = Engine([], shard=share.number, of=share.of, remember=self._remember, maximum_ids=self._maximum_ids)
        part._secret, part.clock = self._secret, self.clock
        part._ids = self._ids
        part._running = tuple(each.part(share) for each in self._running)
        return part.snapshot(b"")

    def lacks(self, other: "Engine", after: int) -> bool:
        """Say whether another engine has seen events after a moment that this one has not."""
        return self._ids.lacks(other._ids, after)  # noqa: SLF001 - of our own kind

    def take_over(self, others: "Sequence[Engine]", share: Share, *, complete: bool) -> None:
        """Take the keys of other engines over that have seen the same events, and judge a share from now on.

        Args:
            others: Each with keys that no other one has, and the same rules.
            share: What is judged from now on.
            complete: Whether these are all keys that were to come. Else windows are warming again.
        """
        begins = not self._share.of
        for other in others:
            ids = other._ids  # noqa: SLF001 - of our own kind
            self._ids.adopt(ids, np.ones(len(ids.hashes), np.bool_))
            self.clock = max(self.clock, other.clock)
        running = [each for other in others for each in other._running]  # noqa: SLF001 - of our own kind
        for each in self._running:
            theirs = [found for found in running if found.rule.name == each.rule.name]
            each.take_over(theirs, begins=begins, born=0 if complete else self.clock)
        self.use_share(share)

    def refilled(
        self, name: str, windows: Sequence[str], past: Sequence[Sequence[Event]], later: Sequence[Event], born: int
    ) -> RunningRule:
        """Make a rule again, with windows that have seen what they are given. Nothing is judged by it yet.

        This only reads what the engine has, so it may be done in another thread.

        Args:
            name: Of the rule.
            windows: Digests of its conditions; the others keep what they have.
            past: Events in the order of their arrival, in parts; no two are the same.
            later: Events that happened after these, and up to where the log stands, in its order.
            born: From which time on these are all.

        Raises:
            KeyError: There is no such rule.
            OSError: There are no addresses for a window.
        """
        before = {each.rule.name: each for each in self._running}[name]
        filled = before.anew(frozenset(windows), scorer=self._scorer)
        # What of the past came very late must not make late what happened after it.
        for parts in (past, [later]):
            clock = 0
            for part in parts:
                for start in range(0, len(part), BATCH):
                    columns = columns_of(part[start : start + BATCH], self._secret, clock)
                    clock = int(columns.clocks[-1])
                    filled.warm(columns, np.ones(len(columns.times), np.bool_))
        filled.warmed(born)
        return filled

    def go_on_with(self, filled: RunningRule) -> None:
        """Go on with what `refilled` has made, of the engine as it is."""
        self._quick.flush()
        before = {each.rule.name: each for each in self._running}[filled.rule.name]
        filled.counts_as(before)
        left = [state for digest, state in before.states.items() if filled.states[digest] is not state]
        self._leaving += [memory for state in left for memory in state.leave()]
        self._running = tuple(filled if each is before else each for each in self._running)
        self._lay_out()

    def _lay_out(self) -> None:
        """Lay the ways of events out anew, after the rules at work have become others."""
        self._quick = Quick(self._ids, fitting(self._running), self._secret)
        self._slow = [each for each in self._running if each not in self._quick.rules]
        self._owners = [owner(each.rule, self._share, self._secret) for each in self._quick.rules]

    def warming(self, name: str) -> bool:
        """Say whether a rule has windows that are not yet full. KeyError where there is no such rule."""
        return {each.rule.name: each for each in self._running}[name].is_warming(self.clock)

    def counters_of(self, name: str) -> RuleCounters:
        """Tell what a rule has met. KeyError where there is no such rule."""
        self._quick.flush()
        return {each.rule.name: each for each in self._running}[name].counters

    def snapshot(self, position: bytes) -> bytes:
        """Write everything, with the position in the log that it stands at.

        This copies all that is kept, so it takes as long as that: a process that judges does it in a forked child, or
        leaves it to another that reads the same log.
        """
        self._quick.flush()
        return write_snapshot(
            Snapshot(
                secret=fingerprint(self._secret),
                rules=self.rules,
                position=position,
                clock=self.clock,
                shard=self._share.number,
                of=self._share.of,
                remember=self._remember,
                maximum_ids=self._maximum_ids,
                counters=self.counters,
                ids=self._ids.dump(),
                states=[each.dump() for each in self._running],
            )
        )

    @classmethod
    def restore(cls, data: bytes, *, secret: bytes = b"", scorer: Scorer | None = None) -> "tuple[Engine, bytes]":
        """Give an engine that goes on where a snapshot was made, and the position in the log.

        Raises:
            ValueError: The snapshot is damaged, of another version, or made with another secret.
        """
        kept = read_snapshot(data)
        engine = cls(
            kept.rules,
            secret=secret,
            shard=kept.shard,
            of=kept.of,
            scorer=scorer,
            remember=kept.remember,
            maximum_ids=kept.maximum_ids,
        )
        if kept.secret != fingerprint(engine._secret) or len(kept.states) != len(engine._running):
            raise ValueError("the snapshot was made with another secret")
        engine.clock = kept.clock
        engine._count(kept.counters.events, kept.counters.duplicates, kept.counters.clamped)
        engine._ids.load(kept.ids)
        for running, (counted, parts) in zip(engine._running, kept.states, strict=True):
            running.load(counted, parts)
        return engine, kept.position
