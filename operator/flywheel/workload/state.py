"""How a service is doing, told from its Deployment and, when that is in trouble, from its pods."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from flywheel.plan import LiveObject, Manifest
from flywheel.workload.scaling import Size


class Health(Enum):
    """Whether a service is as the plan wants it."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    FAILED = "Failed"


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why pods do not become ready, in the words of Kubernetes and in those of a person."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class ServiceState:
    """What a person wants to know of one service."""

    health: Health
    desired: int
    ready: int
    reason: str = ""
    message: str = ""


REMEDIES: Final[Mapping[str, str]] = {
    "ErrImagePull": "check the image's name and the registry's credentials",
    "ImagePullBackOff": "check the image's name and the registry's credentials",
    "ErrImageNeverPull": "the image is not on the node and imagePullPolicy is Never: load it, or let it be pulled",
    "InvalidImageName": "the image's name is malformed: correct it",
    "CreateContainerConfigError": "create the ConfigMap, Secret or key that it names, or set what the message asks for",
    "CreateContainerError": "the container cannot be created: check its command and its mounts",
    "CrashLoopBackOff": "the container exits again and again: read its log with kubectl logs --previous",
    "OOMKilled": "the container needs more memory than its limit: raise resources.limits.memory",
    "Unschedulable": "no node has room for it: add nodes, or lower resources.requests",
}
"""What to do about the reasons that Kubernetes gives for a pod that does not start."""


LONGEST_QUOTE: Final = 200
"""Characters of what Kubernetes says that are passed on; container runtimes can be very chatty."""


def service_state(name: str, deployment: LiveObject | None, size: Size, trouble: Trouble | None) -> ServiceState:
    """Judge a service by its Deployment.

    Ready means: the newest template is everywhere, and as many pods serve as the plan asks for *at least*. An
    autoscaler on its way above that floor is not a service in trouble.
    """
    if deployment is None or deployment.deleting:
        return ServiceState(Health.PROGRESSING, size.floor, 0, "Creating", f"{name} is being created")
    status = deployment.status
    desired = deployment.replicas if deployment.replicas is not None else 1
    ready = int(status.get("availableReplicas") or 0)
    total = int(status.get("replicas") or 0)
    updated = int(status.get("updatedReplicas") or 0)
    observed = int(status.get("observedGeneration") or 0) >= deployment.generation
    scaled = desired >= size.floor and (desired > 0 or total == 0)
    if observed and scaled and size.floor <= updated and total <= updated and ready >= size.floor:
        return ServiceState(Health.READY, desired, ready)
    return _unready(name, deployment, size, trouble, ServiceState(Health.PROGRESSING, desired, ready))


def _unready(
    name: str, deployment: LiveObject, size: Size, trouble: Trouble | None, counts: ServiceState
) -> ServiceState:
    conditions = {each["type"]: each for each in deployment.status.get("conditions", [])}
    refused = conditions.get("ReplicaFailure", {})
    if refused.get("status") == "True":
        message = f"{name}: pods cannot be created: {refused.get('message', '')}"
        return ServiceState(Health.FAILED, counts.desired, counts.ready, refused.get("reason", "FailedCreate"), message)
    stuck = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    wanted = max(counts.desired, size.floor)
    reason = trouble.reason if trouble else "ProgressDeadlineExceeded" if stuck else "RollingOut"
    progress = f"{counts.ready} of {wanted} pods are ready"
    if counts.ready > wanted:
        progress = f"{counts.ready} pods are going down to {wanted}"
    message = f"{name}: {trouble.message}" if trouble else f"{name}: {progress}"
    health = Health.FAILED if stuck else Health.PROGRESSING
    return ServiceState(health, counts.desired, counts.ready, reason, message)


def explain(pods: Iterable[Manifest]) -> Trouble | None:
    """Find the commonest reason why pods are not ready; None where they are merely starting, or ending."""
    staying = [pod for pod in pods if not pod.get("metadata", {}).get("deletionTimestamp")]
    found = [trouble for pod in staying if (trouble := _pod_trouble(pod)) is not None]
    if not found:
        return None
    (reason, what), count = Counter(found).most_common(1)[0]
    pods_are = "1 pod is" if count == 1 else f"{count} pods are"
    remedy = REMEDIES.get(reason)
    return Trouble(reason, f"{pods_are} not starting ({reason}: {what})" + (f"; {remedy}" if remedy else ""))


def _pod_trouble(pod: Manifest) -> tuple[str, str] | None:
    status = pod.get("status", {})
    for condition in status.get("conditions", []):
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "Unschedulable":
            return "Unschedulable", str(condition.get("message", ""))
    for container in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        trouble = _container_trouble(container)
        if trouble:
            return trouble
    return None


def _container_trouble(container: Mapping[str, Any]) -> tuple[str, str] | None:
    waiting = container.get("state", {}).get("waiting", {})
    ended = container.get("lastState", {}).get("terminated", {})
    said_why = _own_words(container.get("state", {}).get("terminated", {}) or ended)
    if said_why is not None:
        return said_why
    if ended.get("reason") == "OOMKilled" and waiting:
        return "OOMKilled", f"container {container.get('name')} ran out of memory"
    if waiting.get("reason") not in REMEDIES:
        return None
    said = str(waiting.get("message") or "").strip()[:LONGEST_QUOTE]
    what = f"container {container.get('name')}, image {container.get('image')}"
    return str(waiting["reason"]), f"{what}: {said}" if said else what


def _own_words(ended: Mapping[str, Any]) -> tuple[str, str] | None:
    """Read what a container of ours says of its end: `{"reason": ..., "message": ...}`."""
    if not ended.get("exitCode"):
        return None
    try:
        told = json.loads(str(ended.get("message") or "").strip().splitlines()[-1])
        return str(told["reason"])[:64], str(told["message"])[: 2 * LONGEST_QUOTE]
    except (ValueError, LookupError, TypeError):
        return None
