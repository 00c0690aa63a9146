"""The engine in the worker's own process: windows of the campaign's rules, and what follows from each verdict."""

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from flywheel.fraud.blocks import Decision, SubjectKind
from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.counters import RuleCounters
from flywheel.fraud.decisions import Decision as Decided
from flywheel.fraud.decisions import decide
from flywheel.fraud.engine import Engine
from flywheel.fraud.erasing import People
from flywheel.fraud.explain import explain, outcome
from flywheel.fraud.foresight import Foresight
from flywheel.fraud.listed import Lists
from flywheel.fraud.once import Once, named
from flywheel.fraud.packed import Packed, Reading, happened_last
from flywheel.fraud.policy import Ruled, Rules, read_rules
from flywheel.fraud.records import Heard, Past
from flywheel.fraud.roll import Roll
from flywheel.fraud.rule import Rule, Score
from flywheel.fraud.rulings import Ahead, Case, MovingEngine, RuleFigures, RulesProblem, Ruling, Shard
from flywheel.fraud.running import RunningRule
from flywheel.fraud.scores import Scorer, questions
from flywheel.fraud.sparing import Blame, Blamed, is_spared, narrowed, spares
from flywheel.fraud.tally import Tally
from flywheel.fraud.warmup import Awaiting, NotTaken, Waiting
from flywheel.fraud.words import Event, Verdict
from flywheel.plan import content_hash

log = logging.getLogger(__name__)

REMEMBERED = 24 * 3_600_000
"""Milliseconds for which whoever asks is told of a review or a tag."""
QUICK_AT_ONCE, SLOW_AT_ONCE = 500, 100
MOST_AT_ONCE = 2_000
"""As many as a sidecar sends at once."""
QUICK_JUDGEMENTS = 10_000
"""Events by rules that take some two milliseconds: fewer rules judge more at once, as each call costs something."""


def make_engine(campaign: str, shard: Shard) -> "EmbeddedEngine":
    """Make the engine of a campaign. The first call of a process compiles, which may take seconds."""
    compile_once()
    return EmbeddedEngine(campaign, shard)


class EngineState(msgspec.Struct, array_like=True):
    """What a snapshot has of an engine."""

    windows: bytes
    tallies: dict[str, Tally]
    blamed: list[tuple[str, Blame]] = []
    heard: bytes = b""
    waiting: dict[str, Awaiting] = {}
    from_store: dict[str, int] = {}


_states = msgspec.msgpack.Decoder(EngineState)


