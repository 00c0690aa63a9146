"""The pages about releases and content are true: phases, reasons, gates, steps, commands and events as they are."""

import re
from typing import get_args

import pytest
from tests.unit.docs.pages import ROOT
from tests.unit.docs.test_docs import CAMPAIGN, code_words, text
from tests.unit.docs.test_measuring import CONTENT, RELEASES, code

from flywheel.api.gate_browser import STEPS
from flywheel.api.gate_values import PLACEHOLDERS
from flywheel.api.release import KINDS
from flywheel.campaign.releasetold import SAID
from flywheel.cli import main
from flywheel.edge.previewrules import HEADER
from flywheel.release.content.source import CREDENTIAL_KEYS, Reason
from flywheel.release.content.webhook import PATH
from flywheel.release.facts import ANNOTATION_PREFIX, COMMANDS
from flywheel.release.gate.measurement import Outcome
from flywheel.release.state import Phase, Verdict

RELEASE = main.commands["release"]


def headings(level: int) -> set[str]:
    return set(re.findall(rf"^{'#' * level} (.+)$", text(RELEASES), re.MULTILINE))


def test_every_phase_has_its_row_and_is_in_the_picture() -> None:
    picture = text(RELEASES).partition("```mermaid")[2].partition("```")[0]
    drawn = set(re.findall(r"\b[A-Z][A-Za-z]+\b", picture))
    rows = set(re.findall(r"`(\w+)`", "".join(re.findall(r"^\| (`.+?) \|", text(RELEASES), re.MULTILINE))))
    phases = set(get_args(Phase))
    assert sorted(phases - rows) == []
    assert sorted(phases - {"Adopting", "Aborted"} - drawn) == []


def test_every_kind_of_gate_has_its_section() -> None:
    assert sorted(set(KINDS) - headings(3)) == []


def test_every_outcome_and_verdict_is_described() -> None:
    assert sorted({each.value for each in Outcome} - code_words(RELEASES)) == []
    assert sorted(set(get_args(Verdict)) - {"Pending"} - code_words(CAMPAIGN)) == []


def test_every_step_of_a_visit_has_its_row() -> None:
    rows = re.findall(r"^\| `.+", text(RELEASES), re.MULTILINE)
    described = {step for row in rows for step in re.findall(r"`(\w+):", row.partition(" | ")[0])}
    assert sorted(set(STEPS) - described) == []


def test_every_placeholder_of_a_query_is_described() -> None:
    assert [name for name in PLACEHOLDERS if f"`{{{{{name}}}}}`" not in text(RELEASES)] == []


def test_every_variable_of_a_job_is_described() -> None:
    found = set(re.findall(r'"(FLYWHEEL_[A-Z]+)"', text(ROOT / "operator/flywheel/release/jobs.py")))
    assert "FLYWHEEL_ADDRESS" in found
    assert sorted(found - code_words(RELEASES)) == []


def test_every_reason_of_a_release_is_described() -> None:
    source = code("release")
    found = set(re.findall(r'reason="([A-Z]\w+)"', source))
    found |= set(re.findall(r'(?:fail|go_back|_ended)\([^)]*?"([A-Z]\w+)"(?:, f?"|, \w|\))', source))
    assert {"PreviewNotReady", "NoCapacity", "GateFailed", "PodsLost", "GroupReturned", "EdgeFollowing"} <= found
    assert sorted(found - code_words(CAMPAIGN)) == []


def test_every_reason_why_content_is_not_known_is_described() -> None:
    obstacles = set(re.findall(r'reason="([A-Z]\w+)"', text(ROOT / "operator/flywheel/campaign/releasing.py")))
    assert "ConfigurationMissing" in obstacles
    assert sorted((obstacles | set(get_args(Reason))) - code_words(CAMPAIGN)) == []


def test_every_event_of_a_release_is_described() -> None:
    verdicts = {f"Gate{each}" for each in get_args(Verdict)} - {"GatePending", "GateRunning"}
    assert sorted({*SAID.values(), "Released", *verdicts} - code_words(CAMPAIGN)) == []


@pytest.mark.parametrize("command", sorted(RELEASE.commands))
def test_every_command_is_described_with_its_options(command: str) -> None:
    page = text(RELEASES)
    assert f"`flywheel release {command} CAMPAIGN" in page
    options = {max(each.opts, key=len) for each in RELEASE.commands[command].params if each.opts[0].startswith("-")}
    assert sorted(options - set(re.findall(r"--[a-z-]+", page))) == []


def test_every_annotation_is_described() -> None:
    words = {each.partition("=")[0] for each in code_words(RELEASES)}
    assert sorted({ANNOTATION_PREFIX + each for each in COMMANDS} - words) == []


def test_every_command_that_is_named_exists() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md"]
    named = {name for page in pages for name in re.findall(r"flywheel release ([a-z]+)\b", text(page))}
    assert sorted(named - RELEASE.commands.keys()) == []


def test_headers_paths_and_keys_are_those_of_the_code() -> None:
    assert HEADER in text(RELEASES)
    assert f"POST {PATH}" in text(CONTENT)
    assert sorted(set(CREDENTIAL_KEYS) - code_words(CONTENT)) == []
