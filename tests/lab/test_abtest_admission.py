"""Good ABTests are taken and bad ones refused by a real API server, with the field and the remedy in the message."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.bad_abtests.table import BASES, BadTest, bad_abtests, good_abtest, whole_status
from tests.bad_campaigns.table import as_yaml, changed
from tests.lab.cluster.client import Cluster, CommandFailedError
from tests.lab.objects import Objects
from tests.lab.steps import eventually

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/abtest*.yaml"))
BAD = bad_abtests()
AT_ADMISSION = [bad for bad in BAD if bad.refused == "admission"]
BY_OPERATOR = [bad for bad in BAD if bad.refused == "operator"]


@pytest.fixture(scope="module")
def abtests(cluster: Cluster, definition: None) -> Cluster:
    """The cluster with the definition of ABTests, whose CEL rules it found cheap enough."""
    return cluster


@pytest.fixture(scope="module")
def objects(abtests: Cluster) -> Objects:
    """The API server without kubectl."""
    return Objects(abtests.kubeconfig, "default")


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_test_is_refused_with_field_and_remedy(objects: Objects, bad: BadTest) -> None:
    said = objects.refusal(bad.manifest, applied=False)
    assert said
    assert [fragment for fragment in (bad.path, *bad.admission) if fragment not in said] == [], said


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_test_is_refused_by_server_side_apply(objects: Objects, bad: BadTest) -> None:
    said = objects.refusal(bad.manifest, applied=True)
    # Server-side apply compares types before the schema is asked, and names items by their keys instead of numbers.
    field = bad.path.rpartition(".")[2].partition("[")[0]
    assert field in said


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_what_only_the_operator_can_know_is_taken(objects: Objects, bad: BadTest) -> None:
    assert objects.refusal(bad.manifest, applied=False) == ""


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("command", [("create",), ("apply", "--server-side")], ids=" ".join)
def test_a_good_test_is_taken(abtests: Cluster, command: tuple[str, ...], base: str) -> None:
    abtests.kubectl(*command, "--dry-run=server", "--filename=-", input=as_yaml(good_abtest(base)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_taken(abtests: Cluster, path: Path) -> None:
    written = [each for each in path.read_text("utf-8").split("\n---\n") if "kind: ABTest" in each]
    assert written
    for text in written:
        abtests.kubectl("apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", input=text)


def test_nothing_is_written_into_a_test(abtests: Cluster) -> None:
    manifest = good_abtest()
    said = abtests.kubectl("create", "--dry-run=server", "--output=json", "--filename=-", input=as_yaml(manifest))
    assert json.loads(said)["spec"] == manifest["spec"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"set": {"spec.campaign": "yougou-1111"}}, "campaign cannot be changed"),
        ({"set": {"spec.service": "pages"}}, "service cannot be changed"),
        ({"set": {"spec.salt": "another"}}, "salt cannot be added, changed or removed"),
        ({"remove": ["spec.salt"]}, "salt cannot be added, changed or removed"),
        ({"set": {"spec.traffic": "80%", "spec.suspend": True, "spec.decision.promote": "Never"}}, ""),
    ],
    ids=str,
)
def test_what_visitors_were_assigned_by_stays(
    abtests: Cluster, namespace: str, change: dict[str, Any], words: str
) -> None:
    abtests.kubectl("create", "-n", namespace, "-f", "-", input=as_yaml(good_abtest()))
    replaced = as_yaml(changed(good_abtest(), change))
    try:
        abtests.kubectl("replace", "-n", namespace, "--dry-run=server", "-f", "-", input=replaced)
        said = ""
    except CommandFailedError as error:
        said = str(error)
    assert words in said
    assert bool(words) == bool(said)


def test_a_salt_cannot_come_later(abtests: Cluster, namespace: str) -> None:
    abtests.kubectl("create", "-n", namespace, "-f", "-", input=as_yaml(good_abtest("small")))
    with pytest.raises(CommandFailedError, match="salt cannot be added"):
        abtests.kubectl(
            "patch", "abt", "short-page", "-n", namespace, "--type=merge", '--patch={"spec":{"salt":"late"}}'
        )


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("abtest.spec", ["campaign", "-required-", "Default 100%", "never share a visitor"]),
        ("abtest.spec.variants", ["Exactly one variant is the control", "at most two decimals"]),
        ("abtest.spec.metrics.guardrails", ["in percentage points", "always relative"]),
        ("abtest.spec.decision", ["Default 24h", "Default 14d"]),
        ("abtest.status.decision", ["KeepControl", "StoppedByGuardrail"]),
    ],
)
def test_explain_reads_like_documentation(abtests: Cluster, field: str, words: list[str]) -> None:
    def explained() -> str:
        return " ".join(abtests.kubectl("explain", field, check=False).split())

    # The API server publishes the documentation of a new definition a little after the definition itself.
    eventually(lambda: [each for each in words if each not in explained()], [])
    assert "<no description>" not in explained()


def test_people_find_tests_by_short_name_and_category(abtests: Cluster, namespace: str) -> None:
    abtests.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_abtest()))
    for name in ("abt", "abtests.flywheel.dev", "flywheel"):
        head, row = abtests.kubectl("get", name, "-n", namespace).splitlines()
        assert head.split() == ["NAME", "CAMPAIGN", "SERVICE", "STATE", "VERDICT", "VISITORS", "AGE"]
        found, *columns = row.split()
        # Of several kinds kubectl names the kind as well.
        assert found.rpartition("/")[2] == "green-button"
        assert columns[:2] == ["yougou-618", "landing"]


def test_the_status_that_the_operator_writes_is_kept_whole(abtests: Cluster, namespace: str) -> None:
    abtests.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_abtest()))
    status = whole_status()
    patch = json.dumps({"status": status})
    arguments = ("-n", namespace, "--subresource=status", "--type=merge", f"--patch={patch}", "--output=json")
    assert json.loads(abtests.kubectl("patch", "abt", "green-button", *arguments))["status"] == status
