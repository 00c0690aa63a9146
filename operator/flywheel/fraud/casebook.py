"""All that a worker knows, and what each record of its journal does to it. Pure: replayed, it comes out the same."""

from collections.abc import Iterator

import msgspec

from flywheel.fraud.desk import Desk, OnRuling
from flywheel.fraud.listed import Entries, PackedList
from flywheel.fraud.policy import ListOf
from flywheel.fraud.records import Events, Lists, Record, Removal, Rules, Sender, Snapshot
from flywheel.fraud.rulings import MakeEngine, RulesProblem, Shard
from flywheel.plan import content_hash

SLICE = 100
"""Events that are judged at once: engines like many, whoever waits for an answer likes few."""
SPARED = 1_000
"""Decisions that are looked at without a pause when somebody is to be left alone."""
FORGET_SENDERS = 86_400_000
"""Milliseconds after which a sidecar's process that sends nothing is forgotten."""
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Casebook:
    """The desks of all campaigns, the rules, and who has sent what."""

    def __init__(self, make_engine: MakeEngine, shard: Shard, on_ruling: OnRuling | None = None) -> None:
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
        self._make_engine, self._shard = make_engine, shard
        self._senders: dict[str, Sender] = {}
        self._wanted: dict[str, bytes] = {}

    def desk(self, campaign: str) -> Desk:
        """Give the desk of a campaign, with the rules that hold for it."""
        found = self.desks.get(campaign)
        if found is None:
            found = self.desks[campaign] = Desk(campaign, self._make_engine(campaign, self._shard))
            found.engine.use_lists(self.entries)
            self._load(found)
        return found

    def is_known(self, batch: Events) -> bool:
        """Whether this batch, or a later one of its sender, is here already."""
        known = self._senders.get(batch.sender)
        return known is not None and batch.number <= known.number

    def apply(self, record: Record) -> Iterator[Desk | None]:
        """Do what a record says, slice by slice; give the desk after each that changed its decisions, else None.

        Whoever calls may pause between two steps, but has to go through all of them.
        """
        if isinstance(record, Rules):
            self._take_rules(record.text)
            yield from self._spare()
        elif isinstance(record, Lists):
            kept = {of: self.lists[of] for of in record.wanted if of in self.lists}
            self._take_lists(kept | {each.of: each for each in record.put})
            yield from self._spare()
        elif isinstance(record, Removal):
            desk = self.desk(record.campaign)
            if desk.blocks.remove(record.decision):
                yield desk
        elif record.events:
            desk = self.desk(record.campaign)
            for start in range(0, len(record.events), SLICE):
                some = record.events[start : start + SLICE]
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
        return Snapshot(position, self.rules, dict(self._senders), states, lists=tuple(self.lists.values()))

    def restore(self, snapshot: Snapshot) -> None:
        """Become what was written down.

        Raises:
            ValueError: An engine cannot read its part.
        """
        self.desks = {}
        self._take_lists({each.of: each for each in snapshot.lists})
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
        try:
            desk.engine.load(self._wanted.get(desk.campaign, b""))
        except RulesProblem as error:
            desk.problem = str(error)
        else:
            desk.problem = ""
