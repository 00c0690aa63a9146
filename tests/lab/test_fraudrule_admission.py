"""Good FraudRules are taken and bad ones refused by a real API server, with the field and the remedy in the message."""

import json
from pathlib import Path

import pytest
from tests.bad_campaigns.table import as_yaml
from tests.bad_fraudrules.table import BASES, BadRule, bad_fraudrules, good_fraudrule, whole_status
from tests.lab.cluster.client import Cluster
from tests.lab.objects import Objects
from tests.lab.steps import eventually

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*/fraudrules*.yaml"))
BAD = bad_fraudrules()
AT_ADMISSION = [bad for bad in BAD if bad.refused == "admission"]
BY_OPERATOR = [bad for bad in BAD if bad.refused == "operator"]


@pytest.fixture(scope="module")
def fraudrules(cluster: Cluster, definition: None) -> Cluster:
    """The cluster with the definition of FraudRules, whose CEL rules it found cheap enough."""
    return cluster


@pytest.fixture(scope="module")
def objects(fraudrules: Cluster) -> Objects:
    """The API server without kubectl."""
    return Objects(fraudrules.kubeconfig, "default")


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_rule_is_refused_with_field_and_remedy(objects: Objects, bad: BadRule) -> None:
    said = objects.refusal(bad.manifest, applied=False)
    assert said
    assert [fragment for fragment in (bad.path, *bad.admission) if fragment not in said] == [], said


@pytest.mark.parametrize("bad", AT_ADMISSION, ids=lambda bad: bad.name)
def test_a_bad_rule_is_refused_by_server_side_apply(objects: Objects, bad: BadRule) -> None:
    said = objects.refusal(bad.manifest, applied=True)
    # Server-side apply compares types before the schema is asked, and names items by their keys instead of numbers.
    field = bad.path.rpartition(".")[2].partition("[")[0]
    assert field in said


@pytest.mark.parametrize("bad", BY_OPERATOR, ids=lambda bad: bad.name)
def test_what_only_the_operator_can_know_is_taken(objects: Objects, bad: BadRule) -> None:
    assert objects.refusal(bad.manifest, applied=False) == ""


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("command", [("create",), ("apply", "--server-side")], ids=" ".join)
def test_a_good_rule_is_taken(fraudrules: Cluster, command: tuple[str, ...], base: str) -> None:
    fraudrules.kubectl(*command, "--dry-run=server", "--filename=-", input=as_yaml(good_fraudrule(base)))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.parent.name)
def test_the_examples_are_taken(fraudrules: Cluster, path: Path) -> None:
    written = [each for each in path.read_text("utf-8").split("\n---\n") if "kind: FraudRule" in each]
    assert written
    for text in written:
        fraudrules.kubectl(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename=-", input=text
        )


@pytest.mark.parametrize("base", BASES)
def test_nothing_is_written_into_a_rule(fraudrules: Cluster, base: str) -> None:
    manifest = good_fraudrule(base)
    said = fraudrules.kubectl("create", "--dry-run=server", "--output=json", "--filename=-", input=as_yaml(manifest))
    assert json.loads(said)["spec"] == manifest["spec"]


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("fraudrule.spec", ["condition", "-required-", "Shadow (default)", "is not judged, and counted as such"]),
        ("fraudrule.spec.match.where", ["Default: Number where the values are written as numbers", "InRange"]),
        ("fraudrule.spec.condition", ["all of these at once", "more accounts hang together"]),
        ("fraudrule.spec.action.block", ["-required-", "How long it holds", "Default 403"]),
        ("fraudrule.status.precision", ["interval", "Labels that it is made of"]),
    ],
)
def test_explain_reads_like_documentation(fraudrules: Cluster, field: str, words: list[str]) -> None:
    def explained() -> str:
        return " ".join(fraudrules.kubectl("explain", field, check=False).split())

    # The API server publishes the documentation of a new definition a little after the definition itself.
    eventually(lambda: [each for each in words if each.lower() not in explained().lower()], [])
    assert "<no description>" not in explained()


def test_people_find_rules_by_short_name_and_category(fraudrules: Cluster, namespace: str) -> None:
    fraudrules.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_fraudrule()))
    for name in ("frule", "fraudrules.flywheel.dev", "flywheel"):
        head, row = fraudrules.kubectl("get", name, "-n", namespace).splitlines()
        assert head.split() == ["NAME", "MODE", "LOADED", "HITS", "BLOCKED", "PRECISION", "AGE"]
        # Of several kinds kubectl names the kind as well.
        assert row.split()[0].rpartition("/")[2] == "coupon-burst"


def test_the_status_that_is_written_is_kept_whole_and_shown(fraudrules: Cluster, namespace: str) -> None:
    fraudrules.kubectl("apply", "--server-side", "-n", namespace, "-f", "-", input=as_yaml(good_fraudrule()))
    status = whole_status()
    patch = json.dumps({"status": status})
    arguments = ("-n", namespace, "--subresource=status", "--type=merge", f"--patch={patch}", "--output=json")
    assert json.loads(fraudrules.kubectl("patch", "frule", "coupon-burst", *arguments))["status"] == status
    _, row = fraudrules.kubectl("get", "frule", "-n", namespace).splitlines()
    assert row.split()[:6] == ["coupon-burst", "Enforce", "True", "10504", "9412", "96.4%"]
