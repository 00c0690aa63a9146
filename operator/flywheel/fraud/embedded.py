"""The engine in the worker's own process: windows of the campaign's rules, and what follows from each verdict."""

import logging
import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flywheel.fraud import naming, pass_key
from flywheel.fraud.blocks import Decision
from flywheel.fraud.counters import RuleCounters
from flywheel.fraud.decisions import Decision as Decided
from flywheel.fraud.decisions import Done, Lists, decide
from flywheel.fraud.engine import Engine
from flywheel.fraud.explain import explain
from flywheel.fraud.policy import Ruled
from flywheel.fraud.rulings import RuleFigures, RulesProblem, Ruling, Shard
from flywheel.fraud.subjects import subject_of
from flywheel.fraud.words import Event, Verdict
from flywheel.plan import content_hash

log = logging.getLogger(__name__)

KEY_FILE = "engine.key"
DIRECTORY_VARIABLE = "FLYWHEEL_DATA_DIRECTORY"
REMEMBERED = 24 * 3_600_000
"""Milliseconds for which whoever asks is told of a review or a tag."""
LATEST = 8
"""Verdicts that are told as samples."""
_rules = msgspec.json.Decoder(tuple[Ruled, ...])
_NO_LISTS: Lists = {}


def make_engine(campaign: str, shard: Shard) -> "EmbeddedEngine":
    """Make the engine of a campaign.

    Its windows are found by hashes whose key lies on the worker's volume: nobody outside can make two of them meet.

    Raises:
        OSError: The key can neither be read nor written.
    """
    directory = Path(os.environ.get(DIRECTORY_VARIABLE, naming.DATA_DIRECTORY))
    return EmbeddedEngine(campaign, shard, pass_key.load_or_make(directory / KEY_FILE)[1])


class Tally(msgspec.Struct):
    """What was done about the verdicts of one rule."""

    acted: int = 0
    would: int = 0
    held_out: int = 0
    latest: list[Verdict] = []

    def count(self, verdict: Verdict, done: Done) -> None:
        """Take a verdict in."""
        self.acted += done in ("Acted", "Watched")
        self.would += done in ("Shadow", "OutsideShare")
        self.held_out += done == "HeldOut"
        self.latest = [*self.latest[1 - LATEST :], verdict]


class _State(msgspec.Struct, array_like=True):
    windows: bytes
    tallies: dict[str, Tally]


_states = msgspec.msgpack.Decoder(_State)


class EmbeddedEngine:
    """Judges the events of one campaign."""

    def __init__(self, campaign: str, shard: Shard, secret: bytes) -> None:
        self.generation = content_hash([])
        self._campaign, self._shard, self._secret = campaign, shard, secret
        self._ruled: dict[str, Ruled] = {}
        self._tallies: dict[str, Tally] = {}
        self._engine = self._fresh()

    def load(self, rules: bytes) -> None:
        """Take other rules: a JSON list of `Ruled`.

        Raises:
            RulesProblem: They cannot be read or carried out; those before go on.
        """
        try:
            wanted = _rules.decode(rules)
            judged = [each.rule for each in wanted if each.policy.mode != "Off"]
            self._engine.replace(judged, self._engine.clock)
        except (msgspec.MsgspecError, ValueError) as error:
            raise RulesProblem(f"the rules of {self._campaign} cannot be taken: {error}") from error
        self._ruled = {each.rule.name: each for each in wanted}
        self._tallies = {name: self._tallies.get(name, Tally()) for name in self._ruled}
        self.generation = content_hash(msgspec.to_builtins(wanted))

    def judge(self, events: Sequence[Event]) -> Sequence[Ruling]:
        """Judge events, in their order."""
        verdicts = self._engine.judge(events)
        if not verdicts:
            return ()
        first: dict[str, Event] = {}
        for event in events:
            # Of events with one id the first is judged.
            first.setdefault(event.id, event)
        return [self._ruling(verdict, first[verdict.event]) for verdict in verdicts]

    def _ruling(self, verdict: Verdict, event: Event) -> Ruling:
        ruled = self._ruled[verdict.rule]
        decided = decide(ruled, verdict, event, event.arrived, _NO_LISTS)
        self._tallies[verdict.rule].count(verdict, decided.done)
        if decided.action is None:
            return Ruling(verdict)
        subject = subject_of(ruled, event)
        return Ruling(verdict, (_decision(ruled, verdict, decided, event, *subject),) if subject else ())

    def snapshot(self) -> bytes:
        """Write down all windows."""
        return msgspec.msgpack.encode(_State(self._engine.snapshot(b""), self._tallies))

    def restore(self, state: bytes) -> None:
        """Become what was written down; a snapshot of another share of the keys is left, and windows begin empty.

        Raises:
            ValueError: It cannot be read.
        """
        try:
            kept = _states.decode(state)
        except msgspec.MsgspecError as error:
            raise ValueError(f"the windows of {self._campaign} cannot be read: {error}") from error
        engine, _ = Engine.restore(kept.windows, secret=self._secret)
        if engine.shard != self._shard:
            log.warning(
                "The windows of %s were kept for shard %d of %d and begin anew for %d of %d.",
                self._campaign, *engine.shard, *self._shard,
            )  # fmt: skip
            engine = self._fresh()
        engine.replace([each.rule for each in self._ruled.values() if each.policy.mode != "Off"], engine.clock)
        self._engine = engine
        self._tallies = {name: kept.tallies.get(name, Tally()) for name in self._ruled}

    def figures(self) -> Sequence[RuleFigures]:
        """Tell what each rule has met."""
        return [self._figures(ruled) for ruled in self._ruled.values()]

    def _figures(self, ruled: Ruled) -> RuleFigures:
        name, tally, judged = ruled.rule.name, self._tallies[ruled.rule.name], ruled.policy.mode != "Off"
        met = self._engine.counters_of(name) if judged else RuleCounters()
        return RuleFigures(
            rule=name,
            version=ruled.rule.version,
            generation=ruled.generation,
            mode=ruled.policy.mode,
            warm=judged and not self._engine.warming(name),
            evaluated=met.matched,
            hits=met.hits,
            acted=tally.acted,
            would=tally.would,
            held_out=tally.held_out,
            without_key=met.missing_key,
            late=met.late,
            keys=met.keys,
            evicted=met.evicted + met.refused,
            latest=tuple(tally.latest),
        )

    def _fresh(self) -> Engine:
        return Engine((), secret=self._secret, shard=self._shard.number, of=self._shard.of)


def _decision(ruled: Ruled, verdict: Verdict, decided: Decided, event: Event, kind: str, value: str) -> Decision:
    action = ruled.policy.action
    name = decided.action or action.kind
    return Decision(
        id=content_hash([verdict.rule, name, kind, value]),
        kind=kind,  # type: ignore[arg-type]
        value=value,
        action=name,
        until=decided.until or event.arrived + REMEMBERED,
        scope=action.scope,
        status=action.status,
        body=action.body,
        page=action.page,
        per_second=action.per_second,
        rule=verdict.rule,
        event=verdict.event,
        reason=explain(ruled, verdict),
    )
