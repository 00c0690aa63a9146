"""A hundred, three hundred, a thousand Campaigns of three services: what the operator needs, and whether it stays calm.

The campaigns are suspended: all their children exist, and their Deployments are at zero replicas, so that the machine
carries Kubernetes and the operator and no three thousand pods. Suspended services have no autoscaler: 12 children each.
Kubernetes' own controllers work as ever, and make a ReplicaSet and an EndpointSlice for each service beside.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from tests.bench.figures import Reconciles, cpu_seconds, lab_cpu_seconds, reconciled, resident_mib
from tests.bench.rows import Row
from tests.bench.stand import Stand, campaign, stand
from tests.lab.cluster.api import wait_until
from tests.lab.objects import Objects
from tests.lab.operator_process import OperatorProcess

SIZES = tuple(int(each) for each in os.environ.get("BENCH_SIZES", "100,300,1000").split(","))
IDLE = float(os.environ.get("BENCH_IDLE", "120"))
"""Seconds for which the largest world is left alone."""
RESYNC = float(os.environ.get("BENCH_RESYNC", "60"))
"""Seconds after which every campaign is looked at again, so that some of it falls into the time of rest."""
CHILDREN = 12
AUTHORS = 4
LONGEST = 900.0


@dataclass
class Size:
    """What was measured with so many campaigns."""

    count: int
    created: float = 0.0
    """Seconds for the campaigns that came to those there were."""
    added: int = 0
    restart: float = 0.0
    restart_cpu: float = 0.0
    memory: float = 0.0
    rest_cpu: float = 0.0
    """Share of one core."""
    writes: float = 0.0
    looked_at: float = 0.0
    creating: Reconciles | None = None
    resting: Reconciles | None = None


def measure() -> list[Row]:
    """Grow the world step by step; restart the operator and leave it alone at each step."""
    sizes: list[Size] = []
    with stand() as given:
        operator = given.operator("--no-leader-election", f"--resync={RESYNC:.0f}s")
        try:
            operator.start()
            for count in SIZES:
                sizes.append(_measure_size(given, operator, count, sizes[-1].count if sizes else 0))
                print(_line(sizes[-1]), flush=True)
        finally:
            operator.kill()
    return _rows(sizes)


def _measure_size(stand: Stand, operator: OperatorProcess, count: int, before: int) -> Size:
    size = Size(count, added=count - before)
    text, spent, busy = operator.metrics_text(), lab_cpu_seconds(stand), cpu_seconds(operator.metrics_text())
    began = time.monotonic()
    _create(stand, range(before, count))
    wait_until(lambda: operator.metric("flywheel_children") >= count * CHILDREN, "all children", LONGEST)
    size.created = time.monotonic() - began
    _say_where_the_time_went(stand, spent, cpu_seconds(operator.metrics_text()) - busy, size.created)
    size.creating = Reconciles.between(text, operator.metrics_text())
    _wait_for_rest(stand, operator, count)
    assert operator.metric("flywheel_campaigns") == count
    assert operator.metric("flywheel_children") == count * CHILDREN

    operator.stop()
    began = time.monotonic()
    operator.start()
    wait_until(lambda: reconciled(operator.metrics_text()) >= count, "a look at each campaign", LONGEST)
    size.restart, size.restart_cpu = time.monotonic() - began, cpu_seconds(operator.metrics_text())
    _rest(operator, size, IDLE if count == max(SIZES) else RESYNC * 1.1)
    size.memory = resident_mib(operator)
    return size


def _create(stand: Stand, numbers: range) -> None:
    def some(first: int) -> None:
        objects = Objects(stand.cluster.kubeconfig, stand.namespace)
        for number in numbers[first::AUTHORS]:
            objects.create(campaign(f"sale-{number}", suspended=True))

    with ThreadPoolExecutor(AUTHORS) as pool:
        list(pool.map(some, range(AUTHORS)))


def _wait_for_rest(stand: Stand, operator: OperatorProcess, count: int) -> None:
    """Wait until Kubernetes' controllers are done with the Deployments, and the operator has said so."""

    def settled() -> bool:
        found = stand.objects.select("Campaign")
        ready = sum(
            any(each["type"] == "ServicesReady" and each["status"] == "True" for each in _conditions(one))
            for one in found
        )
        return ready == count and operator.metric("flywheel_queue_depth") == 0

    deadline = time.monotonic() + LONGEST
    while not settled():
        assert time.monotonic() < deadline, f"{count} campaigns do not come to rest"
        time.sleep(1)


