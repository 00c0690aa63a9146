"""Given: a cluster with the operator installed by Helm, and a namespace whose pods must be restricted."""

import json
import uuid
from collections.abc import Iterator

import pytest
from tests.e2e.entry import EntryShop
from tests.e2e.steps import Shop
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Iterator[Cluster]:
    """The cluster with the operator of this tree; a release that was there before stays."""
    there = cluster.helm("list", "--short", "--filter", "^flywheel$", "-n", OPERATOR_NAMESPACE).split()
    cluster.install()
    yield cluster
    if not there:
        cluster.helm("uninstall", "flywheel", "-n", OPERATOR_NAMESPACE, "--wait", check=False)


@pytest.fixture
def restricted(installed: Cluster) -> Iterator[str]:
    """A namespace that admits only pods of the restricted standard."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
    installed.kubectl("create", "-f", "-", input=json.dumps(manifest))
    yield name
    installed.kubectl("delete", "campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture
def shop(installed: Cluster, restricted: str) -> Shop:
    """A small shop, not yet applied: the flash sale with two pods, and the store."""
    return Shop(installed, restricted)


@pytest.fixture(scope="module")
def open_shop(installed: Cluster) -> Iterator[EntryShop]:
    """One shop with an edge for all tests of a file; each leaves it well."""
    namespace = f"e2e-{uuid.uuid4().hex[:8]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}}
    installed.kubectl("create", "-f", "-", input=json.dumps(manifest))
    shop = EntryShop(installed, namespace)
    try:
        shop.becomes_ready(shop.apply(shop.campaign()))
        with shop.entered():
            yield shop
    finally:
        installed.kubectl("delete", "campaigns", "--all", "-n", namespace, "--timeout=120s", check=False)
        installed.kubectl("delete", "namespace", namespace, "--wait=false", check=False)
