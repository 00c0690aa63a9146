"""What services, gateways and sidecars ask the worker, and who may."""

import asyncio
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from tests.patience import PATIENCE
from tests.unit.edge.stand import until
from tests.unit.fraud_worker.small_engine import SmallEngine, rule
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, NAMESPACE, RunningWorker, bearer, fetch, operator

from flywheel.fraud import feed
from flywheel.fraud.batch import encode, pack
from flywheel.fraud.passes import is_good, sign
from flywheel.fraud.policy import Action, Policy, Ruled, Rules
from flywheel.fraud.rule import Count, Rule
from flywheel.fraud.rulings import Shard
from flywheel.fraud.words import Event
from flywheel.fraud.worker import Worker
from flywheel.fraud.worker_settings import Settings
from flywheel.plan import content_hash

RULES = (
    rule("blocks", event="Block", moreThan=0, status=451, body="no"),
    rule("reviews", event="Review", key="user", moreThan=0, action="Review", scope=["/"]),
    rule("challenges", event="Challenge", moreThan=0, action="Challenge", page="/prove", scope=["/"]),
    rule("slows", event="Slow", moreThan=0, action="Throttle", perSecond=1, scope=["/"]),
)


def ruled(name: str, **policy: Any) -> Ruled:
    judged = Rule(name=name, key=("user",), window=60_000, conditions=(Count(more_than=1),))
    return Ruled(rule=judged, policy=Policy(action=Action(kind="Review"), **policy))


@pytest.fixture
async def worker(tmp_path: Path):
    made = RunningWorker(tmp_path / "worker")
    made.rules(*RULES)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as made:
        yield made


