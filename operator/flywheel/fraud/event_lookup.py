"""Reads events where verdicts say that they stand: lately written ones from memory, others from Kafka. It blocks."""

import time
from collections.abc import Iterable

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flywheel.fraud.kafka_client import ANSWER, Clients, KafkaAway
from flywheel.fraud.recent_events import Place, RecentEvents

NEAR = 200
"""Records that are read on the way to the next one that is wanted: beyond, it is jumped to."""


class EventLookup:
    """Finds records by their places."""

    def __init__(self, clients: Clients, group: str, recent: RecentEvents) -> None:
        self._clients, self._group, self._recent = clients, group, recent
        self._consumer: Consumer | None = None
        self._next: tuple[str, int, int] | None = None

    def find(self, places: Iterable[Place]) -> dict[Place, bytes | None]:
        """Give what stands at places; None where nothing does, or not any more.

        Raises:
            KafkaAway, KafkaException: Kafka does not answer.
        """
        wanted = sorted(set(places))
        found = {place: self._recent.get(place) for place in wanted}
        missing = [place for place in wanted if found[place] is None]
        spans: dict[tuple[str, int], tuple[int, int]] = {}
        for place in missing:
            partition = (place.topic, place.lane)
            if partition not in spans:
                spans[partition] = self._span(*partition)
            low, high = spans[partition]
            if low <= place.place < high:
                found[place] = self._read(place)
        return found

    def close(self) -> None:
        """Let go of Kafka."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer, self._next = None, None

    def _span(self, topic: str, lane: int) -> tuple[int, int]:
        """Give the first place that a partition has, and the one behind its last."""
        try:
            low, high = self._client().get_watermark_offsets(TopicPartition(topic, lane), timeout=ANSWER, cached=False)
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._UNKNOWN_PARTITION, KafkaError.UNKNOWN_TOPIC_OR_PART):  # noqa: SLF001 - theirs, and public
                return 0, 0
            raise
        return low, high

    def _read(self, place: Place) -> bytes | None:
        consumer = self._client()
        if self._next is None or self._next[:2] != place[:2] or not 0 <= place.place - self._next[2] <= NEAR:
            consumer.assign([TopicPartition(*place)])
        deadline = time.monotonic() + ANSWER
        while time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is None:
                continue
            if (error := message.error()) is not None:
                raise KafkaException(error)
            if (message.topic(), message.partition()) != place[:2]:
                continue
            at = message.offset() or 0
            self._next = (place.topic, place.lane, at + 1)
            if at >= place.place:
                value = message.value()
                return value if at == place.place and isinstance(value, bytes) else None
        self._next = None
        raise KafkaAway(f"{place.topic} does not give its record {place.place} of partition {place.lane}")

    def _client(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._clients.consumer(self._group)
        return self._consumer
