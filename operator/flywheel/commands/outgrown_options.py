"""Options by which the operator and the fraud worker are told of Kafka, and the operator of Flink."""

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from flywheel.commands.options import Duration

if TYPE_CHECKING:
    from flywheel.fraud.kafka import Kafka
    from flywheel.fraud.outgrown import Outgrown

Command = TypeVar("Command", bound=Callable[..., Any])
SECURITIES = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")


def kafka_options(prefix: str = "") -> Callable[[Command], Command]:
    """Add the options that say how Kafka is reached; the command is given `kafka`, None without addresses.

    Args:
        prefix: Of the options' names, such as `fraud-`.
    """
    named = f"--{prefix}kafka"

    def add(command: Command) -> Command:
        @wraps(command)
        def called(
            *arguments: Any,
            kafka_servers: str,
            kafka_topic_prefix: str,
            kafka_security: Any,
            kafka_mechanism: Any,
            kafka_secret: str,
            kafka_certificate: bool,
            **more: Any,
        ) -> Any:
            from flywheel.fraud.kafka import Kafka

            given = Kafka(
                kafka_servers, kafka_topic_prefix, kafka_security, kafka_mechanism, kafka_secret, kafka_certificate
            )
            return command(*arguments, kafka=_fit(given, named) if kafka_servers else None, **more)

        options = (
            click.option(named, "kafka_servers", default="", help="Addresses of Kafka: kafka-0.kafka:9092,..."),
            click.option(
                f"{named}-topic-prefix", "kafka_topic_prefix", default="flywheel", show_default=True,
                help="How the names of all topics begin.",
            ),
            click.option(
                f"{named}-security", "kafka_security", type=click.Choice(SECURITIES), default="PLAINTEXT",
                show_default=True, help="How connections are protected, and whether clients log in.",
            ),
            click.option(
                f"{named}-mechanism", "kafka_mechanism", type=click.Choice(MECHANISMS), default="SCRAM-SHA-512",
                show_default=True, help="How clients log in.",
            ),
            click.option(
                f"{named}-secret", "kafka_secret", default="", help="Secret with credentials, beside each Campaign."
            ),
            click.option(
                f"{named}-certificate", "kafka_certificate", is_flag=True, help="Clients show a certificate."
            ),
        )  # fmt: skip
        made: Any = called
        for option in reversed(options):
            made = option(made)
        return made  # type: ignore[no-any-return]

    return add


def outgrown_options(command: Command) -> Command:
    """Add the options that say how rules run in Flink; the command is given `outgrown`."""

    @wraps(command)
    def called(
        *arguments: Any,
        kafka: "Kafka | None",
        flink_image: str,
        flink_directory: str,
        flink_parallelism: int,
        flink_service_account: str,
        flink_memory: str,
        flink_disorder: float,
        **more: Any,
    ) -> Any:
        from flywheel.fraud.outgrown import Outgrown

        given = Outgrown(
            kafka,
            flink_image,
            flink_directory,
            flink_parallelism,
            flink_service_account,
            flink_memory,
            round(flink_disorder * 1000),
        )
        return command(*arguments, outgrown=_complete(given), **more)

    options = (
        click.option("--fraud-flink-image", "flink_image", default="", help="Flink 2.3 with Kafka's SQL connector."),
        click.option(
            "--fraud-flink-directory", "flink_directory", default="",
            help="Where Flink keeps savepoints, such as s3://flink/flywheel.",
        ),
        click.option(
            "--fraud-flink-parallelism", "flink_parallelism", type=click.IntRange(1, 128), default=1,
            show_default=True, help="Tasks of one rule, and partitions of topics that are made.",
        ),
        click.option(
            "--fraud-flink-service-account", "flink_service_account", default="flink", show_default=True,
            help="What Flink's pods are.",
        ),
        click.option("--fraud-flink-memory", "flink_memory", default="2g", show_default=True, help="Of each pod."),
        click.option(
            "--fraud-flink-disorder", "flink_disorder", type=Duration(), default="2s", show_default=True,
            help="How far out of order events may come on their topic.",
        ),
    )  # fmt: skip
    made: Any = called
    for option in reversed(options):
        made = option(made)
    return kafka_options("fraud-")(made)  # type: ignore[no-any-return]


def _fit(kafka: "Kafka", named: str) -> "Kafka":
    from flywheel.fraud.kafka import problems

    if found := problems(kafka):
        raise click.BadParameter("; ".join(map(str, found)), param_hint=named)
    return kafka


def _complete(outgrown: "Outgrown") -> "Outgrown":
    from flywheel.fraud.outgrown import problems

    if found := problems(outgrown):
        raise click.UsageError("; ".join(map(str, found)))
    return outgrown
