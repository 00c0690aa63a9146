"""The same log through our engine and through Apache Flink: the same verdicts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.fraud_flink.log import events, write
from tests.unit.fraud_flink.rules import FILTERS, JUDGED
from tools.bootstrap.peers import ensure_flink_python

from flywheel.fraud.engine import Engine
from flywheel.fraud.flink_filters import holds
from flywheel.fraud.flink_records import verdict_of
from flywheel.fraud.flink_sql import Connection, events_table, statements
from flywheel.fraud.flink_text import literal
from flywheel.fraud.rule import Match, Rule
from flywheel.fraud.where import matcher
from flywheel.fraud.words import Verdict

SERVER = Path(__file__).parent / "flink_server.py"
LOG = events(seed=618)
ENDS_WITHIN = 180
"""Seconds for the next rule's script to end: one takes 2 to 25."""
RUNS_WITHIN = 1200
TRIES = 2
LOG_SHOWN = 60_000
PARALLEL = {"both", "steps", "money-capped", "hops"}
"""Rules that are judged by two tasks at once."""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Path:
    """Judge the log by all rules in Flink, and give the directory of verdicts."""
    home = tmp_path_factory.mktemp("flink") / "it's $odd, 券"
    write(LOG, home / "events/log.json")
    scripts = [*(script(rule, home) for rule in JUDGED), filters_script(home)]
    answers = carried_out(scripts, home, pytestconfig)
    assert len(answers) == len(scripts)
    for answer in answers:
        assert not answer["error"], f"{answer['name']}: {answer['error'][:3000]}"
    return home


def carried_out(scripts: list[dict[str, Any]], home: Path, config: pytest.Config) -> list[dict[str, Any]]:
    """Have Flink carry scripts out; where its mini-cluster stands still, ask another one.

    What the threads of the one that stood still were doing is shown either way.
    """
    given = "".join(json.dumps(each) + "\n" for each in scripts)
    log = home / "flink.log"
    for _ in range(TRIES):
        with log.open("w") as told_by_java:
            done = subprocess.run(
                [ensure_flink_python(), SERVER, f"--within={ENDS_WITHIN}"],
                input=given,
                stdout=subprocess.PIPE,
                stderr=told_by_java,
                text=True,
                timeout=RUNS_WITHIN,
                check=False,
            )
        if done.returncode == 0:
            return [json.loads(line) for line in done.stdout.splitlines()]
        problem = f"Flink has ended with {done.returncode}:\n{log.read_text()[:LOG_SHOWN]}"
        with config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(problem, file=sys.stderr, flush=True)
        for script in scripts:
            shutil.rmtree(home / script["name"], ignore_errors=True)
    pytest.fail(problem)


def script(rule: Rule, home: Path) -> dict[str, object]:
    source = Connection(files(home / "events"), lane="INT", place="BIGINT")
    sink = Connection(files(home / rule.name), lane="", place="")
    settings = {"parallelism.default": "2" if rule.name in PARALLEL else "1"}
    return {"name": rule.name, "statements": statements(rule, source, sink), "settings": settings}


def filters_script(home: Path) -> dict[str, object]:
    """Ask which events fit which filters, all in one query."""
    sink = f"CREATE TEMPORARY TABLE fits (place BIGINT, fits ARRAY<BOOLEAN>) WITH ({options(home / 'filters')})"
    asked = [
        events_table(Connection(files(home / "events"), lane="INT", place="BIGINT"), disorder=2000),
        sink,
        f"INSERT INTO fits SELECT place, ARRAY[{', '.join(map(holds, FILTERS))}] FROM events",
    ]
    return {"name": "filters", "statements": asked, "settings": {"parallelism.default": "1"}}


def options(path: Path) -> str:
    return ", ".join(f"{literal(key)} = {literal(value)}" for key, value in files(path))


def lines(directory: Path) -> list[dict[str, Any]]:
    texts = [part.read_text().strip().split("\n") for part in sorted(directory.glob("part-*"))]
    return [json.loads(line) for each in texts for line in each if line]


def files(path: Path) -> tuple[tuple[str, str], ...]:
    return (("connector", "filesystem"), ("path", str(path)), ("format", "json"))


@pytest.mark.parametrize("rule", JUDGED, ids=lambda rule: rule.name)
def test_verdicts_are_those_of_the_engine(rule: Rule, found: Path) -> None:
    ours = Engine([rule]).judge(LOG)
    theirs = [verdict_of(line, rule) for line in lines(found / rule.name)]
    assert ours, "the log has nothing for this rule"
    assert len(ours) < len(LOG) * 0.9
    assert sorted(map(told, theirs)) == sorted(map(told, ours))


def told(verdict: Verdict) -> tuple[object, ...]:
    """All that Flink tells; speeds to a millionth, since the sines of two libraries may differ in the last bit."""
    plain = msgspec.structs.replace(verdict, warming=False, detail="", observed=round(verdict.observed, 6))
    return msgspec.structs.astuple(plain)


def test_events_fit_the_filters_that_they_fit_in_the_engine(found: Path) -> None:
    theirs = {line["place"]: line["fits"] for line in lines(found / "filters")}
    tests = [matcher(Match(where=(each,))) for each in FILTERS]
    for place, event in enumerate(LOG):
        ours = [test(event) for test in tests]
        assert theirs[place] == ours, [
            each for each, one, other in zip(FILTERS, ours, theirs[place], strict=True) if one != other
        ]


def test_the_log_has_what_is_hard() -> None:
    engine = Engine(JUDGED)
    engine.judge(LOG)
    assert engine.counters.duplicates > 50
    assert engine.counters.clamped > 50
    assert all(engine.counters_of(rule.name).late for rule in JUDGED if rule.lateness < 700)
    assert len({event.arrived for event in LOG}) < len(LOG) * 0.8, "few events of one moment"
