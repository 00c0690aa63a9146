"""What a fraud worker needs in its pod to reach Kafka. Pure."""

from flywheel.fraud.kafka import DIRECTORY, files_of
from flywheel.fraud.outgrown import Outgrown
from flywheel.plan import Manifest


def with_kafka(worker: Manifest, outgrown: Outgrown) -> Manifest:
    """Give a worker's StatefulSet what it needs for Kafka, where there is one.

    All workers get it, whether or not a rule needs it yet: so none is restarted by the first one that does.

    Args:
        worker: The StatefulSet; it is changed.
        outgrown: What the operator was told of Kafka and Flink.
    """
    kafka = outgrown.kafka
    if kafka is None:
        return worker
    pod = worker["spec"]["template"]["spec"]
    container = pod["containers"][0]
    container["args"] += [
        f"--kafka={kafka.servers}",
        f"--kafka-topic-prefix={kafka.prefix}",
        f"--kafka-partitions={outgrown.parallelism}",
        f"--kafka-security={kafka.security}",
    ]
    if kafka.logs_in:
        container["args"].append(f"--kafka-mechanism={kafka.mechanism}")
    if kafka.certificate:
        container["args"].append("--kafka-certificate")
    if files_of(kafka):
        container["args"] += [f"--kafka-secret={kafka.secret}", f"--kafka-credentials={DIRECTORY}"]
        container["volumeMounts"].append({"name": "kafka", "mountPath": DIRECTORY, "readOnly": True})
        # A namespace without the Secret judges all the same, and says what it lacks.
        pod["volumes"].append({"name": "kafka", "secret": {"secretName": kafka.secret, "optional": True}})
    return worker
