"""An A/B test with real visitors: from a file to a verdict, through the edge, with nobody turned away."""

import json
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import httpx
import pytest
from tests.e2e.entry import BROWSER
from tests.e2e.network import within
from tests.e2e.releases import Releases
from tests.e2e.steps import Manifest
from tests.lab.cluster.client import Cluster

SEED = 618
CHANCE = {"red": 0.3, "green": 0.6}
"""How many of those who see a variant claim the coupon."""


@pytest.fixture(scope="module")
def namespace(installed: Cluster) -> Iterator[str]:
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    installed.kubectl("create", "namespace", name)
    installed.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")
    yield name
    installed.kubectl("delete", "abtests,campaigns", "--all", "-n", name, "--timeout=120s", check=False)
    installed.kubectl("delete", "namespace", name, "--wait=false", check=False)


@pytest.fixture(scope="module")
def shop(installed: Cluster, namespace: str) -> Releases:
    made = Releases(installed, namespace, "sale", edge=True)
    made.apply(made.service("red", release={"strategy": "Rolling"}))
    made.eventually(lambda: made.condition("Ready").get("status") == "True", "a shop that is open", 240)
    return made


def abtest(**spec: object) -> Manifest:
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "ABTest",
        "metadata": {"name": "button"},
        "spec": {
            "campaign": "sale",
            "service": "app",
            "hypothesis": "A green button brings more people to claim the coupon",
            "variants": [
                {"name": "red", "control": True, "weight": "50%"},
                {
                    "name": "green",
                    "weight": "50%",
                    "replicas": 1,
                    "override": {"env": [{"name": "VERSION", "value": "green"}]},
                },
            ],
            "metrics": {
                "primary": {"event": "Coupon Claimed", "minimumEffect": "40%", "baseline": 0.3},
                "guardrails": [{"errors": True, "maxIncrease": "5%", "mustHold": False}],
            },
            "decision": {"minimumDuration": "1s"},
            **spec,
        },
    }


@dataclass
class Crowd:
    """Visitors, each with a browser of their own."""

    url: str
    dice: random.Random = field(default_factory=lambda: random.Random(SEED))
    saw: Counter[str] = field(default_factory=Counter)
    failed: int = 0
    moved: int = 0

    def visit(self, count: int) -> None:
        for _ in range(count):
            with httpx.Client(base_url=self.url, headers={"user-agent": BROWSER}, timeout=10) as browser:
                first = self._look(browser)
                if self._look(browser) != first:
                    self.moved += 1
                self.saw[first] += 1
                if self.dice.random() < CHANCE.get(first, 0.0):
                    self._claim(browser)

    def _look(self, browser: httpx.Client) -> str:
        answer = browser.get("/")
        if answer.status_code != 200:
            self.failed += 1
        return answer.headers.get("X-Version", answer.text[:20])

    def _claim(self, browser: httpx.Client) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        event = {
            "event": "Coupon Claimed",
            "messageId": str(uuid.UUID(int=self.dice.getrandbits(128))),
            "timestamp": now,
        }
        answer = browser.post("/v1/track", content=json.dumps(event), auth=httpx.BasicAuth("sale", ""))
        if answer.status_code != 200:
            self.failed += 1


def test_visitors_decide_for_green_and_nobody_is_turned_away(installed: Cluster, shop: Releases) -> None:
    print(f"seed {SEED}")

    def status() -> Manifest:
        found: Manifest = (shop.objects.get("ABTest", "button") or {}).get("status", {})
        return found

    shop.objects.apply(abtest())
    shop.eventually(lambda: status().get("test", {}).get("state") == "Running", "a test that runs", 120)
    crowd = Crowd(shop.address("edge"))
    deadline = time.monotonic() + 240
    while status()["test"]["state"] == "Running":
        assert time.monotonic() < deadline, json.dumps(status(), indent=1)
        within(installed, lambda: crowd.visit(40))
    decided = status()
    print(json.dumps(decided, indent=1), crowd.saw)
    assert (crowd.failed, crowd.moved) == (0, 0)
    assert decided["test"]["decision"]["verdict"] == "Ship"
    assert decided["test"]["decision"]["winner"] == "green"
    assert {each["name"]: each["visitors"] > 50 for each in decided["variants"]} == {"red": True, "green": True}
    assert decided["checks"]["sampleRatio"]["mismatch"] is False
