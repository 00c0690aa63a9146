"""The objects by which the Flink Kubernetes operator runs a rule: the SQL, and a FlinkDeployment that reads it. Pure.

The program is Flink's own, SqlDriver, which every image of Flink 2 has; it needs no jar of a job, which only the mode
`standalone` starts. What the image must have beside Flink is Kafka's SQL connector. Source: Apache Flink, FLIP-480;
Flink Kubernetes operator 1.15, reference of FlinkDeployment.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from flywheel.api.problem import Problem
from flywheel.fraud import kafka
from flywheel.plan import Manifest
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

DRIVER: Final = "org.apache.flink.table.runtime.application.SqlDriver"
VERSION: Final = "v2_3"
USER: Final = 9999
"""Who Flink is in its images."""
LONGEST_NAME: Final = 45
"""Of a FlinkDeployment."""
DIRECTORY: Final = "/opt/flink/rules"
FILE: Final = "rule.sql"
CHECKPOINT_EVERY: Final = "30 s"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://?[^\s]+")


@dataclass(frozen=True, slots=True)
class Deployment:
    """How a rule is to run."""

    namespace: str
    campaign: str
    image: str
    """Flink with the SQL connector of Kafka in /opt/flink/lib, and what the directory's file system needs."""
    directory: str
    """Where checkpoints and savepoints are kept, such as s3://flink/flywheel: all pods must reach it."""
    parallelism: int = 1
    service_account: str = "flink"
    """One that may keep ConfigMaps: the Flink Kubernetes operator's chart makes it in each namespace it watches."""
    memory: str = "2g"
    """Of each pod."""
    name: str = ""
    """Of the FlinkDeployment; empty for the rule's."""
    marks: Mapping[str, str] = field(default_factory=dict)
    """Labels of both objects, and not of pods."""
    secret: str = ""
    """The Secret by which Kafka is reached, if there is one; see `kafka`."""
    suspended: bool = False
    """Whether it is stopped, with a savepoint from which it goes on later."""


def problems(deployment: Deployment) -> tuple[Problem, ...]:
    """Tell what is wrong with how a rule is to run."""
    found = []
    if not deployment.image:
        found.append(Problem("image", "name an image of Flink 2.3 that has the SQL connector of Kafka"))
    if not _SCHEME.fullmatch(deployment.directory):
        found.append(
            Problem(
                "directory", "it must be a URI that all pods reach, such as s3://flink/flywheel: savepoints are there"
            )
        )
    if deployment.directory.startswith("file:"):
        found.append(
            Problem(
                "directory", "file: is a directory of each pod alone, so no savepoint would be found again: use s3://"
            )
        )
    return tuple(found)


def manifests(rule: str, script: str, deployment: Deployment) -> tuple[Manifest, ...]:
    """Build the ConfigMap with the SQL, and the FlinkDeployment.

    Another script is another ConfigMap: so the operator sees that something has changed, and takes a savepoint before
    it begins with the new one.

    Args:
        rule: Name of the FraudRule.
        script: Its SQL.
        deployment: How it is to run.
    """
    digest = hashlib.sha256(script.encode()).hexdigest()[:8]
    name = deployment.name or name_of(rule)
    # Not those by which our operator knows its own objects: it would take these for left-overs.
    labels = {
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/component": "fraud-flink",
        "app.kubernetes.io/part-of": deployment.campaign,
        "flywheel.dev/fraudrule": rule,
    }

    def metadata(title: str) -> Manifest:
        return {"name": title, "namespace": deployment.namespace, "labels": {**labels, **deployment.marks}}

    sql = f"{name}-{digest}"
    return (
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(sql), "immutable": True, "data": {FILE: script}},
        {
            "apiVersion": "flink.apache.org/v1beta1",
            "kind": "FlinkDeployment",
            "metadata": metadata(name),
            "spec": _spec(sql, name, deployment, labels),
        },
    )


def name_of(rule: str) -> str:
    """Name the FlinkDeployment of a rule; what is too long ends in a digest of the whole."""
    name = f"fraud-{rule}"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(rule.encode()).hexdigest()[:8]
    return f"{name[: LONGEST_NAME - 9].rstrip('-')}-{digest}"


def _spec(sql: str, name: str, deployment: Deployment, labels: dict[str, str]) -> Manifest:
    resource: dict[str, Any] = {"cpu": 1, "memory": deployment.memory}
    return {
        "image": deployment.image,
        "flinkVersion": VERSION,
        # What starts a class of Flink's own, without a jar.
        "mode": "standalone",
        "serviceAccount": deployment.service_account,
        "flinkConfiguration": _configuration(name, deployment),
        "podTemplate": _pod_template(sql, labels, deployment.secret),
        "jobManager": {"replicas": 1, "resource": dict(resource)},
        "taskManager": {"resource": dict(resource)},
        "job": {
            "entryClass": DRIVER,
            "args": ["--scriptUri", f"file://{DIRECTORY}/{FILE}"],
            "parallelism": deployment.parallelism,
            "state": "suspended" if deployment.suspended else "running",
            "upgradeMode": "savepoint",
            # A condition that is gone takes what it has kept with it.
            "allowNonRestoredState": True,
        },
    }


def _configuration(name: str, deployment: Deployment) -> dict[str, str]:
    home = f"{deployment.directory.rstrip('/')}/{deployment.namespace}/{name}"
    return {
        "taskmanager.numberOfTaskSlots": str(deployment.parallelism),
        "state.backend.type": "rocksdb",
        "execution.checkpointing.interval": CHECKPOINT_EVERY,
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.dir": f"{home}/checkpoints",
        "execution.checkpointing.savepoint-dir": f"{home}/savepoints",
        # After a crash it goes on from the last checkpoint, also where the JobManager was lost.
        "high-availability.type": "kubernetes",
        "high-availability.storageDir": f"{home}/recovery",
        "restart-strategy.type": "exponential-delay",
    }


def _pod_template(sql: str, labels: dict[str, str], secret: str) -> Manifest:
    mounts = [{"name": "rule", "mountPath": DIRECTORY, "readOnly": True}]
    volumes: list[Manifest] = [{"name": "rule", "configMap": {"name": sql}}]
    if secret:
        mounts.append({"name": "kafka", "mountPath": kafka.DIRECTORY, "readOnly": True})
        volumes.append({"name": "kafka", "secret": {"secretName": secret}})
    return {
        "metadata": {"labels": dict(labels)},
        "spec": {
            "enableServiceLinks": False,
            "securityContext": {**POD_SECURITY, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER},
            "containers": [
                {
                    # The operator knows its own container by this name.
                    "name": "flink-main-container",
                    "securityContext": dict(CONTAINER_SECURITY),
                    "volumeMounts": mounts,
                }
            ],
            "volumes": volumes,
        },
    }
