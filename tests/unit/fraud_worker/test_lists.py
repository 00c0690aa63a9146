"""Lists at the worker: who is stopped, watched and left alone by them, and the same again after a restart."""

import asyncio
import io
import ipaddress
import itertools
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.stand import until
from tests.unit.events.world import seeded
from tests.unit.fraud_worker.process import Process
from tests.unit.fraud_worker.test_embedded import BEGAN, BLOCK, book, claims, document, judge, ruled
from tests.unit.fraud_worker.world import CAMPAIGN, bearer, operator, site

from flywheel.campaign.fraudlistreader import ListReader
from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.journal import Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.listing import read_list
from flywheel.fraud.policy import Action, ListNames, ListOf, Ruled, Snooze
from flywheel.fraud.records import Events, Lists, Record, encode
from flywheel.fraud.records import Rules as RulesRecord
from flywheel.fraud.rule import Filter
from flywheel.fraud.rulings import Ruling, Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event
from flywheel.plan import ObjectKey
from flywheel.runtime.fraud_workers import FraudWorkers

OFFICES = ListOf(source="configmap/fraud/offices.txt")
STAFF = ListOf(source="secret/fraud/staff", of="User")
PROXIES = ListOf(source="configmap/fraud/proxies.txt")
SUSPECTS = ListOf(source="configmap/fraud/suspects.txt", of="Device")
ALL = (OFFICES, STAFF, PROXIES, SUSPECTS)
NAMES = ListNames(allow=(OFFICES, STAFF), deny=(PROXIES,), watch=(SUSPECTS,))
ALONE = Shard(secret=b"s")


def lists(given: dict[ListOf, str], wanted: tuple[ListOf, ...] = ALL) -> Lists:
    read = [read_list(of, text.encode(), denies=of is PROXIES).packed for of, text in given.items()]
    return Lists(wanted, tuple(each for each in read if each))


def empty(**but: str) -> Lists:
    names = {"offices": OFFICES, "staff": STAFF, "proxies": PROXIES, "suspects": SUSPECTS}
    return lists({of: but.get(name, "") for name, of in names.items()})


def do(made: Casebook, *records: Record) -> list[str]:
    """Have records done; name the campaigns whose sidecars are to be told."""
    return [desk.campaign for record in records for desk in made.apply(record) if desk]


def listed(*rules: Ruled, given: Lists | None = None) -> Casebook:
    made = book(*(rules or (ruled("r", "address", lists=NAMES),)))
    do(made, given or empty())
    return made


def held(made: Casebook) -> list[tuple[str, str]]:
    return sorted((each.kind, each.value) for each in made.desk(CAMPAIGN).blocks)


def figures(made: Casebook, rule: str = "r") -> Any:
    return next(each for each in made.desk(CAMPAIGN).engine.figures() if each.rule == rule)


def test_whoever_is_on_a_deny_list_breaks_the_rule_with_the_first_event_that_it_means():
    made = listed(given=empty(proxies="192.0.2.0/24"))
    other = Event(id="o", name="Page Seen", time=BEGAN, arrived=BEGAN, address="192.0.2.1")
    assert judge(made, other) == []
    assert judge(made, *claims(1, address="198.51.100.1")) == []
    assert judge(made, *claims(1, 5, address="192.0.2.1")) == [("address", "192.0.2.1", "Block", ("/coupon",))]
    (decision,) = made.desk(CAMPAIGN).blocks
    assert "on the deny list configmap/fraud/proxies.txt, rule r" in decision.reason
    assert decision.until == BEGAN + 50 + BLOCK.lasts
    found = figures(made)
    assert (found.hits, found.acted, found.denied, found.evaluated) == (1, 1, 1, 2)


def test_an_event_that_comes_again_is_judged_once_and_a_hit_is_no_second_one():
    made = listed(given=empty(proxies="192.0.2.1"))
    found: list[Ruling] = []
    made.on_ruling = lambda _, ruling: found.append(ruling)
    given = claims(4, address="192.0.2.1")
    judge(made, *given, *given)
    judge(made, given[0])
    judge(made, *given[1:3])
    # The third and fourth break the rule by themselves, since it allows two.
    assert [(each.verdict.event, each.verdict.listed) for each in found] == [
        ("m-0", "Deny"), ("m-1", "Deny"), ("m-2", None), ("m-3", None),
    ]  # fmt: skip
    assert (figures(made).hits, figures(made).denied) == (4, 2)


