"""The engine that is built in, at its worker: what is decided, for whom, and the same again after a restart."""

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from tests.unit.fraud_worker.world import CAMPAIGN, site

from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.journal import Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.policy import Action, Policy, Ruled, Rules, write_rules
from flywheel.fraud.records import Events
from flywheel.fraud.records import Rules as RulesRecord
from flywheel.fraud.rule import Count, Match, Rule
from flywheel.fraud.rulings import Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event

BEGAN = 1_795_453_200_000
BLOCK = Action(kind="Block", lasts=1_800_000, scope=("/coupon",), status=429, body="no")


def ruled(name: str, key: str, action: Action = BLOCK, more_than: int = 2, **policy: Any) -> Ruled:
    rule = Rule(
        name=name,
        match=Match(events=("Coupon Claimed",)),
        key=(key,),
        window=60_000,
        conditions=(Count(more_than=more_than),),
    )
    return Ruled(rule=rule, policy=Policy(**({"action": action, "mode": "Enforce"} | policy)))


def document(*rules: Ruled) -> bytes:
    return msgspec.json.encode({CAMPAIGN: msgspec.Raw(write_rules(Rules(rules=rules)))})


def claims(count: int, start: int = 0, **fields: Any) -> tuple[Event, ...]:
    moments = [(number, BEGAN + number * 10) for number in range(start, start + count)]
    return tuple(Event(id=f"m-{n}", name="Coupon Claimed", time=at, arrived=at, **fields) for n, at in moments)


def book(*rules: Ruled) -> Casebook:
    made = Casebook(make_engine, Shard(secret=b"s"))
    for _ in made.apply(RulesRecord(document(*rules))):
        pass
    assert made.problems() == {}
    return made


def judge(made: Casebook, *events: Event) -> list[tuple[str, str, str, tuple[str, ...]]]:
    for _ in made.apply(Events(CAMPAIGN, "a", 1, pack(events))):
        pass
    return sorted((each.kind, each.value, each.action, each.scope) for each in made.desk(CAMPAIGN).blocks)


def test_whoever_breaks_a_rule_is_blocked_and_only_in_enforce():
    sender = {"address": "192.0.2.1", "visitor": "v", "user": "u"}
    assert judge(book(ruled("r", "address")), *claims(2, **sender)) == []
    blocked = [("address", "192.0.2.1", "Block", ("/coupon",))]
    assert judge(book(ruled("r", "address")), *claims(3, **sender)) == blocked
    assert judge(book(ruled("r", "address", mode="Shadow")), *claims(3, **sender)) == []
    assert judge(book(ruled("r", "address", mode="Off")), *claims(3, **sender)) == []
    wide = [("address", "192.0.2.0/24", "Block", ("/coupon",))]
    assert judge(book(ruled("r", "addressPrefix")), *claims(3, **sender)) == wide
    both = [("user", "u", "Block", ("/coupon",)), ("visitor", "v", "Block", ("/coupon",))]
    assert judge(book(ruled("r", "user")), *claims(3, **sender)) == both


def test_the_latest_verdicts_say_what_followed():
    made = book(
        ruled("acts", "address"), ruled("quiet", "user", mode="Shadow"), ruled("held", "visitor", holdout=10_000)
    )
    judge(made, *claims(3, address="192.0.2.1", user="u", visitor="v"))
    told = {each.rule: each.outcomes for each in made.desk(CAMPAIGN).engine.figures()}
    assert told == {"acts": ("Blocked",), "quiet": ("WouldBlock",), "held": ("Holdout",)}


def test_all_that_is_decided_on_an_event_is_carried_out_about_whom_it_is():
    review = ruled("reviews", "user", Action(kind="Review", queue="q"))
    made = book(ruled("blocks", "address"), review)
    found = judge(made, *claims(3, address="192.0.2.1", user="u"))
    assert found == [("address", "192.0.2.1", "Block", ("/coupon",)), ("user", "u", "Review", ("/",))]
    assert made.desk(CAMPAIGN).verdicts == 2
    held = next(each for each in made.desk(CAMPAIGN).blocks if each.kind == "address")
    assert (held.status, held.body, held.rule, held.event) == (429, "no", "blocks", "m-2")
    assert held.until == BEGAN + 20 + 1_800_000
    assert "3 where the limit is 2" in held.reason


def test_a_block_of_one_subject_does_not_keep_another_one_free():
    longer = Action(kind="Block", lasts=86_400_000, scope=("/coupon",))
    made = book(ruled("blocks", "address"), ruled("hastes", "visitor", longer, more_than=0))
    found = judge(made, *claims(3, address="192.0.2.1", visitor="v"))
    assert [each[:2] for each in found] == [("address", "192.0.2.1"), ("visitor", "v")]


def test_rules_that_cannot_be_read_leave_those_before():
    made = book(ruled("r", "address"))
    for _ in made.apply(RulesRecord(b'{"spring": {"format": 2}}')):
        pass
    assert "spring" in made.problems()
    assert len(judge(made, *claims(3, address="192.0.2.1"))) == 1


async def test_after_a_restart_from_snapshot_and_journal_the_verdicts_are_the_same(tmp_path: Path):
    def started() -> Judging:
        journal, snapshots = Journal(tmp_path / "journal"), Snapshots(tmp_path / "snapshots")
        made = Judging(Casebook(make_engine, Shard(secret=b"s")), journal, snapshots, lambda _: None)
        made.recover()
        return made

    rules = [ruled("r", "address", more_than=20), ruled("u", "user", more_than=15)]
    sender = {"address": "192.0.2.1", "user": "u"}
    first = started()
    task = asyncio.create_task(first.run())
    await first.submit(RulesRecord(document(*rules)))
    await first.submit(Events(CAMPAIGN, "a", 1, pack(claims(18, **sender))))
    await first.take_snapshot()
    await first.submit(Events(CAMPAIGN, "a", 2, pack(claims(2, 18, **sender))))
    task.cancel()
    second = started()
    assert second.replayed == 1
    task = asyncio.create_task(second.run())
    await second.submit(Events(CAMPAIGN, "a", 3, pack(claims(5, 20, **sender))))
    task.cancel()
    expected = book(*rules)
    judge(expected, *claims(25, **sender))
    assert second.casebook.desk(CAMPAIGN).verdicts == expected.desk(CAMPAIGN).verdicts == 10 + 5
    assert second.casebook.desk(CAMPAIGN).digest == expected.desk(CAMPAIGN).digest


async def test_from_an_event_at_the_edge_to_a_refused_request(tmp_path: Path):
    (tmp_path / "worker").mkdir()
    async with site(tmp_path, make_engine, document(ruled("r", "address", more_than=20))) as (pod, _):
        await pod.claim("127.0.0.1", 20)
        await pod.claim("127.0.0.9", 21)
        await pod.is_refused("127.0.0.9", status=429)
        assert (await pod.ask("/coupon", "127.0.0.1")).status == 200
