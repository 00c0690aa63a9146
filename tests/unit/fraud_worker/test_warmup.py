"""New windows that are filled from the event store: as if the rule had been there all the time, and never otherwise."""

import asyncio
import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from tests.unit.fraud.streams import PATTERNS, RULES, START, places, streams, told
from tests.unit.fraud_worker.test_embedded import BEGAN, BLOCK, claims, document, ruled
from tests.unit.fraud_worker.test_proof_worker import NOW, Hand, hand
from tests.unit.fraud_worker.test_proof_worker import document as rules_of
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, NAMESPACE, bearer, operator

from flywheel.campaign.fraudpast import WantedPast
from flywheel.fraud import records, warmup
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.journal import Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.past_asking import PastAsked, PastPage
from flywheel.fraud.policy import Policy, Ruled
from flywheel.fraud.records import Events, Past
from flywheel.fraud.records import Rules as RulesRecord
from flywheel.fraud.rule import Count, Match, Rule
from flywheel.fraud.rulings import RuleFigures, Ruling, Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.warmup import MOST, names_of, reach_of
from flywheel.fraud.words import Event, Verdict
from flywheel.runtime.fraud_pasts import FraudPasts
from flywheel.runtime.fraud_workers import FraudWorkers

EVERY = [each for each in [*RULES, *PATTERNS] if each.name != "created"]
"""All that keep anything."""
ALWAYS = Rule(name="always", key=("address",), window=1000, lateness=400, conditions=(Count(more_than=2),))


FIRST = [Event(id=f"a{n}", name="Signed Up", time=START - 3 + n, arrived=START - 3 + n, user="u1") for n in range(2)]


def later(event: Event, milliseconds: int) -> Event:
    moments = {"time": event.time + milliseconds, "arrived": event.arrived + milliseconds}
    return msgspec.structs.replace(event, **moments)


def in_shadow(rule: Rule) -> Ruled:
    return Ruled(rule=rule, policy=Policy(mode="Shadow", action=BLOCK))


class Log:
    """One campaign at a worker, to which records come."""

    def __init__(self, *rules: Rule) -> None:
        self.book = Casebook(make_engine, Shard(secret=b"s"), self._ruling)
        self.verdicts: list[Verdict] = []
        self.number = 0
        self.take(*rules)

    def _ruling(self, _: str, ruling: Ruling) -> None:
        self.verdicts.append(ruling.verdict)

    def take(self, *rules: Rule) -> None:
        self.apply(RulesRecord(document(*map(in_shadow, rules))))
        assert self.book.problems() == {}

    def judge(self, events: Sequence[Event]) -> None:
        for event in events:
            self.number += 1
            self.apply(Events(CAMPAIGN, "edge", self.number, pack([event])))

    def apply(self, record: records.Record) -> None:
        # As the journal gives it back.
        for step in self.book.apply(records.read_record(records.encode(record))):
            if callable(step):
                step()

    def figures(self, rule: str) -> RuleFigures:
        return next(each for each in self.book.desk(CAMPAIGN).engine.figures() if each.rule == rule)


