"""What the tests of the operator share: its definition on the cluster, and one process of it for each file of tests."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.lab.cluster.client import Cluster
from tests.lab.objects import Objects
from tests.lab.operator_process import OperatorProcess
from tests.lab.steps import World, eventually
from tools.bootstrap.steps import REPOSITORY

KINDS = ("abtests.flywheel.dev", "campaigns.flywheel.dev", "fraudrules.flywheel.dev")
LONGEST = ("test_chart.py", "test_kill.py", "test_analytics_objects.py", "test_leader.py")
OPERATORS: list[OperatorProcess] = []
"""Those whose log is of interest when a test fails."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: of two processes, one would have to wait for them at the end."""
    items.sort(key=lambda item: LONGEST.index(item.path.name) if item.path.name in LONGEST else len(LONGEST))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Add the end of the operator's log to the report of a test that failed."""
    report: pytest.TestReport = yield  # type: ignore[misc,assignment]
    if report.failed:
        report.sections += [(f"operator log: {each.log.name}", each.tail()) for each in OPERATORS]
    return report  # type: ignore[return-value]


@pytest.fixture(scope="module")
def definition(cluster: Cluster) -> Iterator[None]:
    """The definitions of our kinds on the cluster; one that was there before stays."""
    names = [f"customresourcedefinition/{kind}" for kind in KINDS]
    present = cluster.kubectl("get", *names, "--ignore-not-found", "--output=name")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={REPOSITORY / 'crds'}")
    for kind in KINDS:
        cluster.wait_until_established(kind)
    yield
    for kind, name in zip(KINDS, names, strict=True):
        if kind not in present:
            cluster.kubectl("delete", name, "--timeout=60s")


@contextmanager
def operated(cluster: Cluster, directory: Path, *options: str, clusterwide: bool = False) -> Iterator[World]:
    """A namespace with an operator of its own; at the end the namespace goes while the operator still works."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    objects = Objects(cluster.kubeconfig, name)
    objects.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    log = directory / f"{name}.log"
    operator = OperatorProcess(cluster, () if clusterwide else (name,), log, *options)
    OPERATORS.append(operator)
    try:
        yield World(cluster, objects, operator.start())
        if operator.running:
            objects.delete("Namespace", name)
            eventually(lambda: objects.select("Campaign"), [], within=60, why=f"the end of all campaigns of {name}")
    finally:
        OPERATORS.remove(operator)
        operator.kill()
        _abandon(objects)


def _abandon(objects: Objects) -> None:
    """Leave no namespace that cannot go, whatever a failed test has left in it."""
    for campaign in objects.select("Campaign"):
        objects.patch("Campaign", campaign["metadata"]["name"], {"metadata": {"finalizers": None}})
    objects.delete("Namespace", objects.namespace)


@pytest.fixture(scope="module")
def world(cluster: Cluster, definition: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A namespace with an operator at work, for all tests of one file."""
    with operated(cluster, tmp_path_factory.mktemp("operator"), "--log-format=console") as made:
        yield made


@pytest.fixture
def own_world(cluster: Cluster, definition: None, tmp_path: Path) -> Iterator[World]:
    """A namespace with an operator of one test's own, which looks at each Campaign every two seconds anyway."""
    with operated(cluster, tmp_path, "--log-format=json", "--log-level=debug", "--resync=2s") as made:
        yield made


@pytest.fixture(autouse=True)
def remembered(request: pytest.FixtureRequest) -> Iterator[None]:
    """Show the Campaigns of a test when it fails, and delete them at its end."""
    name = next((each for each in ("own_world", "world") if each in request.fixturenames), None)
    # Asked for now, so that it is there until this fixture has ended.
    world: World | None = request.getfixturevalue(name) if name else None
    yield
    while world is not None and world.made:
        sale = world.made.pop()
        found = world.objects.get("Campaign", sale.name)
        if found is not None:
            print(f"Campaign {sale.name}:", json.dumps(found.get("status"), indent=1, ensure_ascii=False))
            sale.delete()
