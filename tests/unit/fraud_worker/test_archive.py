"""The archive of verdicts: what it finds and reckons, against a plain list; what it keeps, and for how long."""

import json
import random
import sqlite3
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.fraud_worker.small_engine import SmallEngine, rule

from flywheel.fraud import records
from flywheel.fraud.archive import Archive, ArchiveBroken, Version
from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.filing import Filing
from flywheel.fraud.labels import Label, Labels
from flywheel.fraud.pardons import Pardon, Pardons
from flywheel.fraud.proof import Evidence, LabelledKey, Met, evidence_of
from flywheel.fraud.rulings import Shard
from flywheel.fraud.unfiled import Unfiled
from flywheel.fraud.verdicts import Kept
from flywheel.fraud.words import Event

HOUR = 3_600_000
V1 = Version("r", "1")


def kept(number: int, key: str = "k", **fields: Any) -> Kept:
    given = {"campaign": "spring", "rule": "r", "version": "1", "event": f"m-{number}", "at": number, "key": (key,)}
    given |= {"names": ("user",), "observed": 3, "limit": 2, "since": 0, "done": "Shadow", "expires": number + HOUR}
    return Kept(**(given | fields))


small = st.integers(0, 3)
verdicts = st.lists(
    st.builds(
        lambda number, key, visitor, user, rule, version, done, campaign, by_list: kept(
            number, f"k-{key}", visitor=f"v-{visitor}" if visitor else "", user=f"u-{user}" if user else "",
            rule=f"r-{rule}", version=str(version), done=done, campaign=campaign, stopped=done == "Acted",
            chance=0.25 if done in ("Acted", "HeldOut") else 1.0, by_list=by_list,
        ),
        st.integers(0, 12), small, small, small, st.integers(0, 1), st.integers(0, 1),
        st.sampled_from(["Acted", "HeldOut", "Shadow", "Allowed"]), st.sampled_from(["spring", "other"]),
        st.booleans(),
    ),
    max_size=25,
)  # fmt: skip
labels = st.lists(
    st.builds(
        lambda kind, value, rule, said: Label(
            kind=kind, value=({"event": "m", "visitor": "v", "user": "u", "key": "k"}[kind] + f"-{value}",),
            rule=f"r-{rule}" if kind == "key" else "", said=said, at=100,
        ),
        st.sampled_from(["event", "visitor", "user", "key"]), st.integers(0, 5), st.integers(0, 1),
        st.sampled_from(["Dishonest", "Honest"]),
    ),
    max_size=12, unique_by=lambda each: each.subject,
)  # fmt: skip


def plainly(given: list[Kept], said: list[Label], version: Version) -> Evidence:
    """The same by loops over everything."""
    unique = list({(each.campaign, each.event, each.rule, each.version): each for each in reversed(given)}.values())
    mine = [each for each in reversed(unique) if each.campaign == "spring" and (each.rule, each.version) == version]
    first: dict[str, Kept] = {}
    for each in given:
        if (
            each.campaign == "spring"
            and (each.rule, each.version) == version
            and each.done != "Allowed"
            and not each.by_list
        ):
            first.setdefault(each.unit, each)

    def names(label: Label, each: Kept) -> bool:
        value = label.value[0]
        if label.kind == "key":
            return label.rule == each.rule and each.unit == value
        return bool(value) and value == {"event": each.event, "visitor": each.visitor, "user": each.user}[label.kind]

    known = []
    for unit, begun in first.items():
        of_key = [label.said for label in said if label.kind == "key" and names(label, begun)]
        of_others = [
            label.said
            for label in said
            if label.kind != "key" and any(each.unit == unit and names(label, each) for each in mine)
        ]
        if decisive := of_key or of_others:
            known.append(LabelledKey("Honest" not in decisive, begun.stopped, begun.chance))
    persons = []
    for label in said if first else ():
        if label.kind in ("visitor", "user") and label.said == "Dishonest":
            by = [first[each.unit] for each in mine if names(label, each) and each.unit in first]
            alone = [each.chance for each in by if not each.stopped]
            persons.append(Met(bool(by), bool(by) and not alone, max(alone, default=1.0)))
    return evidence_of(len(first), sum(not each.stopped for each in first.values()), known, persons)


