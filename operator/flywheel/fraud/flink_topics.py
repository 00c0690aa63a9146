"""Where a rule in Flink SQL finds its events, and where its verdicts go: topics of Kafka. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from flywheel.api.problem import Problem
from flywheel.fraud.flink_sql import Connection

PREFIX = "flywheel"
MARK = ("INT METADATA FROM 'partition' VIRTUAL", "BIGINT METADATA FROM 'offset' VIRTUAL")
"""How a table of Kafka tells partition and offset."""
_SECRET = ("password", "jaas", "token", "secret", "credential", "private")
_OURS = ("bootstrap.servers", "group.id")


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one campaign."""

    servers: str
    """Kafka's addresses, as its clients take them: `kafka-0.kafka:9092,kafka-1.kafka:9092`."""
    namespace: str
    campaign: str
    prefix: str = PREFIX
    properties: Mapping[str, str] = field(default_factory=dict)
    """Further ones of Kafka's clients, such as `security.protocol`."""

    @property
    def events(self) -> str:
        """Name of the topic with records of events."""
        return f"{self.prefix}.{self.namespace}.{self.campaign}.events"

    @property
    def verdicts(self) -> str:
        """Name of the compacted topic with verdicts, by rule and event."""
        return f"{self.prefix}.{self.namespace}.{self.campaign}.verdicts"

    def source(self, rule: str) -> Connection:
        """Say how the events are read. Each rule reads all of them, from where it stood at its last savepoint."""
        lane, place = MARK
        options = [
            ("connector", "kafka"),
            ("topic", self.events),
            *self._client(),
            ("properties.group.id", f"{self.prefix}-fraud-{rule}"),
            ("properties.isolation.level", "read_committed"),
            ("scan.startup.mode", "group-offsets"),
            ("properties.auto.offset.reset", "latest"),
            ("format", "json"),
            # A record that cannot be read must not stop the rule for good.
            ("json.ignore-parse-errors", "true"),
        ]
        return Connection(tuple(options), lane, place)

    def sink(self) -> Connection:
        """Say how the verdicts are written: one that is written again has the same key and the same value."""
        options = [
            ("connector", "kafka"),
            ("topic", self.verdicts),
            *self._client(),
            ("key.format", "json"),
            ("key.fields", "rule;event"),
            ("value.format", "json"),
            ("sink.delivery-guarantee", "at-least-once"),
        ]
        return Connection(tuple(options), "", "")

    def _client(self) -> list[tuple[str, str]]:
        more = [(f"properties.{key}", value) for key, value in sorted(self.properties.items())]
        return [("properties.bootstrap.servers", self.servers), *more]


def problems(properties: Mapping[str, str]) -> tuple[Problem, ...]:
    """Tell which properties of Kafka's clients cannot be taken over."""
    found = []
    for key, value in properties.items():
        if key in _OURS:
            found.append(Problem(key, "this is set here: take it out"))
        elif any(word in key.lower() for word in _SECRET) and not value.startswith("${"):
            found.append(
                Problem(
                    key,
                    "this is a secret, and the SQL stands in a ConfigMap that many may read: name a variable or a file "
                    "of the pod instead, such as ${env:KAFKA_LOGIN}, with config.providers",
                )
            )
    return tuple(found)
