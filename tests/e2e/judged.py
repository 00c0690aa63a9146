"""A shop whose visitors are judged for fraud, in words of those who look after it."""

import json
import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
from tests.e2e.entry import MINUTES, EntryShop, tell
from tests.e2e.steps import Manifest, eventually

WORKER = "flywheel-fraud-0"
RULE = "claim-burst"
"""The rule that is meant where none is named."""


def claim(**more: Any) -> Manifest:
    """A coupon that is claimed now; keywords are further parts of the event."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"messageId": uuid.uuid4().hex, "event": "Coupon Claimed", "timestamp": now, "sentAt": now, **more}


def claims(person: httpx.Client, times: int, **more: Any) -> None:
    """Let somebody with a browser claim coupons."""
    assert person.get("/").status_code == 200
    for _ in range(times):
        assert tell(person, claim(**more)).status_code == 200


class JudgedShop(EntryShop):
    """The shop with rules on fraud."""

    def told(self, name: str = RULE) -> Manifest:
        """The status of a rule; empty before there is any."""
        found: Manifest = self.get("fraudrule", name).get("status") or {}
        return found

    def said(self, type_: str, name: str = RULE) -> Manifest:
        """A condition of a rule; empty while it is not there."""
        return next((each for each in self.told(name).get("conditions", []) if each["type"] == type_), {})

    def is_loaded(self, name: str = RULE) -> bool:
        """Whether all workers judge by the latest spec of a rule."""
        found = self.get("fraudrule", name)
        newest = (found.get("status") or {}).get("loadedGeneration") == found["metadata"]["generation"]
        return newest and self.said("Ready", name).get("status") == "True"

    def describe_rule(self, name: str = RULE) -> str:
        """What people would look at."""
        said = self.cluster.kubectl("get", "fraudrule,pods,statefulset,events", "-n", self.namespace, check=False)
        logs = self.cluster.kubectl("logs", WORKER, "-n", self.namespace, "--tail=30", check=False)
        return f"{json.dumps(self.told(name), indent=1)}\n{said}\n{logs}\n{self.describe()}"

    def fraud(self, *arguments: str) -> str:
        """Run one of the commands about fraud."""
        return self.command("fraud", *arguments)

    def has_workers(self, count: int) -> bool:
        """Whether so many workers judge by the latest spec, and no others are there."""
        spec = self.get("statefulset", "flywheel-fraud")["spec"]
        [container] = spec["template"]["spec"]["containers"]
        is_asked = spec["replicas"] == count and f"--shards={count}" in container["args"]
        return is_asked and self.is_loaded() and len(self.told().get("workers", [])) == count

    def use_workers(self, count: int) -> None:
        """Have so many workers judge in this namespace, and wait until they do."""
        self.cluster.install("--set", f"fraud.workersByNamespace.{self.namespace}={count}")
        eventually(lambda: self.has_workers(count), f"{count} workers judge", 6 * MINUTES, self.describe_rule)

    def friends(self, *visitors: str) -> None:
        """Write the list of visitors that a rule may leave alone."""
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "friends"}}
        self.applied(made | {"data": {"visitors": "\n".join(visitors)}})

    def applied(self, manifest: Manifest) -> None:
        """Apply something to the shop's namespace."""
        self.cluster.kubectl("apply", "-f", "-", "-n", self.namespace, input=json.dumps(manifest))

    def write(self, manifest: Manifest) -> None:
        """Apply a rule and wait until it is judged by."""
        name: str = manifest["metadata"]["name"]
        self.applied(manifest)
        eventually(lambda: self.is_loaded(name), f"{name} is judged by", 3 * MINUTES, lambda: self.describe_rule(name))
        eventually(
            lambda: self.condition("EdgeReady")["status"] == "True",
            "edge pods have it",
            MINUTES,
            lambda: self.describe_rule(name),
        )