def test_neither_a_missing_key_nor_a_late_event_is_a_way_around_a_deny_list():
    by_device = ruled("r", "device", Action(kind="Block", lasts=60_000, of="Visitor"), lists=NAMES)
    made = listed(by_device, given=empty(proxies="192.0.2.1"))
    judge(made, Event(id="now", name="Page Seen", time=BEGAN + 600_000, arrived=BEGAN + 600_000))
    assert judge(made, *claims(1, address="192.0.2.1", visitor="v")) == [("visitor", "v", "Block", ("/",))]


def test_whoever_is_watched_is_reviewed_with_each_event_and_never_stopped():
    made = listed(given=empty(suspects="d1"))
    sender = {"address": "192.0.2.1", "fields": {"device": "d1"}}
    assert [each[:3] for each in judge(made, *claims(1, **sender))] == [("address", "192.0.2.1", "Review")]
    assert [each[:3] for each in judge(made, *claims(9, 1, **sender))] == [("address", "192.0.2.1", "Review")]
    (decision,) = made.desk(CAMPAIGN).blocks
    assert not decision.is_for_the_edge
    found = figures(made)
    assert (found.watched, found.acted, found.hits, found.would) == (10, 0, 8, 0)


def test_in_shadow_nothing_follows_from_any_list():
    made = listed(ruled("r", "address", lists=NAMES, mode="Shadow"), given=empty(proxies="192.0.2.1", suspects="d1"))
    judge(made, *claims(2, address="192.0.2.1"))
    assert judge(made, *claims(2, 5, address="192.0.2.2", fields={"device": "d1"})) == []
    found = figures(made)
    assert (found.would, found.denied, found.watched, found.acted) == (2, 2, 2, 0)


def test_allow_beats_deny_and_everything_else():
    made = listed(given=empty(offices="192.0.2.1", proxies="192.0.2.0/24", staff="ann"))
    assert judge(made, *claims(9, address="192.0.2.1")) == []
    assert judge(made, *claims(9, 9, address="192.0.2.2", user="ann")) == []
    assert (figures(made).allowed, figures(made).acted) == (18, 0)
    assert len(judge(made, *claims(1, 20, address="192.0.2.2", user="bob"))) == 1


def test_a_network_with_somebody_in_it_who_is_allowed_is_not_blocked_but_the_address_is():
    made = listed(ruled("r", "addressPrefix", lists=NAMES), given=empty(offices="192.0.2.7"))
    judge(made, *claims(3, address="192.0.2.9"))
    judge(made, *claims(3, 5, address="198.51.100.9"))
    assert held(made) == [("address", "192.0.2.9"), ("address", "198.51.100.0/24")]


@pytest.mark.parametrize(
    ("key", "change", "ends"),
    [
        ("address", {"offices": "192.0.2.0/28"}, True),
        ("address", {"offices": "192.0.2.2"}, False),
        ("addressPrefix", {"offices": "192.0.2.200"}, True),
        ("visitor", {"offices": "192.0.2.1"}, True),
        ("device", {"offices": "192.0.2.1"}, True),
        ("device", {"staff": "ann"}, True),
        ("device", {"staff": "bob"}, False),
        ("address", {"proxies": "198.51.100.0/24"}, False),
    ],
)
def test_when_an_allow_list_gains_somebody_what_was_decided_about_them_ends(key, change, ends):
    made = listed(ruled("r", key, lists=NAMES), ruled("other", key, more_than=90))
    judge(made, *claims(3, address="192.0.2.1", visitor="v", user="ann", fields={"device": "d1"}))
    before = held(made)
    assert before
    assert do(made, empty(**change)) == ([CAMPAIGN] if ends else [])
    assert held(made) == ([] if ends else before)


