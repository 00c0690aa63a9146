"""All that a worker knows, and what each record of its journal does to it. Pure: replayed, it comes out the same."""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import msgspec

from flywheel.fraud.desk import Desk, OnRuling
from flywheel.fraud.listed import Entries, PackedList
from flywheel.fraud.modelfacts import MOST_MODELS
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.policy import ListOf
from flywheel.fraud.records import (
    Events,
    Labelled,
    Lists,
    Model,
    Pardoned,
    Past,
    Record,
    Removal,
    Rules,
    Sender,
    Snapshot,
)
from flywheel.fraud.rulings import Ahead, FillingEngine, MakeEngine, RulesProblem, Ruling, ScoringEngine, Shard
from flywheel.fraud.unfiled import Unfiled
from flywheel.fraud.verdicts import Keeping, kept_of, known_as
from flywheel.plan import content_hash

if TYPE_CHECKING:
    from flywheel.fraud.scores import Scorer

AHEAD = 100
"""Events that models are asked about at once: they like many."""
SPARED = 1_000
"""Decisions that are looked at without a pause when somebody is to be left alone."""
FORGET_SENDERS = 86_400_000
"""Milliseconds after which a sidecar's process that sends nothing is forgotten."""
_keeping = msgspec.json.Decoder(Keeping)
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
        self.lists: dict[ListOf, PackedList] = {}
        self.entries: dict[ListOf, Entries] = {}
        """The same, ready to be asked."""
        self._prepared: dict[ListOf, tuple[PackedList, Entries]] = {}
        self.desks: dict[str, Desk] = {}
        self.on_ruling = on_ruling
        """None while the journal is replayed: whoever is told has been told then."""
        self.models: dict[str, None] = {}
        """Digests of the models that may be asked, as far as the journal has been read: the oldest first."""
        self.unfiled = Unfiled()
        """Verdicts on their way to the archive."""
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
            found.engine.use_lists(self.entries)
            self._load(found)
        return found

    def known_as(self, campaign: str, values: Iterable[str]) -> tuple[str, ...]:
        """Give values as verdicts of a campaign are kept with them."""
        desk = self.desks.get(campaign)
        return known_as(values, desk.keeping if desk else Keeping(), self._shard.secret)

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
            yield from self._spare()
        elif isinstance(record, Model):
            self._take_model(record.digest)
        elif isinstance(record, Lists):
            kept = {of: self.lists[of] for of in record.wanted if of in self.lists}
            self._take_lists(kept | {each.of: each for each in record.put})
            yield from self._spare()
        elif isinstance(record, Events):
            if record.batch.count:
                yield from self._judge(record)
        else:
            yield from self._at_a_desk(record)

    def _at_a_desk(self, record: Removal | Labelled | Pardoned | Past) -> Iterator[Desk | Ahead | None]:
        desk = self.desk(record.campaign)
        if isinstance(record, Labelled):
            desk.labels.put(record.labels)
        elif isinstance(record, Past):
            if isinstance(desk.engine, FillingEngine):
                yield from desk.engine.fill(record)
        elif isinstance(record, Removal):
            if desk.blocks.remove(record.decision):
                yield desk
        elif desk.pardon(record.pardon, record.at):
            yield desk

    def _judge(self, record: Events) -> Iterator[Desk | Ahead | None]:
        desk, events = self.desk(record.campaign), Packed(Reading(record.batch))
        desk.lost += record.lost
        scoring, at_once = desk.engine if isinstance(desk.engine, ScoringEngine) else None, desk.engine.at_once
        foreseen = 0
        for start in range(0, len(events), at_once):
            if scoring is not None and start >= foreseen:
                # Whole slices, so that none is half foreseen.
                foreseen = start + at_once * -(-AHEAD // at_once)
                if (ahead := scoring.ahead(events[start:foreseen])) is not None:
                    yield ahead
            yield desk if desk.judge(events[start : start + at_once], self._ruled) else None
        self._senders[record.sender] = Sender(record.number, events[-1].arrived)

    def _ruled(self, campaign: str, ruling: Ruling) -> None:
        if self.unfiled.has_room():
            keeping, secret = self.desk(campaign).keeping, self._shard.secret
            self.unfiled.add(kept_of(campaign, ruling, keeping, secret))
        if self.on_ruling is not None:
            self.on_ruling(campaign, ruling)

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
        lists, models = tuple(self.lists.values()), tuple(self.models)
        senders, unfiled = dict(self._senders), self.unfiled.dump()
        return Snapshot(position, self.rules, senders, states, unfiled=unfiled, lists=lists, models=models)

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was written down.

        Raises:
            ValueError: An engine cannot read its part.
        """
        self.desks = {}
        self.models = dict.fromkeys(snapshot.models)
        self._take_lists({each.of: each for each in snapshot.lists})
        self._take_rules(snapshot.rules)
        self._senders = dict(snapshot.senders)
        for campaign, state in snapshot.campaigns.items():
            self.desk(campaign).restore(state)
        self.unfiled.load(snapshot.unfiled)

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

    def prepare(self, packed: PackedList) -> None:
        """Lay a list out that a record is about to bring: that takes a while, and may be done beside what goes on."""
        self._prepared[packed.of] = packed, Entries(packed)

    def _take_lists(self, lists: dict[ListOf, PackedList]) -> None:
        self.entries = {of: self._laid_out(packed) for of, packed in lists.items()}
        self.lists = lists
        for desk in self.desks.values():
            desk.engine.use_lists(self.entries)

    def _laid_out(self, packed: PackedList) -> Entries:
        if packed is self.lists.get(packed.of):
            return self.entries[packed.of]
        known, entries = self._prepared.pop(packed.of, (None, None))
        return entries if known is packed and entries is not None else Entries(packed)

    def _spare(self) -> Iterator[Desk | None]:
        """End the decisions about whoever is to be left alone from now on, some at a time."""
        for desk in list(self.desks.values()):
            held = list(desk.blocks)
            for start in range(0, len(held), SPARED):
                ended = [desk.blocks.remove(each) for each in desk.engine.spared(held[start : start + SPARED])]
                yield desk if any(ended) else None

    def _load(self, desk: Desk) -> None:
        """Have a campaign judged by its rules; those before go on where the new ones cannot be taken."""
        wanted = self._wanted.get(desk.campaign, b"")
        try:
            desk.keeping = _keeping.decode(wanted)
        except msgspec.MsgspecError:
            # The engine says what is wrong with it, if anything is.
            desk.keeping = Keeping()
        try:
            desk.engine.load(wanted)
        except RulesProblem as error:
            desk.problem = str(error)
        else:
            desk.problem = ""
