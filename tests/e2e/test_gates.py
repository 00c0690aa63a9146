"""Gates that ask others: Jobs, a real Prometheus, and the Campaign's own figures of real visitors."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.asking import PLAIN
from tests.e2e.network import within
from tests.e2e.prometheus import Prometheus
from tests.e2e.releases import Releases, Used
from tests.e2e.steps import Manifest
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster

LOOK = """
import json, os, sys, time, urllib.request
def ask(path, body=None):
    url, deadline = os.environ["FLYWHEEL_ADDRESS"] + path, time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, body, timeout=5) as answer:
                return json.load(answer)
        except urllib.error.URLError as error:
            # The operator has seen that the address answers; this node may hear of it a moment later.
            if not isinstance(error.reason, ConnectionRefusedError) or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
"""
GOOD = LOOK + 'print(ask("/check")["version"])\nassert ask("/check")["version"] == "two", ask("/check")\n'
BAD = (
    LOOK
    + "print(\"looking for the coupon\")\nsys.exit(f\"there is no coupon in version {ask('/check')['version']}\")\n"
)
# Orders once, and ends when somebody else has ordered, too.
SLOW = LOOK + 'ask("/order", b"{}")\nwhile ask("/orders")["orders"] < 2:\n    time.sleep(0.2)\n'
TOKEN = "for-those-who-may-read-figures"


@pytest.fixture(scope="module")
def gated(installed: Cluster) -> Iterator[Releases]:
    """A Campaign with an edge and a store, at rest."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    made = Releases(installed, name, "gated", edge=True, replicas=1)
    made.release("good")
    made.serves("good", seconds=180)
    made.eventually(lambda: made.condition("EdgeReady").get("status") == "True", "a ready edge", 180)
    yield made
    installed.kubectl("delete", "campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture
def rel(gated: Releases) -> Releases:
    """The Campaign at rest with one version."""
    gated.release("good", {"before": []})
    gated.comes_to_rest("good")
    return gated


@pytest.fixture(scope="module")
def prometheus(installed: Cluster) -> Iterator[Prometheus]:
    made = Prometheus(installed, TOKEN)
    yield made
    made.stop()


def job(rel: Releases, script: str, image: str = "", **fields: Any) -> Manifest:
    """A gate that runs a script."""
    image = image or rel.cluster.images["operator"]
    container = {"name": "script", "image": image, "command": ["python3", "-c", script]}
    return {"name": "script", "job": {"podSpec": {"containers": [container]}}, **fields}


def jobs(rel: Releases) -> list[Manifest]:
    """What gates run, or ran."""
    selector = f"flywheel.dev/campaign={rel.name}"
    found: list[Manifest] = json.loads(
        rel.cluster.kubectl("get", "jobs", "-n", rel.namespace, "-l", selector, "-o", "json")
    )["items"]
    return found


def figures(**demand: Any) -> Manifest:
    """A gate that asks Prometheus how many requests of the slot fail."""
    query = {"query": 'max(shop_failed_ratio{slot="{{slot}}"})', **demand}
    return {"name": "figures", "interval": "1s", "prometheus": query}


def placed(rel: Releases) -> tuple[str, str]:
    """The slot that has the traffic, and the one that the next revision comes to."""
    active = str(rel.state()["active"]["slot"])
    return active, "blue" if active == "green" else "green"


def test_a_job_that_ends_well_lets_the_revision_pass(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"before": [job(rel, GOOD)]})
        rel.serves("two")
    used.nobody_was_turned_away()
    gate = rel.gate("script")
    assert (gate["verdict"], gate["measured"]) == ("Passed", 1)
    assert "exit status 0" in gate["message"]


def test_a_job_that_ends_badly_says_why(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"before": [job(rel, BAD)]})
        failed = rel.becomes("Failed")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good"}
    assert "exit status 1" in failed["message"]
    assert "there is no coupon in version two" in failed["message"]
    # What it did is there to be looked at.
    log = rel.cluster.kubectl("logs", f"job/{jobs(rel)[0]['metadata']['name']}", "-n", rel.namespace)
    assert "looking for the coupon" in log


def test_a_job_whose_image_is_not_there_pauses_the_release(rel: Releases) -> None:
    with rel.used() as used:
        rel.release("two", {"before": [job(rel, GOOD, image="localhost/nothing-of-this-name:1")]})
        paused = rel.becomes("Paused")
        assert paused["reason"] == "GateInconclusive"
        assert "nothing-of-this-name" in paused["message"]
        rel.release("two", {"before": [job(rel, GOOD)]})
        rel.serves("two")
    used.nobody_was_turned_away()


def test_a_killed_operator_does_not_run_a_job_again(rel: Releases) -> None:
    with rel.used(post=False) as used:
        rel.release("two", {"before": [job(rel, SLOW)]})
        address = f"app-{placed(rel)[1]}"
        rel.eventually(lambda: orders(rel, address) == 1, "the first order")
        operator = rel.objects.within(OPERATOR_NAMESPACE)
        selector = "app.kubernetes.io/name=flywheel,app.kubernetes.io/component!=metrics-api"
        old = {each["metadata"]["name"] for each in operator.select("Pod", selector)}
        rel.cluster.kubectl("delete", "pods", "-n", OPERATOR_NAMESPACE, "--grace-period=0", "--force", *sorted(old))
        rel.cluster.kubectl("rollout", "status", "deployment/flywheel", "-n", OPERATOR_NAMESPACE, "--timeout=120s")
        assert orders(rel, address) == 1
        ask(rel, address, "/order", b"{}")
        rel.serves("two")
    used.nobody_was_turned_away()
    assert len(jobs(rel)) == 1
    assert (rel.gate("script")["verdict"], rel.gate("script")["measured"]) == ("Passed", 1)


