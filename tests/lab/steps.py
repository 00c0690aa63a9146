"""Given, when, then: the words in which the tests of the operator are written."""

import json
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from tests.lab.cluster.client import Cluster
from tests.lab.objects import CHILD_KINDS, Manifest, Objects
from tests.lab.operator_process import OperatorProcess
from tests.patience import PATIENCE

T = TypeVar("T")

SECONDS = PATIENCE
"""How long a step of the operator may take before a test gives up: generous, as machines of tests are busy."""
POLL = 0.1

NO_PODS: Manifest = {"spec": {"schedulerName": "nobody"}}
"""A podTemplate whose pods no scheduler takes: they exist and cost nothing."""
CPU = {"requests": {"cpu": "10m"}}
CART: Manifest = {"name": "cart", "image": "shop/cart:1", "port": 8080, "replicas": 0, "podTemplate": NO_PODS}
PAY: Manifest = {"name": "pay", "image": "shop/pay:1", "port": 8080, "replicas": 0, "podTemplate": NO_PODS}
SECKILL: Manifest = {
    "name": "seckill",
    "image": "shop/seckill:1",
    "port": 8080,
    "resources": CPU,
    "replicas": 2,
    "autoscaling": {"min": 3, "max": 6, "warm": 5, "metrics": [{"cpu": "60%"}]},
    "podTemplate": NO_PODS,
}


def eventually(look: Callable[[], T], wanted: object = True, *, within: float = SECONDS, why: str = "") -> T:
    """Look again and again until what is seen is `wanted`, and return it.

    Args:
        look: What to look at. A LookupError or AssertionError means that it is not there yet.
        wanted: The value, or a function that tells whether a value is right.
        within: Seconds until it counts as failed.
        why: What is being waited for, for the message.

    Raises:
        AssertionError: The value was not right in time; the message has the last one.
    """
    deadline = time.monotonic() + within
    while True:
        seen: object
        try:
            seen = look()
            if wanted(seen) if callable(wanted) else seen == wanted:
                return seen  # type: ignore[return-value]
        except (LookupError, AssertionError) as error:
            seen = f"{type(error).__name__}: {error}"
        if time.monotonic() > deadline:
            expected = why or ("what was asked for" if callable(wanted) else repr(wanted))
            raise AssertionError(f"not within {within:.0f} s: {expected}; last seen: {_readable(seen)}")
        time.sleep(POLL)


def always(look: Callable[[], T], wanted: Callable[[T], bool], *, during: float) -> None:
    """Look again and again for some seconds; what is seen must be right each time."""
    deadline = time.monotonic() + during
    while time.monotonic() < deadline:
        seen = look()
        assert wanted(seen), f"was to hold for {during:.0f} s; seen: {_readable(seen)}"
        time.sleep(POLL)


def _readable(value: object) -> str:
    return (
        json.dumps(value, ensure_ascii=False, indent=1, default=str) if isinstance(value, dict | list) else str(value)
    )


def in_seconds(seconds: float) -> str:
    """Return the instant that is so many seconds from now, as people write it in a schedule."""
    # Rounded up, so that what is to happen later does not happen sooner.
    moment = datetime.now(UTC) + timedelta(seconds=seconds + 0.999)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def live_schedule(**changes: Any) -> Manifest:
    """Return the schedule of a Campaign that is Live for an hour, with changes."""
    schedule = {"startsAt": in_seconds(-60), "endsAt": in_seconds(3600), "prepareFor": "2s", "warmFor": "1s"}
    return {**schedule, "holdFor": "0s", **changes}


