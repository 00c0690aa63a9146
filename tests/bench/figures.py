"""Reading what the operator, the API server and the kernel say of themselves, before and after."""

import os
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.stand import Stand
from tests.lab.operator_process import OperatorProcess

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
_LABEL = re.compile(r'(\w+)="([^"]*)"')
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "etcd")
CHILD_RESOURCES = ("campaigns", "deployments", "services", "horizontalpodautoscalers", "poddisruptionbudgets")
CHILD_RESOURCES += ("serviceaccounts", "events")
CONTROLLERS = frozenset({"WATCH", "LIST", "CONNECT"})

Sample = tuple[str, frozenset[tuple[str, str]]]


def samples(text: str, prefix: str) -> Counter[Sample]:
    """Read the samples of the metrics whose name begins with `prefix`."""
    found: Counter[Sample] = Counter()
    for name, labels, value in _SAMPLE.findall(text):
        if name.startswith(prefix):
            found[name, frozenset(_LABEL.findall(labels))] += float(value)
    return found


@dataclass
class Reconciles:
    """The histogram of reconcile durations between two moments."""

    buckets: dict[float, float] = field(default_factory=dict)

    @classmethod
    def between(cls, before: str, after: str) -> "Reconciles":
        """Subtract two readings of the operator's metrics."""
        name = "flywheel_reconcile_duration_seconds_bucket"
        grown: dict[float, float] = defaultdict(float)
        for reading, sign in ((after, 1), (before, -1)):
            for (_, labels), value in samples(reading, name).items():
                grown[float(dict(labels)["le"])] += sign * value
        return cls(dict(sorted(grown.items())))

    @property
    def count(self) -> float:
        """How many there were."""
        return self.buckets.get(float("inf"), 0.0)

    def quantile(self, share: float) -> float:
        """Estimate a quantile in seconds, linear within its bucket as in Prometheus."""
        wanted, low, below = share * self.count, 0.0, 0.0
        for bound, count in self.buckets.items():
            if count >= wanted and count > below:
                return low if bound == float("inf") else low + (bound - low) * (wanted - below) / (count - below)
            low, below = bound, count
        return low


def reconciled(metrics: str) -> float:
    """Count the reconciles that went well."""
    name = "flywheel_reconcile_duration_seconds_count"
    return sum(value for (_, labels), value in samples(metrics, name).items() if ("result", "ok") in labels)


def cpu_seconds(metrics: str) -> float:
    """Give the processor time of the operator so far."""
    return sum(samples(metrics, "process_cpu_seconds_total").values())


def resident_mib(operator: OperatorProcess) -> float:
    """Give the memory of the operator, in MiB."""
    return operator.metric("process_resident_memory_bytes") / 2**20


def server_seconds(stand: Stand) -> float:
    """Sum the time that the API server took for single objects of the kinds a Campaign is made of, whoever asked."""
    text = stand.cluster.kubectl("get", "--raw", "/metrics")
    found = samples(text, "apiserver_request_duration_seconds_sum")
    return sum(
        value
        for (_, labels), value in found.items()
        if dict(labels)["resource"] in CHILD_RESOURCES and dict(labels)["verb"] not in CONTROLLERS
    )


def lab_cpu_seconds(stand: Stand) -> dict[str, float]:
    """Give the processor time of the lab's programs so far; empty on a cluster of the user's own."""
    if not stand.cluster.lab:
        return {}
    mark, ticks = str(stand.cluster.lab.state).encode(), os.sysconf("SC_CLK_TCK")
    found = {}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            name = Path(command.split(b"\0")[0].decode()).name
            if name in PROGRAMS and mark in command:
                times = (process / "stat").read_text().rpartition(")")[2].split()
                found[name] = (int(times[11]) + int(times[12])) / ticks
        except OSError:
            continue
    return found