def test_a_block_of_another_rule_and_one_whose_deny_entry_is_gone_hold_on():
    made = listed(ruled("r", "address", more_than=90, lists=NAMES), ruled("other", "address"))
    judge(made, *claims(3, address="192.0.2.1"))
    do(made, empty(offices="192.0.2.1"))
    assert held(made) == [("address", "192.0.2.1")], "the allow list is another rule's"
    made = listed(given=empty(proxies="192.0.2.1"))
    judge(made, *claims(1, address="192.0.2.1"))
    assert do(made, empty()) == []
    assert held(made) == [("address", "192.0.2.1")], "it ends by itself, at its time"
    assert judge(made, *claims(1, 5, address="192.0.2.1"))[0][2] == "Block"
    (decision,) = made.desk(CAMPAIGN).blocks
    assert decision.until == BEGAN + BLOCK.lasts, "and is not put off any more"


@pytest.mark.parametrize(
    ("policy", "ends"),
    [
        ({"snoozes": (Snooze(key=("d1",), until=BEGAN + 60_000),)}, True),
        ({"snoozes": (Snooze(key=("d1",), until=BEGAN),)}, False),
        ({"snoozes": (Snooze(key=("d2",), until=BEGAN + 60_000),)}, False),
        ({"exempt": ((Filter(field="user", operator="Equals", values=("ann",)),),)}, True),
        ({"exempt": ((Filter(field="address", operator="InRange", values=("192.0.2.0/24",)),),)}, True),
        ({"exempt": ((Filter(field="device", operator="Equals", values=("d2",)),),)}, False),
        # Nobody remembers that field, so nobody can say.
        ({"exempt": ((Filter(field="properties.level", operator="NotEquals", values=("gold",)),),)}, False),
        ({"lists": ListNames(allow=(STAFF,))}, True),
    ],
)
def test_when_a_rule_comes_to_leave_somebody_alone_what_was_decided_ends(policy, ends):
    made = listed(ruled("r", "device"), given=empty(staff="ann"))
    judge(made, *claims(3, address="192.0.2.1", visitor="v", user="ann", fields={"device": "d1"}))
    before = held(made)
    assert len(before) == 2
    do(made, RulesRecord(document(ruled("r", "device", **policy))))
    assert held(made) == ([] if ends else before)


def test_a_rule_whose_allow_list_was_never_there_stops_nobody_until_it_is():
    made = book(ruled("r", "address", lists=NAMES))
    do(made, lists({STAFF: "", PROXIES: "192.0.2.1"}))
    assert judge(made, *claims(9, address="192.0.2.1")) == []
    assert figures(made).would == 9
    do(made, lists({OFFICES: ""}))
    assert len(judge(made, *claims(1, 9, address="192.0.2.1"))) == 1


def test_lists_that_are_not_wanted_any_more_are_forgotten_and_others_go_on():
    made = listed(given=empty(proxies="192.0.2.1", staff="ann"))
    do(made, Lists((STAFF, OFFICES)))
    assert set(made.lists) == set(made.entries) == {STAFF, OFFICES}
    assert made.lists[STAFF].entries == 1


ADDRESSES = [f"192.0.2.{number}" for number in range(6)]
RANGES = st.sampled_from([*ADDRESSES, "192.0.2.0/31", "192.0.2.2/31", "192.0.2.0/30", "::ffff:192.0.2.5"])
TEXTS = st.lists(RANGES, max_size=3).map("\n".join)
SENDERS = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(["ann", "bob", ""]), st.sampled_from(["d1", "d2", ""]))


def is_on(text: str, address: str) -> bool:
    networks = (ipaddress.ip_network(each.removeprefix("::ffff:")) for each in text.split())
    return any(ipaddress.ip_address(address) in each for each in networks)


@settings(max_examples=150, deadline=None)
@given(TEXTS, TEXTS, st.sets(st.sampled_from(["ann", "bob"])), st.sets(st.sampled_from(["d1", "d2"])),
       st.lists(SENDERS, max_size=25), st.sampled_from(["Enforce", "Shadow"]))  # fmt: skip
