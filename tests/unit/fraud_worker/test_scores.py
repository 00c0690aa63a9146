"""Rules that ask a model, at their worker: handed over, judged by it, the same again after a kill."""

import asyncio
import io
import json
import random
import threading
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from tests.patience import PATIENCE
from tests.unit.edge.stand import until
from tests.unit.fraud import trained
from tests.unit.fraud_worker.test_embedded import BEGAN, BLOCK, document, ruled
from tests.unit.fraud_worker.world import CAMPAIGN, RunningWorker, bearer, operator

from flywheel.fraud.batch import pack
from flywheel.fraud.casebook import Casebook
from flywheel.fraud.embedded import make_engine
from flywheel.fraud.journal import Journal
from flywheel.fraud.judging import Judging
from flywheel.fraud.modelfacts import MOST_MODELS
from flywheel.fraud.models import SPARE, Models, digest_of
from flywheel.fraud.policy import Policy, Ruled
from flywheel.fraud.records import Events, Model
from flywheel.fraud.records import Rules as RulesRecord
from flywheel.fraud.rule import Condition, Count, Match, Rule, Score
from flywheel.fraud.rulings import Shard
from flywheel.fraud.snapshots import Snapshots
from flywheel.fraud.words import Event

FOREST = digest_of(trained.file("forest"))
LIMIT = 0.7


def scored(name: str = "odd", digest: str = FOREST, *others: Condition, combine: Any = "All") -> Ruled:
    rule = Rule(
        name=name,
        match=Match(events=("Coupon Claimed",)),
        key=("address",),
        window=60_000,
        conditions=(Score(model=digest, features=trained.FEATURES, more_than=LIMIT), *others),
        combine=combine,
    )
    return Ruled(rule=rule, policy=Policy(action=BLOCK, mode="Enforce"))


def claims(count: int = 250, seed: int = 9, start: int = 0) -> tuple[tuple[Event, ...], np.ndarray[Any, Any]]:
    """Give events of features, and the features."""
    rows, _ = trained.sample(start + count, seed)
    events = [
        Event(
            id=f"m-{n}",
            name="Coupon Claimed",
            time=BEGAN + n,
            arrived=BEGAN + n,
            address=f"192.0.2.{n % 250}",
            fields={name: float(value) for name, value in zip(trained.FEATURES, row, strict=True)},
        )
        for n, row in enumerate(rows)
    ]
    return tuple(events[start:]), rows[start:]


def book(models: Models, *rules: Ruled) -> Casebook:
    made = Casebook(make_engine, Shard(secret=b"s"), scorer=models.score)
    apply(made, RulesRecord(document(*rules)))
    assert made.problems() == {}
    return made


def apply(made: Casebook, record: Any) -> None:
    for step in made.apply(record):
        if callable(step):
            step()


def found(made: Casebook) -> tuple[int, Any]:
    desk = made.desk(CAMPAIGN)
    return desk.verdicts, desk.engine.figures()[0]


@pytest.fixture
def models(tmp_path: Path) -> Models:
    made = Models(tmp_path / "models")
    made.keep(FOREST, trained.file("forest"), ())
    return made


@pytest.mark.parametrize("ahead", [True, False])
def test_the_verdicts_are_those_of_the_model(models: Models, ahead: bool):
    made = book(models, scored())
    apply(made, Model(FOREST))
    events, rows = claims()
    record = Events(CAMPAIGN, "a", 1, pack(events))
    if ahead:
        apply(made, record)
    else:
        for _ in made.apply(record):
            pass
    wanted = np.round(trained.model("forest").predict_proba(rows)[:, 1], 6)
    assert 10 < (wanted > LIMIT).sum() < 240
    assert found(made)[0] == (wanted > LIMIT).sum()
    latest = found(made)[1].latest[-1]
    number = int(latest.event.removeprefix("m-"))
    assert (latest.observed, latest.limit) == (wanted[number], LIMIT)
    assert latest.detail == f"model {FOREST}"
    [reason] = [each.reason for each in made.desk(CAMPAIGN).blocks if each.event == latest.event]
    assert "where the limit is a score of 0.7" in reason


