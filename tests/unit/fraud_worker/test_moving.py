"""Keys that move between workers: all of them together say what one alone would, whatever happens meanwhile."""

import random
from collections.abc import Callable

import msgspec
import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.unit.fraud.streams import ADDRESSES, AMOUNTS, DEVICES, PATTERNS, RULES, START
from tests.unit.fraud_worker.test_embedded import BEGAN, claims, document, ruled

from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.moving import Taken, exhaust, have_met, moved, read_moved, sources, takers
from flywheel.fraud.policy import Action, Policy, Ruled
from flywheel.fraud.records import Events, Record, Rules, encode, read_record, read_snapshot
from flywheel.fraud.rulings import Ruling, Shard
from flywheel.fraud.sharding import among
from flywheel.fraud.shares import Share
from flywheel.fraud.words import Event

CAMPAIGN, SECRET = "spring", b"s"
ALL = [
    Ruled(rule=rule, policy=Policy(action=Action(kind="Block", lasts=60_000), mode="Enforce"))
    for rule in [*RULES, *PATTERNS]
]
Said = set[tuple[str, tuple[str, ...], str, float]]


class Worker:
    """A worker as far as it can be one without disks and ports: what it has written down outlives it."""

    def __init__(self, number: int, of: int, said: Said) -> None:
        self.number, self.said = number, said
        self.journal: list[bytes] = []
        self.kept: tuple[int, bytes] = (0, b"")
        self.book = self._new(Shard(number, of, SECRET))
        self.taken: list[Taken] = []
        self.replayed: list[int] = []
        self.seen = 0
        """Events of the stream that came here."""
        self.write_down()
        self.submit(Rules(document(*ALL)))

    def _new(self, shard: Shard) -> Casebook:
        return self.listened(Casebook(make_engine, shard))

    def listened(self, book: Casebook) -> Casebook:
        def note(_campaign: str, ruling: Ruling) -> None:
            verdict = ruling.verdict
            self.said.add((verdict.rule, verdict.key, verdict.event, verdict.observed))

        book.on_ruling = note
        return book

    def submit(self, record: Record) -> None:
        self.journal.append(encode(record))
        exhaust(self.book.apply(record))

    def hear(self, stream: list[Event], count: int) -> None:
        events = stream[self.seen : self.seen + count]
        if events:
            self.seen += len(events)
            self.submit(Events(CAMPAIGN, "edge", len(self.journal), pack(events)))

    def write_down(self) -> None:
        self.kept = len(self.journal), encode(self.book.snapshot(len(self.journal)))

    def kill(self) -> None:
        self.book, self.taken, self.replayed = self._new(self.book.shard), [], []
        position, data = self.kept
        self.book.restore(read_snapshot(data))
        for record in self.journal[position:]:
            exhaust(self.book.apply(read_record(record)))

    def ask(self, source: "Worker", of: int) -> None:
        sent = read_moved(moved(source.book, self.number, of))
        self.taken.append(taken := Taken(self.book, sent, self.number, of, len(self.journal)))
        taken.restore()
        self.listened(taken.book)
        self.replayed.append(0)

    def catch_up(self) -> None:
        for i, taken in enumerate(self.taken):
            for position in range(self.replayed[i], len(self.journal)):
                exhaust(taken.apply(position, read_record(self.journal[position])))
            self.replayed[i] = len(self.journal)

    def take_over(self, of: int) -> bool:
        self.catch_up()
        if not have_met(self.book, self.taken):
            return False
        others = [each.book for each in self.taken]
        self.book.take_over(others, Shard(self.number, of, SECRET), complete=True)
        self.book.take_decisions(others)
        self.write_down()
        self.taken, self.replayed = [], []
        return True


