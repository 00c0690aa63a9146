"""What the operator asks a worker about A/B tests: who may, what it gets, and what is refused."""

import httpx
import pytest
import pytest_asyncio
from tests.patience import PATIENCE
from tests.unit.store.material import NOON, Keys, WorkerProcess, client_of, event, lines, request, running
from tests.unit.store.test_slots_endpoint import AUDIENCE

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
CLAIMED = {"amount": {"event": "Order Completed"}}
REVENUE = {"amount": {"event": "Order Completed", "of": "Revenue", "cap": 150}, "history": 60_000}
QUESTION = {
    "campaign": "618",
    "test": "button",
    "since": NOON,
    "until": NOON + 3_600_000,
    "within": 600_000,
    "outcomes": [CLAIMED, REVENUE],
}


def operator_token(account: str = "flywheel", **claims: object) -> str:
    return KEYS.token(account, namespace="flywheel-system", **{"aud": [AUDIENCE], **claims})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
            seen = [
                request(
                    each,
                    test="button",
                    variant=arm,
                    visitor=f"{arm}{each % 10}",
                    status=500 if each == 45 else 200,
                    device="Phone",
                )
                for arm, numbers in (("red", range(40)), ("green", range(40, 60)))
                for each in numbers
            ]
            assert (await client.post(f"{started.url}/v1/ingest/requests", content=lines(seen))).status_code == 200
            orders = [
                event(200 + each, visitor=f"green{each}", order_id=f"o{each}", revenue=100.0 * each) for each in (1, 2)
            ]
            assert (await client.post(f"{started.url}/v1/ingest/events", content=lines(orders))).status_code == 200
        yield started


async def ask(worker: WorkerProcess, question: object, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or operator_token()}"}
    async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
        return await client.post(f"{worker.url}/v1/arms", json=question, headers=headers)


async def test_the_operator_gets_the_sums_of_every_arm(worker: WorkerProcess) -> None:
    answer = await ask(worker, QUESTION | {"requests": True})
    assert answer.status_code == 200, answer.text
    arms = answer.json()["arms"]
    nothing = {"y": 0.0, "yy": 0.0, "x": 0.0, "xx": 0.0, "xy": 0.0}
    assert (arms["red"]["visitors"], arms["red"]["crossed"], arms["red"]["outcomes"]) == (10, 0, [nothing, nothing])
    assert arms["red"]["requests"] == {"y": 0.0, "yy": 0.0, "x": 40.0, "xx": 160.0, "xy": 0.0}
    green = arms["green"]
    assert (green["visitors"], green["requesters"]) == (10, 10)
    assert green["outcomes"] == [nothing | {"y": 2.0, "yy": 2.0}, nothing | {"y": 250.0, "yy": 32_500.0}]
    assert green["requests"] == {"y": 1.0, "yy": 1.0, "x": 20.0, "xx": 40.0, "xy": 2.0}
    assert sum(green["latencies"].values()) == 20


async def test_times_and_cut_values(worker: WorkerProcess) -> None:
    outcomes = [{"amount": {"event": "Order Completed", "of": "TimeTo"}}, CLAIMED | {"winsorise": 0.5}]
    arms = (await ask(worker, QUESTION | {"outcomes": outcomes})).json()["arms"]
    # Eight of ten have no order within ten minutes; the other two have one after 160 ms each.
    assert [round(arms[arm]["outcomes"][0]["y"], 6) for arm in ("red", "green")] == [6000.0, 4800.32]
    # Hardly anybody has an order, so half of the visitors have none: that is where the values are cut.
    assert arms["green"]["outcomes"][1]["y"] == 0


async def test_what_may_be_the_cause(worker: WorkerProcess) -> None:
    causes = (await ask(worker, QUESTION | {"causes": True})).json()["causes"]
    assert causes["device"] == {"Phone": {"green": 10, "red": 10}}
    assert causes["fallback"] == {"0": {"green": 10, "red": 10}}
    assert set(causes) == {"browser", "channel", "device", "fallback", "pod"}


