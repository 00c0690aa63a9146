"""A Campaign that is entered through its edge and measures itself, in words of a shop."""

import json
import random
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
from tests.asking import PLAIN
from tests.e2e.steps import Manifest, Shop, eventually
from tests.lab.cluster.client import Cluster, CommandFailedError

NAME = "measured-sale"
WRITE_KEY = NAME
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
MINUTES = 60.0
GROWING: Manifest = {
    "min": 1,
    "max": 4,
    "metrics": [{"event": "Order Completed", "perSecond": 2}],
    "behavior": {"scaleDown": {"stabilizationWindowSeconds": 5}},
}


class EntryShop(Shop):
    """Landing page, catalogue and store behind an edge of two pods."""

    name = NAME

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        super().__init__(cluster, namespace)
        self.port = 0

    def campaign(self, image: str | None = None, version: str = "1.0.0", **edge: Any) -> Manifest:
        """The Campaign; keywords are fields of spec.edge."""
        store = {"name": "STORE_URL", "value": f"http://{NAME}-store:8080"}
        page = {"env": [store, {"name": "SHOP_VERSION", "value": version}]}
        return {
            "apiVersion": "flywheel.dev/v1alpha1",
            "kind": "Campaign",
            "metadata": {"name": NAME},
            "spec": {
                "title": "会计数的小促销",
                "goal": {"event": "Order Completed", "count": 40},
                "services": [
                    {**self._service("landing", image or self.image), **page, "autoscaling": GROWING},
                    {**self._service("browse", image or self.image), **page},
                    {
                        **self._service("store", self.image),
                        "volumes": [{"name": "data", "emptyDir": {}}],
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    },
                ],
                "edge": {
                    "replicas": 2,
                    "autoscaling": {"max": 2},
                    "drainFor": "5s",
                    "routes": [{"path": "/", "service": "landing"}, {"path": "/browse", "service": "browse"}],
                    "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
                    "sidecarResources": {"requests": {"cpu": "50m", "memory": "96Mi"}},
                    "limits": {"requestsPerSecond": 5000, "eventsPerSecond": 5000, "connections": 2000},
                    "events": {
                        "declared": [
                            {
                                "name": "Order Completed",
                                "properties": [
                                    {"name": "order_id", "required": True},
                                    {"name": "revenue", "type": "number", "required": True},
                                ],
                            }
                        ]
                    },
                    **edge,
                },
                "analytics": {
                    "currency": "CNY",
                    "channels": [{"name": "wechat", "utmSource": ["wechat"]}],
                    "store": {"resources": {"requests": {"cpu": "50m", "memory": "512Mi"}}},
                },
            },
        }

    @contextmanager
    def entered(self) -> Iterator["EntryShop"]:
        """Make the edge reachable from this machine."""
        with self.cluster.forward(f"{NAME}-edge", 80, self.namespace) as self.port:
            yield self

    @contextmanager
    def visitor(self, **headers: str) -> Iterator[httpx.Client]:
        """One person with a browser of their own: cookies are kept, connections are reused."""
        base = f"http://127.0.0.1:{self.port}"
        own = {"user-agent": BROWSER, **headers}
        with httpx.Client(base_url=base, headers=own, timeout=20, trust_env=False, verify=PLAIN) as client:
            yield client

    def command(self, *arguments: str) -> str:
        """Run one of our commands as a person would; return what it says.

        Raises:
            CommandFailedError: It ended with another code than 0.
        """
        program = str(Path(sys.executable).with_name("flywheel"))
        return self.cluster.run([program, *arguments, "-n", self.namespace])

    def figures(self, window: str = "campaign") -> Manifest:
        """The key figures on the Campaign's status; empty before there are any."""
        told = self.get("campaign", NAME).get("status", {}).get("kpis", {})
        found: Manifest = next((each for each in told.get("windows", []) if each["window"] == window), {})
        return found

    def figures_become(self, **wanted: Any) -> None:
        """Wait until the status shows these figures of the whole campaign."""

        def shown() -> bool:
            figures = self.figures()
            return {name: figures.get(name) for name in wanted} == wanted

        eventually(shown, f"key figures {wanted}", 2 * MINUTES, self.describe)

    def orders(self) -> int:
        """Orders of the whole campaign as the store counts them: to the last one, where the status rounds.

        Raises:
            CommandFailedError: The store does not answer.
        """
        answer = json.loads(self.command("kpis", NAME, "--window=campaign", "--output=json"))
        [campaign] = answer["campaigns"]
        [window] = campaign["windows"]
        return int(window["total"]["orders"])

    def orders_become(self, count: int) -> None:
        """Wait until the store counts exactly so many orders."""
        said = ""

        def counted() -> bool:
            nonlocal said
            try:
                said = str(self.orders())
            except CommandFailedError as failed:
                said = str(failed)
            return said == str(count)

        eventually(counted, f"{count} orders", 3 * MINUTES, lambda: f"{said}\n{self.describe()}")

    def condition_becomes(self, type_: str, status: str, *reasons: str, seconds: float = 2 * MINUTES) -> Manifest:
        """Wait for a condition."""

        def so() -> bool:
            said = self.condition(type_)
            return said.get("status") == status and (not reasons or said.get("reason") in reasons)

        eventually(so, f"{type_}={status} {reasons}", seconds, self.describe)
        return self.condition(type_)


def order(number: int | str, revenue: float, *, message: str = "", **more: Any) -> Manifest:
    """An order as a shop tells it; the same number gives the same message, as a client that tries again does."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "messageId": message or f"order-message-{number}",
        "event": "Order Completed",
        "timestamp": now,
        "sentAt": now,
        "properties": {"order_id": f"order-{number}", "revenue": revenue, "currency": "CNY"},
        **more,
    }


def tell(client: httpx.Client, event: Manifest) -> httpx.Response:
    """Send one event; an answer of 200 is a promise."""
    return client.post("/v1/track", content=json.dumps(event), auth=httpx.BasicAuth(WRITE_KEY, ""))


def dice(seed: int) -> random.Random:
    """A source of chance that says its seed."""
    print(f"seed {seed}")
    return random.Random(seed)


class Teller(threading.Thread):
    """Tells of one order after the other, each until it is promised, and remembers which were."""

    def __init__(self, shop: EntryShop, name: str) -> None:
        super().__init__(daemon=True)
        self.shop, self.label = shop, name
        self.promised = self.tries = 0
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            event = order(f"{self.label}-{self.promised}", 1.0, anonymousId=f"{self.label}-{self.promised % 7}")
            while not self._told(event):
                time.sleep(0.05)
            self.promised += 1

    def _told(self, event: dict[str, object]) -> bool:
        self.tries += 1
        try:
            with self.shop.visitor() as client:
                return tell(client, event).status_code == 200
        except httpx.TransportError:
            return False


@contextmanager
def telling(shop: EntryShop, *names: str) -> Iterator[list[Teller]]:
    tellers = [Teller(shop, name) for name in names]
    for each in tellers:
        each.start()
    try:
        yield tellers
    finally:
        for each in tellers:
            each.over.set()
        for each in tellers:
            each.join(120)
            assert not each.is_alive(), "an order could not be told within 120 s"
