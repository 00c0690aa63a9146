"""What the operator asks a store about the time before a fraud rule, and what is refused."""

import json
from typing import Any

import httpx
import pytest
import pytest_asyncio
from tests.unit.store.material import NOON, Keys, WorkerProcess, client_of, event, lines, running
from tests.unit.store.test_slots_endpoint import AUDIENCE

from flywheel.fraud.backtest_asking import NotAsked
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.past_asking import PAGES, PastAsked, PastNotUnderstood, PastPage, read_page
from flywheel.runtime.past_stores import PastStores

pytestmark = pytest.mark.asyncio(loop_scope="module")
KEYS = Keys()
CLAIMS = PAGES[0] + 5
QUESTION = {"campaign": "618", "start": NOON, "until": NOON + 3_600_000, "names": ["Coupon Claimed"]}


def operator_token() -> str:
    return KEYS.token("flywheel", namespace="flywheel-system", aud=[AUDIENCE])


def row(number: int, name: str, **more: Any) -> Any:
    context = json.dumps({"device": {"id": f"d{number % 3}"}})
    at = NOON + number // 2
    return event(number, event=name, time=at, ingest_time=at + 5, context=context, **more)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def worker(tmp_path_factory: pytest.TempPathFactory):
    with running(tmp_path_factory.mktemp("worker") / "volume", KEYS) as started:
        async with client_of(KEYS) as client:
            await started.ready(client)
            rows = lines([row(number, "Coupon Claimed") for number in range(CLAIMS)])
            rows += lines([row(9_000 + number, "Signed Up") for number in range(3)])
            assert (await client.post(f"{started.url}/v1/ingest/events", content=rows)).status_code == 200
        yield started


async def ask(worker: WorkerProcess, question: object, token: str | None = None) -> httpx.Response:
    headers = {"Authorization": f"Bearer {token or operator_token()}"}
    async with httpx.AsyncClient(trust_env=False, timeout=70) as client:
        return await client.post(f"{worker.url}/v1/fraud/past", json=question, headers=headers)


async def test_events_come_in_pages_in_the_order_of_arrival(worker: WorkerProcess) -> None:
    async def token(_: str) -> str:
        return operator_token()

    asked = PastAsked(campaign="618", start=NOON, until=NOON + 3_600_000, names=("Coupon Claimed",))
    async with httpx.AsyncClient(trust_env=False) as client:
        stores = PastStores(client, token, lambda _: worker.url)
        first = await stores.past("spring", asked)
        assert first.after is not None
        second = await stores.past("spring", PastAsked(**{**QUESTION, "after": first.after}))
        away = PastStores(client, token, lambda _: "http://127.0.0.1:9")
        with pytest.raises(NotAsked, match="could not be asked"):
            await away.past("spring", asked)
    assert second.after is None
    assert first.start == NOON
    events = [each for page in (first, second) for each in Packed(Reading(page.events()))]
    assert len({each.id for each in events}) == len(events) == CLAIMS
    assert [(each.arrived, each.id) for each in events] == sorted((each.arrived, each.id) for each in events)
    assert {(each.name, each.type) for each in events} == {("Coupon Claimed", "track")}
    assert {each.fields["device"] for each in events} == {"d0", "d1", "d2"}
    assert all(each.arrived - each.time == 5 for each in events)


async def test_bounds_are_included_and_without_names_all_events_are_given(worker: WorkerProcess) -> None:
    told = (await ask(worker, QUESTION | {"start": NOON + 1, "until": NOON + 1})).json()
    assert len(PastPage(start=1, batch=told["batch"]).events()) == 2
    told = (await ask(worker, QUESTION | {"start": NOON + 4_500, "names": []})).json()
    assert {each.name for each in Packed(Reading(PastPage(start=1, batch=told["batch"]).events()))} == {"Signed Up"}
    assert len(PastPage(start=1, batch=(await ask(worker, QUESTION | {"campaign": "x"})).json()["batch"]).events()) == 0


async def test_of_more_events_than_can_be_given_the_latest_are(
    worker: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The worker is another process: the same function is asked here, of its store.
    from flywheel.events import past_questions

    monkeypatch.setattr(past_questions, "MOST", 10)

    class Store:
        async def query(self, sql: str, parameters: object, limits: object) -> list[dict[str, object]]:
            assert "LIMIT 11" in sql
            return [{"count": 11, "earliest": NOON + 7}]

    asked = PastAsked(campaign="618", start=NOON, until=NOON + 9)
    assert await past_questions._first(Store(), asked) == NOON + 8  # type: ignore[arg-type]


async def test_nobody_else_is_told(worker: WorkerProcess) -> None:
    for token, status in ((KEYS.token(), 401), (KEYS.token(aud=[AUDIENCE]), 403)):
        assert (await ask(worker, QUESTION, token)).status_code == status


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"campaign": "'; DROP TABLE events"}, "name of a Campaign"),
        ({"start": NOON + 3_600_001}, "one before the other"),
        ({"start": 0}, "one before the other"),
        ({"until": NOON + 9 * 86_400_000}, "8 days"),
        ({"names": [""]}, "names of events"),
        ({"names": ["x"] * 65}, "at most 64"),
        ({"after": ["x", "y"]}, "not what is wanted"),
        ({"sql": "SELECT 1"}, "not what is wanted"),
    ],
)
async def test_what_makes_no_sense_is_refused_with_a_reason(worker: WorkerProcess, change: dict, says: str) -> None:
    answer = await ask(worker, QUESTION | change)
    assert (answer.status_code, says in answer.json()["message"]) == (400, True), answer.text


@pytest.mark.parametrize("body", [b"", b"{}", b'{"start": 1, "batch": "%%"}', b'{"start": 1, "batch": "gA=="}'])
async def test_an_answer_that_cannot_be_read_is_none(body: bytes) -> None:
    with pytest.raises(PastNotUnderstood):
        read_page(body).events()
