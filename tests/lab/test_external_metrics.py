"""A real autoscaler follows orders per second up and down, by the process that the chart installs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from deploy.generate import CHART
from tests.lab import edge_sidecar
from tests.lab.cluster.client import Cluster
from tests.lab.steps import NO_PODS, eventually

from flywheel.api.service import Service
from flywheel.metrics.naming import GROUP, VERSION
from flywheel.workload.manifests import service_manifests
from flywheel.workload.scaling import Phase

CAMPAIGN = "sale"
API = f"{VERSION}.{GROUP}"
METRIC = f"/apis/{GROUP}/{VERSION}/namespaces/{{}}/flywheel-events-per-second"
SELECTOR = "?labelSelector=campaign%3Dsale%2Cevent%3DOrder__Completed"
WINDOW = "10s"


@pytest.fixture(scope="module")
def metrics_api(cluster: Cluster) -> Iterator[str]:
    """The chart without its operator, in a namespace of its own."""
    namespace = "flywheel-metrics-test"
    repository, _, tag = cluster.images["operator"].rpartition(":")
    values = {
        "image.repository": repository,
        "image.tag": tag,
        "replicas": 0,
        "crds.install": "false",
        "uninstall.check": "false",
        "externalMetrics.window": WINDOW,
    }
    settings = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    where = ("--namespace", namespace)
    chart = ("upgrade", "--install", "metrics", str(CHART), "--create-namespace", "--take-ownership")
    cluster.helm(*chart, *where, *settings, "--wait", "--timeout", "120s")
    cluster.kubectl("wait", f"apiservice/{API}", "--for=condition=Available", "--timeout=60s")
    yield namespace
    cluster.helm("uninstall", "metrics", *where, "--wait")
    cluster.kubectl("delete", "namespace", namespace, "--wait=false")


class Sale:
    """A service that grows with orders, and the pod that counts them."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster = cluster
        self._namespace = namespace

    def kubectl(self, *arguments: str, **options: Any) -> str:
        return self._cluster.kubectl("--namespace", self._namespace, *arguments, **options)

    def open(self) -> None:
        metrics = [{"event": "Order Completed", "perSecond": 50}]
        behavior = {"scaleDown": {"stabilizationWindowSeconds": 0}}
        scaling = {"min": 1, "max": 10, "metrics": metrics, "behavior": behavior}
        service = {"name": "seckill", "image": "shop:1", "port": 8080, "autoscaling": scaling, "podTemplate": NO_PODS}
        objects = service_manifests(CAMPAIGN, self._namespace, Service.model_validate(service), Phase(live=True))
        self.apply({"apiVersion": "v1", "kind": "List", "items": objects})

    def apply(self, manifest: dict[str, Any]) -> None:
        self.kubectl("apply", "--filename", "-", input=json.dumps(manifest))

    def start_edge(self, image: str) -> None:
        script = Path(edge_sidecar.__file__).read_text()
        container = {
            "name": "sidecar",
            "image": image,
            "imagePullPolicy": "Never",
            "command": ["python3", "-c", script],
            "readinessProbe": {"httpGet": {"path": "/metrics", "port": edge_sidecar.PORT}, "periodSeconds": 1},
        }
        labels = {
            "app.kubernetes.io/component": "edge",
            "app.kubernetes.io/managed-by": "flywheel",
            "flywheel.dev/campaign": CAMPAIGN,
        }
        spec = {"containers": [container], "terminationGracePeriodSeconds": 0}
        self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "edge", "labels": labels}, "spec": spec})
        self.kubectl("wait", "pod/edge", "--for=condition=Ready", "--timeout=60s")

    def set_orders(self, per_second: int) -> None:
        code = f"import urllib.request as r; r.urlopen('http://127.0.0.1:{edge_sidecar.PORT}/{per_second}', timeout=5)"
        self.kubectl("exec", "edge", "--", "python3", "-c", code)

    def replicas(self) -> int:
        return int(self.kubectl("get", "deployment", "sale-seckill", "--output=jsonpath={.spec.replicas}"))

    def why_inactive(self) -> str:
        path = "jsonpath={.status.conditions[?(@.type=='ScalingActive')].reason}"
        return self.kubectl("get", "horizontalpodautoscaler", "sale-seckill", f"--output={path}")


@pytest.fixture
def sale(cluster: Cluster, namespace: str) -> Sale:
    return Sale(cluster, namespace)


def test_replicas_follow_orders_and_stay_when_nothing_is_known(
    cluster: Cluster, namespace: str, metrics_api: str, sale: Sale
) -> None:
    sale.open()
    # Nobody counts yet: that is no zero, and nothing is scaled.
    eventually(sale.why_inactive, "FailedGetExternalMetric")

    sale.start_edge(cluster.images["shop"])
    sale.set_orders(300)
    eventually(sale.replicas, 6)
    found = json.loads(cluster.kubectl("get", "--raw", METRIC.format(namespace) + SELECTOR))
    assert 270_000 <= int(found["items"][0]["value"].removesuffix("m")) <= 330_000

    # Half of the replicas that serve the metrics go, and nobody notices.
    component = "--selector=app.kubernetes.io/component=metrics-api"
    pod = cluster.kubectl("get", "pods", "--namespace", metrics_api, component, "--output=name").split()[0]
    cluster.kubectl("delete", pod, "--namespace", metrics_api, "--grace-period=0", "--force", "--wait=false")
    sale.set_orders(40)
    eventually(sale.replicas, 1)

    sale.set_orders(5000)
    eventually(sale.replicas, 10)
    sale.kubectl("delete", "pod", "edge", "--wait=true")
    eventually(sale.why_inactive, "FailedGetExternalMetric")
    assert sale.replicas() == 10


def test_only_autoscalers_and_those_who_may_are_answered(cluster: Cluster, namespace: str, metrics_api: str) -> None:
    path = METRIC.format(namespace) + SELECTOR
    assert json.loads(cluster.kubectl("get", "--raw", path))["items"] == []
    refused = cluster.kubectl("get", "--raw", path, "--as=system:serviceaccount:default:default", check=False)
    assert "orbidden" in refused
    resources = cluster.kubectl("api-resources", f"--api-group={GROUP}", "--output=name")
    assert f"flywheel-events-per-second.{GROUP}" in resources.split()


def test_the_replicas_share_one_certificate_and_make_a_new_one_when_it_is_spoilt(
    cluster: Cluster, metrics_api: str
) -> None:
    secret = ("secret", "metrics-flywheel-metrics-api-tls", "--namespace", metrics_api)

    def certificate() -> str:
        return cluster.kubectl("get", *secret, "--output=jsonpath={.data.tls\\.crt}")

    def answers() -> bool:
        return "ExternalMetricValueList" in cluster.kubectl(
            "get", "--raw", METRIC.format("default") + SELECTOR, check=False
        )

    before = certificate()
    assert before
    cluster.kubectl("patch", *secret, "--type=merge", "--patch", '{"data":{"tls.crt":"bm9uc2Vuc2U="}}')
    # Whoever starts finds it, as those who run do within a minute.
    cluster.kubectl("rollout", "restart", "deployment/metrics-flywheel-metrics-api", "--namespace", metrics_api)
    cluster.kubectl(
        "rollout", "status", "deployment/metrics-flywheel-metrics-api", "--namespace", metrics_api, "--timeout=120s"
    )
    assert certificate() not in {before, "bm9uc2Vuc2U="}
    eventually(answers)