def stored(events: Sequence[Event], rule: Rule, until: int) -> list[Event]:
    """What the event store has: the first of equal ids, in the order of arrival, of the names that matter."""
    first = {each.id: each for each in reversed(events)}
    names = names_of(rule)
    kept = [each for each in first.values() if warmup.happened(each) <= until and (not names or each.name in names)]
    return sorted(kept, key=lambda each: (each.arrived, each.id))


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
@given(data=st.data(), events=streams(most=50, extra=places()))
@settings(max_examples=10, deadline=None, phases=[Phase.generate])
def test_a_rule_that_comes_late_says_what_it_would_have_said(
    rule: Rule, data: st.DataObject, events: list[Event]
) -> None:
    names = {event.id: f"e{place:03}" for place, event in reversed([*enumerate(events)]) if event.id}
    events = [
        *FIRST,
        # Of one moment the store gives those first whose ids are first: so does the log.
        *(msgspec.structs.replace(each, id=names.get(each.id, f"e{n:03}")) for n, each in enumerate(events)),
    ]
    begins = data.draw(st.integers(0, len(events) - 2), label="the rule comes after so many")
    fills = data.draw(st.integers(begins + 2, len(events)), label="and its past after so many")
    # Its past comes when no event of that time can be judged any more.
    events[fills - 1 :] = [later(each, 2_000) for each in events[fills - 1 :]]
    all_along, late = Log(rule, ALWAYS), Log(ALWAYS)
    all_along.judge(events)
    late.judge(events[:begins])
    late.take(rule, ALWAYS)
    late.judge(events[begins:fills])
    clock = max((each.arrived for each in events[:fills]), default=0)
    since = max((each.arrived for each in events[:begins]), default=events[begins].arrived)
    until = data.draw(st.integers(since, clock - rule.lateness - 1), label="and is what happened until then")
    past = Past(CAMPAIGN, rule.name, rule.version, START - 100_000, until, (pack(stored(events, rule, until)),))
    engine = late.book.desk(CAMPAIGN).engine
    assert engine.unready(past) == ""  # type: ignore[attr-defined]
    assert late.figures(rule.name).awaits == since
    before = len(late.verdicts)
    late.apply(past)
    assert late.figures(rule.name).from_store == START - 100_000
    assert late.figures(rule.name).awaits == 0
    assert len(late.verdicts) == before, "no verdict comes of the past"
    late.judge(events[fills:])
    ids = {each.id for each in events[fills:]}
    expected = [each for each in all_along.verdicts if each.rule == rule.name and each.event in ids]
    found = [each for each in late.verdicts[before:] if each.rule == rule.name]
    fresh = {each.id for each in events[:fills]}
    assert told(found) == told([each for each in expected if each.event not in fresh])


CLAIMS = Rule(
    name="r", match=Match(events=("Coupon Claimed",)), key=("user",), window=60_000, conditions=(Count(more_than=2),)
)


def waiting(*events: Event) -> Log:
    """A rule that came when all was quiet, and what came since."""
    log = Log(ALWAYS)
    log.judge([Event(id="m-before", name="Signed Up", time=BEGAN, arrived=BEGAN)])
    log.take(CLAIMS, ALWAYS)
    log.judge(events)
    return log


def claim(identity: str, at: int, user: str = "u") -> Event:
    return Event(id=identity, name="Coupon Claimed", time=BEGAN + at, arrived=BEGAN + at, user=user)


def past_of(*events: Event, until: int = 10_000, rule: str = "r", version: str = "") -> Past:
    version = version or CLAIMS.version
    return Past(CAMPAIGN, rule, version, BEGAN - 60_000, BEGAN + until, (pack(events),))


LATER = claim("m-9", 20_000, "other")


@pytest.mark.parametrize(
    ("make", "past", "words"),
    [
        (lambda: waiting(LATER), past_of(claim("m-2", 10_001)), "after its own end"),
        (lambda: waiting(LATER), past_of(until=-1), "ends too early"),
        (lambda: waiting(LATER), past_of(until=15_001), "so late that events of that time may still come"),
        (lambda: waiting(), past_of(until=0), "events of that time may still come"),
        (lambda: waiting(claim("m-1", 5_000), LATER), past_of(), "has not got 1 of the events yet that were seen here"),
        (lambda: waiting(LATER), past_of(rule="other"), "another version of the rule"),
        (lambda: waiting(LATER), past_of(version="0" * 16), "another version of the rule"),
        (lambda: Log(CLAIMS), past_of(), "ends too early"),
    ],
    ids=[
        "beyond",
        "early",
        "late",
        "nothing came since",
        "the store lags",
        "no such rule",
        "another version",
        "nothing came",
    ],
)
def test_what_could_be_counted_twice_or_not_at_all_is_not_taken(
    make: Callable[[], Log], past: Past, words: str
) -> None:
    log = make()
    engine = log.book.desk(CAMPAIGN).engine
    assert words in engine.unready(past)  # type: ignore[attr-defined]
    state = log.book.snapshot(0)
    log.apply(past)
    assert log.book.snapshot(0) == state, "and in the journal it does nothing"
    assert log.figures("r").from_store == 0 if past.rule == "r" else True


