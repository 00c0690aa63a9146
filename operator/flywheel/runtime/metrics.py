"""The operator's own figures for Prometheus. Only those of A/B tests have labels from the users' objects."""

from collections.abc import Callable, Iterable
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info
from prometheus_client.process_collector import ProcessCollector

from flywheel.campaign.fraudlists import count_not_taken
from flywheel.experiment.gauges import ABTestGauges
from flywheel.experiment.report_model import LookAt
from flywheel.plan import Manifest


class Metrics:
    """All figures of one operator process, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.reconcile_seconds = Histogram(
            "flywheel_reconcile_duration_seconds",
            "Duration of one reconcile.",
            ("kind", "result"),
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )
        self._calls = self._counter("flywheel_api_calls", "Calls to the API server.", "verb", "result")
        self._skipped = self._counter("flywheel_writes_skipped", "Writes that were not needed.", "kind")
        self._missed = self._counter("flywheel_missed_changes", "Changes that a watch did not tell.", "kind")
        self._releases = self._counter("flywheel_release_events", "What has happened to releases.", "event")
        self._leader = self._gauge("flywheel_leader", "1 while this replica may write.")
        self._tests: Callable[[], Iterable[Manifest]] = lambda: ()
        self._looks = ABTestGauges(lambda: self._tests())
        self.registry.register(self._looks)
        info = Info("flywheel_build", "The version of this operator.", registry=self.registry)
        info.info({"version": version("flywheel")})

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(name, text, registry=self.registry)

    def observe_call(self, verb: str, result: str) -> None:
        """Count one call to the API server."""
        self._calls.labels(verb, result).inc()

    def observe_skipped(self, kind: str) -> None:
        """Count one write that was not needed."""
        self._skipped.labels(kind).inc()

    def observe_release(self, event: str) -> None:
        """Count one thing that happened to a release, by the reason of its Event."""
        self._releases.labels(event).inc()

    def observe_missed(self, kind: str) -> None:
        """Count one change that a watch should have told and did not."""
        self._missed.labels(kind).inc()

    def follow_queue(self, depth: Callable[[], float], oldest: Callable[[], float]) -> None:
        """Read the queue's figures whenever they are asked for."""
        self._gauge("flywheel_queue_depth", "Campaigns that wait for a worker.").set_function(depth)
        self._gauge("flywheel_queue_oldest_seconds", "How long the first of them has waited.").set_function(oldest)

    def follow_leader(self, leading: Callable[[], bool]) -> None:
        """Read whether this replica may write whenever it is asked for."""
        self._leader.set_function(lambda: float(leading()))

    def follow_objects(
        self, campaigns: Callable[[], float], stalled: Callable[[], float], children: Callable[[], float]
    ) -> None:
        """Read how much is held in memory, and how much of it needs a person, whenever it is asked for."""
        self._gauge("flywheel_campaigns", "Campaigns in memory.").set_function(campaigns)
        self._gauge("flywheel_campaigns_stalled", "Campaigns that a person has to look at.").set_function(stalled)
        self._gauge("flywheel_children", "Children of campaigns in memory.").set_function(children)

    def follow_tests(self, tests: Callable[[], Iterable[Manifest]]) -> None:
        """Read the A/B tests that are told of whenever they are asked for."""
        self._tests = tests

    def follow_rules(self, rules: Callable[[], Iterable[Manifest]]) -> None:
        """Count the FraudRules whose lists are not in force as they are now, whenever that is asked for."""
        self._gauge("flywheel_fraud_rules_without_lists", "FraudRules with a list that is not taken.").set_function(
            lambda: float(count_not_taken(rules()))
        )

    def observe_look(self, namespace: str, name: str, look: LookAt) -> None:
        """Remember the exact figures of the newest look at an A/B test."""
        self._looks.put_look(namespace, name, look)