def ask(rel: Releases, service: str, path: str, body: bytes | None = None) -> Manifest:
    """Ask a Service, which is reached from the lab's network."""
    url = rel.address(service) + path
    answer: Manifest = within(
        rel.cluster, lambda: httpx.request("POST" if body else "GET", url, content=body, timeout=5, verify=PLAIN).json()
    )
    return answer


def orders(rel: Releases, service: str) -> int:
    try:
        return int(ask(rel, service, "/orders")["orders"])
    except httpx.HTTPError:
        return -1


def test_figures_of_prometheus_decide(rel: Releases, prometheus: Prometheus) -> None:
    active, other = placed(rel)
    prometheus.knows({active: 0.004, other: 0.2})
    with rel.used() as used:
        rel.release("two", {"before": [figures(address=prometheus.url, max=0.01)]})
        failed = rel.becomes("Failed")
        assert "0.2" in failed["message"]
        assert "0.01" in failed["message"]
        prometheus.knows({active: 0.004, other: 0.004})
        rel.release("three", {"before": [figures(address=prometheus.url, max=0.01)]})
        rel.serves("three")
    used.nobody_was_turned_away()
    assert used.versions_seen() == {"good", "three"}
    assert rel.gate("figures")["measurements"][-1]["value"] == "0.004"


def test_no_figures_are_waited_for_or_are_a_failure(rel: Releases, prometheus: Prometheus) -> None:
    active, other = placed(rel)
    prometheus.knows({active: 0.004})
    with rel.used() as used:
        rel.release("two", {"before": [figures(address=prometheus.url, max=0.01)]})
        assert "no result yet" in rel.becomes("Failed")["message"]
        waiting = {**figures(address=prometheus.url, max=0.01), "noData": "Wait"}
        rel.release("three", {"before": [waiting]})
        rel.eventually(lambda: rel.gate("figures").get("measured", 0) >= 2, "measurements without data")
        assert rel.gate("figures")["measurements"][-1]["outcome"] == "NoData"
        prometheus.knows({active: 0.004, other: 0.001})
        rel.serves("three")
    used.nobody_was_turned_away()


def test_figures_are_compared_with_those_of_the_active_slot(rel: Releases, prometheus: Prometheus) -> None:
    active, other = placed(rel)
    gate = figures(address=prometheus.url, maxIncrease="20%")
    prometheus.knows({active: 0.1, other: 0.2})
    with rel.used() as used:
        rel.release("two", {"before": [gate]})
        failed = rel.becomes("Failed")
        assert "0.2" in failed["message"]
        assert "0.1" in failed["message"]
        prometheus.knows({active: 0.1, other: 0.11})
        rel.release("three", {"before": [gate]})
        rel.serves("three")
    used.nobody_was_turned_away()


def test_a_token_of_a_secret_opens_the_door_to_prometheus(rel: Releases, prometheus: Prometheus) -> None:
    active, other = placed(rel)
    prometheus.knows({active: 0.004, other: 0.004})
    gate = figures(address=prometheus.guarded_url, secretName="reader", max=0.01)
    give(rel, "of-somebody-else")
    with rel.used() as used:
        rel.release("two", {"before": [gate]})
        paused = rel.becomes("Paused")
        assert "401" in paused["message"]
        assert "of-somebody-else" not in json.dumps(rel.campaign["status"])
        give(rel, TOKEN)
        rel.command("retry", rel.revision_of("preview"))
        rel.serves("two")
    used.nobody_was_turned_away()


def give(rel: Releases, token: str) -> None:
    metadata = {"name": "reader"}
    rel.objects.apply({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"token": token}})


EVENTS: Manifest = {
    "name": "errors",
    "interval": "1s",
    "noData": "Wait",
    "timeout": "2m",
    "events": {"errorRate": {"max": "10%", "maxIncrease": "5%"}, "minimumRequests": 30, "window": "30s"},
}


def test_what_visitors_got_decides_after_the_switch(rel: Releases) -> None:
    with rel.used() as used:
        used.load.until(lambda report: report["edge-kept"].total > 200, "visitors of the version that serves")
        rel.release("two", {"before": [], "after": [EVENTS]})
        rel.serves("two", seconds=150)
    used.nobody_was_turned_away()
    print("healthy:", rel.gate("errors")["message"])
    assert "requests" in rel.gate("errors")["message"]
    with rel.used() as used:
        rel.release("three", {"before": [], "after": [EVENTS]}, ERROR_RATE="0.5")
        returned = rel.becomes("RolledBack", seconds=150)
        rel.serves("two")
    print("half of them failed:", returned["message"])
    assert "error rate" in returned["message"]
    only_of(used, "three")


def only_of(used: Used, version: str) -> None:
    """Whoever got an error got it from the version that makes errors."""
    assert used.report is not None
    assert used.report.failed, used.report.describe()
    strange = [each for each in used.report.failures if each.kind != "status 500" or version not in each.detail]
    assert not strange, used.report.describe()
