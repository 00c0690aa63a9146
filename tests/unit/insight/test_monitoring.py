"""Dashboard, rules and monitors, written down whole so that a change of any of them is seen and meant.

`UPDATE_GOLDEN=1 pytest tests/unit/insight` writes them anew.
"""

import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.insight.world import CAMPAIGN, NAMESPACE, SETTINGS, TITLE

from flywheel.api.load import load_campaign
from flywheel.insight.abtest_dashboard import abtest_dashboard
from flywheel.insight.dashboard import dashboard, dashboard_manifest
from flywheel.insight.fraud_dashboard import fraud_dashboard
from flywheel.insight.monitoring import Goal, MonitoringSettings
from flywheel.insight.rules import prometheus_rule_manifest, rules, rules_config_map
from flywheel.insight.scraping import pod_monitor_manifest, worker_monitor_manifest
from flywheel.plan import CAMPAIGN_LABEL, Manifest

GOLDEN = Path(__file__).parent / "golden"
SHARED = "flywheel_(store|fraud_(ready|event_seconds|question_seconds|journal))"
"""Figures of workers that all campaigns of a namespace share."""


def holds(name: str, text: str) -> None:
    if os.environ.get("UPDATE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    assert text == (GOLDEN / name).read_text()


def manifests() -> list[Manifest]:
    return [
        dashboard_manifest(CAMPAIGN, NAMESPACE, TITLE, SETTINGS),
        prometheus_rule_manifest(CAMPAIGN, NAMESPACE, SETTINGS),
        rules_config_map(CAMPAIGN, NAMESPACE, SETTINGS),
        pod_monitor_manifest(CAMPAIGN, NAMESPACE, SETTINGS),
    ]


def boards() -> list[dict[str, Any]]:
    shown = [board(CAMPAIGN, NAMESPACE, TITLE) for board in (abtest_dashboard, fraud_dashboard)]
    return [dashboard(CAMPAIGN, NAMESPACE, TITLE, SETTINGS), *shown]


def expressions() -> list[str]:
    shown = [target["expr"] for board in boards() for panel in board["panels"] for target in panel.get("targets", ())]
    marked = [each["target"]["expr"] for board in boards() for each in board["annotations"]["list"]]
    asked = [rule["expr"] for group in rules(CAMPAIGN, NAMESPACE, SETTINGS)["groups"] for rule in group["rules"]]
    return shown + marked + asked


def test_the_dashboard_is_as_written_down() -> None:
    made = dashboard_manifest(CAMPAIGN, NAMESPACE, TITLE, SETTINGS)
    holds("dashboard.json", made["data"][f"{NAMESPACE}-{CAMPAIGN}.json"])
    holds("abtest_dashboard.json", made["data"][f"{NAMESPACE}-{CAMPAIGN}.tests.json"])
    holds("fraud_dashboard.json", made["data"][f"{NAMESPACE}-{CAMPAIGN}.fraud.json"])


def test_rules_and_monitors_are_as_written_down() -> None:
    made = manifests()[1:]
    holds("rules.yaml", yaml.safe_dump(made.pop(0), sort_keys=False, allow_unicode=True, width=160))
    assert yaml.safe_load(made.pop(0)["data"][f"{NAMESPACE}-{CAMPAIGN}.rules.yaml"]) == rules(
        CAMPAIGN, NAMESPACE, SETTINGS
    )
    made.append(worker_monitor_manifest(NAMESPACE, {"release": "stack"}))
    holds("monitors.yaml", yaml.safe_dump_all(made, sort_keys=False))


@pytest.mark.parametrize("expression", expressions())
def test_every_question_is_about_this_campaign_alone(expression: str) -> None:
    selected = re.findall(r"\b(?:campaign|flywheel|ALERTS)[a-z_]*\{([^}]*)\}", expression)
    own = f'namespace="{NAMESPACE}",campaign="{CAMPAIGN}"'
    assert selected
    shared = {f'namespace="{NAMESPACE}"'} if re.search(SHARED, expression) else set()
    assert all(matchers.startswith(own) or matchers in shared for matchers in selected)
    named = re.findall(r"\b(?:campaign|flywheel)_\w+", expression)
    assert len([name for name in named if f"{name}{{" in expression]) == len(named), "a metric without its matchers"


@pytest.mark.parametrize(
    "manifest", manifests(), ids=lambda manifest: f"{manifest['kind']}-{manifest['metadata']['name']}"
)
def test_objects_have_the_labels_of_others_and_keep_their_own(manifest: Manifest) -> None:
    labels = manifest["metadata"]["labels"]
    assert labels["release"] == "stack"
    assert labels["app.kubernetes.io/instance"] == labels[CAMPAIGN_LABEL] == CAMPAIGN
    assert manifest["metadata"]["namespace"] == NAMESPACE


@pytest.mark.parametrize("board", boards(), ids=lambda board: board["title"])
def test_panels_stand_apart_and_are_numbered(board: dict[str, Any]) -> None:
    panels = board["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + right, place["y"] + down) for right in range(place["w"]) for down in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_dashboards_of_two_campaigns_do_not_meet() -> None:
    names = (("a", "b-c"), ("c", "a-b"), ("b", "b"))
    made = [dashboard(campaign, namespace, "", SETTINGS) for campaign, namespace in names]
    made += [abtest_dashboard(campaign, namespace, "") for campaign, namespace in names]
    made += [fraud_dashboard(campaign, namespace, "") for campaign, namespace in names]
    assert len({board["uid"] for board in made}) == len({board["title"] for board in made}) == len(made)
    assert all(len(board["uid"]) <= 40 for board in made), "more is too long for Grafana"


def test_without_a_goal_none_is_shown() -> None:
    titles = [panel["title"] for panel in dashboard(CAMPAIGN, NAMESPACE, TITLE, MonitoringSettings())["panels"]]
    assert "Goal" not in titles


def test_silence_is_an_alarm_only_while_there_is_an_edge() -> None:
    def alerts(settings: MonitoringSettings) -> set[str]:
        return {
            rule["alert"]
            for group in rules(CAMPAIGN, NAMESPACE, settings)["groups"]
            for rule in group["rules"]
            if "alert" in rule
        }

    assert alerts(SETTINGS) - alerts(replace(SETTINGS, serving=False)) == {
        "CampaignEdgeSilent",
        "CampaignAnalyticsSilent",
    }


def test_settings_are_read_from_the_campaign() -> None:
    spec = {
        "title": TITLE,
        "goal": {"event": "Signed Up", "count": 9},
        "services": [{"name": "shop", "image": "shop:1", "port": 8080}],
        "edge": {"events": {"writeKeys": ["shop-key"], "spool": "32Mi"}},
        "analytics": {
            "currency": "CNY",
            "order": {"event": "Paid"},
            "monitoring": {"errorRate": "5%", "latency": "2s", "labels": {"release": "stack"}},
        },
    }
    manifest = {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": CAMPAIGN, "namespace": NAMESPACE},
        "spec": spec,
    }
    assert MonitoringSettings.of(load_campaign(manifest)) == MonitoringSettings(
        currency="CNY",
        order_event="Paid",
        goal=Goal("Signed Up", 9),
        error_rate=0.05,
        latency=2.0,
        spool_bytes=32 << 20,
        labels={"release": "stack"},
    )


def test_the_dashboard_fits_a_config_map() -> None:
    manifest = dashboard_manifest(CAMPAIGN, NAMESPACE, TITLE, SETTINGS)
    assert len(json.dumps(manifest)) < 200_000
