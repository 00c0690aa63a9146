"""Releases under load, in words of the people who make them: Given, When, Then."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tests.e2e.steps import Manifest
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.sample_image import ensure_sample
from tests.lab.objects import Objects
from tests.load import Load, Target
from tests.load_report import Report
from tests.patience import PATIENCE

SECONDS = PATIENCE
POLL = 0.25
PORT = 8080
ON_THEIR_WAY = ("Preparing", "Verifying", "Promoting", "Confirming")
CHECK: Manifest = {"name": "smoke", "http": {"path": "/check", "status": 200}, "interval": "1s"}
AFTER: Manifest = {"name": "errors", "http": {"path": "/check", "status": 200}, "interval": "1s"}
RELEASE: Manifest = {
    "strategy": "BlueGreen",
    "preview": 1,
    "deadline": "40s",
    "keepPrevious": "3s",
    "keepFailed": "0s",
    "before": [CHECK],
    "drain": {"path": "/drain", "resumePath": "/resume"},
}


class Releases:
    """A Campaign whose one service is released again and again while people use it."""

    def __init__(self, cluster: Cluster, namespace: str, name: str, *, edge: bool, replicas: int = 2) -> None:
        self.cluster, self.namespace, self.name = cluster, namespace, name
        self.objects = Objects(cluster.kubeconfig, namespace)
        self.image = ensure_sample(cluster.lab).image
        self.edge = edge
        self.replicas = replicas
        self.known: tuple[str, ...] = ()
        """Names of the events that the edge knows."""
        self.count = 0
        self.report: Report | None = None

    # What people do.

    def apply(self, *services: Manifest, **spec: Any) -> None:
        """Apply the Campaign with these services."""
        if self.edge:
            spec["edge"] = {
                "replicas": 2,
                "autoscaling": {"max": 2},
                "drainFor": "3s",
                "routes": [{"path": "/", "service": services[0]["name"]}],
                "resources": {"requests": {"cpu": "20m", "memory": "64Mi"}},
                "sidecarResources": {"requests": {"cpu": "20m", "memory": "96Mi"}},
                "limits": {"requestsPerSecond": 100_000, "connectionsPerAddress": 2000, "connections": 4000},
                "events": {"declared": [{"name": each} for each in self.known]},
            }
            spec["analytics"] = {"store": {"resources": {"requests": {"cpu": "20m", "memory": "400Mi"}}}}
        body = {"services": list(services), **spec}
        self.objects.apply(
            {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": {"name": self.name}, "spec": body}
        )

    def service(
        self, version: str, name: str = "app", release: Mapping[str, Any] | None = None, **env: str
    ) -> Manifest:
        """One service of the sample application; keywords are how it behaves."""
        told = {"VERSION": version, "LAMEDUCK_MS": "2500", **env}
        return {
            "name": name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "port": PORT,
            "replicas": self.replicas,
            "env": [{"name": key, "value": value} for key, value in sorted(told.items())],
            "readinessProbe": {"httpGet": {"path": "/readyz"}, "periodSeconds": 1, "failureThreshold": 1},
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}},
            "release": {**RELEASE, **(release or {})},
        }

    def release(self, version: str, rules: Mapping[str, Any] | None = None, **env: str) -> None:
        """Ask for another version."""
        self.apply(self.service(version, release=rules, **env))

    def command(self, name: str, value: str) -> None:
        """Give a command, as `flywheel release` does."""
        self.count += 1
        annotation = {f"flywheel.dev/{name}": f"{value}/{self.count}"}
        self.objects.patch("Campaign", self.name, {"metadata": {"annotations": annotation}})

    @contextmanager
    def used(self, *, post: bool = True) -> Iterator["Used"]:
        """Let people use the service through its Service, and through the edge where there is one."""
        targets = []
        ways = {"service": self.address("app")} | ({"edge": self.address("edge")} if self.edge else {})
        for way, url in ways.items():
            targets.append(Target(f"{way}-kept", url, "ka", clients=4, think=10))
            targets.append(Target(f"{way}-new", url, "close", clients=2, think=20))
            if post:
                targets.append(Target(f"{way}-post", url, "post", clients=4, think=10))
        with Load(self.cluster, *targets) as load:
            used = Used(load)
            try:
                yield used
            except AssertionError:
                print("until then the load says:", load.stop().describe())
                raise
            self.report = load.stop()
            used.report = self.report

    # What people see.

    def address(self, name: str) -> str:
        """The address of a Service, which is reached from the lab's network."""
        spec = self.objects.read("Service", f"{self.name}-{name}")["spec"]
        return f"http://{spec['clusterIP']}:{spec['ports'][0]['port']}"

    @property
    def campaign(self) -> Manifest:
        return self.objects.read("Campaign", self.name)

    def state(self, service: str = "app") -> Manifest:
        """Where the release of a service stands; empty before there is anything."""
        told: list[Manifest] = self.campaign.get("status", {}).get("releases", [])
        return next((each for each in told if each["service"] == service), {})

    def revision_of(self, slot: str, service: str = "app") -> str:
        return str((self.state(service).get(slot) or {}).get("revision", ""))

    @property
    def revision(self) -> str:
        """The revision that has the traffic."""
        return self.revision_of("active")

    def gate(self, name: str) -> Manifest:
        return next((each for each in self.state().get("gates", []) if each["name"] == name), {})

    def pods(self, slot: str = "", service: str = "app") -> list[Manifest]:
        selector = f"flywheel.dev/campaign={self.name},flywheel.dev/service={service}"
        selector += f",flywheel.dev/slot={slot}" if slot else ""
        return [each for each in self.objects.select("Pod", selector) if not each["metadata"].get("deletionTimestamp")]

    def ready_pods(self, slot: str) -> list[Manifest]:
        """Pods of a slot that serve."""

        def ready(pod: Manifest) -> bool:
            told = pod.get("status", {}).get("conditions", [])
            return any(each["type"] == "Ready" and each["status"] == "True" for each in told)

        return [each for each in self.pods(slot) if ready(each)]

    def condition(self, type_: str) -> Manifest:
        told = self.campaign.get("status", {}).get("conditions", [])
        return next((each for each in told if each["type"] == type_), {})

    def events(self) -> list[str]:
        uid = self.campaign["metadata"]["uid"]
        return [each["reason"] for each in self.objects.select("Event") if each.get("regarding", {}).get("uid") == uid]

    # What must come true.

    def eventually(self, look: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
        """Look until it is so."""
        deadline = time.monotonic() + seconds
        while not look():
            assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}\n{self.describe()}"
            time.sleep(POLL)

    def becomes(self, phase: str, seconds: float = SECONDS, service: str = "app") -> Manifest:
        """Wait for a phase of the newest spec."""

        def so() -> bool:
            campaign = self.campaign
            seen = campaign.get("status", {}).get("observedGeneration") == campaign["metadata"]["generation"]
            return seen and self.state(service).get("phase") == phase

        self.eventually(so, f"{service} {phase}", seconds)
        return self.state(service)

    def serves(self, version: str, seconds: float = SECONDS) -> None:
        """Wait until a version, and no other, is what the release has arrived at."""

        def so() -> bool:
            state = self.state()
            return state.get("phase") not in ON_THEIR_WAY and self.version_of(state.get("active", {})) == version

        self.eventually(so, f"{version} serves", seconds)

    def version_of(self, placed: Manifest) -> str:
        """The version that a slot runs, as its pods' environment says."""
        if not placed:
            return ""
        found = self.objects.get("Deployment", f"{self.name}-app-{placed['slot']}")
        if found is None or found["metadata"]["labels"].get("flywheel.dev/revision") != placed["revision"]:
            return ""
        env = found["spec"]["template"]["spec"]["containers"][0]["env"]
        return str(next(each["value"] for each in env if each["name"] == "VERSION"))

    def comes_to_rest(self, version: str) -> None:
        """Bring everything to a known state: one version, nothing warm, nothing failed."""
        self.release(version)
        self.serves(version, seconds=90)

        def quiet() -> bool:
            state = self.state()
            return state["phase"] == "Stable" and not any(state.get(each) for each in ("preview", "previous", "failed"))

        self.eventually(quiet, "a release at rest")
        # Pods that end still answer those whom a node sends there, and would be taken for what the next test releases.
        self.eventually(lambda: self._revisions_of_pods() == {self.revision}, "the end of all other pods")

    def _revisions_of_pods(self) -> set[str]:
        """What there are pods of, those that are ending included."""
        pods = self.objects.select("Pod", f"flywheel.dev/campaign={self.name},flywheel.dev/service=app")
        return {each["metadata"]["labels"]["flywheel.dev/revision"] for each in pods}

    def describe(self) -> str:
        """All that helps to understand a failure."""
        said = self.campaign.get("status", {})
        told = {name: said.get(name) for name in ("releases", "conditions", "edge")}
        log = self.cluster.kubectl("logs", "-n", "flywheel-system", "deploy/flywheel", "--tail=15", check=False)
        pods = self.cluster.kubectl("get", "pods", "-n", self.namespace, "-o", "wide", check=False)
        return f"{json.dumps(told, indent=1)}\n{pods}\n{log}"


class Used:
    """A load at work, and afterwards what it says."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.report: Report | None = None

    def nobody_was_turned_away(self) -> None:
        """Every request of every kind was answered well."""
        assert self.report is not None
        assert self.report.total > 200, self.report.describe()
        assert self.report.failed == 0, self.report.describe()

    def versions_seen(self, way: str = "") -> set[str]:
        """Who has answered."""
        assert self.report is not None
        return {
            version for name, each in self.report.loads.items() if name.startswith(way) for version in each.versions
        }

    def described(self) -> str:
        """Who answered when, for people."""
        assert self.report is not None
        return self.report.describe()

    def failed_at_the_edge(self) -> int:
        assert self.report is not None
        return sum(each.failed for name, each in self.report.loads.items() if name.startswith("edge"))


def moment(text: str) -> float:
    """Read an instant of a status."""
    from datetime import datetime

    return datetime.fromisoformat(re.sub(r"Z$", "+00:00", text)).timestamp()
