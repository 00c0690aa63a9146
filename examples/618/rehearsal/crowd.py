"""The crowd: a Job in the cluster that visits the flash sale through its Service, as the visitors of a gateway would.

From inside, so that every connection is spread over all pods: a port forwarded to this machine may lead to one only.
"""

import json
from typing import Any

Manifest = dict[str, Any]
NAME = "crowd"


def crowd(namespace: str, image: str, url: str, rate: float, seconds: int) -> Manifest:
    """The Job that sends `rate` visitors a second to `url` for `seconds`. It is no part of the campaign."""
    arguments = ["load", "--url", url, "--rate", str(rate), "--seconds", str(seconds)]
    container = {
        "name": NAME,
        "image": image,
        "args": arguments,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": NAME, "namespace": namespace, "labels": {"app.kubernetes.io/name": NAME}},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": {"app.kubernetes.io/name": NAME}},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {
                        "runAsNonRoot": True,
                        "runAsUser": 65532,
                        "seccompProfile": {"type": "RuntimeDefault"},
                    },
                    "containers": [container],
                },
            },
        },
    }


def read_report(log: str) -> Manifest | None:
    """Find the crowd's own report in what it printed; None while it has not finished."""
    for line in reversed(log.splitlines()):
        if line.startswith('{"report"'):
            report: Manifest = json.loads(line)["report"]
            return report
    return None