def test_without_its_model_a_rule_stops_nobody_and_counts_whom_it_could_not_judge(models: Models):
    made = book(models, scored(), ruled("r", "address", more_than=0))
    events, _ = claims(20)
    apply(made, Events(CAMPAIGN, "a", 1, pack(events)))
    verdicts, figures = found(made)
    assert verdicts == 20, "the other rule goes on"
    assert (figures.rule, figures.evaluated, figures.hits, figures.unusable) == ("odd", 20, 0, 20)
    apply(made, Model(FOREST))
    more, _ = claims(40, start=20)
    apply(made, Events(CAMPAIGN, "a", 2, pack(more)))
    assert found(made)[1].hits > 0
    assert found(made)[1].unusable == 20


def test_events_that_lack_a_feature_are_counted_and_let_go(models: Models):
    digest = digest_of(trained.file("logistic"))
    models.keep(digest, trained.file("logistic"), (FOREST,))
    made = book(models, scored(digest=digest))
    apply(made, Model(digest))
    (event, *_), _ = claims(1)
    high = dict(zip(trained.FEATURES, (-3.0, 3.0, 0.0), strict=True))
    odd: list[Any] = [None, "12", float("nan"), 1e200, True]
    events = [
        Event(
            id=f"x-{n}", name="Coupon Claimed", time=BEGAN, arrived=BEGAN, address=event.address,
            fields={name: each for name, each in {**high, trained.FEATURES[2]: value}.items() if each is not None},
        )
        for n, value in enumerate(odd)
    ]  # fmt: skip
    apply(made, Events(CAMPAIGN, "a", 1, pack(tuple(events))))
    verdicts, figures = found(made)
    assert (verdicts, figures.unusable) == (1, 4), "true is 1, and the others are no numbers"


@pytest.mark.parametrize("combine", ["All", "Any"])
def test_a_score_beside_other_conditions(models: Models, combine: Any):
    made = book(models, scored("odd", FOREST, Count(more_than=1), combine=combine))
    apply(made, Model(FOREST))
    events, rows = claims(500)
    apply(made, Events(CAMPAIGN, "a", 1, pack(events)))
    high = np.round(trained.model("forest").predict_proba(rows)[:, 1], 6) > LIMIT
    often = np.arange(500) >= 250
    assert found(made)[0] == ((high & often) if combine == "All" else (high | often)).sum()


def test_a_file_that_was_damaged_on_the_volume_gives_no_scores_until_it_comes_again(tmp_path: Path, models: Models):
    [path] = (tmp_path / "models").iterdir()
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    again = Models(tmp_path / "models")
    again.open([FOREST])
    assert again.facts([FOREST]) == {}
    assert np.isnan(again.score(FOREST, np.zeros((2, 3)))).all()
    again.keep(FOREST, trained.file("forest"), ())
    assert again.facts([FOREST])[FOREST].features == 3
    assert not np.isnan(again.score(FOREST, np.zeros((2, 3)))).any()


def test_the_volume_and_the_book_hold_a_bounded_number(tmp_path: Path):
    made, kept = Models(tmp_path / "models"), book(Models(tmp_path / "models"), scored())
    files = [trained.with_schema(trained.file("bayes"), lambda schema, n=n: schema.update(note=n)) for n in range(40)]
    for each in files:
        made.keep(digest_of(each), each, kept.models)
        apply(kept, Model(digest_of(each)))
    assert list(kept.models) == [digest_of(each) for each in files[-MOST_MODELS:]]
    assert len(list((tmp_path / "models").iterdir())) <= MOST_MODELS + 1 + SPARE
    assert set(made.facts(kept.models)) == set(kept.models)


