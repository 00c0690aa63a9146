"""The lab keeps its promises: labs do not meet, nothing of one is left behind, and a killed one comes up again."""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from tests.lab.cluster import cgroups, lifecycle
from tests.lab.cluster.api import wait_until
from tests.lab.cluster.client import Cluster
from tests.lab.cluster.init import SHIELDED_SETTINGS
from tests.lab.cluster.node import PAUSE_IMAGE
from tests.lab.cluster.paths import Lab
from tools.bootstrap.steps import REPOSITORY

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a lab needs root")

# A kubelet that takes another's pods for orphans kills them within this time.
ORPHAN_SECONDS = 12


def test_two_labs_do_not_meet_and_leave_nothing_behind() -> None:
    before = what_the_machine_shows()
    labs = [Lab.named(f"test-{uuid.uuid4().hex[:6]}") for _ in range(2)]
    namespaces: set[str] = set()
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(given_a_lab, labs))
        clusters = [Cluster(lab.kubeconfig, lab) for lab in labs]
        for lab in labs:
            namespaces |= namespaces_of(lifecycle.first_process(lab).pid)
        for cluster in clusters:
            given_a_running_pod(cluster)

        first_before = [container_of_the_pod(cluster) for cluster in clusters]
        assert first_before[0] != first_before[1]
        then_it_stays_so(
            lambda: [container_of_the_pod(cluster) for cluster in clusters] == first_before, ORPHAN_SECONDS
        )

        when_every_process_of_it_is_killed(labs[0])
        given_a_lab(labs[0])
        namespaces |= namespaces_of(lifecycle.first_process(labs[0]).pid)
        assert "pod/lonely" not in clusters[0].kubectl("get", "pods", "--output", "name")
        assert container_of_the_pod(clusters[1]) == first_before[1]
    finally:
        for lab in labs:
            lifecycle.down(lab)
            lab.lock.unlink(missing_ok=True)

    assert what_the_machine_shows() == before
    assert not [pid for pid in every_process() if namespaces_of(pid) & namespaces]
    for lab in labs:
        assert not lab.state.exists()
        assert not cgroups.trees(lab.cgroup)


def test_the_api_server_goes_away_and_comes_back_with_all_it_knew(cluster: Cluster) -> None:
    lab = the_lab_of(cluster)
    assert lifecycle.is_up(lab)
    cluster.stop_api_server()
    assert not lifecycle.is_up(lab)
    cluster.start_api_server()
    assert "kube-system" in cluster.kubectl("get", "namespaces")


def test_usage_of_pods_is_measured(cluster: Cluster) -> None:
    the_lab_of(cluster)
    wait_until(lambda: "Mi" in cluster.kubectl("top", "nodes", check=False), "a measurement of the node", 60)


def test_a_service_is_reached_from_the_host(cluster: Cluster) -> None:
    the_lab_of(cluster)
    with (
        cluster.forward("kubernetes", 443) as port,
        pytest.raises(urllib.error.HTTPError, match="400"),
    ):
        # The API server speaks TLS only, and says so to whoever does not.
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5)


def the_lab_of(cluster: Cluster) -> Lab:
    if not cluster.lab:
        pytest.skip("KUBECONFIG names another cluster than the lab")
    return cluster.lab


def given_a_lab(lab: Lab) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "KUBECONFIG"} | {"LAB": lab.name}
    command = [sys.executable, "-m", "tests.lab.cluster", "up"]
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def given_a_running_pod(cluster: Cluster) -> None:
    cluster.kubectl("run", "lonely", f"--image={PAUSE_IMAGE}", "--image-pull-policy=Never")
    cluster.kubectl("wait", "pod/lonely", "--for=condition=Ready", "--timeout=120s")


def container_of_the_pod(cluster: Cluster) -> str:
    status = json.loads(cluster.kubectl("get", "pod", "lonely", "--output", "json"))["status"]["containerStatuses"][0]
    assert status["ready"]
    assert status["restartCount"] == 0
    container: str = status["containerID"]
    return container


def then_it_stays_so(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert holds()
        time.sleep(1)


def when_every_process_of_it_is_killed(lab: Lab) -> None:
    own = namespaces_of(lifecycle.first_process(lab).pid)
    for pid in [pid for pid in every_process() if namespaces_of(pid) & own]:
        with suppress(ProcessLookupError):
            os.kill(pid, 9)


def every_process() -> list[int]:
    return [int(each.name) for each in Path("/proc").iterdir() if each.name.isdigit()]


def namespaces_of(pid: int) -> set[str]:
    """The network, mount and process namespaces of `pid` that are not this program's own."""
    own, found = set(), set()
    for kind in ("net", "mnt", "pid"):
        own.add(str(Path(f"/proc/self/ns/{kind}").readlink()))
        with suppress(OSError):
            found.add(str(Path(f"/proc/{pid}/ns/{kind}").readlink()))
    return found - own


def what_the_machine_shows() -> dict[str, object]:
    """Everything that a lab could leave on the host, but for what image builds mount meanwhile."""
    links = json.loads(subprocess.run(["ip", "-json", "link"], capture_output=True, text=True, check=True).stdout)
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    mounts = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()}
    return {
        "links": {link["ifname"] for link in links},
        "rules": rules,
        "mounts": {mount for mount in mounts if "/images/" not in mount},
        "settings": {name: Path("/proc/sys", name).read_text() for name in SHIELDED_SETTINGS},
    }
