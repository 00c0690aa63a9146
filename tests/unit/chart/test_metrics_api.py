"""The process that serves autoscalers: what of it is rendered, and what it may do."""

import pytest
from tests.unit.chart.rendering import CASES, NAMESPACE, objects, of_kind, of_metrics_api, refusal

from flywheel.metrics.naming import GROUP, SUBJECTS, VERSION
from flywheel.metrics.scrape import SELECTOR

AUTHENTICATION = "extension-apiserver-authentication-reader"


def only(found, kind):
    [each] = of_kind(of_metrics_api(found), kind)
    return each


def granted(rules):
    return {
        (group, resource, verb, *rule.get("resourceNames", []))
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def test_the_api_leads_to_the_process_through_its_service():
    rendered = objects()
    service = only(rendered, "Service")
    pod = only(rendered, "Deployment")["spec"]["template"]
    api = only(rendered, "APIService")
    assert api["metadata"]["name"] == f"{VERSION}.{GROUP}"
    assert api["spec"]["service"] == {"name": service["metadata"]["name"], "namespace": NAMESPACE, "port": 443}
    assert "caBundle" not in api["spec"]
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    [container] = pod["spec"]["containers"]
    assert f"--service={service['metadata']['name']}" in container["args"]
    assert f"--service-namespace={NAMESPACE}" in container["args"]
    budget = only(rendered, "PodDisruptionBudget")
    assert budget["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_it_may_read_pods_and_its_own_secret_and_nothing_else():
    rendered = of_metrics_api(objects())
    [cluster, reader] = of_kind(rendered, "ClusterRole")
    assert granted(cluster["rules"]) == {
        ("apiregistration.k8s.io", "apiservices", "get", f"{VERSION}.{GROUP}"),
        ("apiregistration.k8s.io", "apiservices", "patch", f"{VERSION}.{GROUP}"),
        ("", "pods", "list"),
        ("", "pods", "watch"),
    }
    [role] = of_kind(rendered, "Role")
    secret = "flywheel-metrics-api-tls"
    assert granted(role["rules"]) == {
        ("", "secrets", "create"),
        ("", "secrets", "get", secret),
        ("", "secrets", "patch", secret),
    }
    assert role["metadata"]["namespace"] == NAMESPACE
    assert granted(reader["rules"]) == {(GROUP, name, verb) for name in SUBJECTS for verb in ("get", "list")}
    foreign = {each["roleRef"]["name"]: each["metadata"]["namespace"] for each in of_kind(rendered, "RoleBinding")}
    assert foreign == {"flywheel-metrics-api": NAMESPACE, AUTHENTICATION: "kube-system"}


def test_of_some_namespaces_it_reads_the_pods_of_those_only():
    rendered = of_metrics_api(objects(CASES["namespaced"]))
    pods = {
        role["metadata"].get("namespace")
        for role in of_kind(rendered, "Role") + of_kind(rendered, "ClusterRole")
        for grant in granted(role["rules"])
        if grant[1] == "pods"
    }
    assert pods == {"shop", "mall"}
    arguments = only(objects(CASES["namespaced"]), "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
    assert {"--namespace=shop", "--namespace=mall"} <= set(arguments)


def test_the_autoscalers_of_kubernetes_may_ask():
    [reader] = [
        each for each in of_kind(objects(), "ClusterRoleBinding") if each["metadata"]["name"].endswith("-reader")
    ]
    assert {(each["kind"], each["name"]) for each in reader["subjects"]} == {
        ("ServiceAccount", "horizontal-pod-autoscaler"),
        ("User", "system:kube-controller-manager"),
    }


def test_its_network_policy_reaches_the_pods_that_it_looks_for():
    [policy] = of_kind(of_metrics_api(objects(CASES["everything"])), "NetworkPolicy")
    [way] = policy["spec"]["egress"]
    labels = way["to"][0]["podSelector"]["matchLabels"]
    assert ",".join(f"{key}={value}" for key, value in labels.items()) == SELECTOR


@pytest.mark.parametrize(
    ("adapter", "arguments"),
    [
        ({"adapter": "KEDA", "prometheus": "http://p:9090"}, ["--metrics-adapter=KEDA", "--prometheus=http://p:9090"]),
        ({"adapter": "PrometheusAdapter"}, ["--metrics-adapter=PrometheusAdapter"]),
        ({}, []),
    ],
)
def test_where_another_program_serves_the_metrics_the_operator_is_told_which(adapter, arguments):
    rendered = objects({"externalMetrics": {"enabled": False, **adapter}})
    assert of_metrics_api(rendered) == []
    [operator] = of_kind(rendered, "Deployment")
    given = operator["spec"]["template"]["spec"]["containers"][0]["args"]
    assert [each for each in given if each.startswith(("--metrics-adapter", "--prometheus"))] == arguments


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"adapter": "KEDA", "prometheus": "http://p:9090"}, "only one program can serve external metrics"),
        ({"enabled": False, "adapter": "KEDA"}, "externalMetrics.prometheus: name the Prometheus"),
    ],
)
def test_what_contradicts_itself_is_refused(values, said):
    assert said in refusal({"externalMetrics": values})