class EmbeddedEngine:
    """Judges the events of one campaign."""

    def __init__(self, campaign: str, shard: Shard) -> None:
        self.generation = ""
        self._campaign, self._shard = campaign, shard
        self._ruled: dict[str, Ruled] = {}
        self._tallies: dict[str, Tally] = {}
        self._foresight: Foresight | None = None
        self._scored: tuple[Rule, ...] = ()
        self._blamed, self._heard = Blamed(), Once()
        self._waiting = Waiting()
        self._from_store: dict[str, int] = {}
        """Rules whose windows were filled from the event store, and from which time on."""
        self._lists: Lists = {}
        self._roll = Roll((), {}, shard)
        self._engine = self._fresh()

    def use_models(self, scorer: Scorer, knows: Callable[[str], bool]) -> None:
        """Ask models from now on. Called once, before rules are loaded.

        Args:
            scorer: Gives scores by digest.
            knows: Whether a model has been handed over.
        """
        self._foresight = Foresight(scorer, knows)
        self._engine = self._fresh()

    def ahead(self, events: Sequence[Event]) -> Ahead | None:
        """Give the work that makes judging these events quick, if there is any; judging them is right without it."""
        foresight, scored = self._foresight, self._scored
        if foresight is None or not scored:
            return None
        return lambda: foresight.foresee(questions(scored, events))

    def load(self, rules: bytes) -> None:
        """Take other rules: the document of one campaign, or an empty text for none.

        Raises:
            RulesProblem: They cannot be read or carried out; those before go on.
        """
        before = {each.name: frozenset(each.windows()) for each in self._engine.rules}
        try:
            wanted = read_rules(rules).rules if rules else Rules().rules
            handed_over = {each.rule.name: self._hits(each.rule.name) for each in wanted if each.engine == "Flink"}
            # The engine's own clock: a replay has no other.
            self._engine.replace([each.rule for each in wanted if _is_ours(each)], self._engine.clock)
        except ValueError as error:
            raise RulesProblem(f"the rules of {self._campaign} cannot be taken: {error}") from error
        self._ruled = {each.rule.name: each for each in wanted}
        self._scored = tuple(rule for rule in self._engine.rules if any(isinstance(e, Score) for e in rule.conditions))
        self._tallies = {name: self._tallies.get(name, Tally()) for name in self._ruled}
        for name, hits in handed_over.items():
            # What this engine has counted stays, though its windows go.
            self._tallies[name].heard += hits
        self._await(before)
        self._roll = Roll(wanted, self._lists, self._shard)
        self.generation = content_hash(rules.decode("utf-8", "replace"))

    def _hits(self, name: str) -> int:
        """Count what was found by a rule, if it is this engine that judges by it."""
        ruled = self._ruled.get(name)
        return self._engine.counters_of(name).hits if ruled is not None and _is_ours(ruled) else 0

    def _await(self, before: Mapping[str, frozenset[str]]) -> None:
        """Have new windows wait for their past."""
        rules = [each for each in self._engine.rules if self._engine.warming(each.name)]
        self._waiting.begin(rules, before, self._engine.clock)
        same = {each.name for each in self._engine.rules if before.get(each.name, frozenset()) >= set(each.windows())}
        self._from_store = {name: since for name, since in self._from_store.items() if name in same}

    def unready(self, past: Past) -> str:
        """Say why the past of a rule is of no use to it; empty where it is."""
        try:
            self._later(past)
        except NotTaken as error:
            return str(error)
        return ""

    def fill(self, past: Past) -> Iterator[Callable[[], None]]:
        """Fill the windows of a rule from the event store, where that is of any use to it."""
        made: list[RunningRule] = []

        def work() -> None:
            with contextlib.suppress(NotTaken):
                windows, parts, later = self._later(past)
                made.append(self._engine.refilled(past.rule, windows, parts, later, past.start))

        yield work
        for filled in made:
            self._engine.go_on_with(filled)
            self._waiting.end(past.rule)
            self._from_store[past.rule] = past.start

    def _later(self, past: Past) -> tuple[tuple[str, ...], list[Packed], list[Event]]:
        """Give the windows that a past is for, the past itself, and what came here of what happened later."""
        ruled = self._ruled.get(past.rule)
        if ruled is None or ruled.rule.version != past.version:
            raise NotTaken("another version of the rule is judged by")
        parts = [Packed(Reading(each)) for each in past.batches if each.count]
        if any(happened_last(each) > past.until for each in past.batches):
            raise NotTaken("it tells of events after its own end")
        known = {str(each) for part in parts for each in part.reading.values("messageId")}
        windows, later = self._waiting.later(past.rule, known, past.until, self._engine.clock)
        return windows, parts, later

    def use_lists(self, lists: Lists) -> None:
        """Take other entries of the lists that rules name."""
        self._lists = lists
        self._roll = Roll(self._ruled.values(), lists, self._shard)

    def spared(self, decisions: Sequence[Decision]) -> Sequence[str]:
        """Of decisions that hold, give the ids of those that must end, since their rule leaves the subject alone."""
        sparing = {name: each for name, each in self._ruled.items() if spares(each)}
        return [
            each.id
            for each in decisions
            if each.rule in sparing
            and is_spared(each, self._blamed.get(each.id), sparing[each.rule], self._lists, self._engine.clock)
        ]

    @property
    def at_once(self) -> int:
        """Events that it wants at once: about as many as take half a millisecond."""
        if not self._engine.is_quick:
            return SLOW_AT_ONCE
        return min(MOST_AT_ONCE, max(QUICK_AT_ONCE, QUICK_JUDGEMENTS // max(1, len(self._engine.rules))))

    def judge(self, events: Sequence[Event]) -> Sequence[Ruling]:
        """Judge events, in their order."""
        verdicts = self._engine.judge_by_place(events)
        if self._waiting:
            self._waiting.note(events, self._engine.fresh.tolist(), self._engine.clock)
        if self._roll:
            verdicts = self._roll.joined(events, self._engine.fresh.tolist(), verdicts)
            self._note_listed(events, verdicts)
        by_place: dict[int, list[Verdict]] = {}
        for place, verdict in verdicts:
            by_place.setdefault(place, []).append(verdict)
        return [ruling for place, found in by_place.items() for ruling in self._rulings(events[place], found)]

    def hear(self, heard: Sequence[Heard]) -> Sequence[Ruling]:
        """Say what follows from verdicts of another engine: of each verdict once, and by the rules that hold now."""
        found: list[Ruling] = []
        for each in heard:
            ruled = self._ruled.get(each.verdict.rule)
            if ruled is None or ruled.engine != "Flink" or ruled.rule.version != each.verdict.version:
                continue
            if ruled.policy.mode != "Off" and self._heard.add(named(each.verdict, each.lane, each.place)):
                self._tallies[each.verdict.rule].heard += 1
                found += self._rulings(each.event, [each.verdict])
        return found

    def _note_listed(self, events: Sequence[Event], verdicts: Sequence[tuple[int, Verdict]]) -> None:
        """Remember whom a list has found already: the other engine may find the same event."""
        for place, verdict in verdicts:
            if verdict.listed and self._ruled[verdict.rule].engine == "Flink" and events[place].id:
                self._heard.add(named(verdict, 0, 0))

    def _rulings(self, event: Event, verdicts: Sequence[Verdict]) -> Iterator[Ruling]:
        """All that is decided about one event is carried out: rules may be about different subjects of it.

        Whoever makes haste to be blocked by one cookie must not keep the address free. Of decisions about one client
        the edge and the check API let the strongest count.
        """
        # What lasts, lasts from when the edge took the event in: a replay must not move it.
        decided = [decide(self._ruled[each.rule], each, event, event.arrived, self._lists) for each in verdicts]
        for verdict, decision in zip(verdicts, decided, strict=True):
            self._tallies[verdict.rule].count(verdict, decision.done, outcome(decision))
            ruled = self._ruled[verdict.rule]
            subjects = narrowed(ruled, event, self._lists) if decision.action else ()
            decisions = tuple(_decision(ruled, verdict, decision, event, *each) for each in subjects)
            for each in decisions:
                self._blamed.note(each, event, verdict)
            yield Ruling(verdict, decisions, decision.done, Case(ruled, decision, event))

    def key_of(self, rule: str) -> Sequence[str]:
        """Give the fields of a rule's key; none for a rule that is not known."""
        return self._ruled[rule].rule.key if rule in self._ruled else ()

    def sampled(self) -> Iterator[str]:
        """Give the ids of the events that samples name."""
        return (each.event for tally in self._tallies.values() for each in tally.latest)

    def forget(self, people: People) -> None:
        """Forget who people are; what windows remember of them are hashes."""
        for name, tally in self._tallies.items():
            key = self.key_of(name)
            theirs = [each for each in tally.latest if people.sent(each.event) or people.stand_in(key, each.key)]
            tally.forget(theirs)
        self._blamed.forget(people)
        self._waiting.forget(people.did)

    def snapshot(self) -> bytes:
        """Write down all windows."""
        return msgspec.msgpack.encode(
            EngineState(
                self._engine.snapshot(b""),
                self._tallies,
                self._blamed.dump(),
                self._heard.dump(),
                self._waiting.dump(),
                self._from_store,
            )
        )

    def restore(self, state: bytes) -> None:
        """Become what was written down; a snapshot of another share of the keys is left, and windows begin empty.

        Raises:
            ValueError: It cannot be read.
        """
        try:
            kept = _states.decode(state)
        except msgspec.MsgspecError as error:
            raise ValueError(f"the windows of {self._campaign} cannot be read: {error}") from error
        engine, _ = Engine.restore(kept.windows, secret=self._shard.secret, scorer=self._foresight)
        if engine.shard != (self._shard.number, self._shard.of):
            log.warning(
                "The windows of %s were kept for shard %d of %d and begin anew for %d of %d.",
                self._campaign, *engine.shard, self._shard.number, self._shard.of,
            )  # fmt: skip
            engine = self._fresh()
        else:
            self._waiting.load(kept.waiting)
            self._from_store = dict(kept.from_store)
        engine.use_share(self._shard.share)
        engine.replace([each.rule for each in self._ruled.values() if _is_ours(each)], engine.clock)
        self._engine = engine
        self._blamed.load(kept.blamed)
        self._heard.load(kept.heard)
        self._tallies = {name: kept.tallies.get(name, Tally()) for name in self._ruled}

    @property
    def clock(self) -> int:
        """The newest arrival seen, in milliseconds since 1970."""
        return self._engine.clock

    def use_shard(self, shard: Shard) -> None:
        """Judge these keys from now on."""
        self._shard = shard
        self._engine.use_share(shard.share)
        self._roll = Roll(self._ruled.values(), self._lists, shard)

    def part(self, shard: Shard, decisions: Sequence[Decision]) -> tuple[bytes, Sequence[Decision]]:
        """Write a snapshot of a part of the keys, and give those of some decisions that are about them."""
        moved = [each for each in decisions if self._is_moved(each, shard)]
        blamed = {each.id for each in moved}
        theirs = [each for each in self._blamed.dump() if each[0] in blamed]
        return msgspec.msgpack.encode(EngineState(self._engine.part(shard.share), {}, theirs)), moved

    def _is_moved(self, decision: Decision, shard: Shard) -> bool:
        """Of a decision of which it is not known whose key it is about, both are told: it ends by itself."""
        ruled, blame = self._ruled.get(decision.rule), self._blamed.get(decision.id)
        return ruled is None or blame is None or self._engine.owns(shard.share, ruled.rule, blame.key)

    def lacks(self, other: MovingEngine, after: int) -> bool:
        """Say whether another engine has seen events after a moment that this one has not."""
        return isinstance(other, EmbeddedEngine) and self._engine.lacks(other._engine, after)  # noqa: SLF001 - our kind

    def take_over(self, others: Sequence[MovingEngine], shard: Shard, *, complete: bool) -> None:
        """Take the keys of other engines over, and judge a share of all keys from now on."""
        embedded = [each for each in others if isinstance(each, EmbeddedEngine)]
        engines = [each._engine for each in embedded]  # noqa: SLF001 - of our own kind
        self._engine.take_over(engines, shard.share, complete=complete)
        for each in embedded:
            self._blamed.join(each._blamed)  # noqa: SLF001 - of our own kind
        for rule in self._engine.rules:
            if not self._engine.warming(rule.name):
                self._waiting.end(rule.name)
        self.use_shard(shard)

    def figures(self) -> Sequence[RuleFigures]:
        """Tell what each rule has met."""
        return [self._figures(ruled) for ruled in self._ruled.values()]

    def _figures(self, ruled: Ruled) -> RuleFigures:
        name, tally, judged = ruled.rule.name, self._tallies[ruled.rule.name], _is_ours(ruled)
        met = self._engine.counters_of(name) if judged else RuleCounters()
        return RuleFigures(
            rule=name,
            version=ruled.rule.version,
            generation=ruled.generation,
            mode=ruled.policy.mode,
            warm=judged and not self._engine.warming(name),
            evaluated=met.matched,
            hits=met.hits + tally.heard + tally.denied,
            acted=tally.acted,
            would=tally.would,
            held_out=tally.held_out,
            denied=tally.denied,
            watched=tally.watched,
            allowed=tally.allowed,
            without_key=met.missing_key,
            late=met.late,
            keys=met.keys,
            evicted=met.evicted + met.refused,
            unusable=met.unusable,
            duplicates=self._engine.counters.duplicates if judged else 0,
            latest=tuple(tally.latest),
            outcomes=tuple(tally.outcomes),
            awaits=self._waiting.since(name),
            from_store=self._from_store.get(name, 0),
        )

    def _fresh(self) -> Engine:
        shard = self._shard
        engine = Engine((), secret=shard.secret, shard=shard.number, of=shard.of, scorer=self._foresight)
        engine.use_share(shard.share)
        return engine


def _is_ours(ruled: Ruled) -> bool:
    """Say whether this engine judges by a rule itself."""
    return ruled.policy.mode != "Off" and ruled.engine != "Flink"


def _decision(
    ruled: Ruled, verdict: Verdict, decided: Decided, event: Event, kind: SubjectKind, value: str
) -> Decision:
    action = ruled.policy.action
    name = decided.action or action.kind
    return Decision(
        id=content_hash([verdict.rule, kind, value]),
        kind=kind,
        value=value,
        action=name,
        until=decided.until or event.arrived + REMEMBERED,
        scope=action.scope,
        status=action.status,
        body=action.body,
        page=action.page,
        pass_for=action.pass_for // 1000,
        per_second=action.per_second,
        rule=verdict.rule,
        event=verdict.event,
        reason=explain(ruled, verdict),
    )
