"""Writes the events of campaigns that Flink judges to their topics, behind the journal: at least once each.

The journal is the buffer. It holds what Kafka has not confirmed, up to a bound; judging never waits. How far Kafka has
confirmed is kept on the volume: a worker that was killed writes what follows once more, and Flink knows ids again.
"""

import asyncio
import contextlib
import logging
import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Protocol

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from flywheel.fraud.flink_records import record_of
from flywheel.fraud.journal import Journal
from flywheel.fraud.journal_tail import JournalTail
from flywheel.fraud.kafka_client import ANSWER, Clients, KafkaAway, told
from flywheel.fraud.packed import Packed, Reading
from flywheel.fraud.recent_events import Place, RecentEvents
from flywheel.fraud.records import Events, read_record
from flywheel.fraud.wanted_topics import WantedTopics
from flywheel.fraud.words import Event

log = logging.getLogger(__name__)

PAUSE = 0.05
"""Seconds between two looks at the journal."""
KEEP_EVERY = 1.0
"""Seconds between two moments at which the position is written down."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 15.0
"""Seconds before another try, doubled each time."""
LAST_WORDS = 3.0
"""Seconds that Kafka has for what waits when the worker ends; what is not confirmed then is written once more."""
_encode = msgspec.json.Encoder().encode
_position = msgspec.json.Decoder(int)


class Judged(Protocol):
    """Whoever writes the journal."""

    journal: Journal
    judged: int
    """Position up to which everything is judged."""


class Publishing:
    """The one who writes events."""

    def __init__(
        self, judging: Judged, clients: Clients, topics: WantedTopics, recent: RecentEvents, file: Path
    ) -> None:
        """Find out where to go on.

        Args:
            judging: Has judged up to somewhere.
            clients: Makes the client.
            topics: Which campaigns, and where their events go.
            recent: Told of what was written.
            file: Keeps the position.

        Raises:
            OSError: The position cannot be read or written.
        """
        self._judging, self._clients, self._topics, self._recent, self._file = judging, clients, topics, recent, file
        self._thread = ThreadPoolExecutor(1, "events for Kafka")
        self._tail = JournalTail(judging.journal, _read(file, judging.judged))
        self.confirmed = self._kept = self._tail.position
        """Position up to which all that has to be in Kafka is there."""
        self._producer: Producer | None = None
        self._open: deque[_Sent] = deque()
        self._refused = ""
        self._ending = False
        self.problem = ""
        """Why nothing is written now; empty where all is well."""
        self.published: dict[str, int] = {}
        """Events that Kafka has confirmed, by campaign."""
        self.skipped = 0
        """Events that cannot be written as a record, or that Kafka finds too large."""
        self.failures = 0
        """Times that Kafka refused, or was away for longer than a moment."""
        _write(file, self.confirmed)

    @property
    def lost(self) -> int:
        """Records of the journal that were removed before Kafka was there again."""
        return self._tail.lost

    @property
    def waiting(self) -> int:
        """Records of the journal that are not confirmed yet."""
        return max(0, self._judging.judged - self.confirmed)

    async def run(self) -> None:
        """Work until cancelled."""
        loop, wait, kept = asyncio.get_running_loop(), FIRST_WAIT, asyncio.get_running_loop().time()
        while True:
            try:
                pause = await loop.run_in_executor(self._thread, self._round, self._judging.judged)
                wait = FIRST_WAIT
            except (KafkaAway, KafkaException, OSError) as error:
                self.failures += 1
                self._complain(str(error) if isinstance(error, KafkaAway | OSError) else told(error))
                await loop.run_in_executor(self._thread, self._begin_again)
                pause, wait = wait, min(2 * wait, LONGEST_WAIT)
            if loop.time() - kept > KEEP_EVERY:
                kept = loop.time()
                await loop.run_in_executor(self._thread, self._keep)
            await asyncio.sleep(pause)

    async def close(self) -> None:
        """Give Kafka a moment for what waits, and write down how far it has come."""
        self._ending = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._end)
        self._thread.shutdown()

    def note_error(self, text: str) -> None:
        """Take note of a connection that fails; whatever waits goes on waiting."""
        self._complain(text)

    def _end(self) -> None:
        if self._producer is not None:
            self._producer.flush(LAST_WORDS)
            self._settle()
            self._producer = None
        self._keep()

    def _round(self, judged: int) -> float:
        """Write some records, and look what is confirmed; give the seconds until there may be more to do."""
        wanted = self._topics.events()
        if not wanted and not self._open:
            # What came before somebody wanted it is not written later.
            self._tail.seek(judged)
            self._settle()
            self.problem = ""
            return PAUSE * 4
        producer = self._producer = self._producer or self._clients.producer()
        for topic in self._topics.fresh():
            self._clients.ensure_topics(topic.events, topic.verdicts, topic.partitions)
            self._topics.made(topic)
        records = self._tail.read(judged)
        for position, data in records:
            if self._ending:
                self._tail.seek(position)
                break
            self._send(producer, position, data, wanted)
        producer.poll(0)
        self._settle()
        if self.problem and not self._open:
            self._look_again(producer)
        return 0 if records else PAUSE

    def _look_again(self, producer: Producer) -> None:
        """Ask Kafka whether it is there again: while no events come, nothing else tells.

        Raises:
            KafkaException: It is not.
        """
        trouble = self.problem
        producer.list_topics(timeout=ANSWER)
        if self.problem == trouble:
            self.problem = ""

    def _send(self, producer: Producer, position: int, data: bytes, wanted: dict[str, str]) -> None:
        record = read_record(data)
        if not isinstance(record, Events) or not record.batch.count or record.campaign not in wanted:
            return
        sent = _Sent(position, record.campaign)
        self._open.append(sent)
        for event in Packed(Reading(record.batch)):
            try:
                value = _encode(record_of(event))
            except UnicodeEncodeError:
                self.skipped += 1
                continue
            self._produce(producer, wanted[record.campaign], event, value, sent)
        sent.outstanding -= 1

    def _produce(self, producer: Producer, topic: str, event: Event, value: bytes, sent: "_Sent") -> None:
        delivered = partial(self._delivered, sent)
        while not self._ending:
            try:
                # Those of one address stay in order, also those of one millisecond.
                producer.produce(topic, value, key=event.address.encode() or None, on_delivery=delivered)
            except BufferError:
                producer.poll(PAUSE)
                self._settle()
            except KafkaException as error:
                if not _is_too_large(error.args[0]):
                    raise
                self.skipped += 1
                return
            else:
                sent.outstanding += 1
                return
        # It is written by the next process.
        sent.outstanding += 1

    def _delivered(self, sent: "_Sent", error: KafkaError | None, message: Message) -> None:
        if error is None:
            sent.outstanding -= 1
            self.published[sent.campaign] = self.published.get(sent.campaign, 0) + 1
            self.problem = ""
            topic, lane, place, value = message.topic(), message.partition(), message.offset(), message.value()
            if topic is not None and lane is not None and place is not None and isinstance(value, bytes):
                self._recent.put(Place(topic, lane, place), value)
        elif _is_too_large(error):
            sent.outstanding -= 1
            self.skipped += 1
        else:
            self._refused = error.str()

    def _settle(self) -> None:
        """See how far everything is confirmed.

        Raises:
            KafkaAway: Kafka has refused something for good.
        """
        while self._open and self._open[0].outstanding == 0:
            self._open.popleft()
        self.confirmed = self._open[0].position if self._open else self._tail.position
        if self._refused:
            raise KafkaAway(f"events cannot be written to Kafka: {self._refused}")

    def _begin_again(self) -> None:
        """Go back to what Kafka has confirmed: another client writes what follows once more."""
        if self._producer is not None:
            with contextlib.suppress(KafkaException):
                self._producer.purge()
                self._producer.poll(0)
        self._producer, self._refused = None, ""
        self._open.clear()
        self._tail.seek(self.confirmed)
        self._topics.forget()

    def _keep(self) -> None:
        if self.confirmed == self._kept:
            return
        try:
            _write(self._file, self.confirmed)
        except OSError as error:
            self.failures += 1
            log.error("How far events are in Kafka cannot be kept: %s", error)  # noqa: TRY400
        else:
            self._kept = self.confirmed

    def _complain(self, text: str) -> None:
        if text != self.problem:
            log.warning("Kafka: %s", text)
        self.problem = text


class _Sent:
    """A record of the journal on its way."""

    __slots__ = ("campaign", "outstanding", "position")

    def __init__(self, position: int, campaign: str) -> None:
        self.position, self.campaign = position, campaign
        self.outstanding = 1
        """Events that are not confirmed, and one while it is being sent."""


def _is_too_large(error: object) -> bool:
    return isinstance(error, KafkaError) and error.code() == KafkaError.MSG_SIZE_TOO_LARGE


def _read(file: Path, otherwise: int) -> int:
    """Read the position; one that is beyond the journal, which lost its end with the power, is taken back."""
    try:
        return min(_position.decode(file.read_bytes()), otherwise)
    except (FileNotFoundError, msgspec.DecodeError):
        return otherwise


def _write(file: Path, position: int) -> None:
    new = file.with_suffix(".new")
    with new.open("wb") as handle:
        handle.write(msgspec.json.encode(position))
        handle.flush()
        os.fsync(handle.fileno())
    new.replace(file)
