"""Links that show a variant, what to commit after a test, and the report as a file."""

import hashlib
import hmac
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.unit.abtest_command.conftest import Called, Opened, campaign
from tests.unit.abtest_command.story import UID, Story, abtest

from flywheel.api.load import load_abtest, load_campaign
from flywheel.campaign.abtest_overrides import overridden
from flywheel.experiment.report_model import report_name, write_report


def kept(story: Story) -> dict[str, Any]:
    return {"data": {"report.json": write_report(story.report())}}


def test_each_variant_has_a_link_on_each_host(opened: Opened, called: Called) -> None:
    opened(Story().run(1))
    found = called("preview", "button")
    assert found.exit_code == 0, found.output
    token = hmac.new(UID.encode(), b"lime", hashlib.sha256).hexdigest()[:32]
    assert f"lime  https://618.example/coupon?fw_variant={token}" in found.output
    assert f"lime  https://m.618.example/coupon?fw_variant={token}" in found.output
    assert sum("fw_variant" in line for line in found.output.splitlines()) == 4
    assert "port-forward" not in found.output


def test_a_link_leads_where_the_test_is_entered(opened: Opened, called: Called) -> None:
    opened(Story(abtest(targeting={"paths": ["/coupon/618*"]})).run(1))
    assert "https://618.example/coupon/618?fw_variant=" in called("preview", "button").output


@pytest.mark.parametrize("route", [None, {"parentRefs": [{"name": "public"}], "hostnames": ["*.example"]}])
def test_without_a_host_the_edge_is_forwarded(opened: Opened, called: Called, route: Any) -> None:
    opened(Story().run(1), route=route)
    output = called("preview", "button").output
    assert "http://localhost:8080/coupon?fw_variant=" in output
    assert "kubectl port-forward -n spring service/yougou-618-edge 8080:http" in output


def test_a_campaign_that_is_gone_is_told(opened: Opened, called: Called) -> None:
    api = opened(Story().run(14))
    api.campaigns.clear()
    for verb in ("preview", "adopt"):
        found = called(verb, "button")
        assert found.exit_code == 1
        assert "There is no Campaign yougou-618 in the namespace spring any more" in found.output


def patched(manifest: dict[str, Any], patch: str) -> dict[str, Any]:
    for step in json.loads(patch):
        *path, last = step["path"].strip("/").split("/")
        held: Any = manifest
        for each in path:
            held = held[int(each)] if isinstance(held, list) else held[each]
        if step["op"] == "test":
            assert held[last] == step["value"]
        else:
            held[last] = step["value"]
    return manifest


OVERRIDES: list[dict[str, Any]] = [
    {"env": [{"name": "BUTTON", "value": "lime"}]},
    {"image": "shop/landing:1.5", "env": [{"name": "TEXT", "value": "it's 领取"}]},
    {"podTemplate": {"spec": {"containers": [{"name": "landing", "env": [{"name": "A", "value": "1"}]}]}}},
]


def winning(override: dict[str, Any]) -> Story:
    variants = [
        {"name": "red", "control": True, "weight": "50%"},
        {"name": "lime", "weight": "50%", "override": override},
    ]
    return Story(abtest(variants=variants)).run(14)


@pytest.mark.parametrize("override", OVERRIDES)
def test_what_is_adopted_is_what_the_operator_runs(
    opened: Opened, called: Called, override: dict[str, Any], tmp_path: Path
) -> None:
    story = winning(override)
    opened(story)
    test = load_abtest(story.manifest)
    wanted = overridden(load_campaign(campaign()).spec.services[1], test.spec.variants[1].override)
    adopted = load_campaign(patched(campaign(), called("adopt", "button", "-o", "patch").output))
    assert adopted.spec.services[1] == wanted
    assert adopted.spec.services[0] == load_campaign(campaign()).spec.services[0]
    [fragment] = yaml.safe_load(called("adopt", "button", "-o", "yaml").output)["spec"]["services"]
    merged = campaign()
    merged["spec"]["services"][1].update(fragment)
    assert load_campaign(merged).spec.services[1] == wanted


def test_the_command_that_is_printed_is_one_for_a_shell(opened: Opened, called: Called) -> None:
    opened(winning(OVERRIDES[1]))
    output = called("adopt", "button").output
    [line] = [line for line in output.splitlines() if line.startswith("kubectl patch")]
    words = shlex.split(line)
    assert words[:7] == ["kubectl", "patch", "campaign", "yougou-618", "-n", "spring", "--type=json"]
    assert load_campaign(patched(campaign(), words[-1])).spec.services[1].image == "shop/landing:1.5"
    assert "it's 领取" in words[-1]
    assert "kubectl delete abtest button -n spring" in output


def test_what_git_says_already_needs_nothing(opened: Opened, called: Called) -> None:
    api = opened(Story().run(14))
    api.campaigns["yougou-618"]["spec"]["services"][1]["env"][0]["value"] = "lime"
    found = called("adopt", "button")
    assert found.exit_code == 0
    assert "says already what lime makes of landing" in found.output


def test_without_a_winner_nothing_is_adopted_but_by_name(opened: Opened, called: Called) -> None:
    api = opened(Story(shares={"red": 0.08, "lime": 0.081}).run(1))
    found = called("adopt", "button")
    assert found.exit_code == 1
    assert "is Running and has no winner to adopt" in found.output
    assert "is the control" in called("adopt", "button", "--variant", "red").output
    assert "has no variant 'blue'" in called("adopt", "button", "--variant", "blue").output
    assert called("adopt", "button", "--variant", "lime").exit_code == 0
    api.campaigns["yougou-618"]["spec"]["services"].pop()
    assert "no service landing any more" in called("adopt", "button", "--variant", "lime").output


def test_what_a_person_promoted_is_adopted(opened: Opened, called: Called) -> None:
    story = Story(shares={"red": 0.09, "lime": 0.08}).run(14)
    story.manifest["metadata"]["annotations"]["flywheel.dev/promote"] = "lime"
    opened(story)
    assert "value: lime" in called("adopt", "button").output


def test_the_report_is_one_file(opened: Opened, called: Called, tmp_path: Path, monkeypatch) -> None:
    story = Story().run(14)
    api = opened(story)
    api.config_maps[report_name("button")] = kept(story)
    monkeypatch.chdir(tmp_path)
    found = called("report", "button")
    assert found.exit_code == 0, found.output
    assert found.output.startswith("button.html: ")
    assert "lime is better" in (tmp_path / "button.html").read_text()
    assert called("report", "button", "--output", "other.html").exit_code == 0
    assert (tmp_path / "other.html").read_text() == (tmp_path / "button.html").read_text()
    assert called("report", "button", "--output", "-").output.startswith("<!doctype html>")
    found = called("report", "button", "--output", "none/such.html")
    assert found.exit_code == 1
    assert "cannot be written" in found.output


def test_the_report_outlives_its_test(opened: Opened, called: Called, tmp_path: Path) -> None:
    story = Story().run(14)
    api = opened()
    api.config_maps[report_name("button")] = kept(story)
    assert called("report", "button", "--output", str(tmp_path / "x.html")).exit_code == 0


def test_a_report_that_is_not_there_yet_says_why(opened: Opened, called: Called) -> None:
    story = Story()
    api = opened(story)
    found = called("report", "button")
    assert found.exit_code == 1
    assert "There is no report of the test button yet: it is Waiting and has not begun." in found.output
    assert "There is no ABTest buton" in called("report", "buton").output
    api.config_maps[report_name("button")] = {"data": {"report.json": '{"version": 9}'}}
    assert "cannot be read" in called("report", "button").output
