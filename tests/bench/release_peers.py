"""Argo Rollouts, blue-green, as its documentation has it: the peer of our releases.

Its controller is a process in the lab's network, served by the lab's API server; the active Service is kube-proxy's
matter. Promotion is by hand, as its kubectl plug-in does it: a patch of the status. The delay before the old pods go is
its default, 30 seconds.
"""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.release_common import PORT, REPLICAS, SERVICE, START_SECONDS, container, wait_for_pods
from tests.bench.stand import Stand
from tests.lab.cluster import lifecycle
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.sample_image import ensure_sample
from tests.lab.objects import MERGE, Manifest
from tests.ports import free_ports
from tools.bootstrap.single import ensure_rollouts, rollouts_source

API = "argoproj.io/v1alpha1"
HASH = "rollouts-pod-template-hash"
END_SECONDS = 20
CALM_SECONDS = 1.0


@dataclass
class Rollouts:
    """One Rollout and its two Services."""

    given: Stand
    stop: str
    _image: str = ""
    _former: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"Argo Rollouts, {self.stop}"

    def start(self, version: str) -> str:
        """Bring up the first version, ready, and give the URL of the active Service."""
        for name in (SERVICE, f"{SERVICE}-preview"):
            self.given.objects.create(_service(name))
        self._image = ensure_sample(self.given.cluster.lab).image
        self._call("POST", "", _rollout(self._image, version, self.stop))
        wait_until(lambda: self._status().get("phase") == "Healthy", "a healthy Rollout", START_SECONDS)
        address = self.given.objects.read("Service", SERVICE)["spec"]["clusterIP"]
        return f"http://{address}:{PORT}"

    def prepare(self, version: str) -> None:
        """Bring up another version, until the Rollout is paused before its promotion."""
        self._former = self._status()["blueGreen"]["activeSelector"]
        template = _rollout(self._image, version, self.stop)["spec"]["template"]
        generation = self._call("PATCH", f"/{SERVICE}", {"spec": {"template": template}})["metadata"]["generation"]

        def paused() -> bool:
            status = self._status()
            at_hand = status.get("observedGeneration") == str(generation) and bool(status.get("pauseConditions"))
            return at_hand and status["phase"] == "Paused" and status["currentPodHash"] != self._former

        wait_until(paused, f"{version} before its promotion", START_SECONDS)
        self._wait_for_calm()

    def promote(self) -> None:
        """Do what the plug-in does."""
        self._call("PATCH", f"/{SERVICE}/status", {"status": {"pauseConditions": None}})

    def rest(self) -> None:
        """Wait until no pod of the former version is left."""
        wait_for_pods(self.given, f"{HASH}={self._former}", lambda pods: not pods, f"the end of {self._former}")

    def remove(self) -> None:
        """Take the Rollout and its Services away, and wait until the pods are gone."""
        self._call("DELETE", f"/{SERVICE}")
        for name in (SERVICE, f"{SERVICE}-preview"):
            self.given.objects.delete("Service", name)
        wait_for_pods(self.given, f"app={SERVICE}", lambda pods: not pods, "the end of all pods")

    def _wait_for_calm(self) -> None:
        """Wait until the Rollout has not been written for a second, as long as a person would look at it.

        A promotion within milliseconds of the pause is lost: the controller (1.9.1) puts its own older version back
        into its cache, and does not look again.
        """
        seen = [("", 0.0)]

        def calm() -> bool:
            version = self._call("GET", f"/{SERVICE}")["metadata"]["resourceVersion"]
            if version != seen[0][0]:
                seen[0] = (version, time.monotonic())
            return time.monotonic() - seen[0][1] > CALM_SECONDS

        wait_until(calm, "a Rollout that is not written any more", START_SECONDS)

    def _status(self) -> Manifest:
        status: Manifest = self._call("GET", f"/{SERVICE}").get("status", {})
        return status

    def _call(self, method: str, path: str, body: object = None) -> Manifest:
        rollouts = f"/apis/{API}/namespaces/{self.given.namespace}/rollouts"
        how: dict[str, Any] = {"content_type": MERGE} if method == "PATCH" else {}
        return self.given.objects._call(method, rollouts + path, body=body, **how)


@contextmanager
def controller(given: Stand) -> Iterator[None]:
    """Install the definitions, and run the controller for the namespace of the benchmark; both are gone afterwards."""
    definitions = sorted((rollouts_source() / "manifests/crds").glob("*-crd.yaml"))
    files = [f"--filename={each}" for each in definitions]
    given.cluster.kubectl("apply", "--server-side", "--force-conflicts", *files)
    given.cluster.wait_until_established("rollouts.argoproj.io")
    health, metrics = free_ports(2)
    options = ["--leader-elect=false", f"--healthzPort={health}", f"--metricsPort={metrics}"]
    command = [*_prefix(given.cluster), *options, "--namespaced", f"--namespace={given.namespace}"]
    log = given.directory / "rollouts.log"
    try:
        with log.open("ab") as output:
            process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
        try:
            yield
        except BaseException:
            print(log.read_text(errors="replace")[-4000:])
            raise
        finally:
            process.terminate()
            process.wait(END_SECONDS)
    finally:
        given.cluster.kubectl("delete", "--wait=false", *files, check=False)


def _prefix(cluster: Cluster) -> list[str]:
    program = str(ensure_rollouts())
    if not cluster.lab:
        return [program, f"--kubeconfig={cluster.kubeconfig}"]
    init = lifecycle.first_process(cluster.lab)
    return ["nsenter", "--net", f"--target={init.pid}", program, f"--kubeconfig={cluster.lab.config}/admin.kubeconfig"]


def _service(name: str) -> Manifest:
    ports = [{"name": "http", "port": PORT, "targetPort": PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": SERVICE}, "ports": ports},
    }


def _rollout(image: str, version: str, stop: str) -> Manifest:
    ports = [{"name": "http", "containerPort": PORT}]
    blue_green = {
        "activeService": SERVICE,
        "previewService": f"{SERVICE}-preview",
        "autoPromotionEnabled": False,
    }
    return {
        "apiVersion": API,
        "kind": "Rollout",
        "metadata": {"name": SERVICE},
        "spec": {
            "replicas": REPLICAS,
            "selector": {"matchLabels": {"app": SERVICE}},
            "strategy": {"blueGreen": blue_green},
            "template": {
                "metadata": {"labels": {"app": SERVICE}},
                "spec": {"containers": [{"name": "app", "ports": ports, **container(image, version, stop)}]},
            },
        },
    }
