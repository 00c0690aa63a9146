"""One campaign at a worker: its engine, its decisions, and a digest of everything that was ever judged. Pure."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import msgspec

from flywheel.fraud.blocks import AT_THE_EDGE, Blocks
from flywheel.fraud.erasing import Erasure, Erasures, ForgettingEngine, People
from flywheel.fraud.labels import Labels
from flywheel.fraud.pardons import Pardon, Pardons, ended_by
from flywheel.fraud.records import CampaignState, Heard
from flywheel.fraud.rulings import FraudEngine, HearingEngine, MovingEngine, Ruling, Shard
from flywheel.fraud.verdicts import Keeping
from flywheel.fraud.words import Event

_encode = msgspec.msgpack.Encoder().encode
OnRuling = Callable[[str, Ruling], None]
"""Told campaign and ruling."""


class Desk:
    """Judges the events of one campaign and keeps what follows from it."""

    def __init__(self, campaign: str, engine: FraudEngine) -> None:
        self.campaign, self.engine = campaign, engine
        self.blocks = Blocks()
        self.labels, self.pardons = Labels(), Pardons()
        self.erasures = Erasures()
        self.keeping = Keeping()
        """What is kept of verdicts."""
        self.events = self.verdicts = self.lost = 0
        self.problem = ""
        """Why the newest rules do not hold; empty where they do."""
        self.digest = b""
        """Of all rulings in their order: two workers with equal digests have said the same, byte for byte."""

    def judge(self, events: Sequence[Event], on_ruling: OnRuling | None = None) -> bool:
        """Judge events; tell whether other decisions hold than before."""
        self.events += len(events)
        return self._carry_out(self.engine.judge(events), on_ruling)

    def hear(self, heard: Sequence[Heard], on_ruling: OnRuling | None = None) -> bool:
        """Act on verdicts of another engine; tell whether other decisions hold than before."""
        return isinstance(self.engine, HearingEngine) and self._carry_out(self.engine.hear(heard), on_ruling)

    def _carry_out(self, rulings: Iterable[Ruling], on_ruling: OnRuling | None) -> bool:
        changed = False
        for ruled in rulings:
            ruling = self._pardoned(ruled)
            self.verdicts += 1
            said = _encode((ruling.verdict, ruling.decisions, ruling.done))
            self.digest = hashlib.blake2b(self.digest + said, digest_size=16).digest()
            for decision in ruling.decisions:
                changed |= self.blocks.put(decision)
            if on_ruling is not None:
                on_ruling(self.campaign, ruling)
        return changed

    def pardon(self, pardon: Pardon, now: int) -> bool:
        """Leave somebody alone; tell whether other decisions hold than before."""
        self.pardons.put(pardon, now)
        ended = ended_by(pardon, tuple(self.blocks)) if pardon.until > now else []
        for each in ended:
            self.blocks.remove(each)
        return bool(ended)

    def erase(self, erasure: Erasure, marks: Sequence[str]) -> bool:
        """Forget people; tell whether other decisions hold than before.

        Args:
            erasure: Who they are.
            marks: Their names as hashes, by which they are known where they come late.
        """
        self.erasures.ask(erasure, marks)
        people = People(erasure)
        self.labels.drop(lambda each: people.are_meant_by(each, self.key_of))
        self.pardons.drop(people.have)
        ended = [each.id for each in self.blocks if people.have(each)]
        for each in ended:
            self.blocks.remove(each)
        self.blocks.unname(people.sent)
        if isinstance(self.engine, ForgettingEngine):
            self.engine.forget(people)
        return bool(ended)

    def key_of(self, rule: str) -> Sequence[str]:
        """Give the fields of a rule's key; none where that is not known."""
        return self.engine.key_of(rule) if isinstance(self.engine, ForgettingEngine) else ()

    def named_events(self) -> set[str]:
        """Give the ids of events that labels, decisions or samples name: some may be of somebody who is erased."""
        sampled = self.engine.sampled() if isinstance(self.engine, ForgettingEngine) else ()
        labelled = (each.value[0] for each in self.labels if each.kind == "event")
        return {*labelled, *sampled, *(each.event for each in self.blocks if each.event)}

    def _pardoned(self, ruling: Ruling) -> Ruling:
        """Take back what follows for those who are left alone."""
        case = ruling.case
        pardon = self.pardons.of(ruling.verdict.rule, case.event) if case else None
        if case is None or pardon is None or not (ruling.decisions or case.decided.action):
            return ruling
        because = f"by hand: {pardon.reason}" if pardon.reason else "by hand"
        decided = msgspec.structs.replace(
            case.decided, done="Allowed", action=None, would=case.decided.action, until=0, because=because
        )
        return ruling._replace(decisions=(), done="Allowed", case=case._replace(decided=decided))

    def state(self) -> CampaignState:
        """Write down what has to be kept."""
        version, decisions = self.blocks.dump()
        return CampaignState(
            self.engine.snapshot(), version, decisions, self.events, self.verdicts, self.digest,
            labels=self.labels.dump(), pardons=self.pardons.dump(), lost=self.lost, erasures=self.erasures.dump(),
        )  # fmt: skip

    def part(self, shard: Shard) -> CampaignState | None:
        """Write down what another worker needs to go on with a part of the keys; None where keys cannot move."""
        if not isinstance(self.engine, MovingEngine):
            return None
        state, decisions = self.engine.part(shard, tuple(self.blocks))
        return CampaignState(
            state, 0, tuple(decisions), 0, 0, b"", labels=self.labels.dump(), pardons=self.pardons.dump()
        )

    def take_over(self, others: "Sequence[Desk]", shard: Shard, *, complete: bool) -> None:
        """Take the keys of other desks of the campaign over, which have seen the same events."""
        engines = [each.engine for each in others if isinstance(each.engine, MovingEngine)]
        if isinstance(self.engine, MovingEngine):
            self.engine.take_over(engines, shard, complete=complete)
        self.verdicts += sum(each.verdicts for each in others)

    def restore(self, state: CampaignState) -> None:
        """Become what was written down.

        Raises:
            ValueError: The engine cannot read its part.
        """
        self.engine.restore(state.engine)
        self.blocks.load(state.version, state.decisions)
        self.events, self.verdicts, self.digest = state.events, state.verdicts, state.digest
        self.lost = state.lost
        self.labels.load(state.labels)
        self.pardons.load(state.pardons)
        self.erasures.load(state.erasures)

    def active(self) -> dict[str, int]:
        """Count the decisions that hold, by rule."""
        return dict(Counter(each.rule for each in self.blocks if each.action in AT_THE_EDGE))
