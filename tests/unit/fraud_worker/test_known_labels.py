"""What a worker tells of labels to whoever tries rules on the past."""

from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.fraud_worker.test_embedded import ruled
from tests.unit.fraud_worker.test_proof_worker import NOW, Hand, document, hand
from tests.unit.fraud_worker.world import CAMPAIGN, KEYS, NAMESPACE, bearer, operator

from flywheel.campaign.fraudasking import NotAnswered
from flywheel.fraud.backtest_asking import Answer, Asked, NotAsked
from flywheel.fraud.known_labels import LONGEST_PAGE, KnownLabel, page_of, together
from flywheel.fraud.labels import Label
from flywheel.runtime.fraud_workers import FraudWorkers
from flywheel.runtime.labelled_pasts import LabelledPasts

KINDS = st.sampled_from(["event", "visitor", "user", "key"])


@st.composite
def some_labels(draw: st.DrawFn) -> list[Label]:
    def label(number: int) -> Label:
        kind = draw(KINDS)
        rule = draw(st.sampled_from(["burst", "other"])) if kind == "key" else ""
        return Label(kind=kind, value=(f"{number}",), said="Honest", at=draw(st.integers(1, 4)), rule=rule)

    return [label(number) for number in range(draw(st.integers(0, 30)))]


@given(labels=some_labels(), most=st.integers(1, 12))
def test_pages_tell_each_label_once_the_latest_first(labels: list[Label], most: int) -> None:
    told: list[Label] = []
    before = skip = 0
    for _ in range(len(labels) + 1):
        page, before, skip = page_of(labels, "burst", before, skip, most)
        assert len(page) <= most
        told += page
        if not before:
            break
    wanted = [each for each in labels if each.rule != "other"]
    assert sorted(map(repr, told)) == sorted(map(repr, wanted))
    assert [each.at for each in told] == sorted((each.at for each in told), reverse=True)


@st.composite
def of_one_worker(draw: st.DrawFn) -> list[KnownLabel]:
    users = draw(st.lists(st.sampled_from("abcdef"), unique=True))
    return [
        KnownLabel(
            kind="user",
            value=(user,),
            dishonest=draw(st.booleans()),
            at=draw(st.integers(1, 4)),
            stopped=draw(st.booleans()),
            chance=draw(st.sampled_from([1.0, 0.5, 0.05])),
        )
        for user in users
    ]


@given(workers=st.lists(of_one_worker(), max_size=3), most=st.integers(0, 6))
def test_what_any_worker_did_counts_and_the_latest_word(workers: list[list[KnownLabel]], most: int) -> None:
    found = together(workers, most)
    every = [each for labels in workers for each in labels]
    assert len(found) == min(most, len({each.subject for each in every}))
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    for each in found:
        same = [one for one in every if one.subject == each.subject]
        assert each.at == max(one.at for one in same)
        assert each.stopped == any(one.stopped for one in same)
        assert each.chance == min(one.chance for one in same)


def asking(person: Hand, client: httpx.AsyncClient) -> FraudWorkers:
    async def token(audience: str) -> str:
        return str(KEYS.token("flywheel", namespace="flywheel-system", aud=[audience]))

    return FraudWorkers(client, token, lambda *_: (person.worker.url,))


async def known(person: Hand, rule: str, most: int = 100) -> dict[tuple[str, ...], KnownLabel]:
    async with httpx.AsyncClient(trust_env=False) as client:
        told = await asking(person, client).labels(NAMESPACE, CAMPAIGN, rule, most)
    return {(each.kind, *each.value): each for each in told}


async def test_with_each_label_goes_what_the_rule_did_to_whom_it_is_about(tmp_path: Path) -> None:
    rules = (ruled("r", "visitor", more_than=0, holdout=2_500), ruled("s", "visitor", more_than=0, mode="Shadow"))
    async with hand(tmp_path, document(*rules)) as person:
        names = [f"v-{number}" for number in range(40)]
        for number, name in enumerate(names):
            await person.claim(1, number, visitor=name, user=f"u-{number}")
        of_the_last = await person.verdicts(names[-1], 2)
        labels = [{"visitor": each, "label": "Dishonest"} for each in names]
        labels += [{"event": "m-0", "label": "Honest"}, {"user": "u-1", "label": "Honest"}]
        labels += [{"key": ["v-2"], "rule": "r", "label": "Dishonest"}, {"visitor": "nobody", "label": "Honest"}]
        await person.post("labels", labels=labels)
        found = await known(person, "r")
        assert len(found) == 44
        stopped = {name: found["visitor", name].stopped for name in names}
        assert 2 < sum(not each for each in stopped.values()) < 30
        verdicts = {each["rule"]: each["done"] for each in of_the_last}
        assert stopped[names[-1]] is (verdicts["r"] == "Acted")
        assert {found["visitor", name].chance for name in names} == {0.25}
        assert found["event", "m-0"].stopped is stopped["v-0"]
        assert (found["user", "u-1"].stopped, found["key", "v-2"].stopped) == (stopped["v-1"], stopped["v-2"])
        nobody = found["visitor", "nobody"]
        assert (nobody.stopped, nobody.chance, nobody.dishonest) == (False, 1.0, False)
        # The other rule stopped nobody, and a key of this one is nothing to it.
        other = await known(person, "s")
        assert len(other) == 43
        assert not any(each.stopped or each.chance < 1 for each in other.values())