def _conditions(manifest: dict[str, dict[str, list[dict[str, str]]]]) -> list[dict[str, str]]:
    return manifest.get("status", {}).get("conditions", [])


def _rest(operator: OperatorProcess, size: Size, seconds: float) -> None:
    """Leave the world alone for a while."""
    _wait_for_calm(operator)
    before, writes, began = operator.metrics_text(), operator.writes(), time.monotonic()
    wait_until(lambda: time.monotonic() - began >= seconds, "the end of the rest", seconds + 10)
    after, took = operator.metrics_text(), time.monotonic() - began
    size.writes = operator.writes() - writes
    size.rest_cpu = (cpu_seconds(after) - cpu_seconds(before)) / took
    size.looked_at = reconciled(after) - reconciled(before)
    size.resting = Reconciles.between(before, after)


def _wait_for_calm(operator: OperatorProcess) -> None:
    wait_until(lambda: operator.metric("flywheel_queue_depth") == 0, "an empty queue", 60)


def _say_where_the_time_went(stand: Stand, before: dict[str, float], operator: float, seconds: float) -> None:
    spent = {name: value - before.get(name, 0.0) for name, value in lab_cpu_seconds(stand).items()}
    parts = ", ".join(f"{name} {value:.1f}" for name, value in {**spent, "operator": operator}.items())
    print(f"  {seconds:.1f} s on the wall; seconds of processor time: {parts}")


def _line(size: Size) -> str:
    assert size.creating
    assert size.resting
    return (
        f"  {size.count} campaigns: {size.added} more in {size.created:.1f} s, {size.created / size.added:.3f} s each;"
        f" restart {size.restart:.1f} s ({size.restart_cpu:.1f} s of processor time);"
        f" {size.memory:.0f} MiB; at rest {size.rest_cpu:.1%} of a core, {size.writes:.0f} writes,"
        f" {size.looked_at:.0f} reconciles, p50 {size.resting.quantile(0.5) * 1000:.1f} ms,"
        f" p99 {size.resting.quantile(0.99) * 1000:.1f} ms"
    )


def _rows(sizes: list[Size]) -> list[Row]:
    last, rows = sizes[-1], []
    for size in sizes:
        name = f"{size.count} campaigns"
        largest = size is last
        assert size.creating
        assert size.resting
        rows += [
            Row(f"{name}: to all {size.count * CHILDREN} children", sum(_durations_to(sizes, size)), "s"),
            Row(f"{name}: restart until each was looked at", size.restart, "s", target=60.0 if largest else None),
            Row(f"{name}: memory of the operator", size.memory, "MiB", target=300.0 if largest else None),
            Row(f"{name}: writes at rest", size.writes, "calls", target=0.0),
            Row(f"{name}: reconciles at rest", size.looked_at, "reconciles", better="higher"),
            Row(f"{name}: processor at rest", size.rest_cpu * 100, "% of a core"),
            Row(f"{name}: reconcile at rest, p50", size.resting.quantile(0.5) * 1000, "ms"),
            Row(f"{name}: reconcile at rest, p99", size.resting.quantile(0.99) * 1000, "ms"),
            Row(f"{name}: reconcile while created, p50", size.creating.quantile(0.5) * 1000, "ms"),
            Row(f"{name}: reconcile while created, p99", size.creating.quantile(0.99) * 1000, "ms"),
        ]
    return [*rows, *_growth(sizes[0], last)]


def _durations_to(sizes: list[Size], size: Size) -> list[float]:
    return [each.created for each in sizes if each.count <= size.count]


def _growth(first: Size, last: Size) -> list[Row]:
    """Compare growth with the number of campaigns: 1 is proportional, more is worse."""
    if first is last:
        return []
    times = last.count / first.count

    def row(what: str, factor: float, limit: float) -> Row:
        return Row(f"growth {first.count} to {last.count}: {what}", factor, "x", target=limit)

    return [
        row("time of each new campaign", (last.created / last.added) / (first.created / first.added), 1.5),
        row("restart", last.restart / first.restart, times),
        row("memory", last.memory / first.memory, times),
        row("processor at rest", last.rest_cpu / first.rest_cpu, times * 1.2),
    ]
