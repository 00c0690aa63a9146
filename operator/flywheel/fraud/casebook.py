"""All that a worker knows, and what each record of its journal does to it. Pure: replayed, it comes out the same."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from flywheel.fraud.desk import Desk, OnRuling
from flywheel.fraud.modelfacts import MOST_MODELS
from flywheel.fraud.records import Events, Model, Record, Removal, Rules, Sender, Snapshot
from flywheel.fraud.rulings import Ahead, MakeEngine, RulesProblem, ScoringEngine, Shard
from flywheel.plan import content_hash

if TYPE_CHECKING:
    from flywheel.fraud.scores import Scorer

SLICE = 100
"""Events that are judged at once: engines like many, whoever waits for an answer likes few."""
FORGET_SENDERS = 86_400_000
"""Milliseconds after which a sidecar's process that sends nothing is forgotten."""
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Casebook:
    """The desks of all campaigns, the rules, and who has sent what."""

    def __init__(
        self,
        make_engine: MakeEngine,
        shard: Shard,
        on_ruling: OnRuling | None = None,
        scorer: "Scorer | None" = None,
    ) -> None:
        self.rules = b"{}"
        self.generation = ""
        """Digest of the rules' text that was taken last."""
        self.desks: dict[str, Desk] = {}
        self.on_ruling = on_ruling
        """None while the journal is replayed: whoever is told has been told then."""
        self.models: dict[str, None] = {}
        """Digests of the models that may be asked, as far as the journal has been read: the oldest first."""
        self._make_engine, self._shard, self._scorer = make_engine, shard, scorer
        self._senders: dict[str, Sender] = {}
        self._wanted: dict[str, bytes] = {}

    def desk(self, campaign: str) -> Desk:
        """Give the desk of a campaign, with the rules that hold for it."""
        found = self.desks.get(campaign)
        if found is None:
            engine = self._make_engine(campaign, self._shard)
            if self._scorer is not None and isinstance(engine, ScoringEngine):
                engine.use_models(self._scorer, lambda digest: digest in self.models)
            found = self.desks[campaign] = Desk(campaign, engine)
            self._load(found)
        return found

    def is_known(self, batch: Events) -> bool:
        """Whether this batch, or a later one of its sender, is here already."""
        known = self._senders.get(batch.sender)
        return known is not None and batch.number <= known.number

    def apply(self, record: Record) -> Iterator[Desk | Ahead | None]:
        """Do what a record says, slice by slice; give the desk after each that changed its decisions, else None.

        Whoever calls may pause between two steps, but has to go through all of them. A step that can be called is work
        for another thread, to be done before the next step.
        """
        if isinstance(record, Rules):
            self._take_rules(record.text)
        elif isinstance(record, Model):
            self._take_model(record.digest)
        elif isinstance(record, Removal):
            desk = self.desk(record.campaign)
            if desk.blocks.remove(record.decision):
                yield desk
        elif record.events:
            desk = self.desk(record.campaign)
            scoring = desk.engine if isinstance(desk.engine, ScoringEngine) else None
            for start in range(0, len(record.events), SLICE):
                some = record.events[start : start + SLICE]
                if scoring is not None and (ahead := scoring.ahead(some)) is not None:
                    yield ahead
                yield desk if desk.judge(some, self.on_ruling) else None
            at = record.events[-1].arrived
            self._senders[record.sender] = Sender(record.number, at)

    def problems(self) -> dict[str, str]:
        """Give the campaigns whose newest rules do not hold, and why."""
        return {name: desk.problem for name, desk in self.desks.items() if desk.problem}

    def forget_senders(self) -> None:
        """Forget the processes that have sent nothing for long."""
        latest = max((each.at for each in self._senders.values()), default=0)
        self._senders = {k: each for k, each in self._senders.items() if each.at > latest - FORGET_SENDERS}

    def snapshot(self, position: int) -> Snapshot:
        """Write down everything, as of a position of the journal."""
        states = {name: desk.state() for name, desk in self.desks.items()}
        return Snapshot(position, self.rules, dict(self._senders), states, tuple(self.models))

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was written down.

        Raises:
            ValueError: An engine cannot read its part.
        """
        self.desks = {}
        self.models = dict.fromkeys(snapshot.models)
        self._take_rules(snapshot.rules)
        self._senders = dict(snapshot.senders)
        for campaign, state in snapshot.campaigns.items():
            self.desk(campaign).restore(state)

    def _take_rules(self, text: bytes) -> None:
        self.rules = text
        try:
            self._wanted = {name: bytes(raw) for name, raw in _parts.decode(text).items()}
        except msgspec.DecodeError:
            # Whoever appends rules has read them first; a journal of another version must not keep us from starting.
            return
        self.generation = content_hash(text.decode("utf-8", "replace"))
        for campaign in self._wanted:
            self.desk(campaign)
        for desk in self.desks.values():
            self._load(desk)

    def _take_model(self, digest: str) -> None:
        self.models.pop(digest, None)
        self.models[digest] = None
        while len(self.models) > MOST_MODELS:
            del self.models[next(iter(self.models))]

    def _load(self, desk: Desk) -> None:
        """Have a campaign judged by its rules; those before go on where the new ones cannot be taken."""
        try:
            desk.engine.load(self._wanted.get(desk.campaign, b""))
        except RulesProblem as error:
            desk.problem = str(error)
        else:
            desk.problem = ""
