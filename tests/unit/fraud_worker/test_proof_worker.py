"""Verdicts that are kept, labels, and who is let go: what people and services say to a worker by hand."""

import contextlib
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.unit.edge.stand import until
from tests.unit.fraud_worker.test_embedded import ruled
from tests.unit.fraud_worker.world import CAMPAIGN, RunningWorker, bearer, operator

from flywheel.fraud.batch import encode, pack
from flywheel.fraud.compiled_once import compile_once
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.policy import Ruled, Rules, write_rules
from flywheel.fraud.words import Event

NOW = int(time.time() * 1000) - 60_000
"""A minute ago: what is said to come later than now would count as of now."""


def document(*rules: Ruled, **more: Any) -> bytes:
    return msgspec.json.encode({CAMPAIGN: msgspec.Raw(write_rules(Rules(rules=rules, **more)))})


def claim(identity: str, at: int, **sender: Any) -> Event:
    return Event(id=identity, name="Coupon Claimed", time=at, arrived=at, **sender)


class Hand:
    """Somebody who speaks to a worker: an edge, a service and a person in one."""

    def __init__(self, worker: RunningWorker, session: aiohttp.ClientSession) -> None:
        self.worker, self.session = worker, session
        self.batch = 0

    async def claim(self, count: int, start: int = 0, **sender: Any) -> None:
        """Send claims of coupons, named m-0, m-1, ..."""
        await self.send([claim(f"m-{n}", NOW + n, **sender) for n in range(start, start + count)])

    async def send(self, events: list[Event]) -> None:
        """Send events as an edge does."""
        self.batch += 1
        headers = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"edge-0/{self.batch}"}
        url = f"{self.worker.url}/v1/fraud/events"
        async with self.session.post(url, data=encode(pack(events)), headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def get(self, path: str, status: int = 200, **query: Any) -> Any:
        query = {"campaign": CAMPAIGN, **query}
        async with self.session.get(f"{self.worker.admin}/{path}", params=query) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def post(self, path: str, status: int = 200, headers: dict[str, str] | None = None, **body: Any) -> Any:
        address = self.worker.admin if headers is None else self.worker.url
        body = {"campaign": CAMPAIGN, **body}
        async with self.session.post(f"{address}/{path}", json=body, headers=headers) as answer:
            assert answer.status == status, await answer.text()
            return await answer.json()

    async def verdicts(self, of: str, count: int) -> list[dict[str, Any]]:
        """Give the verdicts about somebody, once there are so many."""
        found: list[dict[str, Any]] = []

        async def are_there() -> bool:
            found[:] = await self.get("verdicts", of=of)
            return len(found) >= count

        await until(are_there, f"{count} verdicts about {of} are kept")
        return found

    async def figures(self, rule: str) -> dict[str, Any]:
        state = await self.worker.state()
        [found] = [each for each in state["campaigns"][CAMPAIGN]["rules"] if each["rule"] == rule]
        return found

    async def evidence(self, rule: str, labels: int) -> dict[str, Any]:
        """Give what labels say of a rule, once so many count for its precision."""

        async def is_known() -> bool:
            assert self.worker.worker
            await self.worker.worker.filing.reckon(CAMPAIGN)
            return (await self.figures(rule))["evidence"]["precision"]["labels"] == labels

        await until(is_known, f"{labels} labels count")
        return (await self.figures(rule))["evidence"]


@contextlib.asynccontextmanager
async def hand(directory: Path, rules: bytes) -> AsyncIterator[Hand]:
    # What takes seconds the first time is not what is waited for here.
    compile_once()
    worker = RunningWorker(directory / "worker", make_engine)
    (worker.directory / "rules.json").write_bytes(rules)
    await worker.start()
    try:
        async with aiohttp.ClientSession() as session:
            yield Hand(worker, session)
    finally:
        await worker.stop()


async def test_every_verdict_is_explained_and_found_by_whom_it_is_about(tmp_path: Path) -> None:
    rules = (ruled("burst", "address"), ruled("quiet", "user", mode="Shadow"))
    async with hand(tmp_path, document(*rules)) as person:
        await person.claim(4, address="192.0.2.1", user="u-1", visitor="v-1")
        found = await person.verdicts("v-1", 4)
        assert sorted((each["event"], each["rule"], each["done"]) for each in found) == [
            (event, *what) for event in ("m-2", "m-3") for what in (("burst", "Acted"), ("quiet", "Shadow"))
        ]
        for of, count in (("m-2", 2), ("192.0.2.1", 4), ("u-1", 4)):
            assert len(await person.get("verdicts", of=of)) == count, of
        quiet = next(each for each in found if each["rule"] == "quiet")
        assert (quiet["key"], quiet["limit"], quiet["action"]) == ({"user": "u-1"}, 2, "Block")
        assert "user u-1: at least 3 where the limit is 2 of Coupon Claimed in 1m, rule quiet" in quiet["said"]
        assert "Nothing was done: the rule is in Shadow; it would have been Block." in quiet["said"]
        assert await person.get("verdicts", of="v-2") == []


@pytest.mark.parametrize("addresses", ["Hash", "Drop", "Store"])
async def test_of_an_address_no_more_is_kept_than_the_campaign_wants(tmp_path: Path, addresses: str) -> None:
    async with hand(tmp_path, document(ruled("burst", "address"), addresses=addresses)) as person:
        await person.claim(3, address="192.0.2.77", visitor="v-1")
        [found] = await person.verdicts("192.0.2.77", 1)
        assert ("192.0.2.77" in str(found)) is (addresses == "Store")
        # Found by its address it is in any case, and labelled.
        label = {"key": ["192.0.2.77"], "rule": "burst", "label": "Dishonest"}
        await person.post("labels", labels=[label])
        state = await person.worker.state()
        assert state["campaigns"][CAMPAIGN]["verdicts"] == 1
    disk = b"".join(each.read_bytes() for each in (tmp_path / "worker/volume").glob("verdicts.sqlite*"))
    assert (b"192.0.2.77" in disk) is (addresses == "Store")


async def test_labels_make_precision_and_recall_of_those_who_were_left_alone(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor", more_than=0, mode="Shadow"))) as person:
        for number in range(20):
            await person.claim(1, number, visitor=f"v-{number}")
        await person.verdicts("v-19", 1)
        labels = [{"visitor": f"v-{n}", "label": "Dishonest" if n < 9 else "Honest"} for n in range(12)]
        missed = [{"visitor": f"w-{n}", "label": "Dishonest", "source": "chargeback"} for n in range(3)]
        assert await person.post("labels", labels=[*labels, *missed]) == {"labels": 15, "known": 15}
        found = await person.evidence("r", 12)
        assert (found["found"], found["alone"]) == (20, 20)
        assert found["precision"] == {"good": 9.0, "total": 12.0, "squares": 12.0, "labels": 12}
        assert found["recall"] == {"good": 9.0, "total": 12.0, "squares": 12.0, "labels": 12}
        # The latest word counts, after a restart as well.
        await person.post("labels", labels=[{"visitor": "v-0", "label": "Honest", "source": "appeal"}])
        await person.worker.stop()
        await person.worker.start()
        found = await person.evidence("r", 12)
        assert found["precision"]["good"] == 8.0
        url = f"http://127.0.0.1:{person.worker.metrics_port}/metrics"
        async with person.session.get(url) as answer:
            text = await answer.text()
        assert 'flywheel_fraud_precision{campaign="spring",namespace="shop",rule="r"} 0.6666666' in text
        assert 'flywheel_fraud_recall_labels{campaign="spring",namespace="shop",rule="r"} 11.0' in text
        assert 'flywheel_fraud_labels{campaign="spring",label="Honest",namespace="shop"} 4.0' in text


async def test_whoever_was_stopped_proves_nothing_and_the_holdout_stands_for_them(tmp_path: Path) -> None:
    rule = ruled("r", "visitor", more_than=0, holdout=2_500)
    async with hand(tmp_path, document(rule)) as person:
        names = [f"v-{number}" for number in range(80)]
        for number, name in enumerate(names):
            await person.claim(1, number, visitor=name)
        [last] = await person.verdicts(names[-1], 1)
        assert last["done"] in ("Acted", "HeldOut")
        held = (await person.figures("r"))["heldOut"]
        assert 5 < held < 40
        await person.post("labels", labels=[{"visitor": each, "label": "Dishonest"} for each in names])
        found = await person.evidence("r", held)
        assert (found["found"], found["alone"]) == (80, held)
        assert found["precision"] == {"good": held * 4.0, "total": held * 4.0, "squares": held * 16.0, "labels": held}


async def test_a_service_labels_with_its_token_and_cannot_say_that_it_is_another(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor"))) as person:
        label = {"user": "u-1", "label": "Dishonest", "source": "chargeback", "by": "the boss"}
        path = "v1/fraud/labels"
        await person.post(path, 401, headers={}, labels=[label])
        await person.post(path, 401, headers={"Authorization": "Bearer x"}, labels=[label])
        await person.post(path, headers=bearer("payments"), labels=[label])
        desk = person.worker.worker.casebook.desk(CAMPAIGN)
        assert [each.by for each in desk.labels] == ["payments"]
        await person.post(path, headers=operator(), labels=[label | {"user": "u-2"}])
        assert [each.by for each in desk.labels] == ["payments", "the boss"]
        refused = await person.post(path, 400, headers=bearer("payments"), labels=[label | {"visitor": "v"}])
        assert "labels[0]: it names visitor and user" in refused["message"]


async def test_who_is_unblocked_is_free_until_they_break_the_rule_again(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "address"), ruled("s", "user"))) as person:
        await person.claim(3, address="192.0.2.1", user="u-1")
        await person.claim(3, 3, address="192.0.2.2", user="u-2")
        held = await person.get("decisions")
        assert held["total"] == len(held["decisions"]) == 4
        assert {(each["rule"], each["kind"]) for each in held["decisions"]} == {("r", "address"), ("s", "user")}
        [ended] = await person.post("unblock", kind="address", value="192.0.2.1")
        assert (ended["rule"], ended["value"]) == ("r", "192.0.2.1")
        assert (await person.get("decisions", value="192.0.2.1"))["total"] == 0
        await person.claim(1, 6, address="192.0.2.1", user="u-1")
        assert (await person.get("decisions", rule="r"))["total"] == 2
        assert len(await person.post("unblock", rule="r")) == 2
        assert await person.post("unblock", rule="r") == []


async def test_who_is_allowed_is_let_go_at_once_and_left_alone_until_the_end(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "address"))) as person:
        await person.claim(3, address="192.0.2.1", visitor="v-1")
        until_then = NOW + 3_600_000
        allowed = await person.post("allow", kind="address", value="192.0.2.0/28", until=until_then, reason="a school")
        assert allowed == {"ended": 1, "value": "192.0.2.0/28"}
        await person.claim(1, 3, address="192.0.2.1", visitor="v-1")
        assert (await person.get("decisions"))["total"] == 0
        found = await person.verdicts("v-1", 2)
        assert found[0]["done"] == "Allowed"
        assert "(by hand: a school); it would have been Block" in found[0]["said"]
        # After a restart as well, and taken back before its time.
        await person.worker.stop()
        await person.worker.start()
        [listed] = await person.get("allowed")
        assert (listed["value"], listed["reason"]) == ("192.0.2.0/28", "a school")
        await person.claim(1, 4, address="192.0.2.1")
        assert (await person.get("decisions"))["total"] == 0
        await person.post("allow", kind="address", value="192.0.2.0/28", until=0)
        await person.claim(1, 5, address="192.0.2.1")
        assert (await person.get("decisions"))["total"] == 1


