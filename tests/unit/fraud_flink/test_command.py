"""`flywheel fraud flink`, as a person calls it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from flywheel.api.load import load_fraudrule
from flywheel.cli import main
from flywheel.fraud.compiling import rule_of
from flywheel.fraud.flink_manifests import LONGEST_NAME, name_of
from flywheel.fraud.flink_topics import Topics, problems

RULE: dict[str, Any] = {
    "apiVersion": "flywheel.dev/v1alpha1",
    "kind": "FraudRule",
    "metadata": {"name": "device-farm", "namespace": "marketing"},
    "spec": {
        "campaign": "yougou-618",
        "match": {"event": "Coupon Claimed"},
        "key": ["device"],
        "window": "10m",
        "condition": {"distinct": {"field": "user", "moreThan": 5}},
        "action": {"block": {"for": "30m", "scope": ["/coupon"]}},
        "engine": "Flink",
    },
}
KAFKA = ("--kafka", "kafka:9092")
RUN = ("--deployment", "--image", "shop/flink:2.3-kafka", "--directory", "s3://flink/rules")


def called(directory: Path, *arguments: str, rule: dict[str, Any] = RULE, **spec: Any) -> Result:
    file = directory / "rule.yaml"
    file.write_text(yaml.safe_dump({**rule, "spec": {**rule["spec"], **spec}}))
    return CliRunner().invoke(main, ["fraud", "flink", str(file), *arguments])


def objects(directory: Path, *arguments: str, **spec: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    done = called(directory, *KAFKA, *RUN, *arguments, **spec)
    assert done.exit_code == 0, done.output
    sql, deployment = yaml.safe_load_all(done.output)
    return sql, deployment


def test_the_sql_reads_the_campaigns_events_and_writes_its_verdicts(tmp_path: Path) -> None:
    done = called(tmp_path, *KAFKA)
    assert done.exit_code == 0, done.output
    assert "'topic' = 'flywheel.marketing.yougou-618.events'" in done.output
    assert "'topic' = 'flywheel.marketing.yougou-618.verdicts'" in done.output
    assert "'properties.bootstrap.servers' = 'kafka:9092'" in done.output
    assert f"SELECT 'device-farm', '{rule_of(load_fraudrule(RULE)).version}'" in done.output
    assert done.output.count("INSERT INTO") == 1, "one job is all that a FlinkDeployment runs"
    assert done.output.rstrip().endswith(";")


def test_a_rule_of_many_campaigns_is_read_from_the_one_that_is_named(tmp_path: Path) -> None:
    spec = {key: value for key, value in RULE["spec"].items() if key != "campaign"}
    rule = {**RULE, "spec": {**spec, "selector": {"matchLabels": {"season": "sale"}}}}
    assert "say with --campaign" in called(tmp_path, *KAFKA, rule=rule).output
    done = called(tmp_path, *KAFKA, "--campaign", "double-11", "-n", "sale", "--topic-prefix", "shop", rule=rule)
    assert "'shop.sale.double-11.events'" in done.output
    assert "not double-11" in called(tmp_path, *KAFKA, "--campaign", "double-11").output


def test_the_deployment_runs_what_the_config_map_says(tmp_path: Path) -> None:
    sql, deployment = objects(tmp_path, "--parallelism", "4")
    spec = deployment["spec"]
    assert sql["data"]["rule.sql"] == called(tmp_path, *KAFKA).output
    assert sql["immutable"] is True
    (volume,) = spec["podTemplate"]["spec"]["volumes"]
    assert volume["configMap"]["name"] == sql["metadata"]["name"]
    (container,) = spec["podTemplate"]["spec"]["containers"]
    assert spec["job"]["args"] == ["--scriptUri", f"file://{container['volumeMounts'][0]['mountPath']}/rule.sql"]
    assert spec["job"]["upgradeMode"] == "savepoint"
    assert spec["job"]["parallelism"] == 4
    assert "jarURI" not in spec["job"]
    assert spec["mode"] == "standalone", "only that starts a class without a jar"
    home = "s3://flink/rules/marketing/fraud-device-farm"
    assert spec["flinkConfiguration"]["execution.checkpointing.savepoint-dir"] == f"{home}/savepoints"


def test_pods_are_restricted(tmp_path: Path) -> None:
    pod = objects(tmp_path)[1]["spec"]["podTemplate"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    (container,) = pod["containers"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}


def test_only_another_rule_is_another_config_map(tmp_path: Path) -> None:
    names = [
        objects(tmp_path, **spec)[0]["metadata"]["name"]
        for spec in ({}, {"mode": "Enforce"}, {"condition": {"distinct": {"field": "user", "moreThan": 6}}})
    ]
    assert names[0] == names[1], "how it is enforced is not in the SQL"
    assert names[0] != names[2]


def test_our_operator_does_not_take_them_for_its_own(tmp_path: Path) -> None:
    for each in objects(tmp_path):
        assert not {"app.kubernetes.io/managed-by", "flywheel.dev/campaign"} & each["metadata"]["labels"].keys()


@pytest.mark.parametrize("rule", ["a", "a" * 50, "a" * 35 + "-" * 14 + "b", "x" * 39, "x" * 40])
def test_names_are_those_of_a_flink_deployment(rule: str) -> None:
    assert re.fullmatch(r"[a-z]([-a-z\d]{0,43}[a-z\d])?", name_of(rule))
    assert len(name_of(rule)) <= LONGEST_NAME
    assert name_of(rule) != name_of(rule + "c")


BAD: dict[str, tuple[tuple[str, ...], dict[str, Any], str]] = {
    "linked": (
        (),
        {
            "engine": "Embedded",
            "condition": {"linked": {"accounts": "user", "through": "device", "moreThan": 3}},
        },
        "spec.condition.linked: this cannot be said in Flink SQL",
    ),
    "exemptions": (
        (),
        {"exempt": [{"where": [{"field": "user", "operator": "Exists"}]}]},
        "spec.exempt: whoever reads the verdicts has no events",
    ),
    "lists": ((), {"lists": {"deny": [{"configMap": "fraud", "key": "proxies.txt"}]}}, "spec.lists.deny: the SQL"),
    "an unknown field": ((), {"windows": "10m"}, "no valid FraudRule"),
    "no image": (("--deployment", "--directory", "s3://a/b"), {}, "image: name an image of Flink 2.3"),
    "no directory": (("--deployment", "--image", "a"), {}, "directory: it must be a URI"),
    "a directory of the pod": (
        ("--deployment", "--image", "a", "--directory", "file:///tmp"),
        {},
        "file: is a directory of each pod alone",
    ),
    "a secret": (
        ("--kafka-property", "sasl.jaas.config=login password=x"),
        {},
        "sasl.jaas.config: this is a secret",
    ),
    "what is ours": (("--kafka-property", "group.id=x"), {}, "group.id: this is set here"),
    "no property": (("--kafka-property", "acks"), {}, "'acks' is not KEY=VALUE"),
    "a bad prefix": (("--topic-prefix", "a b"), {}, "is no name"),
}


@pytest.mark.parametrize(("arguments", "spec", "why"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_refused_with_the_reason(
    tmp_path: Path, arguments: tuple[str, ...], spec: dict[str, Any], why: str
) -> None:
    done = called(tmp_path, *KAFKA, *arguments, **spec)
    assert done.exit_code != 0
    assert why in done.output
    assert "Traceback" not in done.output
    assert "CREATE" not in done.output


@pytest.mark.parametrize(
    "content", ["", "a: [", "kind: Campaign\n", "- 1\n", "kind: FraudRule\n---\nkind: FraudRule\n"]
)
def test_a_file_without_one_rule_is_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "rule.yaml"
    file.write_text(content)
    done = CliRunner().invoke(main, ["fraud", "flink", str(file), *KAFKA])
    assert done.exit_code == 1
    assert str(file) in done.output


def test_secrets_may_be_named() -> None:
    assert problems({"sasl.jaas.config": "${env:KAFKA_LOGIN}", "security.protocol": "SASL_SSL"}) == ()
    named = Topics("k:9092", "n", "c", properties={"sasl.jaas.config": "${env:KAFKA_LOGIN}"})
    for each in (named.source("r"), named.sink()):
        assert ("properties.sasl.jaas.config", "${env:KAFKA_LOGIN}") in each.options
        assert "'properties.sasl.jaas.config' = U&'" in each.written()
