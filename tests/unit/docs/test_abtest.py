"""The page about tests is true: every field is told and shown, and what is shown loads."""

import re
from typing import get_args

import pytest
from tests.unit.docs.fields import field_paths, is_used
from tests.unit.docs.pages import PAGES, ROOT, name_of, shown
from tests.unit.docs.test_docs import CAMPAIGN, code_words

from flywheel.api.abtest import ABTestSpec
from flywheel.api.abtest_status import ABTestStatus
from flywheel.api.load import load_abtest
from flywheel.experiment.state import Standing

ABTEST = ROOT / "docs/abtest.md"
SPEC_FIELDS = list(field_paths(ABTestSpec))
STATUS_FIELDS = list(field_paths(ABTestStatus))
AS_OF_A_SERVICE = re.compile(r"^variants\[\]\.(?:override\.)?((?:content|podTemplate|autoscaling)\..+)$")
"""Told once, on the page about Campaigns."""
AS_OF_PRIMARY = re.compile(r"^metrics\.(?:secondary|guardrails)\[\]\.(.+)$")


def told(path: str) -> bool:
    """Whether a field is described, be it as one of the same meaning."""
    if of_service := AS_OF_A_SERVICE.match(path):
        return f"services[].{of_service[1]}" in code_words(CAMPAIGN)
    if path in code_words(ABTEST):
        return True
    of_primary = AS_OF_PRIMARY.match(path)
    return of_primary is not None and f"metrics.primary.{of_primary[1]}" in code_words(ABTEST)


def test_every_field_of_the_spec_is_described() -> None:
    assert [path for path in SPEC_FIELDS if not told(path)] == []


def test_no_field_is_described_that_does_not_exist() -> None:
    said = {word for word in code_words(ABTEST) if re.fullmatch(r"[a-z]+(\[\])?\.[A-Za-z.\[\]]+", word)}
    elsewhere = re.compile(r"^(status|services\[\]|edge|autoscaling)\.")
    assert {word for word in said if not elsewhere.match(word)} - set(SPEC_FIELDS) <= {"table.yaml"}


def test_every_field_of_the_spec_is_shown_by_example() -> None:
    specs = [each["spec"] for each in shown(ABTEST, "ABTest")]
    unused = [path for path in SPEC_FIELDS if not any(is_used(path, spec) for spec in specs)]
    # What metrics can be made of is shown once, wherever.
    metrics = [re.sub(r"^metrics\.(primary|secondary\[\]|guardrails\[\])\.", "", path) for path in unused]
    places = ("metrics.primary.", "metrics.secondary[].", "metrics.guardrails[].")
    missing = [path for path in metrics if not any(is_used(place + path, spec) for place in places for spec in specs)]
    assert [path for path in missing if not AS_OF_A_SERVICE.match(path)] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_every_test_that_is_shown_loads(page) -> None:
    for manifest in shown(page, "ABTest"):
        load_abtest(manifest)


def test_every_field_of_the_status_is_described() -> None:
    words = {part for word in code_words(ABTEST) for part in re.findall(r"\w+", word)}
    top = [path for path in STATUS_FIELDS if "." not in path]
    assert [path for path in top if f"status.{path}" not in code_words(ABTEST)] == []
    nested = {path.rpartition(".")[2].removesuffix("[]") for path in STATUS_FIELDS if not path.startswith("conditions")}
    assert sorted(nested - words) == []


def test_every_condition_reason_and_state_is_described() -> None:
    code = (ROOT / "operator/flywheel/campaign/testing.py").read_text("utf-8")
    code += (ROOT / "operator/flywheel/experiment/machine.py").read_text("utf-8")
    types = set(re.findall(r'Condition\(\s*"(\w+)"', code))
    reasons = set(re.findall(r'Condition\(\s*"\w+",\s*"\w+",\s*"(\w+)"', code))
    reasons |= set(re.findall(r'^        \("([A-Z]\w+)", ', code, re.MULTILINE))
    assert {"Ready", "Stalled", "Measured"} <= types
    assert {"InvalidTest", "NotYet", "PodsNotReady"} <= reasons
    assert sorted((types | reasons | set(get_args(Standing))) - code_words(ABTEST)) == []
