"""values.schema.json: what is refused, and that nothing is left unsaid."""

import json

import jsonschema
import pytest
import yaml
from deploy.generate import CHART
from tests.unit.chart.rendering import CASES, helm, refusal

SCHEMA = json.loads((CHART / "values.schema.json").read_text())
VALUES = yaml.safe_load((CHART / "values.yaml").read_text())
KUBERNETES_SHAPES = {
    "#/$defs/kubernetesObject",
    "#/properties/global",
    "#/properties/podSecurityContext",
    "#/properties/securityContext",
}


def objects_in(schema, path="#"):
    """Yield every part of the schema that describes an object, with its path."""
    if isinstance(schema, dict):
        if "object" in schema.get("type", ()):
            yield path, schema
        for key, value in schema.items():
            yield from objects_in(value, f"{path}/{key}")


def keys_of(schema, values, path=""):
    """Yield (path, keys in the schema, keys in the values) of every object of both."""
    if "properties" in schema and isinstance(values, dict):
        yield path, set(schema["properties"]), set(values)
        for key, value in values.items():
            yield from keys_of(schema["properties"].get(key, {}), value, f"{path}.{key}")


def test_the_schema_itself_is_well_formed():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_no_object_takes_keys_that_are_not_described():
    open_objects = {path for path, schema in objects_in(SCHEMA) if schema.get("additionalProperties", True) is True}
    assert open_objects == KUBERNETES_SHAPES


def test_the_schema_and_the_default_values_name_the_same_keys():
    without_default = {
        "": {"global"},
        ".resources": {"claims"},
        ".affinity": {"nodeAffinity", "podAffinity", "podAntiAffinity"},
    }
    for path, described, given in keys_of(SCHEMA, VALUES):
        assert described - without_default.get(path, set()) == given, path or "top level"


@pytest.mark.parametrize("case", CASES)
def test_the_cases_are_valid(case):
    jsonschema.validate(CASES[case], SCHEMA)


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"replica": 2}, "replica"),
        ({"replicas": "2"}, "/replicas"),
        ({"replicas": -1}, "/replicas"),
        ({"image": {"repo": "x"}}, "repo"),
        ({"image": {"repository": ""}}, "/image/repository"),
        ({"image": {"repository": "r.example/f@sha256:1"}}, "/image/repository"),
        ({"image": {"tag": 1.2}}, "/image/tag"),
        ({"image": {"digest": "sha256:short"}}, "/image/digest"),
        ({"image": {"pullPolicy": "Sometimes"}}, "/image/pullPolicy"),
        ({"imagePullSecrets": ["registry"]}, "/imagePullSecrets/0"),
        ({"watch": {"namespaces": "shop"}}, "/watch/namespaces"),
        ({"watch": {"namespaces": ["Shop"]}}, "/watch/namespaces/0"),
        ({"watch": {"namespaces": ["shop", "shop"]}}, "/watch/namespaces"),
        ({"watch": {"namespace": ["shop"]}}, "namespace"),
        ({"operator": {"logLevel": "loud"}}, "/operator/logLevel"),
        ({"operator": {"resync": "10"}}, "/operator/resync"),
        ({"fraud": {"kafka": {"server": "kafka:9092"}}}, "server"),
        ({"fraud": {"kafka": {"servers": "kafka"}}}, "/fraud/kafka/servers"),
        ({"fraud": {"kafka": {"servers": "kafka:9092, other:9092"}}}, "/fraud/kafka/servers"),
        ({"fraud": {"kafka": {"security": "TLS"}}}, "/fraud/kafka/security"),
        ({"fraud": {"kafka": {"security": "SASL_SSL"}}}, "/fraud/kafka/secretName"),
        ({"fraud": {"kafka": {"clientCertificate": True, "secretName": "login"}}}, "/fraud/kafka/security"),
        ({"fraud": {"kafka": {"topicPrefix": "Shop"}}}, "/fraud/kafka/topicPrefix"),
        ({"fraud": {"flink": {"directory": "/data"}}}, "/fraud/flink/directory"),
        ({"fraud": {"flink": {"parallelism": 0}}}, "/fraud/flink/parallelism"),
        ({"fraud": {"flink": {"memory": "2"}}}, "/fraud/flink/memory"),
        ({"fraud": {"flink": {"disorder": "2"}}}, "/fraud/flink/disorder"),
        ({"rbac": {"flink": "yes"}}, "/rbac/flink"),
        ({"operator": {"workers": 0}}, "/operator/workers"),
        ({"operator": {"healthPort": 80}}, "/operator/healthPort"),
        ({"fraud": {"workers": 0}}, "/fraud/workers"),
        ({"fraud": {"workers": 17}}, "/fraud/workers"),
        ({"fraud": {"workers": "2"}}, "/fraud/workers"),
        ({"fraud": {"workersByNamespace": {"shop": 0}}}, "/fraud/workersByNamespace/shop"),
        ({"fraud": {"workersByNamespace": {"Shop": 2}}}, "invalid propertyName 'Shop'"),
        ({"crds": {"install": "yes"}}, "/crds/install"),
        (
            {"rbac": {"extraSweepRules": [{"apiGroups": ["*"], "resources": ["x"]}]}},
            "/rbac/extraSweepRules/0/apiGroups/0",
        ),
        (
            {"rbac": {"extraSweepRules": [{"apiGroups": [""], "resources": ["*"]}]}},
            "/rbac/extraSweepRules/0/resources/0",
        ),
        (
            {"rbac": {"extraSweepRules": [{"apiGroups": [""], "resources": ["secrets"]}]}},
            "/rbac/extraSweepRules/0/resources/0",
        ),
        ({"rbac": {"extraSweepRules": [{"apiGroups": [""], "resources": ["x"], "verbs": ["delete"]}]}}, "verbs"),
        ({"uninstall": {"timeoutSeconds": 0}}, "/uninstall/timeoutSeconds"),
        ({"resources": {"limit": {}}}, "limit"),
        ({"nodeSelector": {"gpu": True}}, "/nodeSelector/gpu"),
        ({"affinity": {"nodes": {}}}, "nodes"),
        ({"podDisruptionBudget": {"maxUnavailable": "many"}}, "/podDisruptionBudget/maxUnavailable"),
        ({"metrics": {"serviceMonitor": {"interval": "often"}}}, "/metrics/serviceMonitor/interval"),
        ({"externalMetrics": {"adapter": "Keda"}}, "/externalMetrics/adapter"),
        ({"externalMetrics": {"prometheus": "prometheus:9090"}}, "/externalMetrics/prometheus"),
        ({"externalMetrics": {"replicas": 0}}, "/externalMetrics/replicas"),
        ({"externalMetrics": {"window": "30"}}, "/externalMetrics/window"),
        ({"networkPolicy": {"apiServer": {"ports": []}}}, "/networkPolicy/apiServer/ports"),
    ],
)
def test_helm_refuses_a_wrong_value_and_says_where(values, where):
    assert where in refusal(values)


def test_a_foreign_service_account_must_be_named():
    assert "serviceAccount.name: name the existing ServiceAccount" in refusal({"serviceAccount": {"create": False}})


def test_workers_of_a_namespace_that_is_not_watched_are_refused():
    said = refusal({"watch": {"namespaces": ["mall"]}, "fraud": {"workersByNamespace": {"shop": 2}}})
    assert "fraud.workersByNamespace: shop is not in watch.namespaces" in said


def test_an_old_cluster_is_refused():
    said = helm("template", "flywheel", str(CHART), "--kube-version", "1.29.9")
    assert "requires kubeVersion" in said.message