async def post(session: aiohttp.ClientSession, worker: RunningWorker, *events: Event, number: int = 1, **headers: str):
    given = {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": f"edge-0/{number}", **headers}
    async with session.post(f"{worker.url}/v1/fraud/events", data=encode(pack(events)), headers=given) as r:
        return r.status, await r.json()


def event(name: str, **fields: Any) -> Event:
    now = int(time.time() * 1000)
    return Event(id=str(uuid.uuid4()), name=name, time=now, arrived=now, **fields)


async def check(session: aiohttp.ClientSession, worker: RunningWorker, **question: Any) -> dict[str, Any]:
    body = {"campaign": CAMPAIGN, **question}
    async with session.post(f"{worker.url}/v1/fraud/check", json=body, headers=bearer()) as response:
        assert response.status == 200, await response.text()
        found: dict[str, Any] = await response.json()
        return found


async def test_a_service_is_told_the_strongest_action_and_all_reasons(worker, session):
    events = [event("Block", address="192.0.2.1"), event("Review", address="192.0.2.1", user="u-1")]
    assert await post(session, worker, *events) == (200, {"judged": 2})
    assert await check(session, worker, address="192.0.2.2", user="u-2") == {
        "verdict": "Allow",
        "reasons": [],
        "available": True,
    }
    assert (await check(session, worker, user="u-1"))["verdict"] == "Review"
    both = await check(session, worker, address="192.0.2.1", user="u-1", path="/coupon/1")
    assert both["verdict"] == "Block"
    assert [(each["rule"], each["action"]) for each in both["reasons"]] == [("blocks", "Block"), ("reviews", "Review")]
    assert both["reasons"][0]["event"] == events[0].id
    assert (await check(session, worker, address="192.0.2.1", path="/"))["verdict"] == "Allow"
    assert await check(session, worker, campaign="other", address="192.0.2.1") == {
        "verdict": "Allow",
        "reasons": [],
        "available": True,
    }


async def test_a_gateway_is_answered_200_or_what_the_client_gets(worker, session):
    events = [event(name, address=f"192.0.2.{at}") for at, name in enumerate(("Block", "Challenge", "Slow"), 1)]
    await post(session, worker, *events)

    async def ask(address: str, path: str = "/coupon", **headers: str):
        url = f"{worker.url}/v1/fraud/ext-authz/{CAMPAIGN}{path}"
        given = {"X-Forwarded-For": f"198.51.100.9, {address}", **headers}
        async with session.get(url, headers=given, allow_redirects=False) as r:
            return r.status, await r.text(), r.headers.get("Location"), r.headers.get("X-Fraud-Verdict")

    assert await ask("192.0.2.9") == (200, "", None, None)
    assert await ask("192.0.2.1") == (451, "no", None, None)
    assert (await ask("192.0.2.1", "/"))[0] == 200
    assert await ask("192.0.2.2", "/a?b=c") == (303, "", "/prove?return=%2Fa%3Fb%3Dc", None)
    assert (await ask("192.0.2.2"))[0] == 303
    assert (await ask("192.0.2.2", "/prove"))[0] == 200
    assert await ask("192.0.2.3") == (200, "", None, "Throttle")
    # What the client itself claims of its address is not the gateway's word.
    assert (await ask("192.0.2.9", **{"X-Forwarded-For": "192.0.2.1, 192.0.2.9"}))[0] == 200
    assert (await ask("", **{"X-Forwarded-For": "rubbish"}))[0] == 200
    # nginx names the path in a header.
    assert (await ask("192.0.2.1", "", **{"X-Original-URI": "/coupon?x"}))[0] == 451
    given = {"campaign": CAMPAIGN, "address": "192.0.2.2", "seconds": 60}
    async with session.post(f"{worker.url}/v1/fraud/passes", json=given, headers=bearer()) as response:
        granted = await response.json()
    assert granted["cookie"] == "fw_pass"
    assert (await ask("192.0.2.2", Cookie=f"fw_pass={granted['value']}"))[0] == 200
    assert (await ask("192.0.2.2", Cookie=f"fw_pass={granted['value']}x"))[0] == 303


async def test_a_pass_holds_as_long_as_the_challenge_says(worker, session):
    worker.rules(*RULES, rule("asks", event="Ask", moreThan=0, action="Challenge", page="/prove", passFor=600))
    await until(lambda: worker.worker.casebook.desk(CAMPAIGN).engine.generation != "", "the rules")

    async def asked(**wish: Any) -> tuple[int, float]:
        body = {"campaign": CAMPAIGN, "address": "192.0.2.9", **wish}
        async with session.post(f"{worker.url}/v1/fraud/passes", json=body, headers=bearer()) as response:
            return response.status, (await response.json()).get("until", 0)

    async def is_granted(lasting: int, **wish: Any) -> bool:
        before = time.time()
        _, until = await asked(**wish)
        return before + lasting - 1 <= until <= time.time() + lasting + 1

    assert await is_granted(3600), "nothing says how long"

    async def is_challenged() -> bool:
        await post(session, worker, event("Ask", address="192.0.2.9"), number=time.monotonic_ns())
        return (await check(session, worker, address="192.0.2.9"))["verdict"] == "Challenge"

    await until(is_challenged, "the challenge")
    assert await is_granted(600)
    assert await is_granted(60, seconds=60)
    assert (await asked(seconds=31 * 86_400))[0] == 400


async def test_while_nobody_can_judge_the_rules_say_what_holds(session: aiohttp.ClientSession, tmp_path: Path):
    held = threading.Event()

    def slow(campaign: str, shard: Shard) -> SmallEngine:
        held.wait(PATIENCE)
        return SmallEngine(campaign, shard)

    starting = RunningWorker(tmp_path / "worker", slow)
    prizes = ruled("prizes", mode="Enforce", on_unavailable="Deny")
    others = (ruled("seen", mode="Enforce", on_unavailable="Review"), ruled("shadow", on_unavailable="Deny"))
    document = {CAMPAIGN: Rules(rules=(*others, prizes)), "pages": Rules(rules=(ruled("open", mode="Enforce"),))}
    (starting.directory / "rules.json").write_bytes(msgspec.json.encode(document))
    task = asyncio.create_task(starting.start())
    try:
        await until(lambda: starting.is_listening(), "its port")
        answer = await check(session, starting, user="u-1")
        assert (answer["verdict"], answer["available"]) == ("Block", False)
        assert [each["rule"] for each in answer["reasons"]] == ["prizes", "seen"]
        assert "onUnavailable" in answer["reasons"][0]["reason"]
        assert (await check(session, starting, campaign="pages"))["verdict"] == "Allow"
        url = f"{starting.url}/v1/fraud/ext-authz/{CAMPAIGN}/coupon"
        async with session.get(url, headers={"X-Forwarded-For": "192.0.2.1"}) as response:
            assert (response.status, response.headers["X-Fraud-Verdict"]) == (200, "Unavailable")
        (starting.directory / "rules.json").write_text("no rules")
        body = {"campaign": CAMPAIGN}
        async with session.post(f"{starting.url}/v1/fraud/check", json=body, headers=bearer()) as response:
            assert response.status == 503
    finally:
        starting.rules(*RULES)
        held.set()
        await task
        await starting.stop()


async def test_only_those_who_may_are_answered(worker, session):
    wrong = {
        "nobody": ({}, 401),
        "of another namespace": ({"Authorization": f"Bearer {KEYS.token('x-edge', namespace='other')}"}, 403),
        "for another": ({"Authorization": f"Bearer {KEYS.token('x-edge', namespace=NAMESPACE, aud=['x'])}"}, 401),
    }
    for who, (headers, status) in wrong.items():
        for method, path in (("POST", "events"), ("GET", "decisions"), ("POST", "check"), ("POST", "passes")):
            async with session.request(method, f"{worker.url}/v1/fraud/{path}", headers=headers) as response:
                assert response.status == status, (who, path)
    for path in ("events", "decisions"):
        method = "POST" if path == "events" else "GET"
        async with session.request(method, f"{worker.url}/v1/fraud/{path}", headers=bearer("prizes")) as response:
            assert response.status == 403
    async with session.get(f"{worker.url}/v1/fraud/state", headers=bearer()) as response:
        assert response.status == 401


OTHER_FORMAT = encode(msgspec.structs.replace(pack([]), format=2))


async def test_bad_batches_are_refused_whole(worker, session):
    assert (await post(session, worker, event("Block"), **{"X-Flywheel-Batch": "no number"}))[0] == 400
    url, headers = f"{worker.url}/v1/fraud/events", {**bearer(f"{CAMPAIGN}-edge"), "X-Flywheel-Batch": "a/1"}
    for body in (b"", b"rubbish", msgspec.msgpack.encode([{"id": 1}]), OTHER_FORMAT, msgspec.msgpack.encode({"a": 1})):
        async with session.post(url, data=body, headers=headers) as response:
            assert (response.status, (await response.json())["error"]) == (400, "unreadable")
    many = encode(pack([event("Block", address="192.0.2.1")] * 5_001))
    async with session.post(url, data=many, headers=headers) as response:
        assert response.status == 413
    assert (await worker.state())["campaigns"][CAMPAIGN]["events"] == 0


async def test_a_sidecar_is_told_all_at_first_then_what_changes(worker, session):
    await post(session, worker, event("Block", address="192.0.2.1"), event("Review", user="u-1"))
    async with session.get(f"{worker.url}/v1/fraud/decisions", headers=bearer(f"{CAMPAIGN}-edge")) as stream:
        first = feed.read(await stream.content.readline())
        assert (first.whole, [each.value for each in first.put], len(first.keys)) == (True, ["192.0.2.1"], 1)
        await post(session, worker, event("Block", address="192.0.2.2"), number=2)
        second = feed.read(await stream.content.readline())
        assert (second.whole, [each.value for each in second.put], second.keys) == (False, ["192.0.2.2"], {})
    since = f"{second.epoch}:{first.version}"
    headers = bearer(f"{CAMPAIGN}-edge")
    async with session.get(f"{worker.url}/v1/fraud/decisions?since={since}", headers=headers) as stream:
        again = feed.read(await stream.content.readline())
        assert (again.whole, [each.value for each in again.put]) == (False, ["192.0.2.2"])
    async with session.get(f"{worker.url}/v1/fraud/decisions?since=feed:{first.version}", headers=headers) as stream:
        assert feed.read(await stream.content.readline()).whole


async def test_a_second_worker_does_not_start(worker, tmp_path):
    settings = Settings(
        NAMESPACE,
        worker.directory / "volume",
        worker.directory / "rules.json",
        port=0,
        metrics_port=0,
        admin_port=0,
        lock_seconds=0.1,
    )
    assert await asyncio.wait_for(Worker(settings, SmallEngine, fetch).run(), PATIENCE) == 1


async def test_the_figures_can_be_scraped(worker, session):
    await post(session, worker, event("Block", address="192.0.2.1"))
    await post(session, worker, event("Block", address="192.0.2.1"))
    await check(session, worker, address="192.0.2.1")
    async with session.get(f"http://127.0.0.1:{worker.metrics_port}/metrics") as response:
        text = await response.text()
    labels = f'campaign="{CAMPAIGN}",namespace="{NAMESPACE}"'
    for line in (
        f"flywheel_fraud_events_total{{{labels}}} 1.0",
        f"flywheel_fraud_events_again_total{{{labels}}} 1.0",
        f'flywheel_fraud_verdicts_total{{action="Block",{labels},rule="blocks"}} 1.0',
        'flywheel_fraud_question_seconds_count{kind="check",namespace="shop"} 1.0',
        'flywheel_fraud_ready{namespace="shop"} 1.0',
        'flywheel_fraud_journal_records{namespace="shop"} 2.0',
    ):
        assert line in text, line
    decisions = f'flywheel_fraud_decisions{{namespace="{NAMESPACE}",campaign="{CAMPAIGN}"}} 1.0'
    assert decisions in text or f"flywheel_fraud_decisions{{{labels}}} 1.0" in text


def test_a_pass_is_good_for_whom_it_was_made_until_its_end():
    keys, key = {"k": b"key"}, b"key"
    good = sign("k", key, 100, "192.0.2.1", "v")
    assert is_good(good, keys, 99, "192.0.2.1", "v")
    assert not is_good(good, keys, 100, "192.0.2.1", "v")
    assert not is_good(good, keys, 99, "192.0.2.2", "v")
    assert not is_good(good, keys, 99, "192.0.2.1", "w")
    assert not is_good(good.replace("100", "999"), keys, 99, "192.0.2.1", "v")
    for bad in ("", ".", "k", "k.100", "k.100.", "k.-1.x", "k.١٢.x", f"x{good}"):
        assert not is_good(bad, keys, 99, "192.0.2.1", "v")


async def test_the_operator_hands_over_rules_that_hold_at_once(session: aiohttp.ClientSession, worker: RunningWorker):
    other = msgspec.json.encode({CAMPAIGN: [rule("others", event="Other", moreThan=0)]})

    async def hand_over(text: bytes, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        async with session.put(f"{worker.url}/v1/fraud/rules", data=text, headers=headers) as response:
            return response.status, await response.json()

    status, told = await hand_over(other, operator())
    assert (status, told["generation"]) == (200, content_hash(other.decode()))
    assert (await post(session, worker, event("Other", address="192.0.2.9")))[0] == 200
    assert (await check(session, worker, address="192.0.2.9"))["verdict"] == "Block"
    assert (await hand_over(b"[1]", operator()))[0] == 400
    assert (await hand_over(other, bearer()))[0] == 401
    assert (await hand_over(other, operator()))[1]["position"] == told["position"] + 1, "the same again is no record"