def test_a_past_is_taken_once() -> None:
    log = waiting(LATER)
    past = past_of(claim("m-0", -10), claim("m-1", 10))
    log.apply(past)
    assert log.figures("r").from_store == BEGAN - 60_000
    assert log.figures("r").warm is True
    assert "do not wait" in log.book.desk(CAMPAIGN).engine.unready(past)  # type: ignore[attr-defined]
    log.judge([claim("m-10", 20_001)])
    assert [each.event for each in log.verdicts] == ["m-10"]


def test_another_limit_waits_for_its_past_and_another_mode_does_not() -> None:
    log = waiting(LATER)
    log.apply(past_of())
    log.take(CLAIMS, ALWAYS)
    assert (log.figures("r").awaits, log.figures("r").from_store) == (0, BEGAN - 60_000)
    log.take(msgspec.structs.replace(CLAIMS, conditions=(Count(more_than=3),)), ALWAYS)
    assert (log.figures("r").awaits, log.figures("r").from_store) == (BEGAN + 20_000, 0)


def test_what_waits_for_too_long_or_for_too_much_fills_by_itself() -> None:
    log = waiting(LATER, claim("m-11", 20_000 + warmup.LONGEST + CLAIMS.lateness))
    assert log.figures("r").awaits == 0
    log = waiting()
    many = [claim(f"m-{number}", 100 + number, f"u-{number}") for number in range(MOST + 1)]
    for start in range(0, len(many), 5_000):
        log.number += 1
        log.apply(Events(CAMPAIGN, "edge", log.number, pack(many[start : start + 5_000])))
        waits = log.figures("r").awaits
        assert bool(waits) is (start + 5_000 <= MOST)
    assert log.book.snapshot(0).campaigns[CAMPAIGN]


def test_what_waits_is_in_the_snapshot() -> None:
    log = waiting(claim("m-1", 5_000), LATER)
    copied = Log(ALWAYS)
    copied.book.restore(records.read_snapshot(records.encode(log.book.snapshot(7))))
    past = past_of(claim("m-1", 5_000), claim("m-0", 4_000))
    for each in (log, copied):
        each.verdicts.clear()
        each.apply(past)
        each.judge([claim("m-10", 20_001)])
        assert each.figures("r").from_store == BEGAN - 60_000
    assert log.verdicts == copied.verdicts != []
    assert log.book.desk(CAMPAIGN).digest == copied.book.desk(CAMPAIGN).digest


def test_how_far_back_a_rule_looks() -> None:
    by_name = {each.name: each for each in EVERY}
    assert (reach_of(by_name["count"]), names_of(by_name["count"])) == (1400, ())
    assert (reach_of(by_name["young"]), names_of(by_name["young"])) == (1300, ("Coupon Claimed", "Signed Up"))
    assert names_of(by_name["steps"]) == (), "one of its steps is any event"
    assert names_of(by_name["quick"]) == ("Coupon Claimed", "Signed Up")


async def submit(judging: Judging, *wanted: records.Record) -> None:
    working = asyncio.create_task(judging.run())
    try:
        for each in wanted:
            await judging.submit(each)
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


async def test_a_worker_that_is_killed_says_the_same_again(tmp_path: Path) -> None:
    def opened() -> Judging:
        book = Casebook(make_engine, Shard(secret=b"s"))
        made = Judging(book, Journal(tmp_path / "journal", 1 << 20), Snapshots(tmp_path / "snapshots"), lambda _: None)
        made.recover()
        return made

    first = opened()
    rules = [RulesRecord(document(*map(in_shadow, each))) for each in ([ALWAYS], [CLAIMS, ALWAYS])]
    sent = [claim("m-1", 5_000), LATER, claim("m-10", 20_001)]
    batches = [Events(CAMPAIGN, "edge", number, pack([each])) for number, each in enumerate(sent, start=2)]
    before = Events(CAMPAIGN, "edge", 1, pack(claims(1, user="x")))
    past = past_of(claim("m-0", 4_000), claim("m-1", 5_000))
    await submit(first, rules[0], before, rules[1], batches[0], batches[1], past, batches[2])
    digest = first.casebook.desk(CAMPAIGN).digest
    assert first.casebook.desk(CAMPAIGN).verdicts == 1
    # Nothing of it is closed: the next one finds the journal as it is.
    second = opened()
    assert second.casebook.desk(CAMPAIGN).digest == digest
    [figures] = [each for each in second.casebook.desk(CAMPAIGN).engine.figures() if each.rule == "r"]
    assert figures.from_store == BEGAN - 60_000


