"""How right a rule would have been, on the real engine, against plain Python from the definitions."""

import json
import time

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.fraud_backtest.conftest import Bench
from tests.unit.fraud_backtest.oracle import Oracle, breaks, is_exempt, key_of
from tests.unit.fraud_backtest.streams import RULES, START, pasts
from tests.unit.fraud_backtest.test_command import Called, a_campaign, a_past, a_rule, called
from tests.unit.insight.stream import Stream

from flywheel.api.fraudrule import FraudRule
from flywheel.events.rows import EventRow
from flywheel.fraud.backtest import Past, Trial, counts_statement, found_statement
from flywheel.fraud.backtest_asking import MOST_BODY, Asked, body_of
from flywheel.fraud.backtest_found import found_of
from flywheel.fraud.backtest_precision import MOST, evidence_by_limit, precision_in_the_past, precision_statement
from flywheel.fraud.known_labels import KnownLabel
from flywheel.fraud.proof import Evidence, LabelledKey, Sums, evidence_of
from flywheel.insight.kpi import Statement

__all__ = ["called"]
ON_A_STORE = settings(
    max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
CHANCES = st.sampled_from([1.0, 0.05, 0.145, 0.00000001])


def asked(bench: Bench, statement: Statement) -> list[dict[str, object]]:
    return bench.run(bench.store.query(statement.sql, statement.parameters))  # type: ignore[no-any-return]


@st.composite
def labels_about(draw: st.DrawFn, rule: FraudRule, rows: list[EventRow]) -> list[KnownLabel]:
    """What people say of those who are in a past, and of others; of one subject one thing."""
    subjects: set[tuple[str, tuple[str, ...]]] = {("user", ("nobody",)), ("event", ("m-none",))}
    subjects |= {("visitor", (row.visitor,)) for row in rows if row.visitor}
    subjects |= {("user", (row.user_id,)) for row in rows if row.user_id}
    subjects |= {("event", (row.message_id,)) for row in rows}
    subjects |= {("key", key) for row in rows if (key := key_of(rule, row))}
    chosen = draw(st.lists(st.sampled_from(sorted(subjects)), unique=True, max_size=12))
    events = sorted({row.message_id for row in rows}) or ["m-none"]
    return [
        KnownLabel(
            kind=kind,  # type: ignore[arg-type]
            value=value,
            dishonest=draw(st.booleans()),
            stopped=draw(st.integers(0, 4)) == 0,
            chance=draw(CHANCES),
            events=tuple(draw(st.lists(st.sampled_from(events), max_size=2))) if kind == "key" else (),
        )
        for kind, value in chosen
    ]


def expected(rule: FraudRule, trial: Trial, oracle: Oracle, labels: list[KnownLabel], limit: float) -> Sums:
    """What labels say of the keys that one limit finds, by looking at each with each."""
    judged = list(oracle.judged())
    keys = {each.key for each in judged}
    found = []
    for key in keys:
        of_key = [each for each in judged if each.key == key]
        hits = [
            each.row
            for each in of_key
            if not is_exempt(rule, each.row) and breaks(rule, each, trial.limits.index, limit)
        ]
        ranked = [each for each in labels if _names_key(each, key, [one.row for one in of_key])]
        others = [each for each in labels if any(_names(each, row) for row in hits)]
        if not hits or not (ranked or others):
            continue
        # Who was stopped is left out whatever limit is looked at: what else is said of the key tells that as well.
        said = [each for each in labels if each in ranked or any(_names(each, one.row) for one in of_key)]
        dishonest = any(each.dishonest for each in ranked) if ranked else all(each.dishonest for each in others)
        found.append(LabelledKey(dishonest, any(each.stopped for each in said), min(each.chance for each in said)))
    return evidence_of(len(found), len(found), found, []).precision


def _names(label: KnownLabel, row: EventRow) -> bool:
    of = {"event": row.message_id, "visitor": row.visitor, "user": row.user_id}
    return label.kind != "key" and label.value == (of[label.kind],)


def _names_key(label: KnownLabel, key: tuple[str, ...], rows: list[EventRow]) -> bool:
    return label.kind == "key" and (label.value == key or any(row.message_id in label.events for row in rows))


@pytest.mark.parametrize("name", RULES)
@given(data=st.data(), rows=pasts(), start=st.sampled_from([START - 10_000, START + 1000]))
@ON_A_STORE
def test_it_says_what_labels_say_of_each_limit(
    bench: Bench, name: str, data: st.DataObject, rows: list[EventRow], start: int
) -> None:
    rule, end = RULES[name], START + 12_000
    trial = Trial(rule, Past(bench.keep(Stream(events=rows)), start, end))
    oracle = Oracle(rule, rows, start, end)
    labels = data.draw(labels_about(rule, rows))
    found = found_of(trial, asked(bench, counts_statement(trial)), asked(bench, found_statement(trial)))
    keys = [each.keys for each in found.curve]
    known = evidence_by_limit(trial, asked(bench, precision_statement(trial, labels)), keys)
    assert [evidence.found for evidence, _ in known] == keys
    for limit, (evidence, _) in zip(trial.limits.given, known, strict=True):
        wanted = expected(rule, trial, oracle, labels, limit)
        told = evidence.precision
        assert told.labels == wanted.labels, limit
        assert (told.good, told.total, told.squares) == pytest.approx((wanted.good, wanted.total, wanted.squares))


def test_as_many_labels_as_there_may_be_are_looked_at_with_the_largest_of_rules(bench: Bench) -> None:
    campaign = bench.keep(a_past(1_813_104_000_000))
    trial = Trial(RULES["either"], Past(campaign, START - 1000, START + 1000))
    labels = [KnownLabel(kind="user", value=(f"user-{number}",), dishonest=True) for number in range(MOST)]
    assert evidence_by_limit(trial, asked(bench, precision_statement(trial, labels)), [0] * 32)


def test_few_labels_are_said_to_be_few() -> None:
    sums = Sums(good=4.0, total=5.0, squares=5.0, labels=5)
    share = precision_in_the_past(Evidence(found=60, alone=60, precision=sums))
    assert share
    assert share.message == "5 of 60 keys that it would have found are labelled: at least 10 are needed to judge by"
    assert precision_in_the_past(Evidence(found=60, alone=60)) is None


def test_a_question_leaves_the_oldest_labels_out_where_it_would_be_too_long() -> None:
    labels = tuple(KnownLabel(kind="event", value=(f"{n:0512}",), dishonest=True) for n in range(MOST))
    asked_for = Asked(campaign="c", since=0, until=1, rule={"spec": "x" * 300_000}, labels=labels * 2)
    body = body_of(asked_for)
    assert len(body) <= MOST_BODY
    assert json.loads(body)["labels"][0][1] == [f"{0:0512}"]


LABELS = [
    *(KnownLabel(kind="user", value=(f"u-farm-{number}",), dishonest=True, at=9) for number in range(12)),
    *(KnownLabel(kind="visitor", value=(f"school-{number}",), dishonest=False, at=8) for number in range(8)),
]


@pytest.fixture
def worker_of(bench: Bench):
    """Serve labels as a fraud worker does, in pages of seven."""
    servers = []

    async def answer(request: web.Request) -> web.Response:
        assert request.query["campaign"].startswith("campaign-")
        assert request.query["rule"] == "device-farm"
        begin = int(request.query["skip"])
        rest = len(LABELS) - begin - 7
        labels = [
            [each.kind, list(each.value), each.dishonest, each.at, False, 1.0, []] for each in LABELS[begin : begin + 7]
        ]
        return web.json_response({"labels": labels, "before": int(rest > 0), "skip": begin + 7 if rest > 0 else 0})

    async def serve() -> str:
        application = web.Application()
        application.router.add_get("/labels", answer)
        server = TestServer(application)
        servers.append(server)
        await server.start_server()
        return str(server.make_url("")).rstrip("/")

    yield bench.run(serve())
    for each in servers:
        bench.run(each.close())


def test_the_command_says_how_right_a_rule_would_have_been(called: Called, bench: Bench, worker_of: str) -> None:
    campaign = bench.keep(a_past(int(time.time() * 1000)))
    result = called(a_rule(campaign), a_campaign(campaign), options=("--worker-url", worker_of))
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "precision" in said
    assert "By 2 labels 50.0% of the keys that it would have found are dishonest, and with 95% between 9.5%" in said
    assert "5 10 2 20 3 50.0% of 2 as in the rule" in said
    assert "10 2 1 12 0 100.0% of 1 recommended" in said
    assert "2 of 2 keys that it would have found are labelled: at least 10 are needed to judge by" in said
    result = called(a_rule(campaign), a_campaign(campaign), options=("--worker-url", worker_of, "-o", "json"))
    (told,) = json.loads(result.output)
    assert told["precision"]["value"] == 0.5
    assert told["precision"]["labels"] == 2
    assert [each.get("precision", {}).get("value") for each in told["curve"]][:3] == [0.5, 0.5, 0.5]


@pytest.mark.parametrize("options", [(), ("--worker-url", "http://127.0.0.1:9")])
def test_without_labels_the_command_says_all_else(called: Called, bench: Bench, options: tuple[str, ...]) -> None:
    campaign = bench.keep(a_past(int(time.time() * 1000)))
    result = called(a_rule(campaign), a_campaign(campaign), options=options)
    assert result.exit_code == 0, result.output
    said = " ".join(result.output.split())
    assert "10 would have broken the rule" in said
    assert "Note: precision is not told, as nobody can be asked for labels" in said
