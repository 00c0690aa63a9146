"""What the questions to the store look like, whatever is written in a rule; and what is refused before it is asked."""

from typing import Any

import pytest
from tests.unit.fraud_backtest.streams import ODD, RULES, START, manifest_of, rule

from flywheel.api.load import load_fraudrule
from flywheel.commands.fraud_backtest_asking import written_out
from flywheel.events.statement_guard import check
from flywheel.fraud.backtest import Past, Trial, counts_statement, found_statement, hits_statement, samples_statement
from flywheel.fraud.backtest_fields import Untried
from flywheel.fraud.backtest_found import found_of
from flywheel.fraud.backtest_limits import limits_of
from flywheel.fraud.backtest_told import written

COUNT = {"count": {"moreThan": 1}}
PAST = Past("yougou-618", START, START + 1000)


@pytest.mark.parametrize("name", RULES)
def test_people_may_ask_each_of_them(name: str) -> None:
    trial = Trial(RULES[name], PAST)
    samples = samples_statement(trial, [(START, 2**64 - 1)])
    for statement in (counts_statement(trial), found_statement(trial), hits_statement(trial, 10), samples):
        assert check(written_out(statement))
        assert "Signed Up" not in statement.sql
        assert ODD not in str(statement)


@pytest.mark.parametrize(
    ("spec", "kept", "said"),
    [
        ({"condition": {"linked": {"accounts": "user", "through": "device", "moreThan": 3}}}, None, "linked follows"),
        ({"key": ["addressPrefix"], "condition": COUNT}, "Hash", "spec.key[0] is addressPrefix"),
        ({"key": ["user", "address"], "condition": COUNT}, "Drop", "spec.key[1] is address"),
        (
            {"condition": {"distinct": {"field": "address", "moreThan": 1}}},
            "Drop",
            "condition.distinct is address",
        ),
        (
            {"key": ["deviceKind"], "condition": COUNT},
            None,
            "deviceKind is not in the event store",
        ),
        (
            {
                "match": {"type": "Track", "where": [{"field": "address", "operator": "InRange", "values": ["::1"]}]},
                "condition": COUNT,
            },
            "Hash",
            "a filter looks at address",
        ),
    ],
)
def test_what_cannot_be_tried_is_named(spec: dict[str, Any], kept: Any, said: str) -> None:
    asked = rule("asked", window="10s", **spec)
    with pytest.raises(Untried) as refused:
        Trial(asked, Past("yougou-618", START, START + 1000, addresses=kept))
    assert said in str(refused.value)


def test_a_score_is_not_tried() -> None:
    model = {"configMap": "fraud", "key": "model.skops", "digest": f"sha256:{'0' * 64}"}
    score = {"score": {"model": model, "features": ["revenue"], "moreThan": 0.9}}
    with pytest.raises(Untried, match="score asks a model"):
        Trial(rule("odd", condition=score), PAST)


@pytest.mark.parametrize("name", RULES)
def test_each_limit_allows_more_than_the_one_before(name: str) -> None:
    limits = limits_of(RULES[name])
    assert list(limits.raw) == sorted(limits.raw)
    assert len(limits.given) == len(set(limits.given)) <= 32
    assert limits.written(limits.raw[limits.current]) == pytest.approx(limits.given[limits.current], rel=0.2)


@pytest.mark.parametrize("name", RULES)
def test_each_limit_could_stand_in_the_rule(name: str) -> None:
    limits, manifest = limits_of(RULES[name]), manifest_of(name)
    *path, last = limits.path.replace("[", ".").replace("]", "").split(".")
    sign = manifest["spec"]
    for part in path:
        sign = sign[int(part) if part.isdecimal() else part]
    manifest["spec"]["state"] = {"maximumKeys": 1000} | manifest["spec"].get("state", {})
    for limit in limits.given:
        text = written(limits, limit)
        sign[last] = text if limits.is_time else float(text) if "." in text else int(text)
        read = limits_of(load_fraudrule(manifest))
        assert read.given[read.current] == pytest.approx(limit)


def test_an_empty_answer_is_nothing_found() -> None:
    trial = Trial(RULES["count"], PAST)
    found = found_of(trial, [], [])
    assert (found.events, found.own.hits, found.recommended, found.samples) == (0, 0, None, ())