async def put(person: Hand, past: Past, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    url, headers = f"{person.worker.url}/v1/fraud/past", operator() if headers is None else headers
    async with person.session.put(url, data=records.encode(past), headers=headers) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def test_the_operator_hands_the_past_over_and_nobody_else(tmp_path: Path) -> None:
    rule = ruled("r", "user", mode="Shadow")
    async with hand(tmp_path, rules_of(rule)) as person:
        await person.claim(1, user="u-0")
        await person.send([claim_at("m-late", NOW + 30_000, "u-9")])
        assert (await person.figures("r"))["awaits"] == NOW
        events = [claim_at(f"m-past-{number}", NOW - 5_000 + number, "u-1") for number in range(2)]
        whole = Past(CAMPAIGN, "r", rule.rule.version, NOW - 65_000, NOW + 10, (pack(events),))
        for headers, status in (({}, 401), (bearer(), 401)):
            await put(person, whole, status, headers)
        refused = await put(person, whole, 409)
        assert "has not got 1 of the events yet" in refused["message"]
        assert "another version" in (await put(person, msgspec.structs.replace(whole, version="x"), 409))["message"]
        assert "moments" in (await put(person, msgspec.structs.replace(whole, start=0), 400))["message"]
        unheard = await put(person, msgspec.structs.replace(whole, campaign="unheard"), 409)
        assert "nothing of unheard is judged here" in unheard["message"]
        filled = msgspec.structs.replace(whole, batches=(pack([*events, claim_at("m-0", NOW, "u-0")]),))
        state = await put(person, filled)
        [told_of] = state["campaigns"][CAMPAIGN]["rules"]
        assert (told_of["fromStore"], told_of["awaits"], told_of["warm"]) == (NOW - 65_000, 0, True)
        await person.send([claim_at("m-third", NOW + 30_001, "u-1")])
        [found] = await person.verdicts("u-1", 1)
        assert found["event"] == "m-third"
        url = f"{person.worker.url}/v1/fraud/past"
        async with person.session.put(url, data=b"\x93", headers=operator()) as answer:
            assert answer.status == 400


class Store:
    """An event store that knows of two claims of before."""

    def __init__(self, *events: Event) -> None:
        self.events = events
        self.asked: list[PastAsked] = []

    async def past(self, _: str, asked: PastAsked) -> PastPage:
        self.asked.append(asked)
        batch = base64.b64encode(encode(pack(self.events))).decode()
        return PastPage(start=asked.start, batch=batch)


async def test_the_operator_brings_what_the_store_knows_to_the_worker(tmp_path: Path) -> None:
    rule = ruled("r", "user", mode="Shadow")
    async with hand(tmp_path, rules_of(rule)) as person, httpx.AsyncClient(trust_env=False) as client:
        await person.claim(1, user="u-0")
        await person.send([claim_at("m-late", NOW + 45_000, "u-9")])
        before = [claim_at(f"m-past-{number}", NOW - 5_000 + number, "u-1") for number in range(2)]
        store, done = Store(*before, claim_at("m-0", NOW, "u-0")), asyncio.Event()

        async def token(audience: str) -> str:
            return str(KEYS.token("flywheel", namespace="flywheel-system", aud=[audience]))

        workers = FraudWorkers(client, token, lambda *_: (person.worker.url,))
        pasts = FraudPasts(store, workers, lambda _: done.set(), clock=lambda: (NOW + 40_000) / 1000)
        wanted = WantedPast(CAMPAIGN, "r", rule.rule.version, "127", NOW, 65_000, 5_000, ("Coupon Claimed",))
        pasts.look(NAMESPACE, [wanted])
        async with asyncio.timeout(60):
            await done.wait()
        await pasts.close()
        assert (await person.figures("r"))["fromStore"] == NOW + 30_000 - 65_000
        await person.send([claim_at("m-third", NOW + 45_001, "u-1")])
        [found] = await person.verdicts("u-1", 1)
        assert found["event"] == "m-third"


def claim_at(identity: str, at: int, user: str) -> Event:
    return Event(id=identity, name="Coupon Claimed", time=at, arrived=at, user=user)