def test_what_is_decided_is_what_the_page_says_line_by_line(offices, proxies, staff, suspects, senders, mode):
    made = listed(
        ruled("r", "address", lists=NAMES, mode=mode),
        given=empty(offices=offices, proxies=proxies, staff="\n".join(staff), suspects="\n".join(suspects)),
    )
    found: dict[str, tuple[bool, list[str]]] = {}
    made.on_ruling = lambda _, each: found.update(
        {each.verdict.event: (each.verdict.listed is None, [decision.action for decision in each.decisions])}
    )
    seen, expected = dict.fromkeys(ADDRESSES, 0), {}
    for number, (address, user, device) in enumerate(senders):
        at = BEGAN + number
        event = Event(
            id=str(number), name="Coupon Claimed", time=at, arrived=at, address=address, user=user,
            fields={"device": device},
        )  # fmt: skip
        do(made, Events(CAMPAIGN, "a", number, pack((event,))))
        seen[address] += 1
        counted, denied, watched = seen[address] > 2, is_on(proxies, address), device in suspects
        if counted or denied or watched:
            is_allowed = is_on(offices, address) or user in staff
            action = "Block" if denied or not watched else "Review"
            expected[str(number)] = counted, [] if is_allowed or mode == "Shadow" else [action]
    assert found == expected


def verdict_of(ruling: bytes) -> bytes:
    return encode(msgspec.msgpack.decode(ruling)[0])


def test_where_a_stream_is_cut_and_which_shard_judges_makes_no_difference():
    chance = seeded(7)
    given = [
        Event(
            id=f"m-{chance.randrange(300)}", name=chance.choice(["Coupon Claimed", "Page Seen"]), time=BEGAN + number,
            arrived=BEGAN + number, address=f"192.0.2.{chance.randrange(40)}", user=chance.choice(["", "ann", "bob"]),
            fields={"device": f"d{chance.randrange(9)}"},
        )
        for number in range(400)
    ]  # fmt: skip
    rules = [ruled("r", "address", lists=NAMES), ruled("s", "device", lists=NAMES, more_than=30)]
    all_lists = empty(offices="192.0.2.0/29", proxies="192.0.2.16/28", suspects="d3", staff="ann")

    def verdicts(size: int, shard: Shard = ALONE) -> list[bytes]:
        made = Casebook(make_engine, shard)
        do(made, RulesRecord(document(*rules)), all_lists)
        found: list[bytes] = []
        made.on_ruling = lambda _, ruling: found.append(encode(ruling))
        for number, start in enumerate(range(0, len(given), size), 1):
            do(made, Events(CAMPAIGN, "a", number, pack(given[start : start + size])))
        return found

    whole = verdicts(400)
    assert sum(b"Deny" in each for each in whole) > 20
    assert verdicts(1) == verdicts(7) == whole
    # What is carried out of two verdicts on one event, each shard says of its own.
    halves = [verdicts(50, Shard(number, 2, b"s")) for number in range(2)]
    assert sorted(map(verdict_of, itertools.chain(*halves))) == sorted(map(verdict_of, whole))


async def test_lists_come_back_from_snapshot_and_journal(tmp_path: Path):
    def started() -> Judging:
        journal, snapshots = Journal(tmp_path / "journal"), Snapshots(tmp_path / "snapshots")
        made = Judging(Casebook(make_engine, ALONE), journal, snapshots, lambda _: None)
        made.recover()
        return made

    rule, sender = (
        ruled("r", "device", lists=NAMES),
        {"address": "192.0.2.1", "visitor": "v", "fields": {"device": "d"}},
    )
    steps: list[Record] = [
        RulesRecord(document(rule)),
        empty(proxies="192.0.2.1"),
        Events(CAMPAIGN, "a", 1, pack(claims(2, **sender))),
        lists({STAFF: "bob"}),
        Events(CAMPAIGN, "a", 2, pack(claims(2, 2, **sender))),
        lists({OFFICES: "192.0.2.1"}),
        Events(CAMPAIGN, "a", 3, pack(claims(2, 4, **sender))),
    ]
    expected = Casebook(make_engine, ALONE)
    for number, step in enumerate(steps):
        do(expected, step)
        judging = started()
        assert judging.judged == number
        task = asyncio.create_task(judging.run())
        await judging.submit(step)
        if number % 2:
            await judging.take_snapshot()
        task.cancel()
        assert judging.casebook.lists == expected.lists
        assert judging.casebook.desk(CAMPAIGN).digest == expected.desk(CAMPAIGN).digest
        assert held(judging.casebook) == held(expected)
    assert held(expected) == []
    assert expected.desk(CAMPAIGN).verdicts == 6


