"""crds/: the rules of structural schemas, bounds for CEL's cost, a description on every field, and freshness."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client

from flywheel.api.definition import abtest_definition, campaign_definition, definitions, fraudrule_definition
from flywheel.api.generate import main, rendered, stale
from flywheel.api.model import Model
from flywheel.api.schema import UnsupportedSchema, structural_schema

CRDS = Path(__file__).parents[3] / "crds"
ALLOWED = {
    "description",
    "type",
    "format",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "required",
    "properties",
    "items",
    "additionalProperties",
    "anyOf",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
}
Node = tuple[str, dict[str, Any]]


def walk(schema: dict[str, Any], path: str) -> Iterator[Node]:
    yield path, schema
    for name, value in schema.get("properties", {}).items():
        yield from walk(value, f"{path}.{name}")
    if "items" in schema:
        yield from walk(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from walk(schema["additionalProperties"], f"{path}[*]")


KINDS = {each["spec"]["names"]["kind"]: each for each in definitions().values()}
NODES = {
    path: node
    for kind, definition in KINDS.items()
    for path, node in walk(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"], kind)
}
# The API server bounds what is its own.
OURS = {path: node for path, node in NODES.items() if re.search(r"\.(spec|status)\b", path)}


def test_there_is_something_to_walk() -> None:
    assert len(NODES) > 500
    assert {"Campaign.spec.services[].autoscaling.max", "ABTest.spec.variants[].override.podTemplate.spec"} <= set(
        NODES
    )


def test_only_words_of_structural_schemas_are_used() -> None:
    assert {path: set(node) - ALLOWED for path, node in NODES.items() if set(node) - ALLOWED} == {}


def test_everything_has_a_type_and_unions_are_integers_or_text() -> None:
    for path, node in NODES.items():
        either = node.get("x-kubernetes-int-or-string", False)
        assert ("type" in node) != either, path
        assert ("anyOf" in node) == either, path
        if either:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path


def test_properties_and_maps_do_not_mix() -> None:
    assert [path for path, node in NODES.items() if "properties" in node and "additionalProperties" in node] == []


def test_every_list_map_and_text_is_bounded() -> None:
    unbounded = [
        path
        for path, node in OURS.items()
        if (node.get("type") == "array" and "maxItems" not in node)
        or ("additionalProperties" in node and "maxProperties" not in node)
        or (node.get("type") == "string" and "maxLength" not in node and "enum" not in node)
        or (node.get("type") == "integer" and ".spec" in path and not {"minimum", "maximum"} <= set(node))
    ]
    assert unbounded == []


def test_every_field_is_described() -> None:
    silent = [path for path, node in OURS.items() if not path.endswith(("[]", "[*]")) and not node.get("description")]
    assert silent == []


def test_nothing_is_written_into_peoples_objects() -> None:
    assert [path for path, node in NODES.items() if "default" in node] == []


def test_the_keys_of_list_maps_are_required_scalars() -> None:
    for path, node in NODES.items():
        for key in node.get("x-kubernetes-list-map-keys", []):
            assert node["x-kubernetes-list-type"] == "map"
            assert key in node["items"]["required"], path
            assert node["items"]["properties"][key]["type"] == "string", path


def test_status_lists_can_be_applied_by_several_writers() -> None:
    for kind in KINDS:
        assert NODES[f"{kind}.status.conditions"]["x-kubernetes-list-map-keys"] == ["type"]
    for path in ("Campaign.status.services", "ABTest.status.variants", "ABTest.status.checks.guardrails"):
        assert NODES[path]["x-kubernetes-list-map-keys"] == ["name"]
    assert NODES["Campaign.status.inventory.entries"].get("x-kubernetes-list-type", "atomic") == "atomic"


def test_every_rule_has_words_and_names_a_field_that_exists() -> None:
    rules = [(path, rule) for path, node in NODES.items() for rule in node.get("x-kubernetes-validations", [])]
    assert len(rules) > 30
    for path, rule in rules:
        assert len(rule["message"]) > 15, path
        assert "\n" not in rule["message"] + rule["rule"], path
        assert path + rule.get("fieldPath", "") in NODES, (path, rule)


def test_only_fields_of_kubernetes_own_shape_and_our_own_record_escape_the_schema() -> None:
    loose = {path for path, node in NODES.items() if node.get("x-kubernetes-preserve-unknown-fields")}
    assert {
        path for path in loose if not re.search(r"\.(podTemplate\.spec|podSpec|affinity|status\.record)\b", path)
    } == set()


def test_patterns_are_of_the_kind_that_the_api_server_reads() -> None:
    for path, node in NODES.items():
        pattern = node.get("pattern", "")
        re.compile(pattern)
        assert not re.search(r"\(\?|\\[1-9dwsDWSbB]", pattern), path


@pytest.mark.parametrize("definition", KINDS.values(), ids=KINDS)
def test_the_definition_survives_the_kubernetes_client(definition: dict[str, Any]) -> None:
    read = client.V1CustomResourceDefinition.from_dict(definition)
    assert read
    assert without_empty(json.loads(read.to_json())) == without_empty(json.loads(json.dumps(definition)))


def without_empty(value: Any) -> Any:
    """The client writes what is absent as null."""
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if item is not None}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("definition", "short_name", "shown"),
    [
        (campaign_definition(), "cmp", ["Stage", "Ready", "Starts", "Ends", "Next", "Goal", "Age"]),
        (abtest_definition(), "abt", ["Campaign", "Service", "State", "Verdict", "Visitors", "Age"]),
        (fraudrule_definition(), "frule", ["Mode", "Loaded", "Hits", "Blocked", "Precision", "Age"]),
    ],
    ids=["Campaign", "ABTest", "FraudRule"],
)
def test_the_names_and_columns_people_use(definition: dict[str, Any], short_name: str, shown: list[str]) -> None:
    spec = definition["spec"]
    assert (spec["names"]["shortNames"], spec["names"]["categories"]) == ([short_name], ["flywheel"])
    version = spec["versions"][0]
    assert version["subresources"] == {"status": {}}
    columns = {column["name"]: column.get("priority", 0) for column in version["additionalPrinterColumns"]}
    assert [name for name, priority in columns.items() if not priority] == shown
    assert columns["Reason"] == 1


def test_every_column_shows_a_field_that_exists() -> None:
    for kind, definition in KINDS.items():
        for column in definition["spec"]["versions"][0]["additionalPrinterColumns"]:
            path = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"])
            assert path.startswith(".metadata") or kind + path in NODES, column


def test_crds_are_fresh() -> None:
    assert stale(CRDS) == [], "run `make crds` and commit the result"


def test_generating_is_repeatable_and_the_check_notices(tmp_path: Path) -> None:
    assert rendered() == rendered()
    directory = tmp_path / "crds"
    assert main(["--check", str(directory)]) == 1
    assert main([str(directory)]) == 0
    assert main(["--check", str(directory)]) == 0
    for name, definition in definitions().items():
        assert yaml.safe_load((directory / name).read_text("utf-8")) == definition
    written = directory / "flywheel.dev_campaigns.yaml"
    written.write_text(written.read_text("utf-8").replace("maxItems: 32", "maxItems: 33", 1), "utf-8")
    assert main(["--check", str(directory)]) == 1
    assert main([str(directory)]) == 0
    (directory / "old.yaml").write_text("", "utf-8")
    assert stale(directory) == ["old.yaml"]


class Endless(Model):
    inner: "Endless | None" = None


class Either(Model):
    value: int | str


@pytest.mark.parametrize("model", [Endless, Either])
def test_models_that_no_structural_schema_describes_are_refused(model: type[Model]) -> None:
    with pytest.raises(UnsupportedSchema):
        structural_schema(model)
