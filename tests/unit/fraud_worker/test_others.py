"""Several workers of a namespace: each answers for all, and says what of it nobody can say at present."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from tests.ports import free_port
from tests.unit.edge.stand import until
from tests.unit.fraud_worker.small_engine import rule
from tests.unit.fraud_worker.test_questions import event, post, ruled
from tests.unit.fraud_worker.world import CAMPAIGN, RunningWorker, bearer, token, workers

from flywheel.fraud import naming, others
from flywheel.fraud.asked import Held, Question, together
from flywheel.fraud.blocks import Decision
from flywheel.fraud.others import Others, Untold
from flywheel.fraud.pardons import Pardon
from flywheel.fraud.policy import Rules
from flywheel.fraud.sending import Token

RULES = (
    rule("blocks", event="Block", moreThan=0, status=451, body="no"),
    rule("reviews", event="Review", key="user", moreThan=0, action="Review", scope=["/"]),
    rule("challenges", event="Challenge", moreThan=0, action="Challenge", page="/prove", scope=["/"], passFor=600),
)
ALLOWED = {"verdict": "Allow", "reasons": [], "available": True}


@pytest.fixture
async def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[list[RunningWorker]]:
    # A machine that is busy is no reason why a worker is not heard.
    monkeypatch.setattr(others, "WITHIN", 60.0)
    async with workers(tmp_path, 3) as made:
        for each in made:
            each.rules(*RULES)
        for each in made:
            await until(lambda each=each: len(each.worker.casebook.desk(CAMPAIGN).engine._rules) == 3, "the rules", 60)
        yield made


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as made:
        yield made


async def check(session: aiohttp.ClientSession, worker: RunningWorker, **question: Any) -> dict[str, Any]:
    body = {"campaign": CAMPAIGN, **question}
    async with session.post(f"{worker.url}/v1/fraud/check", json=body, headers=bearer()) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def test_whoever_is_asked_answers_for_all(three: list[RunningWorker], session: aiohttp.ClientSession):
    one, two, three_ = three
    await post(session, two, event("Block", address="192.0.2.1"))
    await post(session, three_, event("Review", address="192.0.2.1", user="u-1"))
    for each in three:
        found = await check(session, each, address="192.0.2.1", user="u-1", path="/coupon/1")
        assert (found["verdict"], found["available"]) == ("Block", True)
        assert [each["rule"] for each in found["reasons"]] == ["blocks", "reviews"]
        assert (await check(session, each, user="u-1"))["verdict"] == "Review"
        assert await check(session, each, address="192.0.2.9", user="u-9") == ALLOWED
        url = f"{each.url}/v1/fraud/ext-authz/{CAMPAIGN}/coupon"
        async with session.get(url, headers={"X-Forwarded-For": "192.0.2.1"}) as response:
            assert (response.status, await response.text()) == (451, "no")
    # The same decision at two of them, as while a key moves, holds once.
    await post(session, one, event("Block", address="192.0.2.1"))
    assert len((await check(session, one, address="192.0.2.1", path="/coupon"))["reasons"]) == 1


async def test_a_pass_is_as_long_as_a_challenge_that_another_worker_has_decided(
    three: list[RunningWorker], session: aiohttp.ClientSession
):
    await post(session, three[1], event("Challenge", address="192.0.2.2"))
    given = {"campaign": CAMPAIGN, "address": "192.0.2.2"}
    before = int(time.time())
    async with session.post(f"{three[0].url}/v1/fraud/passes", json=given, headers=bearer()) as response:
        until_ = (await response.json())["until"]
    assert before + 600 <= until_ <= int(time.time()) + 600


async def test_who_is_allowed_at_one_worker_is_so_for_all(three: list[RunningWorker], session: aiohttp.ClientSession):
    await post(session, three[1], event("Block", address="192.0.2.1"))
    later = int(time.time() * 1000) + 3_600_000
    wish = {"kind": "address", "value": "192.0.2.0/24", "until": later, "reason": "an office"}
    async with session.post(f"{three[2].admin}/allow", json={"campaign": CAMPAIGN, **wish}) as response:
        assert response.status == 200, await response.text()
    assert await check(session, three[0], address="192.0.2.1", path="/coupon") == ALLOWED


async def test_what_a_worker_that_is_away_would_judge_is_as_the_rules_say(
    three: list[RunningWorker], session: aiohttp.ClientSession
):
    one, *rest = three
    await post(session, one, event("Review", user="u-0"))
    prizes = ruled("prizes", mode="Enforce", on_unavailable="Deny")
    document = {CAMPAIGN: Rules(rules=(prizes, ruled("open", mode="Enforce")))}
    for each in three:
        (each.directory / "rules.json").write_bytes(msgspec.json.encode(document))
    await until(lambda: b"prizes" in one.worker.casebook.rules, "the rules", 60)
    users = [f"u-{number}" for number in range(40)]

    async def all_are_heard() -> bool:
        return all([(await check(session, one, user=user))["available"] for user in users])

    unheard: list[set[str]] = []
    for each in rest:
        await each.stop()
        answers = {user: await check(session, one, user=user) for user in users}
        assert {(a["verdict"], a["available"]) for u, a in answers.items() if u != "u-0"} == {
            ("Allow", True),
            ("Block", False),
        }
        unheard.append({user for user, answer in answers.items() if not answer["available"]})
        said = next(answer for answer in answers.values() if not answer["available"])
        assert naming.worker_name(each.shard.number) in said["reasons"][-1]["reason"]
        assert (await check(session, one, address="192.0.2.1"))["verdict"] == "Block", "whose user is not told"
        if "u-0" not in unheard[-1]:
            assert answers["u-0"]["verdict"] == "Review", "what is known is said"
        await each.start()
        await until(all_are_heard, "nobody rests any more", 60)
    assert not unheard[0] & unheard[1], "each judges its own keys"
    assert set(users) - unheard[0] - unheard[1], "and some are of the one that is asked"
    for each in rest:
        await each.stop()
    url = f"{one.url}/v1/fraud/ext-authz/{CAMPAIGN}/coupon"
    async with session.get(url, headers={"X-Forwarded-For": "192.0.2.1"}) as response:
        assert (response.status, response.headers["X-Fraud-Verdict"]) == (200, "Unavailable")
    async with session.get(f"http://127.0.0.1:{one.metrics_port}/metrics") as response:
        assert 'flywheel_fraud_unheard_total{namespace="shop",worker="flywheel-fraud-1"}' in await response.text()


async def test_only_workers_are_told_what_a_worker_knows(three: list[RunningWorker], session: aiohttp.ClientSession):
    url, question = f"{three[0].url}{naming.HELD}", {"campaign": CAMPAIGN, "user": "u"}
    for headers, status in (({}, 401), (bearer(), 403), (bearer("flywheel-fraud"), 200)):
        async with session.post(url, json=question, headers=headers) as response:
            assert response.status == status
    async with session.post(url, json={"who": "u"}, headers=bearer("flywheel-fraud")) as response:
        assert response.status == 400


async def test_labels_that_are_said_to_one_worker_are_known_to_all(
    three: list[RunningWorker], session: aiohttp.ClientSession
):
    labels = [{"user": "u-1", "label": "Dishonest", "source": "chargeback"}, {"event": "m-7", "label": "Honest"}]
    url, body = f"{three[1].url}/v1/fraud/labels", {"campaign": CAMPAIGN, "labels": labels}

    async def say() -> tuple[int, dict[str, Any]]:
        async with session.post(url, json=body, headers=bearer()) as response:
            return response.status, await response.json()

    assert await say() == (200, {"labels": 2, "known": 2})
    first, *rest = [each.worker.casebook.desk(CAMPAIGN).labels.dump() for each in three]
    assert rest == [first, first], "as said at the same moment, by the same service"
    assert {each.by for each in first} == {"prizes"}
    await three[2].stop()
    status, said = await say()
    assert (status, said["error"]) == (503, "others")
    assert "flywheel-fraud-2" in said["message"]
    await three[2].start()
    assert await say() == (200, {"labels": 2, "known": 2})


class Slow:
    """A worker that answers as it is told to, or not at all."""

    def __init__(self) -> None:
        self.port, self.asked = free_port(), 0
        self.answers = asyncio.Event()
        self.body = msgspec.json.encode(Held())

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> web.AppRunner:
        application = web.Application()
        application.router.add_post(naming.HELD, self._answer)
        application.router.add_post(naming.LABELS, self._refuse)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port).start()
        return runner

    async def _answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        await self.answers.wait()
        return web.Response(body=self.body)

    async def _refuse(self, _: web.Request) -> web.Response:
        return web.Response(status=503, text="it is full")


async def test_a_worker_that_hangs_is_not_waited_for_again_and_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "token").write_text(token("flywheel-fraud"))
    slow, clock, faults = Slow(), [0.0], list[str]()
    runner = await slow.start()
    asking = Others({1: slow.url}, Token(tmp_path / "token"), faults.append, lambda: clock[0])
    question = Question(CAMPAIGN, user="u-1")
    try:
        for _ in range(others.PATIENCE + 5):
            assert await asking.ask(question) == ((), {1})
        assert len(faults) == others.PATIENCE, "it rests"
        slow.answers.set()
        clock[0] += others.REST
        monkeypatch.setattr(others, "WITHIN", 60.0)
        assert await asking.ask(question) == ((Held(),), frozenset())
        slow.body = b"rubbish"
        assert await asking.ask(question) == ((), {1})
        slow.body = b"[" + b" " * others.LARGEST
        assert await asking.ask(question) == ((), {1})
        with pytest.raises(Untold, match="flywheel-fraud-1 has not taken it: HTTP 503: it is full"):
            await asking.tell(naming.LABELS, b"{}")
    finally:
        await asking.close()
        await runner.cleanup()


def test_what_workers_say_together_is_the_longest_of_each_and_spares_whom_one_of_them_allows():
    def made(name: str, action: Any, until: int, value: str = "192.0.2.1") -> Decision:
        return Decision(id=name, kind="address", value=value, action=action, until=until, rule=name)

    question = Question(CAMPAIGN, address="192.0.2.1")
    said = [
        Held((made("a", "Review", 50), made("b", "Block", 60))),
        Held((made("b", "Block", 90), made("c", "Throttle", 70))),
    ]
    assert [(each.id, each.until) for each in together(said, question, 1)] == [("b", 90), ("c", 70), ("a", 50)]
    pardon = Pardon(kind="address", value="192.0.2.0/24", until=40, rule="b")
    spared = [*said, Held(pardons=(pardon,))]
    assert [each.id for each in together(spared, question, 1)] == ["c", "a"]
    assert [each.id for each in together(spared, question, 40)] == ["b", "c", "a"], "it is over"
    assert together([], question, 1) == []
