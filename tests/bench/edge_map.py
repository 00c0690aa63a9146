"""From the write of the edge's ConfigMap to its effect in every edge pod, on a real cluster with real pods.

The operator is stopped once the pods are there: it would put the ConfigMap right. Each pod says itself when HAProxy had
taken the order; the clocks are one where all pods are on one machine, as in the lab.
"""

import time
from datetime import UTC, datetime

import msgspec
from tests.bench.rows import Row, median, percentile
from tests.bench.stand import Stand, stand
from tests.lab.steps import eventually

from flywheel.edge.document import DOCUMENT_KEY, Applied, Block, Live, decode, encode

NAME = "blocked-sale"
PODS = 3
CHANGES = 60
TARGET = 0.1


def measure() -> list[Row]:
    """Block another address again and again, and see when every pod refuses it."""
    with stand() as place:
        operator = place.operator(f"--edge-image={place.cluster.images['edge']}")
        operator.start()
        place.objects.create(_campaign())
        eventually(lambda: _applied(place) == {_wanted(place)}, within=120, why="edge pods that follow")
        operator.stop()
        taken = sorted(_change(place, number) for number in range(CHANGES))
    name = f"edge: ConfigMap written until in effect in {PODS} pods"
    return [
        Row(f"{name}, p50", median(taken) * 1000, "ms"),
        Row(f"{name}, p99", percentile(taken, 0.99) * 1000, "ms", TARGET * 1000),
    ]


def _campaign() -> dict[str, object]:
    service = {"name": "web", "image": "registry.example/web:1", "port": 8080, "replicas": 0}
    edge = {"replicas": PODS, "autoscaling": {"max": PODS}, "resources": {"requests": {"cpu": "10m"}}}
    return {
        "apiVersion": "flywheel.dev/v1alpha1",
        "kind": "Campaign",
        "metadata": {"name": NAME},
        "spec": {"services": [service], "edge": edge},
    }


def _wanted(place: Stand) -> str:
    document = decode(place.objects.read("ConfigMap", f"{NAME}-edge")["data"][DOCUMENT_KEY])
    return document.generation


def _said(place: Stand) -> list[Applied]:
    data = place.objects.read("ConfigMap", f"{NAME}-edge-applied").get("data") or {}
    return [msgspec.json.decode(text, type=Applied) for text in data.values()]


def _applied(place: Stand) -> set[str]:
    said = _said(place)
    return {each.generation for each in said} if len(said) == PODS else set()


def _change(place: Stand, number: int) -> float:
    name = f"{NAME}-edge"
    document = decode(place.objects.read("ConfigMap", name)["data"][DOCUMENT_KEY])
    until = int(time.time()) + 3600
    blocks = (*document.live.blocks, Block(kind="address", value=f"203.0.113.{number + 1}", until=until))
    order = msgspec.structs.replace(document, live=Live(blocks=blocks)).stamped()
    body = {"data": {DOCUMENT_KEY: encode(order)}}
    written = datetime.now(UTC)
    place.objects.patch("ConfigMap", name, body)
    eventually(lambda: _applied(place) == {order.generation}, within=30, why="the order in effect everywhere")
    return max((datetime.fromisoformat(each.at) - written).total_seconds() for each in _said(place))
