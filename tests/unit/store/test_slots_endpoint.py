"""What the operator asks a worker: who may, what it gets, and what is refused."""

import httpx
import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.unit.store.material import NOON, Keys, WorkerProcess, client_of, event, lines, request, running

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
AUDIENCE = "flywheel-analytics/spring"
QUESTION = {"campaign": "618", "service": "pay", "since": NOON, "until": NOON + 60_000}


def operator_token(account: str = "flywheel", namespace: str = "flywheel-system", **claims: object) -> str:
    return KEYS.token(account, namespace=namespace, **{"aud": [AUDIENCE], **claims})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
            blue = [request(each, service="pay", slot="blue", visitor=f"b{each % 10}") for each in range(100)]
            green = [
                request(each, service="pay", slot="green", visitor="", bot=True, status=500 if each < 103 else 200)
                for each in range(100, 120)
            ]
            rows = lines([*blue, *green])
            assert (await client.post(f"{started.url}/v1/ingest/requests", content=rows)).status_code == 200
            orders = [event(200 + each, visitor=f"b{each}", order_id=f"o{each // 2}") for each in range(4)]
            assert (await client.post(f"{started.url}/v1/ingest/events", content=lines(orders))).status_code == 200
        yield started


async def ask(worker: WorkerProcess, token: str | None, question: object) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return await client.post(f"{worker.url}/v1/slots", json=question, headers=headers)


async def test_the_operator_gets_the_figures_of_every_slot(worker: WorkerProcess) -> None:
    answer = await ask(worker, operator_token(), QUESTION | {"events": ["Order Completed", "Nothing"]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["slots"] == {
        "blue": {
            "requests": 100,
            "requests_of_bots": 0,
            "errors": 0,
            "p50": 0.0125,
            "p95": 0.0125,
            "p99": 0.0125,
            "visitors": 10,
            "events": {"Order Completed": 2, "Nothing": 0},
        },
        "green": {
            "requests": 20,
            "requests_of_bots": 20,
            "errors": 3,
            "p50": 0.0125,
            "p95": 0.0125,
            "p99": 0.0125,
            "visitors": 0,
            "events": {"Order Completed": 0, "Nothing": 0},
        },
    }


async def test_without_events_there_are_none(worker: WorkerProcess) -> None:
    answer = await ask(worker, operator_token(), QUESTION | {"since": NOON + 100})
    assert {slot: (each["requests"], each["events"]) for slot, each in answer.json()["slots"].items()} == {
        "green": (20, {})
    }


@pytest.mark.parametrize(
    ("token", "status"),
    [
        (None, 401),
        ("nonsense", 401),
        (operator_token(exp=1), 401),
        # What the operator shows another namespace's worker is of no use here, nor what sidecars show.
        (operator_token(aud=["flywheel-analytics/summer"]), 401),
        (operator_token(aud=["flywheel-analytics"]), 401),
        (operator_token(aud=["https://kubernetes.default.svc"]), 401),
        (KEYS.token(), 401),
        (KEYS.token(aud=[AUDIENCE]), 403),
        (operator_token(namespace="spring"), 403),
        (operator_token("someone"), 403),
        (operator_token(sub="system:serviceaccount:flywheel-system:flywheel:x"), 403),
    ],
)
async def test_nobody_else_does(worker: WorkerProcess, token: str | None, status: int) -> None:
    answer = await ask(worker, token, QUESTION)
    assert answer.status_code == status, answer.text
    assert "slots" not in answer.json()


async def test_the_operator_is_no_sidecar(worker: WorkerProcess) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        for token in (operator_token(), operator_token(aud=["flywheel-analytics"])):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.post(f"{worker.url}/v1/ingest/events", content=lines([event(1)]), headers=headers)
            assert answer.status_code in (401, 403)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"campaign": "'; DROP TABLE events"}, "names of a Campaign"),
        ({"service": ""}, "names of a Campaign"),
        ({"since": NOON + 60_000}, "one before the other"),
        ({"since": -1}, "milliseconds since 1970"),
        ({"until": NOON + 90_000_000}, "a day at most"),
        ({"events": ["a"] * 9}, "At most 8"),
        ({"events": ["a" * 600]}, "512 characters"),
        ({"events": [""]}, "512 characters"),
        ({"since": "yesterday"}, "not what is wanted"),
        ({"more": 1}, "not what is wanted"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(worker: WorkerProcess, change: dict, says: str) -> None:
    answer = await ask(worker, operator_token(), QUESTION | change)
    assert (answer.status_code, says in answer.json()["message"]) == (400, True), answer.text


async def test_a_question_that_is_too_large_is_not_read(worker: WorkerProcess) -> None:
    assert (await ask(worker, operator_token(), QUESTION | {"events": ["x" * 40_000]})).status_code == 413
