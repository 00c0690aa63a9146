"""What the benchmarks of the running operator share: a cluster, a namespace, the operator, and its campaigns."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import Cluster, chosen_cluster
from tests.lab.objects import Manifest, Objects
from tests.lab.operator_process import OperatorProcess
from tools.bootstrap.steps import REPOSITORY

SERVICES = ("landing", "cart", "seckill")


@dataclass
class Stand:
    """One namespace of one cluster, and where the operator's log goes."""

    cluster: Cluster
    objects: Objects
    directory: Path

    @property
    def namespace(self) -> str:
        """The namespace of the benchmark."""
        return self.objects.namespace

    def operator(self, *options: str) -> OperatorProcess:
        """Prepare an operator for the namespace."""
        log = self.directory / "operator.log"
        return OperatorProcess(self.cluster, [self.namespace], log, "--log-format=console", *options)


@contextmanager
def stand() -> Iterator[Stand]:
    """Take the chosen cluster, the lab if it is not up bring it up, and make a namespace in it."""
    cluster = chosen_cluster()
    started = cluster.lab if cluster.lab and not lifecycle.is_up(cluster.lab) else None
    if cluster.lab:
        lifecycle.up(cluster.lab)
    objects = Objects(cluster.kubeconfig, f"bench-{uuid.uuid4().hex[:6]}")
    try:
        cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={REPOSITORY / 'crds'}")
        cluster.wait_until_established("campaigns.flywheel.dev")
        objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": objects.namespace}})
        with TemporaryDirectory(prefix="flywheel-bench-") as directory:
            yield Stand(cluster, objects, Path(directory))
    finally:
        if started:
            lifecycle.down(started)
        else:
            _abandon(objects)


def _abandon(objects: Objects) -> None:
    for each in objects.select("Campaign"):
        objects.patch("Campaign", each["metadata"]["name"], {"metadata": {"finalizers": None}})
    objects.delete("Namespace", objects.namespace)


def campaign(name: str, *, suspended: bool = False) -> Manifest:
    """Give a Live campaign of three autoscaled services as teams write them: 15 children, or 12 while suspended.

    No scheduler takes the pods: they exist and run nowhere.
    """
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": name},
        "spec": {
            "title": "Spring sale",
            "schedule": {"suspend": suspended},
            "services": [_service(each) for each in SERVICES],
        },
    }


def _service(name: str) -> Manifest:
    return {
        "name": name,
        "image": f"registry.example/shop/{name}:1.4.2",
        "port": 8080,
        "env": [{"name": "STORE_URL", "value": "http://store:8080"}, {"name": "LOG_LEVEL", "value": "info"}],
        "readinessProbe": {"httpGet": {"path": "/readyz"}, "periodSeconds": 5},
        "livenessProbe": {"httpGet": {"path": "/healthz"}},
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
        "autoscaling": {"min": 1, "max": 10, "warm": 4, "metrics": [{"cpu": "60%"}, {"memory": "75%"}]},
        "podTemplate": {"spec": {"schedulerName": "nobody"}},
    }