class Changing:
    """Workers whose number changes while events come to each of them at its own pace."""

    def __init__(self, stream: list[Event], workers: int, draw: Callable[[int, int], int]) -> None:
        self.stream, self.draw = stream, draw
        self.said: Said = set()
        self.workers = [Worker(number, workers, self.said) for number in range(workers)]

    def pass_time(self) -> None:
        """Some of the workers hear a little, are killed or write a snapshot."""
        for worker in self.workers:
            worker.hear(self.stream, self.draw(0, 12))
            match self.draw(0, 9):
                case 0:
                    worker.kill()
                case 1:
                    worker.write_down()
                case 2:
                    worker.catch_up()

    def grow(self, of: int) -> None:
        before = len(self.workers)
        begins = max(each.seen for each in self.workers)
        for number in range(before, of):
            self.workers.append(Worker(number, 0, self.said))
            self.workers[-1].seen = begins
        self._take(of, before=0, serving=begins)
        for old in self.workers[:before]:
            assert takers(old.number, before, of) == tuple(range(before, of))
            old.book.use_shard(Shard(old.number, of, SECRET))
            old.write_down()

    def shrink(self, of: int) -> None:
        self._take(of, before=len(self.workers), serving=0)
        del self.workers[of:]

    def _take(self, of: int, before: int, serving: int) -> None:
        waiting = [each for each in self.workers if each.book.shard.of in (before, 0) and each.number < of]
        while waiting:
            self.pass_time()
            for taker in list(waiting):
                wanted = [each for each in sources(taker.number, before, of) if self.workers[each].book.shard.of]
                wanted = [each for each in wanted if self.workers[each].book.shard.of != of]
                asked = {each.book.shard.came_from[0] for each in taker.taken}
                for source in (self.workers[each] for each in wanted if each not in asked):
                    # Its edges have said by then that they serve the taker, too.
                    if source.seen >= serving and self.draw(0, 2):
                        taker.ask(source, of)
                if len(taker.taken) == len(wanted) and taker.take_over(of):
                    waiting.remove(taker)

    def finish(self) -> Said:
        while any(each.seen < len(self.stream) for each in self.workers):
            self.pass_time()
        return self.said


def stream_of(chance: random.Random, length: int) -> list[Event]:
    """A log of few senders in a few seconds, so that windows are full of what happened before keys move."""
    events, arrived = list[Event](), START
    for i in range(length):
        arrived += chance.choice([0, 1, 7, 30, 60])
        if events and not chance.randrange(12):
            events.append(msgspec.structs.replace(chance.choice(events), arrived=arrived))
            continue
        place = chance.choice([(31.23, 121.47), (31.0, 121.3), (48.86, 2.35)])
        fields = {"latitude": place[0], "longitude": place[1], "created": START + chance.randrange(-1000, 3000) * 1.0}
        fields |= chance.choice(DEVICES) | chance.choice(AMOUNTS)
        events.append(
            Event(
                id=f"e{i}",
                name=chance.choice(["Coupon Claimed", "Signed Up", ""]),
                time=arrived - chance.choice([0, 0, 0, 1, 50, 101, 300, 700, -400]),
                arrived=arrived,
                address=chance.choice([*ADDRESSES, "203.0.113.7", "203.0.113.8"]),
                user=chance.choice(["", *(f"u{number}" for number in range(12))]),
                fields=fields,
            )
        )
    return events


@settings(max_examples=12, deadline=None, phases=(Phase.explicit, Phase.generate))
@given(st.integers(0, 1 << 32), st.lists(st.integers(1, 4), min_size=2, max_size=3))
def test_workers_whose_number_changes_say_together_what_one_says(seed: int, numbers: list[int]) -> None:
    chance = random.Random(seed)
    stream = stream_of(chance, 120)
    alone = Changing(stream, 1, chance.randint)
    alone.workers[0].hear(stream, len(stream))
    assert len(alone.said) > 100
    workers = Changing(stream, numbers[0], chance.randint)
    for of in numbers[1:]:
        workers.pass_time()
        if of > len(workers.workers):
            workers.grow(of)
        elif of < len(workers.workers):
            workers.shrink(of)
    assert workers.finish() == alone.said


def test_keys_move_to_new_shards_and_from_those_that_go_alone() -> None:
    hashes = np.random.default_rng(618).integers(-(1 << 63), 1 << 63, 20_000, np.int64)
    before = np.zeros(len(hashes), np.int64)
    for of in range(1, 12):
        flags = [among(hashes, Share(number, of)) for number in range(of)]
        assert np.array_equal(np.sum(flags, axis=0), np.ones(len(hashes))), "each has one owner"
        now = np.argmax(flags, axis=0)
        if of > 1:
            assert set(now[now != before].tolist()) == {of - 1}
        assert np.bincount(now).min() > 0.9 * len(hashes) / of
        before = now


def test_a_share_of_none_has_no_key_and_a_missing_key_is_the_first_one_s() -> None:
    hashes = np.array([0, 1, 2, -1], np.int64)
    assert not among(hashes, Share(3, 0)).any()
    assert [bool(among(hashes, Share(number, 5))[0]) for number in range(5)] == [True, False, False, False, False]


