"""The demo's back-test: what it reads of the command, and what it says of it."""

import json
import time
from typing import Any

import pytest
from tests.unit.fraud_backtest.conftest import Bench, bench
from tests.unit.fraud_backtest.test_command import Called, a_campaign, a_past, a_rule, called

from rehearsal.fraud_run import FINDING, FraudRun
from rehearsal.fraud_trial import TrialView, have_hit, trials_told
from rehearsal.screen import Screen

__all__ = ["bench", "called"]
RULES = [{"metadata": {"name": "device-farm"}, "spec": {"key": ["device"]}}]


def test_it_reads_what_the_command_says_of_a_real_store(called: Called, bench: Bench) -> None:
    campaign = bench.keep(a_past(int(time.time() * 1000)))
    rule = a_rule(campaign)
    result = called(rule, a_campaign(campaign), options=("-o", "json"))
    assert result.exit_code == 0, result.output
    [found] = trials_told(result.output, [rule])
    assert found == TrialView("device-farm", "device", 23, 10, 2, 20, 3, "condition.distinct.moreThan", 5.0, 10.0)
    assert str(found) == (
        "device-farm: 10 of 23 events would have broken it, of 2 × device with 20 visitors, 3 of them paying customers;"
        " recommended distinct.moreThan: 10 instead of 5"
    )


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (TrialView("r", "user", 7), "r: none of 7 events would have broken it"),
        (
            TrialView("r", "user", 7, 2, 1, 1, 0, "condition.count.moreThan", 20.0, 20.0),
            "count.moreThan: 20, as written",
        ),
        (TrialView("r", "user", 7, 2, 1, 1, 1, "condition.count.moreThan", 20.0), "no count.moreThan finds anybody"),
        (
            TrialView("r", "user", 7, 2, 1, 1, 1, "condition.sequence.within", 1000.0, 500.0),
            "recommended sequence.within: 0.5s instead of 1s",
        ),
    ],
)
def test_what_is_said_of_a_rule(view: TrialView, words: str) -> None:
    assert words in str(view)


def test_all_of_the_rules_that_must_find_somebody_have_to() -> None:
    found = [TrialView(name, "k", 9, 3) for name in FINDING]
    assert have_hit(found, FINDING)
    assert not have_hit(found[1:], FINDING)
    assert not have_hit([TrialView(name, "k", 9) for name in FINDING], FINDING)


@pytest.mark.parametrize("text", ["", "[{}]", '[{"rule": "device-farm"}]', '[{"rule": "unheard"}]'])
def test_what_is_no_answer_is_no_trial(text: str) -> None:
    with pytest.raises((ValueError, KeyError)):
        trials_told(text, RULES)


class Cluster:
    """A cluster whose event store has the hunters at the third time it is asked."""

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), list[list[str]]()

    def run(self, command: list[str]) -> str:
        self.asked.append(command)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class Said(Screen):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def answer(hits: int) -> str:
    def told(rule: str) -> dict[str, Any]:
        counts = {"events": 40, "hits": hits, "keys": 1, "visitors": 9, "customers": 0}
        return {"rule": rule, "path": "condition.count.moreThan", "limit": 5.0, "recommended": 5.0, **counts}

    return json.dumps([told(name) for name in FINDING])


async def test_the_store_is_asked_until_it_has_the_hunters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehearsal.fraud_run.LOOK_SECONDS", 0.0)
    cluster, screen = Cluster(answer(0), answer(0), answer(4)), Said()
    made = FraudRun(cluster, "shop", "http://edge", screen)  # type: ignore[arg-type]
    tried = await made._try()
    assert [each.hits for each in tried] == [4, 4]
    assert len(cluster.asked) == 3
    assert cluster.asked[0][1:3] == ["fraud", "backtest"]
    assert len(screen.lines) == 1 + len(FINDING)
    assert "4 of 40 events would have broken it" in screen.lines[1]


async def test_a_store_that_never_has_them_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rehearsal.fraud_run.TRIED_SECONDS", -1.0)
    made = FraudRun(Cluster(answer(0)), "shop", "http://edge", Said())  # type: ignore[arg-type]
    with pytest.raises(TimeoutError, match="hunters in the past; coupon-burst: none of 40 events"):
        await made._try()
