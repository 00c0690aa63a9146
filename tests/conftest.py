"""Fixtures of every test that needs a cluster: the lab, or the cluster that KUBECONFIG names."""

import os
import uuid
from collections.abc import Iterator

import pytest
from tests.lab.cluster import lifecycle
from tests.lab.cluster.client import Cluster, chosen_cluster
from tests.lab.cluster.paths import Lab


def pytest_configure() -> None:
    """Give each of several test processes a lab of its own: tests install and stop things that a whole cluster has."""
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker and "KUBECONFIG" not in os.environ:
        os.environ["LAB"] = f"{Lab.named().name}-{worker}"


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running cluster; a lab that these tests had to bring up is taken down after them."""
    chosen = chosen_cluster()
    if not chosen.lab:
        yield chosen
        return
    was_up = lifecycle.is_up(chosen.lab)
    lifecycle.up(chosen.lab)
    try:
        yield chosen
    finally:
        if not was_up:
            lifecycle.down(chosen.lab)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.kubectl("create", "namespace", name)
    try:
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)
