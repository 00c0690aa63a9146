"""A release under load: how long visitors still meet the old version, and how many requests it costs.

The peer is Argo Rollouts with the same application, the same pods and the same load, in the same cluster, one after the
other. Applications end in different ways, and that decides over most of the lost requests: a lame duck says
`Connection: close` for some seconds before it goes, a graceful one closes its connections at once when asked to go
(Go's own Shutdown), an abrupt one just ends.
"""

import itertools
import os
from collections.abc import Callable
from contextlib import nullcontext

from tests.bench.release_common import Outcome, Switch, measure_releases
from tests.bench.release_flywheel import Flywheel, operator
from tests.bench.release_peers import Rollouts, controller
from tests.bench.rows import Row
from tests.bench.stand import stand

STOPS = tuple(os.environ.get("BENCH_STOPS", "lameduck,abrupt").split(","))
"""Ways in which the application ends: lameduck, graceful or abrupt."""
WAYS = ("peer", "service", "edge")
CHOSEN = tuple(os.environ.get("BENCH_WAYS", ",".join(WAYS)).split(","))

Outcomes = dict[tuple[str, str], Outcome]
"""By way and by how the application ends."""


def measure() -> list[Row]:
    """Release with each of the ways and each kind of application; give the figures."""
    outcomes: Outcomes = {}
    ours = [way for way in CHOSEN if way != "peer"]
    with stand() as given:
        if "peer" in CHOSEN:
            with controller(given):
                for stop in STOPS:
                    outcomes["peer", stop] = measure_releases(given, Rollouts(given, stop))
        with operator(given) if ours else nullcontext():
            for way, stop in itertools.product(ours, STOPS):
                outcomes[way, stop] = measure_releases(given, Flywheel(given, stop, way == "edge"))
    return [row for stop in STOPS for row in _rows(outcomes, stop)]


def _rows(outcomes: Outcomes, stop: str) -> list[Row]:
    """Give the rows of one kind of application: ours beside the peer's, or the peer's alone where ours did not run."""
    peer = outcomes.get(("peer", stop))
    rows: list[Row] = []
    for way, name in (("service", "release"), ("edge", "release through the edge")):
        if found := outcomes.get((way, stop)):
            rows += _rows_of(f"{name}, {stop} application", found, peer, aimed=True)
    if peer and not rows:
        rows = _rows_of(f"Argo Rollouts, {stop} application", peer, None, aimed=False)
    return rows


def _rows_of(name: str, outcome: Outcome, peer: Outcome | None, *, aimed: bool) -> list[Row]:
    def row(what: str, unit: str, figure: Callable[[Outcome], float], target: float | None = None) -> Row:
        baseline = figure(peer) if peer else None
        return Row(f"{name}: {what}", figure(outcome), unit, target if aimed else None, "lower", baseline)

    def middle(what: Callable[[Switch], float]) -> Callable[[Outcome], float]:
        return lambda each: each.middle(what)

    def worst(what: Callable[[Switch], float]) -> Callable[[Outcome], float]:
        return lambda each: each.worst(what)

    return [
        row("first new answer after promotion, p50", "s", middle(lambda each: each.first_new)),
        row("last old answer, new connections, p50", "s", middle(lambda each: each.last_old_new), 1.0),
        row("last old answer, new connections, slowest", "s", worst(lambda each: each.last_old_new)),
        row("last old answer, kept connections, p50", "s", middle(lambda each: each.last_old_kept), 1.0),
        row("last old answer, kept connections, slowest", "s", worst(lambda each: each.last_old_kept)),
        row("failed of 100,000 requests", "requests", lambda each: each.failed(), 0.0),
        row("failed of 100,000 POSTs", "requests", lambda each: each.failed("post"), 0.0),
    ]
