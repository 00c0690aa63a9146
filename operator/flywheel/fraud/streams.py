"""The worker's ways to and from Kafka: events out, verdicts of Flink in, and how both are doing."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from flywheel.fraud.hearing import Hearing
from flywheel.fraud.judging import Judging
from flywheel.fraud.kafka import Kafka
from flywheel.fraud.kafka_client import Clients
from flywheel.fraud.publishing import Publishing
from flywheel.fraud.recent_events import RecentEvents
from flywheel.fraud.wanted_topics import WantedTopics

POSITION = "published"
"""File on the volume with the position of the journal up to which events are in Kafka."""
SEGMENTS = 8
"""Of the journal, that are kept for Kafka while it is away: half a GiB. What is older is lost to Flink, and counted."""


class Streams:
    """Both ways of one worker. Only the first of several has them: each sees all events."""

    def __init__(
        self, judging: Judging, kafka: Kafka, credentials: Path, volume: Path, namespace: str, partitions: int
    ) -> None:
        """Find out where to go on. The journal must have been read.

        Args:
            judging: Writes the journal.
            kafka: How Kafka is reached.
            credentials: Directory of the Secret's files.
            volume: The worker's.
            namespace: Whose campaigns.
            partitions: Of topics that are made.

        Raises:
            OSError: The volume cannot be read or written.
        """
        topics, recent = (
            WantedTopics(lambda: judging.casebook.rules, namespace, kafka.prefix, partitions),
            RecentEvents(),
        )
        self._topics, self._namespace = topics, namespace
        out = Clients(kafka, credentials, lambda text: self.publishing.note_error(text))
        into = Clients(kafka, credentials, lambda text: self.hearing.note_error(text))
        self.publishing = Publishing(judging, out, topics, recent, volume / POSITION)
        self.hearing = Hearing(judging, into, topics, recent, f"{kafka.prefix}-fraud-{namespace}")
        judging.needed_from = self._needed_from
        self._journal = judging.journal

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.publishing.run())
            group.create_task(self.hearing.run())

    async def close(self) -> None:
        """End both ways."""
        await self.publishing.close()
        await self.hearing.close()

    def register(self, registry: CollectorRegistry) -> None:
        """Have the figures asked for."""
        registry.register(self)

    def state(self, campaign: str) -> dict[str, object]:
        """Tell how a campaign's events and verdicts are doing; nothing of one that needs no Kafka."""
        if self._topics.topic(campaign) is None:
            return {}
        hears = bool(self._topics.rules(campaign))
        refused = sum(count for (name, _), count in self.hearing.refused.items() if name == campaign)
        return {
            "problem": self.publishing.problem or (self.hearing.problem if hears else ""),
            "published": self.publishing.published.get(campaign, 0),
            "waiting": self.publishing.waiting,
            "heard": self.hearing.heard[campaign],
            "refused": refused,
        }

    def _needed_from(self) -> int:
        return max(self.publishing.confirmed, self._journal.beginning_of_last(SEGMENTS))

    def collect(self) -> Iterable[Metric]:
        """Write the figures; a collector in the sense of prometheus_client."""
        out, into = self.publishing, self.hearing
        gauges = {
            "flywheel_fraud_kafka_waiting_records": (
                "Records of the journal that Kafka has not confirmed.",
                out.waiting,
            ),
            "flywheel_fraud_kafka_problem": (
                "1 while Kafka is away, or refuses.",
                int(bool(out.problem or into.problem)),
            ),
        }
        counters = {
            "flywheel_fraud_kafka_lost_records": ("Records of the journal that went before Kafka had them.", out.lost),
            "flywheel_fraud_kafka_skipped_events": ("Events that are no record, or too large for Kafka.", out.skipped),
            "flywheel_fraud_kafka_failures": (
                "Times that Kafka refused or did not answer.",
                out.failures + into.failures,
            ),
        }
        for name, (text, value) in gauges.items():
            gauge = GaugeMetricFamily(name, text, labels=["namespace"])
            gauge.add_metric([self._namespace], value)
            yield gauge
        for name, (text, value) in counters.items():
            counter = CounterMetricFamily(name, text, labels=["namespace"])
            counter.add_metric([self._namespace], value)
            yield counter
        yield from self._of_campaigns()

    def _of_campaigns(self) -> Iterable[Metric]:
        labels = ["namespace", "campaign"]
        published = CounterMetricFamily(
            "flywheel_fraud_kafka_events",
            "Events that Kafka has confirmed, those written again included.",
            labels=labels,
        )
        heard = CounterMetricFamily(
            "flywheel_fraud_kafka_verdicts", "Verdicts of Flink that were believed.", labels=labels
        )
        refused = CounterMetricFamily(
            "flywheel_fraud_kafka_verdicts_refused", "Verdicts that were not believed.", labels=[*labels, "reason"]
        )
        for campaign, count in tuple(self.publishing.published.items()):
            published.add_metric([self._namespace, campaign], count)
        for campaign, count in tuple(self.hearing.heard.items()):
            heard.add_metric([self._namespace, campaign], count)
        for (campaign, reason), count in tuple(self.hearing.refused.items()):
            refused.add_metric([self._namespace, campaign, reason], count)
        yield from (published, heard, refused)
