"""The crowd: a Job in the cluster that runs `flywheel simulate`.

From inside, so that every connection is spread over all pods, as those of a gateway's visitors are: a port forwarded to
this machine leads to one pod only.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Manifest = dict[str, Any]
NAME = "crowd"
FILE = "shoppers.yaml"
DIRECTORY = "/behaviour"
SAW = re.compile(r"([0-9,]+) saw ([a-z][a-z0-9_-]*)")


@dataclass(frozen=True, slots=True)
class Sighting:
    """How many visitors had seen what at a moment, as the shoppers count it."""

    at: datetime
    counts: Mapping[str, int]


def crowd(
    namespace: str, image: str, behaviour: str, url: str, rate: float, seconds: int, name: str = NAME
) -> Manifest:
    """Build what sends `rate` shoppers a second in an average hour to `url`, who behave as the text `behaviour` says.

    It is no part of the campaign.
    """
    metadata = {"name": name, "namespace": namespace, "labels": {"app.kubernetes.io/name": name}}
    config_map = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {FILE: behaviour}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": metadata["labels"]},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [_container(image, url, rate, seconds)],
                    "volumes": [{"name": "behaviour", "configMap": {"name": name}}],
                },
            },
        },
    }
    return {"apiVersion": "v1", "kind": "List", "items": [config_map, job]}


def _container(image: str, url: str, rate: float, seconds: int) -> Manifest:
    return {
        "name": NAME,
        "image": image,
        "args": [
            "simulate",
            f"{DIRECTORY}/{FILE}",
            f"--url={url}",
            f"--rate={rate:g}",
            f"--duration={seconds}s",
            "--output=-",
        ],
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
        "volumeMounts": [{"name": "behaviour", "mountPath": DIRECTORY, "readOnly": True}],
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def read_report(log: str) -> Manifest | None:
    """Find the crowd's own report, the end of what it printed; None while it has not finished."""
    _, brace, rest = f"\n{log}".partition("\n{\n")
    try:
        report: Manifest = json.loads(brace + rest)
    except ValueError:
        return None
    return report


def read_progress(log: str) -> str:
    """Find the last line in which the crowd said how it fares; empty while it has said nothing."""
    return next((line for line in reversed(log.splitlines()) if " here, " in line), "")


def unstamped(log: str) -> str:
    """Take the time of each line away, with which Kubernetes gives a log if it is asked to."""
    return "\n".join(line.partition(" ")[2] for line in log.splitlines())


def read_sightings(log: str) -> list[Sighting]:
    """Find what shoppers had seen, in a log whose lines have their times."""
    return list(_sightings(log))


def _sightings(log: str) -> Iterator[Sighting]:
    for line in log.splitlines():
        stamp, _, said = line.partition(" ")
        if " here, " not in said:
            continue
        counts = {name: int(count.replace(",", "")) for count, name in SAW.findall(said)}
        try:
            yield Sighting(datetime.fromisoformat(stamp), counts)
        except ValueError:
            continue
