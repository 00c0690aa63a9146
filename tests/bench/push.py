"""From `git push` to visitors: a landing page straight from Git, with a webhook, released blue-green behind a gate.

A Git server is beside the cluster, and tells the operator of each push as Gitea does. Somebody looks at the page
through the Service and through the edge all the time. The time of the gate itself is taken off: it is the author's
choice.
"""

import os
import tempfile
import time
from pathlib import Path

from tests.bench.release_flywheel import operator
from tests.bench.rows import Row, median
from tests.bench.stand import stand
from tests.e2e.content import Hook, Origin, Pages, landing
from tests.e2e.releases import moment
from tests.e2e.steps import Manifest

PUSHES = int(os.environ.get("BENCH_PUSHES", "10"))
COLOURS = ("red", "green")
GATE: Manifest = {"name": "there", "http": {"path": "/", "contains": "Claim"}, "interval": "1s"}
RELEASE: Manifest = {"strategy": "BlueGreen", "keepPrevious": "3s", "keepFailed": "0s", "before": [GATE]}


def measure() -> list[Row]:
    """Push again and again; give the seconds from the push to the first answer of each way."""
    with (
        stand() as given,
        operator(given) as values,
        tempfile.TemporaryDirectory(prefix="flywheel-bench-git-") as directory,
    ):
        hook, origin = Hook(given.cluster, *values), Origin(given.cluster, Path(directory))
        hook.install()
        try:
            pages = Pages(given.cluster, given.namespace, "page", edge=True)
            seconds, behind = _pushes(pages, origin, hook)
            given.objects.delete("Campaign", "page")
            pages.eventually(lambda: given.objects.get("Campaign", "page") is None, "the end of the Campaign", 120)
        finally:
            origin.stop()
            hook.remove()
    name = "git push to live, through Service and edge, without the gate's own time"
    return [
        Row(f"{name}, p50", median(seconds), "s", 10.0),
        Row(f"{name}, slowest of {PUSHES}", max(seconds), "s", 10.0),
        Row(f"{name}, while the pods of the slot before still end, p50", median(behind), "s"),
    ]


def _pushes(pages: Pages, origin: Origin, hook: Hook) -> tuple[list[float], list[float]]:
    """Push to a slot that is empty, and then as soon as the slot before may go: its pods have to end first."""
    first = origin.repository.commit(landing("blue"))
    git = {"url": origin.url, "path": "/dist", "interval": "1h"}
    pages.apply_page(pages.service_of({"git": git}, release=RELEASE))
    pages.shows(first, seconds=180)
    taken: tuple[list[float], list[float]] = ([], [])
    with pages.visited() as visits:
        for number in range(2 * PUSHES):
            seconds = taken[number // PUSHES]
            began = time.time()
            commit = origin.repository.commit(landing(COLOURS[number % 2], says=f"It is yours, {number}"))
            hook.call(origin.url)
            pages.eventually(lambda at=commit: visits.seen(at), "the new page")
            pages.shows(commit)
            gate = pages.gate("there")
            seconds.append(visits.when(commit) - began - (moment(gate["finishedAt"]) - moment(gate["startedAt"])))
            pages.eventually(lambda: not pages.state().get("previous"), "the end of the slot before")
            if number < PUSHES:
                pages.comes_to_an_end()
    return taken