async def test_a_user_who_is_let_go_is_let_go_as_the_visitor_whom_the_edge_knows(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "user"))) as person:
        for way in ("unblock", "allow"):
            await person.claim(3, 10 * person.batch, user="u-1", visitor="v-1")
            held = (await person.get("decisions"))["decisions"]
            assert {each["kind"] for each in held} == {"user", "visitor"}
            more = {"until": NOW + 3_600_000, "reason": "a customer"} if way == "allow" else {}
            await person.post(way, kind="user", value="u-1", **more)
            assert (await person.get("decisions"))["total"] == 0


async def test_many_decisions_of_a_rule_end_at_once(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor", more_than=0))) as person:
        for start in range(0, 3_000, 500):
            now = NOW + start
            await person.send([claim(f"n-{start + n}", now + n, visitor=f"v-{start + n}") for n in range(500)])
        listed = await person.get("decisions", limit=2)
        assert (listed["total"], len(listed["decisions"])) == (3_000, 2)
        assert len(await person.post("unblock", rule="r")) == 3_000
        assert (await person.get("decisions"))["total"] == 0


async def test_who_asks_for_an_allowed_visitor_is_told_that_they_may(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "address"))) as person:
        await person.claim(3, address="192.0.2.1", visitor="v-1")
        await person.post("allow", kind="visitor", value="v-2", until=NOW + 3_600_000, reason="a customer")
        question = {"address": "192.0.2.1", "visitor": "v-2"}
        assert (await person.post("v1/fraud/check", headers=bearer(), **question))["verdict"] == "Allow"
        question["visitor"] = "v-3"
        assert (await person.post("v1/fraud/check", headers=bearer(), **question))["verdict"] == "Block"


