"""Where Kafka is, and how its clients get in: the worker's, and those of Flink. Pure.

Credentials are files of a Secret that is mounted into each pod; nothing of them stands in arguments, in ConfigMaps or
in SQL. Sources: librdkafka, CONFIGURATION.md; Apache Kafka, consumer configs, DirectoryConfigProvider (KIP-421).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from flywheel.api.problem import Problem
from flywheel.fraud.flink_topics import PREFIX

Security = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
Mechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
SECURITIES: Final[tuple[Security, ...]] = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final[tuple[Mechanism, ...]] = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
DIRECTORY: Final = "/etc/flywheel/kafka"
"""Where the Secret is mounted."""
USER, PASSWORD, AUTHORITY, CERTIFICATE, KEY = "username", "password", "ca.crt", "tls.crt", "tls.key"
"""Keys of the Secret."""
_SHADED: Final = "org.apache.flink.kafka.shaded.org.apache.kafka"
"""Where Flink's SQL connector has Kafka's classes."""
_SERVER = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?):[0-9]{1,5}")
_PREFIX = re.compile(r"[a-z0-9]([a-z0-9._-]{0,60}[a-z0-9])?")
_SECRET_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Kafka:
    """How Kafka is reached."""

    servers: str
    """Addresses, as clients take them: `kafka-0.kafka:9092,kafka-1.kafka:9092`."""
    prefix: str = PREFIX
    """How the names of all topics begin."""
    security: Security = "PLAINTEXT"
    mechanism: Mechanism = "SCRAM-SHA-512"
    """How clients log in where `security` says that they do."""
    secret: str = ""
    """The Secret with credentials, in the namespace of each Campaign; empty for none."""
    certificate: bool = False
    """Whether clients show a certificate of that Secret."""

    @property
    def logs_in(self) -> bool:
        """Whether clients give a name and a password."""
        return self.security.startswith("SASL")

    @property
    def is_encrypted(self) -> bool:
        """Whether connections are."""
        return self.security.endswith("SSL")


def problems(kafka: Kafka) -> tuple[Problem, ...]:
    """Tell what is wrong with how Kafka is to be reached, by the chart's values."""
    found = []
    if not all(map(_SERVER.fullmatch, kafka.servers.split(","))):
        found.append(
            Problem(
                "servers", f"{kafka.servers!r} is no list of addresses such as kafka-0.kafka:9092,kafka-1.kafka:9092"
            )
        )
    if not _PREFIX.fullmatch(kafka.prefix):
        found.append(Problem("topicPrefix", "it has lower-case letters, digits, dots and dashes, 62 at most"))
    if kafka.secret and not _SECRET_NAME.fullmatch(kafka.secret):
        found.append(Problem("secretName", f"{kafka.secret!r} is no name of a Secret"))
    if kafka.logs_in and not kafka.secret:
        found.append(Problem("secretName", f"{kafka.security} needs a Secret with the keys {USER} and {PASSWORD}"))
    if kafka.certificate and not (kafka.is_encrypted and kafka.secret):
        found.append(
            Problem(
                "clientCertificate", f"it needs security SSL or SASL_SSL, and a Secret with {CERTIFICATE} and {KEY}"
            )
        )
    return tuple(found)


def files_of(kafka: Kafka) -> tuple[str, ...]:
    """Name the files of the Secret that clients need."""
    login = (USER, PASSWORD) if kafka.logs_in else ()
    authority = (AUTHORITY,) if kafka.is_encrypted and kafka.secret else ()
    return (*login, *authority, *((CERTIFICATE, KEY) if kafka.certificate else ()))


def worker_options(kafka: Kafka, directory: str, login: Mapping[str, str]) -> dict[str, str]:
    """Write how librdkafka gets in.

    Args:
        kafka: How Kafka is reached.
        directory: Where the Secret's files are.
        login: Name and password, by their keys in the Secret.
    """
    made = {"bootstrap.servers": kafka.servers, "security.protocol": kafka.security}
    if kafka.logs_in:
        made |= {"sasl.mechanism": kafka.mechanism, "sasl.username": login[USER], "sasl.password": login[PASSWORD]}
    if AUTHORITY in files_of(kafka):
        made["ssl.ca.location"] = f"{directory}/{AUTHORITY}"
    if kafka.certificate:
        made |= {
            "ssl.certificate.location": f"{directory}/{CERTIFICATE}",
            "ssl.key.location": f"{directory}/{KEY}",
        }
    return made


def flink_properties(kafka: Kafka, directory: str = DIRECTORY) -> dict[str, str]:
    """Write how Kafka's clients in Flink get in: secrets by the file in which each pod has them."""
    made: dict[str, str] = {} if kafka.security == "PLAINTEXT" else {"security.protocol": kafka.security}

    def of(key: str) -> str:
        return f"${{directory:{directory}:{key}}}"

    if kafka.logs_in:
        kind = "plain.PlainLoginModule" if kafka.mechanism == "PLAIN" else "scram.ScramLoginModule"
        made["sasl.mechanism"] = kafka.mechanism
        made["sasl.jaas.config"] = (
            f'{_SHADED}.common.security.{kind} required username="{of(USER)}" password="{of(PASSWORD)}";'
        )
    if AUTHORITY in files_of(kafka):
        made |= {"ssl.truststore.type": "PEM", "ssl.truststore.location": f"{directory}/{AUTHORITY}"}
    if kafka.certificate:
        made |= {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.certificate.chain": of(CERTIFICATE),
            "ssl.keystore.key": of(KEY),
        }
    if any("${" in value for value in made.values()):
        made["config.providers"] = "directory"
        made["config.providers.directory.class"] = f"{_SHADED}.common.config.provider.DirectoryConfigProvider"
    return made