async def put(session: aiohttp.ClientSession, url: str, given: Lists | bytes, headers: dict[str, str] | None = None):
    body = io.BytesIO(given if isinstance(given, bytes) else encode(given))
    async with session.put(f"{url}/v1/fraud/lists", data=body, headers=headers or operator()) as response:
        return response.status, await response.json()


async def test_a_live_change_of_lists_stops_and_frees_at_the_edge(tmp_path: Path):
    rules = document(ruled("r", "address", more_than=90, lists=NAMES))
    (tmp_path / "worker").mkdir()
    async with site(tmp_path, make_engine, rules) as (pod, worker), aiohttp.ClientSession() as session:
        status, state = await put(session, worker.url, empty(proxies="127.0.0.9"))
        assert (status, len(state["lists"])) == (200, 4)
        assert {"source": PROXIES.source, "entries": 1} in [
            {name: each[name] for name in ("source", "entries")} for each in state["lists"]
        ]
        await pod.claim("127.0.0.9")
        await pod.is_refused("127.0.0.9", status=429)
        assert (await pod.ask("/coupon", "127.0.0.1")).status == 200
        await put(session, worker.url, lists({OFFICES: "127.0.0.8/31"}))
        await pod.is_refused("127.0.0.9", status=200)
        await pod.claim("127.0.0.9", 3)
        async with session.get(f"http://127.0.0.1:{worker.metrics_port}/metrics") as response:
            told = await response.text()
        assert f'flywheel_fraud_list_entries{{list="{OFFICES.source}",namespace="shop",of="Address"}} 1.0' in told
        by = f'flywheel_fraud_listed_total{{campaign="{CAMPAIGN}",list="%s",namespace="shop",rule="r"}} %s'
        assert by % ("deny", "1.0") in told
        assert "127.0.0" not in told
        await until(lambda: worker.worker.casebook.desk(CAMPAIGN).events == 4, "all is judged")
        assert (await pod.ask("/coupon", "127.0.0.9")).status == 200


class Objects:
    """One ConfigMap, as the API server gives it."""

    def __init__(self) -> None:
        self.data: dict[str, str] | None = None
        self.version = 0

    def write(self, **data: str) -> None:
        self.data, self.version = {f"{name}.txt": text for name, text in data.items()}, self.version + 1

    async def get(self, key: ObjectKey) -> dict[str, Any] | None:
        assert (key.kind, key.namespace, key.name) == ("ConfigMap", "shop", "fraud")
        metadata = {"uid": "u", "resourceVersion": str(self.version)}
        return None if self.data is None else {"metadata": metadata, "data": self.data}


async def test_from_a_config_map_to_a_request_that_is_refused_and_back(tmp_path: Path):
    names = ListNames(allow=(OFFICES,), deny=(PROXIES,))
    rules = document(ruled("r", "address", more_than=90, lists=names))
    (tmp_path / "worker").mkdir()
    async with site(tmp_path, make_engine, rules) as (pod, worker), httpx.AsyncClient() as client:

        async def get_token(_audience: str) -> str:
            return operator()["Authorization"].removeprefix("Bearer ")

        workers = FraudWorkers(client, get_token, lambda *_: (worker.url,))
        objects, wanted = Objects(), {OFFICES: False, PROXIES: True}
        reader = ListReader(objects, workers, asyncio.to_thread)

        async def look() -> dict[str, str]:
            states = await reader.bring("shop", wanted, (await workers.states("shop", 1)).bodies)
            return {of.source: each.problem or str(each.entries) for of, each in states.items()}

        assert set((await look()).values()) == {"there is no ConfigMap fraud"}
        await pod.claim("127.0.0.9", 2)
        objects.write(offices="", proxies="127.0.0.8/31")
        assert await look() == {OFFICES.source: "0", PROXIES.source: "1"}
        await pod.claim("127.0.0.9")
        await pod.is_refused("127.0.0.9", status=429)
        objects.write(offices="127.0.0.9", proxies="0.0.0.0/0")
        assert "wider than /8" in (await look())[PROXIES.source]
        await pod.is_refused("127.0.0.9", status=200)
        # What was taken last goes on.
        await pod.claim("127.0.0.8")
        await pod.is_refused("127.0.0.8", status=429)


