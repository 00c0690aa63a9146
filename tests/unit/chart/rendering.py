"""Rendering the chart with the real helm."""

import functools
import json
import subprocess
from dataclasses import dataclass
from typing import Any

import yaml
from deploy.generate import CHART
from tools.bootstrap.programs import ensure_helm

NAMESPACE = "flywheel-system"
Manifest = dict[str, Any]

EVERYTHING = {
    "replicas": 2,
    "image": {"repository": "registry.example/flywheel", "digest": "sha256:" + "a" * 64, "pullPolicy": "Always"},
    "imagePullSecrets": [{"name": "registry"}],
    "operator": {
        "logLevel": "debug",
        "logFormat": "console",
        "workers": 8,
        "resync": "5m",
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.example:3128"}],
    },
    "webhook": {"secretName": "git-hooks"},
    "fraud": {
        "workers": 2,
        "workersByNamespace": {"shop": 4, "mall": 1},
        "kafka": {
            "servers": "kafka-0.kafka:9093,kafka-1.kafka:9093",
            "security": "SASL_SSL",
            "secretName": "kafka-login",
            "clientCertificate": True,
        },
        "flink": {"image": "registry.example/flink:2.3-kafka", "directory": "s3://flink/flywheel", "parallelism": 4},
    },
    "serviceAccount": {"name": "campaigner", "annotations": {"example.com/role": "campaigns"}},
    "rbac": {"extraSweepRules": [{"apiGroups": ["example.com"], "resources": ["widgets"]}]},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"kubernetes.io/os": "linux"},
    "tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {
                    "topologyKey": "kubernetes.io/hostname",
                    "labelSelector": {"matchLabels": {"app.kubernetes.io/name": "flywheel"}},
                }
            ]
        }
    },
    "commonLabels": {"team": "growth"},
    "podLabels": {"network": "inner"},
    "podAnnotations": {"example.com/log": "json"},
    "deploymentAnnotations": {"example.com/owner": "growth"},
    "metrics": {
        "service": {"labels": {"scrape": "yes"}, "annotations": {"example.com/note": "metrics"}},
        "serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}},
        "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}, "alertLabels": {"team": "growth"}},
    },
    "networkPolicy": {
        "enabled": True,
        "metricsFrom": [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}],
        "apiServer": {"to": [{"ipBlock": {"cidr": "192.0.2.1/32"}}], "ports": [6443]},
    },
}

CASES: dict[str, Manifest] = {
    "default": {},
    "namespaced": {"watch": {"namespaces": ["shop", "mall"]}},
    "everything": EVERYTHING,
    "bare": {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "mine"},
        "uninstall": {"check": False},
        "podDisruptionBudget": {"enabled": False},
        "externalMetrics": {"enabled": False, "adapter": "KEDA", "prometheus": "http://prometheus:9090"},
        "topologySpreadConstraints": [],
        "fullnameOverride": "campaigns",
    },
}
"""Sets of values of which the golden files are rendered."""


@dataclass(frozen=True)
class Failure:
    """What helm said instead of rendering."""

    message: str


def helm(*arguments: str, values: Manifest | None = None) -> str | Failure:
    """Run helm with `values` as a values file and return what it prints."""
    extra = ["--values", "-"] if values is not None else []
    done = subprocess.run(
        [ensure_helm(), *arguments, *extra],
        input=json.dumps(values or {}),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout if done.returncode == 0 else Failure(done.stderr)


def render(values: Manifest | None = None, *arguments: str, release: str = "flywheel", crds: bool = False) -> str:
    """Render the chart; without `crds` the definitions are left out, as they are checked where they are made."""
    return _render(json.dumps(values or {}), arguments, release, crds)


@functools.cache
def _render(values: str, arguments: tuple[str, ...], release: str, crds: bool) -> str:
    flags = [] if crds else ["--set", "crds.install=false"]
    text = helm(
        "template", release, str(CHART), "--namespace", NAMESPACE, *flags, *arguments, values=json.loads(values)
    )
    assert isinstance(text, str), text
    return text


def objects(values: Manifest | None = None, *arguments: str, **options: Any) -> list[Manifest]:
    """Render the chart and read the objects."""
    return [each for each in yaml.safe_load_all(render(values, *arguments, **options)) if each]


def refusal(values: Manifest) -> str:
    """Return why helm does not render `values`."""
    failure = helm("template", "flywheel", str(CHART), values=values)
    assert isinstance(failure, Failure), f"helm accepts {values}"
    return failure.message


def of_kind(found: list[Manifest], kind: str) -> list[Manifest]:
    """Pick the objects of one kind."""
    return [each for each in found if each["kind"] == kind]


def of_metrics_api(found: list[Manifest]) -> list[Manifest]:
    """Pick what belongs to the process that serves autoscalers."""
    return [each for each in found if each["metadata"]["labels"].get("app.kubernetes.io/component") == "metrics-api"]


def of_operator(found: list[Manifest]) -> list[Manifest]:
    """Pick what belongs to the operator and its hooks."""
    others = of_metrics_api(found)
    return [each for each in found if each not in others]


def one(found: list[Manifest], kind: str, suffix: str = "") -> Manifest:
    """Pick the operator's only object of one kind whose name ends in `suffix`."""
    [only] = [each for each in of_kind(of_operator(found), kind) if each["metadata"]["name"].endswith(suffix)]
    return only


def pod_specs(found: list[Manifest]) -> dict[str, Manifest]:
    """Return the pod spec of everything that runs pods, by `kind/name`."""
    specs = {}
    for each in found:
        spec = each["spec"] if each["kind"] == "Pod" else each.get("spec", {}).get("template", {}).get("spec")
        if spec:
            specs[f"{each['kind']}/{each['metadata']['name']}"] = spec
    return specs
