"""What the end-to-end tests do and wait for, in words of a shop."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.lab.cluster.client import Cluster
from tests.patience import PATIENCE

from rehearsal.crowd import NAME as CROWD
from rehearsal.crowd import crowd, read_progress, read_report

Manifest = dict[str, Any]
NAME = "little-sale"
BUYERS = Path(__file__).with_name("buyers.yaml")
"""How visitors behave who come for the flash sale alone."""


def eventually(
    holds: Callable[[], bool], what: str, seconds: float = PATIENCE, else_tell: Callable[[], str] = str
) -> None:
    """Look again and again until `holds`; at the deadline fail with `what` and with what `else_tell` finds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}\n{else_tell()}"
        time.sleep(0.5)


class Shop:
    """A Campaign of two services, Live from its apply to its deletion."""

    name = NAME

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace
        self.image = cluster.images["shop"]

    def campaign(self, image: str | None = None, version: str = "1.0.0") -> Manifest:
        """The Campaign; `image` and `version` are those of the flash sale, which is what gets changed."""
        store_url = {"name": "STORE_URL", "value": f"http://{NAME}-store:8080"}
        return {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": NAME},
            "spec": {
                "title": "小促销",
                "services": [
                    {
                        **self._service("seckill", image or self.image),
                        "replicas": 2,
                        "env": [store_url, {"name": "SHOP_VERSION", "value": version}],
                    },
                    {
                        **self._service("store", self.image),
                        "volumes": [{"name": "data", "emptyDir": {}}],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                ],
            },
        }

    @staticmethod
    def _service(name: str, image: str) -> Manifest:
        probe = {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
        requests = {"cpu": "50m", "memory": "80Mi"}
        return {
            "name": name,
            "image": image,
            "args": [name],
            "port": 8080,
            "readinessProbe": probe,
            "resources": {"requests": requests},
        }

    def apply(self, manifest: Manifest) -> int:
        """Apply a Campaign and return its generation."""
        self.cluster.kubectl("apply", "-n", self.namespace, "-f", "-", input=json.dumps(manifest))
        return int(self.get("campaign", self.name)["metadata"]["generation"])

    def get(self, kind: str, name: str) -> Manifest:
        """Read one object."""
        found: Manifest = json.loads(self.cluster.kubectl("get", kind, name, "-n", self.namespace, "-o", "json"))
        return found

    def condition(self, type_: str) -> Manifest:
        """A condition of the Campaign; empty while it is not there."""
        status = self.get("campaign", self.name).get("status", {})
        return next((each for each in status.get("conditions", []) if each["type"] == type_), {})

    def becomes_ready(self, generation: int) -> None:
        """Wait until the operator says that this generation runs."""

        def ready() -> bool:
            said = self.condition("Ready")
            return said.get("status") == "True" and said["observedGeneration"] == generation

        eventually(ready, f"Ready=True of generation {generation}", else_tell=self.describe)

    def describe(self) -> str:
        """All that helps to understand a failure."""
        pods = self.cluster.kubectl("get", "pods,events", "-n", self.namespace, check=False)
        return self.cluster.kubectl("describe", "campaign", self.name, "-n", self.namespace, check=False) + pods

    def ready_pods(self) -> set[str]:
        """Names of the flash sale's pods that serve now and are to stay."""
        selector = f"--selector=flywheel.dev/campaign={NAME},flywheel.dev/service=seckill"
        pods = json.loads(self.cluster.kubectl("get", "pods", "-n", self.namespace, selector, "-o", "json"))["items"]
        return {
            pod["metadata"]["name"]
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            for condition in pod.get("status", {}).get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def send_crowd(self, rate: float, seconds: int) -> None:
        """Let visitors come from inside the cluster, and wait until the first do."""
        url = f"http://{NAME}-seckill:8080"
        job = crowd(self.namespace, self.cluster.images["operator"], BUYERS.read_text(), url, rate, seconds)
        self.cluster.kubectl("create", "-n", self.namespace, "-f", "-", input=json.dumps(job))
        eventually(lambda: bool(read_progress(self._crowd_log())), "the crowd comes", else_tell=self.describe)

    def crowd_report(self, seconds: float) -> Manifest:
        """Wait for the crowd to go home and return what it says."""
        eventually(lambda: read_report(self._crowd_log()) is not None, "the crowd's report", seconds, self._crowd_log)
        return read_report(self._crowd_log()) or {}

    def _crowd_log(self) -> str:
        return self.cluster.kubectl("logs", f"job/{CROWD}", "-n", self.namespace, check=False)
