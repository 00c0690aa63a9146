"""Gates that run as Jobs: their manifests, and what their end says. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from flywheel.api.release import Gate, JobGate
from flywheel.plan import CAMPAIGN_LABEL, MANAGED_BY_LABEL, LiveObject, Manifest
from flywheel.release.gate.measurement import Measurement, Outcome, Target
from flywheel.workload.state import Trouble
from flywheel.workload.template import CONTAINER_SECURITY, POD_SECURITY

GATE_LABEL = "flywheel.dev/gate"
"""On what a gate runs, with the name of the service: the label of the service itself would make it one of its pods."""
DEFAULT_RESOURCES: Final[Manifest] = {"requests": {"cpu": "50m", "memory": "64Mi"}}


@dataclass(frozen=True, slots=True)
class JobPods:
    """What the pods of a Job have said."""

    exit_code: int | None = None
    """Of the container that ended last; None where none has ended."""
    message: str = ""
    """Its last words."""
    trouble: Trouble | None = None
    """Why they do not start."""


def gate_labels(campaign: str, service: str, gate: str) -> dict[str, str]:
    """Return the labels of what a gate runs."""
    return {
        "app.kubernetes.io/name": gate,
        "app.kubernetes.io/instance": campaign,
        "app.kubernetes.io/component": "gate",
        MANAGED_BY_LABEL: "flywheel",
        CAMPAIGN_LABEL: campaign,
        GATE_LABEL: service,
    }


def job_manifest(name: str, gate: Gate, target: Target, template: Manifest) -> Manifest:
    """Build the Job of one measurement; it is tried once, since a gate counts for itself."""
    labels = gate_labels(target.campaign, target.service, gate.name)
    metadata = {**template.get("metadata", {}), "labels": {**template.get("metadata", {}).get("labels", {}), **labels}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": target.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": max(1, int(gate.timeout.total_seconds())),
            "template": {**template, "metadata": metadata},
        },
    }


def job_template(gate: JobGate, target: Target) -> Manifest:
    """Build the pods of a job gate: what the author wrote, on top of defaults that are safe."""
    written = gate.pod_spec
    spec: Manifest = {
        "automountServiceAccountToken": False,
        **written,
        "restartPolicy": "Never",
        "securityContext": {**POD_SECURITY, **(written.get("securityContext") or {})},
        "containers": [_container(each, target) for each in written.get("containers") or ()],
    }
    if written.get("initContainers"):
        spec["initContainers"] = [_container(each, target) for each in written["initContainers"]]
    return {"spec": spec}


def _container(container: Mapping[str, Any], target: Target) -> Manifest:
    own = {
        "FLYWHEEL_ADDRESS": target.address,
        "FLYWHEEL_EDGE": target.edge,
        "FLYWHEEL_SERVICE": target.service,
        "FLYWHEEL_SLOT": target.slot,
        "FLYWHEEL_REVISION": target.revision,
    }
    given = list(container.get("env") or ())
    names = {each.get("name") for each in given}
    told = [{"name": name, "value": value} for name, value in own.items() if name not in names]
    return {
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": DEFAULT_RESOURCES,
        **container,
        "securityContext": {**CONTAINER_SECURITY, **(container.get("securityContext") or {})},
        "env": [*told, *given],
    }


def is_finished(job: LiveObject) -> bool:
    """Whether a Job has come to its end."""
    return any(each.get("type") in ("Complete", "Failed") and each.get("status") == "True" for each in _conditions(job))


def _conditions(job: LiveObject) -> tuple[Mapping[str, Any], ...]:
    return tuple(job.status.get("conditions") or ())


def judged(job: LiveObject, pods: JobPods) -> Measurement:
    """Say what the end of a job gate's Job means."""
    last = pods.message.strip()[-200:]
    said = f": {last}" if last else ""
    if any(each["type"] == "Complete" and each.get("status") == "True" for each in _conditions(job)):
        return Measurement(Outcome.SUCCESS, f"the Job {job.key.name} has ended with exit status 0")
    if pods.exit_code:
        message = f"the Job {job.key.name} has ended with exit status {pods.exit_code}{said}"
        return Measurement(Outcome.FAILURE, message, value=str(pods.exit_code))
    failed = next((each for each in _conditions(job) if each["type"] == "Failed"), {})
    if failed.get("reason") == "DeadlineExceeded":
        return Measurement(Outcome.FAILURE, f"the Job {job.key.name} has not ended within the gate's timeout")
    why = pods.trouble.message if pods.trouble else str(failed.get("message") or "its pod is gone")
    return Measurement(Outcome.ERROR, f"the Job {job.key.name} could not run: {why}")


def pods_of_job(pods: list[Manifest], trouble: Trouble | None) -> JobPods:
    """Read what the pods of a Job have said."""
    exit_code, message = None, ""
    for pod in pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or ():
            ended = (container.get("state") or {}).get("terminated")
            if ended and (exit_code is None or ended.get("exitCode")):
                exit_code, message = int(ended.get("exitCode") or 0), str(ended.get("message") or "")
    return JobPods(exit_code, message, trouble)
