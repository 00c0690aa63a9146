"""What is derived is fresh, and is what it was derived from."""

import re

import yaml
from deploy.generate import NAMESPACE, ROOT, argocd_settings, definitions, manifests, stale
from tests.unit.chart.rendering import CASES, helm, objects, of_kind, one
from tests.unit.chart.shapes import findings

from flywheel.runtime.metrics import Metrics

CRD = "CustomResourceDefinition"
KINDS = {
    each["metadata"]["name"]: each
    for each in (yaml.safe_load(path.read_text()) for path in (ROOT / "crds").glob("*.yaml"))
}


def test_nothing_is_stale():
    names = [str(path.relative_to(ROOT)) for path in stale(definitions() | manifests() | argocd_settings())]
    assert names == [], "run `make crds` and commit what it writes"


def test_a_difference_is_found(tmp_path):
    same, changed, missing = (tmp_path / name for name in ("same", "changed", "missing"))
    same.write_text("a")
    changed.write_text("a")
    assert stale({same: "a", changed: "b", missing: "c"}) == [changed, missing]


def test_templating_leaves_the_definitions_as_they_were_generated():
    rendered = {each["metadata"]["name"]: each for each in of_kind(objects(crds=True), CRD)}
    assert rendered.keys() == KINDS.keys()
    for name, definition in rendered.items():
        assert definition["spec"] == KINDS[name]["spec"]
        assert findings(definition) == []


def test_the_chart_names_every_definition_that_it_brings():
    annotations = yaml.safe_load((ROOT / "charts/flywheel/Chart.yaml").read_text())["annotations"]
    named = [each["name"] for each in yaml.safe_load(annotations["artifacthub.io/crds"])]
    assert sorted(named) == sorted(KINDS)


def test_definitions_stay_after_an_uninstall_unless_told_otherwise():
    def policies(values):
        found = [each["metadata"].get("annotations", {}) for each in of_kind(objects(values, crds=True), CRD)]
        return {each.get("helm.sh/resource-policy") for each in found}

    assert policies({}) == {"keep"}
    assert policies({"crds": {"keep": False}}) == {None}
    assert of_kind(objects({"crds": {"install": False}}, crds=True), CRD) == []


def test_the_plain_manifests_are_the_chart_without_helm():
    [text] = manifests().values()
    plain = list(yaml.safe_load_all(text))
    rendered = [each for each in objects(crds=True) if "helm.sh/hook" not in each["metadata"].get("annotations", {})]

    def key(each):
        return each["kind"], each["metadata"]["name"], each["metadata"].get("namespace")

    assert {key(each) for each in plain} - {key(each) for each in rendered} == {("Namespace", NAMESPACE, None)}
    assert {key(each) for each in rendered} <= {key(each) for each in plain}
    assert not re.search(r"helm", re.sub(r"^# Generated.*$", "", text, flags=re.MULTILINE), re.IGNORECASE)
    for each in plain:
        twin = next((other for other in rendered if key(other) == key(each)), {"spec": None})
        kept = {name: value for name, value in each.items() if name not in {"metadata", "spec"}}
        assert kept.items() <= twin.items() or each["kind"] == "Namespace"
        assert findings(each) == []


def test_every_alert_asks_for_a_figure_that_the_operator_gives():
    metrics = Metrics()
    metrics.follow_queue(lambda: 0, lambda: 0)
    metrics.follow_objects(lambda: 0, lambda: 0, lambda: 0)
    metrics.follow_rules(tuple)
    given = {metric.name for metric in metrics.registry.collect()}
    rules = one(objects(CASES["everything"]), "PrometheusRule")["spec"]["groups"][0]["rules"]
    asked = {name for rule in rules for name in re.findall(r"flywheel_\w+", rule["expr"])}
    assert asked
    assert {re.sub(r"_(bucket|count|total)$", "", name) for name in asked} <= given


def test_notes_say_what_to_do_next_and_before_the_end():
    def notes(values):
        said = helm("install", "flywheel", str(ROOT / "charts/flywheel"), "--dry-run=client", values=values)
        assert isinstance(said, str), said
        return said.partition("\nNOTES:\n")[2]

    default = notes({})
    [smallest] = re.findall(r"<<EOF\n(.+?)^EOF$", default, re.DOTALL | re.MULTILINE)
    assert yaml.safe_load(smallest)["kind"] == "Campaign"
    assert "kubectl delete campaigns.flywheel.dev --all-namespaces --all" in default
    assert '{"metadata":{"finalizers":null}}' in default
    assert "refuses while there are Campaigns" in default
    assert "will not ask" in notes({"uninstall": {"force": True}})
    assert "kubectl --namespace mall delete campaigns.flywheel.dev --all" in notes(CASES["namespaced"])
    assert "kubectl delete crd" not in notes({"crds": {"keep": False}})
