"""Reads what Flink has found, and brings it into the journal: acted on as the worker's own verdicts are.

Where to go on reading stands in the same record of the journal. So each verdict is acted on once, whatever moment the
worker is killed at; and a replay, which asks nobody, comes out the same.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from flywheel.fraud.event_lookup import EventLookup
from flywheel.fraud.heard import Refusal, Said, believed, read_verdict
from flywheel.fraud.judging import Full, Judging
from flywheel.fraud.kafka_client import ANSWER, Clients, KafkaAway, told
from flywheel.fraud.publishing import FIRST_WAIT, LONGEST_WAIT
from flywheel.fraud.recent_events import Place, RecentEvents
from flywheel.fraud.records import Elsewhere, Heard
from flywheel.fraud.wanted_topics import WantedTopics

log = logging.getLogger(__name__)

AT_ONCE = 200
"""Verdicts of one record of the journal."""
PATIENCE = 0.5
"""Seconds of waiting for verdicts before it is looked again which ones are wanted."""
LOOK_AGAIN, LOOK_SOON = 30.0, 2.0
"""Seconds between two looks for partitions that were added; and after an error, for whether Kafka is there again."""


class _Read(NamedTuple):
    """What was read of one topic, and not acted on yet."""

    record: Elsewhere
    refused: Counter[Refusal]


class Hearing:
    """The one who reads verdicts."""

    def __init__(
        self, judging: Judging, clients: Clients, topics: WantedTopics, recent: RecentEvents, group: str
    ) -> None:
        """Make it.

        Args:
            judging: Acts on verdicts.
            clients: Makes clients.
            topics: Which verdicts are wanted.
            recent: Events that were written lately.
            group: Name that Kafka knows the clients by.
        """
        self._judging, self._clients, self._topics, self._group = judging, clients, topics, group
        self._lookup = EventLookup(clients, f"{group}-events", recent)
        self._thread = ThreadPoolExecutor(1, "verdicts of Flink")
        self._consumer: Consumer | None = None
        self._assigned: frozenset[tuple[str, int]] = frozenset()
        self._look_again = 0.0
        self.problem = ""
        """Why nothing is read now; empty where all is well."""
        self.heard: Counter[str] = Counter()
        """Verdicts that were believed, by campaign."""
        self.refused: Counter[tuple[str, Refusal]] = Counter()
        """Those that were not, by campaign and reason."""
        self.failures = 0

    async def run(self) -> None:
        """Work until cancelled."""
        loop, wait = asyncio.get_running_loop(), FIRST_WAIT
        while True:
            try:
                read = await loop.run_in_executor(self._thread, self._read)
                wait = FIRST_WAIT
            except (KafkaAway, KafkaException, RuntimeError) as error:
                self.failures += 1
                self.note_error(told(error) if isinstance(error, KafkaException) else str(error))
                await loop.run_in_executor(self._thread, self._begin_again)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            for each in read:
                await self._act(each)
            if not self._assigned:
                await asyncio.sleep(PATIENCE)

    async def close(self) -> None:
        """Let go of Kafka."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._begin_again)
        self._thread.shutdown()

    def note_error(self, text: str) -> None:
        """Take note of a connection that fails."""
        if text != self.problem:
            log.warning("Kafka: %s", text)
        self.problem = text
        self._look_again = min(self._look_again, time.monotonic() + LOOK_SOON)

    async def _act(self, read: _Read) -> None:
        """Bring what was read into the journal, however long that takes: only then is it read on."""
        wait, campaign = FIRST_WAIT, read.record.campaign
        while True:
            try:
                await self._judging.submit(read.record)
            except (Full, OSError) as error:
                self.note_error(f"verdicts wait, as the worker takes none: {error}")
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                break
        self.problem = ""
        self.heard[campaign] += len(read.record.heard)
        for reason, count in read.refused.items():
            self.refused[campaign, reason] += count
            log.warning("%d verdicts on %s are not believed: %s.", count, read.record.topic, reason)

    def _read(self) -> list[_Read]:
        wanted = self._topics.verdicts()
        if not wanted:
            self._begin_again()
            self.problem = ""
            return []
        consumer = self._consumer = self._consumer or self._clients.consumer(self._group)
        self._assign(consumer, wanted)
        if not self._assigned:
            return []
        by_topic: dict[str, list[Message]] = {}
        for message in consumer.consume(AT_ONCE, PATIENCE):
            if (error := message.error()) is not None:
                if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - theirs, and public
                    continue
                raise KafkaException(error)
            by_topic.setdefault(message.topic() or "", []).append(message)
        return [self._understood(wanted[topic], topic, each) for topic, each in by_topic.items() if topic in wanted]

    def _assign(self, consumer: Consumer, wanted: dict[str, str]) -> None:
        """Read on all partitions of all wanted topics, each from where the journal says."""
        if time.monotonic() < self._look_again and {topic for topic, _ in self._assigned} == set(wanted):
            return
        trouble = self.problem
        found: set[tuple[str, int]] = set()
        for topic in wanted:
            known = consumer.list_topics(topic, timeout=ANSWER).topics[topic]
            # One that is not there yet is made by whoever writes events.
            found |= {(topic, lane) for lane in known.partitions} if known.error is None else set()
        if found != self._assigned:
            places = self._judging.casebook.topics
            consumer.assign(
                [
                    TopicPartition(topic, lane, places.get(topic, {}).get(lane, OFFSET_BEGINNING))
                    for topic, lane in sorted(found)
                ]
            )
            self._assigned = frozenset(found)
        if self.problem == trouble:
            # It answers, so whatever was is over.
            self.problem = ""
        self._look_again = time.monotonic() + (LOOK_AGAIN if found else FIRST_WAIT)

    def _understood(self, campaign: str, topic: str, messages: Sequence[Message]) -> _Read:
        rules, events = self._topics.rules(campaign), self._topics.topic(campaign)
        refused: Counter[Refusal] = Counter()
        said: list[Said] = []
        for message in messages:
            value = message.value()
            if value is None:
                continue
            read = read_verdict(value, rules) if isinstance(value, bytes) else "Unreadable"
            if isinstance(read, Said):
                said.append(read)
            else:
                refused[read] += 1
        where = {id(each): Place(events.events if events else "", each.lane, each.place) for each in said}
        records = self._lookup.find(where.values())
        heard: list[Heard] = []
        for each in said:
            found = believed(each, records[where[id(each)]])
            if isinstance(found, Heard):
                heard.append(found)
            else:
                refused[found] += 1
        positions: dict[int, int] = {}
        for message in messages:
            positions[message.partition() or 0] = (message.offset() or 0) + 1
        return _Read(Elsewhere(campaign, topic, positions, tuple(heard)), refused)

    def _begin_again(self) -> None:
        """Let go of all clients: the next ones begin where the journal says."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer, self._assigned, self._look_again = None, frozenset(), 0.0
        self._lookup.close()
