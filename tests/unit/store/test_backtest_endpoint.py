"""What the operator asks a worker about fraud rules: what one would have found, and what is refused."""

import json

import httpx
import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.unit.store.material import NOON, Keys, WorkerProcess, client_of, event, lines, running
from tests.unit.store.test_slots_endpoint import AUDIENCE

from flywheel.fraud.backtest_asking import Asked, NotAsked
from flywheel.runtime.past_stores import PastStores

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
RULE = {
    "apiVersion": "flywheel.dev/v1alpha1",
    "kind": "FraudRule",
    "metadata": {"name": "device-farm"},
    "spec": {
        "campaign": "yougou-618",
        "match": {"event": "Coupon Claimed"},
        "key": ["device"],
        "window": "10m",
        "condition": {"distinct": {"field": "user", "moreThan": 5}},
        "exempt": [{"where": [{"field": "user", "operator": "In", "values": ["tester"]}]}],
        "action": {"block": {"for": "1h"}},
    },
}
QUESTION = {"campaign": "618", "since": NOON, "until": NOON + 3_600_000, "rule": RULE}


def operator_token(account: str = "flywheel", **claims: object) -> str:
    return KEYS.token(account, namespace="flywheel-system", **{"aud": [AUDIENCE], **claims})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
            farm = [*(f"u{number}" for number in range(9)), "tester"]
            claims = [claim(number, user, "farm") for number, user in enumerate(farm)]
            claims += [claim(20 + number, f"child{number}", "school") for number in range(7)]
            orders = [event(40, visitor="of-child3", order_id="o1")]
            rows = lines([*claims, *orders])
            assert (await client.post(f"{started.url}/v1/ingest/events", content=rows)).status_code == 200
        yield started


def claim(number: int, user: str, device: str):
    context = json.dumps({"device": {"id": device}})
    return event(
        number,
        event="Coupon Claimed",
        user_id=user,
        visitor=f"of-{user}",
        order_id="",
        revenue=0.0,
        context=context,
    )


async def ask(worker: WorkerProcess, question: object, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or operator_token()}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return await client.post(f"{worker.url}/v1/fraud/backtest", json=question, headers=headers)


async def test_the_operator_gets_what_the_rule_would_have_found(worker: WorkerProcess) -> None:
    answer = await ask(worker, QUESTION)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["events"], told["path"], told["untried"]) == (17, "condition.distinct.moreThan", "")
    own = told["curve"][told["current"]]
    assert own == {"limit": "5", "hits": 6, "keys": 2, "visitors": 17, "customers": 1}
    assert {"limit": "7", "hits": 2, "keys": 1, "visitors": 10, "customers": 0} in told["curve"]
    assert told["notes"] == [
        "1 exempt event would have broken the rule as well, and nothing would have followed from that"
    ]


async def test_the_client_of_the_operator_reads_it(worker: WorkerProcess) -> None:
    async def token(audience: str) -> str:
        assert audience == AUDIENCE
        return operator_token()

    asked = Asked(campaign="618", since=NOON, until=NOON + 3_600_000, rule=RULE)
    async with httpx.AsyncClient(trust_env=False) as client:
        stores = PastStores(client, token, lambda _: worker.url)
        answer = await stores.ask("spring", asked)
        assert (answer.events, answer.curve[answer.current].hits) == (17, 6)
        away = PastStores(client, token, lambda _: "http://127.0.0.1:9")
        with pytest.raises(NotAsked, match=r"http://127.0.0.1:9 could not be asked"):
            await away.ask("spring", asked)
        missing = PastStores(client, token, lambda _: f"{worker.url}/older")
        with pytest.raises(NotAsked, match="of an older version"):
            await missing.ask("spring", asked)


async def test_labels_say_how_right_the_rule_would_have_been(worker: WorkerProcess) -> None:
    of_the_farm = [["user", [f"u{number}"], True, 9] for number in range(9)]
    honest = ["visitor", ["of-child5"], False, 9]
    told = (await ask(worker, QUESTION | {"labels": [*of_the_farm, honest]})).json()
    assert told["evidence"]["precision"] == {"good": 1.0, "total": 2.0, "squares": 2.0, "labels": 2}
    told = (
        await ask(worker, QUESTION | {"labels": [[*honest, True, 0.05], ["key", ["farm"], True, 9, False, 0.25]]})
    ).json()
    assert told["evidence"]["precision"] == {"good": 4.0, "total": 4.0, "squares": 16.0, "labels": 1}
    assert told["notes"][-1].startswith("1 labelled keys do not count for precision: the rule has stopped them")
    assert (await ask(worker, QUESTION)).json()["evidence"] is None


async def test_what_the_past_cannot_tell_is_an_answer(worker: WorkerProcess) -> None:
    rule = RULE | {"spec": RULE["spec"] | {"key": ["addressPrefix"]}}
    told = (await ask(worker, QUESTION | {"rule": rule, "addresses": "Hash"})).json()
    assert told["untried"].startswith("spec.key[0] is addressPrefix")
    assert (told["curve"], told["events"]) == ([], 0)


async def test_a_campaign_without_events_has_nothing(worker: WorkerProcess) -> None:
    told = (await ask(worker, QUESTION | {"campaign": "other"})).json()
    assert (told["events"], {each["hits"] for each in told["curve"]}) == (0, {0})
    assert told["notes"][0].startswith("no event of that time matches")


async def test_nobody_else_does(worker: WorkerProcess) -> None:
    for token, status in ((KEYS.token(), 401), (KEYS.token(aud=[AUDIENCE]), 403), (operator_token("someone"), 403)):
        assert (await ask(worker, QUESTION, token)).status_code == status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"campaign": "'; DROP TABLE events"}, "name of a Campaign"),
        ({"since": NOON + 3_600_000}, "one before the other"),
        ({"until": NOON + 92 * 86_400_000}, "90 days"),
        ({"order": ""}, "1 to 512"),
        ({"addresses": "Keep"}, "not what is wanted"),
        ({"rule": {}}, "no FraudRule"),
        ({"rule": RULE | {"spec": {}}}, "spec.match: is required"),
        ({"rule": []}, "not what is wanted"),
        ({"sql": "SELECT 1"}, "not what is wanted"),
        ({"labels": [["user", ["u"], True, 9, False, 0.0]]}, "not what is wanted"),
        ({"labels": [["address", ["192.0.2.1"], True]]}, "not what is wanted"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(worker: WorkerProcess, change: dict, says: str) -> None:
    answer = await ask(worker, QUESTION | change)
    assert (answer.status_code, says in answer.json()["message"]) == (400, True), answer.text


async def test_a_rule_that_is_too_large_is_not_read(worker: WorkerProcess) -> None:
    assert (await ask(worker, QUESTION | {"rule": RULE | {"more": "x" * (4 << 20)}})).status_code == 413
