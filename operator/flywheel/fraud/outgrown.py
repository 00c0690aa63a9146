"""What the operator is told of Kafka and Flink, for rules with `engine: Flink`; and what is wrong with it. Pure."""

from dataclasses import dataclass

from flywheel.api.problem import Problem
from flywheel.fraud import flink_manifests, kafka
from flywheel.fraud.flink_manifests import Deployment
from flywheel.fraud.kafka import Kafka


@dataclass(frozen=True, slots=True)
class Outgrown:
    """How rules run in Flink here: each part as the chart's values `fraud.kafka` and `fraud.flink` have it."""

    kafka: Kafka | None = None
    image: str = ""
    """Flink 2.3 with the SQL connector of Kafka."""
    directory: str = ""
    """Where checkpoints and savepoints are kept, such as s3://flink/flywheel."""
    parallelism: int = 1
    service_account: str = "flink"
    memory: str = "2g"
    disorder: int = 2000
    """Milliseconds by which arrivals on the topic may be out of order."""

    def missing(self) -> tuple[str, ...]:
        """Name the values of the chart without which no rule runs in Flink."""
        given = {
            "fraud.kafka.servers": self.kafka is not None,
            "fraud.flink.image": bool(self.image),
            "fraud.flink.directory": bool(self.directory),
        }
        return tuple(name for name, there in given.items() if not there)


NOTHING = Outgrown()


def problems(outgrown: Outgrown) -> tuple[Problem, ...]:
    """Tell what is wrong with what was given, by the chart's values; what is missing is no problem of its own."""
    found = [Problem(f"fraud.kafka.{each.path}", each.message) for each in _of_kafka(outgrown)]
    if outgrown.directory:
        asked = Deployment("", "", outgrown.image or "image", outgrown.directory)
        found += [Problem(f"fraud.flink.{each.path}", each.message) for each in flink_manifests.problems(asked)]
    return tuple(found)


def _of_kafka(outgrown: Outgrown) -> tuple[Problem, ...]:
    return kafka.problems(outgrown.kafka) if outgrown.kafka else ()
