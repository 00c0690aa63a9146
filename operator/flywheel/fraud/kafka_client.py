"""Clients of Kafka, made anew with the credentials that hold now. Needs the extra `fraud`.

confluent-kafka is librdkafka with a thin wrapping: connections, retries and buffers live in its own threads, beside
Python, so whoever judges events shares no loop with them.
"""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from flywheel.fraud.kafka import PASSWORD, USER, Kafka, worker_options

log = logging.getLogger(__name__)

ANSWER = 8.0
"""Seconds that Kafka may take for one answer."""
BUFFERED_KB = 32 << 10
BUFFERED_MESSAGES = 50_000
FETCHED_KB = 4 << 10
_T = TypeVar("_T")
KEEP_EVENTS = 86_400_000
KEEP_VERDICTS = 7 * 86_400_000
"""Milliseconds for which topics that are made here keep what they are given."""


class KafkaAway(Exception):  # noqa: N818 - a state
    """Kafka does not answer, or refuses. The text says what, and what to do."""


class Clients:
    """Makes clients."""

    def __init__(self, kafka: Kafka, directory: Path, on_error: Callable[[str], None]) -> None:
        """Make it.

        Args:
            kafka: How Kafka is reached.
            directory: Where the Secret's files are.
            on_error: Told of connections that fail, in some thread.
        """
        self._kafka, self._directory, self._on_error = kafka, directory, on_error
        self._last_error = ""

    def producer(self) -> Producer:
        """Make a producer that waits for as long as Kafka is away, and writes each message once, in order.

        Raises:
            KafkaAway: There are no credentials, or they cannot be used.
        """
        more = {
            "enable.idempotence": True,
            "message.timeout.ms": 0,
            "linger.ms": 5,
            "compression.type": "lz4",
            "queue.buffering.max.messages": BUFFERED_MESSAGES,
            "queue.buffering.max.kbytes": BUFFERED_KB,
        }
        return self._made(lambda options: Producer(options), more)

    def consumer(self, group: str) -> Consumer:
        """Make a consumer that is told where to read, and keeps no position in Kafka.

        Raises:
            KafkaAway: There are no credentials, or they cannot be used.
        """
        more = {
            "group.id": group,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": FETCHED_KB,
        }
        return self._made(lambda options: Consumer(options), more)

    def ensure_topics(self, events: str, verdicts: str, partitions: int) -> None:
        """Make topics that are not there.

        Raises:
            KafkaAway: Kafka does not answer, or does not let us.
        """
        wanted = {
            events: {"retention.ms": str(KEEP_EVENTS)},
            verdicts: {"cleanup.policy": "compact,delete", "retention.ms": str(KEEP_VERDICTS)},
        }
        try:
            admin = self._made(lambda options: AdminClient(options), {})
            known = admin.list_topics(timeout=ANSWER).topics
            missing = [NewTopic(name, partitions, -1, config=wanted[name]) for name in wanted if name not in known]
            made = admin.create_topics(missing, operation_timeout=ANSWER, request_timeout=ANSWER) if missing else {}
            for each in made.values():
                each.result(timeout=ANSWER)
        except KafkaException as error:
            if _code(error) != KafkaError.TOPIC_ALREADY_EXISTS:
                raise KafkaAway(f"the topics {events} and {verdicts} are not there: {told(error)}") from error

    def _made(self, make: Callable[[dict[str, Any]], _T], more: dict[str, Any]) -> _T:
        try:
            names = (USER, PASSWORD) if self._kafka.logs_in else ()
            login = {name: (self._directory / name).read_text().strip() for name in names}
            options = worker_options(self._kafka, str(self._directory), login)
            return make({**options, "error_cb": self._complain, "logger": log, **more})
        except (OSError, UnicodeDecodeError) as error:
            raise KafkaAway(f"the Secret {self._kafka.secret} has no readable name and password: {error}") from error
        except (KafkaException, ValueError) as error:
            raise KafkaAway(f"no client of Kafka can be made: {told(error)}") from error

    def _complain(self, error: KafkaError) -> None:
        """Tell of it once nothing can be reached: one broker of many may go at any time, and nobody needs to know."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - theirs, and public
            self._on_error(self._last_error or error.str())
            return
        self._last_error = error.str()
        if error.code() == KafkaError._AUTHENTICATION:  # noqa: SLF001
            self._on_error(self._last_error)


def told(error: BaseException) -> str:
    """Write an error of the client for people."""
    found = error.args[0] if error.args else error
    return str(found.str()) if isinstance(found, KafkaError) else str(error)


def _code(error: KafkaException) -> int | None:
    found = error.args[0] if error.args else None
    return found.code() if isinstance(found, KafkaError) else None
