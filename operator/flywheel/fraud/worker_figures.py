"""What a fraud worker says of itself to Prometheus."""

import time
from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flywheel.fraud.judging import Judging
from flywheel.fraud.lags import Lags
from flywheel.fraud.rulings import Ruling
from flywheel.fraud.subscriptions import Subscriptions
from flywheel.fraud.words import Event

OF_RULES = {
    "keys_evicted": "Keys that a rule forgot or refused for want of room.",
    "events_late": "Events that came too late for a rule.",
    "events_without_key": "Events without a field of a rule's key.",
}
QUICK = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0)


class Figures:
    """Counters and gauges. Their labels come from Campaigns and rules, never from what clients send."""

    def __init__(self, namespace: str, registry: CollectorRegistry) -> None:
        self._namespace = namespace
        of_campaign = ["namespace", "campaign"]
        self._events = Counter(
            "flywheel_fraud_events_total", "Events that were judged.", of_campaign, registry=registry
        )
        self._again = Counter(
            "flywheel_fraud_events_again_total", "Events that came twice and were judged once.", of_campaign,
            registry=registry,
        )  # fmt: skip
        self._rulings = Counter(
            "flywheel_fraud_verdicts_total", "Verdicts, by rule and by what followed: the action, or none.",
            [*of_campaign, "rule", "action"], registry=registry,
        )  # fmt: skip
        self._lag = Histogram(
            "flywheel_fraud_event_seconds", "From the edge's taking an event in to its verdict.", ["namespace"],
            buckets=QUICK, registry=registry,
        )  # fmt: skip
        self._questions = Histogram(
            "flywheel_fraud_question_seconds", "Time of one answer, by kind.", ["namespace", "kind"], buckets=QUICK,
            registry=registry,
        )  # fmt: skip
        self._unheard = Counter(
            "flywheel_fraud_unheard_total", "Questions that another worker left without an answer, by its name.",
            ["namespace", "worker"], registry=registry,
        )  # fmt: skip
        self.lags = Lags()
        self._ready = Gauge("flywheel_fraud_ready", "1 while events are judged.", ["namespace"], registry=registry)

    def counted(self, campaign: str, events: Sequence[Event], new: bool) -> None:
        """Count a batch."""
        if not new:
            self._again.labels(self._namespace, campaign).inc(len(events))
            return
        self._events.labels(self._namespace, campaign).inc(len(events))
        if events:
            # The oldest of a batch stands for it.
            lag = max(0.0, time.time() - events[0].arrived / 1000)
            self._lag.labels(self._namespace).observe(lag)
            self.lags.note(campaign, lag)

    def ruling(self, campaign: str, ruling: Ruling) -> None:
        """Count a verdict."""
        action = ruling.decisions[0].action if ruling.decisions else "none"
        self._rulings.labels(self._namespace, campaign, ruling.verdict.rule, action).inc()

    def question(self, kind: str, seconds: float) -> None:
        """Note how long an answer took."""
        self._questions.labels(self._namespace, kind).observe(seconds)

    def unheard(self, worker: str) -> None:
        """Note that another worker did not answer."""
        self._unheard.labels(self._namespace, worker).inc()

    def ready(self, *, works: bool) -> None:
        """Note whether events are judged."""
        self._ready.labels(self._namespace).set(int(works))


class StateFigures:
    """Figures that are read when they are asked for; a collector in the sense of prometheus_client."""

    def __init__(self, namespace: str, judging: Judging, subscriptions: Subscriptions) -> None:
        self._namespace, self._judging, self._subscriptions = namespace, judging, subscriptions

    def collect(self) -> Iterable[Metric]:
        """Write the figures."""
        judging = self._judging
        plain = {
            "flywheel_fraud_journal_records": ("Records of the journal so far.", judging.judged),
            "flywheel_fraud_journal_uncovered_records": (
                "Records that a restart would replay.", judging.judged - judging.covered,
            ),
            "flywheel_fraud_journal_torn_bytes": ("Cut off the journal at the last start.", judging.journal.torn),
            "flywheel_fraud_replayed_records": ("Replayed at the last start.", judging.replayed),
            "flywheel_fraud_snapshot_pause_seconds": ("Of the last snapshot.", judging.snapshot_seconds),
            "flywheel_fraud_streams": ("Sidecars that are told of decisions.", len(self._subscriptions)),
        }  # fmt: skip
        for name, (text, value) in plain.items():
            family = GaugeMetricFamily(name, text, labels=["namespace"])
            family.add_metric([self._namespace], value)
            yield family
        failures = CounterMetricFamily("flywheel_fraud_disk_failures", "Writes that failed.", labels=["namespace"])
        failures.add_metric([self._namespace], judging.failures)
        yield failures
        yield from self._of_campaigns()

    def _of_campaigns(self) -> Iterable[Metric]:
        labels = ["namespace", "campaign"]
        held = GaugeMetricFamily("flywheel_fraud_decisions", "Decisions that hold.", labels=labels)
        evicted = CounterMetricFamily(
            "flywheel_fraud_decisions_evicted", "Decisions that ended early for want of room.", labels=labels
        )
        problem = GaugeMetricFamily("flywheel_fraud_rules_problem", "1 where new rules do not hold.", labels=labels)
        for name, desk in self._judging.casebook.desks.items():
            held.add_metric([self._namespace, name], len(desk.blocks))
            evicted.add_metric([self._namespace, name], desk.blocks.evicted)
            problem.add_metric([self._namespace, name], int(bool(desk.problem)))
        yield from (held, evicted, problem)
        yield from self._of_lists()
        yield from self._of_rules()

    def _of_lists(self) -> Iterable[Metric]:
        """Labels are names that rules give; who is on a list is in no figure."""
        entries = GaugeMetricFamily(
            "flywheel_fraud_list_entries", "Entries of a list that rules name.", labels=["namespace", "list", "of"]
        )
        book = self._judging.casebook
        for of, packed in book.lists.items():
            entries.add_metric([self._namespace, of.source, of.of], packed.entries)
        listed = CounterMetricFamily(
            "flywheel_fraud_listed",
            "Verdicts that a list has decided, by its kind: nobody was stopped, was for it, or was only watched.",
            labels=["namespace", "campaign", "rule", "list"],
        )
        for name, desk in book.desks.items():
            for each in desk.engine.figures():
                for kind, value in (("allow", each.allowed), ("deny", each.denied), ("watch", each.watched)):
                    listed.add_metric([self._namespace, name, each.rule, kind], value)
        yield from (entries, listed)

    def _of_rules(self) -> Iterable[Metric]:
        """Write what the rules' own counters say, which come back with the windows after a restart."""
        labels = ["namespace", "campaign", "rule"]
        keys = GaugeMetricFamily("flywheel_fraud_keys", "Keys that a rule remembers.", labels=labels)
        counters = {
            name: CounterMetricFamily(f"flywheel_fraud_{name}", text, labels=labels) for name, text in OF_RULES.items()
        }
        for campaign, desk in self._judging.casebook.desks.items():
            for rule in desk.engine.figures():
                of_rule = [self._namespace, campaign, rule.rule]
                keys.add_metric(of_rule, rule.keys)
                for name, value in zip(OF_RULES, (rule.evicted, rule.late, rule.without_key), strict=True):
                    counters[name].add_metric(of_rule, value)
        yield from (keys, *counters.values())