async def test_after_any_kill_the_same_log_gives_the_same_verdicts(tmp_path: Path):
    """Copies of the volume at many moments are what a kill leaves; each goes on to the same digest."""
    events, _ = claims(600)
    parts = [pack(events[at : at + 30]) for at in range(0, 600, 30)]
    batches = [Events(CAMPAIGN, "a", number, part) for number, part in enumerate(parts, 1)]
    log: list[Any] = [RulesRecord(document(scored())), *batches]
    log.insert(8, Model(FOREST))
    expected: list[tuple[int, bytes]] = []

    def started() -> Judging:
        models = Models(tmp_path / "models")
        journal, snapshots = Journal(tmp_path / "journal"), Snapshots(tmp_path / "snapshots")
        made = Judging(
            Casebook(make_engine, Shard(secret=b"s"), scorer=models.score), journal, snapshots, lambda _: None
        )
        made.recover()
        return made

    # The file is on the volume before the journal names it: a replay must not use it any earlier.
    Models(tmp_path / "models").keep(FOREST, trained.file("forest"), ())
    reference = Casebook(make_engine, Shard(secret=b"s"), scorer=Models(tmp_path / "models").score)
    for record in log:
        apply(reference, record)
        desk = reference.desk(CAMPAIGN)
        expected.append((desk.verdicts, desk.digest))
    chance, at = random.Random(618), 0
    while at < len(log):
        judging = started()
        task = asyncio.create_task(judging.run())
        if at:
            desk = judging.casebook.desk(CAMPAIGN)
            assert (desk.verdicts, desk.digest) == expected[at - 1], f"after record {at}"
        for _ in range(chance.randrange(1, 6)):
            if at < len(log):
                await judging.submit(log[at])
                at += 1
        if chance.random() < 0.4:
            await judging.take_snapshot()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert expected[-1][0] > 20
    assert expected[6][0] == 0


class Site:
    def __init__(self, worker: RunningWorker) -> None:
        self.worker = worker

    async def put(self, data: bytes, digest: str = "", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        url = f"{self.worker.url}/v1/fraud/models/{digest or digest_of(data)}"
        sent = io.BytesIO(data)
        async with (
            aiohttp.ClientSession() as session,
            session.put(url, data=sent, headers=headers or operator()) as response,
        ):
            return response.status, json.loads(await response.text())


async def test_the_operator_hands_models_over_and_nobody_else(tmp_path: Path):
    worker = RunningWorker(tmp_path / "worker", make_engine)
    (worker.directory / "rules.json").write_bytes(document(scored()))
    await worker.start()
    site, data = Site(worker), trained.file("forest")
    assert (await worker.state())["models"] == {}
    assert (await site.put(data, headers=bearer()))[0] == 401
    assert (await site.put(data, digest="sha256:1"))[0] == 400
    assert (await site.put(data, digest="sha256:" + "0" * 64))[1]["error"] == "another"
    assert (await site.put(bytes(2 << 20)))[0] == 413
    status, told = await site.put(b"no model")
    assert (status, told["error"]) == (422, "unfit")
    assert "it is no file of skops" in told["message"]
    assert (await worker.state())["models"] == {}
    status, told = await site.put(data)
    assert (status, told["features"]) == (200, 3), told
    assert list((await worker.state())["models"]) == [FOREST]
    assert await site.put(data) == (status, told), "again, it is no record"
    position = (await worker.state())["position"]
    await worker.stop()
    await worker.start()
    state = await worker.state()
    assert (list(state["models"]), state["position"]) == ([FOREST], position)
    await worker.stop()


async def test_questions_are_answered_while_a_slow_model_thinks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Predictions are made in another thread: the worker's loop goes on."""
    entered, leave = threading.Event(), threading.Event()
    models = Models(tmp_path / "models")

    def think(_: str, rows: Any) -> Any:
        entered.set()
        assert leave.wait(PATIENCE)
        return np.full(len(rows), 0.9)

    monkeypatch.setattr(models, "score", think)
    made = Judging(
        Casebook(make_engine, Shard(secret=b"s"), scorer=models.score),
        Journal(tmp_path / "journal"), Snapshots(tmp_path / "snapshots"), lambda _: None,
    )  # fmt: skip
    task = asyncio.create_task(made.run())
    await made.submit(RulesRecord(document(scored())))
    await made.submit(Model(FOREST))
    waiting = asyncio.create_task(made.submit(Events(CAMPAIGN, "a", 1, pack(claims(5)[0]))))
    await until(entered.is_set, "the model is asked")
    assert not waiting.done()
    leave.set()
    await waiting
    assert made.casebook.desk(CAMPAIGN).verdicts == 5
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
