"""A/B tests with real visitors: from a file to a verdict and what follows, with nobody turned away at the edge."""

import json
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
from tests.e2e.crowd import SEED, Crowd
from tests.e2e.network import within
from tests.e2e.releases import Releases
from tests.e2e.steps import Manifest
from tests.lab.cluster.client import OPERATOR_NAMESPACE, Cluster


@pytest.fixture(scope="module")
def namespace(installed: Cluster) -> Iterator[str]:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    installed.kubectl("delete", "abtests,campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


class Experiments(Releases):
    """A shop whose service is released BlueGreen, and the tests of it."""

    def test(self, name: str, override: Manifest, **spec: object) -> None:
        """Apply an ABTest of red against lime."""
        lime = {"name": "lime", "weight": "50%", "replicas": 1, "override": override}
        body = {
            "campaign": self.name,
            "service": "app",
            "hypothesis": "A lime button brings more people to claim the coupon",
            "variants": [{"name": "red", "control": True, "weight": "50%"}, lime],
            "metrics": {"primary": {"event": "Coupon Claimed", "minimumEffect": "40%"}},
            "decision": {"minimumDuration": "1s", "promote": "Automatic"},
            **spec,
        }
        self.objects.apply(
            {"apiVersion": "flywheel.dev/v1alpha1", "kind": "ABTest", "metadata": {"name": name}, "spec": body}
        )

    def status(self, name: str) -> Manifest:
        found: Manifest = (self.objects.get("ABTest", name) or {}).get("status", {})
        return found

    def runs(self, name: str) -> None:
        self.eventually(lambda: self.status(name).get("state") == "Running", f"{name} that runs", 120)

    def crowd(self, chance: dict[str, float], seed: int = SEED) -> Crowd:
        return Crowd(self.address("edge"), self.name, chance, seed=seed)

    def visited_until(self, crowd: Crowd, so: Callable[[], bool], name: str, seconds: float = 400) -> Manifest:
        """Let visitors come until something is so."""
        deadline = time.monotonic() + seconds
        while not so():
            assert time.monotonic() < deadline, f"{json.dumps(self.status(name), indent=1)}\n{self.describe()}"
            within(self.cluster, lambda: crowd.visit(20))
        return self.status(name)


@pytest.fixture(scope="module")
def shop(installed: Cluster, namespace: str) -> Experiments:
    made = Experiments(installed, namespace, "sale", edge=True)
    made.known = ("Coupon Claimed",)
    made.apply(made.service("red"))
    made.serves("red", 240)
    made.eventually(lambda: made.condition("EdgeReady").get("status") == "True", "an edge that is open", 120)
    return made


@pytest.fixture(autouse=True)
def fresh(shop: Experiments) -> Iterator[None]:
    """Each test finds the shop as it is written, and without tests."""
    yield
    for each in shop.objects.select("ABTest"):
        shop.objects.delete("ABTest", each["metadata"]["name"])
    shop.eventually(lambda: shop.objects.select("ABTest") == [], "an end of all tests")


def test_visitors_choose_and_what_they_chose_becomes_the_service(installed: Cluster, shop: Experiments) -> None:
    print(f"seed {SEED}")
    shop.test("button", {"env": [{"name": "VERSION", "value": "lime"}]})
    shop.runs("button")
    crowd = shop.crowd({"red": 0.3, "lime": 0.6})
    shop.visited_until(crowd, lambda: shop.status("button")["state"] != "Running", "button")
    # Between verdict and promotion the operator is killed: whoever comes after goes on from what is written down.
    installed.kubectl("delete", "pod", "-n", OPERATOR_NAMESPACE, "--all", "--force", "--grace-period=0", check=False)
    done = shop.visited_until(crowd, lambda: shop.status("button")["state"] == "Promoted", "button")
    print(json.dumps({name: value for name, value in done.items() if name != "record"}, indent=1), crowd.saw)
    assert (crowd.failures, crowd.moved < 3) == ([], True), "only who looked while the service was released moves"
    assert (done["decision"]["verdict"], done["decision"]["winner"]) == ("Ship", "lime")
    assert done["checks"]["sampleRatio"]["verdict"] == "Holds"
    counted = {each["name"]: each["visitors"] for each in done["variants"]}
    assert sum(counted.values()) == done["visitors"] <= sum(crowd.saw.values())
    assert min(counted.values()) > 50
    assert shop.campaign["status"]["winners"] == [
        {"service": "app", "test": "button", "variant": "lime", "serves": True}
    ]
    shop.serves("lime")
    after = shop.crowd({})
    within(installed, lambda: after.visit(40))
    assert (after.failures, dict(after.saw)) == ([], {"lime": 40})
    shop.eventually(lambda: shop.objects.get("Deployment", "sale-app-lime") is None, "an end of the variant's pods", 60)
    # Then the author's Git has it, and nothing differs any more.
    shop.apply(shop.service("lime"))
    shop.eventually(lambda: "winners" not in shop.campaign["status"], "a spec that says what runs")
    shop.serves("lime")


def test_a_slow_variant_loses_its_visitors_at_once(installed: Cluster, shop: Experiments) -> None:
    shop.comes_to_rest("red")
    slow = {"env": [{"name": "VERSION", "value": "slow"}, {"name": "DELAY_MS", "value": "200"}]}
    metrics = {
        "primary": {"event": "Coupon Claimed", "minimumEffect": "5%"},
        "guardrails": [{"latency": "p95", "maxIncrease": "50%"}],
    }
    # Long before anything else may be decided: one in twenty tests of what is alike finds a difference by chance.
    decision = {"minimumDuration": "1h", "promote": "Automatic"}
    shop.test("slow", slow, metrics=metrics, decision=decision)
    shop.runs("slow")
    crowd = shop.crowd({"red": 0.3, "slow": 0.3}, SEED + 1)
    done = shop.visited_until(crowd, lambda: shop.status("slow")["state"] == "Decided", "slow")
    print(json.dumps({name: value for name, value in done.items() if name != "record"}, indent=1), crowd.saw)
    assert crowd.failures == []
    assert done["decision"]["verdict"] == "StoppedByGuardrail"
    assert done["checks"]["guardrails"][0]["variants"][0]["verdict"] == "Breached"

    def nobody_is_sent_there() -> bool:
        after = shop.crowd({})
        within(installed, lambda: after.visit(40))
        assert after.failures == []
        return dict(after.saw) == {"red": 40}

    # The edges have their order a moment after the verdict is written.
    shop.eventually(nobody_is_sent_there, "edges that know of the verdict")
    assert nobody_is_sent_there()
    shop.serves("red")


def test_a_variant_that_crashes_turns_nobody_away(installed: Cluster, shop: Experiments) -> None:
    shop.comes_to_rest("red")
    crashing = {"env": [{"name": "VERSION", "value": "lime"}, {"name": "CRASH_WHEN_LIVE", "value": "1"}]}
    metrics = {"primary": {"event": "Coupon Claimed", "minimumEffect": "1%"}}
    shop.test("crash", crashing, metrics=metrics)
    shop.runs("crash")
    crowd = shop.crowd({"red": 0.3, "lime": 0.3}, SEED + 2)

    def has_crashed() -> bool:
        pods = shop.objects.select("Pod", f"flywheel.dev/campaign={shop.name},flywheel.dev/service=app-lime")
        told = [each for pod in pods for each in pod.get("status", {}).get("containerStatuses", [])]
        return any(each.get("restartCount", 0) > 0 for each in told)

    shop.visited_until(crowd, has_crashed, "crash")
    within(installed, lambda: crowd.visit(60))
    print(crowd.saw)
    assert crowd.failures == []
    assert shop.status("crash")["state"] == "Running"
