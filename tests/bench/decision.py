"""What one reconcile of an unchanged Campaign costs the processor: everything but the calls to the API server.

Processor time, not time on the wall: what else the machine does is not counted.
"""

import gc
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from tests.bench.rows import Row, median, percentile
from tests.bench.stand import campaign

from flywheel.api.load import load_campaign
from flywheel.campaign.conclude import conclude
from flywheel.campaign.decide import decide
from flywheel.campaign.observed import Observed
from flywheel.kube.drift import is_in_place, stamped
from flywheel.plan import LiveObject, Manifest, ObjectKey, Outcome

TIMES = 500
NOW = datetime(2027, 6, 16, tzinfo=UTC)
UID = "3f0c9a52-4f0e-4c4c-9d0e-000000000000"


def measure() -> list[Row]:
    """Measure the parts of a decision about a Campaign of three services whose 15 children are all in place."""
    manifest = _stored(campaign("spring"))
    first = decide(Observed(manifest), NOW)
    wanted = [stamped(each) for each in first.plan.apply]
    children = {ObjectKey.of(each): _live(each) for each in wanted}
    observed = Observed(_concluded(manifest, children), children)
    assert not decide(observed, NOW).questions, "the world of this benchmark is not complete"
    decision = decide(observed, NOW)
    outcomes = [Outcome(key, live) for key, live in children.items()]

    def check_all() -> None:
        for each in decision.plan.apply:
            is_in_place(stamped(each), children[ObjectKey.of(each)])

    parts: dict[str, Callable[[], object]] = {
        "decide(), three services": lambda: decide(observed, NOW),
        "of it load_campaign()": lambda: load_campaign(manifest),
        "are 15 children in place?": check_all,
        "conclude()": lambda: conclude(observed, decision, outcomes, NOW),
    }
    rows = []
    for name, part in parts.items():
        taken = _times(part)
        rows += [
            Row(f"decision: {name}, p50", median(taken) * 1e6, "µs"),
            Row(f"decision: {name}, p99", percentile(taken, 0.99) * 1e6, "µs"),
        ]
    return rows


def _times(part: Callable[[], object]) -> list[float]:
    for _ in range(20):
        part()
    taken = []
    gc.collect()
    for _ in range(TIMES):
        began = time.process_time()
        part()
        taken.append(time.process_time() - began)
    return taken


def _stored(manifest: Manifest) -> Manifest:
    metadata = {**manifest["metadata"], "namespace": "shop", "uid": UID, "generation": 1, "resourceVersion": "1"}
    return {**manifest, "metadata": {**metadata, "finalizers": ["flywheel.dev/teardown"]}}


def _concluded(manifest: Manifest, children: dict[ObjectKey, LiveObject]) -> Manifest:
    observed = Observed(manifest, children)
    outcomes = [Outcome(key, live) for key, live in children.items()]
    return {**manifest, "status": conclude(observed, decide(observed, NOW), outcomes, NOW).status}


def _live(wanted: Manifest) -> LiveObject:
    """Give a child as the API server would hold it, with pods where it has some."""
    owned = _fields({name: value for name, value in wanted.items() if name not in ("apiVersion", "kind")})
    for name in ("name", "namespace"):
        owned["f:metadata"].pop(f"f:{name}", None)
    ready = dict.fromkeys(
        ("observedGeneration", "replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), 1
    )
    return LiveObject(
        key=ObjectKey.of(wanted),
        uid=f"uid-{wanted['kind']}-{wanted['metadata']['name']}",
        resource_version=1,
        generation=1,
        campaign="spring",
        owner_uid=UID,
        applied_hash=wanted["metadata"]["annotations"]["flywheel.dev/applied-hash"],
        owned_fields=json_text(owned),
        deleting=False,
        replicas=1 if wanted["kind"] == "Deployment" else None,
        status=ready if wanted["kind"] == "Deployment" else {},
    )


def json_text(value: object) -> str:
    """Write JSON as it is kept in memory."""

    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _fields(value: Any) -> Any:
    """Give the FieldsV1 set of a manifest; its lists of objects are keyed by what they have of the usual keys."""
    if isinstance(value, dict):
        return {f"f:{name}": _fields(each) for name, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return {f"k:{json_text(_key(each))}": {".": {}, **_fields(each)} for each in value}
    return {}


def _key(item: Manifest) -> Manifest:
    for names in (("name",), ("containerPort", "protocol"), ("port", "protocol"), ("topologyKey", "whenUnsatisfiable")):
        if all(name in item for name in names):
            return {name: item[name] for name in names}
    return dict(item)
