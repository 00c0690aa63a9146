"""How a release is measured, whoever does it: steady load, one version after the other, and who answered until when.

Three loads go on all the time: GET and POST on kept connections, and GET with a connection each. A release begins with
the order to promote what stands ready, and what counts is the last answer of the version before it. Afterwards its pods
are waited for until they are gone, as most requests are lost when pods end, and not at the switch.
"""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from tests.bench.rows import median
from tests.bench.stand import Stand
from tests.lab.cluster.api import wait_until
from tests.lab.objects import Manifest
from tests.load import Load, Target
from tests.load_report import Report

RELEASES = int(os.environ.get("BENCH_RELEASES", "3"))
REPLICAS = 3
KEPT_CLIENTS = 8
NEW_CLIENTS = 4
THINK = 10
"""Milliseconds between an answer and the next request of the same client."""
PORT = 8080
SERVICE = "shop"
START_SECONDS = 120.0
MOVE_SECONDS = 90.0
REST_SECONDS = 180.0
PER = 100_000


class Releaser(Protocol):
    """What carries a service from one version to the next."""

    @property
    def name(self) -> str:
        """What people call it."""

    def start(self, version: str) -> str:
        """Bring up the first version, ready, and give the URL at which clients reach whatever is active."""

    def prepare(self, version: str) -> None:
        """Bring up another version beside the active one, until only the order to promote it is missing."""

    def promote(self) -> None:
        """Give that order; this is the moment that counts."""

    def rest(self) -> None:
        """Wait until no pod of the former version is left."""

    def remove(self) -> None:
        """Take everything of it away, and wait until its pods are gone."""


@dataclass
class Switch:
    """One release; all times are seconds after the order to promote."""

    first_new: float
    last_old_new: float
    """The last answer of the old version to who opens a connection for each request."""
    last_old_kept: float
    """The last answer of the old version to who keeps connections."""


@dataclass
class Outcome:
    """What came of all releases of one way."""

    switches: list[Switch] = field(default_factory=list)
    report: Report | None = None

    def middle(self, what: Callable[[Switch], float]) -> float:
        """Give the median over the releases."""
        return median([what(each) for each in self.switches])

    def worst(self, what: Callable[[Switch], float]) -> float:
        """Give the largest of the releases."""
        return max(what(each) for each in self.switches)

    def failed(self, *loads: str) -> float:
        """Give how many of 100,000 requests failed, of some loads or of all."""
        assert self.report
        chosen = [self.report[name] for name in loads or self.report.loads]
        return PER * sum(each.failed for each in chosen) / sum(each.total for each in chosen)


def measure_releases(given: Stand, releaser: Releaser, count: int = RELEASES) -> Outcome:
    """Release so many versions one after the other under load, and leave nothing of it."""
    try:
        outcome = _measure(given, releaser, count)
    finally:
        releaser.remove()
    assert outcome.report
    print(f"{releaser.name}: {outcome.report.describe()}", flush=True)
    return outcome


def _measure(given: Stand, releaser: Releaser, count: int) -> Outcome:
    outcome = Outcome()
    url = releaser.start("v1")
    with Load(given.cluster, *targets(url), namespace=given.namespace) as load:
        moments = []
        for number in range(2, count + 2):
            releaser.prepare(f"v{number}")
            moments.append(time.time())
            releaser.promote()
            load.until(_moved(f"v{number}"), f"the move of all clients to v{number}", MOVE_SECONDS)
            releaser.rest()
        outcome.report = load.stop()
    for number, moment in enumerate(moments, 1):
        outcome.switches.append(_switch(outcome.report, f"v{number}", f"v{number + 1}", moment))
    return outcome


def targets(url: str) -> list[Target]:
    """The three loads."""
    return [
        Target("ka", f"{url}/", "ka", KEPT_CLIENTS, THINK),
        Target("post", f"{url}/order", "post", KEPT_CLIENTS, THINK),
        Target("close", f"{url}/", "close", NEW_CLIENTS, THINK),
    ]


def _moved(version: str) -> Callable[[Report], bool]:
    """Every client has an answer of it. One with a kept connection does not go back from there."""

    def holds(report: Report) -> bool:
        seen = [each.versions.get(version) for each in report.loads.values()]
        answered = sum(len(span.clients) for span in seen if span)
        return answered == 2 * KEPT_CLIENTS + NEW_CLIENTS

    return holds


def _switch(report: Report, old: str, new: str, moment: float) -> Switch:
    def last(load: str) -> float:
        return report[load].versions[old].last - moment

    first = min(each.versions[new].first for each in report.loads.values()) - moment
    return Switch(first, last("close"), max(last("ka"), last("post")))


def container(image: str, version: str, stop: str) -> Manifest:
    """What of a pod is the same for all: the sample application with a way to end."""
    environment = {"VERSION": version, "STOP": stop}
    return {
        "image": image,
        "args": ["serve", f"--port={PORT}"],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "readinessProbe": {"httpGet": {"path": "/readyz", "port": PORT}, "periodSeconds": 1},
        "resources": {"requests": {"cpu": "20m", "memory": "24Mi"}, "limits": {"memory": "96Mi"}},
    }


def wait_for_pods(given: Stand, selector: str, holds: Callable[[list[Manifest]], Any], what: str) -> None:
    """Wait until the pods behind a selector are as they should be."""
    wait_until(lambda: holds(given.objects.select("Pod", selector)), what, REST_SECONDS)
