"""Claims get real volumes in the lab: writable for any user, kept for the next pod, removed with the claim."""

import json
import signal
from typing import Any

import pytest
from tests.lab.cluster import control
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.paths import Lab
from tests.lab.steps import eventually

USER = 65532
COUNT = "echo started >> /data/starts && sleep 3600"


@pytest.fixture
def lab(cluster: Cluster) -> Lab:
    if not cluster.lab:
        pytest.skip("KUBECONFIG names another cluster than the lab")
    return cluster.lab


def test_a_volume_outlives_its_pod_and_ends_with_its_claim(cluster: Cluster, namespace: str, lab: Lab) -> None:
    store = a_store(cluster.images["shop"])
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", input=json.dumps(store))
    rollout = ("rollout", "status", "statefulset/store", "--namespace", namespace, "--timeout=60s")
    cluster.kubectl(*rollout)
    assert starts(cluster, namespace) == 1

    cluster.kubectl("delete", "pod", "store-0", "--namespace", namespace, "--grace-period=1")
    cluster.kubectl(*rollout)
    assert starts(cluster, namespace) == 2

    volume = volume_of(cluster, namespace, "data-store-0")
    data = lab.state / "volumes" / volume
    assert (data / "starts").exists()
    cluster.kubectl("delete", "statefulset", "store", "--namespace", namespace, "--cascade=foreground")
    # No process for it meanwhile: what it missed is done when it is back.
    control.stop(lab, "volumes", signal.SIGKILL)
    cluster.kubectl("delete", "persistentvolumeclaim", "data-store-0", "--namespace", namespace)
    eventually(lambda: phase(cluster, volume), "Released")
    control.resume(lab, "volumes")
    eventually(lambda: phase(cluster, volume), "")
    assert not data.exists()


def test_a_claim_that_waited_for_the_provisioner_is_bound(cluster: Cluster, namespace: str, lab: Lab) -> None:
    control.stop(lab, "volumes", signal.SIGKILL)
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "early"}, "spec": a_claim()}
    cluster.kubectl("apply", "--namespace", namespace, "--filename", "-", input=json.dumps(claim))
    control.resume(lab, "volumes")
    eventually(lambda: volume_of(cluster, namespace, "early"), bool)


def starts(cluster: Cluster, namespace: str) -> int:
    return len(cluster.kubectl("exec", "store-0", "--namespace", namespace, "--", "cat", "/data/starts").split())


def volume_of(cluster: Cluster, namespace: str, claim: str) -> str:
    path = "jsonpath={.spec.volumeName}"
    return cluster.kubectl("get", "persistentvolumeclaim", claim, "--namespace", namespace, "--output", path)


def phase(cluster: Cluster, volume: str) -> str:
    path = "jsonpath={.status.phase}"
    return cluster.kubectl("get", "persistentvolume", volume, "--ignore-not-found", "--output", path)


def a_claim() -> dict[str, Any]:
    return {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}}


def a_store(image: str) -> dict[str, Any]:
    container = {
        "name": "store",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["/bin/sh", "-c", COUNT],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "securityContext": {"readOnlyRootFilesystem": True, "allowPrivilegeEscalation": False},
    }
    pod = {
        "metadata": {"labels": {"app": "store"}},
        "spec": {
            "containers": [container],
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": USER, "fsGroup": USER},
        },
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "store"},
        "spec": {
            "serviceName": "store",
            "selector": {"matchLabels": {"app": "store"}},
            "template": pod,
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": a_claim()}],
        },
    }
