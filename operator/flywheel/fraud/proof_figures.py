"""What a worker says to Prometheus of verdicts that it keeps, and of how right its rules are."""

from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flywheel.fraud.casebook import Casebook
from flywheel.fraud.filing import Filing, evidence_of
from flywheel.fraud.proof import Share, precision_of, recall_of


class ProofFigures:
    """Figures that are read when they are asked for; a collector in the sense of prometheus_client."""

    def __init__(self, namespace: str, casebook: Casebook, filing: Filing) -> None:
        self._namespace, self._casebook, self._filing = namespace, casebook, filing

    def collect(self) -> Iterable[Metric]:
        """Write the figures."""
        yield from self._of_the_archive()
        yield from self._of_rules()
        known = GaugeMetricFamily(
            "flywheel_fraud_labels", "Labels that are known.", labels=["namespace", "campaign", "label"]
        )
        for name, desk in self._casebook.desks.items():
            known.add_metric([self._namespace, name, "Dishonest"], desk.labels.dishonest)
            known.add_metric([self._namespace, name, "Honest"], len(desk.labels) - desk.labels.dishonest)
        yield known

    def _of_the_archive(self) -> Iterable[Metric]:
        counted = {
            "flywheel_fraud_verdicts_filed": ("Verdicts that were written into the archive.", self._filing.filed),
            "flywheel_fraud_verdicts_lost": (
                "Verdicts that are kept nowhere, as the archive did not take them fast enough.",
                self._casebook.unfiled.dropped,
            ),
            "flywheel_fraud_verdicts_evicted": (
                "Verdicts that left the archive before their time, for want of room.", self._filing.evicted,
            ),
            "flywheel_fraud_archive_failures": ("Reads and writes of the archive that failed.", self._filing.failures),
        }  # fmt: skip
        for name, (text, value) in counted.items():
            family = CounterMetricFamily(name, text, labels=["namespace"])
            family.add_metric([self._namespace], value)
            yield family
        waiting = GaugeMetricFamily(
            "flywheel_fraud_verdicts_waiting", "Verdicts on their way to the archive.", labels=["namespace"]
        )
        waiting.add_metric([self._namespace], len(self._casebook.unfiled))
        yield waiting

    def _of_rules(self) -> Iterable[Metric]:
        labels = ["namespace", "campaign", "rule"]
        families = {
            name: [
                GaugeMetricFamily(f"flywheel_fraud_{name}", text, labels=labels),
                GaugeMetricFamily(f"flywheel_fraud_{name}_low", "Lower bound of it, with 95%.", labels=labels),
                GaugeMetricFamily(f"flywheel_fraud_{name}_high", "Upper bound of it, with 95%.", labels=labels),
                GaugeMetricFamily(f"flywheel_fraud_{name}_labels", "Labels that it is made of.", labels=labels),
            ]
            for name, text in (
                ("precision", "Share of the found who are dishonest, by labels of those who were left alone."),
                ("recall", "Share of the dishonest who were found, by labels."),
            )
        }
        for name, desk in self._casebook.desks.items():
            for figures in desk.engine.figures():
                evidence = evidence_of(self._filing, name, figures.rule, figures.version)
                place = [self._namespace, name, figures.rule]
                _add(families["precision"], place, precision_of(evidence))
                _add(families["recall"], place, recall_of(evidence))
        for each in families.values():
            yield from each


def _add(families: list[GaugeMetricFamily], place: list[str], share: Share | None) -> None:
    """Write a share; without labels there is none, and no number says so."""
    if share is not None:
        for family, value in zip(families, (share.value, share.low, share.high, share.labels), strict=True):
            family.add_metric(place, value)
