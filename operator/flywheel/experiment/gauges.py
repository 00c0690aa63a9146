"""A/B tests for Prometheus: always what is known at the moment it asks; of a test that is gone, nothing."""

from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from flywheel.experiment.report_model import LookAt
from flywheel.experiment.samples import FAMILIES, OF_TEST, Sample, samples
from flywheel.experiment.state import ENDED

MOST_TESTS = 200
"""Of which Prometheus is told at once; each takes up to some two hundred series."""
Key = tuple[str, str]
"""Namespace and name of a test."""


class ABTestGauges(Collector):
    """Reads the tests from the memory that the watches fill, so it has nothing of its own to forget."""

    def __init__(self, tests: Callable[[], Iterable[Mapping[str, Any]]]) -> None:
        """Make it.

        Args:
            tests: Gives the ABTests that are to be told of; nothing where another process leads, which tells of them.
        """
        self._tests = tests
        self._looks: MutableMapping[Key, LookAt] = {}

    def put_look(self, namespace: str, name: str, look: LookAt) -> None:
        """Remember the newest look at a test, whose figures are exact; it is forgotten with the test."""
        self._looks[namespace, name] = look

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Give all gauges."""
        held = {_key(each): each for each in self._tests()}
        for gone in self._looks.keys() - held.keys():
            self._looks.pop(gone, None)
        told = sorted(held.items(), key=lambda each: (_is_over(each[1]), each[0]))[:MOST_TESTS]
        found: dict[str, list[Sample]] = {}
        for key, manifest in told:
            for sample in samples(manifest, self._looks.get(key)):
                found.setdefault(sample.family, []).append(sample)
        for name, (text, labels) in FAMILIES.items():
            family = GaugeMetricFamily(f"flywheel_abtest_{name}", text, labels=[*OF_TEST, *labels])
            for sample in found.get(name, ()):
                family.add_metric(list(sample.labels), sample.value)
            yield family


def _key(manifest: Mapping[str, Any]) -> Key:
    metadata = manifest["metadata"]
    return str(metadata["namespace"]), str(metadata["name"])


def _is_over(manifest: Mapping[str, Any]) -> bool:
    """Those that run come first where there are too many."""
    return (manifest.get("status") or {}).get("state") in ENDED
