"""The documentation is true: links lead somewhere, examples load, and nothing that exists goes unmentioned."""

import re
from functools import cache
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry
from tests.bad_campaigns.table import read_yaml
from tests.unit.chart.rendering import objects, one
from tests.unit.docs.fields import field_paths, is_used
from tests.unit.docs.pages import PAGES, ROOT, anchors, campaigns, links, name_of, prose

from flywheel.api.campaign import CampaignSpec
from flywheel.api.definition import campaign_definition
from flywheel.api.load import load_campaign
from flywheel.api.pod_template import TemplateSpec
from flywheel.api.status import CampaignStatus
from flywheel.campaign.stages import Stage
from flywheel.cli import main
from flywheel.metrics.process import figures
from flywheel.metrics.scrape import EdgeRates
from flywheel.runtime.metrics import Metrics
from flywheel.workload.merge import MERGE_KEYS
from flywheel.workload.state import REMEDIES

CAMPAIGN = ROOT / "docs/campaign.md"
OPERATING = ROOT / "docs/operating.md"
README, README_ZH = ROOT / "README.md", ROOT / "README.zh-CN.md"
SPEC_FIELDS = list(field_paths(CampaignSpec))
STATUS_FIELDS = list(field_paths(CampaignStatus))
GATES = "services[].release."
"""The gates before and after a switch are the same; their fields are told in a section of their own, from there."""
EVERYWHERE = [pytest.param(page, id=name_of(page)) for page in PAGES]


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code_words(page: Path) -> set[str]:
    """Everything that stands between backticks outside of blocks."""
    return set(re.findall(r"`([^`\n]+)`", prose(page)))


@pytest.mark.parametrize("page", EVERYWHERE)
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


@pytest.mark.parametrize("page", EVERYWHERE)
def test_every_campaign_that_is_shown_loads(page):
    for manifest in campaigns(page):
        load_campaign(manifest)


def test_the_smallest_campaign_is_the_one_in_examples():
    manifest = read_yaml(text(ROOT / "examples/minimal/campaign.yaml"))
    for page in (README, README_ZH):
        assert campaigns(page) == [manifest]


def test_both_readmes_lead_to_the_same_pages():
    others = {README: "README.zh-CN.md", README_ZH: "README.md"}
    found = [{link for link in links(page) if link != other} for page, other in others.items()]
    assert found[0] == found[1]


def named(path: str) -> str:
    """How a field is named on the page."""
    return path.removeprefix(GATES) if path.startswith(f"{GATES}before[]") else path


def test_every_field_of_the_spec_is_described():
    assert [path for path in SPEC_FIELDS if named(path) not in code_words(CAMPAIGN)] == []


def test_every_field_of_the_spec_is_shown_by_example():
    specs = [each["spec"] for each in campaigns(CAMPAIGN)]
    unused = [path for path in SPEC_FIELDS if not any(is_used(path, spec) for spec in specs)]
    after = [path.replace(f"{GATES}before[]", f"{GATES}after[]") for path in unused]
    assert [path for path in after if not any(is_used(path, spec) for spec in specs)] == []


def test_the_walk_over_the_fields_finds_nested_ones():
    for path in ("services[].autoscaling.metrics[].raw", "route.rules[].port", "route.parentRefs[].sectionName"):
        assert path in SPEC_FIELDS


def test_every_field_of_the_status_is_described():
    words = {part for word in code_words(CAMPAIGN) for part in re.findall(r"\w+", word)}
    top = [path for path in STATUS_FIELDS if "." not in path]
    assert [path for path in top if f"status.{path}" not in code_words(CAMPAIGN)] == []
    nested = {path.rpartition(".")[2].removesuffix("[]") for path in STATUS_FIELDS if not path.startswith("conditions")}
    assert sorted(nested - words) == []


def test_every_stage_has_its_row():
    rows = re.findall(r"^\| (\w+)", text(CAMPAIGN), re.MULTILINE)
    assert [stage.value for stage in Stage if stage.value not in rows] == []


def test_every_condition_and_reason_is_described():
    rooms = ("campaign", "workload")
    sources = [each for room in rooms for each in (ROOT / "operator/flywheel" / room).glob("*.py")]
    # Those of A/B tests and of fraud rules are on their own pages.
    sources = [each for each in sources if not each.name.startswith(("test", "fraud"))]
    code = "\n".join(text(source) for source in sources)
    types = set(re.findall(r'Condition\(\s*"(\w+)"', code))
    assert {"Ready", "Reconciling", "Stalled", "TeardownBlocked"} <= types
    reasons = set(re.findall(r'Condition\(\s*"\w+",\s*"\w+",\s*"(\w+)"', code))
    reasons |= set(re.findall(r'return "([A-Z]\w+)", ', code))
    reasons |= set(re.findall(r'Health\.\w+, [^,]+, [^,]+, "([A-Z]\w+)"', code))
    assert {"Accepted", "InvalidSpec", "TearingDown", "Creating"} <= reasons
    assert sorted((types | reasons | set(REMEDIES)) - code_words(CAMPAIGN)) == []