LABEL = {"visitor": "v", "label": "Dishonest"}
ALLOW = {"kind": "user", "value": "u", "until": NOW + 3_600_000, "reason": "a friend"}
BAD = [
    ("labels", {"labels": []}, "there are 0; send 1 to 1000"),
    ("labels", {"labels": [LABEL] * 1001}, "there are 1001"),
    ("labels", {"labels": [{"label": "Honest"}]}, "it names nobody"),
    ("labels", {"labels": [LABEL, LABEL | {"event": "m"}]}, "labels[1]: it names event and visitor"),
    ("labels", {"labels": [LABEL | {"rule": "r"}]}, "labels[0].rule"),
    ("labels", {"labels": [{"key": ["k"], "label": "Honest"}]}, "labels[0].rule"),
    ("labels", {"labels": [{"key": ["k"] * 5, "rule": "r", "label": "Honest"}]}, "at most 4 values"),
    ("labels", {"labels": [LABEL | {"visitor": "v" * 513}]}, "labels[0].visitor: 1 to 512 characters"),
    ("labels", {"labels": [LABEL | {"source": "s" * 129}]}, "labels[0].source: 129 characters"),
    ("labels", {"labels": [LABEL | {"at": NOW + 10**9}]}, "is not in the past"),
    ("labels", {"labels": [LABEL | {"at": -1}]}, "is not in the past"),
    ("labels", {"labels": [LABEL | {"label": "Evil"}]}, "`$.labels[0].label`"),
    ("labels", {"labels": [LABEL | {"lable": "Honest"}]}, "lable"),
    ("labels", {"labels": [LABEL], "campaign": "sprnig"}, "this worker judges nothing of 'sprnig'; it knows spring"),
    ("unblock", {}, "Say what is to end"),
    ("unblock", {"kind": "address"}, "Say what is to end"),
    ("unblock", {"rule": "r", "decision": "d"}, "Say what is to end"),
    ("allow", ALLOW | {"reason": " "}, "reason: say why"),
    ("allow", ALLOW | {"reason": "r" * 257}, "reason: 257 characters"),
    ("allow", ALLOW | {"until": NOW + 91 * 86_400_000}, "at most 90 days"),
    ("allow", ALLOW | {"value": ""}, "value: 1 to 512"),
    ("allow", ALLOW | {"kind": "address", "value": "192.0.2"}, "is no address or network"),
    ("allow", ALLOW | {"kind": "address", "value": "0.0.0.0/0"}, "half of the world"),
    ("allow", ALLOW | {"kind": "planet"}, "`$.kind`"),
]


async def test_wishes_that_make_no_sense_are_refused_in_words_and_change_nothing(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "address"))) as person:
        for path, body, words in BAD:
            refused = await person.post(path, 400, **body)
            assert words in refused["message"], (path, body, refused)
        for query in (
            {},
            {"of": ""},
            {"of": "x", "limit": "0"},
            {"of": "x", "limit": "x"},
            {"of": "x", "campaign": "y"},
        ):
            assert (await person.get("verdicts", 400, **query))["error"] == "bad_wish"
        desk = person.worker.worker.casebook.desk(CAMPAIGN)
        assert (len(desk.labels), len(desk.pardons)) == (0, 0)
        url = f"{person.worker.admin}/unblock"
        async with person.session.post(url, data=b"{}", headers={"Content-Type": "text/plain"}) as answer:
            assert answer.status == 415
        async with person.session.post(url, json={}, headers={"Host": "shop.example"}) as answer:
            assert answer.status == 403