@settings(max_examples=150, deadline=None)
@given(verdicts, labels, st.randoms(use_true_random=False))
def test_what_labels_say_is_what_loops_over_everything_say(given, said, chance: random.Random) -> None:
    archive, rest = Archive(Path(":memory:")), given[:]
    while rest:
        size = chance.randrange(1, 6)
        archive.file(rest[:size])
        # Again, as after a kill.
        archive.file(rest[:size])
        rest = rest[size:]
    versions = [Version(f"r-{rule}", str(version)) for rule in (0, 1) for version in (0, 1)]
    found = archive.evidence("spring", versions, said)
    for each in versions:
        expected = plainly(given, said, each)
        assert found[each].found == expected.found
        assert found[each].alone == expected.alone
        for mine, theirs in ((found[each].precision, expected.precision), (found[each].recall, expected.recall)):
            assert msgspec.structs.astuple(mine) == pytest.approx(msgspec.structs.astuple(theirs))
    for value in ("m-3", "k-1", "v-2", "u-3"):
        unique = {(each.event, each.rule, each.version): each for each in reversed(given) if each.campaign == "spring"}
        about = [each for each in unique.values() if value in (each.event, each.unit, each.visitor, each.user)]
        assert sorted(archive.find("spring", value), key=repr) == sorted(about, key=repr)
    archive.close()


def test_verdicts_go_when_their_time_is_over_and_the_oldest_when_there_are_too_many(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "verdicts.sqlite", most=10)
    archive.file([kept(number, f"k-{number}") for number in range(30)])
    assert archive.forget(HOUR + 4) == 15
    assert [each.event for each in archive.latest("spring")] == [f"m-{number}" for number in range(29, 19, -1)]
    assert archive.evidence("spring", [V1], ())[V1].found == 10
    assert archive.forget(3 * HOUR) == 0
    assert (archive.count(), archive.evidence("spring", [V1], ())[V1].found) == (0, 0)


def test_a_key_that_is_found_again_is_kept_as_long_as_its_last_verdict(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "verdicts.sqlite")
    archive.file([kept(0, done="HeldOut", chance=0.05)])
    archive.file([kept(5, done="Acted", stopped=True)])
    archive.forget(HOUR + 2)
    assert archive.evidence("spring", [V1], ())[V1] == Evidence(found=1, alone=1)


def test_whoever_was_known_before_the_rule_was_is_not_missed_by_it(tmp_path: Path) -> None:
    archive = Archive(tmp_path / "verdicts.sqlite")
    archive.file([kept(50, visitor="v")])
    said = [Label(kind="visitor", value=(f"w-{at}",), said="Dishonest", at=at) for at in (10, 49, 50, 90)]
    assert archive.evidence("spring", [V1], said)[V1].recall.labels == 2


def test_what_is_no_archive_of_ours_is_left_alone(tmp_path: Path) -> None:
    rubbish = tmp_path / "rubbish.sqlite"
    rubbish.write_bytes(b"no database " * 100)
    with pytest.raises(ArchiveBroken, match="cannot be used"):
        Archive(rubbish)
    newer = tmp_path / "newer.sqlite"
    with sqlite3.connect(newer) as base:
        base.execute("PRAGMA user_version = 9")
    base.close()
    with pytest.raises(ArchiveBroken, match="has the format 9"):
        Archive(newer)
    assert rubbish.read_bytes().startswith(b"no database")


class Disk(Archive):
    """A disk that takes nothing for a while."""

    full = True

    def file(self, verdicts: Any) -> None:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        super().file(verdicts)


async def test_a_disk_that_is_full_costs_verdicts_only_beyond_the_room_and_judging_nothing(tmp_path: Path) -> None:
    book = Casebook(SmallEngine, Shard(secret=b"s"))
    book.unfiled = Unfiled(room=3)
    rules = json.dumps({"spring": [rule("r", event="e", key="user", moreThan=0)]}).encode()
    for _ in book.apply(records.Rules(rules)):
        pass
    disk = Disk(tmp_path / "verdicts.sqlite")
    filing = Filing(book, disk)
    events = tuple(Event(id=f"m-{n}", name="e", time=n, arrived=n, user="u") for n in range(5))
    for _ in book.apply(records.Events("spring", "a", 1, pack(events))):
        pass
    filing.relieve()
    assert (book.desk("spring").verdicts, len(book.unfiled), book.unfiled.dropped, filing.failures) == (5, 3, 2, 1)
    disk.full = False
    await filing.close()
    assert (len(book.unfiled), filing.filed) == (0, 3)