def test_every_condition_that_the_definition_names_is_described():
    schema = campaign_definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    said = schema["properties"]["status"]["properties"]["conditions"]["items"]["properties"]["type"]["description"]
    named = set(re.findall(r"\b[A-Z]\w+", said.partition(":")[2]))
    assert "Ready" in named
    assert sorted(named - code_words(CAMPAIGN)) == []


def test_every_event_is_described():
    code = text(ROOT / "operator/flywheel/campaign/conclude.py")
    reasons = set(re.findall(r'Notice\("\w+", "(\w+)"', code))
    assert "Removed" in reasons
    assert sorted(reasons - code_words(CAMPAIGN)) == []


def test_everything_refused_in_a_pod_template_is_described():
    fields = TemplateSpec.model_fields.values()
    refused = {str(field.alias) for field in fields if (field.description or "").startswith("Refused")}
    assert {"hostNetwork", "nodeName"} <= refused
    assert sorted(refused - code_words(CAMPAIGN)) == []


def test_every_list_that_merges_is_described():
    assert sorted((set(MERGE_KEYS) | set(MERGE_KEYS.values())) - code_words(CAMPAIGN)) == []


def metric_names() -> set[str]:
    metrics = Metrics()
    metrics.follow_queue(lambda: 0, lambda: 0)
    metrics.follow_leader(lambda: True)
    metrics.follow_objects(lambda: 0, lambda: 0, lambda: 0)
    metrics.follow_rules(tuple)
    return exposed(metrics.registry) | exposed(figures(EdgeRates()))


def exposed(registry: CollectorRegistry) -> set[str]:
    suffixes = {"counter": "_total", "info": "_info"}
    return {
        family.name + suffixes.get(family.type, "")
        for family in registry.collect()
        if family.name.startswith("flywheel_")
    }


def test_every_metric_is_described():
    names = metric_names()
    assert {"flywheel_reconcile_duration_seconds", "flywheel_api_calls_total", "flywheel_build_info"} <= names
    assert sorted(names - code_words(OPERATING)) == []


def test_no_metric_is_described_that_does_not_exist():
    said = {word for word in code_words(OPERATING) if re.fullmatch(r"flywheel_[a-z_]+", word)}
    assert said <= metric_names()


def test_every_alert_is_described():
    values = {"metrics": {"prometheusRule": {"enabled": True}}}
    rule = one(objects(values), "PrometheusRule")
    alerts = {each["alert"] for group in rule["spec"]["groups"] for each in group["rules"]}
    assert "FlywheelHasNoLeader" in alerts
    assert sorted(alerts - code_words(OPERATING)) == []


def test_every_option_of_the_operator_is_described():
    options = {
        max(option.opts, key=len) for option in main.commands["operator"].params if option.opts[0].startswith("-")
    }
    assert "--namespace" in options
    said = {part for word in code_words(OPERATING) for part in word.split()}
    assert sorted(options - said) == []


@pytest.mark.parametrize("page", EVERYWHERE)
def test_every_make_target_that_is_named_exists(page):
    targets = set(re.findall(r"^([a-z0-9-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    assert "demo" in targets
    in_code = (
        " ".join(re.findall(r"`[^`\n]+`", prose(page)))
        + "\n"
        + "\n".join(line for line in text(page).splitlines() if line.startswith("    "))
    )
    named = set(re.findall(r"(?<![\w-])make ([a-z][a-z0-9-]*)", in_code))
    assert sorted(named - targets) == []


def test_every_make_target_is_described_somewhere():
    targets = set(re.findall(r"^([a-z0-9-]+):.* ## ", text(ROOT / "Makefile"), re.MULTILINE)) - {"help"}
    said = text(ROOT / "CONTRIBUTING.md")
    assert [target for target in sorted(targets) if f"`make {target}" not in said] == []


@pytest.mark.parametrize("page", EVERYWHERE)
def test_chart_values_that_are_named_exist(page):
    values = yaml.safe_load(text(ROOT / "charts/flywheel/values.yaml"))
    unknown = []
    for path in re.findall(r"--set '?([A-Za-z.]+)=", text(page)):
        at = values
        for name in path.split("."):
            if not isinstance(at, dict) or name not in at:
                unknown.append(path)
                break
            at = at[name]
    assert unknown == []
