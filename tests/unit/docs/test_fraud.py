"""The page about fraud rules is true: every field is told and shown, and what is shown loads."""

import re
import subprocess
from typing import get_args

import pytest
from tests.unit.docs.fields import field_paths, is_used
from tests.unit.docs.pages import PAGES, ROOT, name_of, shown
from tests.unit.docs.test_docs import code_words

from flywheel.api.comparisons import Operator
from flywheel.api.fraudrule import FraudRuleSpec
from flywheel.api.fraudrule_match import EventType
from flywheel.api.fraudrule_status import FraudRuleStatus
from flywheel.api.fraudrule_values import ALIASES, ENTITIES, PLAIN_FIELDS
from flywheel.api.load import load_fraudrule
from flywheel.fraud.listing import read_list
from flywheel.fraud.policy import ListOf

FRAUD = ROOT / "docs/fraud.md"
SPEC_FIELDS = list(field_paths(FraudRuleSpec))
STATUS_FIELDS = list(field_paths(FraudRuleStatus))


def alike(path: str) -> str:
    """The field of the same meaning that is described: filters, conditions and times are told once."""
    path = re.sub(r"^condition\.(?:all|any)\[\]\.", "condition.", path)
    path = re.sub(r"^(?:exempt\[\]|condition\.sequence\.steps\[\])\.where\[\]\.", "match.where[].", path)
    return re.sub(r"^action\.(?:throttle|challenge)\.(for|of|scope)$", r"action.block.\1", path)


def test_every_field_of_the_spec_is_described() -> None:
    assert [path for path in SPEC_FIELDS if alike(path) not in code_words(FRAUD)] == []


def test_no_field_is_described_that_does_not_exist() -> None:
    known = {alike(path) for path in SPEC_FIELDS} | {f"status.{path}" for path in STATUS_FIELDS}
    said = {word for word in code_words(FRAUD) if re.fullmatch(r"[a-zA-Z]+(\[\])?\.[A-Za-z.\[\]]+", word)}
    of_others = re.compile(r"^(analytics|edge|properties|context|traits)\.")
    assert {word for word in said if not of_others.match(word)} - known <= {"table.yaml"}


def test_every_field_of_the_spec_is_shown_by_example() -> None:
    specs = [each["spec"] for each in shown(FRAUD, "FraudRule")]
    places = ("condition.", "condition.all[].", "condition.any[].")

    def is_shown(path: str) -> bool:
        ways = [path, alike(path)]
        ways += [re.sub(r"^condition\.(?:(?:all|any)\[\]\.)?", place, path) for place in places]
        return any(is_used(way, spec) for way in ways for spec in specs)

    assert [path for path in SPEC_FIELDS if not is_shown(path)] == []


@pytest.mark.parametrize("page", [pytest.param(page, id=name_of(page)) for page in PAGES])
def test_every_rule_that_is_shown_loads(page) -> None:
    for manifest in shown(page, "FraudRule"):
        load_fraudrule(manifest)


def test_every_field_of_the_status_is_described() -> None:
    words = {part for word in code_words(FRAUD) for part in re.findall(r"\w+", word)}
    top = [path for path in STATUS_FIELDS if "." not in path]
    assert [path for path in top if f"status.{path}" not in code_words(FRAUD)] == []
    nested = {path.rpartition(".")[2].removesuffix("[]") for path in STATUS_FIELDS if not path.startswith("conditions")}
    assert sorted(nested - words) == []


def test_every_field_of_events_operator_and_type_is_described() -> None:
    names = {*ENTITIES, *PLAIN_FIELDS, *ALIASES, *get_args(Operator), *get_args(EventType)}
    assert sorted(names - code_words(FRAUD)) == []


def test_every_condition_and_reason_is_described():
    code = (ROOT / "operator/flywheel/campaign/fraudtold.py").read_text("utf-8")
    code += (ROOT / "operator/flywheel/campaign/fraudreconcile.py").read_text("utf-8")
    code += (ROOT / "operator/flywheel/campaign/fraudtrialtold.py").read_text("utf-8")
    code += (ROOT / "operator/flywheel/campaign/fraudproof.py").read_text("utf-8")
    code += (ROOT / "operator/flywheel/campaign/fraudlists.py").read_text("utf-8")
    said = set(re.findall(r'Condition\(\s*"(\w+)"', code)) | set(re.findall(r'"(?:True|False|Unknown)", "(\w+)"', code))
    assert {"Ready", "Loaded", "Invalid"} <= said
    assert sorted(said - code_words(FRAUD)) == []


def test_the_line_that_hashes_a_list_makes_one_that_names_the_same(tmp_path):
    [line] = re.findall(r"```sh\n(while .*)\n```", FRAUD.read_text("utf-8"))
    staff = "u-1\nannemarie müller\nback\\slash\n"
    (tmp_path / "staff.txt").write_text(staff, "utf-8")
    subprocess.run(["/bin/sh", "-c", line], cwd=tmp_path, check=True)
    plain = read_list(ListOf(source="s", of="User"), staff.encode(), denies=True).packed
    hashed = read_list(
        ListOf(source="s", of="User", hashed=True), (tmp_path / "staff").read_bytes(), denies=True
    ).packed
    assert plain.hashes == hashed.hashes


def test_the_list_that_is_shown_can_be_read():
    [shown_list] = re.findall(r"```\n(# offices\.txt\n.*?)```", FRAUD.read_text("utf-8"), re.DOTALL)
    found = read_list(ListOf(source="s"), shown_list.encode(), denies=True)
    assert (found.packed.entries, found.wrong) == (3, 0)
