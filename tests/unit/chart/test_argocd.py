"""Health and actions for Argo CD: the scripts are run, from the files that its own test runner reads."""

import pytest
import yaml
from deploy.generate import CUSTOMIZATIONS, argocd_settings
from tests.unit.chart.lua import run, run_action

CAMPAIGN = CUSTOMIZATIONS / "flywheel.dev" / "Campaign"
ACTIONS = CAMPAIGN / "actions"
NAMES = ("suspend", "resume", "promote", "abort", "retry", "rollback")
HEALTH_TESTS = yaml.safe_load((CAMPAIGN / "health_test.yaml").read_text())["tests"]
ACTION_TESTS = yaml.safe_load((ACTIONS / "action_test.yaml").read_text())
[SETTINGS] = [yaml.safe_load(text) for text in argocd_settings().values()]


def by_input(tests):
    return pytest.mark.parametrize("test", tests, ids=lambda test: test["inputPath"].removeprefix("testdata/"))


@by_input(HEALTH_TESTS)
def test_health(test):
    campaign = yaml.safe_load((CAMPAIGN / test["inputPath"]).read_text())
    assert run((CAMPAIGN / "health.lua").read_text(), campaign) == test["healthStatus"]


def test_every_health_that_a_campaign_can_have_is_tested():
    assert {test["healthStatus"]["status"] for test in HEALTH_TESTS} == {
        "Progressing",
        "Healthy",
        "Suspended",
        "Degraded",
    }
    assert {test["inputPath"] for test in HEALTH_TESTS} == {
        f"testdata/{path.name}" for path in (CAMPAIGN / "testdata").iterdir()
    }


@by_input(ACTION_TESTS["discoveryTests"])
def test_actions_on_offer(test):
    campaign = yaml.safe_load((ACTIONS / test["inputPath"]).read_text())
    offered = run((ACTIONS / "discovery.lua").read_text(), campaign)
    assert [{"name": name, **offered[name]} for name in NAMES] == test["result"]
    assert len(offered) == len(list(ACTIONS.glob("*/action.lua")))


@pytest.mark.parametrize("test", ACTION_TESTS["actionTests"], ids=lambda test: f"{test['action']}-{test['inputPath']}")
def test_actions(test):
    before, after = (yaml.safe_load((ACTIONS / test[key]).read_text()) for key in ("inputPath", "expectedOutputPath"))
    assert run_action((ACTIONS / test["action"] / "action.lua").read_text(), before) == after


def test_the_settings_for_argocd_hold_the_same_scripts():
    data = SETTINGS["data"]
    assert data["resource.customizations.health.flywheel.dev_Campaign"] == (CAMPAIGN / "health.lua").read_text()
    actions = yaml.safe_load(data["resource.customizations.actions.flywheel.dev_Campaign"])
    assert actions["discovery.lua"] == (ACTIONS / "discovery.lua").read_text()
    assert {each["name"]: each["action.lua"] for each in actions["definitions"]} == {
        path.parent.name: path.read_text() for path in ACTIONS.glob("*/action.lua")
    }


def test_the_runner_has_no_more_libraries_than_argocd():
    present = run("return {string = string ~= nil, os = os ~= nil, table = table ~= nil, ipairs = ipairs ~= nil}", {})
    assert present == {"string": False, "os": False, "table": True, "ipairs": True}
    with pytest.raises(Exception, match="attempt to index"):
        run('return ("x"):upper()', {})