@dataclass
class World:
    """A cluster with an operator at work in one namespace."""

    cluster: Cluster
    objects: Objects
    operator: OperatorProcess
    made: list["Sale"] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        """The namespace of the test."""
        return self.objects.namespace

    def kubectl(self, *arguments: str, **options: Any) -> str:
        """Run kubectl in the namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments, **options)


class Sale:
    """One Campaign of a test, and what there is of it in the cluster."""

    def __init__(self, world: World, name: str) -> None:
        self.world = world
        self.name = name
        self.objects = world.objects
        world.made.append(self)

    # What people do.

    def edit(self, **spec: Any) -> None:
        """Change fields of the spec; those that are themselves objects are merged, None removes."""
        self.objects.patch("Campaign", self.name, {"spec": spec})

    def reschedule(self, **schedule: Any) -> None:
        """Change fields of the schedule."""
        self.edit(schedule=schedule)

    def delete(self, propagation: str = "Background") -> None:
        """Ask for the Campaign to be deleted, and do not wait."""
        self.objects.delete("Campaign", self.name, propagation)

    # What people see.

    @property
    def manifest(self) -> Manifest:
        """The Campaign as it is."""
        return self.objects.read("Campaign", self.name)

    @property
    def exists(self) -> bool:
        """Whether the Campaign is still there."""
        return self.objects.get("Campaign", self.name) is not None

    @property
    def uid(self) -> str:
        """The Campaign's uid."""
        return str(self.manifest["metadata"]["uid"])

    @property
    def status(self) -> Manifest:
        """The status, once there is one."""
        status: Manifest = self.manifest["status"]
        return status

    @property
    def stage(self) -> str:
        """The stage on the status."""
        return str(self.status["stage"])

    def condition(self, type_: str) -> Mapping[str, str]:
        """Return one condition; empty where there is none of that type."""
        conditions: list[dict[str, str]] = self.status["conditions"]
        return next((each for each in conditions if each["type"] == type_), {})

    def said(self, type_: str) -> tuple[str, str]:
        """Return status and reason of one condition; empty where there is none."""
        condition = self.condition(type_)
        return condition.get("status", ""), condition.get("reason", "")

    @property
    def stages_passed(self) -> list[str]:
        """All stages so far, in the order in which they were reached."""
        return [each["stage"] for each in self.status["transitions"]]

    @property
    def settled(self) -> bool:
        """Whether the operator has dealt with the newest spec."""
        manifest = self.manifest
        seen: int = manifest["status"]["observedGeneration"]
        return seen == manifest["metadata"]["generation"]

    def child(self, kind: str, service: str) -> Manifest:
        """Read the child of one service."""
        return self.objects.read(kind, f"{self.name}-{service}")

    def has(self, kind: str, service: str) -> bool:
        """Whether a child of one service exists and is not on its way out."""
        found = self.objects.get(kind, f"{self.name}-{service}")
        return found is not None and not found["metadata"].get("deletionTimestamp")

    def children(self) -> dict[tuple[str, str], Manifest]:
        """Read all objects of the watched kinds that carry the Campaign's label, by kind and name."""
        found = [(kind, each) for kind in CHILD_KINDS for each in self.objects.select(kind, self.selector)]
        return {(kind, each["metadata"]["name"]): each for kind, each in found}

    @property
    def selector(self) -> str:
        """The label by which everything of the Campaign is found."""
        return f"flywheel.dev/campaign={self.name}"

    def versions(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Return uid and resource version of every child and of the Campaign: equal means that nobody wrote."""
        everything = {**self.children(), ("Campaign", self.name): self.manifest}
        return {key: (each["metadata"]["uid"], each["metadata"]["resourceVersion"]) for key, each in everything.items()}

    def limits(self, service: str) -> tuple[int, int]:
        """Return minReplicas and maxReplicas of a service's autoscaler."""
        spec = self.child("HorizontalPodAutoscaler", service)["spec"]
        return spec["minReplicas"], spec["maxReplicas"]

    def events(self) -> list[tuple[str, str, str]]:
        """Return type, reason and note of the Events about this Campaign, oldest first."""
        uid = self.uid
        found = [each for each in self.objects.select("Event") if each.get("regarding", {}).get("uid") == uid]
        found.sort(key=lambda each: each["eventTime"])
        return [(each["type"], each["reason"], each["note"]) for each in found]

    def left(self) -> list[str]:
        """Look for the Campaign's label among all kinds of the cluster with kubectl, and return what carries it."""
        kubectl = self.world.kubectl
        kinds = kubectl("api-resources", "--verbs=list", "--namespaced", "--output=name").split()
        searched = ",".join(kind for kind in kinds if not kind.startswith("events"))
        return kubectl("get", searched, "--selector", self.selector, "--output=name", "--ignore-not-found").split()


def given_campaign(world: World, *services: Manifest, name: str = "", **spec: Any) -> Sale:
    """Create a Campaign, of one small service unless told otherwise, and do not wait.

    Args:
        world: Where.
        services: Its services.
        name: Its name; one of its own if not given.
        spec: Further fields of its spec; `metadata` is merged into the metadata instead.
    """
    name = name or f"sale-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, **spec.pop("metadata", {})}
    body = {"services": list(services) or [CART], **spec}
    world.objects.create(
        {"apiVersion": "flywheel.dev/v1alpha1", "kind": "Campaign", "metadata": metadata, "spec": body}
    )
    return Sale(world, name)


def given_live_campaign(world: World, *services: Manifest, **spec: Any) -> Sale:
    """Create a Campaign without a schedule and wait until all its children are there."""
    sale = given_campaign(world, *services, **spec)
    then_it_is_live(sale)
    return sale


def then_it_is_live(sale: Sale) -> None:
    """Wait until a Campaign is Live and the operator has dealt with its newest spec."""
    eventually(lambda: (sale.stage, sale.settled), ("Live", True), why=f"{sale.name} Live")


def then_it_is_gone(sale: Sale, within: float = SECONDS) -> None:
    """Wait until a Campaign is deleted."""
    eventually(lambda: sale.exists, False, within=within, why=f"the end of {sale.name}")