async def test_only_lists_that_can_be_asked_are_taken_and_only_of_the_operator(tmp_path: Path):
    rules = document(ruled("r", "address", lists=NAMES))
    (tmp_path / "worker").mkdir()
    async with site(tmp_path, make_engine, rules) as (_, worker), aiohttp.ClientSession() as session:
        given = empty(offices="192.0.2.0/24")
        assert (await put(session, worker.url, given, bearer("prizes")))[0] == 401
        assert (await put(session, worker.url, given, bearer(f"{CAMPAIGN}-edge")))[0] == 401
        position = (await worker.state())["position"]
        unwanted = msgspec.structs.replace(given, wanted=(STAFF,))
        broken = msgspec.structs.replace(given, put=(msgspec.structs.replace(given.put[0], ipv4=b"123"),))
        many = Lists(tuple(ListOf(source=f"configmap/a/{n}") for n in range(1_001)))
        for wrong in (b"", b"rubbish", encode(["lists", 1]), unwanted, broken, many):
            status, said = await put(session, worker.url, wrong)
            assert (status, said["error"]) == (400, "unreadable")
        assert (await put(session, worker.url, bytes((8 << 20) + 1)))[0] == 413
        assert (await worker.state())["position"] == position
        assert (await put(session, worker.url, given))[1]["position"] == position + 1
        again = (await put(session, worker.url, given))[1]
        assert again["position"] == position + 1, "what is there already is not written once more"
        digests = {each["source"]: each["digest"] for each in again["lists"]}
        await worker.stop()
        await worker.start()
        assert {each["source"]: each["digest"] for each in (await worker.state())["lists"]} == digests


async def test_killed_at_any_moment_the_process_has_its_lists_and_says_the_same(tmp_path: Path):
    chance = seeded(7)
    rule = ruled("r", "device", more_than=5, lists=NAMES)
    worker = Process(tmp_path, "flywheel.fraud.embedded:make_engine")
    (tmp_path / "rules.json").write_bytes(document(rule))
    await worker.start()
    await until(worker.is_ready, "the worker is there")
    expected = Casebook(make_engine, Shard())
    do(expected, RulesRecord(document(rule)))
    async with aiohttp.ClientSession() as session:
        for number in range(1, 13):
            change = empty(
                proxies=f"192.0.2.{chance.randrange(64)}/28", offices=f"192.0.2.{chance.randrange(64)}",
                suspects=f"d{chance.randrange(9)}", staff="ann",
            )  # fmt: skip
            events = tuple(
                Event(
                    id=f"m-{number}-{each}", name="Coupon Claimed", time=BEGAN + each, arrived=BEGAN + each,
                    address=f"192.0.2.{chance.randrange(64)}", fields={"device": f"d{chance.randrange(9)}"},
                )
                for each in range(40)
            )  # fmt: skip
            assert (await put(session, worker.url, change))[0] == 200
            headers = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"edge-0/{number}"}
            body = encode(pack(events))
            async with session.post(f"{worker.url}/v1/fraud/events", data=body, headers=headers) as response:
                assert response.status == 200, await response.text()
            do(expected, change, Events(CAMPAIGN, "edge-0", number, pack(events)))
            if number % 4 == 0:
                await worker.kill()
                await worker.start()
                await until(worker.is_ready, "the worker is back")
    found = await worker.state()
    await worker.kill()
    told = found["campaigns"][CAMPAIGN]
    assert (told["verdicts"], told["digest"]) == (
        expected.desk(CAMPAIGN).verdicts,
        expected.desk(CAMPAIGN).digest.hex(),
    )
    assert expected.desk(CAMPAIGN).verdicts > 40
    assert {each["source"]: each["digest"] for each in found["lists"]} == {
        of.source: each.digest for of, each in expected.entries.items()
    }
    files = [each.read_bytes() for each in (tmp_path / "volume").rglob("*") if each.is_file()]
    assert not any(b"\xa3ann" in each or b"\nann" in each for each in files), "ids are on the volume as hashes alone"