def test_decisions_move_with_their_keys_and_are_told_by_both_until_they_end() -> None:
    blocked = ruled("r", "address")
    before = Casebook(make_engine, Shard(secret=SECRET))
    exhaust(before.apply(Rules(document(blocked))))
    for i in range(40):
        exhaust(before.apply(Events(CAMPAIGN, "a", i + 1, pack(claims(3, 3 * i, address=f"192.0.2.{i}")))))
    values = {each.value for each in before.desk(CAMPAIGN).blocks}
    assert len(values) == 40
    parts = [read_moved(moved(before, number, 2)).part.campaigns[CAMPAIGN] for number in (0, 1)]
    told = [{each.value for each in part.decisions} for part in parts]
    assert told[0] | told[1] == values
    assert not told[0] & told[1]
    assert all(told)
    new = Casebook(make_engine, Shard(1, 0, SECRET))
    exhaust(new.apply(Rules(document(blocked))))
    taken = Taken(new, read_moved(moved(before, 1, 2)), 1, 2, 1)
    taken.restore()
    assert have_met(new, [taken])
    new.take_over([taken.book], Shard(1, 2, SECRET), complete=True)
    assert new.take_decisions([taken.book]) == [CAMPAIGN]
    assert {each.value for each in new.desk(CAMPAIGN).blocks} == told[1]
    assert {each.value for each in before.desk(CAMPAIGN).blocks} == values
    # One more claim of somebody who has moved breaks the rule here.
    exhaust(new.apply(Events(CAMPAIGN, "b", 1, pack(claims(1, 200, address=min(told[1]))))))
    assert new.desk(CAMPAIGN).verdicts == 1


def test_rules_that_change_while_keys_are_taken_over_hold_and_keep_what_was_counted() -> None:
    before = Casebook(make_engine, Shard(secret=SECRET))
    exhaust(before.apply(Rules(document(ruled("r", "address")))))
    exhaust(before.apply(Events(CAMPAIGN, "a", 1, pack(claims(2, address="192.0.2.1")))))
    (number,) = (each for each in (0, 1) if keys_of(before, each))
    new = Casebook(make_engine, Shard(number, 0, SECRET))
    journal: list[Record] = [Rules(document(ruled("r", "address")))]
    exhaust(new.apply(journal[0]))
    sent = read_moved(moved(before, number, 2))
    taken = Taken(new, sent, number, 2, len(journal))
    taken.restore()
    journal.append(Rules(document(ruled("r", "address"), ruled("new", "address", more_than=0))))
    journal.append(Events(CAMPAIGN, "b", 1, pack(claims(3, address="192.0.2.1"))))
    for position, record in enumerate(journal):
        if position:
            exhaust(new.apply(record))
        exhaust(taken.apply(position, record))
    new.take_over([taken.book], Shard(number, 2, SECRET), complete=True)
    new.take_decisions([taken.book])
    # Of three claims two were known; the new rule has seen the third alone.
    assert {each.rule: each.event for each in new.desk(CAMPAIGN).blocks} == {"r": "m-2", "new": "m-2"}
    assert new.desk(CAMPAIGN).verdicts == 2


def keys_of(book: Casebook, number: int) -> int:
    """How many keys of the first rule would move to a shard of two."""
    to = Shard(number, 2, SECRET)
    made, part = book.beside(book.part(to), to)
    made.restore(part)
    return made.desk(CAMPAIGN).engine.figures()[0].keys


def test_windows_are_warming_again_where_keys_have_not_come() -> None:
    rule = ruled("r", "address")
    for complete in (True, False):
        book = Casebook(make_engine, Shard(0, 2, SECRET))
        exhaust(book.apply(Rules(document(rule))))
        exhaust(book.apply(Events(CAMPAIGN, "a", 1, pack(claims(1, address="192.0.2.1")))))
        later = Event(id="late", name="Other", time=BEGAN + 70_000, arrived=BEGAN + 70_000)
        exhaust(book.apply(Events(CAMPAIGN, "a", 2, pack([later]))))
        assert book.desk(CAMPAIGN).engine.figures()[0].warm
        book.take_over([], Shard(0, 1, SECRET), complete=complete)
        assert book.desk(CAMPAIGN).engine.figures()[0].warm is complete


def test_what_is_no_part_of_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        read_moved(b"no")
    book = Casebook(make_engine, Shard(secret=SECRET))
    sent = msgspec.structs.replace(read_moved(moved(book, 1, 2)), format=2)
    with pytest.raises(ValueError, match="the format 2; known is 1"):
        read_moved(encode(sent))  # type: ignore[arg-type]


def test_who_takes_from_whom() -> None:
    assert sources(2, 0, 4) == (0, 1), "a new one asks all that may have been there before"
    assert sources(0, 0, 4) == ()
    assert sources(1, 2, 4) == ()
    assert sources(1, 4, 2) == (2, 3)
    assert sources(3, 4, 2) == (), "whoever goes takes nothing"
    assert takers(1, 2, 4) == (2, 3)
    assert takers(1, 4, 2) == takers(2, 0, 4) == takers(1, 2, 2) == ()
