"""Flywheel's blue-green releases of the same application, with the edge before it and without.

The operator is the one that `make install` installs: to tell pods to drain it must reach them.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tests.bench.release_common import PORT, REPLICAS, REST_SECONDS, SERVICE, START_SECONDS, container, wait_for_pods
from tests.bench.stand import Stand
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import OPERATOR_NAMESPACE
from tests.lab.cluster.sample_image import ensure_sample
from tests.lab.objects import Manifest
from tests.lab.steps import eventually

CAMPAIGN = "release"
EDGE_PORT = 80
KEEP_PREVIOUS = os.environ.get("BENCH_KEEP_PREVIOUS", "30s")
"""By default as long as the peer keeps its old pods."""
PROMOTE = "flywheel.dev/promote"


@dataclass
class Flywheel:
    """One Campaign of one service."""

    given: Stand
    stop: str
    edge: bool = False
    _image: str = ""
    _preview: str = ""

    @property
    def name(self) -> str:
        """What people call it."""
        return f"Flywheel{', through the edge' if self.edge else ''}, {self.stop}"

    def start(self, version: str) -> str:
        """Bring up the Campaign, ready, and give the URL of its edge, or of its service."""
        self._image = ensure_sample(self.given.cluster.lab).image
        generation = self._apply(version)

        def ready(conditions: list[Manifest]) -> bool:
            found = [each for each in conditions if each["type"] == "Ready" and each["status"] == "True"]
            return any(each["observedGeneration"] >= generation for each in found)

        eventually(lambda: self._status()["conditions"], ready, within=START_SECONDS, why="a Campaign that is ready")
        name, port = (f"{CAMPAIGN}-edge", EDGE_PORT) if self.edge else (f"{CAMPAIGN}-{SERVICE}", PORT)
        return f"http://{self.given.objects.read('Service', name)['spec']['clusterIP']}:{port}"

    def prepare(self, version: str) -> None:
        """Bring up another version, until it waits for its promotion."""
        active = _revision(self._release(), "active")
        self._apply(version)

        def waits(release: Manifest) -> bool:
            return release.get("phase") == "AwaitingPromotion" and _revision(release, "preview") not in ("", active)

        found = eventually(self._release, waits, within=START_SECONDS, why=f"{version} before its promotion")
        self._preview = _revision(found, "preview")

    def promote(self) -> None:
        """Do what `flywheel release promote` does."""
        self.given.objects.patch("Campaign", CAMPAIGN, {"metadata": {"annotations": {PROMOTE: self._preview}}})

    def rest(self) -> None:
        """Wait until the new version alone is left."""
        selector = f"flywheel.dev/campaign={CAMPAIGN},flywheel.dev/service={SERVICE}"
        wait_for_pods(self.given, selector, lambda pods: len(pods) == REPLICAS, "the end of the former pods")
        stable = "a release that has come to rest"
        eventually(self._release, lambda found: found.get("phase") == "Stable", within=START_SECONDS, why=stable)

    def remove(self) -> None:
        """Delete the Campaign, and wait until it and the pods are gone."""
        self.given.objects.delete("Campaign", CAMPAIGN)
        eventually(
            lambda: self.given.objects.get("Campaign", CAMPAIGN),
            lambda found: found is None,
            within=REST_SECONDS,
            why="the end of the Campaign",
        )
        wait_for_pods(self.given, "", lambda pods: not pods, "the end of all pods")

    def _apply(self, version: str) -> int:
        applied = self.given.objects.apply(campaign(self._image, version, self.stop, edge=self.edge))
        return int(applied["metadata"]["generation"])

    def _status(self) -> Manifest:
        status: Manifest = self.given.objects.read("Campaign", CAMPAIGN).get("status", {})
        return status

    def _release(self) -> Manifest:
        found: list[Manifest] = [each for each in self._status().get("releases", []) if each["service"] == SERVICE]
        return found[0] if found else {}


def _revision(release: Manifest, which: str) -> str:
    """Give the revision in a slot; empty where there is none."""
    return str((release.get(which) or {}).get("revision", ""))


def campaign(image: str, version: str, stop: str, *, edge: bool) -> Manifest:
    """Give the Campaign: the same pods as the peer's, and a way to tell them to send clients away."""
    release = {
        "strategy": "BlueGreen",
        "promotion": "Manual",
        "preview": "100%",
        "keepPrevious": KEEP_PREVIOUS,
        "drain": {"path": "/drain", "resumePath": "/resume"},
    }
    app = {"name": SERVICE, "port": PORT, "replicas": REPLICAS, **container(image, version, stop), "release": release}
    spec: dict[str, Any] = {"title": "A release under load", "services": [app]}
    if edge:
        spec["edge"] = {
            "replicas": 2,
            "autoscaling": {"max": 2},
            "routes": [{"path": "/", "service": SERVICE}],
            "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
            "sidecarResources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
            # All the load comes from one address.
            "limits": {"requestsPerSecond": 100_000, "connectionsPerAddress": 2000, "connections": 2000},
        }
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": CAMPAIGN},
        "spec": spec,
    }


@contextmanager
def operator(given: Stand) -> Iterator[tuple[str, ...]]:
    """Install the operator of this tree, and give the arguments for Helm; one that was there before stays, as this
    tree has it.
    """
    cluster = given.cluster
    there = cluster.helm("list", "--short", "--filter", "^flywheel$", "--namespace", OPERATOR_NAMESPACE).split()
    # The definitions are there already, and not the chart's.
    values = () if there else ("--set", "crds.install=false")
    cluster.install(*values)
    try:
        yield values
    finally:
        if not there:
            # Whoever serves the Campaigns must see them go.
            for each in given.objects.select("Campaign"):
                given.objects.delete("Campaign", each["metadata"]["name"])
            wait_until(lambda: not given.objects.select("Campaign"), "the end of all Campaigns", START_SECONDS)
            cluster.helm("uninstall", "flywheel", "--namespace", OPERATOR_NAMESPACE, "--wait", check=False)
