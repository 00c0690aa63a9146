"""The event store, which belongs to the namespace: it outlives a campaign's end, as what was learnt is kept."""

import time
from collections.abc import Callable

from tests.lab.cluster.client import Cluster

from flywheel.events.manifests import SELECTOR
from flywheel.events.naming import WORKER
from rehearsal.screen import Screen

KINDS = (
    "statefulsets,pods,services,configmaps,serviceaccounts,networkpolicies.networking.k8s.io,"
    "poddisruptionbudgets.policy,roles.rbac.authorization.k8s.io,rolebindings.rbac.authorization.k8s.io,"
    "persistentvolumeclaims"
)
SELECTED = "--selector=" + ",".join(f"{name}={value}" for name, value in SELECTOR.items())
GONE_SECONDS = 120.0


def remove_store(cluster: Cluster, namespace: str, campaign: str, screen: Screen) -> list[str]:
    """Delete the Campaign, by which the worker goes, then its volume's claim; return what is left all the same."""
    screen.say(
        f"store     what was measured is kept by {WORKER} until the Campaign is deleted, and on its volume after"
    )
    cluster.kubectl("delete", "campaign", campaign, "-n", namespace, "--wait", "--timeout=60s")
    claims = _until(lambda: _found(cluster, namespace), lambda found: all(map(_is_claim, found)))
    screen.say(f"store     Campaign deleted: of the worker is left {', '.join(claims) or 'nothing'}")
    cluster.kubectl("delete", "persistentvolumeclaims", "-n", namespace, SELECTED, "--timeout=60s")
    left = _until(lambda: _found(cluster, namespace), lambda found: not found)
    screen.say(f"store     claim deleted: of the worker is left {', '.join(left) or 'nothing'}")
    return left


def _found(cluster: Cluster, namespace: str) -> list[str]:
    return cluster.kubectl("get", KINDS, "-n", namespace, SELECTED, "--ignore-not-found", "-o", "name").split()


def _is_claim(name: str) -> bool:
    return name.startswith("persistentvolumeclaim/")


def _until(look: Callable[[], list[str]], enough: Callable[[list[str]], bool]) -> list[str]:
    deadline = time.monotonic() + GONE_SECONDS
    found = look()
    while not enough(found) and time.monotonic() < deadline:
        time.sleep(1)
        found = look()
    return found