@pytest.mark.parametrize("addresses", ["Hash", "Store"])
async def test_a_key_that_is_kept_as_a_hash_is_told_by_its_events(tmp_path: Path, addresses: str) -> None:
    async with hand(tmp_path, document(ruled("burst", "address"), addresses=addresses)) as person:
        await person.claim(9, address="192.0.2.77", visitor="v-1")
        await person.verdicts("v-1", 7)
        await person.post("labels", labels=[{"key": ["192.0.2.77"], "rule": "burst", "label": "Dishonest"}])
        [label] = (await known(person, "burst")).values()
        if addresses == "Store":
            assert (label.value, label.events) == (("192.0.2.77",), ())
        else:
            assert "192.0.2.77" not in str(label)
            assert label.events == ("m-8", "m-7", "m-6", "m-5")


async def test_many_labels_are_told_in_pages_and_no_more_than_are_wanted(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor"))) as person:
        for start in range(0, 3_000, 1_000):
            labels = [{"user": f"u-{n}", "label": "Honest", "at": NOW - 5_000 + n} for n in range(start, start + 1_000)]
            await person.post("labels", labels=labels)
        assert len(await known(person, "r", 8_000)) == 3_000
        some = await known(person, "r", 1_500)
        assert ("user", "u-2999") in some
        assert len(some) == 1_500
        assert ("user", "u-0") not in some


async def test_a_page_stays_within_what_whoever_asks_reads(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor"))) as person:
        long = ["长" * 500 for _ in range(4)]
        labels = [{"key": [*long[:3], f"{n}" * 100], "rule": "r", "label": "Honest"} for n in range(400)]
        for start in range(0, 400, 100):
            await person.post("labels", labels=labels[start : start + 100])
        assert len(await known(person, "r", 1_000)) == 400
        url = f"{person.worker.url}/v1/fraud/labels"
        query = {"campaign": CAMPAIGN, "rule": "r"}
        async with person.session.get(url, params=query, headers=operator()) as answer:
            assert len(await answer.read()) <= LONGEST_PAGE


async def test_nobody_else_is_told_and_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor"))) as person:
        url, query = f"{person.worker.url}/v1/fraud/labels", {"campaign": CAMPAIGN, "rule": "r"}
        for headers, status in (({}, 401), (bearer(), 401), (operator(), 200)):
            async with person.session.get(url, params=query, headers=headers) as answer:
                assert answer.status == status
        assert await person.get("labels", rule="r") == NOTHING
        assert await person.get("labels", rule="r", campaign="unheard") == NOTHING
        for wrong in ({}, {"rule": ""}, {"rule": "r", "before": "x"}, {"rule": "r", "skip": "-1"}, {"rule": "r" * 254}):
            assert (await person.get("labels", 400, **wrong))["error"] == "bad_wish", wrong
        assert (await person.get("labels", 400, rule="r", before="9" * 17))["error"] == "bad_wish"


class Store:
    """An event store that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    async def ask(self, namespace: str, asked: Asked) -> Answer:
        self.asked.append(asked)
        return Answer(events=1)


NOTHING = {"labels": [], "before": 0, "skip": 0}
QUESTION = Asked(campaign=CAMPAIGN, since=0, until=1, rule={"metadata": {"name": "r"}})


async def test_the_store_is_asked_with_the_labels_of_the_worker(tmp_path: Path) -> None:
    async with hand(tmp_path, document(ruled("r", "visitor"))) as person:
        await person.post("labels", labels=[{"user": "u-1", "label": "Dishonest"}])
        async with httpx.AsyncClient(trust_env=False) as client:
            store = Store()
            answer = await LabelledPasts(store, asking(person, client)).ask(NAMESPACE, QUESTION)
        assert [(each.kind, each.value, each.dishonest) for each in store.asked[0].labels] == [("user", ("u-1",), True)]
        assert not answer.unlabelled


class NoWorker:
    async def labels(self, *_: Any) -> list[KnownLabel]:
        raise NotAnswered("the fraud worker could not be asked" + "!" * 1_000)


async def test_without_a_worker_the_store_is_asked_all_the_same_and_it_is_said() -> None:
    store = Store()
    answer = await LabelledPasts(store, NoWorker()).ask(NAMESPACE, QUESTION)
    assert answer.events == 1
    assert answer.unlabelled.startswith("the fraud worker could not be asked")
    assert len(answer.unlabelled) <= 300
    assert store.asked[0].labels == ()


class Away:
    async def ask(self, *_: Any) -> Answer:
        raise NotAsked("the event store is away")


async def test_a_store_that_is_away_is_told_as_ever() -> None:
    with pytest.raises(NotAsked):
        await LabelledPasts(Away(), NoWorker()).ask(NAMESPACE, QUESTION)
