"""Growing with events and requests: by our own metrics, by KEDA, by prometheus-adapter."""

import json
import shutil
import subprocess
from decimal import Decimal
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from kubernetes.utils.quantity import parse_quantity

from flywheel.api.service import Service
from flywheel.workload.adapter import adapter_rules, event_metric, rules_manifest
from flywheel.workload.keda import decimal_text, obstacle
from flywheel.workload.manifests import service_manifests
from flywheel.workload.promql import events_per_second
from flywheel.workload.provider import Provider
from flywheel.workload.scaling import Phase

RAW = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "1"}}}
KEDA = Provider("KEDA", "http://prometheus.monitoring:9090")


def service(*metrics: dict[str, Any]) -> Service:
    given_metrics = metrics or ({"event": "Order Completed", "perSecond": 50}, {"requests": "2k"}, {"cpu": "60%"})
    return Service.model_validate(
        {
            "name": "seckill",
            "image": "shop:1",
            "port": 8080,
            "resources": {"requests": {"cpu": "100m"}},
            "autoscaling": {
                "min": 10,
                "max": 100,
                "warm": 40,
                "metrics": list(given_metrics),
                "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}},
            },
        }
    )


def scaler(made: Service, phase: Phase, provider: Provider) -> dict[str, Any]:
    [found] = [
        each
        for each in service_manifests("sale", "shop", made, phase, provider)
        if each["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}
    ]
    return found


def test_our_own_metrics_are_totals_of_the_campaign_of_which_each_replica_bears_a_part() -> None:
    spec = scaler(service(), Phase(live=True), Provider())["spec"]
    events, requests, cpu = spec["metrics"]
    assert events["external"] == {
        "metric": {
            "name": "flywheel-events-per-second",
            "selector": {"matchLabels": {"campaign": "sale", "event": "Order__Completed"}},
        },
        "target": {"type": "AverageValue", "averageValue": "50"},
    }
    assert requests["external"] == {
        "metric": {
            "name": "flywheel-requests-per-second",
            "selector": {"matchLabels": {"campaign": "sale", "service": "seckill"}},
        },
        "target": {"type": "AverageValue", "averageValue": "2k"},
    }
    assert cpu["type"] == "Resource"


def test_where_keda_serves_the_metrics_a_scaled_object_takes_the_autoscalers_place() -> None:
    found = scaler(service(), Phase(warm=True), KEDA)
    spec = found["spec"]
    assert found["apiVersion"] == "keda.sh/v1alpha1"
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (40, 100)
    assert spec["scaleTargetRef"]["name"] == "sale-seckill"
    events, requests, cpu = spec["triggers"]
    assert events["metricType"] == "AverageValue"
    assert events["metadata"] == {
        "serverAddress": "http://prometheus.monitoring:9090",
        "query": 'sum(rate(campaign_events_total{namespace="shop",campaign="sale",event="Order Completed"}[1m]))',
        "threshold": "50",
        "ignoreNullValues": "false",
    }
    assert 'service="seckill"' in requests["metadata"]["query"]
    assert requests["metadata"]["threshold"] == "2000"
    assert cpu == {"type": "cpu", "metricType": "Utilization", "metadata": {"value": "60"}}
    behavior = spec["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    assert behavior == {"scaleUp": {"stabilizationWindowSeconds": 0}}


def test_keda_does_not_hand_our_labels_to_its_own_autoscaler() -> None:
    metadata = scaler(service(), Phase(live=True), KEDA)["metadata"]
    excluded = metadata["annotations"]["scaledobject.keda.sh/hpa-excluded-labels"].split(",")
    assert set(excluded) == set(metadata["labels"])


def test_services_that_do_not_count_traffic_need_no_keda() -> None:
    assert scaler(service({"cpu": "60%"}, {"raw": RAW}), Phase(live=True), KEDA)["kind"] == "HorizontalPodAutoscaler"


def test_keda_has_no_place_for_metrics_of_autoscaling_v2() -> None:
    assert obstacle(service()) is None
    assert "autoscaling.metrics[1].raw" in (obstacle(service({"requests": 1}, {"raw": RAW})) or "")


@pytest.mark.parametrize("phase", [Phase(zero=True)])
def test_at_zero_nothing_scales(phase: Phase) -> None:
    kinds = {each["kind"] for each in service_manifests("sale", "shop", service(), phase, KEDA)}
    assert "ScaledObject" not in kinds


def test_the_rules_for_the_adapter_serve_what_the_autoscaler_asks_for() -> None:
    made = service()
    asked = {
        each["external"]["metric"]["name"]
        for each in scaler(made, Phase(live=True), Provider("PrometheusAdapter"))["spec"]["metrics"]
        if each["type"] == "External"
    }
    assert {rule["name"]["as"] for rule in adapter_rules([made])} == asked
    manifest = rules_manifest("sale", "shop", [made])
    assert manifest is not None
    assert yaml.safe_load(manifest["data"]["rules.yaml"])["externalRules"] == adapter_rules([made])
    assert rules_manifest("sale", "shop", [service({"cpu": "60%"})]) is None


def test_one_rule_serves_an_event_in_all_services() -> None:
    assert len(adapter_rules([service(), service(), service({"event": "Paid", "perSecond": 1})])) == 3
    assert event_metric("a b") != event_metric("a_b")


QUANTITIES = st.builds(
    lambda digits, unit: f"{digits}{unit}",
    st.integers(1, 10**6).map(str) | st.decimals("0.001", 1000, places=3).map(str),
    st.sampled_from(["", "m", "k", "M", "Ki", "Mi", "u", "n", "G"]),
)


@given(QUANTITIES)
def test_thresholds_are_the_quantities_in_plain_decimals(quantity: str) -> None:
    written = decimal_text(quantity)
    assert Decimal(written) == parse_quantity(quantity)
    assert not set(written) - set("0123456789.")


@pytest.mark.parametrize("event", ["Order Completed", 'quo"te', "back\\slash", "下单", "}) or vector(1) #", "a{b}"])
def test_prometheus_understands_the_question_whatever_the_event(event: str, tmp_path: Any) -> None:
    if not shutil.which("promtool"):
        pytest.skip("promtool is not installed")
    rule = {"record": "a:b", "expr": events_per_second("shop", "sale", event)}
    file = tmp_path / "rules.yaml"
    file.write_text(json.dumps({"groups": [{"name": "x", "rules": [rule]}]}))
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