async def test_a_snapshot_has_the_verdicts_that_the_archive_does_not_have_yet() -> None:
    book = Casebook(SmallEngine, Shard(secret=b"s"))
    book.unfiled.add(kept(1))
    book.desk("spring").labels.put([Label(kind="user", value=("u",), said="Honest", at=1)])
    book.desk("spring").pardons.put(Pardon(kind="user", value="u", until=9), 1)
    written = records.read_snapshot(records.encode(book.snapshot(7)))
    other = Casebook(SmallEngine, Shard(secret=b"s"))
    other.restore(written)
    assert other.unfiled.dump() == (kept(1),)
    assert other.desk("spring").labels.dump() == book.desk("spring").labels.dump()
    assert other.desk("spring").pardons.dump() == book.desk("spring").pardons.dump()


def test_a_snapshot_of_an_older_worker_is_read() -> None:
    state = [b"{}", 3, [], 1, 2, b"d"]
    old = msgspec.msgpack.encode([7, b"{}", {}, {"spring": state}])
    book = Casebook(SmallEngine, Shard(secret=b"s"))
    book.restore(records.read_snapshot(old))
    assert (book.desk("spring").verdicts, len(book.desk("spring").labels), len(book.unfiled)) == (2, 0, 0)


said = st.builds(
    lambda value, word, at: Label(kind="user", value=(f"u-{value}",), said=word, at=at),
    st.integers(0, 6), st.sampled_from(["Dishonest", "Honest"]), st.integers(0, 9),
)  # fmt: skip


@given(st.lists(said, max_size=40))
def test_the_latest_word_counts_and_the_room_is_kept(given: list[Label]) -> None:
    held = Labels(most=4)
    for each in given:
        held.put([each])
    assert len(held) <= 4
    assert held.dishonest == sum(each.said == "Dishonest" for each in held)
    whole = Labels()
    whole.put(given)
    for each in whole:
        about = [other for other in given if other.value == each.value]
        assert each == max(reversed(about), key=lambda other: other.at)


def test_labels_go_when_the_verdicts_go_that_they_are_about() -> None:
    held = Labels()
    held.put(Label(kind="user", value=(f"u-{at}",), said="Dishonest", at=at) for at in (1, 5, 9))
    held.forget(5)
    assert ([each.at for each in held], held.dishonest) == ([5, 9], 2)


@pytest.mark.parametrize(
    ("pardoned", "kind", "value", "meant"),
    [
        ("192.0.2.1", "address", "192.0.2.1", True),
        ("192.0.2.0/24", "address", "192.0.2.9", True),
        ("192.0.2.9", "address", "192.0.2.0/24", True),
        ("192.0.2.0/24", "address", "192.0.3.0/24", False),
        ("2001:db8::/48", "address", "192.0.2.1", False),
        ("192.0.2.1", "visitor", "192.0.2.1", False),
        ("192.0.2.0/24", "address", "rubbish", False),
    ],
)
def test_whom_a_pardon_means(pardoned: str, kind: Any, value: str, meant: bool) -> None:
    held = Pardons()
    held.put(Pardon(kind="address", value=pardoned, until=10, rule="r"), 1)
    assert bool(held.about(kind, value, "r", 9)) is meant
    assert held.about(kind, value, "r", 10) is None
    assert held.about(kind, value, "other", 9) is None


def test_pardons_are_few_and_go_when_they_are_over() -> None:
    held = Pardons(most=2)
    for number, until in enumerate((5, 50, 60)):
        held.put(Pardon(kind="user", value=f"u-{number}", until=until), number)
    assert [each.value for each in held] == ["u-0", "u-1"]
    third = Pardon(kind="user", value="u-2", until=60)
    assert not held.has_room_for(third, 4)
    assert held.has_room_for(third, 5)
    held.put(third, 6)
    assert [each.value for each in held] == ["u-1", "u-2"]
    held.put(Pardon(kind="user", value="u-1", until=0), 7)
    assert [each.value for each in held] == ["u-2"]
