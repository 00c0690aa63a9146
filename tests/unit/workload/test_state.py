"""How a service is said to be doing: by its Deployment, and by its pods when that is in trouble."""

from typing import Any

import pytest

from flywheel.plan import LiveObject, ObjectKey
from flywheel.workload.scaling import Size
from flywheel.workload.state import Health, Trouble, explain, service_state


def deployment(wanted: int, generation: int = 1, **status: Any) -> LiveObject:
    return LiveObject(
        key=ObjectKey("apps", "Deployment", "shop", "c-web"),
        uid="u",
        resource_version=1,
        generation=generation,
        campaign="c",
        owner_uid="o",
        applied_hash="h",
        owned_fields="{}",
        deleting=False,
        replicas=wanted,
        status={"observedGeneration": generation} | status,
    )


def counts(total: int, updated: int, available: int) -> dict[str, int]:
    return {"replicas": total, "updatedReplicas": updated, "availableReplicas": available}


@pytest.mark.parametrize(
    ("live", "size", "health"),
    [
        (None, Size(replicas=2), Health.PROGRESSING),
        (deployment(2, **counts(2, 2, 2)), Size(replicas=2), Health.READY),
        (deployment(2, **counts(2, 2, 1)), Size(replicas=2), Health.PROGRESSING),
        (deployment(2, **counts(3, 2, 2)), Size(replicas=2), Health.PROGRESSING),
        (deployment(2, **counts(2, 1, 2)), Size(replicas=2), Health.PROGRESSING),
        (
            deployment(2, generation=2, observedGeneration=1, **counts(2, 2, 2)),
            Size(replicas=2),
            Health.PROGRESSING,
        ),
        (deployment(3, **counts(3, 3, 3)), Size(minimum=40, maximum=100), Health.PROGRESSING),
        (deployment(40, **counts(40, 40, 40)), Size(minimum=40, maximum=100), Health.READY),
        (deployment(60, **counts(60, 60, 41)), Size(minimum=40, maximum=100), Health.READY),
        (deployment(0), Size(replicas=0), Health.READY),
        (deployment(0, **counts(1, 1, 1)), Size(replicas=0), Health.PROGRESSING),
    ],
)
def test_ready_means_the_newest_template_everywhere_and_the_least_size(
    live: LiveObject | None, size: Size, health: Health
) -> None:
    assert service_state("web", live, size, None).health is health


def test_a_deployment_past_its_deadline_has_failed_and_says_why() -> None:
    stuck = deployment(
        1,
        conditions=[{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}],
        **counts(1, 1, 0),
    )
    state = service_state("web", stuck, Size(replicas=1), Trouble("ErrImagePull", "1 pod is not starting"))
    assert state.health is Health.FAILED
    assert (state.reason, state.message) == ("ErrImagePull", "web: 1 pod is not starting")


def test_pods_that_are_to_go_are_not_called_ready_out_of_none() -> None:
    state = service_state("web", deployment(0, **counts(2, 2, 2)), Size(replicas=0), None)
    assert state.message == "web: 2 pods are going down to 0"


def test_pods_that_may_not_be_created_say_so() -> None:
    refused = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"}
    state = service_state("web", deployment(1, conditions=[refused]), Size(replicas=1), None)
    assert state.health is Health.FAILED
    assert "exceeded quota: small" in state.message


def pod(**status: Any) -> dict[str, Any]:
    return {"status": status}


def waiting(reason: str, message: str = "", **more: Any) -> dict[str, Any]:
    state = {"waiting": {"reason": reason, "message": message}}
    return pod(containerStatuses=[{"name": "web", "image": "web:9", "state": state, **more}])


def test_the_commonest_trouble_is_told_with_its_remedy() -> None:
    trouble = explain([waiting("ImagePullBackOff", "no such image"), waiting("ImagePullBackOff", "no such image"),
                       waiting("CrashLoopBackOff")])  # fmt: skip
    assert trouble is not None
    assert trouble.reason == "ImagePullBackOff"
    for part in ("2 pods are not starting", "web:9", "no such image", "check the image's name"):
        assert part in trouble.message


def test_memory_and_room_are_told() -> None:
    out_of_memory = waiting("CrashLoopBackOff", lastState={"terminated": {"reason": "OOMKilled"}})
    no_room = pod(conditions=[{"type": "PodScheduled", "reason": "Unschedulable", "message": "0/3 nodes"}])
    assert (explain([out_of_memory]) or Trouble("", "")).reason == "OOMKilled"
    assert "0/3 nodes" in (explain([no_room]) or Trouble("", "")).message


def test_pods_that_are_merely_starting_are_no_trouble() -> None:
    assert explain([waiting("ContainerCreating"), pod()]) is None


def test_pods_that_are_ending_are_no_trouble_of_those_that_take_their_place() -> None:
    ending = waiting("CrashLoopBackOff") | {"metadata": {"deletionTimestamp": "2027-06-16T00:00:00Z"}}
    assert explain([ending, waiting("ContainerCreating")]) is None
