"""Operators to be killed, frozen and cut off; the rest of the world is as in the other tests."""

import os
import signal
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.lab.objects import Objects
from tests.lab.operator_process import OperatorProcess


class Replica(OperatorProcess):
    """An operator that signals are sent to, and that may be silent or gone when it is asked something."""

    @property
    def pid(self) -> int:
        """The process id."""
        assert self._process is not None
        return self._process.pid

    def send(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        os.kill(self.pid, number)

    def exit_status(self, seconds: float) -> int:
        """Wait until the process has ended by itself; give its exit status, negative after a signal."""
        assert self._process is not None
        wait_until(lambda: not self.running, f"the end of the operator {self.pid}", seconds)
        return self._process.wait()

    def ready(self) -> bool | None:
        """Whether it says that it is ready; None where it says nothing."""
        try:
            return self.probe("/readyz").is_success
        except httpx.TransportError:
            return None

    def leads(self) -> bool:
        """Whether it says that it may write."""
        try:
            return self.metric("flywheel_leader") == 1
        except httpx.TransportError:
            return False

    def end(self) -> None:
        """Make sure that nothing of it is left, also if it is frozen."""
        if self.running:
            self.send(signal.SIGCONT)
        self.kill()


@contextmanager
def namespace_of_its_own(cluster: Cluster, role: str) -> Iterator[Objects]:
    """A namespace that goes at the end whatever is in it, and though no operator is there any more."""
    name = f"test-{uuid.uuid4().hex[:6]}-{role}"
    objects = Objects(cluster.kubeconfig, name)
    objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    try:
        yield objects
    finally:
        for each in objects.select("Campaign"):
            objects.patch("Campaign", each["metadata"]["name"], {"metadata": {"finalizers": None}})
        objects.delete("Namespace", name)


def seed_of(test: str) -> int:
    """Take the seed of a random test from FLYWHEEL_SEED, or draw one; it is printed either way."""
    seed = int(os.environ.get("FLYWHEEL_SEED") or time.time_ns() % 1_000_000)
    print(f"{test}: FLYWHEEL_SEED={seed} plays the same again")
    return seed


def tails(directory: Path, count: int = 3) -> str:
    """Give the ends of the newest logs, for the message of an assertion."""
    newest = sorted(directory.glob("*.log"), key=lambda log: log.stat().st_mtime)[-count:]
    return "\n".join(f"--- {log.name}\n{log.read_text(errors='replace')[-4000:]}" for log in newest)
