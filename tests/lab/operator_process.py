"""The operator as a process beside the tests, on a cluster of their own, with its log at hand."""

import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Self

import httpx
from tests.asking import PLAIN
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.ports import free_ports
from tools.bootstrap.steps import REPOSITORY

READY_SECONDS = 120.0
END_SECONDS = 60.0
WRITES = ("apply", "patch", "create", "replace", "delete")
"""The verbs of flywheel_api_calls_total that change something."""

_SAMPLE = re.compile(r"^(?P<name>\w+)(?:\{(?P<labels>.*)\})? (?P<value>\S+)$")
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class OperatorProcess:
    """`flywheel operator` for some namespaces. It can be started again after it was stopped or killed."""

    def __init__(self, cluster: Cluster, namespaces: Sequence[str], log: Path, *options: str) -> None:
        """Prepare, but do not start.

        Args:
            cluster: Where the operator logs in.
            namespaces: What it serves; empty for the whole cluster.
            log: The file that its log is added to.
            options: Further options of `flywheel operator`.
        """
        self.log = log
        self.health_port, self.metrics_port = free_ports(2)
        served = [f"--namespace={each}" for each in namespaces] or ["--all-namespaces"]
        ports = [f"--health-port={self.health_port}", f"--metrics-port={self.metrics_port}"]
        self._command = [str(Path(sys.executable).with_name("flywheel")), "operator", *served, *ports, *options]
        self._environment = {**cluster.environment, "FLYWHEEL_LEADER_ELECTION": "false"}
        if any("leader-election" in option for option in options):
            del self._environment["FLYWHEEL_LEADER_ELECTION"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "OperatorProcess":
        """Start it and wait until it is ready."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=REPOSITORY, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        try:
            wait_until(self._is_ready_or_ended, "a ready operator", READY_SECONDS)
            assert self.running, f"the operator has ended at once:\n{self.tail()}"
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self) -> int:
        """Ask it to end, as Kubernetes does, and return its exit status."""
        if self._process is None:
            return 0
        self._process.send_signal(signal.SIGTERM)
        status = self._process.wait(END_SECONDS)
        self._process = None
        return status

    def kill(self) -> None:
        """End it with SIGKILL: at once, in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(END_SECONDS)
            self._process = None

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def probe(self, path: str) -> httpx.Response:
        """Ask one of its probes."""
        return httpx.get(f"http://127.0.0.1:{self.health_port}{path}", timeout=5, trust_env=False, verify=PLAIN)

    def metrics_text(self) -> str:
        """Read all its figures as Prometheus does."""
        return httpx.get(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=5, trust_env=False, verify=PLAIN).text

    def metric(self, name: str, **labels: str) -> float:
        """Sum the samples of one figure that carry the labels."""
        return sum(value for found, value in self._samples(name) if labels.items() <= found.items())

    def writes(self) -> float:
        """Count what it has written to the API server so far."""
        return sum(self.metric("flywheel_api_calls_total", verb=verb) for verb in WRITES)

    def tail(self, lines: int = 60) -> str:
        """Return the end of its log."""
        if not self.log.is_file():
            return ""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])

    def _samples(self, name: str) -> list[tuple[dict[str, str], float]]:
        samples = (_SAMPLE.match(line) for line in self.metrics_text().splitlines())
        return [
            (dict(_LABEL.findall(sample["labels"] or "")), float(sample["value"]))
            for sample in samples
            if sample and sample["name"] == name
        ]

    def _is_ready_or_ended(self) -> bool:
        if not self.running:
            return True
        try:
            return self.probe("/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.stop()
        else:
            self.kill()
