"""One Campaign of three services: from `apply` until all its fifteen children are there."""

import json
import operator
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlencode

import urllib3
import yaml
from tests.bench.decision import NOW
from tests.bench.figures import server_seconds
from tests.bench.rows import Row, median
from tests.bench.stand import Stand, campaign, stand
from tests.lab.cluster.api import wait_until
from tests.lab.objects import CHILD_KINDS, Manifest

from flywheel.api.load import load_campaign
from flywheel.campaign.decide import decide
from flywheel.campaign.observed import Observed

TIMES = 15
CHILDREN = 15
LONGEST = 60.0


@dataclass
class Arrivals:
    """When each object was first told by a watch, in seconds of a clock of its own."""

    at: dict[tuple[str, str], float] = field(default_factory=dict)

    def all_of(self, name: str) -> list[float]:
        """Give the moments at which the children of one campaign came."""
        return [moment for (_, child), moment in list(self.at.items()) if child.startswith(f"{name}-")]


@contextmanager
def arrivals(stand: Stand) -> Iterator[Arrivals]:
    """Watch every kind of child in the namespace."""
    seen = Arrivals()
    with ExitStack() as stack:
        for kind in CHILD_KINDS:
            path = stand.objects._path(kind)
            query = {"watch": "true", "resourceVersion": _version(stand, path)}
            answer = stand.objects._open(f"{path}?{urlencode(query)}")
            thread = threading.Thread(target=_note, args=(kind, answer, seen), daemon=True)
            thread.start()
            stack.callback(answer.close)
            stack.callback(thread.join, 10)
            stack.callback(answer.shutdown)
        yield seen


def _version(stand: Stand, path: str) -> str:
    return str(stand.objects._call("GET", path)["metadata"]["resourceVersion"])


def _note(kind: str, answer: urllib3.BaseHTTPResponse, seen: Arrivals) -> None:
    rest = b""
    try:
        for piece in answer.stream(65536):
            now = time.monotonic()
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                event = json.loads(line)
                if event["type"] == "ADDED":
                    seen.at.setdefault((kind, event["object"]["metadata"]["name"]), now)
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        return


def measure() -> list[Row]:
    """Apply some campaigns one after the other, in turn with the same objects by kubectl alone."""
    ours: list[float] = []
    server: list[float] = []
    kubectl: list[float] = []
    with stand() as given, arrivals(given) as seen, given.operator("--no-leader-election"):
        for number in range(TIMES):
            spent = server_seconds(given)
            ours.append(_until_all_are_there(seen, f"sale-{number}", lambda name: _apply(given, name)))
            server.append(server_seconds(given) - spent)
            kubectl.append(_until_all_are_there(seen, f"peer-{number}", lambda name: _apply_by_kubectl(given, name)))
    name = "one campaign: apply to 15 children"
    return [
        Row(f"{name}, p50", median(ours), "s", target=1.0, baseline=median(kubectl)),
        Row(f"{name}, the slowest of {TIMES}", max(ours), "s", baseline=max(kubectl)),
        Row(f"{name}, of it inside the API server, p50", median(server), "s"),
        Row(f"{name}, of it operator and network, p50", median(map(operator.sub, ours, server)), "s"),
    ]


def _until_all_are_there(seen: Arrivals, name: str, act: Callable[[str], None]) -> float:
    began = time.monotonic()
    act(name)
    wait_until(lambda: len(seen.all_of(name)) == CHILDREN, f"all children of {name}", LONGEST)
    return max(seen.all_of(name)) - began


def _apply(stand: Stand, name: str) -> None:
    stand.objects.apply(campaign(name))


def _apply_by_kubectl(stand: Stand, name: str) -> None:
    """Apply the same objects as the operator would make, all with one call of kubectl."""
    manifests = yaml.safe_dump_all(_children(stand.namespace, name))
    stand.cluster.kubectl("apply", "--server-side", f"--namespace={stand.namespace}", "--filename=-", input=manifests)


def _children(namespace: str, name: str) -> list[Manifest]:
    manifest = campaign(name)
    manifest["metadata"] |= {"namespace": namespace, "uid": "none", "generation": 1}
    load_campaign(manifest)
    plain: list[Manifest] = json.loads(json.dumps(decide(Observed(manifest), NOW).plan.apply))
    # Without the labels by which the operator would take them for its own.
    for each in plain:
        each["metadata"]["labels"] = {"example.com/peer": name}
    return plain
