"""The engine that is built in, as a worker wants it: verdicts, and of what is decided on an event the strongest."""

import functools
from collections.abc import Iterable, Sequence

from flywheel.fraud import blocks
from flywheel.fraud.decisions import Decision, decide, strongest
from flywheel.fraud.engine import Engine
from flywheel.fraud.policy import Ruled, Rules, read_rules
from flywheel.fraud.rule import Condition, Count, Distinct, Rate, Rule, Sum
from flywheel.fraud.rulings import RulesProblem, Ruling, Shard
from flywheel.fraud.words import Event, Verdict
from flywheel.plan import content_hash

KINDS: dict[str, blocks.SubjectKind] = {
    "visitor": "visitor",
    "anonymousId": "visitor",
    "address": "address",
    "context.ip": "address",
    "addressPrefix": "address",
    "user": "user",
    "userId": "user",
    "device": "device",
}
"""Field of a key -> whom a decision is about; of several the first here: who is known best."""


class EmbeddedEngine:
    """Judges the events of one campaign."""

    def __init__(self, _campaign: str, shard: Shard) -> None:
        self._secret = shard.secret
        self._engine = Engine((), secret=shard.secret, shard=shard.number, of=shard.of)
        self._ruled: dict[str, Ruled] = {}
        self._generation = ""

    @property
    def generation(self) -> str:
        """Digest of the rules that hold."""
        return self._generation

    def load(self, rules: bytes) -> None:
        """Take other rules; those that count as before keep what they have counted.

        Raises:
            RulesProblem: They cannot be taken; those before go on.
        """
        try:
            found = read_rules(rules) if rules else Rules()
            # The engine's own clock: a replay has no other.
            self._engine.replace([each.rule for each in found.rules if each.policy.mode != "Off"], self._engine.clock)
        except ValueError as error:
            raise RulesProblem(str(error)) from error
        self._ruled = {each.rule.name: each for each in found.rules}
        self._generation = content_hash(rules.decode("utf-8", "replace"))

    def judge(self, events: Sequence[Event]) -> Sequence[Ruling]:
        """Judge events, in their order."""
        verdicts = self._engine.judge(events)
        if not verdicts:
            return ()
        known = {event.id: event for event in reversed(events)}
        by_event: dict[str, list[Verdict]] = {}
        for verdict in verdicts:
            by_event.setdefault(verdict.event, []).append(verdict)
        return [each for identity, told in by_event.items() for each in self._ruled_on(known[identity], told)]

    def _ruled_on(self, event: Event, verdicts: Sequence[Verdict]) -> Iterable[Ruling]:
        # What lasts, lasts from when the edge took the event in: a replay must not move it.
        decided = [decide(self._ruled[each.rule], each, event, event.arrived, {}) for each in verdicts]
        chosen = strongest(decided)
        for verdict, decision in zip(verdicts, decided, strict=True):
            yield Ruling(verdict, self._carried_out(event, verdict, decision) if decision is chosen else ())

    def _carried_out(self, event: Event, verdict: Verdict, decision: Decision) -> tuple[blocks.Decision, ...]:
        """Say whom a decision is about, for the edge and for those who ask."""
        action = self._ruled[decision.rule].policy.action
        if decision.action is None:
            return ()
        lasts = decision.until or event.arrived + max(action.lasts, LASTS)
        return tuple(
            blocks.Decision(
                id=content_hash([decision.rule, kind, value]),
                kind=kind,
                value=value,
                action=decision.action,
                until=lasts,
                scope=decision.scope or ("/",),
                status=decision.status or action.status,
                body=action.body,
                page=action.page,
                per_second=action.per_second,
                rule=decision.rule,
                event=event.id,
                reason=_reason(verdict, decision),
            )
            for kind, value in _subjects(event, decision)
        )

    def snapshot(self) -> bytes:
        """Write down all that was counted."""
        return self._engine.snapshot(b"")

    def restore(self, state: bytes) -> None:
        """Become what `snapshot` wrote down.

        Raises:
            ValueError: It is damaged, or of another version.
        """
        self._engine, _ = Engine.restore(state, secret=self._secret)


LASTS = 86_400_000
"""Milliseconds for which those who ask are told of a review or a tag that says nothing of its own."""


def _subjects(event: Event, decision: Decision) -> list[tuple[blocks.SubjectKind, str]]:
    """Name whom a decision is about; the sender, where the key names nobody."""
    values = dict(zip(decision.names, decision.key, strict=False))
    name = next((each for each in KINDS if values.get(each)), None)
    if name is None:
        return [("address", event.address)] if event.address else []
    found = [(KINDS[name], values[name])]
    if KINDS[name] in ("user", "device") and event.visitor:
        # HAProxy knows neither, but the visitor who came as one.
        found.append(("visitor", event.visitor))
    return found


def _reason(verdict: Verdict, decision: Decision) -> str:
    return f"{verdict.observed:g}, more than {verdict.limit:g}; {decision.because or decision.done}"


@functools.cache
def _compile() -> None:
    """Judge something of no consequence: the first judgement of a process compiles, which takes seconds."""
    counts, distinct = (Count(more_than=1), Rate(more_than=1)), Distinct(field="user", more_than=1)
    conditions: tuple[Condition, ...] = (*counts, distinct, Sum(field="properties.amount", more_than=1))
    rules = [
        Rule(name=f"r{number}", key=("address",), window=60_000, conditions=(each,))
        for number, each in enumerate(conditions)
    ]
    events = [
        Event(id=str(each), time=each, arrived=each, address="192.0.2.1", user="u", fields={"properties.amount": 1.0})
        for each in range(1, 5)
    ]
    engine = Engine(rules)
    engine.judge(events)
    engine.judge(events[:1])


def make_engine(campaign: str, shard: Shard) -> EmbeddedEngine:
    """Make the engine of a campaign. The first call of a process takes seconds."""
    _compile()
    return EmbeddedEngine(campaign, shard)
