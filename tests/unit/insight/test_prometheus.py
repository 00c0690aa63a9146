"""The rules and the dashboard's questions, asked of a real Prometheus."""

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.patience import PATIENCE
from tests.ports import free_port
from tests.unit.insight.exporter import exporting
from tests.unit.insight.world import CAMPAIGN, NAMESPACE, SETTINGS, TITLE

from flywheel.insight.abtest_dashboard import abtest_dashboard
from flywheel.insight.dashboard import dashboard
from flywheel.insight.fraud_dashboard import fraud_dashboard
from flywheel.insight.rules import rules

HERE = Path(__file__).parent
VARIABLES = {
    "$__rate_interval": "20s",
    "$__range": "1m",
    "$window": "1h",
    "$service": ".*",
    "$test": "button",
    "$variant": "lime",
    "$rule": ".*",
}


def test_prometheus_takes_the_rules_for_what_they_mean(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules(CAMPAIGN, NAMESPACE, SETTINGS)))
    cases = shutil.copy(HERE / "rules.test.yaml", tmp_path)
    for command in (["check", "rules", str(tmp_path / "rules.yaml")], ["test", "rules", cases]):
        ended = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_is_tried() -> None:
    """A rule that nobody has seen fire may never do so."""
    cases = yaml.safe_load((HERE / "rules.test.yaml").read_text())["tests"]
    fired = {alert["alertname"] for case in cases for alert in case.get("alert_rule_test", ()) if alert["exp_alerts"]}
    groups = rules(CAMPAIGN, NAMESPACE, SETTINGS)["groups"]
    assert fired == {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}


def hurried(groups: dict[str, Any]) -> dict[str, Any]:
    """The same rules, evaluated every second and without waiting: time itself is what promtool tries."""
    text = json.loads(json.dumps(groups))
    for group in text["groups"]:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule |= {"for": "0s"} if "alert" in rule else {}
    return dict(text)


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    home = tmp_path_factory.mktemp("prometheus")
    (home / "rules.yaml").write_text(yaml.safe_dump(hurried(rules(CAMPAIGN, NAMESPACE, SETTINGS))))
    port = free_port()
    with exporting() as exporter:
        scrape = {
            "job_name": "pods",
            "honor_labels": True,
            "static_configs": [{"targets": [f"127.0.0.1:{exporter}"]}],
        }
        settings = {
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [scrape],
        }
        (home / "prometheus.yml").write_text(yaml.safe_dump(settings))
        command = [
            "prometheus",
            f"--config.file={home / 'prometheus.yml'}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--log.level=warn",
        ]
        with (home / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "GOMAXPROCS": "2"})
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
                yield client
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def answer(prometheus: httpx.Client, expression: str) -> list[dict[str, Any]]:
    for name, value in VARIABLES.items():
        expression = expression.replace(name, value)
    try:
        response = prometheus.get("/api/v1/query", params={"query": expression})
    except httpx.TransportError:
        # Still starting.
        return []
    if response.status_code == 503:
        return []
    body = response.json()
    assert body["status"] == "success", f"{expression}: {body.get('error')}"
    return [each for each in body["data"]["result"] if each["value"][1] != "NaN"]


def until_answered(prometheus: httpx.Client, questions: dict[str, str]) -> dict[str, list[dict[str, Any]]]:
    """Ask until every question has an answer."""
    answers: dict[str, list[dict[str, Any]]] = {}
    deadline = time.monotonic() + PATIENCE
    while missing := {name: asked for name, asked in questions.items() if not answers.get(name)}:
        assert time.monotonic() < deadline, f"without an answer: {missing}"
        answers |= {name: answer(prometheus, asked) for name, asked in missing.items()}
        time.sleep(0.1)
    return answers


def test_every_question_of_the_dashboard_has_an_answer(prometheus: httpx.Client) -> None:
    board = dashboard(CAMPAIGN, NAMESPACE, TITLE, SETTINGS)
    questions = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }
    questions |= {each["name"]: each["target"]["expr"] for each in board["annotations"]["list"]}
    answers = until_answered(prometheus, questions)
    assert {each["metric"]["service"] for each in answers["Requests A"]} == {"landing", "seckill"}
    shares = {each["metric"]["service"]: float(each["value"][1]) for each in answers["Errors A"] if each["metric"]}
    assert shares["landing"] == 0
    assert shares["seckill"] == pytest.approx(0.25)


def test_every_question_about_tests_has_an_answer(prometheus: httpx.Client) -> None:
    board = abtest_dashboard(CAMPAIGN, NAMESPACE, TITLE)
    questions = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }
    answers = until_answered(prometheus, questions)
    assert [each["metric"]["state"] for each in answers["State A"]] == ["Running"]
    assert {each["metric"]["variant"] for each in answers["Visitors A"]} == {"red", "lime"}
    lower, estimate, upper = (float(answers[f"Change with $variant {each}"][0]["value"][1]) for each in "BAC")
    assert lower < estimate < upper


def test_every_question_about_fraud_has_an_answer(prometheus: httpx.Client) -> None:
    board = fraud_dashboard(CAMPAIGN, NAMESPACE, TITLE)
    questions = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in board["panels"]
        for target in panel.get("targets", ())
    }
    answers = until_answered(prometheus, questions)
    assert {each["metric"]["rule"] for each in answers["Hits A"] if "rule" in each["metric"]} == {"burst", "farm"}
    refused = {each["metric"]["reason"] for each in answers["Requests refused at the edge A"]}
    assert refused == {"fraud", "challenge", "throttle"}, "what the limits refuse is not shown as fraud"
    hits, acted, would = (
        sum(float(each["value"][1]) for each in answers[f"{name} A"] if "rule" in each["metric"])
        for name in ("Hits", "Acted on", "Would have been acted on")
    )
    assert hits == pytest.approx(acted + would, rel=0.5)


def test_the_alert_fires_and_names_the_service_that_fails(prometheus: httpx.Client) -> None:
    firing = 'ALERTS{alertname="CampaignErrorsHigh",alertstate="firing"}'
    alerts = until_answered(prometheus, {"alert": firing})["alert"]
    assert [(each["metric"]["service"], each["metric"]["campaign"]) for each in alerts] == [("seckill", CAMPAIGN)]


def test_recorded_figures_have_names_of_their_own(prometheus: httpx.Client) -> None:
    groups = rules(CAMPAIGN, NAMESPACE, SETTINGS)["groups"]
    recorded = [rule["record"] for group in groups for rule in group["rules"] if "record" in rule]
    until_answered(prometheus, {name: name for name in recorded})
