"""All that a worker knows, and what each record of its journal does to it. Pure: replayed, it comes out the same."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from flywheel.fraud.desk import Desk, OnRuling
from flywheel.fraud.listed import Entries, PackedList
from flywheel.fraud.modelfacts import MOST_MODELS
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.policy import ListOf
from flywheel.fraud.records import (
    Elsewhere,
    Erased,
    ErasureStep,
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
from flywheel.fraud.rulings import (
    Ahead,
    FillingEngine,
    MakeEngine,
    MovingEngine,
    RulesProblem,
    Ruling,
    ScoringEngine,
    Shard,
)
from flywheel.fraud.unfiled import Unfiled
from flywheel.fraud.verdicts import Keeping, kept_of, known_as, marked, masked
from flywheel.plan import content_hash

if TYPE_CHECKING:
    from flywheel.fraud.scores import Scorer

AHEAD = 100
"""Events that models are asked about at once: they like many."""
SPARED = 1_000
"""Decisions that are looked at without a pause when somebody is to be left alone."""
HEARD = 50
"""Verdicts of another engine that are acted on without a pause."""
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
        self.topics: dict[str, dict[int, int]] = {}
        """By topic of verdicts of another engine and its partition: where to go on reading."""
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

    @property
    def shard(self) -> Shard:
        """The keys that are judged here."""
        return self._shard

    def sender(self, name: str) -> Sender | None:
        """Give what is known of a sidecar's process."""
        return self._senders.get(name)

    @property
    def senders(self) -> Iterable[str]:
        """The processes of sidecars that have sent anything lately."""
        return tuple(self._senders)

    def use_shard(self, shard: Shard) -> None:
        """Judge these keys from now on."""
        self._shard = shard
        for desk in list(self.desks.values()):
            if isinstance(desk.engine, MovingEngine):
                desk.engine.use_shard(shard)

    def part(self, shard: Shard) -> Snapshot:
        """Write down what another worker needs to go on with a part of the keys, as of now."""
        parts = {name: desk.part(shard) for name, desk in self.desks.items()}
        states = {name: part for name, part in parts.items() if part is not None}
        lists, models = tuple(self.lists.values()), tuple(self.models)
        return Snapshot(0, self.rules, {}, states, lists=lists, models=models, shard=shard.number, of=shard.of)

    def beside(self, part: Snapshot, shard: Shard) -> "tuple[Casebook, Snapshot]":
        """Give one that is to go on with a part of the keys by the rules and lists of this one, and what to restore.

        That is quick; to restore a part takes a while, and may be done beside what goes on here.
        """
        made = Casebook(self._make_engine, shard, scorer=self._scorer)
        made.lists, made.entries = self.lists, self.entries
        pardons = {name: desk.pardons.dump() for name, desk in self.desks.items()}
        campaigns = {
            name: msgspec.structs.replace(state, pardons=(*state.pardons, *pardons.get(name, ())))
            for name, state in part.campaigns.items()
        }
        lists, models = tuple(self.lists.values()), tuple(self.models)
        return made, msgspec.structs.replace(part, rules=self.rules, lists=lists, models=models, campaigns=campaigns)

    def take_over(self, others: "Sequence[Casebook]", shard: Shard, *, complete: bool) -> None:
        """Take the keys of others over that have seen the same events, and judge a share of all keys from now on.

        Decisions are left to `take_decisions`.
        """
        self._shard = shard
        for name, desk in list(self.desks.items()):
            theirs = [other.desks[name] for other in others if name in other.desks]
            desk.take_over(theirs, shard, complete=complete)

    def take_decisions(self, others: "Sequence[Casebook]") -> list[str]:
        """Take the decisions of others over, and the verdicts to file; name the campaigns where anything changed."""
        changed = {
            name
            for other in others
            for name, desk in other.desks.items()
            for decision in tuple(desk.blocks)
            if self.desk(name).blocks.put(decision)
        }
        for other in others:
            self.unfiled.dropped += other.unfiled.dropped
            for kept in other.unfiled.dump():
                if self.unfiled.has_room():
                    self.unfiled.add(kept)
        return sorted(changed)

    def known_as(self, campaign: str, values: Iterable[str]) -> tuple[str, ...]:
        """Give values as verdicts of a campaign are kept with them."""
        desk = self.desks.get(campaign)
        return known_as(values, desk.keeping if desk else Keeping(), self._shard.secret)

    @property
    def newest(self) -> int:
        """The newest arrival of all that was judged, in milliseconds since 1970."""
        return max((each.at for each in self._senders.values()), default=0)

    def masked(self, address: str) -> str:
        """Give the name under which an address is known where it is not to be kept."""
        return masked(address, self._shard.secret)

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
        elif isinstance(record, Elsewhere):
            yield from self._hear(record)
        elif isinstance(record, Past):
            engine = self.desk(record.campaign).engine
            if isinstance(engine, FillingEngine):
                yield from engine.fill(record)
        else:
            desk = self.desk(record.campaign)
            if self._is_other(desk, record):
                yield desk

    def _is_other(self, desk: Desk, record: Removal | Labelled | Pardoned | Erased | ErasureStep) -> bool:
        """Do what a record says that somebody wrote by hand; tell whether other decisions hold than before."""
        if isinstance(record, Removal):
            return desk.blocks.remove(record.decision)
        if isinstance(record, Labelled):
            desk.labels.put(record.labels)
        elif isinstance(record, Pardoned):
            return desk.pardon(record.pardon, record.at)
        elif isinstance(record, Erased):
            return desk.erase(record.erasure, [marked(*name, self._shard.secret) for name in record.erasure.names])
        else:
            desk.erasures.step(record.receipt, gone=record.gone)
        return False

    def _judge(self, record: Events) -> Iterator[Desk | Ahead | None]:
        self.desk(record.campaign).lost += record.lost
        events = Packed(Reading(record.batch))
        yield from self.judge(record.campaign, events)
        self._senders[record.sender] = Sender(record.number, events[-1].arrived, record.workers)

    def judge(self, campaign: str, events: Packed) -> Iterator[Desk | Ahead | None]:
        """Judge events of a campaign, slice by slice, as `apply` does."""
        desk = self.desk(campaign)
        scoring, at_once = desk.engine if isinstance(desk.engine, ScoringEngine) else None, desk.engine.at_once
        foreseen = 0
        for start in range(0, len(events), at_once):
            if scoring is not None and start >= foreseen:
                # Whole slices, so that none is half foreseen.
                foreseen = start + at_once * -(-AHEAD // at_once)
                if (ahead := scoring.ahead(events[start:foreseen])) is not None:
                    yield ahead
            yield desk if desk.judge(events[start : start + at_once], self._ruled) else None

    def _hear(self, record: Elsewhere) -> Iterator[Desk | None]:
        self.topics[record.topic] = self.topics.get(record.topic, {}) | record.positions
        desk = self.desk(record.campaign)
        for start in range(0, len(record.heard), HEARD):
            yield desk if desk.hear(record.heard[start : start + HEARD], self._ruled) else None

    def _ruled(self, campaign: str, ruling: Ruling) -> None:
        desk = self.desk(campaign)
        if not self._is_erased(desk, ruling) and self.unfiled.has_room():
            self.unfiled.add(kept_of(campaign, ruling, desk.keeping, self._shard.secret))
        if self.on_ruling is not None:
            self.on_ruling(campaign, ruling)

    def _is_erased(self, desk: Desk, ruling: Ruling) -> bool:
        """Tell whether an edge has told late of somebody who was erased meanwhile."""
        if ruling.case is None:
            return False
        event = ruling.case.event
        senders = (("visitor", event.visitor), ("user", event.user), ("address", event.address))
        marks = (marked(kind, value, self._shard.secret) for kind, value in senders if value)
        return desk.erasures.came_before(marks, min(event.time, event.arrived), event.arrived)

    def problems(self) -> dict[str, str]:
        """Give the campaigns whose newest rules do not hold, and why."""
        return {name: desk.problem for name, desk in self.desks.items() if desk.problem}

    def forget_senders(self) -> None:
        """Forget the processes that have sent nothing for long."""
        latest = self.newest
        self._senders = {k: each for k, each in self._senders.items() if each.at > latest - FORGET_SENDERS}

    def snapshot(self, position: int) -> Snapshot:
        """Write down everything, as of a position of the journal."""
        states = {name: desk.state() for name, desk in self.desks.items()}
        lists, models = tuple(self.lists.values()), tuple(self.models)
        senders, unfiled = dict(self._senders), self.unfiled.dump()
        topics = {topic: dict(each) for topic, each in self.topics.items()}
        shard = self._shard
        return Snapshot(
            position, self.rules, senders, states, unfiled=unfiled, lists=lists, models=models, topics=topics,
            shard=shard.number, of=shard.of,
        )  # fmt: skip

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was written down.

        Raises:
            ValueError: An engine cannot read its part.
        """
        self.desks = {}
        self._shard = self._shard._replace(number=snapshot.shard, of=snapshot.of)
        self.models = dict.fromkeys(snapshot.models)
        self._take_lists({each.of: each for each in snapshot.lists})
        self._take_rules(snapshot.rules)
        self._senders = dict(snapshot.senders)
        self.topics = {topic: dict(each) for topic, each in snapshot.topics.items()}
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
