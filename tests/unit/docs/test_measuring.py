"""The pages about edge and events are true: nothing that exists goes unmentioned, and nothing else is described."""

import re
from pathlib import Path

import click
import pytest
from prometheus_client import CollectorRegistry
from tests.unit.docs.pages import ROOT
from tests.unit.docs.test_docs import CAMPAIGN, code_words, text

from flywheel.cli import main
from flywheel.edge.document import Collect, EdgeDocument
from flywheel.edge.render import log_format
from flywheel.edge.rules import REFUSALS
from flywheel.events.meters import Meters
from flywheel.events.refusal import REASONS
from flywheel.events.schema import documentation
from flywheel.events.worker_figures import Figures
from flywheel.insight.gauges import GAUGES
from flywheel.insight.monitoring import MonitoringSettings
from flywheel.insight.rules import rules

EDGE, EVENTS = ROOT / "docs/edge.md", ROOT / "docs/events.md"
RELEASES, CONTENT = ROOT / "docs/releases.md", ROOT / "docs/content.md"
ABTEST, RULES, FRAUD = ROOT / "docs/abtest.md", ROOT / "docs/fraud.md", ROOT / "docs/fraud-worker.md"
PEOPLE_AND_PODS = {
    "abtest": ABTEST,
    "fraud": RULES,
    "analytics": EVENTS,
    "browser-gate": RELEASES,
    "content-fetch": CONTENT,
    "content-serve": CONTENT,
    "edge-drain": EDGE,
    "erase": EVENTS,
    "export": EVENTS,
    "external-metrics": EVENTS,
    "fraud-worker": FRAUD,
    "kpis": EVENTS,
    "query": EVENTS,
    "release": RELEASES,
    "sidecar": EDGE,
    "simulate": EVENTS,
}
"""Command -> the page that describes it; the operator's own are in test_docs."""


def code(*folders: str) -> str:
    sources = [source for folder in folders for source in (ROOT / "operator/flywheel" / folder).glob("*.py")]
    return "\n".join(text(source) for source in sources)


def test_every_command_is_described_somewhere() -> None:
    pages = (EDGE, EVENTS, RELEASES, CONTENT, ABTEST, RULES, FRAUD, ROOT / "docs/operating.md", ROOT / "README.md")
    said = "".join(text(page) for page in pages)
    own = {"operator", "check-install", "check-uninstall", "version"}
    assert sorted(main.commands.keys() - own - PEOPLE_AND_PODS.keys()) == []
    assert [name for name in sorted(PEOPLE_AND_PODS) if f"flywheel {name}" not in said] == []


def options(command: click.Command) -> set[str]:
    found = {max(option.opts, key=len) for option in command.params if option.opts[0].startswith("-")}
    return found.union(*(options(each) for each in getattr(command, "commands", {}).values()))


@pytest.mark.parametrize("name", sorted(PEOPLE_AND_PODS))
def test_every_option_is_described(name: str) -> None:
    page = PEOPLE_AND_PODS[name]
    assert f"flywheel {name}" in text(page)
    assert sorted(options(main.commands[name]) - set(re.findall(r"--[a-z-]+", text(page)))) == []


@pytest.mark.parametrize("page", [EDGE, EVENTS, RELEASES, CONTENT, ABTEST], ids=lambda page: page.name)
def test_no_command_is_described_that_does_not_exist(page: Path) -> None:
    named = set(re.findall(r"flywheel ([a-z][a-z-]+) (?:-|`|\")", text(page)))
    assert "query" in named or page is not EVENTS
    assert sorted(named - main.commands.keys()) == []


def metric_names() -> set[str]:
    registry = CollectorRegistry()
    Figures("marketing", registry)
    suffixes = {"counter": "_total"}
    worker = {family.name + suffixes.get(family.type, "") for family in registry.collect()}
    edge = {source.name for source in vars(Meters("marketing", "sale")).values() if hasattr(source, "family")}
    return worker | edge | {f"campaign_{name}" for name, *_ in GAUGES}


def test_every_metric_is_described_and_no_other() -> None:
    names = metric_names()
    assert {"campaign_events_total", "campaign_goal_ratio", "flywheel_store_rows_total"} <= names
    said = {word for word in code_words(EVENTS) if re.fullmatch(r"(campaign|flywheel)_[a-z_]+", word)}
    assert sorted(names ^ said) == []


def test_every_alert_is_described_and_no_other() -> None:
    groups = rules("sale", "marketing", MonitoringSettings())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    assert "CampaignOrdersStopped" in alerts
    said = {word for word in code_words(EVENTS) if re.fullmatch(r"(?:Campaign|ABTest|Fraud)[A-Z]\w+", word)}
    assert sorted(alerts ^ said) == []


def test_every_reason_of_a_refusal_is_described() -> None:
    assert sorted(set(REASONS) - code_words(EVENTS)) == []
    assert sorted(set(REFUSALS) - code_words(EDGE)) == []


def test_the_tables_are_described_as_they_are_made() -> None:
    assert documentation() in text(EVENTS)


def test_every_call_of_the_api_is_described() -> None:
    singles = ("track", "page", "screen", "identify", "group", "alias", "batch", "import", "b")
    assert [call for call in singles if f"/v1/{call}" not in text(EVENTS)] == []


def test_every_attribute_of_the_script_is_described() -> None:
    script = text(ROOT / "operator/flywheel/events/assets/fw.js")
    head = script.partition("*/")[0]
    found = set(re.findall(r"data-[a-z-]+", head)) - {"data-fw-coupon-id"}
    assert "data-write-key" in found
    assert [name for name in sorted(found) if name not in text(EVENTS)] == []


def test_every_header_for_services_is_described() -> None:
    told = set(re.findall(r"(?:set|add)-header (X-[A-Za-z-]+)", text(ROOT / "operator/flywheel/edge/rules.py")))
    assert {"X-FW-Visitor", "X-Request-ID"} <= told
    assert sorted(each for each in told if each not in text(EDGE)) == []


def test_every_trouble_of_an_edge_pod_and_of_the_store_is_described() -> None:
    found = set(re.findall(r'reason="([A-Z]\w+)"', code("edge", "events")))
    found |= set(re.findall(r'AnalyticsState\(\s*(?:True|False),\s*"(\w+)"', code("events")))
    assert {"InvalidDocument", "StoreUnreachable", "Serving"} <= found
    assert sorted(found - code_words(CAMPAIGN)) == []


def test_the_access_log_names_what_the_pages_call_a_reason() -> None:
    bare = EdgeDocument(
        namespace="sale", campaign="shop", services=(), routes=(), collect=Collect(write_keys=("shop",)), store=""
    )
    assert '"rf"' in log_format(bare)