async def test_how_the_sums_came_about(worker: WorkerProcess) -> None:
    steps = [NOON + 5, NOON + 45, NOON + 3_600_000]
    answer = (await ask(worker, QUESTION | {"steps": steps, "days": True, "offset": 480, "batches": steps[:2]})).json()
    assert [each["at"] for each in answer["series"]] == steps
    assert [{arm: each["visitors"] for arm, each in one["arms"].items()} for one in answer["series"]] == [
        {"red": 5},
        {"green": 5, "red": 10},
        {"green": 10, "red": 10},
    ]
    # What is asked for at the end is what the sums are.
    assert answer["series"][-1]["arms"]["green"]["sums"] == answer["arms"]["green"]["outcomes"][0]
    # It is a late evening in Greenwich, and past midnight in the East.
    assert [each["day"] for each in answer["days"]] == ["2023-11-15"]
    assert answer["days"][0]["arms"]["green"]["sums"] == answer["arms"]["green"]["outcomes"][0]
    assert [{arm: each["visitors"] for arm, each in one.items()} for one in answer["batches"]] == [
        {"red": 5, "green": 5},
        {"green": 5},
    ]


async def test_errors_and_latencies_only_where_they_are_asked_for(worker: WorkerProcess) -> None:
    arms = (await ask(worker, QUESTION)).json()["arms"]
    assert {arm: (each["requesters"], each["latencies"]) for arm, each in arms.items()} == {
        "red": (0, {}),
        "green": (0, {}),
    }


async def test_a_test_that_nobody_was_in_has_no_arms(worker: WorkerProcess) -> None:
    assert (await ask(worker, QUESTION | {"test": "other", "requests": True})).json() == {"arms": {}}


async def test_nobody_else_does(worker: WorkerProcess) -> None:
    for token, status in ((KEYS.token(), 401), (KEYS.token(aud=[AUDIENCE]), 403), (operator_token("someone"), 403)):
        assert (await ask(worker, QUESTION, token)).status_code == status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"campaign": "'; DROP TABLE events"}, "names of a Campaign"),
        ({"test": ""}, "names of a Campaign"),
        ({"since": NOON + 3_600_000}, "one before the other"),
        ({"until": NOON + 401 * 86_400_000}, "400 days"),
        ({"within": 0}, "above 0"),
        ({"outcomes": []}, "1 to 16"),
        ({"outcomes": [CLAIMED] * 17}, "1 to 16"),
        ({"outcomes": [{"amount": {"event": ""}}]}, "1 to 512"),
        ({"outcomes": [{"amount": {"event": "a", "of": "Property"}}]}, "of the property"),
        ({"outcomes": [{"amount": {"event": "a", "cap": 0}}]}, "above 0"),
        ({"outcomes": [REVENUE | {"over": CLAIMED["amount"]}]}, "beside no `over`"),
        ({"outcomes": [{"amount": {"event": "a", "of": "Median"}}]}, "not what is wanted"),
        ({"outcomes": [CLAIMED | {"winsorise": 0.4}]}, "from 0.5 to 0.9999"),
        ({"outcomes": [CLAIMED | {"winsorise": 0.99, "over": CLAIMED["amount"]}]}, "beside no `over`"),
        ({"outcomes": [{"amount": {"event": "a", "of": "TimeTo"}, "over": CLAIMED["amount"]}]}, "counts and sums"),
        ({"steps": [NOON + each for each in range(61)]}, "at most 60"),
        ({"steps": [NOON + 2, NOON + 1]}, "one after the other"),
        ({"batches": [NOON - 1]}, "between `since` and `until`"),
        ({"offset": 10_000}, "minutes"),
        ({"more": 1}, "not what is wanted"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(worker: WorkerProcess, change: dict, says: str) -> None:
    answer = await ask(worker, QUESTION | change)
    assert (answer.status_code, says in answer.json()["message"]) == (400, True), answer.text
